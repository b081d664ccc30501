"""Exact arithmetic: the real number, rounded once to a format, nearest-even.

Each function approximates what it is asked for and carries a rigorous bound on the error. Where
every real number within the bound rounds to the same value, that value is *certified*. What is
left goes to the next step, which costs more and decides more: first sums that are binary32 in part
(`dots_single`, or the sums of `scan_rows`), for results of at most 8 significant bits; then
binary64, where the products of stored numbers are exact (`dots_double`); and then integers, a long
accumulator that holds the whole sum, or a comparison of squares. Only those count as *refined*.

The bounds. A term t_k of a sum passes at most m roundings, each a factor 1 + δ with |δ| ≤ u, so the
sum is off by at most m·u·Σ|t_k| (without its terms of second order, for which there is room). m is
known because the order of addition is fixed (`isologit.numerics.lanes`), and Σ|w_k h_k| ≤ ‖w‖·‖h‖.
The mean of rows is summed in any order, where the bound is (n − 1)·u·Σ|t_k| (Jeannerod and Rump,
2013).

Sums that meet an infinity or a NaN follow IEEE 754, where any order gives the same answer, because
no finite sum of these products can overflow binary64.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from isologit.numerics import accumulator, kernels
from isologit.numerics.certify import certified
from isologit.numerics.dots import Dots, dots_double, dots_single
from isologit.numerics.formats import Float64s, Format, round_fraction, round_sqrt, round_to
from isologit.numerics.ieee_mode import require_ieee_mode
from isologit.numerics.lanes import ROOM, U_DOUBLE
from isologit.numerics.parallel import for_blocks, for_each
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, Vector

# Results of more significant bits than this are not worth a first step in binary32: too many rows
# would be left.
_SINGLE_PRECISION = 8
# Rows of a block that one thread adds up by columns.
_MEAN_BLOCK = 4096


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
    require_ieee_mode()
    values, rows = np.empty(matrix.n_tokens), np.arange(matrix.n_tokens)
    if logit_format.precision <= _SINGLE_PRECISION:
        first = dots_single(matrix, h)
        values, unsure = certified(first.values, first.errors, logit_format)
        rows = np.flatnonzero(unsure)
    values[rows], refined = decided_dots(matrix, rows, h, logit_format)
    return Rounded(values, refined)


def decided_dots(
    matrix: Matrix, rows: npt.NDArray[np.intp], h: Float64s, to: Format
) -> tuple[Float64s, int]:
    """Return ``W[rows] · h``, rounded once, and how many took the exact step."""
    dots = dots_double(matrix, rows, h)
    values, unsure = certified(dots.values, dots.errors, to)
    # Here an infinity or a NaN is the answer.
    left = np.flatnonzero(unsure & np.isfinite(dots.values))
    values[left] = _exact_dots(matrix, rows[left], h, to) + 0.0
    return values, len(left)


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
    require_ieee_mode()
    values, rows = np.full(matrix.n_tokens, np.nan), np.arange(matrix.n_tokens)
    reference_square = float(np.dot(r, r))
    if reference_square == 0 or not np.isfinite(reference_square):
        return Rounded(values, 0)
    if cosine_format.precision <= _SINGLE_PRECISION:
        first = dots_single(matrix, r)
        values, unsure = certified(*_quotients(first, reference_square, len(r)), cosine_format)
        rows = np.flatnonzero(unsure)
    dots = dots_double(matrix, rows, r)
    decided, unsure = certified(*_quotients(dots, reference_square, len(r)), cosine_format)
    has_none = ~np.isfinite(dots.squares) | (dots.squares == 0)
    decided[has_none] = np.nan
    left = np.flatnonzero(unsure & ~has_none)
    if len(left):
        reference_exact = exact_square(reference)
    for n in left:
        row = int(rows[n])
        dot = exact_dot(matrix, row, r)
        square = exact_dot(matrix, row, matrix.rows([row])[0])
        size = round_sqrt(dot * dot / (square * reference_exact), cosine_format)
        decided[n] = (-size if dot < 0 else size) + 0.0
    values[rows] = decided
    return Rounded(values, len(left))


def _quotients(dots: Dots, reference_square: float, width: int) -> tuple[Float64s, Float64s]:
    """Return ``w · r / (‖w‖ ‖r‖)`` and bounds on the errors; infinite where there is none."""
    share = dots.square_share
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        norms = np.sqrt(dots.squares) * np.sqrt(reference_square)
        cosines = dots.values / norms
        # The root of a square that is off by a share of at most ½ is off by less than that share;
        # r·r is off by d·u, and the operations here add less than 8 u.
        errors = np.abs(cosines) * (share + (width + 8) * U_DOUBLE)
        errors = (errors + dots.errors / norms * (1 + share)) * ROOM
    return cosines, np.where(share <= 0.5, errors, np.inf)


def norms(matrix: Matrix, format_: Format) -> Rounded:
    """Return each row's Euclidean norm, rounded once to a format. ``[V]``; exact."""
    require_ieee_mode()
    scan = scan_rows(matrix)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = scan.sum_depth + 2 * scan.square_loss / scan.squares
        values, unsure = certified(*_roots(scan.squares, share), format_)
    rows = np.flatnonzero(unsure)
    dots = dots_double(matrix, rows, np.zeros(matrix.width))
    decided, unsure = certified(*_roots(dots.squares, dots.square_share), format_)
    # The squares of stored numbers do not underflow here: a sum of 0 is that of a zero row.
    left = np.flatnonzero(unsure & np.isfinite(dots.squares) & (dots.squares > 0))
    for n in left:
        row = int(rows[n])
        square = exact_dot(matrix, row, matrix.rows([row])[0])
        decided[n] = round_sqrt(square, format_)
    values[rows] = decided
    return Rounded(values, len(left))


