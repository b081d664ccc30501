"""The job of ``cast``: what casting W to other formats would merge, without printing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit import clusters, steps, token_steps
from isologit.cast_findings import (
    Born,
    CastFacts,
    Casts,
    Entries,
    Flip,
    RandomStates,
    StoredRows,
    TiedLogits,
)
from isologit.checkpoint.wording import listed
from isologit.claims import EXACT, OBSERVED, sampled
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.coarsening import born_classes, part_counts
from isologit.equivalence.norm_range import NormRange
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import RowClasses, row_classes
from isologit.equivalence.states import State
from isologit.equivalence.winners import NOBODY, margin, winners
from isologit.errors import TensorShapeError
from isologit.findings import EqualRows
from isologit.numerics.cast_formats import CASTS, SCHEMES, Rules, why_impossible
from isologit.numerics.casts import Cast, cast
from isologit.numerics.stored import Matrix
from isologit.subject import (
    Progress,
    Settings,
    Subject,
    head_facts,
    open_subject,
    silent,
)
from isologit.tokens.table import TokenTable
from isologit.tokens.text import LONGEST_NAMED


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The random reachable states at which winners are compared: how many, and their seed."""

    n: int = 100
    seed: int = 0


def casts(
    spec: str,
    settings: Settings | None = None,
    *,
    to: Sequence[str] = (),
    rules: Rules | None = None,
    sample: Sample | None = None,
    progress: Progress = silent,
) -> Casts:
    """Say what casts of W would merge.

    Parameters
    ----------
    spec
        The checkpoint.
    settings
        How to compute.
    to
        Formats, of `CASTS`; none stands for all.
    rules
        Overflow and scaling of the 8-bit floats.
    sample
        Random states.
    progress
        Called with the name of each step.

    Raises
    ------
    TensorShapeError
        None of the formats is possible for rows of this size.
    IsologitError
        The checkpoint cannot be read.
    """
    subject = open_subject(spec, settings or Settings())
    return casts_of(subject, to=to, rules=rules, sample=sample, progress=progress)


def casts_of(
    subject: Subject,
    *,
    to: Sequence[str] = (),
    rules: Rules | None = None,
    sample: Sample | None = None,
    progress: Progress = silent,
) -> Casts:
    """Say what casts of an opened checkpoint's W would merge; see `casts`."""
    matrix, arithmetic = subject.head.matrix, subject.settings.arithmetic
    rules, sample = rules or Rules(), sample or Sample()
    names, impossible = possible_of(to, matrix.width, subject.checkpoint.name)
    reading = token_steps.begin_reading(subject)
    progress("row classes")
    rows = row_classes(matrix, subject.head.bias)
    progress("cluster")
    cluster = clusters.standing_out(find_clusters(matrix, rows.row_values))
    state = steps.state_of_cluster(subject, rows, cluster)
    progress("logits")
    at_state = steps.logits_at(subject, state.vector)
    logits = Partition.of_values(at_state.values)
    progress("winners at random states")
    norm_range = NormRange.of(subject.head.norm, matrix.width)
    states = NormRange.known_or_assumed(subject.head.norm, matrix.width).random_states(
        0, sample.n, seed=sample.seed, format_=matrix.format
    )
    before = _Before(rows, logits, states, winners(matrix, states, subject.logit_format))
    tokens = reading.result()
    formats = {}
    for name in names:
        progress(f"cast to {name}")
        # One at a time: each is as large as W in its format.
        formats[name] = _facts(subject, name, rules, before, state, tokens.table)
    exact = arithmetic.name == "exact"
    return Casts(
        isologit=subject.version,
        model=subject.model,
        matrix=subject.matrix_facts(),
        head=head_facts(subject.head),
        arithmetic=steps.arithmetic_facts(subject, at_state.refined),
        state=steps.state_facts(subject, state),
        states=RandomStates(
            n=sample.n,
            seed=sample.seed,
            norm=subject.head.norm.source,
            assumed=norm_range is None,
        ),
        before=StoredRows(
            distinct=rows.bits.n_classes,
            distinct_values=rows.values.n_classes,
            redundant=rows.bits.n_tokens - rows.bits.n_classes,
            sizes=EqualRows.of(rows.bits).sizes,
            logits=_ties(logits, None),
        ),
        formats=formats,
        not_possible=impossible,
        claims={
            "distinct": EXACT,
            "born": EXACT,
            "entries": EXACT,
            "made_non_finite": EXACT,
            "logits": EXACT if exact else OBSERVED,
            "flips": sampled(sample.n),
        },
        notes=steps.notes(
            subject, rows, None, [*_notes(subject, norm_range, formats), *tokens.notes]
        ),
    )


