"""Real dot products as rational numbers: which of many are equal, and in what order they stand."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from isologit.numerics import accumulator, kernels
from isologit.numerics.formats import encode
from isologit.numerics.ieee_mode import require_ieee_mode
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix, Vector

# Rows whose words are looked at together for an infinity or a NaN.
_CHECKED_ROWS = 4096
#: Every real dot product here is an integer over this power of two.
DENOMINATOR = 1 << -accumulator.LOWEST_EXPONENT


@dataclass(frozen=True, eq=False)
class Reals:
    """The distinct real numbers among n dot products.

    Parameters
    ----------
    numerators
        The q distinct ones, ascending, times `DENOMINATOR`: integers, whose differences cost a
        hundredth of those of fractions.
    labels
        ``[n]``, which of them each is.
    """

    numerators: tuple[int, ...]
    labels: npt.NDArray[np.intp]

    @property
    def values(self) -> tuple[Fraction, ...]:
        """The q distinct real numbers, ascending."""
        return tuple(Fraction(numerator, DENOMINATOR) for numerator in self.numerators)


def distinct_reals(matrix: Matrix, rows: npt.NDArray[np.intp], hidden_state: Vector) -> Reals:
    """Return the real numbers ``W[rows] · h``, each distinct one once.

    Each sum is held whole in the long accumulator, so that two are equal exactly where all its
    digits are: no bound and no second step.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    rows
        ``[n]``, which rows.
    hidden_state
        ``[d]``, in any of the formats read here.

    Raises
    ------
    ValueError
        A row or the state holds an infinity or a NaN.

    Notes
    -----
    Time: n·d additions of some 4 ns, shared by the threads, and a few µs for each distinct number.
    """
    h = hidden_state.values
    # The accumulator has no digits for these, and does not look.
    if len(rows) and not (np.isfinite(h).all() and _all_finite(matrix, rows)):
        raise ValueError("a row or the state holds an infinity or a NaN")
    require_ieee_mode()
    limbs = np.zeros((len(rows), accumulator.LIMBS), dtype=np.int64)
    negative = np.zeros(len(rows), dtype=np.bool_)

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        accumulator.exact_dots_limbs(words, places, h, limbs[start:stop], negative[start:stop])

    # A product costs some ten times more here than in binary64.
    for_blocks(fill, len(rows), 10 * matrix.row_bytes)
    # Settled digits have 32 bits: a row of them is one integer, little-endian.
    digits = limbs.astype("<u4")
    sums = [
        -size if below else size
        for size, below in zip(
            (int.from_bytes(row.tobytes(), "little") for row in digits), negative, strict=True
        )
    ]
    distinct = sorted(set(sums))
    place = {value: n for n, value in enumerate(distinct)}
    return Reals(
        tuple(distinct),
        np.array([place[value] for value in sums], dtype=np.intp),
    )


def _all_finite(matrix: Matrix, rows: npt.NDArray[np.intp]) -> bool:
    """Return whether no word of some rows has all ones in its exponent."""
    infinity = encode(np.inf, matrix.format)
    return all(
        ((matrix.take(rows[start : start + _CHECKED_ROWS]).words & infinity) != infinity).all()
        for start in range(0, len(rows), _CHECKED_ROWS)
    )
