"""Bins of a power of two hold every value once, and as many numbers of a format each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.numerics.formats import BF16, F16, F32, Format, round_to
from isologit.output.histogram import Bins

_FORMATS = st.sampled_from([BF16, F16, F32])
_VALUES = st.lists(st.floats(-(2.0**15), 2.0**15), min_size=1, max_size=40)


@given(_VALUES, _FORMATS)
def test_every_value_is_in_the_bin_that_says_so(drawn: list[float], format_: Format) -> None:
    values = round_to(np.array(drawn), format_)
    bins = Bins.over(values, format_)
    counts = bins.counts(values)
    assert counts.sum() == len(values)
    assert len(counts) == bins.n
    assert counts[0] > 0
    assert counts[-1] > 0
    assert np.frexp(bins.width)[0] == 0.5
    for n in np.flatnonzero(counts).tolist():
        low, high = (bins.first + n) * bins.width, (bins.first + n + 1) * bins.width
        assert ((values >= low) & (values < high)).sum() == counts[n]


@given(_VALUES, _FORMATS)
def test_there_are_a_hundred_bins_or_so(drawn: list[float], format_: Format) -> None:
    values = round_to(np.array(drawn), format_)
    bins = Bins.over(values, format_)
    assert bins.n <= 162
    span, largest = np.ptp(values), np.abs(values).max()
    # Fewer only where a bin is as narrow as the format's numbers are apart.
    spacing = 2.0 ** (np.frexp(largest)[1] - format_.precision) if largest else 0
    assert bins.n >= 80 or bins.width <= max(spacing, 2.0**-990) or span == 0


def test_bins_next_to_each_other_hold_as_many_numbers_of_16_bits() -> None:
    # All bfloat16 numbers of one binade, each once: no comb.
    values = 1 + np.arange(128) / 128
    bins = Bins.over(values, BF16)
    assert set(bins.counts(values).tolist()) == {1}
    wide = Bins.over(np.append(values, 0.0), BF16)
    assert len(set(wide.counts(values)[wide.counts(values) > 0].tolist())) == 1


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -3.5, 2.0**-133, 3.0e38])
def test_one_value_is_one_bin(value: float) -> None:
    bins = Bins.over(np.full(7, value), BF16)
    assert bins.n == 1
    assert bins.counts(np.full(7, value)).tolist() == [7]
    assert np.isfinite(bins.width)


def test_bars_side_by_side_share_a_bin() -> None:
    bins = Bins.over(np.array([0.0, 1.0]), F32)
    left, right = (
        bins.bars(np.eye(1, bins.n, dtype=np.int64)[0], "n", "#000000", "x", part=n, parts=2)
        for n in (0, 1)
    )
    assert left.width == right.width == bins.width / 2
    assert (left.offset, right.offset) == (0, bins.width / 2)
    assert left.x.tolist() == right.x.tolist() == [0.0]
