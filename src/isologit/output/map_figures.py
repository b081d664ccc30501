"""Maps of the vocabulary: tokens where their rows lie along three principal axes.

Rows are not centred: the origin of a map is the origin of the rows, as on the sphere of the seed's
line. What lies along other axes is not seen, so far apart on a map is far apart, and close is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted
from isologit.claims import ESTIMATED
from isologit.equivalence.axes import on_sphere
from isologit.numerics.formats import Float64s
from isologit.output import palette
from isologit.output.drawing import Drawing
from isologit.output.figure_parts import drawn_as, framed, mark_traces, sentence, switch
from isologit.output.grouping import Grouping, colourings, in_cluster
from isologit.output.hover import MarkTexts
from isologit.output.mollweide import from_map, from_middle, graticule, on_map
from isologit.output.pictured import Mask, Pictured
from isologit.output.sphere_places import SpherePlaces
from isologit.output.thinning import Marks, thinned

_MAP_HEIGHT = 560
_LINES = "rgba(123, 126, 152, 0.45)"
# Those that have a number on the map.
_PARALLELS = (-60, -30, 0, 30, 60)


def vocabulary_map(audit: Pictured) -> Drawing:
    """Return the tokens along the first two principal axes, coloured by class and more.

    Raises
    ------
    ValueError
        The places of rows are not known.
    """
    places = _places(audit)
    x, y = places[:, 0], places[:, 1]
    cluster = in_cluster(audit) & np.isfinite(places).all(axis=1)
    marked = None
    if cluster.any():
        centre = places[cluster].mean(axis=0)
        marked = _Marked("centre of the cluster", float(centre[0]), float(centre[1]))
    drawn = _drawn(audit, x, y, marked)
    framed(drawn.figure, *(_axis_title(audit, n) for n in (1, 2)), height=_MAP_HEIGHT)
    along = [f"{_range(v)} along axis {n}" for n, v in ((1, x), (2, y))]
    rows = [
        (each.title, group.name, f"{n:,}", *(_mean(v[each.codes == code]) for v in (x, y)))
        for each in drawn.colourings
        for code, (group, n) in enumerate(zip(each.groups, each.sizes, strict=True))
    ]
    where = "" if marked is None else f" {_where(marked)}"
    return Drawing(
        key="vocabulary_map",
        title="Vocabulary map",
        claim=ESTIMATED,
        figure=drawn.figure,
        alt=f"{counted(drawn.n, 'token')} on a plane, {' and '.join(along)}; {drawn.by_class}."
        f"{where}",
        caption=f"Rows along their two leading principal axes, not centred. {drawn.reduced} "
        f"{_ways(drawn.colourings)}",
        heads=("by", "group", "tokens", "mean along axis 1", "mean along axis 2"),
        rows=tuple(rows),
    )


def sphere(audit: Pictured) -> Drawing:
    """Return the tokens by latitude and longitude on the sphere of three principal axes.

    Which axes these are is in `SpherePlaces`.

    Raises
    ------
    ValueError
        The places of rows are not known.
    """
    found = SpherePlaces.of(audit)
    reference, usable = audit.findings.reference, found.are_the_poles
    components, lat, lon, middle = found.components, found.lat, found.lon, found.middle

    marked, note = None, ""
    cluster = in_cluster(audit) & np.isfinite(lat)
    if reference.lat_deg is not None and reference.lon_deg is not None and usable:
        marked = _Marked("pole", reference.lon_deg, reference.lat_deg)
    elif cluster.any():
        means = [np.array([each[cluster].mean()]) for each in components]
        own_lat, own_lon, _ = on_sphere(*means)
        marked = _Marked("centre of the cluster", float(own_lon[0]), float(own_lat[0]))
    if reference.axes and not usable:
        note = f" The pole's axes, {reference.axes}, are others, so it is not marked."
    if marked is not None and not np.isfinite([marked.x, marked.y]).all():
        marked = None
    on = None if marked is None else marked.on_map(middle)
    drawn = _drawn(audit, found.x, found.y, on, middle)
    _draw_graticule(drawn.figure, middle)
    rows = [
        (each.title, group.name, f"{n:,}", *_direction(components, each.codes == code))
        for each in drawn.colourings
        for code, (group, n) in enumerate(zip(each.groups, each.sizes, strict=True))
    ]
    if marked is not None:
        rows.insert(0, ("marked", marked.name, "—", f"{marked.y:.3f}°", f"{marked.x:.3f}°"))
    where = "" if marked is None else f" {_where(marked, '°')}"
    return Drawing(
        key="sphere",
        title="Latitude and longitude",
        claim=ESTIMATED,
        figure=drawn.figure,
        alt=f"{counted(drawn.n, 'token')} on a map of a sphere, half of them at latitudes "
        f"{_middle_half(lat)} and longitudes {_middle_half(from_middle(lon, middle), middle)}; "
        f"{drawn.by_class}.{where}",
        caption=f"Directions of rows in the seed line's coordinates: north is principal axis "
        f"{found.north}, the meridian axis {found.meridian}, the equinox axis {found.equinox}, and "
        f"longitude "
        f"{middle:g}° is in the middle; equal areas are equal (Mollweide). Which way an axis "
        f"points is a convention. {drawn.reduced}{note} {_ways(drawn.colourings)}",
        heads=("by", "group", "tokens", "latitude of the mean", "longitude of the mean"),
        rows=tuple(rows),
    )


@dataclass(frozen=True)
class _Marked:
    """A place that is marked: on the sphere x is its longitude and y its latitude."""

    name: str
    x: float
    y: float

    def on_map(self, middle: float) -> "_Marked":
        x, y = on_map(np.array([self.y]), np.array([self.x]), middle)
        return replace(self, x=float(x[0]), y=float(y[0]))


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Tokens on a plane, in all their colourings, of which the first is shown."""

    figure: go.Figure
    colourings: Sequence[Grouping]
    n: int
    by_class: str
    reduced: str


