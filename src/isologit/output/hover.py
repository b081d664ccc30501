"""Text as plotly shows it: token strings that stay text, and what a mark stands for.

Plotly reads tags, links and entities in labels, legends and titles, ``%{…}`` in templates of
labels, and where MathJax is loaded formulas between dollar signs.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from math import isnan

from isologit.numerics.formats import Float64s
from isologit.output.pictured import Pictured
from isologit.output.sentences import number
from isologit.output.thinning import Marks

# Of a mark's tokens, how many are named, and how much of each is shown.
_NAMED = 2
_SHOWN = 16
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "%": "&#37;"})
# First-strong isolate, and what ends it: text from right to left leaves what stands around alone.
_ISOLATED = "\u2068{}\u2069"
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def plain(text: str) -> str:
    """Return text that plotly shows as it is: no tags, links, entities, templates, formulas."""
    return text.translate(_ENTITIES)


def isolated(text: str) -> str:
    """Return text whose letters from right to left do not reorder what stands around it."""
    if text.isascii() or not any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text):
        return text
    return _ISOLATED.format(text)


class MarkTexts:
    """What marks stand for, in two lines: which tokens, and their norms and logits."""

    def __init__(self, audit: Pictured) -> None:
        self._audit = audit
        self._dtype = audit.findings.logits.dtype

    def of_tokens(self, marks: Marks) -> list[str]:
        """Return a text a mark."""
        audit = self._audit
        starts, counts = marks.starts[:-1].tolist(), marks.counts.tolist()
        named = [
            marks.members[start : start + min(n, _NAMED)].tolist()
            for start, n in zip(starts, counts, strict=True)
        ]
        self._prepare({token_id for ids in named for token_id in ids})
        one_row = marks.least(audit.row_classes) == marks.most(audit.row_classes)
        norms = _ranges("norm", marks, audit.norms, _exact)
        logits = _ranges("logit", marks, audit.logits, self._logit)
        return [
            f"{self._who(ids, n, same)}<br>{norm}{', ' if norm and logit else ''}{logit}"
            for ids, n, same, norm, logit in zip(
                named, counts, one_row.tolist(), norms, logits, strict=True
            )
        ]

    def _prepare(self, token_ids: set[int]) -> None:
        """Make the names of tokens that have none yet."""
        known = self._audit.names
        new = sorted(token_ids - known.keys())
        for token_id, text in zip(new, self._audit.shown_many(new, _SHOWN), strict=True):
            known[token_id] = f"{token_id} {plain(isolated(text))}" if text else str(token_id)

    def _who(self, token_ids: list[int], n: int, one_row: bool) -> str:
        names = [self._audit.names[token_id] for token_id in token_ids]
        if n == 1:
            return f"token {names[0]}"
        more = ", …" if n > len(names) else ""
        return f"{n:,} tokens{' of one row' if one_row else ''}: {', '.join(names)}{more}"

    def _logit(self, value: float) -> str:
        return _printed(value, self._dtype)


def _ranges(what: str, marks: Marks, values: Float64s, one: Callable[[float], str]) -> list[str]:
    """Return what each mark's values are: one number, or shorter, from where to where."""
    lows, highs = marks.least(values).tolist(), marks.most(values).tolist()

    def said(low: float, high: float) -> str:
        if isnan(low):
            return ""
        return f"{what} {one(low)}" if low == high else f"{what} {low:.3g} to {high:.3g}"

    return [said(low, high) for low, high in zip(lows, highs, strict=True)]


def _exact(value: float) -> str:
    return f"{value:.4g}"


@lru_cache(maxsize=1 << 16)
def _printed(value: float, dtype: str) -> str:
    return number(value, dtype)
