"""What every page is put together from: sections, lines, and text that no terminal obeys."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text


def section(title: str, sentences: Sequence[str]) -> list[RenderableType]:
    """Return a heading behind an empty line, and sentences."""
    return ["", Text(title, style="bold cyan"), *lines(sentences)]


def lines(sentences: Sequence[str]) -> list[RenderableType]:
    """Return sentences, a line each."""
    return [text(sentence) for sentence in sentences]


def text(content: str, style: str = "") -> Text:
    """Return text as it is: no markup, and escapes in place of what a terminal would obey.

    Names from a file may hold both.
    """
    return Text("".join(c if c.isprintable() else ascii(c)[1:-1] for c in content), style=style)
