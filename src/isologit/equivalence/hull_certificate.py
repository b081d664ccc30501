"""Certificates that a token can never be the one maximum, and their proof.

Nothing here is shared with what finds the weights: a certificate is tokens and numbers from
anywhere, and holds only if what is written here proves it, in exact rationals or in binary64 with
a bound on every rounding.

A *hull* certificate writes a row as a mean of other rows, Σ α_j w_j = w_i with α > 0 and Σ α = 1;
then ℓ_i = Σ α_j ℓ_j at every state, which is no more than the largest ℓ_j. No binary64 weights do
that exactly. So what is proved is that there is one set of exact weights, that they are positive,
and that each of them lies within `TOLERANCE` of the one stated.

With biases a row has one more entry, its bias, and the mean may lie above the token there:
Σ α_j b_j = b_i + σ. With σ > 0 the token is below the maximum at every state.

Without biases the token reaches the maximum at h = 0 at least, where all tokens tie. It does so
nowhere else if its row is in the interior of the hull. *Levels* say so: the first is a mean as
above, which places the row inside the hull of the level's tokens, within their affine span. The
next is a mean up to directions of that span, Σ β_j w_j ∈ w_i + span: a multiple of the first mean
makes up for any such direction, so the row is inside the hull of both levels' tokens, within the
span of both. Where that span is the whole space, the row is in the interior; with biases it is then
below another mean, as it is with σ > 0 in a level: such a multiple takes nothing off σ.

A *bound* certificate is for states u within a ball of radius r: weights α ≥ 0 with
r·‖Σ α_j (x_j − x_i)‖ < Σ α_j (c_j − c_i), x being what u is multiplied with and c what is added to
a logit. Then the mean of the others' logits is above the token's at every u of the ball.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np

from isologit.numerics.dyadic import solve
from isologit.numerics.formats import Float64s
from isologit.numerics.lanes import ROOM, U_DOUBLE

#: How far a stated weight may be from the exact one, as a share of it.
TOLERANCE = 2.0**-20
# Rows times the square of the unknowns, up to which a system is solved in integers: some seconds.
_MOST_EXACT = 200_000
# What the weights of a bound may sum to, apart from 1.
_SUM_TOLERANCE = 2.0**-40

Rows = Callable[[Sequence[int]], Float64s]
Heights = Callable[[Sequence[int]], Float64s]


class Proof(Enum):
    """What a certificate proves of its token."""

    NOTHING = "nothing"
    #: It is never the strict maximum; whether it ties for it somewhere is left open.
    NEVER_ALONE = "never alone"
    #: It is below the maximum at every state, but for states at which all tokens tie.
    NEVER = "never"


@dataclass(frozen=True)
class Level:
    """Tokens and their weights in a mean; up to the directions of the levels before.

    Parameters
    ----------
    token_ids
        Distinct.
    weights
        One each, positive; their sum is 1.
    """

    token_ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class HullCertificate:
    """A row as a mean of others; see the module's text.

    Parameters
    ----------
    levels
        At least one.
    excess
        σ of the last level, what the mean of the biases is more than the token's; None where it is
        0, or there are no biases.
    """

    levels: tuple[Level, ...]
    excess: float | None = None


@dataclass(frozen=True)
class BoundCertificate:
    """Weights whose mean is above a token at every state of a ball; see the module's text.

    Parameters
    ----------
    token_ids, weights
        As of a `Level`, of a weight 0 or more.
    slack
        How far above, at least: Σ α_j (c_j − c_i) − r·‖Σ α_j (x_j − x_i)‖.
    """

    token_ids: tuple[int, ...]
    weights: tuple[float, ...]
    slack: float


def hull_proof(
    certificate: HullCertificate,
    token_id: int,
    rows: Rows,
    *,
    heights: Heights | None = None,
    kernel: Float64s | None = None,
) -> Proof:
    """Return what a hull certificate proves.

    Parameters
    ----------
    certificate
        From anywhere.
    token_id
        i.
    rows
        Returns the exact rows of some tokens, ``[n, m]``; m dimensions, those that states have.
    heights
        Returns the exact biases of some tokens, ``[n]``; None where there are none.
    kernel
        ``[m]``, a direction that no state has any part of; None where there is none.
    """
    levels = certificate.levels
    if not levels:
        return Proof.NOTHING
    if certificate.excess is not None and (heights is None or not certificate.excess > 0):
        return Proof.NOTHING
    used = [token for level in levels for token in level.token_ids]
    # An array takes −1 for its last row, which may be the token's own.
    if token_id in used or min(used, default=-1) < 0 or len(set(used)) < len(used):
        return Proof.NOTHING
    if any(not level.token_ids for level in levels):
        return Proof.NOTHING
    if any(len(level.weights) != len(level.token_ids) for level in levels):
        return Proof.NOTHING
    if heights is not None:
        rows = _lifted(rows, heights)
        kernel = None if kernel is None else np.append(kernel, 0.0)
    own = rows([token_id])[0]
    spans: list[Float64s] = []
    dimensions = 0 if kernel is None else 1
    for level in levels:
        points, stated = rows(level.token_ids), list(level.weights)
        above = level is levels[-1] and certificate.excess is not None
        if above:
            stated.append(float(certificate.excess or 0.0))
        matrix, right = _system(points, own, spans, kernel, above=above)
        if not _positive_near(matrix, right, np.array(stated)):
            return Proof.NOTHING
        spans.append(points)
        # One solution means that the columns are independent, but for the mean itself.
        dimensions += len(points) - 1
    if certificate.excess is not None or dimensions == len(own):
        return Proof.NEVER
    return Proof.NEVER_ALONE


def _lifted(rows: Rows, heights: Heights) -> Rows:
    """Return rows with a height as their last entry."""
    return lambda ids: np.column_stack([rows(ids), heights(ids)])


def bound_proof(
    certificate: BoundCertificate,
    token_id: int,
    rows: Rows,
    *,
    heights: Callable[[Sequence[int]], list[Fraction]],
    gamma: Float64s,
    zero_mean: bool,
    radius: float,
) -> Proof:
    """Return what a bound certificate proves.

    Parameters
    ----------
    certificate, token_id
        As of `hull_proof`.
    rows
        Returns the exact rows of W, ``[n, d]``.
    heights
        Returns what is added to a token's logit whatever the state is, exactly.
    gamma, zero_mean, radius
        u is in a ball of this radius, and multiplies γ ⊙ w; `zero_mean` says that its mean is 0.
    """
    weights, ids = np.array(certificate.weights), certificate.token_ids
    if not ids or len(ids) != len(weights) or token_id in ids or len(set(ids)) < len(ids):
        return Proof.NOTHING
    if min(ids) < 0 or not (np.isfinite(weights).all() and (weights >= 0).all()):
        return Proof.NOTHING
    if not 0 < certificate.slack < np.inf:
        return Proof.NOTHING
    total = sum(map(Fraction, certificate.weights), Fraction(0))
    if abs(total - 1) > _SUM_TOLERANCE:
        return Proof.NOTHING
    own = heights([token_id])[0]
    others = heights(ids)
    above = sum(
        (Fraction(a) * (c - own) for a, c in zip(weights, others, strict=True)), Fraction(0)
    )
    points, own_row = rows(ids), rows([token_id])[0]
    # Each entry passes a product with γ, one with its weight, and the additions: k + 4 roundings.
    sums = gamma * (weights @ points) - gamma * (weights.sum() * own_row)
    sizes = np.abs(gamma) * (weights @ np.abs(points) + weights.sum() * np.abs(own_row))
    errors = sizes * ((len(ids) + 6) * U_DOUBLE * ROOM)
    # P is a projection, so it lengthens no error; its own roundings are some d + 3 of the mean.
    if zero_mean:
        errors = errors + (len(sums) + 4) * U_DOUBLE * ROOM * (np.abs(sums) + np.abs(sums).mean())
        sums = sums - sums.mean()
    length = np.linalg.norm(sums) + np.linalg.norm(errors)
    reach = float(length * radius * (1 + 2 * (len(sums) + 8) * U_DOUBLE))
    if not np.isfinite(reach):
        return Proof.NOTHING
    slack = above - Fraction(reach)
    if slack <= 0 or abs(slack - Fraction(certificate.slack)) > slack * Fraction(TOLERANCE):
        return Proof.NOTHING
    return Proof.NEVER


def _system(
    points: Float64s,
    own: Float64s,
    spans: Sequence[Float64s],
    kernel: Float64s | None,
    *,
    above: bool,
) -> tuple[Float64s, Float64s]:
    """Return the linear system of a level, with exact entries; its first unknowns are the weights.

    The others are σ; multiples of the rows of earlier levels, which add up to 0 a level and so are
    directions of its span; and one of the kernel.
    """
    width = len(own)
    matrix = np.vstack([points.T, np.ones(len(points))])
    right = np.append(own, 1.0)
    if above:
        down = np.zeros((width + 1, 1))
        down[width - 1] = -1.0
        matrix = np.hstack([matrix, down])
    for span in spans:
        n_rows, n = matrix.shape
        grown = np.zeros((n_rows + 1, n + len(span)))
        grown[:n_rows, :n] = matrix
        grown[:width, n:] = span.T
        grown[n_rows, n:] = 1.0
        matrix, right = grown, np.append(right, 0.0)
    if kernel is not None:
        column = np.zeros((len(matrix), 1))
        column[:width, 0] = kernel
        matrix = np.hstack([matrix, column])
    return matrix, right


def _positive_near(matrix: Float64s, right: Float64s, stated: Float64s) -> bool:
    """Prove that a system has one solution, and that its first entries are positive and as stated.

    Within `TOLERANCE` of each.
    """
    n_rows, n = matrix.shape
    if n > n_rows or not (np.isfinite(stated).all() and (stated > 0).all()):
        return False
    if n == n_rows:
        enclosed = _enclosure(matrix, right)
        if enclosed is not None:
            middle, radius = enclosed[0][: len(stated)], enclosed[1]
            near = np.abs(middle - stated) + radius <= TOLERANCE * stated * (1 - 4 * U_DOUBLE)
            if near.all() and (middle > radius).all():
                return True
    if n_rows * n * n > _MOST_EXACT:
        return False
    solution = solve(matrix, right)
    if solution is None:
        return False
    exact = solution.fractions()[: len(stated)]
    share = Fraction(TOLERANCE)
    return all(
        weight > 0 and abs(weight - Fraction(float(said))) <= share * weight
        for weight, said in zip(exact, stated, strict=True)
    )


def _enclosure(matrix: Float64s, right: Float64s) -> tuple[Float64s, float] | None:
    """Return a point and a radius, in the largest entry, around the one solution of ``[n, n]``.

    With R near the inverse and ‖I − R M‖∞ < 1, M has an inverse, and the solution is within
    ‖R (b − M x)‖∞ / (1 − ‖I − R M‖∞) of any x (Rump, Acta Numerica 19, 2010, §10). Every product in
    binary64 is off by at most n·u times that of the magnitudes. None where that proves nothing.
    """
    n = len(matrix)
    unit = (n + 2) * U_DOUBLE * ROOM
    with np.errstate(all="ignore"):
        try:
            inverse = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            return None
        middle = inverse @ right
        middle = middle + inverse @ (right - matrix @ middle)
        sizes = np.abs(inverse)
        deviation = np.abs(np.eye(n) - inverse @ matrix)
        deviation += unit * (sizes @ np.abs(matrix) + np.eye(n)) + n * _TINY
        contraction = float(deviation.sum(axis=1).max()) * (1 + unit)
        residual = np.abs(right - matrix @ middle)
        residual += unit * (np.abs(matrix) @ np.abs(middle) + np.abs(right)) + n * _TINY
        moved = np.abs(sizes @ residual) * (1 + unit) + n * _TINY
        if not contraction < 0.5 or not np.isfinite(moved).all():
            return None
        radius = float(moved.max()) / (1 - contraction) * (1 + unit)
    bounds: tuple[Float64s, float] = middle, radius
    return bounds


# More than any product that underflows is off by.
_TINY = 2.0**-1000
