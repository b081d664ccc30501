"""The vocabulary in a GGUF header: pieces, types and bytes, from bytes that nobody vouches for.

The keys are those of ggml's docs/gguf.md and gguf-py's constants.py; what a piece stands for, of
each kind of tokenizer, is what llama.cpp's token_to_piece makes of it (src/llama-vocab.cpp). How
text is encoded with it lives in `gguf_tokenizer`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.gguf_values import StringArray
from isologit.checkpoint.wording import shown
from isologit.errors import TokenizerFileError
from isologit.tokens.byte_level import piece_bytes
from isologit.tokens.gguf_split_rules import NOT_BYTE_LEVEL
from isologit.tokens.huggingface import MAX_ID, WORD_BOUNDARY, fallback_byte
from isologit.tokens.sentencepiece_proto import PIECE_TYPES
from isologit.tokens.vocabulary import TokenType, Vocabulary

KEY = "tokenizer.ggml."
# Kinds whose pieces write a space as ▁.
_MARK_SPACES = ("llama", "t5", "bert", "gemma4")
# The escapes of Python's bytes, which the converter writes RWKV's tokens in.
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([nrt\\'\"]))")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass(frozen=True, eq=False)
class GgufVocabulary:
    """The ids of a GGUF header.

    Parameters
    ----------
    where
        The file, for messages.
    model
        ``tokenizer.ggml.model``: what kind of tokenizer llama.cpp runs.
    pre
        ``tokenizer.ggml.pre``: how it cuts text; empty where the header does not say.
    raw_pieces
        ``[N]`` the pieces as they are in the file.
    types
        ``[N]`` what each is.
    """

    where: str
    model: str
    pre: str
    raw_pieces: Sequence[bytes] = field(repr=False)
    types: Sequence[TokenType] = field(repr=False)

    @property
    def byte_level(self) -> bool:
        """Whether the pieces are written in GPT-2's alphabet."""
        return self.model == "gpt2" and self.pre not in NOT_BYTE_LEVEL

    @cached_property
    def pieces(self) -> Sequence[str]:
        """``[N]`` the pieces as text; bytes that are not UTF-8 become U+FFFD."""
        return [raw.decode("utf-8", "replace") for raw in self.raw_pieces]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What each id is."""
        raw = [
            self._bytes(piece, text, kind)
            for piece, text, kind in zip(self.raw_pieces, self.pieces, self.types, strict=True)
        ]
        return Vocabulary(self.pieces, raw, self.types, self.byte_level)

    def fault(self) -> str | None:
        """Return why no tokenizer can be made of the pieces, or None where one can."""
        for n, raw in enumerate(self.raw_pieces):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                return f"token {n:,} is not UTF-8"
        first: dict[str, int] = {}
        for n, piece in enumerate(self.pieces):
            if piece and first.setdefault(piece, n) != n:
                return f"tokens {first[piece]:,} and {n:,} are both {shown(piece)}"
        return None

    def _bytes(self, raw: bytes, piece: str, kind: TokenType) -> bytes:
        if kind == "byte" and (byte := fallback_byte(piece)) is not None:
            return bytes([byte])
        if kind in ("control", "unknown"):
            return raw
        if self.model == "rwkv":
            return _ESCAPE.sub(_unescaped, raw)
        if self.byte_level:
            # Tokens that stand beside the merges are written as they are.
            found = piece_bytes(piece) if kind in ("normal", "byte") else None
            return raw if found is None else found
        if self.model in _MARK_SPACES or self.pre in NOT_BYTE_LEVEL:
            return raw.replace(WORD_BOUNDARY.encode(), b" ")
        return raw


def read_gguf_vocabulary(metadata: Mapping[str, Any], where: str) -> GgufVocabulary | None:
    """Return the vocabulary of a header; None where it has none.

    Raises
    ------
    TokenizerFileError
        A value has another type than its key says, or there are fewer types than tokens.
    """
    tokens = metadata.get(f"{KEY}tokens")
    model = text_of_key(metadata, "model", where)
    if tokens is None or model in ("none", "no_vocab"):
        return None
    if not isinstance(tokens, StringArray):
        raise _wrong(where, "tokens", tokens, "an array of strings")
    if not 0 < len(tokens) <= MAX_ID:
        raise TokenizerFileError(f"{where}: {KEY}tokens holds {len(tokens):,}; expected some")
    numbers = numbers_of_key(metadata, "token_type", where, len(tokens))
    types: list[TokenType] = ["normal"] * len(tokens)
    if numbers is not None:
        types = [PIECE_TYPES.get(number, "normal") for number in numbers.tolist()]
    return GgufVocabulary(
        where,
        model,
        text_of_key(metadata, "pre", where),
        [tokens.raw(i) for i in range(len(tokens))],
        types,
    )


def text_of_key(metadata: Mapping[str, Any], name: str, where: str) -> str:
    """Return a string of the header; an empty one where it is not there.

    Raises
    ------
    TokenizerFileError
        It is something else.
    """
    found = metadata.get(KEY + name, "")
    if not isinstance(found, str):
        raise _wrong(where, name, found, "a string")
    return found


def flag_of_key(metadata: Mapping[str, Any], name: str, where: str, default: bool) -> bool:
    """Return a truth value of the header, or what holds where it is not there.

    Raises
    ------
    TokenizerFileError
        It is something else.
    """
    found = metadata.get(KEY + name, default)
    if not isinstance(found, bool):
        raise _wrong(where, name, found, "true or false")
    return found


def numbers_of_key(
    metadata: Mapping[str, Any], name: str, where: str, n: int | None = None
) -> npt.NDArray[Any] | None:
    """Return an array of numbers of the header, the first n of it; None where it is not there.

    Raises
    ------
    TokenizerFileError
        It is something else, or shorter.
    """
    found = metadata.get(KEY + name)
    if found is None:
        return None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        raise _wrong(where, name, found, "an array of numbers")
    if n is not None and len(found) < n:
        raise TokenizerFileError(
            f"{where}: {KEY}{name} holds {len(found):,} values for {n:,} tokens; expected as many"
        )
    return found if n is None else found[:n]


def strings_of_key(metadata: Mapping[str, Any], name: str, where: str) -> StringArray | None:
    """Return an array of strings of the header; None where it is not there.

    Raises
    ------
    TokenizerFileError
        It is something else.
    """
    found = metadata.get(KEY + name)
    if found is not None and not isinstance(found, StringArray):
        raise _wrong(where, name, found, "an array of strings")
    return found


def _wrong(where: str, name: str, found: object, expected: str) -> TokenizerFileError:
    got = (
        f"an array of {found.dtype.name}" if isinstance(found, np.ndarray) else type(found).__name__
    )
    return TokenizerFileError(
        f"{where}: {KEY}{name} is of the type {got}; expected {expected}. Convert the model again, "
        "or name a tokenizer with --tokenizer"
    )


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 16)])
    return _ESCAPED.get(match[2], match[2])
