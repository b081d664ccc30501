"""Figures of the logits at an audit's state: by rank, by token, as a histogram, and who shares."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted
from isologit.numerics.formats import parse_format
from isologit.output import palette
from isologit.output.distinct_logits import DistinctLogits
from isologit.output.drawing import Drawing
from isologit.output.figure_parts import (
    claim_of,
    drawn_as,
    framed,
    mark_sizes,
    mark_traces,
    sentence,
    switch,
)
from isologit.output.grouping import Group, Grouping, by_class, in_cluster, in_modal_class
from isologit.output.histogram import Bins, point_at
from isologit.output.hover import MarkTexts
from isologit.output.pictured import Pictured
from isologit.output.thinning import Marks, thinned
from isologit.table_words import Codes

# Steps that are drawn one by one: 16-bit logits have fewer.
_MOST_STEPS = 4_000
# Of more, so many by rank, and so many by the logarithm of the rank.
_KEPT, _KEPT_AT_THE_TOP = 1_500, 500
_MOST_OF_CLUSTER = 1_500
# Of `isologit.equivalence.values.MULTIPLICITIES`, in words.
_MULTIPLICITIES = ("1", "2", "3", "4 or more", "100 or more", "1,000 or more")
_COMMON = "most common logit"


def logit_ranks(audit: Pictured) -> Drawing:
    """Return the logits from the largest down, a step a distinct value.

    Raises
    ------
    ValueError
        No logit is a finite number.
    """
    logits = DistinctLogits.of(audit)
    values, first, last = logits.values, logits.first_ranks, logits.last_ranks
    kept = _kept(len(values))
    said = [f"{_ranks(logits, n)}<br>{_held(logits, n)}" for n in kept.tolist()]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            # The last step ends at the last rank.
            x=np.append(first[kept], last[0]),
            y=np.append(values[kept], values[0]),
            hovertext=[*said, said[-1]],
            hovertemplate="%{hovertext}<extra></extra>",
            mode="lines",
            # Between values that are left out nothing is known to be level.
            line={
                "shape": "hv" if len(kept) == len(values) else "linear",
                "color": palette.REST,
                "width": 2.5,
            },
            name="logits",
        )
    )
    if logits.common is not None:
        n = logits.common
        figure.add_trace(
            go.Scatter(
                x=[first[n], last[n]],
                y=[values[n], values[n]],
                hovertext=[f"{_ranks(logits, n)}<br>{_held(logits, n)}"] * 2,
                hovertemplate="%{hovertext}<extra></extra>",
                mode="lines+markers",
                line={"color": palette.MODAL, "width": 6},
                marker={"color": palette.MODAL, "size": 8, "symbol": "line-ns-open"},
                name=f"{_COMMON} ({counted(int(logits.counts[n]), 'token')})",
            )
        )
    if logits.in_cluster.any():
        figure.add_trace(_of_cluster(logits))
    figure.add_trace(_maximum(audit, first[-1], values[-1]))
    framed(figure, "rank", "logit")
    axes = [[{"xaxis.type": kind, "xaxis.autorange": True}] for kind in ("linear", "log")]
    figure.update_layout(updatemenus=[switch(["rank", "log rank"], axes, "relayout")])

    caption = "Tokens from the largest logit down; a level piece is a logit that several share."
    if len(kept) < len(values):
        caption += (
            f" {len(kept):,} of {len(values):,} distinct logits are drawn, the highest and the "
            "lowest among them, with straight lines between."
        )
    common = np.argsort(-logits.counts, kind="stable")[:10].tolist()
    return Drawing(
        key="logit_ranks",
        title="Logits by rank",
        claim=claim_of(audit, "logits"),
        figure=figure,
        alt=f"{counted(len(values), 'distinct logit')} of {counted(logits.n_tokens, 'token')} "
        f"{logits.state}, from {logits.said(-1)} down to {logits.said(0)}. "
        f"{logits.most_common()}{_where_common(logits)}",
        caption=caption + logits.left_out(),
        heads=("logit", "tokens", "ranks"),
        rows=tuple(
            (logits.said(n), f"{logits.counts[n]:,}", _ranks(logits, n, "")) for n in common
        ),
    )


def logits_by_id(audit: Pictured) -> Drawing:
    """Return each token's logit beside its id.

    Raises
    ------
    ValueError
        No logit is a finite number.
    """
    logits = DistinctLogits.of(audit)
    grouping = by_class(audit)
    ids = np.arange(audit.n_tokens, dtype=np.float64)
    marks = thinned(ids, audit.logits, grouping.codes)
    figure = go.Figure(mark_traces(marks, grouping, MarkTexts(audit).of_tokens(marks)))
    top = np.flatnonzero(audit.logits == logits.values[-1])
    figure.add_trace(_maximum(audit, top[0], logits.values[-1]))
    framed(figure, "token id", "logit")
    rows = []
    for code, (group, n) in enumerate(zip(grouping.groups, grouping.sizes, strict=True)):
        own = (grouping.codes == code) & logits.finite
        ends = [audit.logits[own].min(), audit.logits[own].max()] if own.any() else []
        rows.append((group.name, f"{n:,}", *(_printed(logits, end) for end in ends)))
    return Drawing(
        key="logits_by_id",
        title="Logits by token id",
        claim=claim_of(audit, "logits"),
        figure=figure,
        alt=f"The logits of {counted(logits.n_tokens, 'token')} {logits.state}, by token id; "
        f"{sentence(grouping)}. The maximum, {logits.said(-1)}, is that of "
        f"{_ids_in_words(top)}.",
        caption=f"{drawn_as(marks)}{logits.left_out()}",
        heads=("class", "tokens", "least logit", "largest logit"),
        rows=tuple((*row, *["—"] * (4 - len(row))) for row in rows),
    )


def logit_histogram(audit: Pictured) -> Drawing:
    """Return how many tokens have logits in each of a hundred bins or so, the class marked.

    Raises
    ------
    ValueError
        No logit is a finite number.
    """
    logits = DistinctLogits.of(audit)
    held = audit.logits[logits.finite]
    bins = Bins.over(held, parse_format(logits.dtype))
    every = bins.counts(held)
    figure = go.Figure(bins.bars(every, "all tokens", palette.REST, "logit"))
    common, cluster = (mask(audit) & logits.finite for mask in (in_modal_class, in_cluster))
    if common.any():
        counts = bins.counts(audit.logits[common])
        name = f"{_COMMON} ({int(counts.sum()):,})"
        figure.add_trace(bins.bars(counts, name, palette.MODAL, "logit", part=0, parts=2))
    if cluster.any():
        counts = bins.counts(audit.logits[cluster])
        name = f"cluster ({int(counts.sum()):,})"
        figure.add_trace(bins.bars(counts, name, palette.CLUSTER, "logit", part=1, parts=2))
    framed(figure, "logit", "tokens (log scale)")
    bins.frame(figure, int(every.max()))
    if logits.common is not None:
        n = logits.common
        bins.point_at(figure, float(logits.values[n]), every, _at(logits, n))
    fullest = np.argsort(-every, kind="stable")[:10].tolist()
    return Drawing(
        key="logit_histogram",
        title="Histogram of logits",
        claim=claim_of(audit, "logits"),
        figure=figure,
        alt=f"A histogram of {counted(logits.n_tokens, 'logit')} {logits.state}, in "
        f"{counted(len(every), 'bin')} from {logits.said(0)} to {logits.said(-1)}; the fullest "
        f"holds {counted(int(every.max()), 'token')}. {logits.most_common()}",
        caption=f"All tokens are counted, in bins of {bins.width:g}, on a scale of powers of ten. "
        "Narrow bars count those of them with the most common logit, and those in the cluster, "
        f"from the ground up.{logits.left_out()}",
        heads=("logits", "tokens"),
        rows=tuple((bins.said(n), f"{every[n]:,}") for n in sorted(fullest)),
    )


def multiplicities(audit: Pictured) -> Drawing:
    """Return how many tokens hold each distinct logit (the seed line's 1.5b).

    Raises
    ------
    ValueError
        No logit is a finite number.
    """
    logits = DistinctLogits.of(audit)
    of = np.where(logits.in_cluster > 0, 1, 2)
    if logits.common is not None:
        of[logits.common] = 0
    groups = (
        Group(_COMMON, palette.MODAL, "triangle-up"),
        Group("of tokens in the cluster", palette.CLUSTER, "diamond"),
        Group("others", palette.REST),
    )
    grouping = Grouping.of("logit", groups, of)
    marks = thinned(logits.values, np.log10(logits.counts), grouping.codes)
    figure = go.Figure(mark_traces(marks, grouping, _value_texts(logits, marks)))
    for trace in figure.data:
        trace.y = 10 ** np.asarray(trace.y, np.float64)
    framed(figure, "logit", "tokens with this logit (log scale)")
    figure.update_yaxes(type="log", dtick=1)
    if logits.common is not None:
        n = logits.common
        value, count = float(logits.values[n]), int(logits.counts[n])
        span = float(logits.values[-1] - logits.values[0])
        along = (value - float(logits.values[0])) / span if span > 0 else 0.5
        point_at(figure, value, count, _at(logits, n), along=along)
    held = logits.multiplicity
    named = list(zip(held.values(), _MULTIPLICITIES, strict=True))
    by = ", ".join(f"{n:,} by {words}" for n, words in named)
    return Drawing(
        key="multiplicities",
        title="How many tokens share a logit",
        claim=claim_of(audit, "logits"),
        figure=figure,
        alt=f"{counted(len(logits.values), 'distinct logit')} {logits.state}; held by tokens: "
        f"{by}. {logits.most_common()}",
        caption=f"Each distinct logit beside the number of tokens that hold it: {by}. "
        f"{drawn_as(marks, 'distinct logit')}{logits.left_out()}",
        heads=("tokens with one logit", "distinct logits"),
        rows=tuple((words, f"{n:,}") for n, words in named),
    )


def _kept(n: int) -> Codes:
    """Return which of n ascending values a rank plot draws, from the last to the first."""
    if n <= _MOST_STEPS:
        return np.arange(n)[::-1]
    by_rank = np.linspace(0, n - 1, _KEPT)
    at_the_top = np.geomspace(1, n, _KEPT_AT_THE_TOP) - 1
    return n - 1 - np.unique(np.concatenate([by_rank, at_the_top]).round().astype(np.int64))


def _of_cluster(logits: DistinctLogits) -> go.Scatter:
    """Return marks where the cluster's tokens are among the ranks."""
    held = np.flatnonzero(logits.in_cluster)
    middle = (logits.first_ranks + logits.last_ranks)[held] / 2
    marks = thinned(
        middle, logits.values[held], np.zeros(len(held), np.int64), at_most=_MOST_OF_CLUSTER
    )
    tokens = np.add.reduceat(logits.in_cluster[held][marks.members], marks.starts[:-1])
    said = [
        f"{counted(n, 'token')} of the cluster<br>"
        + (
            _held(logits, int(held[own[0]]))
            if len(own) == 1
            else f"{len(own):,} logits, {logits.said(held[own[0]])} to {logits.said(held[own[-1]])}"
        )
        for n, own in zip(tokens.tolist(), map(marks.of, range(len(marks))), strict=True)
    ]
    return go.Scatter(
        x=marks.x,
        y=marks.y,
        hovertext=said,
        hovertemplate="%{hovertext}<extra></extra>",
        mode="markers",
        marker={
            "color": palette.CLUSTER,
            "symbol": "diamond",
            "size": mark_sizes(tokens, "diamond"),
            "opacity": 1,
            "line": {"width": 0},
        },
        name=f"cluster ({counted(int(tokens.sum()), 'token')})",
    )


def _maximum(audit: Pictured, x: float, logit: float) -> go.Scatter:
    """Return a mark at the largest logit, which says whose it is."""
    ids = np.flatnonzero(audit.logits == logit)
    marks = thinned(np.zeros(len(ids)), np.zeros(len(ids)), np.zeros(len(ids), np.int64))
    own = Marks(marks.x, marks.y, marks.groups, ids[marks.members], marks.starts, 0, merged=False)
    return go.Scatter(
        x=[x],
        y=[logit],
        hovertext=MarkTexts(audit).of_tokens(own),
        hovertemplate="maximum<br>%{hovertext}<extra></extra>",
        mode="markers",
        marker={"color": palette.SHARED, "symbol": "star", "size": 14},
        name=f"maximum ({counted(len(ids), 'token')})",
    )


def _value_texts(logits: DistinctLogits, marks: Marks) -> list[str]:
    least, most = (
        each(logits.counts.astype(np.float64)).astype(int).tolist()
        for each in (marks.least, marks.most)
    )
    texts = []
    for n, (low, high) in enumerate(zip(least, most, strict=True)):
        own = marks.of(n)
        if len(own) == 1:
            texts.append(_held(logits, int(own[0])))
            continue
        held = counted(low, "token") if low == high else f"{low:,} to {high:,} tokens"
        ends = f"{logits.said(own[0])} to {logits.said(own[-1])}"
        texts.append(f"{len(own):,} logits, {ends}<br>held by {held} each")
    return texts


def _held(logits: DistinctLogits, n: int) -> str:
    members = int(logits.in_cluster[n])
    of_cluster = f", {members:,} of the cluster" if members else ""
    return f"logit {logits.said(n)}: {counted(int(logits.counts[n]), 'token')}{of_cluster}"


def _at(logits: DistinctLogits, n: int) -> str:
    return f"{counted(int(logits.counts[n]), 'token')} at {logits.said(n)}"


def _ranks(logits: DistinctLogits, n: int, before: str = "rank ") -> str:
    first, last = int(logits.first_ranks[n]), int(logits.last_ranks[n])
    return f"{before}{first:,}" if first == last else f"{before}{first:,} to {last:,}"


def _where_common(logits: DistinctLogits) -> str:
    return "" if logits.common is None else f" Their ranks are {_ranks(logits, logits.common, '')}."


def _printed(logits: DistinctLogits, value: float) -> str:
    return logits.said(int(np.searchsorted(logits.values, value)))


def _ids_in_words(ids: Sequence[int] | Codes) -> str:
    if len(ids) == 1:
        return f"token {ids[0]}"
    first = ", ".join(str(i) for i in ids[:3])
    return f"{counted(len(ids), 'token')}: {first}{', …' if len(ids) > 3 else ''}"
