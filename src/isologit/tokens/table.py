"""Who each row of W is: all that its tokenizer tells of it, in columns of V."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.wording import counted
from isologit.tokens.categories import (
    CATEGORIES,
    ORDINARY,
    PADDING,
    SPECIAL,
    UNREACHABLE,
    Category,
    categories_of,
    reserved_rows,
)
from isologit.tokens.huggingface import LibraryError, attempted
from isologit.tokens.reachability import Lost, Reachability, reachability
from isologit.tokens.scripts import Scripts, token_scripts
from isologit.tokens.text import visible_token
from isologit.tokens.utf8 import is_part_of_text
from isologit.tokens.vocabulary import Tokenizer, TokenType

# What a category is called in a sentence.
CATEGORY_WORDS: dict[str, str] = {
    "padding": "padding",
    "special": "special",
    "byte": "byte",
    "partial_utf8": "partial UTF-8",
    "reserved": "reserved",
    "unreachable": "unreachable",
    "ordinary": "ordinary",
}
_OF_A_SCRIPT = (UNREACHABLE, ORDINARY)


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Who each of V rows is.

    Parameters
    ----------
    tokenizer
        As it was read.
    categories
        ``[V]`` int8, an index into `CATEGORIES`.
    reserved
        ``[V]`` bool: declared unused, or named reserved or unused; special tokens can be.
    reachability
        Of the tokenizer's ids; None where the files do not say how text is encoded.
    scripts
        ``[V]`` Unicode scripts of the texts.
    unchecked
        Why reachability was not checked though the tokenizer has an encoder: its library failed.
    """

    tokenizer: Tokenizer
    categories: npt.NDArray[np.int8]
    reserved: npt.NDArray[np.bool_]
    reachability: Reachability | None
    scripts: Scripts
    unchecked: str | None = None

    @property
    def n_rows(self) -> int:
        """Rows of W."""
        return len(self.categories)

    @cached_property
    def n_padding(self) -> int:
        """Rows of W that no token has."""
        return int((self.categories == PADDING).sum())

    @property
    def n_unreachable(self) -> int | None:
        """Tokens with a row that do not survive a round trip; None where it was not checked."""
        if self.reachability is None:
            return None
        return int((self.reachability.survives[: self.n_rows] == 0).sum())

    def raw(self, token_id: int) -> bytes | None:
        """Return the bytes of a row's token; None of padding."""
        known = self.tokenizer.vocabulary
        return known.token_bytes[token_id] if token_id < len(known) else None

    def text(self, token_id: int) -> str | None:
        """Return the text of a row's token; None of padding, and where its bytes are none."""
        known = self.tokenizer.vocabulary
        return known.texts[token_id] if token_id < len(known) else None

    def piece(self, token_id: int) -> str | None:
        """Return the token as its tokenizer writes it; None of padding."""
        known = self.tokenizer.vocabulary
        return known.pieces[token_id] if token_id < len(known) else None

    def declared(self, token_id: int) -> TokenType | None:
        """Return what the tokenizer declares a row's token to be; None of padding."""
        known = self.tokenizer.vocabulary
        return known.types[token_id] if token_id < len(known) else None

    def category(self, token_id: int) -> Category:
        """Return the category of a row."""
        return CATEGORIES[int(self.categories[token_id])]

    def reachable(self, token_id: int) -> bool | None:
        """Return whether a row's token is reachable; None where that is not decided."""
        known = self.reachability
        if known is None or token_id >= len(known.reachable) or known.reachable[token_id] < 0:
            return None
        return bool(known.reachable[token_id])

    def survives(self, token_id: int) -> bool | None:
        """Return whether a row's token survives a round trip; None where that was not checked."""
        known = self.reachability
        if known is None or token_id >= len(known.survives) or known.survives[token_id] < 0:
            return None
        return bool(known.survives[token_id])

    def lost(self, token_id: int) -> Lost | None:
        """Return what became of a row's token that does not survive."""
        return None if self.reachability is None else self.reachability.lost.get(token_id)

    def shown(self, token_id: int, at_most: int | None = None) -> str:
        """Return a row's token fit for a line: its text or bytes, escaped; ``no token`` of padding.

        A control token's text is its name.
        """
        return visible_token(self.raw(token_id), at_most)

    def counts(self) -> dict[str, int]:
        """Return how many rows each category has, zeros included, in the order of `CATEGORIES`."""
        found = np.bincount(self.categories, minlength=len(CATEGORIES))
        return {name: int(n) for name, n in zip(CATEGORIES, found, strict=True)}

    def mix(self, token_ids: npt.ArrayLike) -> list[tuple[str, int]]:
        """Return what some rows are, the most first: script where they are text, else category."""
        ids = np.asarray(token_ids, dtype=np.int64)
        counts: dict[str, int] = {}
        for category, script in zip(
            self.categories[ids].tolist(), self.scripts.codes[ids].tolist(), strict=True
        ):
            of_script = category in _OF_A_SCRIPT and script >= 0
            name = CATEGORY_WORDS[CATEGORIES[category]]
            if of_script:
                name = self.scripts.names[script].replace("_", " ")
            counts[name] = counts.get(name, 0) + 1
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def never_in_utf8(self) -> npt.NDArray[np.bool_]:
        """Return which rows are of tokens whose bytes are in no UTF-8 text, ``[V]``."""
        found = np.zeros(self.n_rows, dtype=np.bool_)
        known = self.tokenizer.vocabulary
        for token_id in range(min(self.n_rows, len(known))):
            raw = known.token_bytes[token_id]
            if raw is not None and known.texts[token_id] is None:
                found[token_id] = not is_part_of_text(raw)
        return found


