"""What the map draws, as bytes: where each token lies, and which colour it has.

Every token is there. Numbers are little-endian; each answer begins with the same sixteen bytes, so
that a browser refuses what does not fit: ``ISOM``, a version, what follows, how many tokens, zero.
"""

import struct
from typing import Any

import numpy as np

from isologit.errors import PointError
from isologit.explorer.opened import Explored
from isologit.explorer.points import Point
from isologit.explorer.view import Views
from isologit.output import palette
from isologit.output.grouping import Group, Grouping, colourings
from isologit.output.mollweide import graticule
from isologit.output.sentences import number

VERSION = 1
#: What follows the head: two float32 a token; one byte a token.
PLACES, CODES = 1, 2
_HEAD = struct.Struct("<4sHHII")
#: The last byte of a scale; tokens without a number have `NO_NUMBER`.
LAST_STEP, NO_NUMBER = 250, 255
#: The two leading principal axes; the sphere of the seed's coordinates, as Mollweide draws it.
MAPS = ("axes", "sphere")


def places_of(explored: Explored, on: str) -> bytes:
    """Return the places of all tokens on a map, one of `MAPS`; NaN where a row has none.

    Raises
    ------
    PointError
        There is no such map, or the places of rows are not known.
    """
    if on not in MAPS:
        raise PointError(f"there is no such map; expected {' or '.join(MAPS)}")
    places = explored.pictured.places
    why = explored.pictured.why_no_places
    if places is None or why is not None:
        raise PointError(f"there is no map: {why}")
    two = places[:, :2]
    if on == "sphere":
        two = np.stack([explored.sphere.x, explored.sphere.y], axis=1)
    stored = np.where(np.isfinite(two).all(axis=1, keepdims=True), two, np.nan)
    return _head(PLACES, len(stored)) + np.ascontiguousarray(stored, "<f4").tobytes()


def map_legend(explored: Explored) -> dict[str, Any]:
    """Return what the map can be coloured by, and the groups of each; why there is no map."""
    return {
        "tokens": explored.n_tokens,
        "why_not": explored.pictured.why_no_places,
        "sphere": _sphere(explored),
        "scale": list(palette.SCALE),
        "rest": palette.REST,
        "last_step": LAST_STEP,
        "by": [{"title": each.title, "groups": _groups(each)} for each in _colourings(explored)],
    }


def group_codes(explored: Explored, by: int) -> bytes:
    """Return the group of each token, of one of the legend's colourings.

    Raises
    ------
    PointError
        There is no such colouring.
    """
    every = _colourings(explored)
    if not 0 <= by < len(every):
        raise PointError(f"there is no colouring {by}; expected 0 to {len(every) - 1}")
    return _head(CODES, explored.n_tokens) + every[by].codes.astype(np.uint8).tobytes()


def logit_codes(views: Views, point: Point) -> tuple[bytes, dict[str, str]]:
    """Return each token's logit at a point as a step of a scale, and what its ends are.

    The scale is linear from the least finite logit to the largest.
    """
    logits = views.logits(point)
    values = logits.values
    finite = np.isfinite(values)
    codes = np.full(len(values), NO_NUMBER, np.uint8)
    ends = {"low": "", "high": ""}
    if finite.any():
        low, high = float(values[finite].min()), float(values[finite].max())
        # Halves, because the difference of two finite numbers need not be finite.
        span = high / 2 - low / 2
        share = (values[finite] / 2 - low / 2) / span if span > 0 else np.zeros(int(finite.sum()))
        codes[finite] = np.round(share * LAST_STEP).astype(np.uint8)
        ends = {"low": number(low, logits.format.name), "high": number(high, logits.format.name)}
    return _head(CODES, len(values)) + codes.tobytes(), ends


def tie_codes(views: Views, point: Point) -> tuple[bytes, list[dict[str, Any]]]:
    """Return which tokens tie at a point, in groups, and what these are."""
    logits = views.logits(point)
    values, others = logits.values, logits.partition.n_others()
    ties = (others > 0) & ~np.isnan(values)
    groups = (
        Group("tie with the maximum", palette.SHARED),
        Group("the most common logit", palette.MODAL),
        Group("tie with another token", palette.FEW[1]),
        Group("alone", palette.REST),
    )
    largest, common = (ties & (values == each) for each in (logits.max.value, logits.mode.value))
    found = Grouping.of("ties here", groups, np.select([largest, common, ties], [0, 1, 2], 3))
    return _head(CODES, len(values)) + found.codes.astype(np.uint8).tobytes(), _groups(found)


def _groups(grouping: Grouping) -> list[dict[str, Any]]:
    return [
        {"name": group.name, "colour": group.colour, "tokens": n}
        for group, n in zip(grouping.groups, grouping.sizes, strict=True)
    ]


def _colourings(explored: Explored) -> list[Grouping]:
    return colourings(explored.pictured)


def _sphere(explored: Explored) -> dict[str, Any] | None:
    """Return the lines of the globe and what is in the middle; None where there is no map."""
    if explored.pictured.why_no_places is not None:
        return None
    x, y = graticule()
    found = explored.sphere
    axes = [found.north, found.meridian, found.equinox]
    # A click on the map is a pole, whose axes are the seed's.
    return {"x": x, "y": y, "middle": found.middle, "goes_there": axes == [2, 1, 3]}


def _head(kind: int, count: int) -> bytes:
    return _HEAD.pack(b"ISOM", VERSION, kind, count, 0)
