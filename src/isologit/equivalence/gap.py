"""The gap of two tokens: the most by which their logits differ over all that a final norm outputs.

    gap(a, b) = |s| · √d · ‖P(γ ⊙ Δ)‖ + |s · β · Δ + s_b · (b_a − b_b)|,   Δ = w_a − w_b

in nats, for states ``β + γ ⊙ u`` with ‖u‖ ≤ √d: by Cauchy and Schwarz no u makes more of the first
term, u along P(γ ⊙ Δ) makes that much of it, and −u the same with the other sign. P takes off the
mean (LayerNorm's u has none) or nothing (RMSNorm). s multiplies the state's part, s_b the biases'.
It is a supremum over the norm's outputs, and an upper bound over prompts. As a sum of a Euclidean
distance and a distance of numbers it is a metric, but that different rows can have the gap 0.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.head import Head
from isologit.equivalence.exact_gap import ExactGap
from isologit.equivalence.norm_range import ComputedNorm, NormRange
from isologit.numerics.differences import (
    LANES,
    DifferenceSums,
    difference_sums,
    lane_of_entries,
    row_sums,
    squares_within,
    sum_share,
)
from isologit.numerics.formats import Float64s, Format
from isologit.numerics.lanes import ROOM, U_DOUBLE
from isologit.numerics.stored import Matrix

Ids = npt.NDArray[np.int64]

#: The share of a gap by which the number given for it may be off.
RELATIVE_ERROR = 1e-12
# What binary64 may be off by before a pair is computed in integers instead.
_TRUSTED = RELATIVE_ERROR / 4
# The raw stream of PCG64 is the same in every version of numpy.
_SEED = 20_251_126


@dataclass(frozen=True, eq=False)
class Points:
    """Rows in a few coordinates whose Euclidean distances never exceed the gaps.

    Parameters
    ----------
    coordinates
        ``[n, 34]``, in nats.
    errors
        ``[n]``, how far from the point that is meant they may be.
    """

    coordinates: Float64s
    errors: Float64s


@dataclass(frozen=True, eq=False)
class Gap:
    """The gaps of a head's tokens.

    Parameters
    ----------
    matrix
        W ``[V, d]``.
    norm_range
        What the head's norm outputs.
    compute_format
        The format that the norm's output is computed in.
    scale, bias_scale
        s and s_b.
    biases
        ``[V]``; None where the head has none.
    """

    matrix: Matrix
    norm_range: NormRange
    compute_format: Format
    scale: Fraction = Fraction(1)
    bias_scale: Fraction = Fraction(1)
    biases: Float64s | None = None

    @classmethod
    def of(cls, head: Head, norm_range: NormRange, compute_format: Format | None = None) -> "Gap":
        """Return the gaps under a head; the norm is computed in W's format unless said otherwise.

        A softcap is left out: c · tanh(ℓ/c) moves no two logits apart, so that the gap is still a
        bound, though no longer attained.
        """
        scale = bias_scale = Fraction(1)
        if head.scale is not None:
            divisor = head.scale.divisor
            scale = Fraction(head.scale.multiply) if divisor is None else 1 / Fraction(divisor)
            bias_scale = scale if head.scale.applies_to == "logits" else bias_scale
        return cls(
            *(head.matrix, norm_range, compute_format or head.matrix.format, scale, bias_scale),
            None if head.bias is None else head.bias.values,
        )

    @property
    def _centred(self) -> bool:
        return self.norm_range.kind == "layer"

    @property
    def _factor(self) -> float:
        return float(abs(self.scale))

    @property
    def _reach(self) -> float:
        """|s| · √d."""
        return self._factor * self.norm_range.radius

    @cached_property
    def _computed(self) -> ComputedNorm:
        return ComputedNorm.of(self.norm_range, self.compute_format)

    def sums(self, left: Ids, right: Ids) -> DifferenceSums:
        """Return the sums over γ ⊙ Δ and β ⊙ Δ of some pairs."""
        return difference_sums(
            *(self.matrix, left, right, self.norm_range.gamma, self.norm_range.beta),
            centred=self._centred,
        )

    def nats(self, left: Ids, right: Ids) -> Float64s:
        """Return the gaps of some pairs of tokens, ``[n]``, each within `RELATIVE_ERROR`.

        A pair's number depends on nothing but the pair, and is the same for (b, a). It is 0 only
        where the gap is.
        """
        return self._nats(left, right, self.sums(left, right))

    def nats_and_computed(self, left: Ids, right: Ids) -> tuple[Float64s, Float64s]:
        """Return the gaps, and what a computed norm's output cannot exceed either.

        The second is no less than ``|ℓ_a − ℓ_b|`` for real logits ``s · w · h̃ + s_b · b`` of every
        state h̃ that a norm computes under the assumptions of `ComputedNorm`.
        """
        sums = self.sums(left, right)
        nats = self._nats(left, right, sums)
        moved = self._computed.of_sums(
            radius=self.norm_range.radius,
            square=sums.raw_squares,
            scaled=sums.scaled_sizes,
            added=sums.product_sizes,
            sizes=sums.sizes,
        )
        return nats, (nats * (1 + RELATIVE_ERROR) + self._factor * moved) * ROOM

    def within(self, left: Ids, right: Ids, most_nats: float) -> tuple[Ids, Float64s]:
        """Return which of some pairs have a gap of at most so many nats, and their gaps. Exact."""
        # No sum of squares of rows comes near 10^300, nor is anything decided here.
        limit = min(most_nats / self._reach, 1e150) ** 2 * (1 + 1e-9)
        near = np.flatnonzero(
            squares_within(
                self.matrix, left, right, self.norm_range.gamma, limit, centred=self._centred
            )
        )
        left, right = left[near], right[near]
        nats = self.nats(left, right)
        inside = self.at_most(left, right, nats, most_nats)
        return near[inside], nats[inside]

    def _nats(self, left: Ids, right: Ids, sums: DifferenceSums) -> Float64s:
        """Return the gaps of pairs from their sums; what binary64 cannot tell is done in integers.

        Notes
        -----
        With u = 2⁻⁵³: an entry of γ ⊙ Δ is off by 2u of itself, a sum by `sum_share` of its terms;
        the mean by as much of the root mean square of x, which a two-pass sum of squared deviations
        shows squared; the constant by `sum_share` + 2u of its terms' magnitudes, and by 3u of the
        biases'.
        """
        share = sum_share(self.matrix.width)
        root, raw = np.sqrt(sums.squares), np.sqrt(sums.raw_squares)
        error = (share / 2 + 8 * U_DOUBLE) * root
        if self._centred:
            mean = (share + 4 * U_DOUBLE) * raw
            error += 3 * U_DOUBLE * raw
            error += mean * np.minimum(1.0, _ratios(mean, root))
        constant = float(self.scale) * sums.products
        error = self._reach * error
        error += self._factor * (share + 4 * U_DOUBLE) * sums.product_sizes
        if self.biases is not None:
            apart = float(self.bias_scale) * (self.biases[left] - self.biases[right])
            constant = constant + apart
            error += 4 * U_DOUBLE * np.abs(apart)
        error += U_DOUBLE * np.abs(constant)
        nats = self._reach * root + np.abs(constant)
        for n in np.flatnonzero(error > _TRUSTED * nats):
            nats[n] = self._exactly(int(left[n]), int(right[n])).nats
        return nats

    def at_most(
        self, left: Ids, right: Ids, nats: Float64s, most_nats: float
    ) -> npt.NDArray[np.bool_]:
        """Return which pairs' real gaps are at most so many nats, given `nats` of them. Exact."""
        inside = nats <= most_nats
        # Where the number's own error may matter.
        for n in np.flatnonzero(np.abs(nats - most_nats) <= 2 * RELATIVE_ERROR * most_nats):
            inside[n] = self._exactly(int(left[n]), int(right[n])).at_most(most_nats)
        return inside

    def _exactly(self, a: int, b: int) -> ExactGap:
        left, right = self.matrix.rows([a, b])
        apart = Fraction(0)
        if self.biases is not None:
            apart = self.bias_scale * (Fraction(self.biases[a]) - Fraction(self.biases[b]))
        return ExactGap.of(left, right, self.norm_range, scale=self.scale, biases_apart=apart)

    def witness(self, a: int, b: int) -> Float64s:
        """Return the state ``[d]`` at which two tokens' logits are as far apart as anywhere."""
        norm_range = self.norm_range
        difference = self.matrix.rows([a])[0] - self.matrix.rows([b])[0]
        constant = float(self.scale) * float(norm_range.constant(difference))
        if self.biases is not None:
            constant += float(self.bias_scale) * (self.biases[a] - self.biases[b])
        sign = -1.0 if (constant < 0) != (self.scale < 0) else 1.0
        return norm_range.of_inner(sign * norm_range.seen(difference))

    def points(self, token_ids: Ids) -> Points:
        """Return coordinates of rows whose distances are no more than the gaps, up to their errors.

        Of z = |s| · √d · P(γ ⊙ w): its products with 32 orthonormal vectors, the length of what
        these leave over, and beside them the constant c = s · β · w + s_b · b. By Pythagoras and
        the triangle inequality

            |Δy|² + |Δr|² + |Δc|² ≤ ‖Δz‖² + |Δc|² ≤ (‖Δz‖ + |Δc|)² = gap².

        Notes
        -----
        Each vector q has entries in every 32nd column alone, so they are orthogonal, and length 1.
        Q P x is Q x less the mean of x times Q 1. With u = 2⁻⁵³, v = d/32 + 34 and X = ‖γ ⊙ w‖:
        sums of x, products with q and lengths are within some v·u of X, the mean's share of Q x
        too, for ‖Q 1‖ ≤ √d; q itself is off by some (v + 2)·u. Together below 8·(v + 8)·u·X.
        The square of what is left over is off by that times 4·X.
        """
        gamma, beta, width = self.norm_range.gamma, self.norm_range.beta, self.matrix.width
        weights = _unit_weights(self.matrix)
        sums = row_sums(self.matrix, token_ids, gamma, beta, weights)
        sketch, squares = sums.sketch, sums.squares
        lengths = np.sqrt(squares)
        if self._centred:
            mean = sums.total / width
            lane = lane_of_entries(self.matrix)
            sketch = sketch - mean[:, None] * np.bincount(lane, weights, minlength=LANES)
            squares = np.maximum(squares - width * mean * mean, 0.0)
        unit = 8 * (width / LANES + LANES + 10) * U_DOUBLE
        left = np.maximum(squares - (sketch * sketch).sum(axis=1), 0.0)
        rest = np.sqrt(left)
        # |√a − √b| is at most √|a − b|, and at most |a − b|/√a.
        off = 4 * unit * lengths * lengths
        rest_error = np.minimum(np.sqrt(off), _ratios(off, rest))
        constants = float(self.scale) * sums.products
        errors = self._reach * (unit * lengths + rest_error)
        if beta is not None:
            sizes = row_sizes(self.matrix, token_ids, beta)
            errors += self._factor * unit * sizes
        if self.biases is not None:
            added = float(self.bias_scale) * self.biases[token_ids]
            constants = constants + added
            errors += 4 * U_DOUBLE * np.abs(added)
        coordinates = np.column_stack([self._reach * sketch, self._reach * rest, constants])
        errors += 8 * U_DOUBLE * np.abs(coordinates).max(axis=1, initial=0)
        return Points(coordinates, errors)


