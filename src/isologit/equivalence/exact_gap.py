"""The gap of one pair in integers, for the pairs that binary64 cannot tell from their neighbours.

Cancellation makes them: entries of γ ⊙ Δ that are nearly alike under LayerNorm, or a bias that
nearly makes up for β · Δ.
"""

from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np

from isologit.equivalence.norm_range import NormRange
from isologit.numerics.formats import Float64s

# Bits of the root; what is cut off is nothing beside a binary64 number's last.
_ROOT_BITS = 128


def exact_gap(
    left: Float64s,
    right: Float64s,
    norm_range: NormRange,
    *,
    scale: Fraction,
    biases_apart: Fraction,
) -> float:
    """Return the gap of two rows ``[d]``, rounded once from some 2⁻⁶⁰ of itself.

    0 only where every state gives both tokens the same real logit.

    Parameters
    ----------
    left, right
        ``[d]``, the rows.
    norm_range
        What the norm outputs.
    scale, biases_apart
        s, and s_b · (b_a − b_b).
    """
    rows, row_exponent = _integers(np.stack([left, right]))
    difference = rows[0] - rows[1]
    gamma, gamma_exponent = _integers(norm_range.gamma)
    x = difference * gamma
    # d times the sum of squared deviations, an integer as d times the sum of squares is.
    square = len(left) * int((x * x).sum())
    if norm_range.kind == "layer":
        square -= int(x.sum()) ** 2
    exponent = row_exponent + gamma_exponent
    gap = abs(scale) * _root(square) * Fraction(2) ** exponent
    constant = biases_apart
    if norm_range.beta is not None:
        beta, beta_exponent = _integers(norm_range.beta)
        product = int((difference * beta).sum())
        constant += scale * product * Fraction(2) ** (row_exponent + beta_exponent)
    return float(gap + abs(constant))


def _integers(values: Float64s) -> tuple[Any, int]:
    """Return Python's integers n and an exponent e such that the values are n · 2^e, exactly."""
    mantissas, exponents = np.frexp(values)
    whole = (mantissas * 2.0**53).astype(np.int64)
    used = exponents[whole != 0]
    least = int(used.min()) if used.size else 0
    shifts = np.where(whole != 0, exponents - least, 0)
    integers = whole.astype(object) << shifts.astype(object)
    return integers, least - 53


def _root(square: int) -> Fraction:
    """Return a root, from below, to `_ROOT_BITS` bits or more."""
    shift = max(0, 2 * _ROOT_BITS - square.bit_length())
    shift += shift % 2
    return Fraction(isqrt(square << shift), 1 << (shift // 2))
