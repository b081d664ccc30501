"""The figures of an audit, as plotly draws them: the same in a report and in a notebook.

Each function takes an audit's tokens (`isologit.output.pictured.Pictured`) and returns a figure
with its caption, its numbers, and what it shows in words (`isologit.output.drawing.Drawing`).
Figures have no colours of ground and text: those are the page's, or the notebook's.
"""

from collections.abc import Callable

from isologit.output.category_figure import categories_by_class
from isologit.output.drawing import Drawing
from isologit.output.logit_figures import (
    logit_histogram,
    logit_ranks,
    logits_by_id,
    multiplicities,
)
from isologit.output.map_figures import sphere, vocabulary_map
from isologit.output.norm_figures import norms
from isologit.output.pictured import Pictured

__all__ = [
    "categories_by_class",
    "drawings",
    "left_out",
    "logit_histogram",
    "logit_ranks",
    "logits_by_id",
    "multiplicities",
    "norms",
    "sphere",
    "vocabulary_map",
]

_Draw = Callable[[Pictured], Drawing]
# In the order of a report, each with what it takes and what its absence leaves out.
_IN_ORDER: tuple[tuple[tuple[_Draw, ...], str, str], ...] = (
    (
        (logit_ranks, logits_by_id, logit_histogram, multiplicities),
        "why_no_logits",
        "The figures of logits",
    ),
    ((norms,), "why_no_norms", "The histogram of norms"),
    ((vocabulary_map, sphere), "why_no_places", "The vocabulary map and the sphere"),
    ((categories_by_class,), "why_no_categories", "Categories by row class"),
)


def drawings(audit: Pictured) -> list[Drawing]:
    """Return every figure that an audit has, in the order of the report."""
    return [
        draw(audit)
        for several, why_not, _ in _IN_ORDER
        if getattr(audit, why_not) is None
        for draw in several
    ]


def left_out(audit: Pictured) -> list[str]:
    """Return a sentence for each of the figures that an audit has not, with the reason."""
    return [
        f"{name} {'are' if len(several) > 1 else 'is'} left out: {why}."
        for several, why_not, name in _IN_ORDER
        if (why := getattr(audit, why_not)) is not None
    ]
