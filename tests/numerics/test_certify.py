"""Intervals rounded to a format: against `round_to`, at every boundary between two values."""

import numpy as np
import pytest

from isologit.numerics.certify import certified
from isologit.numerics.formats import FORMATS, Format, round_to

each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)


def values_of(format_: Format) -> np.ndarray:
    """Return all positive finite values of a format, or many of them, ascending."""
    top = (2 * format_.max_exponent + 1) << (format_.precision - 1)
    if format_.bits == 16:
        words = np.arange(top)
    else:
        edges = np.array([0, 1 << 23, top >> 1, top - 4096])
        words = np.unique((edges[:, None] + np.arange(4096)).clip(0, top - 1))
    native = np.uint32 if format_.bits == 32 else np.uint16
    from isologit.numerics.formats import decode

    return decode(words.astype(native), format_)


@each_format
def test_a_number_without_an_error_is_rounded_once(format_: Format) -> None:
    below = values_of(format_)
    middles = (below[:-1] + below[1:]) / 2
    edges = np.concatenate(
        [below, middles, np.nextafter(middles, 0), np.nextafter(middles, np.inf)]
    )
    beyond = format_.largest + (format_.largest - below[-2]) * np.array([0.25, 0.5, 0.75, 4.0])
    x = np.concatenate([edges, beyond])
    for signed in (x, -x):
        values, unsure = certified(signed, np.zeros(len(x)), format_)
        assert not unsure.any()
        assert np.array_equal(values, round_to(signed, format_) + 0.0)
        assert not np.signbit(values[values == 0]).any()


@each_format
def test_an_interval_across_a_boundary_is_unsure_and_one_up_to_it_is_not(format_: Format) -> None:
    values = values_of(format_)
    values = values[values > 2.0**-100]
    middles = (values[:-1] + values[1:]) / 2
    quarter = (values[1:] - values[:-1]) / 4
    assert certified(middles, quarter, format_)[1].all()
    inner = values[1:-1]
    up = (values[2:] - inner) * 0.49
    down = (inner - values[:-2]) * 0.49
    rounded, unsure = certified(inner, np.minimum(up, down), format_)
    assert not unsure.any()
    assert np.array_equal(rounded, inner)


@each_format
def test_what_is_not_finite_is_unsure_and_stays(format_: Format) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1.0, 1.0])
    values, unsure = certified(x, np.array([0.0, 0.0, 0.0, np.nan, np.inf]), format_)
    assert unsure.all()
    assert np.array_equal(values[:3], x[:3], equal_nan=True)
