"""What a page of HTML is put together from: facts, and tables of texts; nothing of it is markup."""

from collections.abc import Sequence
from dataclasses import dataclass

# Characters of a cell that want a wide column.
_LONG = 40


@dataclass(frozen=True)
class Fact:
    """A name and what is to be said under it; `code` is to be read letter by letter."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class PageTable:
    """A table of texts.

    Parameters
    ----------
    caption
        What it is a table of.
    heads, rows
        A head for each column; the first text of a row is what the row is about.
    numbers
        Places of the columns that hold numbers, which stand to the right.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()

    @property
    def is_wide(self) -> bool:
        """Whether its texts would be broken into single words on a narrow screen."""
        return len(self.heads) > 4 or any(len(text) > _LONG for row in self.rows for text in row)

    @classmethod
    def of(
        cls,
        caption: str,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        numbers: Sequence[str] = (),
    ) -> "PageTable":
        """Make one whose columns of numbers are named by their heads."""
        return cls(
            caption,
            tuple(heads),
            tuple(map(tuple, rows)),
            frozenset(n for n, head in enumerate(heads) if head in numbers),
        )


def facts(*pairs: tuple[str, str | None]) -> list[Fact]:
    """Return the facts that there are: those of None are left out."""
    return [Fact(name, value) for name, value in pairs if value is not None]
