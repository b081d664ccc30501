"""Exact arithmetic: the real number, rounded once to a format, nearest-even.

Each function sums in binary64, where the products of stored numbers are exact, and carries a bound
on the summation error that holds for any order of addition. Where every real number within the
bound rounds to the same value, that value is *certified*. The rest are decided by integers: a long
accumulator that holds the whole sum (Kulisch, 1986), or a comparison of squares.

The bound. For n terms t_k added in any order in binary64, the computed sum differs from the real
one by at most (n − 1)·u·Σ|t_k|, u = 2^-53 (Jeannerod and Rump, 2013, without higher-order terms);
the computed Σ|t_k| is itself low by at most the same share. `_sum_bound` widens this by a few u,
which covers the roundings of the bound's own computation and of sum ± bound.

Sums that meet an infinity or a NaN follow IEEE 754, where any order gives the same answer, because
no finite sum of these products can overflow binary64.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from isologit.errors import FloatingPointModeError
from isologit.numerics import kernels
from isologit.numerics.formats import Float64s, Format, round_fraction, round_sqrt, round_to
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix, Vector

_U = 2.0**-53
# Not literals where they are used, so that nothing folds the sums beforehand: 1, and what is below
# and above half of its last bit.
_PROBES = np.array([1.0, 2.0**-53, 3 * 2.0**-54])


@dataclass(frozen=True, eq=False)
class Rounded:
    """Correctly rounded results.

    Parameters
    ----------
    values
        Binary64 holding values of the target format.
    refined
        How many were not certified by the bound and took the exact step.
    """

    values: Float64s
    refined: int


def logits(matrix: Matrix, hidden_state: Vector, logit_format: Format) -> Rounded:
    """Return ``W · h``, each the real dot product rounded once to the logit format.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    hidden_state
        ``[d]``, in any of the formats read here.
    logit_format
        The format that a logit is rounded to.

    Returns
    -------
    Rounded
        ``[V]``. Exact given W and h as stored.
    """
    h = hidden_state.values
    if h.shape != (matrix.width,):
        raise ValueError(f"hidden state has {h.shape[0]} values, expected d = {matrix.width}")
    sums, magnitudes = _dot_rows(matrix, h)
    values, unsure = _certify(sums, _sum_bound(magnitudes, matrix.width), logit_format)
    rows = np.flatnonzero(unsure)
    values[rows] = _exact_dots(matrix, rows, h, logit_format) + 0.0
    return Rounded(values, len(rows))


def require_ieee_mode() -> None:
    """Check that this thread rounds to nearest-even and keeps subnormals, as every proof assumes.

    Some libraries, and `torch.set_flush_denormal`, change the mode of the calling thread, and
    threads that it starts take it over.

    Raises
    ------
    FloatingPointModeError
    """
    one, below, above = _PROBES
    subnormal = np.array([1], dtype=np.uint32).view(np.float32).astype(np.float64)[0]
    if subnormal != 2.0**-149:
        raise FloatingPointModeError(
            "this thread flushes subnormal numbers to zero, so nothing it computes is exact; "
            "expected IEEE 754 arithmetic. Undo torch.set_flush_denormal(True), or run isologit "
            "in a process of its own"
        )
    if one + below != one or one + above == one or -one - below != -one:
        raise FloatingPointModeError(
            "this thread does not round to nearest, so nothing it computes is exact; expected "
            "IEEE 754's default mode. Run isologit in a process of its own"
        )


def cosines(matrix: Matrix, reference: Vector, cosine_format: Format) -> Rounded:
    """Return the real cosine of each row with a reference direction, rounded once.

    A zero or non-finite row has no cosine: NaN. So has every row if the reference is zero.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    reference
        ``[d]``.
    cosine_format
        The format that a cosine is rounded to.

    Returns
    -------
    Rounded
        ``[V]``. Exact: where the bound does not decide, (w·r)² is compared with m²·(w·w)·(r·r)
        in integers, m the midpoint.
    """
    r = reference.values
    if r.shape != (matrix.width,):
        raise ValueError(f"reference has {r.shape[0]} values, expected d = {matrix.width}")
    sums, magnitudes = _dot_rows(matrix, r)
    squares = row_squares(matrix)
    reference_square = float(np.dot(r, r))
    with np.errstate(divide="ignore", invalid="ignore"):
        norms = np.sqrt(squares) * np.sqrt(reference_square)
        approximate = sums / norms
        # Each square sum is off by at most d·u relative, so the product of the two roots by d·u;
        # the four operations that follow add less than 8 u.
        bound = _sum_bound(magnitudes, matrix.width) / norms * (1 + 2.0**-20)
        bound += np.abs(approximate) * (matrix.width + 8) * _U * (1 + 2.0**-20)
    values, unsure = _certify(approximate, bound, cosine_format)
    no_cosine = ~np.isfinite(squares) | (squares == 0)
    if reference_square == 0 or not np.isfinite(reference_square):
        no_cosine[:] = True
    values[no_cosine] = np.nan
    rows = np.flatnonzero(unsure & ~no_cosine)
    if len(rows):
        reference_exact = exact_square(reference)
        for row in rows:
            dot = exact_dot(matrix, int(row), r)
            square = exact_dot(matrix, int(row), matrix.rows([row])[0])
            size = round_sqrt(dot * dot / (square * reference_exact), cosine_format)
            values[row] = (-size if dot < 0 else size) + 0.0
    return Rounded(values, len(rows))


def norms(matrix: Matrix, format_: Format) -> Rounded:
    """Return each row's Euclidean norm, rounded once to a format. ``[V]``; exact."""
    squares = row_squares(matrix)
    approximate = np.sqrt(squares)
    values, unsure = _certify(approximate, approximate * (matrix.width + 4) * _U, format_)
    rows = np.flatnonzero(unsure)
    for row in rows:
        square = exact_dot(matrix, int(row), matrix.rows([row])[0])
        values[row] = round_sqrt(square, format_)
    return Rounded(values, len(rows))


