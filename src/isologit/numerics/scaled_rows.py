"""Rows of one matrix that are those of another times one factor, each entry rounded once.

Row x became row y by the factor c > 0 where c·x_k, as a real number, rounds to y_k for every k.
The reals that round to y_k lie between the midpoints to its two neighbours, which belong to it
where its last bit is even. So each entry that is not 0 allows an interval of c, whose ends are a
midpoint over |x_k|, and a factor exists exactly where all intervals meet. An entry that is 0 before
has to be 0 after, and allows any factor.

Two ends m/x and n/z are compared as m·z and n·x: midpoints have 25 significant bits at most and
entries 24, so binary64 holds these products, and every comparison is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s
from isologit.numerics.kernels import typed_rows, widen
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """The rows that one factor each explains; exact.

    Parameters
    ----------
    token_ids
        ``[n]`` ascending.
    ends
        ``[n, 4]`` binary64: the least factor is the first number over the second, the greatest the
        third over the fourth.
    is_open
        ``[n, 2]`` bool: whether the least and the greatest are themselves left out.
    """

    token_ids: npt.NDArray[np.int64]
    ends: Float64s
    is_open: npt.NDArray[np.bool_]

    @property
    def range(self) -> tuple[float, float] | None:
        """The least and the greatest factor of any row, rounded; None of no rows."""
        if not len(self.token_ids):
            return None
        least, greatest = (self.ends[:, k] / self.ends[:, k + 1] for k in (0, 2))
        return float(least.min()), float(greatest.max())

    def common(self) -> tuple[Fraction, Fraction] | None:
        """Return the ends of the factors that do for all of the rows at once; None of none.

        All between them do; the ends themselves where they are equal.
        """
        if not len(self.token_ids):
            return None
        lows, highs = self._ends(0, np.max), self._ends(1, np.min)
        least, greatest = max(end for end, _ in lows), min(end for end, _ in highs)
        if least < greatest:
            return least, greatest
        if least > greatest or (least, True) in lows or (greatest, True) in highs:
            return None
        return least, greatest

    def _ends(self, k: int, extreme: Callable[[Float64s], float]) -> list[tuple[Fraction, bool]]:
        """Return the least (0) or greatest (1) factors of some rows, and whether they are left out.

        Of those rows that can have the extreme of all: a quotient in binary64 is off by 2^-53 of
        itself.
        """
        numerators, denominators = self.ends[:, 2 * k], self.ends[:, 2 * k + 1]
        quotients = numerators / denominators
        near = np.abs(quotients - extreme(quotients)) <= quotients * 2.0**-50
        ends = zip(numerators[near], denominators[near], self.is_open[near, k], strict=True)
        return [(Fraction(a) / Fraction(b), bool(is_open)) for a, b, is_open in ends]


def scaled_rows(before: Matrix, after: Matrix, rows: npt.NDArray[np.int64]) -> ScaledRows:
    """Find the rows that are a positive factor times what they were, rounded once. Exact.

    Rows that hold an infinity or a NaN in either matrix are none, nor are those that are zero
    before or after: any factor, or any that is small enough, would do.

    Parameters
    ----------
    before, after
        ``[V, d]`` of one width. The rows of `after` are stored in its format, without a coding.
    rows
        Ids of the rows to look at, ascending.

    Raises
    ------
    ValueError
        The widths differ, or `after` is in a coding, whose values are not rounded one by one.
    """
    if before.width != after.width:
        raise ValueError(f"rows of {before.width} and of {after.width} entries")
    if after.coding is not None:
        raise ValueError(f"values of {after.stored_as} are not rounded one by one")
    found = np.empty(len(rows), dtype=np.bool_)
    ends, is_open = np.empty((len(rows), 4)), np.empty((len(rows), 2), dtype=np.bool_)
    # Where the number after the largest would stand.
    beyond = 2.0 ** (after.format.max_exponent + 1)

    def fill(start: int, stop: int) -> None:
        left, left_rows = typed_rows(before, rows[start:stop])
        right, right_rows = typed_rows(after, rows[start:stop])
        out = found[start:stop], ends[start:stop], is_open[start:stop]
        _intervals(left, left_rows, right, right_rows, beyond, *out)

    for_blocks(fill, len(rows), before.row_bytes + after.row_bytes)
    return ScaledRows(rows[found], ends[found], is_open[found])


@kernel()
def _intervals(before, before_rows, after, after_rows, beyond, found, ends, is_open):  # type: ignore[no-untyped-def]
    """Fill whether a factor exists, and between which two."""
    one = after.dtype.type(1)
    for n in range(len(before_rows)):
        # As numerators and denominators: from 0, which is left out, up to infinity.
        low, low_of, low_open = 0.0, 1.0, True
        high, high_of, high_open = 1.0, 0.0, True
        possible = True
        for k in range(after.shape[1]):
            x, word = widen(before[before_rows[n], k]), after[after_rows[n], k]
            y = widen(word)
            if not (abs(x) < np.inf and abs(y) < np.inf) or (x == 0 and y != 0):
                possible = False
                break
            if x == 0:
                continue
            if y != 0 and (x < 0) != (y < 0):
                possible = False
                break
            x, y, is_odd = abs(x), abs(y), (word & one) == one
            # The words of one sign stand in the order of their sizes.
            middle = 0.5 * (y + min(abs(widen(after.dtype.type(word + one))), beyond))
            mine, other = middle * high_of, high * x
            if mine < other:
                high, high_of, high_open = middle, x, is_odd
            elif mine == other:
                high_open = high_open or is_odd
            if y != 0:
                middle = 0.5 * (abs(widen(after.dtype.type(word - one))) + y)
                mine, other = middle * low_of, low * x
                if mine > other:
                    low, low_of, low_open = middle, x, is_odd
                elif mine == other:
                    low_open = low_open or is_odd
            mine, other = low * high_of, high * low_of
            if mine > other or (mine == other and (low_open or high_open)):
                possible = False
                break
        # The least factor stays 0 where every entry is 0 after.
        found[n] = possible and low > 0
        ends[n, 0], ends[n, 1], ends[n, 2], ends[n, 3] = low, low_of, high, high_of
        is_open[n, 0], is_open[n, 1] = low_open, high_open
