"""The loops that multiply blocks of eight rows with eight vectors, compiled by numba.

Reassociation and contraction are allowed: nothing here is certified, and callers bound the error of
what they make of it.
"""

import numba
import numpy as np

from isologit.numerics.kernels import widen

# Vectors and rows at a time: what the loops below are written out for.
BLOCK = 8
_FASTMATH = {"reassoc", "contract"}


@numba.njit(nogil=True, cache=True, fastmath=_FASTMATH)
def sum_rows(words, start, stop, finite, sums):  # type: ignore[no-untyped-def]
    """Mark finite rows, and add them and their squares into ``sums``, ``[2, d]``."""
    row = np.empty(words.shape[1])
    totals = sums[0]
    squares = sums[1]
    for i in range(start, stop):
        check = 0.0
        for k in range(words.shape[1]):
            row[k] = widen(words[i, k])
            check += row[k] * 0.0
        # 0 · NaN and 0 · ∞ are NaN, and so is any sum with them.
        finite[i] = check == 0.0
        if finite[i]:
            for k in range(words.shape[1]):
                totals[k] += row[k]
                squares[k] += row[k] * row[k]


@numba.njit(nogil=True, cache=True, fastmath=_FASTMATH)
def _project(x, basis, y):  # type: ignore[no-untyped-def]
    """Fill ``y[r, c] = x[r] · basis[c]``, all ``[8, d]``, sixteen sums at a time."""
    zero = x.dtype.type(0)
    for r in range(0, 8, 4):
        x0, x1, x2, x3 = x[r], x[r + 1], x[r + 2], x[r + 3]
        for c in range(0, 8, 4):
            b0, b1, b2, b3 = basis[c], basis[c + 1], basis[c + 2], basis[c + 3]
            s00 = s01 = s02 = s03 = zero
            s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = zero
            s30 = s31 = s32 = s33 = zero
            for k in range(x.shape[1]):
                s00 += x0[k] * b0[k]
                s01 += x0[k] * b1[k]
                s02 += x0[k] * b2[k]
                s03 += x0[k] * b3[k]
                s10 += x1[k] * b0[k]
                s11 += x1[k] * b1[k]
                s12 += x1[k] * b2[k]
                s13 += x1[k] * b3[k]
                s20 += x2[k] * b0[k]
                s21 += x2[k] * b1[k]
                s22 += x2[k] * b2[k]
                s23 += x2[k] * b3[k]
                s30 += x3[k] * b0[k]
                s31 += x3[k] * b1[k]
                s32 += x3[k] * b2[k]
                s33 += x3[k] * b3[k]
            y[r, c], y[r, c + 1], y[r, c + 2], y[r, c + 3] = s00, s01, s02, s03
            y[r + 1, c], y[r + 1, c + 1], y[r + 1, c + 2], y[r + 1, c + 3] = s10, s11, s12, s13
            y[r + 2, c], y[r + 2, c + 1], y[r + 2, c + 2], y[r + 2, c + 3] = s20, s21, s22, s23
            y[r + 3, c], y[r + 3, c + 1], y[r + 3, c + 2], y[r + 3, c + 3] = s30, s31, s32, s33


@numba.njit(nogil=True, cache=True, fastmath=_FASTMATH)
def _accumulate(x, y, sums):  # type: ignore[no-untyped-def]
    """Add ``yᵀ · x`` into ``sums``; x and sums are ``[8, d]``, y is ``[8, 8]``."""
    # Tiles of x stay in the first-level cache. One-dimensional views, eight at most beside the
    # written one: more, or two-dimensional indexing, and LLVM gives up proving them apart.
    for start in range(0, x.shape[1], 512):
        stop = min(start + 512, x.shape[1])
        x0, x1, x2, x3 = x[0, start:stop], x[1, start:stop], x[2, start:stop], x[3, start:stop]
        x4, x5, x6, x7 = x[4, start:stop], x[5, start:stop], x[6, start:stop], x[7, start:stop]
        for c in range(8):
            y0, y1, y2, y3, y4, y5, y6, y7 = (
                y[0, c], y[1, c], y[2, c], y[3, c], y[4, c], y[5, c], y[6, c], y[7, c]
            )  # fmt: skip
            into = sums[c, start:stop]
            for k in range(into.shape[0]):
                into[k] += ((y0 * x0[k] + y1 * x1[k]) + (y2 * x2[k] + y3 * x3[k])) + (
                    (y4 * x4[k] + y5 * x5[k]) + (y6 * x6[k] + y7 * x7[k])
                )


@numba.njit(nogil=True, cache=True, fastmath=_FASTMATH)
def apply_rows(words, rows, start, stop, scale, mean, basis, sums):  # type: ignore[no-untyped-def]
    """Add ``Xᵀ · (X · basisᵀ)`` into ``sums``, X being ``words[rows[start:stop]] · scale − mean``.

    All in the precision of the four arrays of floats.
    """
    kind = basis.dtype.type
    x = np.zeros((8, words.shape[1]), basis.dtype)
    y = np.zeros((8, 8), basis.dtype)
    for i in range(start, stop, 8):
        for r in range(8):
            centred = x[r]
            if i + r < stop:
                row = rows[i + r]
                for k in range(words.shape[1]):
                    centred[k] = kind(widen(words[row, k])) * scale - mean[k]
            else:
                centred[:] = 0.0
        _project(x, basis, y)
        _accumulate(x, y, sums)


@numba.njit(nogil=True, cache=True, fastmath=_FASTMATH)
def project_rows(words, start, stop, basis, projections):  # type: ignore[no-untyped-def]
    """Fill ``projections[i] = words[i] · basisᵀ``, ``[V, 8]``."""
    x = np.zeros((8, words.shape[1]))
    y = np.zeros((8, 8))
    for i in range(start, stop, 8):
        for r in range(min(8, stop - i)):
            values = x[r]
            for k in range(words.shape[1]):
                values[k] = widen(words[i + r, k])
        _project(x, basis, y)
        for r in range(min(8, stop - i)):
            projections[i + r] = y[r]
