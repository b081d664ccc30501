"""What every logit, cosine, norm and mean should be: slow, obvious, and apart from the package.

Only the standard library's integers and fractions are used here, and nothing is imported from
`isologit`. A stored word is decoded from its bit fields by IEEE 754's definition. A real number is
rounded by bisecting the format's words, which stand in the order of their values, and comparing the
distances to the word below and the word above.

Results are real numbers or one of the markers below. The reals have one zero, so a result never
says whether a zero was negative.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache


class Special(Enum):
    """What is no real number."""

    PLUS_INFINITY = "+inf"
    MINUS_INFINITY = "-inf"
    NAN = "nan"


Real = Fraction | Special


@dataclass(frozen=True)
class Layout:
    """The widths of a format's fields; the sign takes one bit more."""

    exponent_bits: int
    fraction_bits: int

    @property
    def bias(self) -> int:
        """What is taken from the exponent field."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def infinity(self) -> int:
        """The word of +Inf: all ones in the exponent field, none in the fraction's."""
        return ((1 << self.exponent_bits) - 1) << self.fraction_bits

    @property
    def sign(self) -> int:
        """The word whose sign bit alone is set: −0."""
        return 1 << (self.exponent_bits + self.fraction_bits)


LAYOUTS = {"bf16": Layout(8, 7), "f16": Layout(5, 10), "f32": Layout(8, 23)}


@lru_cache(maxsize=1 << 17)
def magnitude(word: int, layout: Layout) -> Fraction:
    """Return what the fields of a word without its sign say, the all-ones exponent like any other.

    So +Inf reads as the power of two that would come after the largest finite number, which is
    how IEEE 754 rounds: to Inf from halfway up to it.
    """
    exponent, fraction = divmod(word, 1 << layout.fraction_bits)
    part = Fraction(fraction, 1 << layout.fraction_bits)
    if exponent == 0:
        return part * Fraction(2) ** (1 - layout.bias)
    return (1 + part) * Fraction(2) ** (exponent - layout.bias)


@lru_cache(maxsize=1 << 17)
def decode(word: int, format_name: str) -> Real:
    """Return the value of a stored word."""
    layout = LAYOUTS[format_name]
    negative, rest = divmod(word, layout.sign)
    if rest > layout.infinity:
        return Special.NAN
    if rest == layout.infinity:
        return Special.MINUS_INFINITY if negative else Special.PLUS_INFINITY
    return -magnitude(rest, layout) if negative else magnitude(rest, layout)


def _last_word(fits: Callable[[Fraction], bool], layout: Layout) -> int:
    """Return the largest word, up to +Inf's, whose magnitude fits. Zero always does."""
    low, high = 0, layout.infinity
    while low < high:
        middle = (low + high + 1) // 2
        if fits(magnitude(middle, layout)):
            low = middle
        else:
            high = middle - 1
    return low


def _to_real(word: int, negative: bool, layout: Layout) -> Real:
    if word == layout.infinity:
        return Special.MINUS_INFINITY if negative else Special.PLUS_INFINITY
    return -magnitude(word, layout) if negative else magnitude(word, layout)


def nearest(value: Real, format_name: str) -> Real:
    """Return the format's number nearest to a real one; of two, the one whose word is even."""
    if isinstance(value, Special):
        return value
    layout = LAYOUTS[format_name]
    size = abs(value)
    word = _last_word(lambda candidate: candidate <= size, layout)
    if word < layout.infinity:
        below = size - magnitude(word, layout)
        above = magnitude(word + 1, layout) - size
        if above < below or (above == below and word % 2 == 1):
            word += 1
    return _to_real(word, value < 0, layout)


def nearest_root(square: Fraction, format_name: str) -> Real:
    """Return the format's number nearest to the square root of a rational number of 0 or more.

    The root itself may be irrational, so squares are compared, and the midpoint's for distances.
    """
    layout = LAYOUTS[format_name]
    word = _last_word(lambda candidate: candidate * candidate <= square, layout)
    if word < layout.infinity:
        midpoint = (magnitude(word, layout) + magnitude(word + 1, layout)) / 2
        if square > midpoint**2 or (square == midpoint**2 and word % 2 == 1):
            word += 1
    return _to_real(word, False, layout)


def multiply(a: Real, b: Real) -> Real:
    """Return a·b; Inf·0 is NaN."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    if Special.NAN in (a, b) or 0 in (a, b):
        return Special.NAN
    return Special.MINUS_INFINITY if _is_negative(a) != _is_negative(b) else Special.PLUS_INFINITY


def add(a: Real, b: Real) -> Real:
    """Return a + b; Inf − Inf is NaN."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a + b
    infinities = {x for x in (a, b) if isinstance(x, Special)}
    return infinities.pop() if len(infinities) == 1 else Special.NAN


def _is_negative(a: Real) -> bool:
    return a < 0 if isinstance(a, Fraction) else a is Special.MINUS_INFINITY


def total(values: Iterable[Real]) -> Real:
    """Return the real sum."""
    result: Real = Fraction(0)
    for value in values:
        result = add(result, value)
    return result


def dot(left: Sequence[Real], right: Sequence[Real]) -> Real:
    """Return the real dot product."""
    return total(multiply(a, b) for a, b in zip(left, right, strict=True))


def cosine(row: Sequence[Real], reference: Sequence[Real], format_name: str) -> Real:
    """Return the real cosine of two vectors, rounded once; NaN where there is none."""
    product = dot(row, reference)
    squares = multiply(dot(row, row), dot(reference, reference))
    if not isinstance(product, Fraction) or not isinstance(squares, Fraction) or squares == 0:
        return Special.NAN
    size = nearest_root(product**2 / squares, format_name)
    return -size if product < 0 and isinstance(size, Fraction) else size


def norm(row: Sequence[Real], format_name: str) -> Real:
    """Return the real Euclidean norm, rounded once."""
    square = dot(row, row)
    return nearest_root(square, format_name) if isinstance(square, Fraction) else square


def mean(values: Sequence[Real], format_name: str) -> Real:
    """Return the real mean, rounded once."""
    sum_ = total(values)
    return nearest(sum_ / len(values) if isinstance(sum_, Fraction) else sum_, format_name)


def as_float(value: Real) -> float:
    """Return a rounded result as binary64, which holds it exactly."""
    if isinstance(value, Special):
        return float(value.value)
    exact = float(value)
    if Fraction(exact) != value:
        raise ValueError(f"{value} is no binary64 number: round it first")
    return exact
