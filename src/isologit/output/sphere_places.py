"""Where tokens lie on the sphere of three principal axes, and on the map of it."""

from dataclasses import dataclass

import numpy as np

from isologit.equivalence.axes import on_sphere
from isologit.numerics.formats import Float64s
from isologit.output.mollweide import on_map
from isologit.output.pictured import Pictured

_SEED_AXES = (2, 1, 3)


@dataclass(frozen=True, eq=False)
class SpherePlaces:
    """The directions of rows in the seed line's coordinates.

    Parameters
    ----------
    north, meridian, equinox
        Numbers of the axes; a negative one is flipped.
    are_the_poles
        Whether these are the axes of the pole that an audit was given.
    components
        Along meridian, equinox and north, ``[V]`` each.
    lat, lon
        Degrees; NaN of a row without a direction.
    middle
        The longitude in the middle of the map.
    x, y
        Places on the map.
    """

    north: int
    meridian: int
    equinox: int
    are_the_poles: bool
    components: tuple[Float64s, Float64s, Float64s]
    lat: Float64s
    lon: Float64s
    middle: float
    x: Float64s
    y: Float64s

    @classmethod
    def of(cls, audit: Pictured) -> "SpherePlaces":
        """Place the tokens of an audit.

        North, meridian and equinox are the axes of the pole that the audit was given, if these are
        among the three that places are known of; else the seed's: 2, 1 and 3.

        Raises
        ------
        ValueError
            The places of rows are not known.
        """
        places = audit.places
        if places is None:
            raise ValueError(audit.why_no_places)
        axes = tuple(audit.findings.reference.axes or _SEED_AXES)
        usable = sorted(abs(n) for n in axes) == [1, 2, 3]
        north, meridian, equinox = axes if usable else _SEED_AXES
        along, across, up = (np.sign(n) * places[:, abs(n) - 1] for n in (meridian, equinox, north))
        lat, lon, _ = on_sphere(along, across, up)
        middle = 180.0 if _mostly_behind(along) else 0.0
        x, y = on_map(lat, lon, middle)
        own = (north, meridian, equinox)
        return cls(*own, usable, (along, across, up), lat, lon, middle, x, y)


def _mostly_behind(along_meridian: Float64s) -> bool:
    finite = along_meridian[np.isfinite(along_meridian)]
    return len(finite) > 0 and float(np.median(finite)) < 0
