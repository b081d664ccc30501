"""Tokenizers that the Hugging Face library runs: `tokenizer.json`, and what others are built into.

The library is the one that serves these tokenizers, so its answers are the tokenizer's own. What
it says of its parts (decoder, normalizer, pre-tokenizer) is read from their serialised form.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from isologit.checkpoint.wording import counted, shown
from isologit.errors import TokenizerFileError
from isologit.tokens.bounded_file import bounded_bytes
from isologit.tokens.byte_level import piece_bytes
from isologit.tokens.settings import AddedToken
from isologit.tokens.vocabulary import Tokenizer, TokenType, Vocabulary

if TYPE_CHECKING:
    import tokenizers

# The largest published id is below 300,000.
MAX_ID = 1 << 24
WORD_BOUNDARY = "▁"
_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_UNKNOWN_ID = re.compile(rb'\{"type":"Unigram","unk_id":(\d+)')

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class LibraryEncoder:
    """A tokenizer of the `tokenizers` library as an `Encoder`."""

    tokenizer: "tokenizers.Tokenizer" = field(repr=False)

    @cached_property
    def marks_words(self) -> bool:
        """Whether a space is put before a text (seen from a letter), or a word's parts marked."""
        first = (self.pretokens("x") or [""])[0]
        model = self.tokenizer.model
        marks = ("continuing_subword_prefix", "end_of_word_suffix")
        return first[:1] in (" ", WORD_BOUNDARY, "Ġ") or any(
            getattr(model, mark, None) for mark in marks
        )

    @cached_property
    def matched_whole(self) -> Sequence[str]:
        """The texts of added tokens."""
        added = self.tokenizer.get_added_tokens_decoder()
        return tuple(token.content for token in added.values())

    def decode_each(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each id decoded alone, special tokens included."""
        each = [[token_id] for token_id in token_ids]
        return list(self.tokenizer.decode_batch(each, skip_special_tokens=False))

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def normalized(self, text: str) -> str:
        """Return what the normalizer makes of a text, spaces written as spaces."""
        made = self._with_marks(text)
        # A text that has the mark itself keeps it.
        return made if WORD_BOUNDARY in text else made.replace(WORD_BOUNDARY, " ")

    def pretokens(self, text: str) -> list[str]:
        """Return the parts that a text is cut into once it is normalized."""
        normalized = self._with_marks(text)
        if self.tokenizer.pre_tokenizer is None:
            return [normalized]
        return [part for part, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]

    def _with_marks(self, text: str) -> str:
        normalizer = self.tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))


def read_tokenizer_json(path: Path, added: Iterable[AddedToken] = ()) -> Tokenizer:
    """Read a `tokenizer.json`, and add what the tokenizer's config adds to it.

    Raises
    ------
    TokenizerFileError
        It cannot be read, or the library does not take it.
    """
    where = shown(str(path))
    raw = bounded_bytes(path)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerFileError(f"{where} cannot be read: {shown(str(error))}") from error
    import tokenizers

    tokenizer = asked(lambda: tokenizers.Tokenizer.from_str(text), where)
    asked(lambda: add_missing(tokenizer, added), where)
    return of_library(tokenizer, where)


def add_missing(tokenizer: "tokenizers.Tokenizer", added: Iterable[AddedToken]) -> None:
    """Add the tokens that are not added yet, by their ids in order, as transformers does.

    The library gives a token that is in the model's vocabulary the id that it has there, and any
    other the next one.
    """
    import tokenizers

    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    missing = [each for each in added if each.content and each.content not in known]
    in_order = sorted(missing, key=lambda each: each.token_id)
    # In runs, and not one by one: the library makes its matcher anew each time.
    for special, run in groupby(in_order, key=lambda each: each.special):
        add = tokenizer.add_special_tokens if special else tokenizer.add_tokens
        add([tokenizers.AddedToken(token.content, special=special, **token.flags) for token in run])


def of_library(
    tokenizer: "tokenizers.Tokenizer",
    where: str,
    *,
    kind: str | None = None,
    types: Mapping[int, TokenType] | None = None,
    notes: Iterable[str] = (),
) -> Tokenizer:
    """Return what a tokenizer of the library knows of each id.

    Parameters
    ----------
    tokenizer
        Complete, its added tokens included.
    where
        The files, for messages.
    kind
        What it is, in words, where the model's class does not say it.
    types
        Types that a file declares, of some ids; the rest follows from what is added and special.
    notes
        What to say of it.

    Raises
    ------
    TokenizerFileError
        It has no tokens, or an id beyond all that are read.
    """
    by_piece: dict[str, int] = asked(lambda: tokenizer.get_vocab(with_added_tokens=True), where)
    largest = max(by_piece.values(), default=-1)
    if largest < 0 or largest > MAX_ID:
        held = "no tokens" if largest < 0 else f"the id {largest:,}, beyond {MAX_ID:,}"
        raise TokenizerFileError(f"{where} holds {held}; expected a vocabulary")
    pieces: list[str | None] = [None] * (largest + 1)
    for name, token_id in by_piece.items():
        pieces[token_id] = name
    for token_id in [i for i, name in enumerate(pieces) if name is None]:
        # Of two pieces with one text the library's vocabulary has the later alone.
        pieces[token_id] = tokenizer.id_to_token(token_id)
    rules = _ByteRules.of(tokenizer)
    declared = dict(types or {})
    added = tokenizer.get_added_tokens_decoder()
    unknown = _unknown(tokenizer)
    found: list[TokenType | None] = []
    raw: list[bytes | None] = []
    for token_id, piece in enumerate(pieces):
        if piece is None:
            found.append(None)
            raw.append(None)
            continue
        kind_of_it: TokenType = declared.get(token_id, "normal")
        literal = added.get(token_id)
        if literal is not None and token_id not in declared:
            kind_of_it = "control" if literal.special else "added"
        if piece == unknown:
            kind_of_it = "unknown"
        if literal is None and rules.is_fallback(piece):
            kind_of_it = "byte"
        found.append(kind_of_it)
        raw.append(piece.encode("utf-8", "surrogatepass") if literal else rules.bytes_of(piece))
    said = list(notes)
    if shared := len(by_piece) - len(set(by_piece.values())):
        have = "has" if shared == 1 else "have"
        said.append(f"{counted(shared, 'piece')} of {where} {have} the id of another piece")
    return Tokenizer(
        Vocabulary(pieces, raw, found, rules.byte_level),
        LibraryEncoder(tokenizer),
        where,
        kind or _kind(tokenizer, byte_level=rules.byte_level),
        tuple(said),
    )


class LibraryError(Exception):
    """What a tokenizer's library raised, in one line; its panics are no `Exception`."""


def attempted(question: Callable[[], _T]) -> _T:
    """Ask a tokenizer's library something.

    Raises
    ------
    LibraryError
        It raised, or panicked.
    """
    try:
        return question()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        reason = shown(str(error)) if str(error) else type(error).__name__
        raise LibraryError(reason) from error


def asked(question: Callable[[], _T], where: str) -> _T:
    """Ask the library something, and turn what it raises into one line.

    What it cannot take makes it raise `Exception`, or panic, which is no `Exception`.

    Raises
    ------
    TokenizerFileError
    """
    try:
        return attempted(question)
    except LibraryError as error:
        raise TokenizerFileError(
            f"{where} is not a tokenizer that the tokenizers library takes: {error}; try it with "
            "AutoTokenizer, or name another with --tokenizer"
        ) from error


@dataclass(frozen=True)
class _ByteRules:
    """How a piece becomes bytes: what the decoder does to one token."""

    byte_level: bool
    fallback: bool
    space: str | None
    prefix: str
    suffix: str

    @classmethod
    def of(cls, tokenizer: "tokenizers.Tokenizer") -> "_ByteRules":
        decoders = list(_parts(tokenizer.decoder, "decoders"))
        kinds = {part.get("type") for part in decoders}
        before = list(_parts(tokenizer.pre_tokenizer, "pretokenizers"))
        byte_level = "ByteLevel" in kinds or (
            not kinds and any(part.get("type") == "ByteLevel" for part in before)
        )
        space = next(
            (
                mark
                for part in decoders
                for mark in (
                    part.get("replacement") if part.get("type") == "Metaspace" else None,
                    _replaced_by_space(part),
                )
                if mark
            ),
            None,
        )
        model = tokenizer.model
        word_piece = any(part.get("type") == "WordPiece" for part in decoders)
        prefix = getattr(model, "continuing_subword_prefix", None) or ""
        bpe_suffix = next(
            (part.get("suffix", "") for part in decoders if part.get("type") == "BPEDecoder"), ""
        )
        return cls(
            byte_level=byte_level,
            fallback="ByteFallback" in kinds or bool(getattr(model, "byte_fallback", False)),
            space=space,
            prefix=prefix if word_piece else "",
            suffix=bpe_suffix,
        )

    def is_fallback(self, piece: str) -> bool:
        return self.fallback and fallback_byte(piece) is not None

    def bytes_of(self, piece: str) -> bytes:
        if self.byte_level:
            found = piece_bytes(piece)
            return piece.encode("utf-8", "surrogatepass") if found is None else found
        if self.fallback and (byte := fallback_byte(piece)) is not None:
            return bytes([byte])
        text = piece.removeprefix(self.prefix) if self.prefix else piece
        if self.suffix and text.endswith(self.suffix):
            text = text[: -len(self.suffix)] + " "
        if self.space is not None:
            text = text.replace(self.space, " ")
        return text.encode("utf-8", "surrogatepass")


def fallback_byte(piece: str) -> int | None:
    """Return the byte that a piece like ``<0x0A>`` stands for; None of any other piece."""
    found = _FALLBACK.fullmatch(piece)
    return None if found is None else int(found[1], 16)


def _unknown(tokenizer: "tokenizers.Tokenizer") -> str | None:
    """Return the piece that stands for what has none."""
    model = tokenizer.model
    if type(model).__name__ != "Unigram":
        found: str | None = getattr(model, "unk_token", None)
        return found
    # Of this model the library tells it in the serialised form alone, before the vocabulary.
    head = _UNKNOWN_ID.match(model.__getstate__())
    return None if head is None else model.id_to_token(int(head[1]))


def _replaced_by_space(part: Mapping[str, Any]) -> str | None:
    pattern = part.get("pattern")
    if part.get("type") != "Replace" or part.get("content") != " ":
        return None
    return pattern.get("String") if isinstance(pattern, dict) else None


def _parts(component: Any, inner: str) -> Iterator[Mapping[str, Any]]:
    """Yield the parts that a component is made of, as they are serialised."""
    if component is None:
        return
    state = json.loads(component.__getstate__())

    def walk(part: Any) -> Iterator[Mapping[str, Any]]:
        if isinstance(part, dict):
            if isinstance(part.get(inner), list):
                for each in part[inner]:
                    yield from walk(each)
            else:
                yield part

    yield from walk(state)


def _kind(tokenizer: "tokenizers.Tokenizer", *, byte_level: bool) -> str:
    name = type(tokenizer.model).__name__
    if byte_level:
        return f"byte-level {name}"
    fallback = getattr(tokenizer.model, "byte_fallback", False)
    return f"{name} with byte fallback" if fallback else name
