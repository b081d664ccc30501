"""The job of ``gap``: tokens that nothing the final norm outputs tells apart by more than a gap."""

from collections.abc import Sequence
from concurrent.futures import Future
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from isologit import steps, token_steps
from isologit.checkpoint.wording import counted, listed
from isologit.claims import BOUND, EXACT
from isologit.equivalence.gap import Gap
from isologit.equivalence.near_twins import (
    MOST_ENTRIES,
    NearPairs,
    near_pairs,
    widest_gap,
)
from isologit.equivalence.norm_range import MEAN_RATIO
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import row_classes
from isologit.equivalence.states import token_id_list
from isologit.gap_findings import (
    CountWithin,
    EqualForAll,
    GapClass,
    GapFindings,
    GapNorm,
    GapPair,
    NearestTwin,
    TokenTwins,
)
from isologit.subject import Progress, Settings, Subject, head_facts, open_subject, silent
from isologit.token_steps import Tokens
from isologit.tokens.table import TokenTable
from isologit.tokens.text import LONGEST_NAMED
from isologit.twin_finder import NormKind, TwinFinder, gap_of, gap_pairs

Ids = npt.NDArray[np.int64]

#: What is asked for where the user names no gap: probabilities within some 10 % of each other.
WITHIN_NATS = 0.1
# Smaller gaps whose pairs are counted beside it.
_STEPS = (0.001, 0.01, 0.1, 1.0, 10.0)
# Pairs that are listed where all are asked for: more would fill the memory, and serve no reader.
_MOST_LISTED = 1_000_000
# Of so many classes it is said who the members are, and shown how the first of them read.
_TOLD_CLASSES = 20
_SHOWN_MEMBERS = 3
# How many near rows a token that is asked for gets.
_NEAREST = 5


def near_twins(
    spec: str,
    settings: Settings | None = None,
    *,
    within_nats: float = WITHIN_NATS,
    token_ids: Sequence[int] = (),
    assume: NormKind | None = None,
    limit: int | None = 20,
    progress: Progress = silent,
) -> GapFindings:
    """Find the tokens that no state tells apart by more than a gap.

    Parameters
    ----------
    spec
        The checkpoint.
    settings
        Which matrix is meant; the logit format is taken for the one that the norm is computed in.
    within_nats
        The gap.
    token_ids
        Tokens whose nearest twins are wanted, however far.
    assume
        Take this norm, with γ = 1 and no β, whatever the checkpoint says.
    limit
        How many pairs to list; None for all, of which a million at most are.
    progress
        Called with the name of each step.

    Raises
    ------
    UnclearHeadError
        The final norm is not known, and none is assumed; or it is wider than its bounds cover.
    TokenIdError
        A token that is asked for is no row of W.
    IsologitError
        The checkpoint cannot be read.
    """
    return near_twins_of(
        open_subject(spec, settings or Settings()),
        within_nats=within_nats,
        token_ids=token_ids,
        assume=assume,
        limit=limit,
        progress=progress,
    )


def near_twins_of(
    subject: Subject,
    *,
    within_nats: float = WITHIN_NATS,
    token_ids: Sequence[int] = (),
    assume: NormKind | None = None,
    limit: int | None = 20,
    most_entries: int = MOST_ENTRIES,
    reading: "Future[Tokens] | None" = None,
    progress: Progress = silent,
) -> GapFindings:
    """Find the near twins of an opened checkpoint; see `near_twins`.

    `reading` is who its rows are, or will be, where that is being found out already.
    """
    head = subject.head
    if token_ids:
        token_id_list(list(token_ids), head.matrix.n_tokens, "--token")
    gap, norm = gap_of(subject, assume)
    reading = reading or token_steps.begin_reading(subject)
    progress("row classes")
    rows = row_classes(head.matrix, head.bias)
    finder = TwinFinder.among(gap, rows, subject)
    finite, ids = finder.finite, finder.ids
    progress("near pairs")
    steps = [step for step in _STEPS if step < within_nats]
    pairs = near_pairs(
        gap,
        ids,
        within_nats,
        steps=steps,
        at_most=_MOST_LISTED if limit is None else min(limit, _MOST_LISTED),
        most_entries=most_entries,
    )
    progress("classes")
    grouped = _grouped(rows.values, finite, ids, pairs.components)
    told = _classes(gap, grouped, most_entries)
    progress("twins of tokens")
    twins = [finder.of_token(token_id, _NEAREST) for token_id in token_ids]
    listed_pairs = gap_pairs(gap, pairs.left, pairs.right)
    tokens = reading.result()
    classes = [
        GapClass(
            size=len(members),
            distinct=len(own),
            token_ids=members.tolist(),
            widest_nats=at_least,
            widest_at_most_nats=at_most,
            tokens=token_steps.class_tokens(tokens.table, members)
            if tokens.table is not None and n < _TOLD_CLASSES
            else None,
        )
        for n, (members, own, at_least, at_most) in enumerate(told)
    ]
    with_twin = np.flatnonzero(pairs.nearest >= 0)
    return GapFindings(
        isologit=subject.version,
        model=subject.model,
        matrix=subject.matrix_facts(),
        head=head_facts(head),
        norm=norm,
        within_nats=within_nats,
        distinct=len(ids),
        complete=pairs.complete,
        closest=pairs.closest,
        n_pairs=pairs.n_pairs,
        n_within=[
            CountWithin(nats=step, pairs=n) for step, n in zip(steps, pairs.n_within, strict=True)
        ],
        pairs=listed_pairs,
        classes=classes,
        nearest=[
            NearestTwin(token=int(token), twin=int(twin), gap_nats=float(nats))
            for token, twin, nats in zip(
                ids[with_twin],
                pairs.nearest[with_twin],
                pairs.nearest_nats[with_twin],
                strict=True,
            )
        ],
        equal_for_all=[
            EqualForAll(size=len(members), distinct=len(own), token_ids=members.tolist())
            for members, own in _grouped(rows.values, finite, ids, pairs.equal)
            if len(own) > 1
        ],
        tokens=twins,
        texts=_texts(tokens.table, listed_pairs, classes, twins),
        claims=_claims(pairs),
        assumptions=_assumptions(norm),
        notes=_notes(subject, norm, finite, tokens.notes),
    )


