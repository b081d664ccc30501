"""The row classes of a report: what each is a mix of, and its tokens one by one."""

from dataclasses import dataclass

import numpy as np

from isologit.output.pictured import Pictured
from isologit.table_words import Codes, Words, kinds_of

# Classes with a heading of their own, and tokens of them that are in the page: a thousand of a
# class, and not more in all than a browser lays out at once.
_CLASSES_SHOWN, _OF_A_CLASS, _IN_ALL = 100, 1_000, 8_000
# Tokens of a class before "more", and kinds with a colour of their own.
FIRST, _COLOURED = 16, 7


@dataclass(frozen=True)
class Chip:
    """A token: its id, its text fit for a line, and the place of its kind; −1 is none."""

    token_id: int
    text: str
    kind: int


@dataclass(frozen=True)
class Part:
    """So many of a group are of one kind; `colour` counts from 0, None is that of all others."""

    name: str
    n_tokens: int
    colour: int | None


@dataclass(frozen=True)
class TokenGroup:
    """Tokens that belong together; `chips` are the first of `size`."""

    size: int
    chips: tuple[Chip, ...]
    mix: tuple[Part, ...]

    @property
    def hidden(self) -> int:
        """Tokens that are not in the page."""
        return self.size - len(self.chips)


@dataclass(frozen=True)
class ClassCard:
    """A row class by its label in ``tokens.parquet``."""

    label: int
    tokens: TokenGroup


@dataclass(frozen=True)
class ClassCards:
    """The largest classes.

    Parameters
    ----------
    cards
        By size, then by label.
    hidden_classes, hidden_tokens
        How many classes have no card, and the tokens of these.
    listed_tokens
        Tokens of cards that are in the page.
    kinds
        What a token can be, the most common in classes first; empty without a tokenizer.
    """

    cards: tuple[ClassCard, ...]
    hidden_classes: int
    hidden_tokens: int
    listed_tokens: int
    kinds: tuple[str, ...]


class Tokens:
    """Who the tokens of an audit are, as groups of them are shown."""

    def __init__(self, pictured: Pictured) -> None:
        self._pictured = pictured
        self._kinds = _kinds(pictured)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What a token can be, the most common among row classes first."""
        return () if self._kinds is None else self._kinds.names

    def group(self, ids: Codes, at_most: int) -> TokenGroup:
        """Return tokens by their ids, the first of them one by one."""
        known = self._kinds
        chips = tuple(
            Chip(i, self._pictured.shown(i), -1 if known is None else int(known.codes[i]))
            for i in ids[:at_most].tolist()
        )
        return TokenGroup(len(ids), chips, self._mix(ids))

    def classes(self) -> ClassCards:
        """Return the row classes of two tokens or more."""
        labels, sizes = self._pictured.row_classes, self._pictured.row_class_sizes
        shared = np.flatnonzero(sizes > 1)
        # By size, then by label, then by id: each class is a run.
        order = shared[np.lexsort((shared, labels[shared], -sizes[shared]))]
        runs = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []
        cards, left = [], _IN_ALL
        for ids in runs[:_CLASSES_SHOWN]:
            group = self.group(ids, max(FIRST, min(_OF_A_CLASS, left)))
            left -= len(group.chips)
            cards.append(ClassCard(int(labels[ids[0]]), group))
        hidden = runs[_CLASSES_SHOWN:]
        return ClassCards(
            cards=tuple(cards),
            hidden_classes=len(hidden),
            hidden_tokens=sum(map(len, hidden)),
            listed_tokens=sum(len(card.tokens.chips) for card in cards),
            kinds=self.kinds,
        )

    def _mix(self, ids: Codes) -> tuple[Part, ...]:
        if self._kinds is None:
            return ()
        counts = np.bincount(self._kinds.codes[ids], minlength=len(self.kinds))
        there = sorted(
            np.flatnonzero(counts).tolist(), key=lambda at: (-counts[at], self.kinds[at])
        )
        return tuple(
            Part(self.kinds[at], int(counts[at]), at if at < _COLOURED else None) for at in there
        )


def _kinds(pictured: Pictured) -> Words | None:
    """Return what each token is: its script where it is text, else its category.

    Numbered by how many tokens of row classes are of a kind, then by how many there are at all, so
    that those have colours which are seen most.
    """
    categories, scripts = pictured.categories, pictured.scripts
    if categories is None:
        return None
    kinds = kinds_of(categories, scripts)
    names, codes = kinds.names, kinds.codes
    in_all = np.bincount(codes, minlength=len(names))
    in_classes = np.bincount(codes[pictured.row_class_sizes > 1], minlength=len(names))
    order = [at for at in np.lexsort((-in_all, -in_classes)).tolist() if in_all[at]]
    places = np.full(len(names), -1, dtype=np.int64)
    places[order] = np.arange(len(order))
    return Words(tuple(names[at] for at in order), places[codes])
