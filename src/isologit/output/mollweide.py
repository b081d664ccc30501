"""Mollweide's map of a sphere: an ellipse, twice as wide as high, on which equal areas are equal.

A latitude φ and a longitude λ from the middle go to x = 2λ/π·cos θ and y = sin θ, where
2θ + sin 2θ = π·sin φ (Snyder, *Map Projections: A Working Manual*, USGS 1987, p. 251).
"""

import numpy as np

from isologit.numerics.formats import Float64s

# θ is looked up among so many, which is far finer than a picture.
_ANGLES = np.linspace(-np.pi / 2, np.pi / 2, 16_385)
_SINES = (2 * _ANGLES + np.sin(2 * _ANGLES)) / np.pi
_SAMPLES = 61


def on_map(
    lat_deg: Float64s, lon_deg: Float64s, middle_deg: float = 0.0
) -> tuple[Float64s, Float64s]:
    """Return where places are on a map with one meridian in the middle, ``[n]`` each.

    x is in [−2, 2] and y in [−1, 1]; NaN of a place that is none.
    """
    theta = np.interp(np.sin(np.radians(lat_deg)), _SINES, _ANGLES)
    return 2 * from_middle(lon_deg, middle_deg) / 180 * np.cos(theta), np.sin(theta)


def from_map(x: Float64s, y: Float64s, middle_deg: float = 0.0) -> tuple[Float64s, Float64s]:
    """Return the latitude and longitude of points on the map, in degrees, ``[n]`` each."""
    theta = np.arcsin(np.clip(y, -1, 1))
    lat = np.degrees(np.arcsin(np.clip((2 * theta + np.sin(2 * theta)) / np.pi, -1, 1)))
    breadth = np.cos(theta)
    # At a pole every longitude is as good.
    from_the_middle = np.where(breadth > 0, 90 * x / np.where(breadth > 0, breadth, 1), 0)
    return lat, from_middle(np.clip(from_the_middle, -180, 180) + middle_deg, 0)


def graticule(every_deg: int = 30) -> tuple[list[float | None], list[float | None]]:
    """Return the lines of equal latitude and longitude, None between them."""
    x: list[float | None] = []
    y: list[float | None] = []
    along = np.linspace(-90, 90, _SAMPLES)
    # The rim to the right is no longitude in [−180, 180).
    edge = 180 - 1e-9
    for lon in np.linspace(-edge, edge, 360 // every_deg + 1):
        of_x, of_y = on_map(along, np.full(_SAMPLES, lon))
        x += [*of_x.round(4).tolist(), None]
        y += [*of_y.round(4).tolist(), None]
    for lat in range(-90 + every_deg, 90, every_deg):
        of_x, of_y = on_map(np.full(2, float(lat)), np.array([-edge, edge]))
        x += [*of_x.round(4).tolist(), None]
        y += [*of_y.round(4).tolist(), None]
    return x, y


def from_middle(lon_deg: Float64s, middle_deg: float) -> Float64s:
    """Return longitudes counted from a meridian, in [−180, 180)."""
    return np.asarray((lon_deg - middle_deg + 180) % 360 - 180)
