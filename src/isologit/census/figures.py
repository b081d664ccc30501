"""The figures of a census: each of four shares across models, and a run's classes by its steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from isologit.census.table import Series, Share
from isologit.checkpoint.wording import counted, shown
from isologit.output import palette
from isologit.output.drawing import Drawing
from isologit.output.figure_parts import framed
from isologit.output.hover import plain

# Models of a figure up to which each has a mark of its own, and of more those at the top that do.
_MOST_MARKS = 2_000
_AT_THE_TOP = 500
# Rows of the table behind a figure.
_LISTED = 20
# Steps of a run up to which each has a mark.
_MARKED_STEPS = 100
_COLOURS = palette.FEW


def by_model(share: Share, colour: str) -> Drawing:
    """Return what part of its rows each model has of a kind, from the most down.

    Raises
    ------
    ValueError
        No model has that figure, or any.
    """
    if not len(share.counts):
        raise ValueError(f"no model says how many {share.what} it has")
    if not share.some:
        raise ValueError(f"none of {counted(len(share.counts), 'model')} has {share.what}")
    parts = 100.0 * share.counts / share.vocabulary
    order = np.lexsort((np.array(share.names), -share.counts, -parts))
    kept = order[_kept(len(order))]
    ranks = np.arange(1, len(order) + 1)[_kept(len(order))]
    figure = go.Figure(
        go.Scatter(
            x=ranks,
            y=parts[kept].astype(np.float32),
            mode="markers",
            marker={"color": colour, "size": 7 if len(order) <= 100 else 4, "opacity": 1},
            hovertext=[
                f"{plain(shown(share.names[n]))}<br>{share.counts[n]:,} of "
                f"{share.vocabulary[n]:,} rows"
                for n in kept.tolist()
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            name=share.what,
        )
    )
    framed(figure, "models, from the most down", "% of the vocabulary", height=340)
    figure.update_yaxes(rangemode="tozero")
    fewer = (
        f" Drawn are the first {_AT_THE_TOP:,} and, of the others, one in so many."
        if len(kept) < len(order)
        else ""
    )
    top = order[:_LISTED].tolist()
    middle = float(np.median(parts))
    return Drawing(
        key=share.key,
        title=share.title,
        claim=share.claim,
        figure=figure,
        alt=f"{counted(len(order), 'model')} by their share of {share.what}: {share.some:,} have "
        f"some; the most is {parts[order[0]]:.3g} % of {shown(share.names[order[0]])}, the median "
        f"{middle:.3g} %.",
        caption=f"{share.says} {share.some:,} of {counted(len(order), 'model')} have some, the "
        f"median model {middle:.3g} %.{fewer}{share.without()}",
        heads=("model", share.what, "rows", "share"),
        rows=tuple(
            (
                share.names[n],
                f"{share.counts[n]:,}",
                f"{share.vocabulary[n]:,}",
                f"{parts[n]:.3g} %",
            )
            for n in top
        ),
    )


@dataclass(frozen=True)
class Quantity:
    """What is drawn against the step: its key and title, an axis, a claim, and the numbers."""

    key: str
    title: str
    axis: str
    claim: str
    of: Callable[[Series], npt.NDArray[np.float64]]


def by_step(quantity: Quantity, series: Sequence[Series], left_out: int) -> Drawing:
    """Return a quantity of some runs against their steps, a line each.

    Raises
    ------
    ValueError
        No run has it.
    """
    drawn = [(each, quantity.of(each)) for each in series]
    drawn = [(each, values) for each, values in drawn if np.isfinite(values).any()]
    if not drawn:
        raise ValueError(f"no run has {quantity.axis} at several steps")
    figure = go.Figure()
    for n, (each, values) in enumerate(drawn):
        name = plain(shown(each.name))
        figure.add_trace(
            go.Scatter(
                x=each.steps,
                y=values,
                mode="lines+markers" if len(each.steps) <= _MARKED_STEPS else "lines",
                name=name,
                legendrank=n,
                line={"color": _COLOURS[n % len(_COLOURS)], "width": 2},
                marker={"symbol": palette.SYMBOLS[n % len(palette.SYMBOLS)], "size": 6},
                hovertemplate=f"step %{{x:,}}: %{{y:,}}<br>{name}<extra></extra>",
            )
        )
    framed(figure, "step", quantity.axis)
    figure.update_yaxes(rangemode="tozero")
    ends = [
        f"{shown(each.name)} from {_said(values, 0)} at step {each.steps[0]:,} to "
        f"{_said(values, -1)} at step {each.steps[-1]:,}"
        for each, values in drawn[:3]
    ]
    more = f" {counted(left_out, 'run')} with fewer steps not drawn." if left_out else ""
    return Drawing(
        key=quantity.key,
        title=quantity.title,
        claim=quantity.claim,
        figure=figure,
        alt=f"{quantity.title} of {counted(len(drawn), 'run')} by step: {'; '.join(ends)}.",
        caption=f"A mark a checkpoint, of the newest version of each.{more}",
        heads=("run", "steps", "first", "least", "largest", "last"),
        rows=tuple(
            (
                each.name,
                f"{len(each.steps):,}",
                _said(values, 0),
                f"{np.nanmin(values):,.6g}",
                f"{np.nanmax(values):,.6g}",
                _said(values, -1),
            )
            for each, values in drawn
        ),
    )


def _said(values: npt.NDArray[np.float64], n: int) -> str:
    return "—" if np.isnan(values[n]) else f"{values[n]:,.6g}"


def _kept(n: int) -> npt.NDArray[np.int64]:
    """Return which of n ranks are drawn: all, or those at the top and some of the others."""
    if n <= _MOST_MARKS:
        return np.arange(n)
    rest = np.linspace(_AT_THE_TOP, n - 1, _MOST_MARKS - _AT_THE_TOP)
    return np.concatenate([np.arange(_AT_THE_TOP), np.unique(rest.round().astype(np.int64))])
