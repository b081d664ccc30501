"""`Drawing`: a figure with all that stands around it, the same in a page and in a notebook."""

import json
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder

_ESCAPES = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
# Room for a title above the buttons of a figure.
_TITLE_HEIGHT = 40


@dataclass(frozen=True, eq=False)
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

    def page_json(self) -> str:
        """Return data and layout as JSON for a page with colours of its own.

        Without plotly's template, on transparent grounds. It may stand in a script element: ``<``,
        ``>`` and ``&`` are escapes, and other text is UTF-8.
        """
        whole = self.figure.to_dict()
        layout = {name: value for name, value in whole["layout"].items() if name != "template"}
        grounds = dict.fromkeys(("paper_bgcolor", "plot_bgcolor"), "rgba(0,0,0,0)")
        text = json.dumps(
            {"data": whole["data"], "layout": layout | grounds},
            cls=PlotlyJSONEncoder,
            ensure_ascii=False,
            separators=(",", ":"),
        )
        return text.translate(_ESCAPES)

    def _repr_mimebundle_(self, *args: Any, **options: Any) -> Any:
        """Show the figure under its title where a notebook shows this."""
        titled = go.Figure(self.figure)
        margin = {"t": (self.figure.layout.margin.t or 0) + _TITLE_HEIGHT}
        height = (self.figure.layout.height or 0) + _TITLE_HEIGHT
        titled.update_layout(title={"text": self.title}, margin=margin, height=height)
        return titled._repr_mimebundle_(*args, **options)
