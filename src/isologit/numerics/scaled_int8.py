"""Integers of 8 bits times a scale, one a row or one a column: symmetric casts and their coding.

The scheme is scale quantisation with the maximum for its range: s = max|w| / 127 in binary32, and
q = w / s rounded to the nearest integer, clipped to ±127, so that 0 stays 0 and −128 is not used
(Wu, Judd, Zhang, Isaev and Micikevicius, Integer quantization for deep learning inference,
arXiv:2004.09602). With a scale for each row of W, an output, it is what that paper calls per
channel, and what LLM.int8() stores (Dettmers, Lewis, Belkada and Zettlemoyer, arXiv:2208.07339,
vector-wise). With a scale for each column it is per input channel.

Here w / s is the real quotient, rounded once, ties to even.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isologit.numerics.codings import require_arrays
from isologit.numerics.compilation import kernel
from isologit.numerics.encodings import Counts
from isologit.numerics.formats import F32, Format
from isologit.numerics.kernels import widen
from isologit.numerics.stored import StoredWords

#: The largest integer that is used.
LARGEST = 127

Axis = Literal["row", "column"]


@dataclass(frozen=True, eq=False)
class ScaledInt8:
    """A `Coding` of rows of 8-bit integers, two's complement, times scales.

    Decoded into binary32: the real product rounded once to nearest-even.

    Parameters
    ----------
    n_tokens
        V.
    width
        d.
    scale
        binary32: ``[V]``, one a row; or ``[d]``, one a column.
    axis
        Which of these.

    Raises
    ------
    ValueError
        The scales have another shape or type.
    """

    n_tokens: int
    width: int
    scale: npt.NDArray[np.float32]
    axis: Axis

    def __post_init__(self) -> None:
        shape = (self.n_tokens if self.axis == "row" else self.width,)
        if self.scale.shape != shape or self.scale.dtype != np.float32:
            raise ValueError(
                f"scales of a {[self.n_tokens, self.width]} matrix, one a {self.axis}, must be "
                f"float32 of shape {shape}, got {self.scale.dtype} {self.scale.shape}"
            )

    @property
    def name(self) -> str:
        """``int8_row`` or ``int8_channel``."""
        return "int8_row" if self.axis == "row" else "int8_channel"

    @property
    def format(self) -> Format:
        """binary32."""
        return F32

    @property
    def row_keys(self) -> npt.NDArray[np.integer] | None:
        """The scale's bits, ``[V]``, where each row has its own; else None."""
        return self.scale.view(np.uint32) if self.axis == "row" else None

    def decode(
        self, stored: StoredWords, rows: npt.NDArray[np.int64], out: npt.NDArray[Any]
    ) -> None:
        """Fill ``out[n]`` with the words of the values of row ``rows[n]``.

        Parameters
        ----------
        stored
            ``[V, d]`` uint8, C-contiguous.
        rows
            ``[n]`` ids from 0 to V − 1, in any order.
        out
            ``[n, d]`` uint32, C-contiguous.

        Raises
        ------
        ValueError
            The arrays are not of these shapes, types and layouts.
        """
        require_arrays(stored, (self.width, np.uint8), rows, out, (self.width, np.uint32))
        if len(stored) != self.n_tokens:
            raise ValueError(f"expected {self.n_tokens} rows, got {len(stored)}")
        _decode(stored.view(np.int8), rows, self.scale, self.axis == "row", out.view(np.float32))


def quantise_rows(
    words: npt.NDArray[Any],
    divisors: npt.NDArray[np.float64],
    axis: Axis,
    out: npt.NDArray[np.uint8],
) -> Counts:
    """Fill ``out`` with the integer nearest to each entry's quotient by its divisor.

    Of two that are as near the even one; at most ±127; of a NaN 0, whose scale is a NaN too.

    Parameters
    ----------
    words
        ``[n, d]`` as kernels take them.
    divisors
        ``[n]`` or ``[d]`` values of binary32, or infinities, which make zeros; not 0.
    axis
        Which of these.
    out
        ``[n, d]``.

    Returns
    -------
    Counts
        Entries made 0, none subnormal, and entries clipped, which takes a scale that is
        subnormal.
    """
    counts = np.zeros(2, dtype=np.int64)
    _quantise(words, divisors, axis == "row", out.view(np.int8), counts)
    return Counts(int(counts[0]), 0, int(counts[1]))


@kernel()
def column_magnitudes(words, largest):  # type: ignore[no-untyped-def]
    """Raise ``largest[k]`` to the largest magnitude of column k; a NaN comes in and stays."""
    for n in range(words.shape[0]):
        for k in range(words.shape[1]):
            x = abs(widen(words[n, k]))
            if x > largest[k] or np.isnan(x):
                largest[k] = x


@kernel()
def _quantise(words, divisors, by_row, out, counts):  # type: ignore[no-untyped-def]
    zeroed = clipped = 0
    for n in range(words.shape[0]):
        for k in range(words.shape[1]):
            x = widen(words[n, k])
            quotient = x / divisors[n if by_row else k]
            integer = np.rint(quotient)
            if abs(integer) > LARGEST:
                clipped += abs(x) < np.inf
                integer = np.copysign(float(LARGEST), integer)
            # Of a NaN 0: what it converts to is the processor's choice.
            integer = integer if integer == integer else 0.0
            zeroed += integer == 0 and x != 0 and abs(x) < np.inf
            out[n, k] = np.int8(integer)
    counts[0] += zeroed
    counts[1] += clipped


@kernel()
def _decode(stored, rows, scales, by_row, out):  # type: ignore[no-untyped-def]
    """Fill rows with integers times scales."""
    for n in range(len(rows)):
        row = rows[n]
        for k in range(out.shape[1]):
            value = np.float32(stored[row, k]) * scales[row if by_row else k]
            out[n, k] = np.float32(np.nan) if np.isnan(value) else value