def mean_row(matrix: Matrix, token_ids: npt.ArrayLike) -> tuple[Vector, int]:
    """Return the exact mean of some rows, rounded once to the matrix's format.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    token_ids
        ``[n]``, n at least 1.

    Returns
    -------
    Vector
        ``[d]``.
    int
        How many coordinates took the exact step.
    """
    rows = np.ascontiguousarray(token_ids, dtype=np.int64)
    if rows.ndim != 1 or not len(rows):
        raise ValueError("the mean of no rows is not defined")
    if rows.min() < 0 or rows.max() >= matrix.n_tokens:
        # The kernel reads memory at these ids without a check of its own.
        raise IndexError(
            f"token ids run from {rows.min()} to {rows.max()}, expected 0 to {matrix.n_tokens - 1}"
        )
    n = len(rows)
    require_ieee_mode()
    sums = np.zeros(matrix.width)
    magnitudes = np.zeros(matrix.width)
    kernels.sum_columns(kernels.typed(matrix.words, matrix.format), rows, sums, magnitudes)
    means = sums / n
    bound = _sum_bound(magnitudes, n) / n * (1 + 2.0**-50)
    values, unsure = _certify(means, bound, matrix.format)
    columns = np.flatnonzero(unsure)
    limbs = np.zeros((len(columns), kernels.LIMBS), dtype=np.int64)
    negative = np.zeros(len(columns), dtype=np.bool_)
    words = kernels.typed(matrix.words, matrix.format)
    kernels.exact_column_limbs(words, rows, columns, limbs, negative)
    for n, column in enumerate(columns):
        total = _fraction(limbs[n], bool(negative[n]))
        values[column] = round_fraction(total / len(rows), matrix.format) + 0.0
    return Vector.of_values(values, matrix.format), len(columns)


def mean(values: Float64s, format_: Format) -> float:
    """Return the exact mean of values of at most 24 significant bits, rounded once to a format.

    A NaN, or infinities of both signs, give NaN; infinities of one sign give that infinity.
    """
    if not np.isfinite(values).all():
        with np.errstate(invalid="ignore"):
            return float(np.sum(values))
    return round_fraction(exact_sum(values) / len(values), format_) + 0.0


def median(values: Float64s, format_: Format) -> float:
    """Return the median of values of a format: the lower of the two middle ones, as torch has it.

    A NaN among them gives NaN. Exact: the median is one of the values.
    """
    if not len(values):
        raise ValueError("the median of no values is not defined")
    # partition puts a NaN last, where it would pass for the largest value.
    if np.isnan(values).any():
        return float("nan")
    middle = (len(values) - 1) // 2
    return float(round_to(np.partition(values, middle)[middle], format_))


def norm(vector: Vector, format_: Format) -> float:
    """Return a vector's Euclidean norm, rounded once to a format. Exact."""
    if not np.isfinite(vector.values).all():
        return float(np.linalg.norm(vector.values))
    return round_sqrt(exact_square(vector), format_)


def dot(left: Vector, right: Vector, format_: Format) -> float:
    """Return the dot product of two vectors, rounded once to a format. Exact."""
    return float(logits(_as_row(left), right, format_).values[0])


