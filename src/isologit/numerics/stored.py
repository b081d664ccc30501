"""Matrices and vectors as a checkpoint stores them: words and what they mean, not copied whole."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import BF16, Float64s, Format, decode, encode

StoredWords = npt.NDArray[np.unsignedinteger]


def _read_only(
    words: StoredWords, format_: Format, word_dtype: np.dtype[np.unsignedinteger]
) -> StoredWords:
    if words.dtype != word_dtype:
        raise TypeError(f"words of {format_.name} must be {word_dtype}, got {words.dtype}")
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

    @property
    def row_keys(self) -> npt.NDArray[np.integer] | None:
        """What besides its stored bytes decides a row's values, ``[V]``: a scale of its own.

        Equal where that is equal, bit for bit; None where there is nothing.
        """

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
        What is stored, little-endian and C-contiguous: ``[V, d]`` uint16 or uint32 words of the
        format, or with a coding ``[V, n]`` unsigned integers that it decodes. It may be a view of
        a mapped file, at any byte alignment; it is never written to and never copied whole.
    format
        The format of the values.
    coding
        How the rows are decoded into words of the format; None where they are such words.
    """

    words: npt.NDArray[np.unsignedinteger]
    format: Format
    coding: Coding | None = None

    def __post_init__(self) -> None:
        if self.words.ndim != 2 or not self.words.flags.c_contiguous:
            raise ValueError(f"expected a C-contiguous [V, d] array, got shape {self.words.shape}")
        if self.coding is not None and self.coding.format != self.format:
            raise ValueError(f"{self.coding.name} decodes into {self.coding.format.name}")
        word_dtype = self.words.dtype if self.coding else self.format.word_dtype
        object.__setattr__(self, "words", _read_only(self.words, self.format, word_dtype))

    @property
    def n_tokens(self) -> int:
        """V, the number of rows."""
        return int(self.words.shape[0])

    @property
    def width(self) -> int:
        """d, the number of dimensions."""
        return self.coding.width if self.coding else int(self.words.shape[1])

    @property
    def stored_as(self) -> str:
        """The name of the coding where there is one, else of the format."""
        return self.coding.name if self.coding else self.format.name

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's words in the format."""
        return self.width * self.format.itemsize

    @classmethod
    def of_values(cls, values: npt.ArrayLike, format_: Format) -> "Matrix":
        """Round real values ``[V, d]`` to a format and hold the words."""
        return cls(np.ascontiguousarray(encode(values, format_)), format_)

    def block(self, start: int, stop: int) -> StoredWords:
        """Return the words of the format of rows start to stop, ``[n, d]``, read-only.

        A view, or with a coding decoded for the occasion.
        """
        if self.coding is None:
            return self.words[start:stop]
        return self._decoded(np.arange(start, stop))

    def located(
        self, token_ids: npt.NDArray[np.int64]
    ) -> tuple[StoredWords, npt.NDArray[np.int64]]:
        """Return words of the format, and where in them some rows, given by id, are.

        The whole matrix and the ids themselves, or with a coding those rows alone.
        """
        if self.coding is None:
            return self.words, token_ids
        return self._decoded(token_ids), np.arange(len(token_ids))

    def take(self, token_ids: npt.ArrayLike) -> "Matrix":
        """Return a copy of some rows, given by id, as words of the format."""
        ids = np.asarray(token_ids)
        if ids.dtype == np.bool_:
            raise TypeError("expected token ids, got a mask; np.flatnonzero makes ids of it")
        words, rows = self.located(ids.astype(np.int64))
        return Matrix(words[rows], self.format)

    def rows(self, token_ids: npt.ArrayLike) -> Float64s:
        """Return the exact values of some rows, given by id, ``[n, d]`` binary64 (a copy)."""
        return decode(self.take(token_ids).words, self.format)

    def row(self, token_id: int) -> "Vector":
        """Return one row."""
        return Vector(self.block(token_id, token_id + 1)[0], self.format)

    def _decoded(self, token_ids: npt.NDArray[np.int64]) -> StoredWords:
        assert self.coding is not None
        # Machine code reads at these places without a check of its own.
        if len(token_ids) and not 0 <= token_ids.min() <= token_ids.max() < self.n_tokens:
            raise IndexError(
                f"token ids run from {token_ids.min()} to {token_ids.max()}, expected 0 to "
                f"{self.n_tokens - 1}"
            )
        words = np.empty((len(token_ids), self.width), dtype=self.format.word_dtype)
        self.coding.decode(self.words, token_ids, words)
        # As the words of a plain matrix are, so that kernels are compiled once for both.
        words.flags.writeable = False
        return words


def as_bits(matrix: Matrix) -> Matrix:
    """Return a matrix whose rows are the same words where another's are stored as the same bits.

    A view of what is stored as words of a format that has nothing to do with their meaning; a copy
    where a row has an odd number of bytes.
    """
    stored = matrix.words.view(np.uint8)
    if stored.shape[1] % 2:
        stored = np.pad(stored, ((0, 0), (0, 1)))
    return Matrix(stored.view(np.uint16), BF16)


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
        object.__setattr__(
            self, "words", _read_only(self.words, self.format, self.format.word_dtype)
        )

    @classmethod
    def of_values(cls, values: npt.ArrayLike, format_: Format) -> "Vector":
        """Round real values ``[n]`` to a format, once, and hold the words."""
        return cls(encode(values, format_), format_)

    @cached_property
    def values(self) -> Float64s:
        """The exact values, ``[n]`` binary64."""
        return decode(self.words, self.format)