def possible_of(to: Sequence[str], width: int, where: str) -> tuple[list[str], dict[str, str]]:
    """Return which formats rows of d numbers can be cast to, and why not to the others.

    Parameters
    ----------
    to
        Formats, of `CASTS`; none stands for all.
    width
        d.
    where
        What messages call the model.

    Raises
    ------
    TensorShapeError
        None of them is possible.
    """
    asked = [name for name in CASTS if name in to] if to else list(CASTS)
    reasons = {name: why_impossible(name, width) for name in asked}
    names = [name for name, why in reasons.items() if why is None]
    impossible = {name: why for name, why in reasons.items() if why is not None}
    if not names:
        fitting = listed([name for name in CASTS if why_impossible(name, width) is None])
        name, why = next(iter(impossible.items()))
        raise TensorShapeError(
            f"{where}: a cast to {name} is not possible: {why}; expected a multiple. These fit: "
            f"{fitting}"
        )
    return names, impossible


@dataclass(frozen=True, eq=False)
class _Before:
    """What a cast is held against: rows, logits at the state, and the winners at others."""

    rows: RowClasses
    logits: Partition
    states: Matrix
    winners: npt.NDArray[np.int64]


def _facts(
    subject: Subject,
    name: str,
    rules: Rules,
    before: _Before,
    state: State,
    table: TokenTable | None,
) -> CastFacts:
    made = cast(subject.head.matrix, name, rules)
    rows, logits, winning = before.rows, before.logits, before.winners
    if made.matrix is not subject.head.matrix:
        rows = row_classes(made.matrix, subject.head.bias)
        arithmetic, logit_format = subject.settings.arithmetic, subject.logit_format
        rounded = arithmetic.logits(made.matrix, state.vector, logit_format)
        logits = Partition.of_values(rounded.values)
        winning = winners(made.matrix, before.states, logit_format)
    born = born_classes(before.rows.bits, rows.bits)
    flips = _flips(subject, made, before, winning, table)
    return CastFacts(
        kind=made.kind,
        scheme=SCHEMES[name],
        scaling=made.scaling,
        overflow=made.overflow,
        distinct=rows.bits.n_classes,
        distinct_values=rows.values.n_classes,
        redundant=rows.bits.n_tokens - rows.bits.n_classes,
        sizes=EqualRows.of(rows.bits).sizes,
        rows_merged=before.rows.bits.n_classes - rows.bits.n_classes,
        born_classes=len(born),
        born_tokens=sum(len(each.token_ids) for each in born),
        born=[
            Born(
                size=len(each.token_ids),
                parts=each.parts,
                token_ids=each.token_ids.tolist(),
                tokens=None if table is None else token_steps.class_tokens(table, each.token_ids),
            )
            for each in born
        ],
        entries=_entries(made),
        made_non_finite=int((before.rows.finite_rows & ~rows.finite_rows).sum()),
        logits=_ties(logits, before.logits),
        flipped=len(flips),
        flips=flips,
    )


def _entries(made: Cast) -> Entries | None:
    if made.counts is None:
        return None
    total = made.matrix.n_tokens * made.matrix.width
    return Entries(total=total, **made.counts._asdict())


def _ties(logits: Partition, before: Partition | None) -> TiedLogits:
    newly = None
    if before is not None:
        newly = int(logits.sizes()[part_counts(before, logits) > 1].sum())
    return TiedLogits(
        distinct=logits.n_classes,
        tied=int((logits.n_others() > 0).sum()),
        newly_tied=newly,
    )


def _flips(
    subject: Subject,
    made: Cast,
    before: _Before,
    winning: npt.NDArray[np.int64],
    table: TokenTable | None,
) -> list[Flip]:
    """Return the states at which another token wins."""
    logit_format = subject.logit_format
    flips = []
    for k in np.flatnonzero(winning != before.winners).tolist():
        old, new = int(before.winners[k]), int(winning[k])
        margins: list[float | None] = [None, None]
        if NOBODY not in (old, new):
            h = before.states.row(k).values
            margins = [
                margin(subject.head.matrix, old, new, h, logit_format),
                margin(made.matrix, new, old, h, logit_format),
            ]
        shown = None
        if table is not None and NOBODY not in (old, new):
            shown = [table.shown(i, LONGEST_NAMED) for i in (old, new)]
        flips.append(
            Flip(
                state=k,
                before=old,
                after=new,
                margin_before=margins[0],
                margin_after=margins[1],
                tokens=shown,
            )
        )
    return flips


def _notes(
    subject: Subject, norm_range: NormRange | None, formats: dict[str, CastFacts]
) -> list[str]:
    """Say what a reader of casts has to know."""
    notes, head = [], subject.head
    if head.matrix.coding is not None:
        notes.append(f"W is stored as {head.matrix.stored_as}: what is cast are its decoded values")
    if head.bias is not None:
        notes.append(
            f"the bias, {head.bias_tensor}, is kept as it is stored: rows count with it, and "
            "logits and winners are without it"
        )
    if norm_range is None:
        notes.append(
            f"the final norm is not known ({head.norm.source}): random states are those of an "
            "RMSNorm with γ = 1"
        )
    for name, facts in formats.items():
        if fewer := facts.distinct - facts.distinct_values:
            notes.append(
                f"{name}: {facts.distinct_values:,} distinct rows by decoded value, {fewer:,} "
                "fewer than by stored bits"
            )
    return notes