def _ratios(numbers: Float64s, divisors: Float64s) -> Float64s:
    """Return quotients of numbers that are not negative; infinity where the divisor is 0."""
    infinite = np.full_like(divisors, np.inf)
    return np.divide(numbers, divisors, out=infinite, where=divisors > 0)


def row_sizes(matrix: Matrix, token_ids: Ids, beta: Float64s) -> Float64s:
    """Return the Euclidean length of β ⊙ w times √d, no less than Σ|β_k w_k|, ``[n]``."""
    sums = row_sums(matrix, token_ids, beta, None, np.zeros(matrix.width))
    return np.sqrt(matrix.width * sums.squares) * ROOM


def _unit_weights(matrix: Matrix) -> Float64s:
    """Return weights ``[d]`` whose squares sum to 1 over the columns of each lane."""
    random = np.random.PCG64(_SEED).random_raw(matrix.width)
    sizes = 0.75 + (random >> np.uint64(11)) * 2.0**-54
    weights = np.where(random & np.uint64(1), -sizes, sizes)
    lane = lane_of_entries(matrix)
    squares = np.bincount(lane, weights * weights, minlength=LANES)
    # A hair shorter than 1: rounding must not make a distance longer.
    return weights / np.sqrt(squares[lane]) * (1 - 1e-12)
