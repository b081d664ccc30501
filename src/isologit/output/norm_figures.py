"""The figure of norms: a histogram by signs of no training, with shells marked."""

from dataclasses import dataclass
from math import isnan, nan

import numpy as np
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted
from isologit.numerics.formats import Float64s, parse_format
from isologit.output import palette
from isologit.output.drawing import Drawing
from isologit.output.figure_parts import claim_of, framed, sentence
from isologit.output.grouping import Grouping, by_training
from isologit.output.histogram import Bins
from isologit.output.pictured import Mask, Pictured
from isologit.tokens.shells import FEWEST, Shell

# Of a relative spread, to either side.
_DEVIATIONS = 3
_SHADE = 0.16
# A norm is rounded to 8 significant bits at least, a distance from the origin is not.
_ROUNDED = 2.0**-7


def norms(audit: Pictured) -> Drawing:
    """Return how many rows have norms in each of a hundred bins or so, by signs of no training.

    Of each group but the last the picture marks where norms of iid Gaussian rows would lie, and so
    of the reference set where its distances are from the origin.

    Raises
    ------
    ValueError
        No norm is a finite number.
    """
    if audit.why_no_norms is not None:
        raise ValueError(audit.why_no_norms)
    values = audit.norms
    finite = np.isfinite(values)
    width = audit.findings.matrix.shape[1]
    grouping = by_training(audit)
    bins = Bins.over(values[finite], parse_format(audit.findings.matrix.values_dtype))
    every = bins.counts(values[finite])
    figure = go.Figure()
    _add_bars(figure, audit, bins, grouping, finite)
    every_group = [
        _Norms.of(group.name, group.colour, n, values[finite & (grouping.codes == code)], width)
        for code, (group, n) in enumerate(zip(grouping.groups, grouping.sizes, strict=True))
    ]
    shells = [each for each in every_group if each.may_be_a_shell]
    if (reference := _of_reference(audit, finite)) is not None:
        every_group.append(reference)
        shells.append(reference)
    for each in shells:
        _shade(figure, each, width)
    framed(figure, "norm", "tokens (log scale)")
    bins.frame(figure, int(every.max()))

    told = "".join(
        f" Norms of the group “{each.name}” spread by {each.spread:.2%} about {each.mean:.4g}, "
        f"where those of iid Gaussian rows would spread by {_gaussian(width):.2%}."
        for each in shells
    )
    out = int((~finite).sum())
    left_out = f" Not drawn: {counted(out, 'row')} without a finite norm." if out else ""
    return Drawing(
        key="norms",
        title="Histogram of norms",
        claim=claim_of(audit, "centroid"),
        figure=figure,
        alt=f"A histogram of {counted(int(finite.sum()), 'norm')} from {values[finite].min():.4g} "
        f"to {values[finite].max():.4g}, in {counted(bins.n, 'bin')}; {sentence(grouping)}.{told}",
        caption=f"All rows are counted, in bins of {bins.width:g}, on a scale of powers of ten; "
        "each bar counts its own group from the ground up. Norms are rounded to W's format."
        + (
            " Shaded is where the norms of iid Gaussian rows with the same mean would lie: three "
            f"relative deviations of 1/√(2d) = {_gaussian(width):.2%} to either side."
            if shells
            else ""
        )
        + left_out,
        heads=("group", "rows", "least", "mean", "largest", "relative spread", "of iid Gaussian"),
        rows=tuple(each.row(width) for each in every_group),
    )


def _add_bars(
    figure: go.Figure, audit: Pictured, bins: Bins, grouping: Grouping, finite: Mask
) -> None:
    """Add the last group's bars, and in front of them those of the others side by side."""
    last = len(grouping.groups) - 1
    alone = grouping.groups[last].colour != palette.REST
    parts = last + alone
    for code in reversed(range(last + 1)):
        group = grouping.groups[code]
        behind = code == last and not alone
        bars = bins.bars(
            bins.counts(audit.norms[finite & (grouping.codes == code)]),
            f"{group.name} ({grouping.sizes[code]:,})",
            group.colour,
            "norm",
            part=0 if behind else code,
            parts=1 if behind else parts,
        )
        bars.legendrank = code
        figure.add_trace(bars)


@dataclass(frozen=True)
class _Norms:
    """The norms of a group in numbers; NaN where there is none."""

    name: str
    colour: str
    n: int | None
    least: float
    mean: float
    largest: float
    spread: float

    @classmethod
    def of(cls, name: str, colour: str, n: int, own: Float64s, width: int) -> "_Norms":
        """Describe the finite norms of a group of n."""
        if not len(own):
            return cls(name, colour, n, nan, nan, nan, nan)
        spread = Shell.of(own, width, 0.0).relative_spread if len(own) > 1 else nan
        return cls(name, colour, n, own.min(), own.mean(), own.max(), spread)

    @property
    def may_be_a_shell(self) -> bool:
        """Whether the picture marks where such rows would be; not of the rest."""
        return self.colour != palette.REST and (self.n or 0) >= FEWEST and self.mean > 0

    def row(self, width: int) -> tuple[str, ...]:
        """Return the numbers as texts."""
        figures = (self.least, self.mean, self.largest)
        return (
            self.name,
            "—" if self.n is None else f"{self.n:,}",
            *("—" if isnan(each) else f"{each:.4g}" for each in figures),
            "—" if isnan(self.spread) else f"{self.spread:.2%}",
            f"{_gaussian(width):.2%}",
        )


def _gaussian(width: int) -> float:
    """Return the relative spread of the norms of iid Gaussian rows."""
    return Shell(FEWEST, width, 0.0, 1.0, 0.0).gaussian


def _of_reference(audit: Pictured, finite: Mask) -> _Norms | None:
    """Return the reference set where its distances are norms, being measured from the origin.

    The table says how far each row is from the set's centre, and how many of the set's standard
    deviations that is from its mean; two rows give mean and deviation back.
    """
    distances, offsets = audit.distances, audit.offsets
    if distances is None or offsets is None:
        return None
    known = np.flatnonzero(np.isfinite(distances) & np.isfinite(offsets) & finite)
    if len(known) < 2:
        return None
    apart = np.abs(distances[known] - audit.norms[known])
    if not np.median(apart) <= _ROUNDED * np.median(audit.norms[known]):
        return None
    low, high = known[np.argmin(offsets[known])], known[np.argmax(offsets[known])]
    if not offsets[high] > offsets[low]:
        return None
    deviation = (distances[high] - distances[low]) / (offsets[high] - offsets[low])
    mean = distances[low] - deviation * offsets[low]
    if not (mean > 0 and deviation > 0):
        return None
    return _Norms("reference set", palette.FEW[2], None, nan, mean, nan, deviation / mean)


def _shade(figure: go.Figure, group: _Norms, width: int) -> None:
    reach = _DEVIATIONS * _gaussian(width) * group.mean
    figure.add_vrect(
        x0=group.mean - reach,
        x1=group.mean + reach,
        fillcolor=group.colour,
        opacity=_SHADE,
        line_width=0,
        layer="below",
    )
