"""The figure of categories: of which kinds the tokens of row classes are, and those of no class."""

import numpy as np
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted
from isologit.output.drawing import Drawing
from isologit.output.figure_parts import claim_of, framed
from isologit.output.grouping import by_category, in_cluster
from isologit.output.pictured import Pictured
from isologit.table_words import Codes

# Row classes that have a bar of their own.
_LARGEST = 6
_BAR, _BESIDE = 42, 130
# Bars whose numbers the alternative text says.
_TOLD = 4
# Beside colours: as many as categories.
_PATTERNS = ("/", "x", "-", ".", "+", "\\", "")


def categories_by_class(audit: Pictured) -> Drawing:
    """Return the categories of the largest row classes' tokens, of the cluster's and of the rest.

    Raises
    ------
    ValueError
        Categories are not known.
    """
    grouping = by_category(audit)
    if grouping is None:
        raise ValueError(audit.why_no_categories)
    names, which = _classes(audit)
    kinds = [group.name for group in grouping.groups]
    table = np.zeros((len(names), len(kinds)), np.int64)
    np.add.at(table, (which, grouping.codes), 1)
    totals = table.sum(axis=1).tolist()
    bars = [f"{name}<br>{counted(n, 'token')}" for name, n in zip(names, totals, strict=True)]
    figure = go.Figure()
    for code, (group, n) in enumerate(zip(grouping.groups, grouping.sizes, strict=True)):
        own = table[:, code].tolist()
        shares = [100 * of / n for of, n in zip(own, totals, strict=True)]
        figure.add_trace(
            go.Bar(
                y=bars,
                x=shares,
                orientation="h",
                name=f"{group.name} ({n:,})",
                hovertext=[
                    f"{name}<br>{group.name}: {counted(of, 'token')}, {share:.2f}%"
                    for name, of, share in zip(names, own, shares, strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
                marker={
                    "color": group.colour,
                    "line": {"width": 0},
                    "pattern": {
                        "shape": _PATTERNS[code] if group.name != "ordinary" else "",
                        "fillmode": "overlay",
                        "fgcolor": "rgba(255, 255, 255, 0.7)",
                        "size": 6,
                        "solidity": 0.2,
                    },
                },
            )
        )
    framed(figure, "share of the tokens, %", "", height=_BESIDE + _BAR * len(names))
    figure.update_layout(barmode="stack", bargap=0.3, legend_traceorder="normal")
    figure.update_xaxes(range=[0, 100])
    figure.update_yaxes(autorange="reversed")
    kept = [n for n, name in enumerate(kinds) if name != "ordinary"]
    mixes = [
        f"{name} ({total:,}): {_mix(kinds, row, kept)}"
        for name, total, row in zip(names, totals, table.tolist(), strict=True)
    ]
    told = mixes if len(mixes) <= _TOLD else [*mixes[: _TOLD - 1], "and so on", mixes[-1]]
    return Drawing(
        key="categories_by_class",
        title="Categories by row class",
        claim=claim_of(audit, "tokens"),
        figure=figure,
        alt=f"Shares of categories in {counted(len(names), 'group')} of tokens. {'; '.join(told)}.",
        caption="Each bar is all of its tokens. Row classes are named by their label in "
        "tokens.parquet, the largest first; each token is in one bar.",
        heads=("group", "tokens", *kinds),
        rows=tuple(
            (name, f"{total:,}", *(f"{n:,}" for n in row))
            for name, total, row in zip(names, totals, table.tolist(), strict=True)
        ),
    )


def _classes(audit: Pictured) -> tuple[list[str], Codes]:
    """Return the largest row classes, all others, the cluster's single rows, and who is left.

    Each token is in one of them, and each has a token.
    """
    labels, sizes = np.unique(audit.row_classes, return_counts=True)
    order = np.argsort(-sizes, kind="stable")[:_LARGEST]
    largest = labels[order[sizes[order] > 1]].tolist()
    shared = audit.row_class_sizes > 1
    conditions = [audit.row_classes == label for label in largest]
    names = [f"row class {label}" for label in largest]
    names += ["other row classes", "cluster, not shared", "others"]
    conditions += [shared, in_cluster(audit)]
    which = np.select(conditions, list(range(len(conditions))), len(conditions))
    occurs = np.bincount(which, minlength=len(names)) > 0
    kept = [name for name, there in zip(names, occurs.tolist(), strict=True) if there]
    return kept, (np.cumsum(occurs) - 1)[which]


def _mix(kinds: list[str], row: list[int], kept: list[int]) -> str:
    said = [f"{row[n]:,} {kinds[n]}" for n in kept if row[n]]
    return ", ".join(said) if said else "all ordinary"
