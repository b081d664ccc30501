"""What every page is put together from: sections, lines, and text that no terminal obeys."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from isologit.checkpoint.wording import is_plain


def section(title: str, sentences: Sequence[str]) -> list[RenderableType]:
    """Return a heading behind an empty line, and sentences."""
    return ["", Text(title, style="bold cyan"), *lines(sentences)]


def notes_section(notes: Sequence[str]) -> list[RenderableType]:
    """Return what a reader has to know, under its own heading; nothing where that is nothing."""
    return section("Notes", [f"• {note}" for note in notes]) if notes else []


def lines(sentences: Sequence[str]) -> list[RenderableType]:
    """Return sentences, a line each."""
    return [text(sentence) for sentence in sentences]


def text(content: str, style: str = "") -> Text:
    """Return text as it is: no markup, and escapes in place of what a terminal would obey.

    Names from a file may hold both.
    """
    plain = content if is_plain(content) else "".join(map(_escaped, content))
    return Text(plain, style=style)


def _escaped(character: str) -> str:
    return character if is_plain(character) else ascii(character)[1:-1]
