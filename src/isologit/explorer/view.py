"""What holds at a point: the figures of ``classes`` at its state, and what is drawn of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isologit import certificates, explaining, reachable_states, steps
from isologit.checkpoint.wording import counted
from isologit.claims import BOUND, EXACT, OBSERVED
from isologit.equivalence.greedy import Certifier
from isologit.equivalence.meet import LogitMeet
from isologit.equivalence.states import (
    State,
)
from isologit.equivalence.values import TokenValues
from isologit.errors import UnclearHeadError
from isologit.explorer.kept import Kept
from isologit.explorer.opened import Explored
from isologit.explorer.points import (
    MOST_SEEN,
    FilePoint,
    Point,
    TokenPoint,
)
from isologit.explorer.records import Histogram, Neighbours, TiesView, TopLogit, View, Visited
from isologit.explorer.repeating import command
from isologit.explorer.states_at import check_token, state_at, title
from isologit.findings import ValueFacts
from isologit.gap_findings import GapPair
from isologit.output.histogram import Bins
from isologit.request import FileState
from isologit.states_findings import GreedyFacts
from isologit.tokens.text import LONGEST_NAMED
from isologit.twin_finder import TwinFinder

# Logits of so many points are kept, so that the states of one address are each computed once.
_LOGITS_KEPT = MOST_SEEN + 1
_VIEWS_KEPT = 200
_TIES_LISTED, _TIES_TOP = 20, 3
_NEAREST = 8
_TWINS_LISTED = 200
_SIZES_LISTED = 20


@dataclass(frozen=True, eq=False)
class _AtPoint:
    """A state and its logits; their values as float32, which has every number of the formats."""

    state: State
    logits: np.ndarray[tuple[int], np.dtype[np.float32]]
    refined: int
    mean: float
    median: float


class Views:
    """Computes what holds at points of a model that is open, and keeps what was asked for last.

    Safe to use from several threads: what two ask for at once is computed once.

    Parameters
    ----------
    explored
        The model.
    """

    def __init__(self, explored: Explored) -> None:
        self.explored = explored
        self._at: Kept[Point, _AtPoint] = Kept(_LOGITS_KEPT)
        self._views: Kept[tuple[Point, int], View] = Kept(_VIEWS_KEPT)
        self._ties: Kept[Point, TiesView] = Kept(_VIEWS_KEPT)
        self._twins: Kept[int, Neighbours] = Kept(_VIEWS_KEPT)
        self._visited: Kept[tuple[Point, ...], Visited] = Kept(_VIEWS_KEPT)

    def state(self, point: Point) -> State:
        """Return the hidden state of a point.

        Raises
        ------
        PointError
            The model has no such token, class, cluster or state.
        StateError, UndeterminedAxesError
            There is no state of that kind.
        """
        return self._computed(point).state

    def logits(self, point: Point) -> TokenValues:
        """Return the logits of all tokens at a point."""
        here = self._computed(point)
        values = here.logits.astype(np.float64)
        format_ = self.explored.subject.logit_format
        return TokenValues(values, format_, here.refined, here.mean, here.median)

    def view(self, point: Point, top: int) -> View:
        """Return what holds at a point, with so many of the largest logits."""
        return self._views.get((point, top), lambda: self._view(point, top))

    def ties(self, point: Point) -> TiesView:
        """Return why tokens tie at a point, among the largest logits and at the most common one."""
        return self._ties.get(point, lambda: self._explained(point))

    def neighbours(self, token_id: int) -> Neighbours:
        """Return the tokens of a token's row, and the nearest others by gap.

        Raises
        ------
        PointError
            The model has no such token.
        """
        check_token(self.explored, token_id)
        return self._twins.get(token_id, lambda: self._neighbours(token_id))

    def visited(self, points: tuple[Point, ...]) -> Visited:
        """Return what the states of some points leave together: their meet."""
        return self._visited.get(points, lambda: self._met(points))

    # What is behind them

    def _computed(self, point: Point) -> _AtPoint:
        return self._at.get(point, lambda: self._compute(point))

    def _compute(self, point: Point) -> _AtPoint:
        subject = self.explored.subject
        state = state_at(self.explored, point)
        found = steps.logits_at(subject, state.vector)
        values = found.values.astype(np.float32)
        return _AtPoint(state, values, found.refined, found.mean, found.median)

    def _view(self, point: Point, top: int) -> View:
        explored, here, logits = self.explored, self._computed(point), self.logits(point)
        subject, rows, state = explored.subject, explored.rows, here.state
        facts = steps.state_facts(subject, state)
        modal = logits.tokens_with(logits.mode.value)
        own = point.at.token_id if isinstance(point.at, TokenPoint) else None
        repeat = command(explored, point)
        observed = subject.settings.arithmetic.name != "exact"
        computed = OBSERVED if observed else EXACT
        notes = reachable_states.assumed_norm_notes(subject) if point.rim else []
        if isinstance(point.at, FilePoint) and explored.states is not None:
            stored = explored.states.part(point.at.index, point.at.index + 1)[0]
            given = FileState(stored, explored.states.where)
            notes = [*notes, *steps.rounded_state(given, state)]
            notes += reachable_states.pre_norm_notes(subject, state)
        return View(
            at=str(point),
            title=title(explored, point),
            token=own,
            state=facts,
            logits=ValueFacts.of(logits),
            own_class=steps.own_class(state, logits, facts.h_dot_h),
            class_rows=steps.class_rows(subject, rows.rows, modal, state.vector),
            greedy=self._certificate(here, logits),
            histogram=_histogram(logits, own),
            top=self._top(logits, top),
            command=repeat.line,
            needs_state=repeat.needs_state,
            claims={
                **dict.fromkeys(("state", "logits", "own_class", "top", "histogram"), computed),
                "class_rows": EXACT,
                "greedy": BOUND,
            },
            notes=[*notes, *certificates.notes(subject)],
        )

    @cached_property
    def _certifier(self) -> Certifier | None:
        subject = self.explored.subject
        if subject.settings.arithmetic.name != "exact":
            return None
        return certificates.certifier_of(subject, self.explored.rows)

    def _certificate(self, here: _AtPoint, logits: TokenValues) -> GreedyFacts | None:
        certifier = self._certifier
        if certifier is None:
            return None
        return certificates.certificate_by(certifier, here.state, logits)

    def _top(self, logits: TokenValues, n: int) -> list[TopLogit]:
        values = logits.values + 0.0
        ids = np.flatnonzero(~np.isnan(values))
        if len(ids) > n:
            ids = ids[values[ids] >= np.partition(values[ids], -n)[-n]]
        # By logit, then by id; of those that tie at the end the lowest ids.
        ids = ids[np.lexsort((ids, -values[ids]))][:n]
        pictured = self.explored.pictured
        texts = pictured.shown_many(ids.tolist(), LONGEST_NAMED)
        distinct, ranks = np.unique(-values[ids], return_inverse=True)
        tied = {float(-x): int((logits.values == -x).sum()) - 1 for x in distinct}
        return [
            TopLogit(
                rank=int(ranks[at]) + 1,
                token=token_id,
                text=texts[at],
                kind=self.explored.kind(token_id),
                logit=float(values[token_id]),
                hex=float(values[token_id]).hex(),
                tied=tied[float(values[token_id])],
                same_row=int(pictured.row_class_sizes[token_id]) - 1,
            )
            for at, token_id in enumerate(ids.tolist())
        ]

    def _explained(self, point: Point) -> TiesView:
        here = self._computed(point)
        found = explaining.ties_at(
            self.explored.subject,
            self.explored.rows,
            here.state.vector,
            self.logits(point),
            top=_TIES_TOP,
            listed=_TIES_LISTED,
            tokens=self.explored.table,
        )
        return TiesView(at=str(point), ties=found)

    @cached_property
    def _finder(self) -> TwinFinder | str:
        """What finds twins; or why nothing can."""
        try:
            return TwinFinder.of(self.explored.subject, self.explored.rows)
        except UnclearHeadError as error:
            return str(error)

    def _neighbours(self, token_id: int) -> Neighbours:
        explored, finder = self.explored, self._finder
        labels = explored.rows.bits
        label = int(labels.labels[token_id])
        twins = labels.members(label)
        nearest: list[GapPair] = []
        why = finder if isinstance(finder, str) else None
        if isinstance(finder, TwinFinder):
            found = finder.of_token(token_id, _NEAREST)
            nearest, why = found.nearest, found.why
        shown = [token_id, *twins[:_TWINS_LISTED].tolist(), *(pair.b for pair in nearest)]
        texts = explored.pictured.shown_many(shown, LONGEST_NAMED)
        named = dict(zip(map(str, shown), texts, strict=True))
        return Neighbours(
            token=token_id,
            text=texts[0],
            row_class=label,
            row_class_size=len(twins),
            twins=twins[:_TWINS_LISTED].tolist(),
            nearest=nearest,
            texts=named,
            why=why,
        )

    def _met(self, points: tuple[Point, ...]) -> Visited:
        explored = self.explored
        meet, growth = LogitMeet.of_no_state(explored.n_tokens), []
        for point in points:
            meet.add(self._computed(point).logits[meet.tokens])
            growth.append(meet.n_classes)
        groups = meet.partition().groups()
        labels = explored.rows.row_values.labels
        one_row = sum(len(np.unique(labels[group])) == 1 for group in groups)
        shared = sum(len(group) for group in groups)
        return Visited(
            states=len(points),
            tokens=explored.n_tokens,
            distinct=meet.n_classes,
            classes=len(groups),
            tokens_in_classes=shared,
            rows_classes=one_row,
            sizes=[len(group) for group in groups[:_SIZES_LISTED]],
            growth=growth,
            told_apart_all=one_row == len(groups),
            said=_left_together(explored.n_tokens, shared, len(points)),
        )


def _histogram(logits: TokenValues, own: int | None) -> Histogram | None:
    finite = logits.values[np.isfinite(logits.values)]
    if not len(finite):
        return None
    bins = Bins.over(finite, logits.format)

    def of(value: float) -> int | None:
        return int(bins.places(np.array([value]))[0]) if np.isfinite(value) else None

    return Histogram(
        width=bins.width,
        first=bins.first,
        counts=bins.counts(finite).tolist(),
        left_out=len(logits.values) - len(finite),
        modal=of(logits.mode.value),
        maximum=of(logits.max.value),
        own=None if own is None else of(float(logits.values[own])),
    )


def _left_together(n_tokens: int, shared: int, states: int) -> str:
    over = counted(states, "state")
    if not states:
        return "No state has been looked at yet."
    if not shared:
        return f"Of {counted(n_tokens, 'token')}, none is left together with another after {over}."
    return f"Of {counted(n_tokens, 'token')}, {shared:,} still not told apart after {over}."
