"""Finding tokens by their text, their ids or their bytes."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isologit.explorer.opened import Explored
from isologit.tokens.text import LONGEST_NAMED

_ID = re.compile(r"#?([0-9]{1,10})")
# ⟨E2 80⟩ as tokens are shown, or 0xE280.
_BYTES = re.compile(r"<((?:[0-9a-fA-F]{2} ?)+)>|0x((?:[0-9a-fA-F]{2} ?)+)")
#: More characters than a token that is looked for needs.
LONGEST_SEARCH = 200


@dataclass(frozen=True)
class Found:
    """A token that was found: its id, its text fit for a line, its script or category."""

    token: int
    text: str
    kind: str


class Search:
    """Finds tokens of a model that is open."""

    def __init__(self, explored: Explored) -> None:
        self._explored = explored

    def find(self, text: str, limit: int = 50) -> list[Found]:
        """Return tokens that fit what was typed, the best first.

        A number is an id; ``<E2 80>`` or ``0xE280`` are bytes, anywhere in the token. Anything else
        is text: tokens that are this text, then those that begin with it, then those that hold it,
        and then the same whatever the case; within each the shorter ones first.
        """
        text = text[:LONGEST_SEARCH]
        if not text:
            return []
        ids: list[int] = []
        if (number := _ID.fullmatch(text)) and int(number[1]) < self._explored.n_tokens:
            ids.append(int(number[1]))
        if (given := _BYTES.fullmatch(text)) is not None:
            ids += self._with(bytes.fromhex(given[1] or given[2]), limit, whatever_case=False)
        else:
            wanted = text.encode("utf-8", "replace")
            ids += self._with(wanted, limit, whatever_case=False)
            if len(set(ids)) < limit:
                ids += self._with(wanted, limit, whatever_case=True)
        ids = list(dict.fromkeys(ids))[:limit]
        shown = self._explored.pictured.shown_many(ids, LONGEST_NAMED)
        return [Found(i, name, self._explored.kind(i)) for i, name in zip(ids, shown, strict=True)]

    @cached_property
    def _tokens(self) -> pa.Array | None:
        found = self._explored.pictured.token_bytes
        return None if found is None else found.combine_chunks()

    def _with(self, wanted: bytes, limit: int, *, whatever_case: bool) -> list[int]:
        """Return the tokens whose bytes hold some, as they are or whatever the case of letters."""
        tokens = self._tokens
        if tokens is None or not wanted:
            return []
        if whatever_case:
            # Of text alone: bytes that are no text have no case.
            held = pc.match_substring(self._folded, wanted.decode("utf-8", "replace").casefold())
            ids = np.flatnonzero(held.fill_null(False).to_numpy(zero_copy_only=False))
        else:
            held = pc.match_substring(tokens, wanted)
            ids = np.flatnonzero(held.fill_null(False).to_numpy(zero_copy_only=False))
        if not len(ids):
            return []
        some = tokens.take(pa.array(ids))
        begins = pc.starts_with(some, wanted).to_numpy(zero_copy_only=False)
        sizes = pc.binary_length(some).to_numpy(zero_copy_only=False)
        # One that is no longer is what was asked for.
        order = np.lexsort((ids, sizes, ~begins, sizes != len(wanted)))
        found: list[int] = ids[order[:limit]].tolist()
        return found

    @cached_property
    def _folded(self) -> pa.Array:
        """The texts of the tokens with letters of one case; null where the bytes are no text."""
        raw = [] if self._tokens is None else self._tokens.to_pylist()
        return pa.array([_folded(each) for each in raw], pa.string())


def _folded(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    try:
        return raw.decode().casefold()
    except UnicodeDecodeError:
        return None
