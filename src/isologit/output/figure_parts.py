"""What every figure is put together from: a frame without colours of its own, marks, a switch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted, shown
from isologit.output.grouping import Grouping
from isologit.output.hover import plain
from isologit.output.pictured import Pictured
from isologit.output.thinning import Marks

_HEIGHT = 460
# Marks of a figure up to which there is room for larger ones.
_FEW = 1_000
# Plotly paints the button that is on or pointed at in one light colour, whatever the page's: so
# buttons bring their own ground and text. So do labels: white is too faint on the colour of a mark.
_BUTTON = {"bgcolor": "#d9dce1", "bordercolor": "#7b7e98", "font": {"color": "#1b1e24"}}
_LABEL = {"bgcolor": "#1b1e24", "bordercolor": "#7b7e98", "font": {"color": "#f2f3f5"}}
# Keeps marks that overlap apart, on either ground.
_EDGE = {"width": 0.5, "color": "rgba(255, 255, 255, 0.3)"}


def framed(figure: go.Figure, x_title: str, y_title: str, *, height: int = _HEIGHT) -> None:
    """Give a figure its axes' titles, its size and its margins; colours are the page's."""
    figure.update_layout(
        height=height,
        margin={"l": 12, "r": 12, "t": 44, "b": 12},
        hovermode="closest",
        hoverlabel={"align": "left", **_LABEL},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
    )
    # Thousands as the pages write them: 20,000 and not 20k.
    ticks = {"separatethousands": True, "exponentformat": "none"}
    figure.update_xaxes(title=x_title, automargin=True, zeroline=False, **ticks)
    figure.update_yaxes(title=y_title, automargin=True, zeroline=False, **ticks)


def mark_traces(
    marks: Marks, grouping: Grouping, texts: Sequence[str], *, visible: bool = True
) -> list[go.Scatter]:
    """Return a trace a group, the largest group behind the others.

    Its marks grow with the logarithm of what they stand for.
    """
    sizes, counts = grouping.sizes, marks.counts
    bounds = np.searchsorted(marks.groups, np.arange(len(sizes) + 1)).tolist()
    traces = []
    for n in sorted(range(len(sizes)), key=lambda n: (grouping.groups[n].in_front, -sizes[n])):
        group, own = grouping.groups[n], slice(bounds[n], bounds[n + 1])
        name = plain(shown(group.name))
        traces.append(
            go.Scatter(
                x=marks.x[own].astype(np.float32),
                y=marks.y[own].astype(np.float32),
                mode="markers",
                name=f"{name} ({sizes[n]:,})",
                legendrank=n,
                visible=visible,
                marker={
                    "color": group.colour,
                    "symbol": group.symbol,
                    "size": mark_sizes(counts[own], group.symbol, few=len(marks) <= _FEW),
                    # Else plotly takes them for bubbles, paler and with white edges.
                    "opacity": 1,
                    "line": {"width": 1.5} if group.symbol.endswith("-open") else _EDGE,
                },
                # An array is not looked at item by item.
                hovertext=np.array(texts[own], dtype=object),
                hovertemplate=f"%{{hovertext}}<br>{grouping.title}: {name}<extra></extra>",
            )
        )
    return traces


def mark_sizes(counts: Any, symbol: str = "circle", *, few: bool = True) -> Any:
    """Return diameters in pixels: 4 of one token, 6 where marks are few, 2 more of ten times that.

    Other symbols than circles and squares cover less of their size, and get more of it.
    """
    more = 1 if symbol.startswith(("circle", "square", "hexagon")) else 1.4
    return (more * (4 + 2 * few + 2 * np.log10(counts))).astype(np.float32)


def claim_of(audit: Pictured, figure: str) -> str:
    """Return what kind of claim a figure of an audit is; nothing where it does not say so."""
    return audit.findings.claims.get(figure, "")


def sentence(grouping: Grouping) -> str:
    """Return how many tokens each group has, in words."""
    groups = zip(grouping.groups, grouping.sizes, strict=True)
    return f"by {grouping.title}: {'; '.join(f'{group.name} ({n:,})' for group, n in groups)}"


def drawn_as(marks: Marks, what: str = "token") -> str:
    """Say how much less is drawn than counted."""
    n, m = len(marks.members), len(marks)
    if n == m:
        return f"{counted(n, what)} drawn, each as a mark of its own."
    same = "" if marks.merged else f", one for {what}s at the same place"
    return f"{counted(n, what)} drawn as {counted(m, 'mark')}{same}; each mark says how many."


def switch(labels: Sequence[str], arguments: Sequence[Any], method: str) -> dict[str, Any]:
    """Return buttons above a figure, of which one is on."""
    return {
        "type": "buttons",
        "direction": "right",
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"b": 8, "t": 0, "l": 0, "r": 0},
        "showactive": True,
        "buttons": [
            {"label": label, "method": method, "args": args}
            for label, args in zip(labels, arguments, strict=True)
        ],
        **_BUTTON,
    }
