"""Binary64 numbers as integers over one power of two: exact sums, products and linear systems.

Slow, and without any bound on the size of numbers: for the few questions that no interval answers.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s

#: An array of Python's own integers.
Integers = npt.NDArray[np.object_]


def integers(values: Float64s) -> tuple[Integers, int]:
    """Return integers and an exponent e with ``values = integers · 2^e``, exactly.

    Parameters
    ----------
    values
        Finite, of any shape.

    Raises
    ------
    ValueError
        A value is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("an infinity or a NaN is no fraction")
    parts, exponents = np.frexp(values)
    whole = np.asarray(np.ldexp(parts, 53)).astype(np.int64)
    used = whole != 0
    if not used.any():
        return np.zeros(values.shape, dtype=object), 0
    # Bits that are 0 in all of them are left out: stored weights use 24 of the 53 at most.
    places = np.where(used, exponents, exponents[used].min()).astype(np.int64)
    low = int(places.min())
    found: Integers = np.left_shift(whole.astype(object), (places - low).astype(object))
    spare = gcd(*found.ravel().tolist())
    zeros = (spare & -spare).bit_length() - 1
    return np.asarray(np.right_shift(found, zeros), dtype=object), low - 53 + zeros


def fraction(values: Float64s, weights: Float64s) -> Fraction:
    """Return the real number ``values · weights`` of two vectors of finite numbers."""
    left, up = integers(values)
    right, down = integers(weights)
    total: Any = (left * right).sum() if len(left) else 0
    return Fraction(int(total)) * Fraction(2) ** (up + down)


@dataclass(frozen=True, eq=False)
class Solution:
    """The one solution of a linear system: ``numerators / denominator``, ``[n]``."""

    numerators: Integers
    denominator: int

    def fractions(self) -> list[Fraction]:
        """Return its entries."""
        return [Fraction(int(top), self.denominator) for top in self.numerators]


def solve(matrix: Float64s, right: Float64s) -> Solution | None:
    """Solve ``matrix · x = right`` exactly, by elimination without fractions (Bareiss, 1968).

    Parameters
    ----------
    matrix
        ``[m, n]``, m ≥ n.
    right
        ``[m]``.

    Returns
    -------
    Solution or None
        None where there is no solution, or more than one.

    Notes
    -----
    m·n² products of integers that grow to some n times as many bits as an entry has.
    """
    n_rows, n = matrix.shape
    rows, _ = integers(np.column_stack([matrix, right]))
    previous = 1
    for k in range(n):
        candidates = np.flatnonzero(rows[k:, k] != 0)
        if not len(candidates):
            return None
        pivot = k + int(candidates[0])
        if pivot != k:
            rows[[k, pivot]] = rows[[pivot, k]]
        top = rows[k, k]
        # Rows that are 0 in this column are multiplied alone; every division is exact.
        below = rows[k + 1 :]
        below[:, k + 1 :] = (
            below[:, k + 1 :] * top - np.outer(below[:, k], rows[k, k + 1 :])
        ) // previous
        below[:, k] = 0
        previous = top
    if n_rows > n and (rows[n:, n] != 0).any():
        return None
    # Back substitution over the common denominator, the determinant of the n rows used.
    scale = rows[n - 1, n - 1]
    found = np.zeros(n, dtype=object)
    for k in range(n - 1, -1, -1):
        rest = rows[k, n] * scale - (rows[k, k + 1 : n] * found[k + 1 :]).sum()
        found[k] = rest // rows[k, k]
    return Solution(found if scale > 0 else -found, abs(int(scale)))
