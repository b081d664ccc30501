"""The fenced blocks of the README and of the docs, with their pages, lines and languages."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
]


@dataclass(frozen=True)
class Block:
    """A block of code: `line` is that of its first line, from 1; `language` is None if indented."""

    page: str
    line: int
    language: str | None
    text: str

    def __str__(self) -> str:
        """Return where it is."""
        return f"{self.page}:{self.line}"


def parsed(page: str) -> list[Token]:
    """Return a page's Markdown, parsed."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return MarkdownIt("commonmark").enable("table").parse(text)


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    for token in parsed(page):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            fenced = token.type == "fence"
            language = token.info.strip() if fenced else None
            yield Block(page, token.map[0] + 1 + fenced, language, token.content)


def the_block(page: str, language: str, beginning: str = "") -> Block:
    """Return the one block of a page that is in a language and begins so."""
    (found,) = (
        block
        for block in blocks_of(page)
        if block.language == language and block.text.startswith(beginning)
    )
    return found
