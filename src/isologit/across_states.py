"""Many hidden states: the meet of their logit partitions, and the greedy certificate at each.

States are taken in parts, so that memory does not grow with their number; what is known after a
part can be kept, and gone on from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isologit import certificates
from isologit.certificates import CertificateTable, Columns, certifier_of
from isologit.checkpoint.state_file import StoredStates
from isologit.checkpoint.wording import counted, listed
from isologit.claims import BOUND, EXACT, sampled
from isologit.equivalence.meet import LogitMeet
from isologit.equivalence.norm_range import NormRange
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import RowClasses
from isologit.equivalence.states import (
    PRE_NORM_ABOVE,
    PRE_NORM_BELOW,
    Reachability,
    State,
    looks_like_pre_norm,
    reachability,
)
from isologit.errors import ResultsError, StateError
from isologit.numerics.many_states import logits_at_states
from isologit.numerics.stored import Matrix, Vector
from isologit.request import RandomStates
from isologit.states_findings import (
    DistinctLogits,
    GreedyFacts,
    Growth,
    MeetClass,
    MeetFacts,
    MinMedianMax,
    StatesFacts,
)
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
    run = _Run(subject, rows, _source(subject, asked), how)
    run.go()
    return run.result(table)


class _Run:
    """The loop over parts, and what it knows."""

    def __init__(self, subject: Subject, rows: RowClasses, source: "_Source", how: HowFar) -> None:
        self.subject, self.rows, self.source, self.how = subject, rows, source, how
        self.matrix = subject.head.matrix
        self.meet = LogitMeet.of_no_state(self.matrix.n_tokens)
        self.growth: list[tuple[int, int, int]] = []
        self.last_growth = self.done = 0
        self.digest = sha256()
        self.figures: list[Columns] = []
        certifier = certifier_of(subject, rows) if how.with_greedy else None
        self.certifier = certifier
        self.table = None if certifier is None else CertificateTable(certifier.formats)
        self.identity = _identity(subject, source, with_greedy=how.with_greedy)
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
        figures = []
        for k, words in enumerate(states.words):
            here = values[k]
            of_shared = (
                here[np.searchsorted(tokens, self.meet.tokens)]
                if partly
                else (here[self.meet.tokens])
            )
            self._add(of_shared)
            state = State("file", Vector(words, states.format), _NO_TOKENS)
            reach = reachability(state, self.subject.head.norm)
            figures.append(_figures(reach, -1 if partly else _n_distinct(here), rounded[k]))
            if self.table is not None and self.certifier is not None:
                found = self.certifier.at(state.vector, here.astype(np.float64), logit_format)
                self.table.add(found)
        self.figures.append({key: np.array([row[key] for row in figures]) for key in figures[0]})

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
                f"{self.source.n_states:,} were asked for; ask for as many or more, or name another "
                "file"
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
        states = _states_facts(self.subject, source, self.done, columns, self.digest.hexdigest())
        at_random = source.seed is not None
        claims = {"meet": sampled(self.done) if at_random else EXACT}
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
            notes=self._notes(states),
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
                f"{self.matrix.format.torch}, the format of W; the figures are of the rounded states"
            )
        if states.pre_norm and states.ratio is not None:
            notes.append(pre_norm_note(states.pre_norm, states.n, states.ratio))
        after = {"bias": self.subject.head.bias, "scale": self.subject.head.scale}
        after["softcap"] = self.subject.head.softcap
        named = [name for name, there in after.items() if there is not None]
        if named:
            notes.append(f"logits are the product's, before the head's {listed(named)}")
        return notes + (certificates.notes(self.subject) if self.how.with_greedy else [])


def pre_norm_note(count: int, total: int, ratio: MinMedianMax) -> str:
    """Return the warning that states are none that a final norm outputs, and what to do."""
    which = "the state looks like a pre-norm state"
    if total > 1:
        which = f"{count:,} of {total:,} states look like pre-norm states"
    extent = f"{ratio.min:.4g}" if total == 1 else f"{ratio.min:.4g} to {ratio.max:.4g}"
    return (
        f"{which}: ‖(h − β) ⊘ γ‖/√d is {extent}, and a trained model's final norm outputs about 1 "
        f"(not below {PRE_NORM_BELOW:g} nor above {PRE_NORM_ABOVE:g}); capture what the head gets, "
        "with a forward pre-hook on model.get_output_embeddings() (docs/states.md)"
    )


_NO_TOKENS = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class _Source:
    """States in the compute format, in parts, with how many values of each had to be rounded."""

    n_states: int
    kind: Literal["file", "random"]
    file: str | None
    seed: int | None
    part: Callable[[int, int], tuple[Matrix, list[int]]]


def _source(subject: Subject, asked: StoredStates | RandomStates) -> _Source:
    matrix = subject.head.matrix
    if isinstance(asked, RandomStates):
        norm_range = NormRange.of(subject.head.norm, matrix.width)
        norm_range = norm_range or NormRange.assumed(matrix.width)
        seed, drawn = asked.seed, norm_range

        def random_part(first: int, stop: int) -> tuple[Matrix, list[int]]:
            states = drawn.random_states(first, stop, seed=seed, format_=matrix.format)
            return states, [0] * (stop - first)

        return _Source(asked.n_states, "random", None, seed, random_part)
    if asked.width != matrix.width:
        raise StateError(
            f"{asked.where}: states of {asked.width} values; this model's hidden state has "
            f"{matrix.width}"
        )
    stored = asked

    def file_part(first: int, stop: int) -> tuple[Matrix, list[int]]:
        values = stored.part(first, stop)
        states = Matrix.of_values(values, matrix.format)
        kept = states.rows(np.arange(stop - first))
        changed = ~((values == kept) | np.isnan(values))
        return states, changed.sum(axis=1).tolist()

    return _Source(asked.n_states, "file", asked.where, None, file_part)


def _identity(subject: Subject, source: _Source, *, with_greedy: bool) -> dict[str, str]:
    """Return what the figures depend on besides the states, by the word that an error uses."""
    head, norm = subject.head, subject.head.norm
    numbers = sha256()
    for vector in (norm.gamma, norm.beta):
        numbers.update(b"none" if vector is None else np.ascontiguousarray(vector).tobytes())
    bias = "none" if head.bias is None else sha256(head.bias.words.tobytes()).hexdigest()
    shape = f"{head.matrix.n_tokens} × {head.matrix.width}"
    return {
        "matrix": f"{subject.sha256} {shape} {head.matrix.stored_as}",
        "norm": f"{norm.kind} {numbers.hexdigest()[:16]} {norm.eps}",
        "bias": bias,
        "logit format": subject.logit_format.name,
        "source of states": source.kind if source.seed is None else f"random, seed {source.seed}",
        "greedy certificate": "asked for" if with_greedy else "left out",
        "version of isologit": subject.version,
    }


def _figures(reach: Reachability, n_distinct: int, rounded: int) -> dict[str, Any]:
    ratio = np.nan if reach.norm_ratio is None else reach.norm_ratio
    code = -1 if reach.reachable is None else int(reach.reachable)
    return {
        "ratio": np.float64(ratio),
        "reachable": np.int8(code),
        "pre_norm": np.int8(looks_like_pre_norm(reach)),
        "distinct": np.int32(n_distinct),
        "rounded": np.int32(rounded),
    }


def _n_distinct(logits: npt.NDArray[np.float32]) -> int:
    """Return how many distinct logits there are; NaN is one."""
    ascending = np.sort(logits)
    n_nan = int(np.isnan(logits).sum())
    steps = int((ascending[1:] != ascending[:-1]).sum())
    # Each NaN differs from its neighbour.
    return 1 + steps - max(n_nan - 1, 0)


def _is_round(count: int) -> bool:
    """Return whether a count is 1, 2 or 5 times a power of ten."""
    digits = str(count)
    return digits[0] in "125" and not digits[1:].strip("0")


def _states_facts(
    subject: Subject, source: _Source, done: int, columns: Columns, digest: str
) -> StatesFacts:
    ratios = columns["ratio"][~np.isnan(columns["ratio"])]
    counted_distinct = columns["distinct"][columns["distinct"] >= 0]
    known = NormRange.of(subject.head.norm, subject.head.matrix.width) is not None
    return StatesFacts(
        n=done,
        asked=source.n_states,
        source=source.kind,
        file=source.file,
        seed=source.seed,
        dtype=subject.head.matrix.format.name,
        norm="known" if known else "assumed",
        ratio=MinMedianMax(**_extent(ratios)) if len(ratios) else None,
        unreachable=int((columns["reachable"] == 0).sum()),
        undecided=int((columns["reachable"] < 0).sum()),
        pre_norm=int(columns["pre_norm"].sum()),
        rounded=int(columns["rounded"].sum()),
        distinct_logits=DistinctLogits(n=len(counted_distinct), **_extent(counted_distinct))
        if len(counted_distinct)
        else None,
        sha256=digest,
    )


def _extent(values: npt.NDArray[Any]) -> dict[str, Any]:
    ascending = np.sort(values)
    median = ascending[(len(ascending) - 1) // 2]
    return {
        "min": ascending[0].item(),
        "median": median.item(),
        "max": ascending[-1].item(),
    }
