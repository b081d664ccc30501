"""The script that each token is written in: Latin, Han, Thai, … (UAX #24, property Script).

The property gives every code point one script. Digits, punctuation and emoji are ``Common``,
combining marks that go with any letter ``Inherited``, and what is not assigned, for private use or
a surrogate ``Unknown``: these three say nothing of a token's script where a letter does.

The property is Script, not Script_Extensions: a mark that a few scripts share (the prolonged sound
mark ー of the two kana, the danda of the scripts of India) is ``Common`` here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

COMMON = "Common"
INHERITED = "Inherited"
UNKNOWN = "Unknown"

N_CODE_POINTS = 0x110000


@dataclass(frozen=True, eq=False)
class Scripts:
    """The script of each of V tokens.

    Parameters
    ----------
    codes
        ``[V]`` int32, the token's script as a place in `names`; −1 where a token has no text. Not
        int16: scripts are few, but a hostile vocabulary can mix them in any number of ways.
    names
        The scripts that occur, in alphabetical order: names as in the standard (``Old_Italic``),
        those of a token of several scripts joined with ``+`` in alphabetical order.
    """

    codes: npt.NDArray[np.int32] = field(repr=False)
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        codes = np.ascontiguousarray(self.codes, dtype=np.int32).view()
        codes.flags.writeable = False
        object.__setattr__(self, "codes", codes)

    def name(self, token_id: int) -> str | None:
        """Return a token's script; None where it has no text. Any integer may be asked."""
        code = int(self.codes[token_id]) if 0 <= token_id < len(self.codes) else -1
        return self.names[code] if code >= 0 else None

    def counts(self) -> dict[str, int]:
        """Return how many tokens each script has: most first, then by name."""
        sizes = np.bincount(self.codes[self.codes >= 0], minlength=len(self.names)).tolist()
        # Names are in order already, and sorting is stable.
        return dict(sorted(zip(self.names, sizes, strict=True), key=lambda each: -each[1]))


def script_names() -> tuple[str, ...]:
    """Return every script that a token can have, alone or with others."""
    return tuple(dict.fromkeys((COMMON, INHERITED, UNKNOWN, *_table().names)))


def script_of(character: str) -> str:
    """Return the script of one character, a lone surrogate included."""
    table = _table()
    return table.names[int(table.codes[ord(character)])]


def token_scripts(texts: Sequence[str | None]) -> Scripts:
    """Return the script of each token, from its text.

    It is the script of the token's characters, leaving out ``Common``, ``Inherited`` and
    ``Unknown``. Where nothing is left it is the one of these three that all characters have, and
    ``Common`` where they differ or there are none.

    Parameters
    ----------
    texts
        ``[V]`` the text of each token, lone surrogates included; None where it has none.
    """
    table = _table()
    lengths = np.fromiter(
        (-1 if text is None else len(text) for text in texts), np.int64, len(texts)
    )
    joined = "".join([text for text in texts if text]).encode("utf-32-le", "surrogatepass")
    characters = table.codes[np.frombuffer(joined, dtype="<u4")]
    codes = np.where(lengths < 0, -1, table.common).astype(np.int32)
    names = list(table.names)
    written = np.flatnonzero(lengths > 0)
    if len(written):
        ends = np.cumsum(lengths[written])
        starts = ends - lengths[written]
        lowest = np.minimum.reduceat(characters, starts)
        named = lowest < table.n_named
        # Of a token with a letter, only letters count; of one without, every character.
        letters = np.where(characters < table.n_named, characters, -1)
        highest = np.where(
            named, np.maximum.reduceat(letters, starts), np.maximum.reduceat(characters, starts)
        )
        codes[written] = np.where(lowest == highest, lowest, table.common)
        code_of: dict[str, int] = {}
        for n in np.flatnonzero(named & (lowest != highest)).tolist():
            of_letters = set(letters[starts[n] : ends[n]].tolist()) - {-1}
            name = "+".join([table.names[code] for code in sorted(of_letters)])
            codes[written[n]] = code_of.setdefault(name, len(table.names) + len(code_of))
        names += code_of
    return _of_occurring(codes, names)


def _of_occurring(codes: npt.NDArray[np.int32], names: Sequence[str]) -> Scripts:
    """Number the names that occur in alphabetical order."""
    occurs = np.bincount(codes[codes >= 0], minlength=len(names)) > 0
    kept = sorted(np.flatnonzero(occurs).tolist(), key=lambda code: names[code])
    # One place more than names, for −1 to find itself at the end.
    renumbered = np.full(len(names) + 1, -1, dtype=np.int32)
    renumbered[kept] = np.arange(len(kept), dtype=np.int32)
    return Scripts(renumbered[codes], tuple(names[code] for code in kept))


@dataclass(frozen=True, eq=False)
class _Table:
    """The property of every code point, as a place in `names`.

    The first `n_named` names are in alphabetical order; Unknown, Inherited and Common come last,
    so that the least code of a token's characters tells whether it has a letter.
    """

    codes: npt.NDArray[np.int16]
    names: tuple[str, ...]
    n_named: int

    @property
    def common(self) -> int:
        return len(self.names) - 1


@cache
def _table() -> _Table:
    text = files("isologit.tokens").joinpath("scripts.txt").read_text(encoding="utf-8")
    ranges = [line.split() for line in text.splitlines() if not line.startswith("#")]
    starts = [int(first, 16) for first, _ in ranges]
    last = (UNKNOWN, INHERITED, COMMON)
    named = sorted({script for _, script in ranges} - set(last))
    names = (*named, *last)
    code_of = {name: code for code, name in enumerate(names)}
    of_ranges = np.array([code_of[script] for _, script in ranges], dtype=np.int16)
    # Two megabytes, in which a code point is found six times as fast as by bisection.
    codes = np.repeat(of_ranges, np.diff([*starts, N_CODE_POINTS]))
    return _Table(codes, names, len(named))
