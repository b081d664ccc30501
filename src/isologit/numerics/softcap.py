"""The softcap c · tanh(ℓ / c), rounded once to a format, by an enclosure in rational numbers.

numpy's tanh, and every library's, has no proved error, so the value is enclosed here and the ends
rounded: where they agree, the rounding is decided. With t = exp(−2|x|) and x = ℓ/c

    |tanh(x)| = (1 − t) / (1 + t),

which falls as t grows. The exponential of −y is enclosed by halving y until it is below ½, taking
two neighbouring partial sums of its alternating series (its terms fall, so they lie on both sides),
and squaring back; every step is rounded outwards in integers.

More digits are taken until the ends agree (Ziv, 1991). That ends: for rational x ≠ 0 the number
exp(2x) is transcendental (Lindemann and Weierstrass), so c · tanh(x) is no rational number, and no
midpoint between two numbers of a format. Where t is below 2^−230 the value is less than c by so
little that the rounding is that of any number just below c.
"""

from fractions import Fraction

from isologit.numerics.formats import Format, round_fraction

# exp(−2 · 80) < 2^−230.
_SATURATED = 80
_JUST_BELOW = 1 - Fraction(1, 1 << 200)
_FIRST_BITS = 64
# For what is lost on the way: a squaring doubles the relative error, and there are at most ten.
_GUARD_BITS = 16


def softcap(logit: float, cap: float, format_: Format) -> float:
    """Return ``c · tanh(ℓ / c)``, rounded once to a format, nearest-even. Exact.

    Parameters
    ----------
    logit
        ℓ; an infinity gives ±c, rounded, and a NaN itself.
    cap
        c, positive and finite.
    format_
        The format of the result.
    """
    if logit != logit:
        return logit
    if logit == 0:
        return 0.0
    limit = Fraction(cap)
    size = abs(logit)
    if size == float("inf"):
        rounded = round_fraction(limit, format_)
    elif Fraction(size) >= _SATURATED * limit:
        # Below c by less than 2^−229 of it. c has at most 53 bits, and a midpoint that is not c
        # differs from it by more than 2^−60 of it: none lies between.
        rounded = round_fraction(limit * _JUST_BELOW, format_)
    else:
        rounded = _decided(Fraction(size) / limit, limit, format_)
    return rounded if logit > 0 else -rounded + 0.0


def _decided(x: Fraction, limit: Fraction, format_: Format) -> float:
    """Round ``limit · tanh(x)`` for rational x > 0, with as many digits as that takes."""
    # tanh(x) is about x where that is small: as many bits more as 1 − t loses.
    bits = _FIRST_BITS + max(0, x.denominator.bit_length() - x.numerator.bit_length())
    while True:
        low, high = tanh_bounds(x, bits)
        below = round_fraction(limit * low, format_)
        if below == round_fraction(limit * high, format_):
            return below
        bits *= 2


def tanh_bounds(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    """Return rational numbers below and above tanh(x), for x > 0, from bits of exp(−2x)."""
    low, high = exp_bounds(2 * x, bits)
    one = 1 << bits
    return Fraction(one - high, one + high), Fraction(one - low, one + low)


def exp_bounds(y: Fraction, bits: int) -> tuple[int, int]:
    """Return integers below and above 2^bits · exp(−y), for y ≥ 0."""
    halvings = max(0, y.numerator.bit_length() - y.denominator.bit_length() + 2)
    working = bits + _GUARD_BITS
    one = 1 << working
    z = y / (1 << halvings)  # below ½
    z_low = z.numerator * one // z.denominator
    low, high = max(_series(z_low + 1, one)[0], 0), _series(z_low, one)[1]
    for _ in range(halvings):
        low = low * low >> working
        high = -(-high * high >> working)
    return low >> _GUARD_BITS, min(-(-high >> _GUARD_BITS), 1 << bits)


def _series(z: int, one: int) -> tuple[int, int]:
    """Return integers below and above one · exp(−z/one), for z/one below 1.

    The terms are kept as enclosures [term, term + slack], and the sums outwards.
    """
    low = high = one
    term, slack, n = one, 0, 0
    while True:
        n += 1
        # The next term, z/n times this one: cut below, so that the true one is at most
        # slack · z/n + 1 above it.
        term, slack = term * z // (one * n), -(-slack * z // (one * n)) + 1
        if n % 2:
            low, high = low - term - slack, high - term
            under = low
        else:
            low, high = low + term, high + term + slack
            if term == 0:
                # An odd partial sum lies below the limit, an even one above.
                return under, high