def equal_dots(matrix: Matrix, rows: npt.ArrayLike, hidden_state: Vector) -> bool | None:
    """Return whether some rows have one real dot product with a state.

    None where an infinity or a NaN is involved. Exact; stops at the first row that differs.
    """
    reals = (exact_dot(matrix, int(row), hidden_state.values) for row in np.asarray(rows))
    try:
        first = next(reals, None)
        return all(real == first for real in reals)
    except ValueError:
        return None


def exact_dot(matrix: Matrix, row: int, h: Float64s) -> Fraction:
    """Return the real number ``W[row] · h``.

    Raises
    ------
    ValueError
        An infinity or a NaN is involved.
    """
    if not (np.isfinite(h).all() and np.isfinite(matrix.rows([row])).all()):
        raise ValueError(f"row {row} or the state holds an infinity or a NaN")
    limbs = np.zeros(kernels.LIMBS, dtype=np.int64)
    words = kernels.typed(matrix.words, matrix.format)
    return _fraction(limbs, kernels.exact_dot_limbs(words, row, h, limbs))


def exact_sum(values: Float64s) -> Fraction:
    """Return the real sum of values that are 0 or of magnitude 2^-298 to 2^256.

    Every finite value of the formats read here, and every product of two, is one of these.
    """
    sizes = np.abs(values[values != 0])
    if len(sizes) and not (sizes.min() >= 2.0**-298 and sizes.max() <= 2.0**256):
        raise ValueError(
            f"magnitudes run from {sizes.min()} to {sizes.max()}, expected 2^-298 to 2^256"
        )
    limbs = np.zeros(kernels.LIMBS, dtype=np.int64)
    return _fraction(limbs, kernels.exact_sum_limbs(np.ascontiguousarray(values), limbs))


def exact_square(vector: Vector) -> Fraction:
    """Return the real number ``v · v``, for finite values."""
    return exact_dot(_as_row(vector), 0, vector.values)


def row_squares(matrix: Matrix) -> Float64s:
    """Return each row's sum of squares in binary64, within (d − 1)·u of the real one. ``[V]``."""
    require_ieee_mode()
    squares = np.empty(matrix.n_tokens)
    words = kernels.typed(matrix.words, matrix.format)
    for_blocks(
        lambda start, stop: kernels.square_rows(words, start, stop, squares),
        matrix.n_tokens,
        matrix.width * matrix.format.itemsize,
    )
    return squares


def _as_row(vector: Vector) -> Matrix:
    return Matrix(np.ascontiguousarray(vector.words)[None, :], vector.format)


def _dot_rows(matrix: Matrix, h: Float64s) -> tuple[Float64s, Float64s]:
    require_ieee_mode()
    sums = np.empty(matrix.n_tokens)
    magnitudes = np.empty(matrix.n_tokens)
    words = kernels.typed(matrix.words, matrix.format)
    for_blocks(
        lambda start, stop: kernels.dot_rows(words, h, start, stop, sums, magnitudes),
        matrix.n_tokens,
        matrix.width * matrix.format.itemsize,
    )
    return sums, magnitudes


def _exact_dots(matrix: Matrix, rows: npt.NDArray[np.intp], h: Float64s, to: Format) -> Float64s:
    out = np.empty(len(rows))
    words = kernels.typed(matrix.words, matrix.format)
    for_blocks(
        lambda start, stop: kernels.exact_dots(
            words, rows, h, to.precision, to.quantum_exponent, to.largest, start, stop, out
        ),
        len(rows),
        # A product costs some ten times more here than in the binary64 pass.
        10 * matrix.width * matrix.format.itemsize,
    )
    return out


def _sum_bound(magnitudes: Float64s, terms: int) -> Float64s:
    return magnitudes * ((terms + 4) * _U * (1 + 2.0**-20))


def _certify(
    approximate: Float64s, bound: Float64s, format_: Format
) -> tuple[Float64s, npt.NDArray[np.bool_]]:
    """Round the ends of each interval; where they agree that is the answer.

    Rounding is monotone, so every real number between two ends that round alike rounds like them.
    Non-finite sums are answers as they stand.
    """
    with np.errstate(invalid="ignore"):
        low = round_to(approximate - bound, format_)
        high = round_to(approximate + bound, format_)
    finite = np.isfinite(approximate)
    values = np.where(finite, low, approximate)
    # −0 and +0 are one logit, and so are all NaNs; keep one of each.
    return np.where(np.isnan(values), np.nan, values + 0.0), finite & (low != high)


def _fraction(limbs: npt.NDArray[np.int64], negative: bool) -> Fraction:
    total = sum(int(limb) << (32 * n) for n, limb in enumerate(limbs))
    scaled = Fraction(total) * Fraction(2) ** kernels.LOWEST_EXPONENT
    return -scaled if negative else scaled