def _drawn(
    audit: Pictured,
    x: Float64s,
    y: Float64s,
    marked: _Marked | None,
    middle: float | None = None,
) -> _Drawn:
    """Draw every colouring of the tokens; on a map of the sphere, labels say where a mark is."""
    texts = MarkTexts(audit)
    known = colourings(audit)
    all_marks = [thinned(x, y, each.codes) for each in known]
    figure = go.Figure()
    owners = []
    for n, (colouring, marks) in enumerate(zip(known, all_marks, strict=True)):
        traces = mark_traces(marks, colouring, texts.of_tokens(marks), visible=n == 0)
        if middle is not None:
            _say_where(traces, middle)
        figure.add_traces(traces)
        owners += [n] * len(traces)
    if marked is not None:
        figure.add_trace(_ring(marked))
    always = [True] * (marked is not None)
    arguments = [
        [{"visible": [owner == n for owner in owners] + always}] for n in range(len(known))
    ]
    figure.update_layout(updatemenus=[switch([each.title for each in known], arguments, "restyle")])
    return _Drawn(
        figure=figure,
        colourings=known,
        n=len(all_marks[0].members),
        by_class=sentence(known[0]),
        reduced=_reduced(all_marks),
    )


def _reduced(all_marks: Sequence[Marks]) -> str:
    """Say what is drawn, of the first colouring, and what is not."""
    first = all_marks[0]
    said = drawn_as(first)
    if first.left_out:
        said += f" {counted(first.left_out, 'token')} without a place left out."
    most = max(len(marks) for marks in all_marks)
    return said if most == len(first) else f"{said} Other colourings have up to {most:,} marks."


def _ways(known: Sequence[Grouping]) -> str:
    """Say what can be chosen."""
    titles = [each.title for each in known]
    return (
        f"Buttons colour by {', '.join(titles[:-1])} or {titles[-1]}; a click on a group's name "
        "hides it, two clicks show it alone."
    )


