"""The job of ``tokens``: a model's tokens one by one, and which of them a filter keeps."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit import __version__, token_steps
from isologit.errors import TokenIdError
from isologit.subject import Progress, Settings, silent
from isologit.token_findings import TokenFacts, TokenListing
from isologit.token_source import Found, Weights, find_model, tokens_of, weights_of
from isologit.tokens.evidence import GRADES
from isologit.tokens.table import TokenTable
from isologit.tokens.text import visible_token

# Characters of the tokens that come out again.
_LONGEST_SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which tokens are listed: those that every filter given keeps.

    Parameters
    ----------
    categories, scripts, types, causes, grades
        Names, any of which will do; a token of several scripts has each of them.
    row_class
        The label of a row class, as in `tokens.parquet`.
    pattern
        A regular expression that is found in the text, or in the piece where there is no text.
    token_ids
        Ids, of which any will do.
    """

    categories: Sequence[str] = ()
    scripts: Sequence[str] = ()
    types: Sequence[str] = ()
    causes: Sequence[str] = ()
    grades: Sequence[str] = ()
    row_class: int | None = None
    pattern: str | None = None
    token_ids: Sequence[int] | None = None

    @property
    def of_weights(self) -> bool:
        """Whether W has to be read for them."""
        return self.row_class is not None or bool(self.grades)


def listing(
    spec: str,
    settings: Settings | None = None,
    *,
    filters: Filters | None = None,
    evidence: bool = False,
    progress: Progress = silent,
) -> TokenListing:
    """List a model's tokens.

    Parameters
    ----------
    spec
        A model, the directory of one, or a tokenizer's file; weights need not be there.
    settings
        Which matrix is meant, and which tokenizer.
    filters
        Which tokens to list; all, if there are none.
    evidence
        Whether to read W for row classes and traces of training.
    progress
        Called with the name of each step.

    Raises
    ------
    TokenizerError
        There is no tokenizer, or it cannot be used.
    TokenIdError
        An id that is asked for is no row of W.
    IsologitError
        The model cannot be read.
    """
    settings = settings or Settings()
    return listing_of(
        find_model(spec, settings), settings, filters=filters, evidence=evidence, progress=progress
    )


def listing_of(
    found: Found,
    settings: Settings,
    *,
    filters: Filters | None = None,
    evidence: bool = False,
    progress: Progress = silent,
) -> TokenListing:
    """List the tokens of a model that was found; see `listing`."""
    filters = filters or Filters()
    progress("tokens")
    tokens = tokens_of(found, settings)
    table = tokens.table
    assert table is not None  # a tokenizer that does not load is an error here
    weights = None
    if evidence or filters.of_weights:
        weights = weights_of(found, table, progress)
    facts = token_steps.tokens_facts(
        tokens,
        rows=None if weights is None else weights.rows.bits,
        evidence=None if weights is None else weights.evidence,
    )
    assert facts is not None
    ids = _kept(table, weights, filters)
    return TokenListing(
        isologit=__version__,
        model=found.model,
        tensor=None if found.located is None else found.located.head.tensor,
        summary=facts,
        filters=_named(filters),
        matched=len(ids),
        tokens=list(_facts(table, weights, ids)),
        notes=[*found.notes, *tokens.notes],
    )


def _kept(table: TokenTable, weights: Weights | None, filters: Filters) -> npt.NDArray[np.int64]:
    """Return the ids that every filter keeps, ascending."""
    keep = np.ones(table.n_rows, dtype=np.bool_)
    if filters.token_ids is not None:
        beyond = [i for i in filters.token_ids if not 0 <= i < table.n_rows]
        if beyond:
            raise TokenIdError(f"token {beyond[0]} is outside 0 to {table.n_rows - 1}")
        keep[:] = False
        keep[list(filters.token_ids)] = True
    if filters.row_class is not None:
        assert weights is not None
        if filters.row_class >= weights.rows.bits.n_classes:
            raise TokenIdError(
                f"there is no row class {filters.row_class}: labels go from 0 to "
                f"{weights.rows.bits.n_classes - 1}"
            )
        keep &= weights.rows.bits.labels == filters.row_class
    if filters.grades:
        assert weights is not None
        wanted = [n for n, grade in enumerate(GRADES) if grade in filters.grades]
        keep &= np.isin(weights.evidence.grades, wanted)
    tests: list[Callable[[int], bool]] = []
    if filters.categories:
        tests.append(lambda i: table.category(i) in filters.categories)
    if filters.types:
        tests.append(lambda i: table.declared(i) in filters.types)
    if filters.causes:
        tests.append(lambda i: (lost := table.lost(i)) is not None and lost.cause in filters.causes)
    if filters.scripts:
        wanted_scripts = {name.casefold().replace(" ", "_") for name in filters.scripts}
        tests.append(lambda i: bool(wanted_scripts & set(_scripts(table, i))))
    if filters.pattern is not None:
        pattern = re.compile(filters.pattern)
        tests.append(lambda i: pattern.search(_searched(table, i)) is not None)
    ids = np.flatnonzero(keep)
    return np.array([i for i in ids.tolist() if all(test(i) for test in tests)], dtype=np.int64)


def _scripts(table: TokenTable, token_id: int) -> list[str]:
    return (table.scripts.name(token_id) or "").casefold().split("+")


def _searched(table: TokenTable, token_id: int) -> str:
    text = table.text(token_id)
    return (table.piece(token_id) or "") if text is None else text


def _facts(
    table: TokenTable, weights: Weights | None, ids: npt.NDArray[np.int64]
) -> Iterator[TokenFacts]:
    for i in ids.tolist():
        lost, raw = table.lost(i), table.raw(i)
        yield TokenFacts(
            id=i,
            piece=table.piece(i),
            text=table.text(i),
            bytes=None if raw is None else raw.hex(),
            type=table.declared(i),
            category=table.category(i),
            reserved_name=bool(table.reserved[i]),
            survives=table.survives(i),
            reachable=table.reachable(i),
            cause=None if lost is None else lost.cause,
            reencoded=None if lost is None else list(lost.reencoded),
            reencoded_tokens=None if lost is None else [_shown(table, j) for j in lost.reencoded],
            witness=None if lost is None else lost.witness,
            script=table.scripts.name(i),
            row_class=None if weights is None else int(weights.rows.bits.labels[i]),
            evidence=None if weights is None else GRADES[weights.evidence.grades[i]],
            evidence_flags=None if weights is None else weights.evidence.held(i),
            evidence_why=None if weights is None else weights.evidence.reasons(i),
        )


def _shown(table: TokenTable, token_id: int) -> str:
    """Return a token that comes out of encoding, which may have no row."""
    known = table.tokenizer.vocabulary
    raw = known.token_bytes[token_id] if known.has(token_id) else None
    return visible_token(raw, _LONGEST_SHOWN)


def _named(filters: Filters) -> dict[str, Any]:
    named = {
        "category": list(filters.categories),
        "script": list(filters.scripts),
        "type": list(filters.types),
        "cause": list(filters.causes),
        "grade": list(filters.grades),
        "class": filters.row_class,
        "grep": filters.pattern,
        "id": None if filters.token_ids is None else list(filters.token_ids),
    }
    return {name: value for name, value in named.items() if value not in (None, [])}
