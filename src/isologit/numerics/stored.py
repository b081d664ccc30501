"""Matrices and vectors as a checkpoint stores them: words and a format, never copied."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s, Format, decode, encode

StoredWords = npt.NDArray[np.unsignedinteger]


def _read_only(words: StoredWords, format_: Format) -> StoredWords:
    if words.dtype != format_.word_dtype:
        raise TypeError(f"words of {format_.name} must be {format_.word_dtype}, got {words.dtype}")
    view = words.view()
    view.flags.writeable = False
    return view


class Coding(Protocol):
    """How rows that are stored otherwise become words of a format: blocks, scales, wider numbers.

    A row's decoded words depend on nothing but its own stored bytes and what the coding itself
    holds for it (a scale); so rows may be decoded in any order, any number at a time.
    """

    @property
    def name(self) -> str:
        """What the stored form is called: ``q8_0``, ``f8_e4m3``, ``f64``."""

    @property
    def format(self) -> Format:
        """The format of the decoded words."""

    @property
    def width(self) -> int:
        """d, the decoded words of a row."""

    def decode(
        self, stored: StoredWords, rows: npt.NDArray[np.int64], out: npt.NDArray[Any]
    ) -> None:
        """Fill ``out[n]``, ``[n, d]`` words of `format`, with what ``stored[rows[n]]`` stands for.

        Exact, or the real number rounded once to `format`; the class says which. Releases the
        interpreter lock, allocates nothing that grows with V, and may be called by several threads.
        """


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix of stored words, one row a token.

    Parameters
    ----------
    words
        ``[V, d]`` uint16 or uint32, C-contiguous, as stored (little-endian). It may be a view of
        a mapped file, at any byte alignment; it is never written to and never copied whole.
    format
        What a word means.
    """

    words: npt.NDArray[np.unsignedinteger]
    format: Format

    def __post_init__(self) -> None:
        if self.words.ndim != 2 or not self.words.flags.c_contiguous:
            raise ValueError(f"expected a C-contiguous [V, d] array, got shape {self.words.shape}")
        object.__setattr__(self, "words", _read_only(self.words, self.format))

    @property
    def n_tokens(self) -> int:
        """V, the number of rows."""
        return int(self.words.shape[0])

    @property
    def width(self) -> int:
        """d, the number of dimensions."""
        return int(self.words.shape[1])

    @classmethod
    def of_values(cls, values: npt.ArrayLike, format_: Format) -> "Matrix":
        """Round real values ``[V, d]`` to a format and hold the words."""
        return cls(np.ascontiguousarray(encode(values, format_)), format_)

    def rows(self, token_ids: npt.ArrayLike) -> Float64s:
        """Return the exact values of some rows, given by id, ``[n, d]`` binary64 (a copy)."""
        ids = np.asarray(token_ids)
        if ids.dtype == np.bool_:
            raise TypeError("expected token ids, got a mask; np.flatnonzero makes ids of it")
        return decode(self.words[ids.astype(np.int64)], self.format)


@dataclass(frozen=True, eq=False)
class Vector:
    """A vector of stored words: a hidden state, a bias, a reference direction.

    Parameters
    ----------
    words
        ``[n]`` uint16 or uint32, as stored.
    format
        What a word means.
    """

    words: npt.NDArray[np.unsignedinteger]
    format: Format

    def __post_init__(self) -> None:
        if self.words.ndim != 1:
            raise ValueError(f"expected an [n] array, got shape {self.words.shape}")
        object.__setattr__(self, "words", _read_only(self.words, self.format))

    @classmethod
    def of_values(cls, values: npt.ArrayLike, format_: Format) -> "Vector":
        """Round real values ``[n]`` to a format, once, and hold the words."""
        return cls(encode(values, format_), format_)

    @cached_property
    def values(self) -> Float64s:
        """The exact values, ``[n]`` binary64."""
        return decode(self.words, self.format)
