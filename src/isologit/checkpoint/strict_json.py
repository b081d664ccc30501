"""JSON objects out of files that nobody vouches for: every fault becomes one named error.

A config is parsed whole. The header of a file may have 100 MB, of which Python would make gigabytes
of objects: `members` goes through such an object and holds one member at a time.
"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from isologit.checkpoint.wording import shown
from isologit.errors import CheckpointError

# Python makes up to 300 bytes of a value. The configs of published models have up to 100 kB, and
# some thousands of values where they list the layers that are not quantised.
LARGEST_CONFIG = 4 << 20
MOST_CONFIG_VALUES = 1 << 17
# What each of 131,072 tensors takes, twice.
MOST_VALUES = 1 << 21
# A tensor's description has some 100 characters. The longest strings are what trainers of image
# models leave in the metadata: tags, thumbnails, workflows.
LONGEST_VALUE = 1 << 18
LONGEST_STRING = 1 << 20
_WINDOW = 1 << 16
# No token but a string is longer: what is wrong, or whole, that far before the end of a window is
# not so because of what the end cuts off.
_LONGEST_TOKEN = 16

_SEPARATORS = ",[{"
# What a value is, by its first character.
_KINDS = {
    "[": "a list",
    '"': "a string",
    "n": "null",
    **dict.fromkeys("tf", "a boolean"),
    **dict.fromkeys("-0123456789NI", "a number"),
}
_SPACES = " \t\n\r"
_SPACE = re.compile(f"[{_SPACES}]*").match


def parse_lenient_object(
    raw: bytes | memoryview, *, where: str, error: type[CheckpointError]
) -> dict[str, Any]:
    """Return the JSON object in some bytes, as Python writes it.

    Configs are written by `json.dump`: Mamba-2's hold ``Infinity`` (``time_step_limit``), and some
    were edited by hand and repeat a key. Numbers are checked where they are used; a repeated key
    is refused only where its values differ.

    Raises
    ------
    CheckpointError
        Of the class `error`: not UTF-8, not JSON, not an object, nested too deep, a number too
        long, a key given twice with different values; larger than any config is.
    """
    if len(raw) > LARGEST_CONFIG:
        raise error(f"{where} has {len(raw):,} bytes; at most {LARGEST_CONFIG:,} are read")
    try:
        text = str(raw, "utf-8")
    except UnicodeDecodeError as cause:
        raise error(f"{where} is not UTF-8: {_wrong_byte(cause)}") from None
    if _separators(text) > MOST_CONFIG_VALUES:
        raise error(f"{where} holds more than {MOST_CONFIG_VALUES:,} values; no config does")
    try:
        parsed = json.loads(text, object_pairs_hook=_consistent)
    except json.JSONDecodeError as cause:
        raise error(
            f"{where} is not JSON: {cause.msg} at line {cause.lineno}, column {cause.colno}"
        ) from None
    except (ValueError, RecursionError) as cause:
        raise error(f"{where} {_unusable(cause)}") from None
    if not isinstance(parsed, dict):
        raise error(f"{where} holds {_KINDS[text.strip()[0]]}; expected a JSON object")
    return parsed


def members(
    pieces: Iterable[bytes | memoryview],
    *,
    where: str,
    error: type[CheckpointError],
    inside: str,
    at_most: int,
) -> Iterator[tuple[bool, str, Any]]:
    """Go through a JSON object, as RFC 8259 has it, and through one of those that it holds.

    Takes time in proportion to the bytes, and the memory of one member.

    Parameters
    ----------
    pieces
        The bytes, in order.
    where
        What messages call them.
    error
        The class of what is raised.
    inside
        The key of the object to go through as well: an empty one is yielded in its place, then its
        members.
    at_most
        How many members there may be, of both.

    Yields
    ------
    within
        Whether the member is one of the object inside.
    key
        Its name. Whether an earlier one had it, the caller has to remember.
    value
        As `json` reads it.

    Raises
    ------
    CheckpointError
        Of the class `error`: not UTF-8, not JSON, not an object, nested too deep, NaN or Infinity,
        a number too long, a key given twice inside a value; more members than `at_most`, more than
        2,097,152 values; a string of more than 1,048,576 characters, or another value of more than
        262,144.
    """
    window = _Window(pieces, where, error, at_most)
    first = window.upcoming()
    if first != "{":
        if not first or first not in _KINDS:
            raise window.fault("Expecting value")
        raise error(f"{where} holds {_KINDS[first]}; expected a JSON object")
    yield from _object_here(window, inside)
    if window.upcoming():
        raise window.fault("Extra data")


def _object_here(window: "_Window", inside: str | None) -> Iterator[tuple[bool, str, Any]]:
    """Go through the object that the window stands at, and stop behind it."""
    window.pos += 1
    if window.upcoming() == "}":
        window.pos += 1
        return
    while True:
        if window.upcoming() != '"':
            raise window.fault("Expecting property name enclosed in double quotes")
        key = window.member()
        if window.upcoming() != ":":
            raise window.fault("Expecting ':' delimiter")
        window.pos += 1
        if window.upcoming() == "{" and key == inside:
            yield False, key, {}
            yield from _object_here(window, None)
        else:
            yield inside is None, key, window.value()
        following = window.upcoming()
        if following not in ("}", ","):
            raise window.fault("Expecting ',' delimiter")
        window.pos += 1
        if following == "}":
            return


class _Window:
    """A part of some JSON text, which goes forward over its bytes.

    `pos` is where in it the reader stands.
    """

    def __init__(
        self,
        pieces: Iterable[bytes | memoryview],
        where: str,
        error: type[CheckpointError],
        at_most: int,
    ) -> None:
        self.pos = 0
        self._where, self._error, self._at_most = where, error, at_most
        self._text = ""
        self._pieces = (
            piece[start : start + _WINDOW]
            for piece in pieces
            for start in range(0, len(piece), _WINDOW)
        )
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._at_end = False
        # What lies before the window, and what has been met so far.
        self._characters = self._bytes = self._members = self._values = 0

    def fault(self, words: str) -> CheckpointError:
        """Return the error of text that is no JSON from here on."""
        return self._refusal(f"is not JSON: {words}")

    def upcoming(self) -> str:
        """Go to the next character that is no space and return it; an empty one at the end."""
        while True:
            try:
                character = self._text[self.pos]
            except IndexError:
                if self._at_end:
                    return ""
                self._go_forward()
                continue
            if character not in _SPACES:
                return character
            spaces = _SPACE(self._text, self.pos)
            assert spaces is not None
            self.pos = spaces.end()

    def member(self) -> str:
        """Return the key that begins here, and go behind it."""
        self._members += 1
        if self._members > self._at_most:
            raise self._error(
                f"{self._where} holds more than {self._at_most:,} names; no published model has "
                "as many tensors"
            )
        key: str = self.value()
        return key

    def value(self) -> Any:
        """Return the value that begins here, and go behind it."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self.pos)
            except json.JSONDecodeError as cause:
                # A string without an end is told by its beginning.
                is_cut = (
                    cause.msg.startswith("Unterminated string")
                    or cause.pos > len(self._text) - _LONGEST_TOKEN
                )
                if self._at_end or not is_cut:
                    self.pos = cause.pos
                    raise self.fault(cause.msg) from None
            except (ValueError, RecursionError) as cause:
                raise self._refusal(_unusable(cause)) from None
            else:
                # A number may go on behind the end.
                if self._at_end or end <= len(self._text) - _LONGEST_TOKEN:
                    self._require_short(end - self.pos)
                    self.pos = end
                    return value
            self._require_short(len(self._text) - self.pos - _LONGEST_TOKEN)
            self._go_forward()

    def _require_short(self, length: int) -> None:
        """Refuse a value that begins here and has more characters than any should."""
        at_most = LONGEST_STRING if self._text.startswith('"', self.pos) else LONGEST_VALUE
        if length > at_most:
            raise self._refusal(f"holds a value of more than {at_most:,} characters")

    def _go_forward(self) -> None:
        """Let go of what is behind, and read on."""
        rest = self._text[self.pos :]
        self._characters += self.pos
        # Longer values are tried again less often, so that they take little more than linear time.
        steps = 1 if len(rest) <= _WINDOW else 4 if len(rest) <= LONGEST_VALUE else 8
        new = "".join(self._next() for _ in range(steps))
        self._values += _separators(new)
        if self._values > MOST_VALUES:
            raise self._error(f"{self._where} holds more than {MOST_VALUES:,} values")
        self._text, self.pos = rest + new, 0

    def _next(self) -> str:
        piece = next(self._pieces, b"")
        self._at_end = not piece
        undecoded, _ = self._decoder.getstate()
        try:
            text = self._decoder.decode(piece, self._at_end)
        except UnicodeDecodeError as cause:
            wrong = _wrong_byte(cause, self._bytes - len(undecoded))
            raise self._error(f"{self._where} is not UTF-8: {wrong}") from None
        self._bytes += len(piece)
        return text

    def _refusal(self, words: str) -> CheckpointError:
        place = self._characters + self.pos + 1
        return self._error(f"{self._where} {words} at character {place:,}")


def _separators(text: str) -> int:
    """Return a number that no JSON text has more values than, but for one."""
    return sum(map(text.count, _SEPARATORS))


def _wrong_byte(cause: UnicodeDecodeError, before: int = 0) -> str:
    return f"byte {before + cause.start:,} is {cause.object[cause.start]:#04x}"


def _unusable(cause: ValueError | RecursionError) -> str:
    if isinstance(cause, RecursionError):
        return "is nested too deep to be read"
    # Ours, or the interpreter's limit on the digits of an integer.
    return f"is not usable: {shown(str(cause))}"


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, n in counts.items() if n > 1)
        raise ValueError(f"key {shown(twice)} is given twice")
    return result


def _consistent(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result and result[key] != value:
            raise ValueError(f"key {shown(key)} is given twice, with different values")
        result[key] = value
    return result


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)
