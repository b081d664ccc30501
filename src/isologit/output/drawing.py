"""`Drawing`: a figure with all that stands around it, the same in a page and in a notebook."""

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, repr=False)
class Drawing:
    """One figure.

    Parameters
    ----------
    key
        Its name in a page and in `isologit.AuditResult.figures`: ``logit_ranks``.
    title
        A heading.
    claim
        What kind of claim the figure makes (`isologit.claims`).
    figure
        As plotly draws it; without colours of text and ground, which are the page's.
    alt
        What it shows, in one or two sentences with numbers, for who cannot see it.
    caption
        How to read it, and how much less is drawn than counted, where that is so.
    heads, rows
        The numbers behind it, as a table of texts; of many the ones that matter.
    """

    key: str
    title: str
    claim: str
    figure: go.Figure
    alt: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        return f"<Drawing {self.key}: {self.alt}>"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Show the figure where a notebook shows this, and say in text what it shows."""
        shown: dict[str, Any] = self.figure._repr_mimebundle_(**options)
        return {**shown, "text/plain": f"{self.title}. {self.alt}"}
