"""Maps: every token is counted in every colouring, and lies where its row does."""

import re
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from isologit.equivalence.axes import on_sphere
from isologit.findings import Reference
from isologit.output import palette
from isologit.output.drawing import Drawing
from isologit.output.figures import sphere, vocabulary_map
from isologit.output.grouping import colourings
from isologit.output.pictured import Pictured
from output.pictures import Get, counted_by, every_colouring, first_id, named, traces


@pytest.mark.parametrize("draw", [vocabulary_map, sphere])
def test_every_colouring_of_a_map_counts_every_token_once(
    draw: Callable[[Pictured], Drawing], audited: Pictured
) -> None:
    drawing = draw(audited)
    known = colourings(audited)
    assert audited.places is not None
    places = np.isfinite(audited.places).all(axis=1)
    if draw is sphere:
        places &= (audited.places != 0).any(axis=1)
    sets = every_colouring(drawing)
    assert len(sets) == len(known) == (2 if audited.categories is None else 4)
    for colouring, shown in zip(known, sets, strict=True):
        assert len(shown) == len(colouring.groups)
        for trace in shown:
            n = trace.legendrank
            assert sum(counted_by(trace)) == (colouring.codes[places] == n).sum()
            assert trace.name == f"{colouring.groups[n].name} ({colouring.sizes[n]:,})"
            assert trace.marker.color == colouring.groups[n].colour
            assert trace.marker.symbol == colouring.groups[n].symbol
    # To begin with the first is shown, and no other.
    first = [trace for trace in drawing.figure.data if trace.visible is True]
    assert [trace for trace in first if trace.hoverinfo != "skip"] == sets[0]
    assert {trace.visible for trace in drawing.figure.data} <= {True, False, None}
    if places.sum() < audited.n_tokens:
        left = audited.n_tokens - places.sum()
        assert re.search(rf"\b{left} tokens? without a place left out", drawing.caption)
    assert f"{places.sum():,} tokens drawn" in drawing.caption


def test_marks_grow_with_what_they_stand_for(get: Get) -> None:
    for trace in vocabulary_map(get("demo")).figure.data:
        if trace.hovertext is None:
            continue
        counts, sizes = counted_by(trace), np.asarray(trace.marker.size)
        order = np.argsort(counts, kind="stable")
        assert (np.diff(sizes[order]) >= 0).all()
        assert sizes.min() >= 4


def test_places_of_the_map_are_those_of_the_table(get: Get) -> None:
    audited = get("small")
    drawing = vocabulary_map(audited)
    assert audited.places is not None
    for trace in every_colouring(drawing)[0]:
        for x, y, text in zip(trace.x, trace.y, trace.hovertext, strict=True):
            token_id = first_id(text)
            assert (x, y) == tuple(audited.places[token_id, :2].astype(np.float32))
    assert "of the variance" in drawing.figure.layout.xaxis.title.text
    ring = named(drawing, "centre of the cluster")
    assert audited.in_cluster is not None
    centre = audited.places[audited.in_cluster].mean(axis=0)
    assert (ring.x[0], ring.y[0]) == pytest.approx(tuple(centre[:2]))


def test_the_sphere_has_the_seed_s_latitudes_and_longitudes(get: Get) -> None:
    audited = get("small")
    drawing = sphere(audited)
    assert audited.places is not None
    x, y, z = (audited.places[:, n - 1] for n in (1, 3, 2))
    lat, lon, _ = on_sphere(x.copy(), y.copy(), z.copy())
    seen = 0
    for trace in every_colouring(drawing)[0]:
        for (own_lat, own_lon), text in zip(trace.customdata, trace.hovertext, strict=True):
            token_id = first_id(text)
            assert own_lat == pytest.approx(lat[token_id], abs=0.01)
            assert abs((own_lon - lon[token_id] + 180) % 360 - 180) * np.cos(
                np.radians(own_lat)
            ) == pytest.approx(0, abs=0.05)
            seen += 1
    assert seen > 100
    assert "%{customdata[0]:.1f}°, longitude %{customdata[1]" in trace.hovertemplate
    assert "north is principal axis 2, the meridian axis 1, the equinox axis 3" in drawing.caption


def with_pole(audited: Pictured, axes: list[int]) -> Pictured:
    reference = Reference(kind="pole", lat_deg=-7.25, lon_deg=30.5, axes=axes)
    return replace(audited, findings=msgspec.structs.replace(audited.findings, reference=reference))


def test_a_pole_is_marked_on_its_own_axes(get: Get) -> None:
    audited = get("small")
    drawing = sphere(with_pole(audited, [3, -1, 2]))
    assert "north is principal axis 3, the meridian axis -1, the equinox axis 2" in drawing.caption
    assert drawing.rows[0] == ("marked", "pole", "—", "-7.250°", "30.500°")
    assert "The pole is at latitude -7.25°, longitude 30.50°." in drawing.alt
    assert named(drawing, "pole").marker.color == palette.CLUSTER
    # Its own axes, so a flipped meridian turns every longitude to the other side.
    assert audited.places is not None
    x, y, z = -audited.places[:, 0], audited.places[:, 1], audited.places[:, 2]
    lat, lon, _ = on_sphere(x, y.copy(), z.copy())
    trace = every_colouring(drawing)[0][0]
    token_id = first_id(trace.hovertext[0])
    assert trace.customdata[0][0] == pytest.approx(lat[token_id], abs=0.01)
    assert trace.customdata[0][1] == pytest.approx(lon[token_id], abs=0.05)


def test_a_pole_on_axes_that_are_not_known_is_not_marked(get: Get) -> None:
    drawing = sphere(with_pole(get("no cluster"), [2, 1, 4]))
    assert not [trace for trace in traces(drawing) if trace.name == "pole"]
    assert "[2, 1, 4], are others" in drawing.caption
    assert "north is principal axis 2, the meridian axis 1, the equinox axis 3" in drawing.caption
