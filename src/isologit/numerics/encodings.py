"""How a real number becomes a stored word: rounded once, to nearest with ties to even.

An `Encoding` is what the kernels need to know of a format of at most 32 bits: of the formats of
`isologit.numerics.formats`, and of the 8-bit ones of `isologit.numerics.float8`.

The words of such a format, without the sign, are in the order of the numbers they stand for. So the
pattern of a binary64 number that is rounded to fewer bits is the word, but for the bias of its
exponent, and below the normal range the word is a count of quanta.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isologit.numerics.compilation import kernel
from isologit.numerics.formats import F16, Format
from isologit.numerics.kernels import bits_of, widen

# The bias of binary64's exponent, and the bits behind its point.
_BIAS64, _FRACTION64 = 1023, 52


class Encoding(NamedTuple):
    """What a kernel needs to know to encode into a format.

    Parameters
    ----------
    dropped
        Bits of a binary64 significand that are rounded away.
    offset
        What a rounded pattern has more than the word, by the bias of its exponent.
    per_unit
        Quanta in 1: the inverse of the smallest subnormal.
    smallest_normal
        Below this a word counts quanta.
    first_normal
        The word of that.
    too_large
        The smallest binary64 number that rounds beyond the largest finite one.
    overflow, infinity, nan
        The words, without a sign, of a number that is too large, of an infinity, and of a NaN.
    sign
        The sign's bit.
    nan_sign
        The same, or 0 where every NaN becomes the one NaN.
    """

    dropped: int
    offset: int
    per_unit: float
    smallest_normal: float
    first_normal: int
    too_large: float
    overflow: int
    infinity: int
    nan: int
    sign: int
    nan_sign: int


def encoding(
    *,
    bits: int,
    precision: int,
    min_exponent: int,
    largest: int,
    overflow: int,
    infinity: int,
    nan: int,
    keeps_nan_sign: bool,
) -> Encoding:
    """Return the encoding into a format whose words are a sign, an exponent and a fraction.

    Parameters
    ----------
    bits
        Of a word.
    precision
        Significant bits, the hidden one included.
    min_exponent
        Exponent of the smallest normal number, whose word has an exponent of 1.
    largest
        The largest finite number's word.
    overflow, infinity, nan
        See `Encoding`.
    keeps_nan_sign
        Whether a NaN keeps its sign.
    """
    fraction, sign = precision - 1, 1 << (bits - 1)
    dropped, offset = _FRACTION64 - fraction, (_BIAS64 + min_exponent - 1) << fraction
    # Half of a last place above the largest number is a tie, which goes to the even word.
    limit = (largest + offset << dropped) + (1 << (dropped - 1)) + (largest % 2 == 0)
    return Encoding(
        dropped=dropped,
        offset=offset,
        per_unit=2.0 ** (fraction - min_exponent),
        smallest_normal=2.0**min_exponent,
        first_normal=1 << fraction,
        too_large=float(np.uint64(limit).view(np.float64)),
        overflow=overflow,
        infinity=infinity,
        nan=nan,
        sign=sign,
        nan_sign=sign if keeps_nan_sign else 0,
    )


def encoding_of(format_: Format) -> Encoding:
    """Return the encoding of `isologit.numerics.formats.encode`: IEEE 754's, and one quiet NaN."""
    infinity = (2 * format_.max_exponent + 1) << (format_.precision - 1)
    return encoding(
        bits=format_.bits,
        precision=format_.precision,
        min_exponent=format_.min_exponent,
        largest=infinity - 1,
        overflow=infinity,
        infinity=infinity,
        nan=infinity | 1 << (format_.precision - 2),
        keeps_nan_sign=False,
    )


HALF = encoding_of(F16)


@kernel()
def encode_one(x, to):  # type: ignore[no-untyped-def]
    """Return the word of a binary64 number, as uint64."""
    one = np.uint64(1)
    dropped = np.uint64(to.dropped)
    magnitude = abs(x)
    pattern = bits_of(magnitude)
    # Half of the last kept bit, minus one unless that bit is odd, carries as nearest-even should.
    half = (one << (dropped - one)) - one
    odd = (pattern >> dropped) & one
    word = ((pattern + half + odd) >> dropped) - np.uint64(to.offset)
    if magnitude < to.smallest_normal:
        word = np.uint64(np.rint(magnitude * to.per_unit))
    elif magnitude == np.inf:
        word = np.uint64(to.infinity)
    elif magnitude >= to.too_large:
        word = np.uint64(to.overflow)
    negative = bits_of(x) >> np.uint64(63)
    if magnitude != magnitude:
        return np.uint64(to.nan) | (np.uint64(to.nan_sign) * negative)
    return word | (np.uint64(to.sign) * negative)


class Counts(NamedTuple):
    """What became of the entries of some rows; of finite ones alone.

    Parameters
    ----------
    zeroed
        Entries that were not 0 and are now.
    subnormal
        Entries that are subnormal numbers of the format now, 0 not counted.
    overflowed
        Entries that rounded beyond the largest number.
    """

    zeroed: int
    subnormal: int
    overflowed: int


def encode_rows(
    words: npt.NDArray[Any], divisors: npt.NDArray[np.float64], to: Encoding, out: npt.NDArray[Any]
) -> Counts:
    """Encode the real quotient of each entry and its row's divisor, rounded once.

    Parameters
    ----------
    words
        ``[n, d]`` as kernels take them.
    divisors
        ``[n]`` values of binary32, or infinities, which make zeros; not 0.
    to
        The format.
    out
        ``[n, d]`` words of it, filled.

    Notes
    -----
    The quotient is rounded to binary64 first, which changes nothing. A midpoint m of an 8-bit
    format, or of integers of 8 bits, has at most 9 significant bits, so m·s has at most 33, and a w
    of 24 bits that is not m·s is off it by at least 2^−33 of itself; rounding to binary64 moves
    w / s by less. Formats of more bits are asked for with divisors of 1 alone.
    """
    counts = np.zeros(3, dtype=np.int64)
    _encode_rows(words, divisors, to, out, counts)
    return Counts(*counts.tolist())


@kernel()
def _encode_rows(words, divisors, to, out, counts):  # type: ignore[no-untyped-def]
    zeroed = subnormal = overflowed = 0
    magnitude_bits = np.uint64(to.sign - 1)
    for n in range(words.shape[0]):
        divisor = divisors[n]
        for k in range(words.shape[1]):
            x = widen(words[n, k])
            quotient = x / divisor
            word = encode_one(quotient, to)
            out[n, k] = word
            size = word & magnitude_bits
            finite = abs(x) < np.inf
            zeroed += size == 0 and x != 0 and finite
            subnormal += 0 < size < np.uint64(to.first_normal)
            overflowed += finite and abs(quotient) >= to.too_large
    counts[0] += zeroed
    counts[1] += subnormal
    counts[2] += overflowed
