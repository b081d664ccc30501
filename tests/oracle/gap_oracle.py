"""Gaps by definition, in rational numbers, one entry after another; slow and obvious.

Nothing of `isologit` is imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

Row = Sequence[float]


@dataclass(frozen=True)
class TrueGap:
    """``√square + constant``, both rational."""

    square: Fraction
    constant: Fraction

    @property
    def nats(self) -> Decimal:
        with localcontext() as context:
            context.prec = 60
            root = (Decimal(self.square.numerator) / Decimal(self.square.denominator)).sqrt()
            return root + Decimal(self.constant.numerator) / Decimal(self.constant.denominator)

    def at_most(self, nats: float) -> bool:
        rest = Fraction(nats) - self.constant
        return rest >= 0 and self.square <= rest * rest


def true_gap(
    left: Row,
    right: Row,
    *,
    layer: bool,
    gamma: Row,
    beta: Row | None = None,
    scale: Fraction = Fraction(1),
    bias_scale: Fraction = Fraction(1),
    biases: tuple[float, float] = (0.0, 0.0),
) -> TrueGap:
    """Return |s| √d ‖P(γ ⊙ Δ)‖ + |s β · Δ + s_b (b_a − b_b)|."""
    d = len(left)
    delta = [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(left, right, strict=True)]
    x = [Fraction(float(g)) * each for g, each in zip(gamma, delta, strict=True)]
    if layer:
        mean = sum(x, Fraction(0)) / d
        x = [each - mean for each in x]
    square = scale * scale * d * sum((each * each for each in x), Fraction(0))
    constant = bias_scale * (Fraction(float(biases[0])) - Fraction(float(biases[1])))
    if beta is not None:
        dot = sum(
            (Fraction(float(b)) * each for b, each in zip(beta, delta, strict=True)), Fraction(0)
        )
        constant += scale * dot
    return TrueGap(square, abs(constant))