def _grouped(
    values: Partition, finite: npt.NDArray[np.bool_], ids: Ids, components: Partition
) -> list[tuple[Ids, Ids]]:
    """Return components of two tokens or more: their tokens, and the first ones of their rows.

    Largest first, then by the smallest id.
    """
    label_of = np.full(values.n_classes, -1, dtype=np.int64)
    label_of[values.labels[ids]] = components.labels
    labels = label_of[values.labels]
    labels[~finite] = -1
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    bounds = np.flatnonzero(np.diff(labels[order], prepend=-1, append=-1))
    if not len(order):
        return []
    groups = []
    for first, stop in pairwise(bounds):
        if stop - first > 1:
            groups.append((order[first:stop], ids[components.members(int(labels[order[first]]))]))
    return sorted(groups, key=lambda group: (-len(group[0]), int(group[0][0])))


def _classes(
    gap: Gap, groups: list[tuple[Ids, Ids]], most_entries: int
) -> list[tuple[Ids, Ids, float, float]]:
    """Return classes with their widest gaps; where there are many rows, within a bracket."""
    told, left = [], most_entries
    for members, own in groups:
        widest = widest_gap(gap, own, most_entries=left)
        if widest.at_least == widest.at_most:
            left -= len(own) * (len(own) - 1) // 2 * gap.matrix.width
        told.append((members, own, widest.at_least, widest.at_most))
    return told


def _texts(
    table: TokenTable | None,
    pairs: list[GapPair],
    classes: list[GapClass],
    twins: list[TokenTwins],
) -> dict[str, str]:
    """Return the texts of the tokens that a page names, by id, escaped."""
    if table is None:
        return {}
    named = {i for pair in pairs for i in (pair.a, pair.b)}
    named |= {i for each in classes[:_TOLD_CLASSES] for i in each.token_ids[:_SHOWN_MEMBERS]}
    for each in twins:
        named |= {each.token, *each.row_class[:_SHOWN_MEMBERS]}
        named |= {pair.b for pair in each.nearest}
    return {str(i): table.shown(i, LONGEST_NAMED) for i in sorted(named)}


def _claims(pairs: NearPairs) -> dict[str, str]:
    counted_ = EXACT if pairs.complete else f"{BOUND}, from below"
    return {
        "pairs.gap_nats": BOUND,
        "pairs.gap_nats_computed": BOUND,
        "n_pairs": counted_,
        "n_within": counted_,
        "nearest": BOUND,
        "classes": EXACT,
        "classes.widest_nats": BOUND,
        "equal_for_all": EXACT,
        "tokens.row_class": EXACT,
        "tokens.nearest": BOUND,
    }


def _assumptions(norm: GapNorm) -> list[str]:
    """Return what the figures hold under."""
    told = [
        "gap_nats is the supremum over the norm's outputs in real arithmetic, to a relative 1e-12, "
        "and an upper bound over prompts: no prompt need reach it",
        "logits are real products with the stored rows, without the rounding of the product itself",
        "gap_nats_computed: the norm's statistics are summed in binary32 or finer, in any order, "
        f"its root within 2 ulp, its output rounded to {norm.compute_dtype} at every step; nothing "
        "overflows, no number below the normal range is flushed to 0, and squares that underflow "
        "are nothing beside ε",
    ]
    if norm.kind == "layer":
        told.append(
            "gap_nats_computed: the variance is that of deviations (two passes, or Welford's), and "
            f"the mean of the norm's input is at most {MEAN_RATIO:g} of its deviations"
        )
    return told


def _notes(
    subject: Subject,
    norm: GapNorm,
    finite: npt.NDArray[np.bool_],
    others: Sequence[str],
) -> list[str]:
    head, notes = subject.head, [*subject.head.warnings, *steps.input_notes(subject)]
    if norm.assumed:
        kind = {"rms": "an RMSNorm", "layer": "a LayerNorm"}[norm.kind]
        notes.append(f"{kind} with γ = 1 is assumed: {norm.why}; with another γ gaps are others")
    if head.softcap is not None:
        notes.append(
            "the softcap moves no two logits apart: gaps stay bounds, and are no longer attained"
        )
    if n := int((~finite).sum()):
        left_out = np.flatnonzero(~finite).tolist()
        notes.append(
            f"{counted(n, 'token')} with an infinity or a NaN left out: "
            f"{listed(map(str, left_out), at_most=8)}"
        )
    return [*notes, *others]
