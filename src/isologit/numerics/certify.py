"""Rounding an interval to a format: where both of its ends round alike, so does all between."""

import numpy as np
import numpy.typing as npt

from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s, Format
from isologit.numerics.kernels import bits_of, from_bits


def certified(
    approximate: Float64s, errors: Float64s, format_: Format
) -> tuple[Float64s, npt.NDArray[np.bool_]]:
    """Round intervals of real numbers to a format, where that has one answer.

    Rounding is monotone, so every real number between two ends that round alike rounds like them.
    The bounds must leave room for the rounding of the ends themselves.

    Parameters
    ----------
    approximate, errors
        ``[n]``: each real number is within its error of its approximation.
    format_
        The format to round to, once, to nearest with ties to even.

    Returns
    -------
    values
        ``[n]``, without −0. An approximation that is not finite stays as it is, a NaN but for its
        bits.
    unsure
        ``[n]``, where the ends differ or are not finite.
    """
    values = np.empty(len(approximate))
    unsure = np.empty(len(approximate), dtype=np.bool_)
    _certify(approximate, errors, *rounding_of(format_), values, unsure)
    return values, unsure


def rounding_of(format_: Format) -> tuple[int, float, float, float]:
    """Return what `round_one` needs to know of a format."""
    smallest_normal = 2.0**format_.min_exponent
    return 53 - format_.precision, 2.0**format_.quantum_exponent, smallest_normal, format_.largest


@kernel()
def round_one(x, dropped, quantum, smallest_normal, largest):  # type: ignore[no-untyped-def]
    """Round a finite binary64 value to a format, as `isologit.numerics.formats.round_to` does."""
    magnitude = abs(x)
    one = np.uint64(1)
    # Half of the last kept bit, minus one unless that bit is odd, carries as nearest-even should.
    bits = np.uint64(dropped)
    pattern = bits_of(magnitude)
    half = (one << (bits - one)) - one
    odd = (pattern >> bits) & one
    rounded = from_bits(((pattern + half + odd) >> bits) << bits)
    if magnitude < smallest_normal:
        rounded = np.rint(magnitude / quantum) * quantum
    if rounded > largest:
        rounded = np.inf
    return -rounded if x < 0 else rounded


@kernel()
def _certify(approximate, errors, dropped, quantum, smallest_normal, largest, values, unsure):  # type: ignore[no-untyped-def]
    for n in range(len(approximate)):
        low = round_one(approximate[n] - errors[n], dropped, quantum, smallest_normal, largest)
        high = round_one(approximate[n] + errors[n], dropped, quantum, smallest_normal, largest)
        finite = abs(approximate[n]) < np.inf and errors[n] < np.inf
        # −0 and +0 are one logit, and so are all NaNs; keep one of each.
        values[n] = low + 0.0 if finite else approximate[n]
        if np.isnan(values[n]):
            values[n] = np.nan
        unsure[n] = low != high or not finite
