"""Numbers on which rounding to a narrower format is hard, and which words they round to.

The oracle is of fractions and of the words' fields by definition (`oracle.fraction_oracle`).
Nothing here is imported from `isologit`.
"""

from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt

from oracle.fraction_oracle import Layout, magnitude

# The fields of a word, and the largest finite number's word.
TARGETS = {
    "f16": (Layout(5, 10), 0x7BFF),
    "bf16": (Layout(8, 7), 0x7F7F),
    "f32": (Layout(8, 23), 0x7F7FFFFF),
    "f8_e4m3fn": (Layout(4, 3), 0x7E),
    "f8_e5m2": (Layout(5, 2), 0x7B),
}


def nearest_word(size: Fraction, target: str) -> int:
    """Return the word nearest to a real number of 0 or more; of two, the even one.

    The largest finite word plus 1 stands for all that is too large.
    """
    layout, largest = TARGETS[target]
    low, high = 0, largest + 1
    while low < high:
        middle = (low + high + 1) // 2
        if magnitude(middle, layout) <= size:
            low = middle
        else:
            high = middle - 1
    if low <= largest:
        below, above = size - magnitude(low, layout), magnitude(low + 1, layout) - size
        if above < below or (above == below and low % 2 == 1):
            low += 1
    return low


@cache
def hard_values(target: str, precision: int) -> npt.NDArray[np.float64]:
    """Return numbers of so many significant bits at, just below and just above ties, of both signs.

    All of an 8-bit format's ties, and some of the others'; the first that is too large, the largest
    numbers, the smallest ones, and zeros.
    """
    layout, largest = TARGETS[target]
    if largest < 256:
        words = list(range(largest + 1))
    else:
        some = np.random.default_rng(0).integers(0, largest, 100).tolist()
        words = sorted({0, 1, 2, 3, *some, *range(largest - 3, largest + 1)})
    found = [0.0]
    for word in words:
        low, high = magnitude(word, layout), magnitude(word + 1, layout)
        middle = (low + high) / 2
        ulp = Fraction(2) ** (_exponent(middle) + 1 - precision)
        found += [float(x) for x in (low, low + ulp, middle - ulp, middle, middle + ulp)]
    largest_number = float(magnitude(largest, layout))
    found += [1.5 * largest_number, 2.0**127, 2.0**-126]
    values = np.array(found)
    return np.concatenate([values, -values])


def hard_singles(target: str) -> npt.NDArray[np.float32]:
    """Return those of `hard_values` that binary32 holds, rounded to it where they are others."""
    with np.errstate(over="ignore"):
        singles = hard_values(target, 24).astype(np.float32)
    return singles[np.isfinite(singles)]


def _exponent(value: Fraction) -> int:
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent - (Fraction(2) ** exponent > value)
