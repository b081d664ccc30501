"""Many hidden states: the meet of their logit partitions, and the greedy certificate at each.

States are taken in parts, so that memory does not grow with their number; what is known after a
part can be kept, and gone on from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from isologit import certificates
from isologit.certificates import CertificateTable, Columns, certifier_of
from isologit.checkpoint.state_file import StoredStates
from isologit.checkpoint.wording import counted, listed
from isologit.claims import BOUND, EXACT, sampled
from isologit.equivalence.meet import LogitMeet
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import RowClasses
from isologit.equivalence.states import State, looks_like_pre_norm, reachability
from isologit.errors import ResultsError, StateError
from isologit.numerics.many_states import logits_at_states
from isologit.numerics.stored import Vector
from isologit.request import RandomStates
from isologit.state_sources import (
    Source,
    before_the_head,
    before_the_head_notes,
    figures_of,
    identity_of,
    n_distinct,
    odd_states_notes,
    pre_norm_note,
    source_of,
    states_facts,
)
from isologit.states_findings import GreedyFacts, Growth, MeetClass, MeetFacts, StatesFacts
from isologit.subject import Subject
from isologit.token_steps import class_tokens
from isologit.tokens.table import TokenTable

# Bytes of the logits of a part, and the most states that one has.
_PART_BYTES = 64 << 20
_MOST_IN_PART = 1024
# The first part is small: it tells how long the others take, and leaves few tokens together.
_FIRST_PART = 8
# Where fewer of the tokens are left, their rows are taken out of W.
_FEW = 1 / 8
_LARGEST_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Kept:
    """What is known after some states, enough to go on from.

    Parameters
    ----------
    identity
        What all of it depends on besides the states: a word or a digest each.
    n_states, states_sha256
        How many states were done, and the digest of their words.
    labels
        ``[V]``, the meet so far.
    growth
        ``(states, distinct, classes)`` at 1, 2, 5, 10, 20 … states.
    last_growth
        The number of the state that last told tokens apart.
    columns
        A figure a state, ``[n_states, …]`` each.
    """

    identity: dict[str, str]
    n_states: int
    states_sha256: str
    labels: npt.NDArray[np.int32]
    growth: tuple[tuple[int, int, int], ...]
    last_growth: int
    columns: Columns


@dataclass(frozen=True, eq=False)
class AcrossStates:
    """What many states say: the records, the meet itself, the claims, and what is to be known."""

    states: StatesFacts
    meet: MeetFacts
    greedy: GreedyFacts | None
    partition: Partition
    claims: dict[str, str]
    notes: list[str]


@dataclass(frozen=True)
class HowFar:
    """How a run over many states goes.

    Parameters
    ----------
    with_greedy
        Compute every logit at every state, for the greedy certificate and the number of distinct
        logits. Without, only tokens that still share a class are computed, and the run ends where
        no state can tell more.
    kept
        What an earlier run left.
    keep
        Called with what is known after each part.
    advance
        Called with how many states are done, and of how many.
    """

    with_greedy: bool = True
    kept: Kept | None = None
    keep: Callable[[Kept], None] = field(default=lambda _kept: None)
    advance: Callable[[int, int], None] = field(default=lambda _done, _total: None)


def across_states(
    subject: Subject,
    rows: RowClasses,
    asked: StoredStates | RandomStates,
    table: Callable[[], TokenTable | None],
    how: HowFar | None = None,
) -> AcrossStates:
    """Find what no state of many tells apart, and certify the top token at each.

    Parameters
    ----------
    subject, rows
        The model, and its row classes.
    asked
        States of a file, or random ones.
    table
        Returns who the tokens are, once that is needed.
    how
        See `HowFar`.

    Raises
    ------
    StateError
        The states have another width, or logits are observed and not exact.
    ResultsError
        What was kept is of another model, of other states, or of another way to compute.
    """
    how = how or HowFar()
    if subject.settings.arithmetic.name != "exact":
        raise StateError(
            f"many states are computed exactly, got --arithmetic {subject.settings.arithmetic.name}"
            "; leave it out, or choose one state with --index"
        )
    run = _Run(subject, rows, source_of(subject, asked), how)
    run.go()
    return run.result(table)


class _Run:
    """The loop over parts, and what it knows."""

    def __init__(self, subject: Subject, rows: RowClasses, source: Source, how: HowFar) -> None:
        self.subject, self.rows, self.source, self.how = subject, rows, source, how
        self.matrix = subject.head.matrix
        self.meet = LogitMeet.of_no_state(self.matrix.n_tokens)
        self.growth: list[tuple[int, int, int]] = []
        self.last_growth = self.done = 0
        self.digest = sha256()
        self.factor = before_the_head(subject.head)
        self.figures: list[Columns] = []
        certifier = certifier_of(subject, rows) if how.with_greedy else None
        self.certifier = certifier
        self.table = None if certifier is None else CertificateTable(certifier.formats)
        self.identity = identity_of(subject, source, with_greedy=how.with_greedy)
        if how.kept is not None:
            self._go_on_from(how.kept)

    @property
    def complete(self) -> bool:
        """Whether all that any state could tell apart is: equal rows have equal logits."""
        return self.meet.n_classes == self.rows.row_values.n_classes

    def go(self) -> None:
        total = self.source.n_states
        self.how.advance(self.done, total)
        while self.done < total and not (self.complete and not self.how.with_greedy and self.done):
            self._take(min(total - self.done, self._part()))
            self.how.keep(self._kept())
            self.how.advance(self.done, total)

    def _part(self) -> int:
        if not self.done:
            return _FIRST_PART
        n_tokens = self.matrix.n_tokens if self.how.with_greedy else len(self.meet.tokens)
        return int(np.clip(_PART_BYTES // (4 * max(n_tokens, 1)), 1, _MOST_IN_PART))

    def _take(self, count: int) -> None:
        states, rounded = self.source.part(self.done, self.done + count)
        self.digest.update(np.ascontiguousarray(states.words).tobytes())
        few = len(self.meet.tokens) < _FEW * self.matrix.n_tokens
        partly = few and not self.how.with_greedy
        tokens = self.meet.tokens
        matrix = self.matrix.take(tokens) if partly else self.matrix
        logit_format = self.subject.logit_format
        values = logits_at_states(matrix, states, logit_format).values
        found = []
        for k, words in enumerate(states.words):
            here = values[k]
            of_shared = (
                here[np.searchsorted(tokens, self.meet.tokens)]
                if partly
                else (here[self.meet.tokens])
            )
            self._add(of_shared)
            state = State("file", Vector(words, states.format), np.empty(0, dtype=np.int32))
            reach = reachability(state, self.subject.head.norm)
            # Those that were made here are what they are.
            pre_norm = self.source.kind == "file" and looks_like_pre_norm(reach, self.factor)
            n = -1 if partly else n_distinct(here)
            found.append(figures_of(state.vector.values, reach, n, rounded[k], pre_norm=pre_norm))
            if self.table is not None and self.certifier is not None:
                logits = here.astype(np.float64)
                self.table.add(self.certifier.at(state.vector, logits, logit_format))
        self.figures.append({key: np.array([row[key] for row in found]) for key in found[0]})

    def _add(self, logits: npt.NDArray[np.float32]) -> None:
        before = self.meet.n_classes
        self.meet.add(logits)
        self.done += 1
        if self.meet.n_classes > before:
            self.last_growth = self.done
        if _is_round(self.done):
            self.growth.append((self.done, self.meet.n_classes, self.meet.n_shared))

    def _columns(self) -> Columns:
        if len(self.figures) > 1:
            keys = self.figures[0]
            self.figures = [{k: np.concatenate([f[k] for f in self.figures]) for k in keys}]
        own = dict(self.figures[0]) if self.figures else {}
        certified = {} if self.table is None else self.table.columns()
        return own | {f"greedy.{key}": column for key, column in certified.items()}

    def _kept(self) -> Kept:
        return Kept(
            identity=self.identity,
            n_states=self.done,
            states_sha256=self.digest.hexdigest(),
            labels=self.meet.partition().labels,
            growth=tuple(self.growth),
            last_growth=self.last_growth,
            columns=self._columns(),
        )

    def _go_on_from(self, kept: Kept) -> None:
        """Take up what was kept, after making sure that it is of the same run."""
        for name, own in self.identity.items():
            if kept.identity.get(name) != own:
                raise ResultsError(
                    f"--resume: the file there is of another {name} ({kept.identity.get(name)}; "
                    f"this run has {own}); expected one that this run began. Name another file"
                )
        if kept.n_states > self.source.n_states:
            raise ResultsError(
                f"--resume: {kept.n_states:,} states are done in the file there, and "
                f"{self.source.n_states:,} were asked for; ask for as many or more, or name "
                "another file"
            )
        for first in range(0, kept.n_states, _MOST_IN_PART):
            states, _ = self.source.part(first, min(first + _MOST_IN_PART, kept.n_states))
            self.digest.update(np.ascontiguousarray(states.words).tobytes())
        if self.digest.hexdigest() != kept.states_sha256:
            raise ResultsError(
                f"--resume: the {kept.n_states:,} states that are done in the file there are not "
                "the first of this run; expected the same file of states, or the same seed. Name "
                "another file"
            )
        try:
            self.meet, self.done = LogitMeet(kept.labels), kept.n_states
        except ValueError as error:
            raise ResultsError(
                f"--resume: the classes in the file there are none: {error}; expected those that "
                "this run left. Name another file"
            ) from error
        self.growth, self.last_growth = list(kept.growth), kept.last_growth
        of_greedy = "greedy."
        self.figures = [{k: v for k, v in kept.columns.items() if not k.startswith(of_greedy)}]
        if self.table is not None:
            self.table.restore(
                {
                    key.removeprefix(of_greedy): column
                    for key, column in kept.columns.items()
                    if key.startswith(of_greedy)
                }
            )

    def result(self, table: Callable[[], TokenTable | None]) -> AcrossStates:
        columns, source = self._columns(), self.source
        partition = self.meet.partition()
        states = states_facts(self.subject, source, self.done, columns, self.digest.hexdigest())
        at_random = source.seed is not None
        # Where all is told apart that can be, there is nothing left that other states could add.
        claims = {
            "states": EXACT,
            "meet": sampled(self.done) if at_random and not self.complete else EXACT,
            "meet.growth": sampled(self.done) if at_random else EXACT,
        }
        if self.table is not None:
            claims["greedy"] = BOUND
            if at_random:
                claims["greedy.shares"] = sampled(self.done)
        return AcrossStates(
            states=states,
            meet=self._meet_facts(partition, table()),
            greedy=None if self.table is None else self.table.facts(),
            partition=partition,
            claims=claims,
            notes=[*odd_states_notes(columns), *self._notes(states)],
        )

    def _meet_facts(self, partition: Partition, table: TokenTable | None) -> MeetFacts:
        groups, labels = partition.groups(), self.rows.row_values.labels
        distinct = [len(np.unique(labels[group])) for group in groups]
        last = (self.done, self.meet.n_classes, self.meet.n_shared)
        growth = [*self.growth, *([last] if last not in self.growth else [])]
        return MeetFacts(
            states=self.done,
            distinct=partition.n_classes,
            distinct_rows=self.rows.row_values.n_classes,
            classes=len(groups),
            tokens_in_classes=sum(len(group) for group in groups),
            sizes=[len(group) for group in groups],
            rows_classes=sum(n == 1 for n in distinct),
            joined=sum(n > 1 for n in distinct),
            largest=[
                MeetClass(
                    size=len(group),
                    distinct_rows=n,
                    token_ids=group.tolist(),
                    tokens=[] if table is None else class_tokens(table, group).first,
                )
                # Those that rounding makes are news; row classes have a section of their own.
                for group, n in sorted(
                    zip(groups, distinct, strict=True), key=lambda pair: pair[1] == 1
                )[:_LARGEST_CLASSES]
            ],
            growth=[Growth(states=k, distinct=n, classes=shared) for k, n, shared in growth],
            last_growth=self.last_growth,
            told_apart_all=self.complete,
        )

    def _notes(self, states: StatesFacts) -> list[str]:
        notes = []
        if states.seed is not None and states.norm == "assumed":
            notes.append(
                "the final norm is not known: the random states are those of an RMSNorm with γ = 1"
            )
        if states.rounded:
            notes.append(
                f"{counted(states.rounded, 'value')} of {states.file} had to be rounded to "
                f"{self.matrix.format.torch}, the format of W; figures are of the rounded states"
            )
        if states.pre_norm and states.ratio is not None:
            notes.append(pre_norm_note(states.pre_norm, states.n, states.ratio))
        head = self.subject.head
        if self.source.kind == "file":
            notes += before_the_head_notes(head)
        elif head.scale is not None and head.scale.applies_to == "state":
            notes.append(
                "the random states are outputs of the norm: the model scales them "
                f"({head.scale.source}) and rounds them before the head, so ties may be others"
            )
        after = {"bias": head.bias, "scale": head.scale, "softcap": head.softcap}
        named = [name for name, there in after.items() if there is not None]
        if named:
            notes.append(f"logits are the product's, before the head's {listed(named)}")
        return notes + (certificates.notes(self.subject) if self.how.with_greedy else [])


def _is_round(count: int) -> bool:
    """Return whether a count is 1, 2 or 5 times a power of ten."""
    digits = str(count)
    return digits[0] in "125" and not digits[1:].strip("0")
