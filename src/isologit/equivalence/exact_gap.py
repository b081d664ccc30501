"""The gap of one pair in integers: for what binary64 cannot tell, and to compare with a threshold.

Cancellation makes the first: entries of γ ⊙ Δ that are nearly alike under LayerNorm, or a bias that
nearly makes up for β · Δ.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np

from isologit.equivalence.norm_range import NormRange
from isologit.numerics.dyadic import integers
from isologit.numerics.formats import Float64s

# Bits of the root; what is cut off is nothing beside a binary64 number's last.
_ROOT_BITS = 128


@dataclass(frozen=True)
class ExactGap:
    """A gap as ``√square + constant``, both of them rational and neither negative."""

    square: Fraction
    constant: Fraction

    @classmethod
    def of(
        cls,
        left: Float64s,
        right: Float64s,
        norm_range: NormRange,
        *,
        scale: Fraction,
        biases_apart: Fraction,
    ) -> "ExactGap":
        """Return the gap of two rows.

        Parameters
        ----------
        left, right
            ``[d]``, the rows.
        norm_range
            What the norm outputs.
        scale, biases_apart
            s, and s_b · (b_a − b_b).
        """
        rows, row_exponent = integers(np.stack([left, right]))
        difference = rows[0] - rows[1]
        gamma, gamma_exponent = integers(norm_range.gamma)
        x = difference * gamma
        # d times the sum of squares, or of squared deviations: (√d · ‖P x‖)², an integer.
        square = len(left) * int((x * x).sum())
        if norm_range.kind == "layer":
            square -= int(x.sum()) ** 2
        constant = biases_apart
        if norm_range.beta is not None:
            beta, beta_exponent = integers(norm_range.beta)
            product = int((difference * beta).sum())
            constant += scale * product * Fraction(2) ** (row_exponent + beta_exponent)
        unit = Fraction(4) ** (row_exponent + gamma_exponent)
        return cls(scale**2 * square * unit, abs(constant))

    @property
    def nats(self) -> float:
        """The gap, rounded once from some 2⁻¹²⁰ of itself; 0 only where it is."""
        return float(_root(self.square) + self.constant)

    def at_most(self, nats: float) -> bool:
        """Return whether the gap is at most so many nats. Exact."""
        rest = Fraction(nats) - self.constant
        return rest >= 0 and self.square <= rest**2


def _root(square: Fraction) -> Fraction:
    """Return a root, from below, to `_ROOT_BITS` bits or more."""
    # √(n/m) = √(n·m)/m.
    product = square.numerator * square.denominator
    shift = max(0, 2 * _ROOT_BITS - product.bit_length())
    shift += shift % 2
    return Fraction(isqrt(product << shift), square.denominator << (shift // 2))