def norm_bounds(matrix: Matrix) -> Float64s:
    """Return upper bounds on the rows' norms, ``[V]``, above them by a millionth or so.

    From the pass over W that row classes take; infinite or NaN where a row is not finite.
    """
    scan = scan_rows(matrix)
    with np.errstate(invalid="ignore", over="ignore"):
        bounds = np.sqrt(scan.squares * (1 + scan.sum_depth) + 2 * scan.square_loss) * ROOM
    # Squares that binary32 cannot hold.
    rows = np.flatnonzero(~np.isfinite(bounds))
    dots = dots_double(matrix, rows, np.zeros(matrix.width))
    bounds[rows] = np.sqrt(dots.squares) * ROOM
    return bounds


def _roots(squares: Float64s, share: Float64s) -> tuple[Float64s, Float64s]:
    """Return the roots of squares that are off by a share of themselves, and bounds on errors."""
    roots = np.sqrt(squares)
    with np.errstate(invalid="ignore"):
        errors = roots * (share + 4 * U_DOUBLE) * ROOM
    return roots, np.where(share <= 0.5, errors, np.inf)


def sums(matrix: Matrix, format_: Format) -> Rounded:
    """Return each row's sum of entries, rounded once to a format. ``[V]``; exact."""
    require_ieee_mode()
    scan = scan_rows(matrix)
    with np.errstate(invalid="ignore", over="ignore"):
        magnitudes = np.sqrt(scan.squares * (1 + scan.sum_depth) + 2 * scan.square_loss)
        errors = magnitudes * (np.sqrt(matrix.width) * scan.sum_depth * ROOM)
    values, unsure = certified(scan.sums, errors, format_)
    rows = np.flatnonzero(unsure)
    values[rows], refined = decided_dots(matrix, rows, np.ones(matrix.width), format_)
    return Rounded(values, refined)


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
    blocks = range(0, n, _MEAN_BLOCK)
    parts = np.zeros((len(blocks), 2, matrix.width))

    def add_up(block: int) -> None:
        some = rows[blocks[block] : blocks[block] + _MEAN_BLOCK]
        for piece in kernels.typed_pieces(matrix, some):
            kernels.sum_columns(*piece, parts[block, 0], parts[block, 1])

    for_each(add_up, len(blocks))
    sums, magnitudes = parts.sum(axis=0)
    means = sums / n
    # The additions, and the division's own rounding.
    bound = magnitudes * ((n + 4) * U_DOUBLE / n * ROOM)
    values, unsure = certified(means, bound, matrix.format)
    unsure &= np.isfinite(means)
    columns = np.flatnonzero(unsure)
    limbs = np.zeros((len(columns), accumulator.LIMBS), dtype=np.int64)
    negative = np.zeros(len(columns), dtype=np.bool_)
    for piece in kernels.typed_pieces(matrix, rows) if len(columns) else ():
        accumulator.add_columns(*piece, columns, limbs)
    accumulator.settle_columns(limbs, negative)
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
    limbs = np.zeros(accumulator.LIMBS, dtype=np.int64)
    words = kernels.typed_block(matrix, row, row + 1)
    return _fraction(limbs, accumulator.exact_dot_limbs(words, 0, h, limbs))


def exact_sum(values: Float64s) -> Fraction:
    """Return the real sum of values that are 0 or of magnitude 2^-298 to 2^256.

    Every finite value of the formats read here, and every product of two, is one of these.
    """
    sizes = np.abs(values[values != 0])
    if len(sizes) and not (sizes.min() >= 2.0**-298 and sizes.max() <= 2.0**256):
        raise ValueError(
            f"magnitudes run from {sizes.min()} to {sizes.max()}, expected 2^-298 to 2^256"
        )
    limbs = np.zeros(accumulator.LIMBS, dtype=np.int64)
    return _fraction(limbs, accumulator.exact_sum_limbs(np.ascontiguousarray(values), limbs))


def exact_square(vector: Vector) -> Fraction:
    """Return the real number ``v · v``, for finite values."""
    return exact_dot(_as_row(vector), 0, vector.values)


def _as_row(vector: Vector) -> Matrix:
    return Matrix(np.ascontiguousarray(vector.words)[None, :], vector.format)


def _exact_dots(matrix: Matrix, rows: npt.NDArray[np.intp], h: Float64s, to: Format) -> Float64s:
    out = np.empty(len(rows))
    target = to.precision, to.quantum_exponent, to.largest

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        accumulator.exact_dots(words, places, h, *target, out[start:stop])

    # A product costs some ten times more here than in the binary64 pass.
    for_blocks(fill, len(rows), 10 * matrix.row_bytes)
    return out


def _fraction(limbs: npt.NDArray[np.int64], negative: bool) -> Fraction:
    total = sum(int(limb) << (32 * n) for n, limb in enumerate(limbs))
    scaled = Fraction(total) * Fraction(2) ** accumulator.LOWEST_EXPONENT
    return -scaled if negative else scaled