def describe(
    tokenizer: Tokenizer, n_rows: int | None = None, named: Collection[int] = ()
) -> TokenTable:
    """Find out who each row is.

    Parameters
    ----------
    tokenizer
        As it was read.
    n_rows
        Rows of W; None stands for as many as the tokenizer has ids.
    named
        Ids to which the model's config gives a role: they are special, whether the tokenizer's
        files know them or not.
    """
    vocabulary = tokenizer.vocabulary
    rows = len(vocabulary) if n_rows is None else n_rows
    known, unchecked = None, None
    if (encoder := tokenizer.encoder) is not None:
        try:
            known = attempted(lambda: reachability(vocabulary, encoder))
        except LibraryError as error:
            unchecked = f"reachability is not checked: the tokenizer fails at work: {error}"
    reserved = reserved_rows(vocabulary, rows)
    categories = categories_of(vocabulary, known, reserved)
    missing = [i for i in named if 0 <= i < rows and not vocabulary.has(i)]
    categories[missing] = SPECIAL
    texts = [*vocabulary.texts[:rows], *[None] * (rows - len(vocabulary))]
    return TokenTable(
        tokenizer=tokenizer,
        categories=categories,
        reserved=reserved,
        reachability=known,
        scripts=token_scripts(texts),
        unchecked=unchecked,
    )


def beyond_rows(tokenizer: Tokenizer, n_rows: int) -> list[int]:
    """Return the ids of tokens that W has no row for, ascending."""
    known: Iterable[str | None] = tokenizer.vocabulary.pieces[n_rows:]
    return [n_rows + i for i, piece in enumerate(known) if piece is not None]


def beyond_rows_note(tokenizer: Tokenizer, n_rows: int) -> list[str]:
    """Return a warning where a tokenizer has ids that W has no row for."""
    ids = beyond_rows(tokenizer, n_rows)
    if not ids:
        return []
    named = ", ".join(
        f"{i} {visible_token(tokenizer.vocabulary.token_bytes[i], 24)}" for i in ids[:4]
    )
    return [
        f"the tokenizer has {counted(len(ids), 'id')} beyond the last row of W, {n_rows - 1}: "
        f"{named}{', …' if len(ids) > 4 else ''}; a model that is given one fails or reads other "
        "memory"
    ]
