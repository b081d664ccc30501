"""The map of the sphere: there and back again, and equal areas are equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.output.mollweide import from_map, from_middle, graticule, on_map


def at(lat: float, lon: float, middle: float = 0.0) -> tuple[float, float]:
    x, y = on_map(np.array([lat]), np.array([lon]), middle)
    return float(x[0]), float(y[0])


@given(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from([0.0, 180.0]))
def test_a_place_is_found_again(lat: float, lon: float, middle: float) -> None:
    x, y = on_map(np.array([lat]), np.array([lon]), middle)
    back_lat, back_lon = from_map(x, y, middle)
    assert back_lat[0] == pytest.approx(lat, abs=0.02)
    apart = from_middle(back_lon - lon, 0)[0] * np.cos(np.radians(lat))
    assert apart == pytest.approx(0, abs=1e-6)
    assert (x[0] / 2) ** 2 + y[0] ** 2 <= 1 + 1e-9


def test_known_places() -> None:
    assert at(0, 0) == (0, 0)
    assert at(0, 90) == pytest.approx((1, 0))
    assert at(90, 12) == pytest.approx((0, 1))
    assert at(-90, 12) == pytest.approx((0, -1))
    for lat in (30.0, 45.0, -72.5):
        # y is sin θ, where 2θ + sin 2θ = π·sin φ.
        theta = np.arcsin(at(lat, 0)[1])
        assert 2 * theta + np.sin(2 * theta) == pytest.approx(np.pi * np.sin(np.radians(lat)))
    assert at(0, 180, 180) == (0, 0)
    assert at(0, -90, 180) == pytest.approx((1, 0))


def test_equal_areas_are_equal() -> None:
    # The band up to a latitude has sin(lat) of the hemisphere's area: here of half an ellipse, π.
    for lat in (10.0, 35.0, 60.0, 80.0):
        y = np.linspace(0, at(lat, 0)[1], 20_001)
        area = np.trapezoid(4 * np.sqrt(1 - y**2), y)
        assert area == pytest.approx(np.pi * np.sin(np.radians(lat)), rel=1e-5)


def test_no_place_stays_none() -> None:
    assert np.isnan(at(np.nan, 5)).all()
    assert np.isnan(at(5, np.nan)[0])


def test_lines_end_between_each_other_and_keep_to_the_ellipse() -> None:
    x, y = graticule()
    assert [n for n, each in enumerate(x) if each is None] == [
        n for n, each in enumerate(y) if each is None
    ]
    assert x.count(None) == 13 + 5
    radius = [
        (a / 2) ** 2 + b**2 for a, b in zip(x, y, strict=True) if a is not None and b is not None
    ]
    assert max(radius) <= 1 + 1e-3
    # The rim is drawn on both sides.
    assert min(a for a in x if a is not None) == -2
    assert max(a for a in x if a is not None) == 2
