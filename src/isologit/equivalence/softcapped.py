"""What a softcap merges: distinct logits that are one number behind c · tanh(ℓ / c)."""

from dataclasses import dataclass

from isologit.numerics.formats import F32, Float64s, Format
from isologit.numerics.softcap import softcap


@dataclass(frozen=True, eq=False)
class Merged:
    """Neighbouring distinct logits whose softcaps are one number of the format.

    Parameters
    ----------
    capped
        That number.
    first, stop
        Their range among the distinct logits.
    distinct_f32
        How many numbers their softcaps are where rounded once to f32 instead.
    """

    capped: float
    first: int
    stop: int
    distinct_f32: int


def merged_with(distinct: Float64s, place: int, cap: float, format_: Format) -> Merged:
    """Return the distinct logits that the softcap makes equal to one of them.

    Exact. The softcap and its rounding are monotone, so these are neighbours, and the ends of their
    range are found by bisection.

    Parameters
    ----------
    distinct
        The distinct logits, ascending, none of them NaN.
    place
        Which of them is asked about.
    cap
        c.
    format_
        The format of a logit, before and behind the softcap.
    """
    target = softcap(float(distinct[place]), cap, format_)
    low, high = 0, place
    while low < high:
        middle = (low + high) // 2
        if softcap(float(distinct[middle]), cap, format_) == target:
            high = middle
        else:
            low = middle + 1
    first, low, high = low, place + 1, len(distinct)
    while low < high:
        middle = (low + high) // 2
        if softcap(float(distinct[middle]), cap, format_) == target:
            low = middle + 1
        else:
            high = middle
    return Merged(target, first, low, _n_values(distinct, first, low, cap, F32))


def _n_values(distinct: Float64s, first: int, stop: int, cap: float, format_: Format) -> int:
    """Count the softcaps of a range of logits: equal ends are equal all between."""
    if stop - first < 1:
        return 0
    ends = [softcap(float(distinct[n]), cap, format_) for n in (first, stop - 1)]
    if ends[0] == ends[1]:
        return 1
    if stop - first == 2:
        return 2
    middle = (first + stop) // 2
    left = _n_values(distinct, first, middle, cap, format_)
    right = _n_values(distinct, middle, stop, cap, format_)
    joined = softcap(float(distinct[middle - 1]), cap, format_) == softcap(
        float(distinct[middle]), cap, format_
    )
    return left + right - joined
