"""What every page of HTML is made with: templates, scripts, and figures as a page has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import plotly
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from isologit import __version__
from isologit.checkpoint.wording import counted
from isologit.output import citation, embedded, report_sentences
from isologit.output.drawing import Drawing
from isologit.output.page_parts import PageTable

# What plotly.js may do: no link to its maker, no editor, no request.
_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "doubleClick": "reset",
}


@dataclass(frozen=True)
class PageFigure:
    """A drawing as a page needs it: what is shown, and what is drawn."""

    drawing: Drawing
    table: PageTable
    data: Markup

    @classmethod
    def of(cls, drawing: Drawing) -> "PageFigure":
        """Take what a page shows of a drawing."""
        title = f"The numbers behind “{drawing.title}”"
        table = PageTable.of(title, drawing.heads, drawing.rows)
        return cls(drawing, table, Markup(drawing.page_json()))


def rendered(template: str, page_format: str, version: str, values: Mapping[str, Any]) -> str:
    """Return a page that needs nothing else, and asks for nothing.

    Parameters
    ----------
    template
        Its name among the templates.
    page_format
        What the page holds, for whoever reads it by a program.
    version
        Of the isologit that found what is shown.
    values
        What the template is filled with, besides what every page has.
    """
    scripts = _scripts()
    html = (
        _environment()
        .get_template(template)
        .render(
            version=__version__,
            format=page_format,
            counted=counted,
            policy=embedded.policy(scripts),
            style=Markup(embedded.theme() + _template_text("report.css")),
            scripts=scripts,
            config=embedded.data(_CONFIG),
            claim_words=report_sentences.CLAIMS,
            citation=citation.plain(version),
            bibtex=citation.bibtex(version).split("\n"),
            **values,
        )
    )
    # A path may hold bytes that are no UTF-8; as escapes they are JSON too.
    return html.encode("utf-8", "backslashreplace").decode()


def drawn_by() -> str:
    """Return what draws a page's figures, with versions."""
    javascript = get_plotlyjs()[:200].partition("plotly.js v")[2].split("\n")[0]
    return f"plotly {plotly.__version__}, plotly.js {javascript}"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("isologit.output", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # The one place that every text passes: nothing reaches the page that cannot be seen there.
        finalize=embedded.seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _scripts() -> tuple[Markup, Markup]:
    return embedded.script(get_plotlyjs()), embedded.script(_template_text("report.js"))


@cache
def _template_text(name: str) -> str:
    return files("isologit.output").joinpath("templates", name).read_text(encoding="utf-8")
