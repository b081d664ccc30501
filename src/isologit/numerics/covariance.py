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
from isologit.numerics.bases import inner_products
from isologit.numerics.distances import square_distances
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_each
from isologit.numerics.products import BLOCK, FLUSH, TILE
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix

# Enough for any sensible number of threads; each holds [8, d] sums of its own.
_ROW_BLOCKS = 64
# Below this share of the mean square, a variance as the difference of two sums is mostly rounding.
_CANCELLED = 2.0**-20

Apply = Callable[[Float64s], Float64s]


@dataclass(frozen=True, eq=False)
class Moments:
    """What one pass over W says: the finite rows, and their first two moments, in binary64.

    Parameters
    ----------
    rows
        ``[n]``, the finite ones.
    mean
        ``[d]``.
    variance
        The total variance: the trace of the covariance.
    """

    rows: npt.NDArray[np.int64]
    mean: Float64s
    variance: float

    @property
    def unit(self) -> float:
        """The power of two next to the root mean square of a centred row's length."""
        return float(2.0 ** np.round(np.log2(self.variance) / 2))

    @property
    def length(self) -> float:
        """The root mean square of a row's length, in units; rounding errors scale with it."""
        return float(np.sqrt(self.variance + self.mean @ self.mean)) / self.unit


def moments_of(matrix: Matrix) -> Moments:
    """Return the finite rows of a matrix and their first two moments, in one pass.

    Two more where some rows are not finite, and one more where they lie so far from the origin,
    for how close together they are, that their variance would be lost beside their squares.
    """
    rows = np.arange(matrix.n_tokens)
    with np.errstate(invalid="ignore"):
        sums = _sums_and_squares(matrix, rows)
    # A NaN or an infinity shows in the sums; of finite rows not even the squares overflow.
    if not np.isfinite(sums).all():
        rows = np.flatnonzero(scan_rows(matrix).finite)
        sums = _sums_and_squares(matrix, rows)
    mean, mean_square = sums / max(len(rows), 1)
    # A constant column of many tokens may come out a little below zero.
    variance = float(np.maximum(mean_square - mean * mean, 0.0).sum())
    if variance < _CANCELLED * mean_square.sum():
        variance = float(square_distances(matrix, rows, mean).mean())
    return Moments(rows, mean, variance)


def _sums_and_squares(matrix: Matrix, rows: npt.NDArray[np.int64]) -> Float64s:
    """Return the sums of some rows and of their squares, ``[2, d]``."""
    blocks = _row_blocks(len(rows))
    sums = np.zeros((len(blocks), products.packed_size(2, matrix.width)))

    def add(n: int) -> None:
        for words, places in kernels.typed_pieces(matrix, rows[slice(*blocks[n])], FLUSH):
            products.add_moments(words, places, sums[n])

    for_each(add, len(blocks))
    return products.unpacked(sums.sum(axis=0), 2, matrix.width, matrix.format, np.float64)


def covariance_product(
    matrix: Matrix,
    rows: npt.NDArray[np.int64],
    moments: Moments,
    precision: type[np.floating[Any]],
) -> Apply:
    """Return the function that multiplies ``[n, d]`` vectors by the covariance of some rows.

    The covariance is about the mean of all rows, and in units of the square of ``moments.unit``.
    A row's products are centred rather than the row: they are small where the rows lie far from the
    origin but close together, and so is what their rounding errors, and the mean's, come to.
    """
    blocks = _row_blocks(len(rows))
    sums = np.empty((len(blocks), products.packed_size(BLOCK, matrix.width)))
    totals = np.empty((len(blocks), BLOCK))

    def apply(vectors: Float64s) -> Float64s:
        result = np.empty_like(vectors)
        for first in range(0, len(vectors), BLOCK):
            chosen = vectors[first : first + BLOCK] / moments.unit
            rounded = np.zeros((BLOCK, matrix.width), precision)
            rounded[: len(chosen)] = chosen
            offsets = inner_products(rounded, moments.mean[None])[:, 0].astype(precision)
            basis = products.packed(rounded, matrix.format)

            def add(n: int, basis: Any = basis, offsets: Any = offsets) -> None:
                sums[n], totals[n] = 0, 0
                for words, places in kernels.typed_pieces(matrix, rows[slice(*blocks[n])], FLUSH):
                    products.add_products(words, places, basis, offsets, sums[n], totals[n])

            for_each(add, len(blocks))
            product = products.unpacked(
                sums.sum(axis=0), BLOCK, matrix.width, matrix.format, precision
            )
            product -= totals.sum(axis=0)[:, None] * moments.mean
            result[first : first + BLOCK] = product[: len(chosen)] / (moments.unit * len(rows))
        return result

    return apply


def _row_blocks(n_rows: int) -> list[tuple[int, int]]:
    """Cut rows into at most `_ROW_BLOCKS` blocks, whose bounds depend on nothing but the number."""
    step = max(TILE * 64, -(-n_rows // (_ROW_BLOCKS * TILE)) * TILE)
    return [(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