def _say_where(traces: Sequence[go.Scatter], middle: float) -> None:
    for trace in traces:
        where = from_map(np.asarray(trace.x, float), np.asarray(trace.y, float), middle)
        trace.customdata = np.stack(where, axis=1).astype(np.float32)
        trace.hovertemplate = trace.hovertemplate.replace(
            "<br>",
            "<br>latitude %{customdata[0]:.1f}°, longitude %{customdata[1]:.1f}°<br>",
            1,
        )


def _ring(marked: _Marked) -> go.Scatter:
    return go.Scatter(
        x=[marked.x],
        y=[marked.y],
        mode="markers",
        name=marked.name,
        hoverinfo="skip",
        legendrank=2000,
        marker={
            "symbol": "circle-open",
            "size": 22,
            "color": palette.CLUSTER,
            "line": {"width": 2},
        },
    )


def _draw_graticule(figure: go.Figure, middle: float) -> None:
    """Put a globe's lines under the marks, and numbers beside some."""
    x, y = graticule()
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": _LINES, "width": 1},
            hoverinfo="skip",
            showlegend=False,
            # Below every mark, whatever the order of traces.
            zorder=-1,
        )
    )
    framed(figure, "", "", height=_MAP_HEIGHT)
    figure.update_xaxes(visible=False, range=[-2.2, 2.08])
    figure.update_yaxes(visible=False, range=[-1.04, 1.04], scaleanchor="x")
    for lat in _PARALLELS:
        at, up = on_map(np.array([float(lat)]), np.array([middle - 180]), middle)
        _number(figure, float(at[0]), float(up[0]), _degrees(lat), xanchor="right", xshift=-4)
    said = f"longitude {_degrees(middle)}, and a line every 30°"
    _number(figure, 0, 1, said, yanchor="bottom")
    # The buttons know of the traces that were there before.
    for button in figure.layout.updatemenus[0].buttons:
        button.args[0]["visible"] = [*button.args[0]["visible"], True]


def _number(figure: go.Figure, x: float, y: float, said: str, **where: Any) -> None:
    figure.add_annotation(x=x, y=y, text=said, showarrow=False, font={"size": 11}, **where)


def _degrees(angle: float) -> str:
    return f"{angle:g}°".replace("-", "−")


def _places(audit: Pictured) -> Float64s:
    if audit.places is None:
        raise ValueError(audit.why_no_places)
    return audit.places


def _axis_title(audit: Pictured, n: int) -> str:
    axes = None if audit.places_facts is None else audit.places_facts.axes
    if axes is None or len(axes.variance_share) < n:
        return f"principal axis {n}"
    return f"principal axis {n} ({axes.variance_share[n - 1]:.2%} of the variance)"


def _where(marked: _Marked, unit: str = "") -> str:
    if unit:
        return f"The {marked.name} is at latitude {marked.y:.2f}°, longitude {marked.x:.2f}°."
    return f"The {marked.name} is at {marked.x:.4g}, {marked.y:.4g}."


def _range(values: Float64s) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite.min():.4g} to {finite.max():.4g}" if len(finite) else "nowhere"


def _mean(values: Float64s) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite.mean():.4g}" if len(finite) else "—"


def _direction(components: Sequence[Float64s], of: Mask) -> tuple[str, str]:
    """Return the latitude and longitude of some rows' mean."""
    finite = of & np.isfinite(np.stack(components)).all(axis=0)
    if not finite.any():
        return "—", "—"
    lat, lon, _ = on_sphere(*(np.array([each[finite].mean()]) for each in components))
    return (f"{lat[0]:.2f}°", f"{lon[0]:.2f}°") if np.isfinite(lat[0]) else ("—", "—")


def _middle_half(angles: Float64s, middle: float = 0.0) -> str:
    """Return the quartiles of angles, counted from a meridian."""
    finite = angles[np.isfinite(angles)]
    if not len(finite):
        return "none"
    low, high = from_middle(np.quantile(finite, [0.25, 0.75]) + middle, 0)
    return f"{low:.1f}° to {high:.1f}°"
