"""Rows that are equal bit for bit, or zero: how much of that may be chance.

A gradient of its own makes a row unlike any other, so equal rows have not had one since they became
equal. But rows of few dimensions in a coarse format also meet by chance.

Null model: rows fall independently on places that are alike, so how many rows a place holds has a
Poisson distribution. Of the places that hold any, a share f ≈ λ/2 holds two or more; f is counted,
and λ = 2f taken from it, which is too much where some classes are no chance. Then D distinct rows
make a class of s rows with probability at most D·λ^(s−1)/s!.
"""

from dataclasses import dataclass
from math import lgamma

import numpy as np
import numpy.typing as npt

from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix

CHANCE = 1e-6
# Above this no class is too large for chance, whatever its size.
_CROWDED = 0.5
_SAMPLE = 2048

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RowDuplicates:
    """The classes of equal rows, token by token.

    Parameters
    ----------
    labels, sizes
        ``[V]``: each token's class, and how many tokens are in it.
    rate
        λ, how many other rows meet a given one by chance, at most.
    least_size
        The smallest class that is too large for chance, at one in 10^6 matrices; None where rows
        meet so often that none is.
    """

    labels: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]
    rate: float
    least_size: int | None

    @classmethod
    def of(cls, labels: npt.NDArray[np.int32], zero: Mask) -> "RowDuplicates":
        """Count the classes of labels ``[V]``; zero rows are no places like others."""
        counts = np.bincount(labels)
        distinct = np.bincount(labels[~zero], minlength=len(counts))
        distinct = distinct[distinct > 0]
        if not len(distinct):
            return cls(labels, counts[labels], 0.0, None)
        rate = 2 * float((distinct > 1).mean())
        return cls(labels, counts[labels], rate, _least_size(len(distinct), rate))

    @property
    def notable(self) -> Mask:
        """Which tokens are in a class that is too large for chance, ``[V]``."""
        if self.least_size is None:
            return np.zeros(len(self.labels), dtype=np.bool_)
        return np.asarray(self.sizes >= self.least_size)

    def hold(self, named: Mask) -> Mask:
        """Return which tokens are in a class of two or more that holds a named one, ``[V]``."""
        counts = np.bincount(self.labels[named], minlength=len(self.sizes))
        return np.asarray((counts[self.labels] > 0) & (self.sizes > 1))


def zero_rows_are_no_chance(matrix: Matrix) -> bool:
    """Return whether so few entries of the other rows are 0 that no row is all zeros by chance.

    With a share p of zeros among the entries of a sample of them, V·p^d is at most 10^-6.
    """
    scan = scan_rows(matrix)
    rows = np.flatnonzero(scan.finite & ~scan.zero)
    if not len(rows):
        return False
    rows = rows[:: -(-len(rows) // _SAMPLE)]
    zeros = sum(
        float((matrix.rows(part) == 0).mean(axis=1).sum())
        for part in np.array_split(rows, 8)
        if len(part)
    )
    share = zeros / len(rows)
    return bool(
        np.log(matrix.n_tokens) + matrix.width * np.log(max(share, 1e-300)) <= np.log(CHANCE)
    )


def _least_size(n_distinct: int, rate: float) -> int | None:
    """Return the smallest size s ≥ 2 with D·λ^(s−1)/s! ≤ 10^-6."""
    if rate > _CROWDED:
        return None
    size = 2
    while rate > 0 and (
        np.log(n_distinct) + (size - 1) * np.log(rate) - lgamma(size + 1) > np.log(CHANCE)
    ):
        size += 1
    return size
