"""The covariance of a matrix's rows: its moments, and its products with vectors.

No [d, d] matrix and no copy of W is made. The blocks of rows are fixed and their sums are added in
a fixed order, so the number of threads changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.numerics import kernels, products
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.products import BLOCK
from isologit.numerics.stored import Matrix

# Enough for any sensible number of threads; each holds [8, d] sums of its own.
_ROW_BLOCKS = 64

Apply = Callable[[Float64s], Float64s]


@dataclass(frozen=True, eq=False)
class Moments:
    """What one pass over W says: the finite rows, and their first two moments."""

    rows: npt.NDArray[np.int64]
    mean: Float64s
    variance: float
    """The total variance: the trace of the covariance."""

    @property
    def unit(self) -> float:
        """The power of two next to the root mean square of a centred row's length."""
        return float(2.0 ** np.round(np.log2(self.variance) / 2))

    @property
    def length(self) -> float:
        """The root mean square of a row's length, in units; rounding errors scale with it."""
        return float(np.sqrt(self.variance + self.mean @ self.mean)) / self.unit


def moments_of(matrix: Matrix) -> Moments:
    """Return the finite rows of a matrix and their first two moments, in one pass."""
    blocks = _row_blocks(matrix.n_tokens)
    finite = np.empty(matrix.n_tokens, dtype=np.bool_)
    sums = np.zeros((len(blocks), 2, matrix.width))
    words = kernels.typed(matrix.words, matrix.format)
    _for_each(lambda n: products.sum_rows(words, *blocks[n], finite, sums[n]), len(blocks), matrix)
    rows = np.flatnonzero(finite)
    mean, mean_square = sums.sum(axis=0) / max(len(rows), 1)
    # A constant column of many tokens may come out a little below zero.
    variance = float(np.maximum(mean_square - mean * mean, 0.0).sum())
    return Moments(rows, mean, variance)


def covariance_product(
    matrix: Matrix,
    rows: npt.NDArray[np.int64],
    moments: Moments,
    precision: type[np.floating[Any]],
) -> Apply:
    """Return the function that multiplies ``[n, d]`` vectors by the covariance of some rows.

    The covariance is in units of the square of ``moments.unit``, which keeps binary32 in range.
    """
    blocks = _row_blocks(len(rows))
    words = kernels.typed(matrix.words, matrix.format)
    scale = precision(1 / moments.unit)
    # Rounding the mean to binary32 moves every row alike: an error of second order.
    mean = (moments.mean / moments.unit).astype(precision)

    def apply(vectors: Float64s) -> Float64s:
        result = np.empty_like(vectors)
        for first in range(0, len(vectors), BLOCK):
            chosen = vectors[first : first + BLOCK]
            padded = np.zeros((BLOCK, matrix.width), precision)
            padded[: len(chosen)] = chosen
            sums = np.zeros((len(blocks), *padded.shape), precision)

            def add(n: int, basis: Any = padded, into: Any = sums) -> None:
                products.apply_rows(words, rows, *blocks[n], scale, mean, basis, into[n])

            _for_each(add, len(blocks), matrix)
            total = sums.sum(axis=0, dtype=np.float64)
            result[first : first + BLOCK] = total[: len(chosen)] / len(rows)
        return result

    return apply


def _row_blocks(n_rows: int) -> list[tuple[int, int]]:
    """Cut rows into at most `_ROW_BLOCKS` blocks, whose bounds depend on nothing but the number."""
    step = max(BLOCK * 64, -(-n_rows // (_ROW_BLOCKS * BLOCK)) * BLOCK)
    return [(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def _for_each(work: Callable[[int], object], n_blocks: int, matrix: Matrix) -> None:
    """Call ``work(n)`` for each block of rows, on as many threads as isologit uses."""

    def some(start: int, stop: int) -> None:
        for n in range(start, stop):
            work(n)

    row_bytes = matrix.width * matrix.format.itemsize
    # A product costs some ten times more than reading the row.
    for_blocks(some, n_blocks, 10 * row_bytes * matrix.n_tokens // max(n_blocks, 1))
