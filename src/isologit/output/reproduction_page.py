"""The page of ``reproduce``: each published figure beside this run's."""

from rich.console import Group, RenderableType
from rich.text import Text

from isologit.figures import Reproduction
from isologit.output import sentences
from isologit.output.parts import PlainTable, lines, notes_section, text


def reproduction_page(findings: Reproduction) -> RenderableType:
    """Return each published figure beside this run's."""
    table = PlainTable()
    for column in ("figure", "published", "this run", "verdict", "arithmetic"):
        table.add_column(column)
    section = ""
    for figure in findings.figures:
        if figure.section != section:
            section = figure.section
            table.add_row(text(section, "bold"))
        style = {"equal": "green", "differs": "yellow", "not compared": "dim"}[figure.verdict]
        verdict: str = figure.verdict
        if figure.difference is not None:
            verdict += f" by {_difference(figure.difference)}"
        elif figure.note:
            verdict += f": {figure.note}" if figure.verdict == "not compared" else f" {figure.note}"
        table.add_row(
            text("  " + figure.figure),
            text(_shown(figure.published)),
            text(_shown(figure.this_run)),
            text(verdict, style),
            "depends on it" if figure.depends_on_arithmetic else "",
        )
    summary = (
        f"{findings.equal} equal, {findings.differs} differ, {findings.not_compared} not compared"
    )
    return Group(
        *lines(sentences.matrix(findings.matrix, findings.model.name)),
        *lines(
            [
                sentences.device(findings.arithmetic, any_logits=True),
                f"Beside: {findings.published}",
            ]
        ),
        "",
        table,
        "",
        Text(summary, style="bold"),
        *notes_section(findings.notes),
    )


def _difference(value: float) -> str:
    # Counts differ by a count, to the last token.
    return f"{value:+,.0f}" if value.is_integer() else f"{value:+.8g}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        # Nested lists keep their brackets, and show fewer of them.
        nested = any(isinstance(item, list) for item in value)
        shown = 3 if nested else 6
        # Ids and shapes stand in lists, and ids are not quantities: no separators there.
        parts = [
            f"[{_shown(item)}]"
            if isinstance(item, list)
            else str(item)
            if isinstance(item, int)
            else _shown(item)
            for item in value
        ]
        return ", ".join(parts[:shown]) + (", …" if len(parts) > shown else "")
    return "" if value is None else str(value)
