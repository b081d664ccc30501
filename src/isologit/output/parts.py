"""What every page is put together from: sections, lines, and text that no terminal obeys."""

from collections.abc import Collection, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from isologit.checkpoint.wording import is_plain

# Rows of a table that are laid out for the width of the terminal.
_MOST_LAID_OUT = 1_000


def section(title: str, sentences: Sequence[str]) -> list[RenderableType]:
    """Return a heading behind an empty line, and sentences."""
    return ["", Text(title, style="bold cyan"), *lines(sentences)]


def notes_section(notes: Sequence[str]) -> list[RenderableType]:
    """Return what a reader has to know, under its own heading; nothing where that is nothing."""
    return section("Notes", [f"• {note}" for note in notes]) if notes else []


def lines(sentences: Sequence[str]) -> list[RenderableType]:
    """Return sentences, a line each."""
    return [text(sentence) for sentence in sentences]


class PlainTable(Table):
    """A table without lines around its cells, which a narrow terminal folds and never cuts."""

    def __init__(self, *, show_header: bool = True) -> None:
        super().__init__(box=None, pad_edge=False, show_header=show_header)

    def add_column(self, *header: Any, **options: Any) -> None:
        """Add a column; see rich."""
        super().add_column(*header, **{"overflow": "fold", **options})


def rows_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> RenderableType:
    """Return a table of texts; `right` has the heads of columns whose texts stand to the right.

    Of many rows the lines are as long as they are: to lay out a row for the width of a terminal
    takes a millisecond.
    """
    if len(rows) > _MOST_LAID_OUT:
        return _unfolded(heads, rows)
    table = PlainTable()
    for head in heads:
        table.add_column(text(head), justify="right" if head in right else "left")
    for row in rows:
        table.add_row(*map(text, row))
    return table


def _unfolded(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    last = len(heads) - 1
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines_of = (
        "  ".join(cell if n == last else cell.ljust(widths[n]) for n, cell in enumerate(row))
        for row in [heads, *rows]
    )
    return Text("\n".join(lines_of), no_wrap=True, overflow="ignore")


def text(content: str, style: str = "") -> Text:
    """Return text as it is: no markup, and escapes in place of what a terminal would obey.

    Names from a file may hold both.
    """
    plain = content if is_plain(content) else "".join(map(_escaped, content))
    return Text(plain, style=style)


def _escaped(character: str) -> str:
    return character if is_plain(character) else ascii(character)[1:-1]
