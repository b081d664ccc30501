"""Rows less a vector, in binary32, and the lengths of their parts: what a blocked product takes."""

import numpy as np
import numpy.typing as npt

from isologit.numerics import kernels
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix


def centred_rows(
    matrix: Matrix, rows: npt.NDArray[np.int64], centre: Float64s, factors: Float64s, width: int
) -> npt.NDArray[np.float32]:
    """Return the first columns of some rows, less a vector and times factors, ``[n, width]``.

    Each entry is rounded once to binary64 a step, and then to binary32.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    rows
        ``[n]``.
    centre, factors
        ``[d]``.
    width
        How many columns.
    """
    out = np.empty((len(rows), width), dtype=np.float32)

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        _fill_centred(words, places, centre, factors, out[start:stop])

    for_blocks(fill, len(rows), matrix.row_bytes)
    return out


def squares_beyond(
    matrix: Matrix,
    rows: npt.NDArray[np.int64],
    centre: Float64s,
    factors: Float64s,
    cuts: list[int],
) -> Float64s:
    """Return the sums of squares of rows, as in `centred_rows`, from some columns on.

    Parameters
    ----------
    cuts
        Ascending, from 0.

    Returns
    -------
    ndarray
        ``[n, cuts]`` binary64, within some (d + 4)·2⁻⁵³ of the real numbers.
    """
    out = np.empty((len(rows), len(cuts)))
    bounds = np.array([*cuts, matrix.width], dtype=np.int64)

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        _fill_squares(words, places, centre, factors, bounds, out[start:stop])

    for_blocks(fill, len(rows), matrix.row_bytes)
    return out


@kernel()
def _fill_centred(words, rows, centre, factors, out):  # type: ignore[no-untyped-def]
    for n in range(rows.shape[0]):
        row = words[rows[n]]
        for k in range(out.shape[1]):
            out[n, k] = np.float32((kernels.widen(row[k]) - centre[k]) * factors[k])


@kernel(fastmath={"reassoc", "contract"})
def _fill_squares(words, rows, centre, factors, bounds, out):  # type: ignore[no-untyped-def]
    for n in range(rows.shape[0]):
        row = words[rows[n]]
        rest = 0.0
        for part in range(bounds.shape[0] - 2, -1, -1):
            total = 0.0
            for k in range(bounds[part], bounds[part + 1]):
                value = (kernels.widen(row[k]) - centre[k]) * factors[k]
                total += value * value
            rest += total
            out[n, part] = rest
