"""The figures of an audit, as plotly draws them: the same in a report and in a notebook."""

import numpy as np
import plotly.graph_objects as go

from isologit.output.drawing import Drawing
from isologit.output.pictured import Pictured


def drawings(audit: Pictured) -> list[Drawing]:
    """Return every figure that an audit has, in the order of the report."""
    return [logit_ranks(audit)]


def left_out(audit: Pictured) -> list[str]:
    """Return which figures there are not, and why; a sentence each."""
    return []


def logit_ranks(audit: Pictured) -> Drawing:
    """Return the logits from the largest down, a step per distinct value."""
    values, counts = np.unique(audit.logits[~np.isnan(audit.logits)], return_counts=True)
    values, counts = values[::-1], counts[::-1]
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]) + 1
    figure = go.Figure(go.Scatter(x=first, y=values, mode="lines", line_shape="hv"))
    figure.update_layout(xaxis_title="rank", yaxis_title="logit")
    return Drawing(
        key="logit_ranks",
        title="Logits by rank",
        claim=audit.findings.claims["logits"],
        figure=figure,
        alt=f"{len(values):,} distinct logits, from {values[0]:g} down to {values[-1]:g}.",
        caption="A step is a logit that several tokens share.",
        heads=("logit", "tokens"),
        rows=tuple((f"{v:g}", f"{n:,}") for v, n in zip(values[:10], counts[:10], strict=True)),
    )
