"""Histograms on a logarithmic scale: bins that no grid of numbers falls into unevenly, and bars."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted
from isologit.numerics.formats import Float64s, Format
from isologit.output import palette
from isologit.table_words import Codes

_MOST_BINS = 160
# Below it a binary64 number has no inverse.
_LEAST_EXPONENT = -1_000
# As wide as so many bins, at least: one alone is no wall.
_FEWEST_ACROSS = 12


@dataclass(frozen=True)
class Bins:
    """Bins of one width, a power of two: bin n holds values in [n, n + 1)·width.

    Parameters
    ----------
    width
        Not less than the distance between numbers of the format where they are farthest apart, so
        that every bin there holds as many of them as its neighbours.
    first
        The number of the lowest bin.
    n
        How many there are.
    """

    width: float
    first: int
    n: int

    @classmethod
    def over(cls, values: Float64s, format_: Format) -> "Bins":
        """Return bins over finite values of a format, one value at least."""
        low, high = float(values.min()), float(values.max())
        span = high / 2 - low / 2
        largest = max(abs(low), abs(high))
        exponent = 0
        if largest > 0:
            exponent = max(int(np.frexp(largest)[1]) - format_.precision, _LEAST_EXPONENT)
        if span > 0:
            exponent = max(exponent, int(np.ceil(np.log2(span / _MOST_BINS))) + 1)
        width = float(np.ldexp(1.0, exponent))
        first = int(np.floor(low / width))
        return cls(width, first, int(np.floor(high / width)) - first + 1)

    def places(self, values: Float64s) -> Codes:
        """Return which bin each of some values is in."""
        return np.floor(values / self.width).astype(np.int64) - self.first

    def counts(self, values: Float64s) -> Codes:
        """Return how many values each bin holds, ``[n]``."""
        return np.bincount(self.places(values), minlength=self.n)

    def said(self, n: int) -> str:
        """Return what a bin holds, in words."""
        low, high = ((self.first + n + more) * self.width for more in (0, 1))
        return f"{low:.6g} to {high:.6g}"

    def bars(
        self, counts: Codes, name: str, colour: str, what: str, *, part: int = 0, parts: int = 1
    ) -> go.Bar:
        """Return a bar for each bin that is not empty.

        Several kinds of bars stand side by side: each has one of several equal parts of a bin.
        """
        there = np.flatnonzero(counts)
        width = self.width / parts
        said = [
            f"{what} {self.said(n)}<br>{counted(int(counts[n]), 'token')}" for n in there.tolist()
        ]
        return go.Bar(
            x=(self.first + there) * self.width,
            y=counts[there],
            width=width,
            offset=part * width,
            name=name,
            hovertext=said,
            hovertemplate=f"%{{hovertext}}<br>{name}<extra></extra>",
            marker={"color": colour, "line": {"width": 0}},
        )

    def frame(self, figure: go.Figure, largest: int) -> None:
        """Give a figure the scale of counts, with room above for words, and for a single bin."""
        figure.update_layout(barmode="overlay", bargap=0)
        top = float(np.log10(max(largest, 1)))
        figure.update_yaxes(type="log", range=[-0.2, top * 1.12 + 0.35], dtick=1)
        room = max(0.02 * self.n, (_FEWEST_ACROSS - self.n) / 2)
        ends = (self.first - room, self.first + self.n + room)
        figure.update_xaxes(range=[end * self.width for end in ends])

    def point_at(self, figure: go.Figure, value: float, counts: Codes, said: str) -> None:
        """Point at the top of the bin that holds a value."""
        n = int(np.floor(value / self.width)) - self.first
        point_at(figure, value, int(counts[n]), said, along=(n + 0.5) / self.n)


def point_at(figure: go.Figure, x: float, count: int, said: str, *, along: float) -> None:
    """Point at a count on a logarithmic axis.

    Words stand where there is room: `along` says where x is, from 0 to the left to 1.
    """
    side = 0 if 1 / 3 < along < 2 / 3 else 1 if along <= 1 / 3 else -1
    figure.add_annotation(
        x=x,
        y=float(np.log10(count)),
        text=said,
        showarrow=True,
        arrowhead=2,
        arrowcolor=palette.REST,
        standoff=4,
        ax=30 * side,
        ay=-30,
        xanchor=("right", "center", "left")[side + 1],
    )
