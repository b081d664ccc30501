"""The figure of norms: a histogram by signs of no training, with shells marked."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted
from isologit.numerics.formats import parse_format
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
    grouping = by_training(audit)
    bins = Bins.over(values[finite], parse_format(audit.findings.matrix.values_dtype))
    every = bins.counts(values[finite])
    figure = go.Figure()
    _add_bars(figure, audit, bins, grouping, finite)
    shells = _shells(audit, grouping, finite)
    for each in shells:
        _shade(figure, each)
    framed(figure, "norm", "tokens (log scale)")
    bins.frame(figure, int(every.max()))

    width = audit.findings.matrix.shape[1]
    expected = Shell(FEWEST, width, 0.0, 1.0, 0.0)
    thin = "".join(f" {each.said()}" for each in shells)
    out = int((~finite).sum())
    left_out = f" Not drawn: {counted(out, 'row')} without a finite norm." if out else ""
    return Drawing(
        key="norms",
        title="Histogram of norms",
        claim=claim_of(audit, "centroid"),
        figure=figure,
        alt=f"A histogram of {counted(int(finite.sum()), 'norm')} from {values[finite].min():.4g} "
        f"to {values[finite].max():.4g}, in {counted(bins.n, 'bin')}; {sentence(grouping)}.{thin}",
        caption=f"All rows are counted, in bins of {bins.width:g}, on a scale of powers of ten; "
        "each bar counts its own group from the ground up."
        + (
            " Shaded is where the norms of iid Gaussian rows with the same mean would lie: three "
            f"relative deviations of 1/√(2d) = {expected.gaussian:.2%} to either side."
            if shells
            else ""
        )
        + left_out,
        heads=("group", "rows", "least", "mean", "largest", "relative spread", "of iid Gaussian"),
        rows=(*_rows(audit, grouping, finite), *(each.row() for each in shells if each.n is None)),
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
class _Shell:
    """Norms about their mean, beside those of iid Gaussian rows; `n` is None of the reference set."""

    name: str
    n: int | None
    colour: str
    mean: float
    spread: float
    gaussian: float

    def said(self) -> str:
        return (
            f"The {self.name} spreads by {self.spread:.2%} about {self.mean:.4g}, where iid "
            f"Gaussian rows spread by {self.gaussian:.2%}."
        )

    def row(self) -> tuple[str, ...]:
        spread, gaussian = (f"{each:.2%}" for each in (self.spread, self.gaussian))
        return self.name, "", "", f"{self.mean:.4g}", "", spread, gaussian


def _shells(audit: Pictured, grouping: Grouping, finite: Mask) -> list[_Shell]:
    """Return the groups of a few rows or more but the rest, and the reference set's shell."""
    width = audit.findings.matrix.shape[1]
    found = []
    for code, group in enumerate(grouping.groups):
        own = audit.norms[finite & (grouping.codes == code)]
        if group.colour == palette.REST or len(own) < FEWEST or not own.mean() > 0:
            continue
        shell = Shell.of(own, width, 0.0)
        name = f"group “{group.name}”"
        spread = shell.relative_spread
        found.append(_Shell(name, len(own), group.colour, shell.mean_radius, spread, shell.gaussian))
    return found + _of_reference(audit, finite)


def _of_reference(audit: Pictured, finite: Mask) -> list[_Shell]:
    """Return the reference set's shell where its distances are norms: measured from the origin.

    The table says how far each row is from the set's centre, and how many of the set's standard
    deviations that is from its mean; two rows give mean and deviation back.
    """
    distances, offsets = audit.distances, audit.offsets
    if distances is None or offsets is None:
        return []
    known = np.flatnonzero(np.isfinite(distances) & np.isfinite(offsets) & finite)
    if len(known) < 2:
        return []
    apart = np.abs(distances[known] - audit.norms[known])
    if not np.median(apart) <= _ROUNDED * np.median(audit.norms[known]):
        return []
    low, high = known[np.argmin(offsets[known])], known[np.argmax(offsets[known])]
    if not offsets[high] > offsets[low]:
        return []
    deviation = (distances[high] - distances[low]) / (offsets[high] - offsets[low])
    mean = distances[low] - deviation * offsets[low]
    if not (mean > 0 and deviation > 0):
        return []
    gaussian = Shell(FEWEST, audit.findings.matrix.shape[1], 0.0, 1.0, 0.0).gaussian
    spread = float(deviation / mean)
    return [_Shell("reference set", None, palette.FEW[2], float(mean), spread, gaussian)]


def _shade(figure: go.Figure, shell: _Shell) -> None:
    reach = _DEVIATIONS * shell.gaussian * shell.mean
    figure.add_vrect(
        x0=shell.mean - reach,
        x1=shell.mean + reach,
        fillcolor=shell.colour,
        opacity=_SHADE,
        line_width=0,
        layer="below",
    )


def _rows(audit: Pictured, grouping: Grouping, finite: Mask) -> list[tuple[str, ...]]:
    width = audit.findings.matrix.shape[1]
    rows = []
    for code, (group, n) in enumerate(zip(grouping.groups, grouping.sizes, strict=True)):
        own = audit.norms[finite & (grouping.codes == code)]
        figures = [f"{each:.4g}" for each in (own.min(), own.mean(), own.max())] if len(own) else []
        spreads = []
        if len(own) > 1 and own.mean() > 0:
            shell = Shell.of(own, width, 0.0)
            spreads = [f"{each:.2%}" for each in (shell.relative_spread, shell.gaussian)]
        row = [group.name, f"{n:,}", *(figures or ["—"] * 3), *(spreads or ["—"] * 2)]
        rows.append(tuple(row))
    return rows
