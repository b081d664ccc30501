"""Which tokens lie within a gap of each other: pairs, components, nearest twins, widest gaps.

"Within ε" is not transitive, so tokens are grouped by connected components. Rows stand for their
duplicates. Candidates come from `isologit.numerics.near_points`, which loses none; each is decided
by its gap (`isologit.equivalence.gap`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.gap import RELATIVE_ERROR, Gap, Points
from isologit.equivalence.partition import Partition
from isologit.numerics.components import Components
from isologit.numerics.formats import Float64s
from isologit.numerics.near_points import NearPoints

Ids = npt.NDArray[np.int64]

# Of W's entries, how many a search reads for pairs before it counts no further: some seconds.
MOST_ENTRIES = 1 << 33
# Candidates that are held at a time.
_MOST_HELD = 1 << 22
# Blocks of points between two looks at which components there are by now.
_RUN = 64
# Points that are asked for all of their neighbours, where there are too many pairs to look at.
_MOST_LEADERS = 64
# How often the gap is halved in search of one with few enough pairs to list the closest.
_MOST_HALVINGS = 7
# Where the widest gap is bracketed: how often the farthest point is asked for its farthest.
_SWEEPS = 4


@dataclass(frozen=True, eq=False)
class NearPairs:
    """The pairs within a gap, and what they make.

    Parameters
    ----------
    n_pairs
        How many pairs there are, or were seen.
    n_within
        The same within each of the smaller gaps that were asked for.
    complete
        Whether every pair was looked at: then counts are exact, and nearest twins are the nearest.
        If not, they are of those that were seen.
    closest
        Whether the pairs listed are the closest there are; if not, the closest seen.
    left, right, nats
        The pairs listed, by gap, then by ids.
    components
        Components of the rows given, exact in any case.
    equal
        Rows that every state gives the same real logit: their gap is 0. Exact in any case.
    nearest, nearest_nats
        ``[n]``, the nearest other row within the gap, −1 and infinity where there is none.
    """

    n_pairs: int
    n_within: list[int]
    complete: bool
    closest: bool
    left: Ids
    right: Ids
    nats: Float64s
    components: Partition
    equal: Partition
    nearest: Ids
    nearest_nats: Float64s


@dataclass(frozen=True)
class Widest:
    """The widest gap between any two rows of a component, or a bracket: [at_least, at_most]."""

    at_least: float
    at_most: float


class _Seen:
    """What pairs have been seen, their counts, the closest of them, and the components they make.

    Pairs are of places in `ids`, the lower first.
    """

    def __init__(
        self, gap: Gap, ids: Ids, within_nats: float, steps: Sequence[float], at_most: int
    ) -> None:
        n = len(ids)
        self.components = Components(n)
        self.equal = Components(n)
        self.n_pairs = 0
        self.n_within = [0] * len(steps)
        self.pairs = np.empty((2, 0), dtype=np.int64)
        self.nats = np.empty(0)
        self.nearest = np.full(n, -1, dtype=np.int64)
        self.nearest_nats = np.full(n, np.inf)
        self.within_nats = within_nats
        self._gap, self._ids = gap, ids
        self._steps, self._at_most = steps, at_most

    def look_at(self, left: Ids, right: Ids) -> None:
        """Decide some candidates, the lower place first, and keep those within the gap."""
        inside, nats = self._gap.within(self._ids[left], self._ids[right], self.within_nats)
        self._add(left[inside], right[inside], nats)

    def take_closest(self, closer: "_Seen") -> None:
        """Take over what a complete search within a smaller gap has found."""
        left, right = self._ids[self.pairs]
        beyond = ~self._gap.at_most(left, right, self.nats, closer.within_nats)
        listed = np.concatenate([closer.pairs, self.pairs[:, beyond]], axis=1)
        nats = np.concatenate([closer.nats, self.nats[beyond]])
        self.pairs, self.nats = listed[:, : self._at_most], nats[: self._at_most]
        self.n_pairs = max(self.n_pairs, closer.n_pairs, len(self.nats))
        for k, step in enumerate(self._steps):
            # A complete search has each pair within its own gap.
            known = closer.n_within[k] if step <= closer.within_nats else closer.n_pairs
            self.n_within[k] = max(self.n_within[k], known)
        found = closer.nearest >= 0
        self.nearest = np.where(found, closer.nearest, self.nearest)
        self.nearest_nats = np.where(found, closer.nearest_nats, self.nearest_nats)

    def _add(self, left: Ids, right: Ids, nats: Float64s) -> None:
        self.components.join(left, right)
        self.equal.join(left[nats == 0], right[nats == 0])
        self.n_pairs += len(nats)
        for k, step in enumerate(self._steps):
            inside = self._gap.at_most(self._ids[left], self._ids[right], nats, step)
            self.n_within[k] += int(inside.sum())
        pairs = np.concatenate([self.pairs, np.stack([left, right])], axis=1)
        all_nats = np.concatenate([self.nats, nats])
        order = np.lexsort((pairs[1], pairs[0], all_nats))[: self._at_most]
        self.pairs, self.nats = pairs[:, order], all_nats[order]
        ends, others = np.concatenate([left, right]), np.concatenate([right, left])
        both = np.concatenate([nats, nats])
        order = np.lexsort((others, both, ends))
        first = order[np.flatnonzero(np.diff(ends[order], prepend=-1))]
        here, gap, other = ends[first], both[first], others[first]
        old = self.nearest_nats[here]
        better = (gap < old) | ((gap == old) & (other < self.nearest[here]))
        self.nearest[here[better]] = other[better]
        self.nearest_nats[here[better]] = gap[better]


def near_pairs(
    gap: Gap,
    ids: Ids,
    within_nats: float,
    *,
    steps: Sequence[float] = (),
    at_most: int,
    most_entries: int = MOST_ENTRIES,
) -> NearPairs:
    """Find all pairs of some rows within a gap.

    Parameters
    ----------
    gap
        What measures them.
    ids
        ``[n]`` distinct finite rows, ascending.
    within_nats
        The gap.
    steps
        Smaller gaps, to count the pairs within each.
    at_most
        How many pairs to list.
    most_entries
        Where looking at every candidate reads more entries of W than this, pairs whose rows are in
        one component already are passed over.

    Notes
    -----
    No pair is lost: a pair whose gap is at most ε has points no farther apart than that but for
    their errors (`Gap.points`), and so is a candidate (`NearPoints`). Each candidate is decided in
    real arithmetic (`Gap.within`). Passing over pairs within a component loses no component.
    """
    points = gap.points(ids)
    most_pairs = most_entries // gap.matrix.width

    def search(distance: float) -> tuple[_Seen, NearPoints, Ids]:
        # A hair wider: the distance is compared with rounded numbers.
        near = NearPoints.of(points.coordinates, points.errors, distance * (1 + 1e-9))
        apart = np.arange(len(ids))
        counts = near.counts_apart(apart, 0, near.n_blocks, at_most=most_pairs)
        return _Seen(gap, ids, distance, steps, at_most), near, counts

    def few(counts: Ids) -> bool:
        return int(counts.sum()) <= most_pairs

    seen, near, counts = search(within_nats)
    complete = closest = few(counts)
    if complete:
        _look_at_all(near, counts, seen)
    else:
        _ask_leaders(near, counts, points, seen)
        _look_between(near, seen)
        for halvings in range(1, _MOST_HALVINGS if at_most else 0):
            closer, near, counts = search(within_nats / 2**halvings)
            if few(counts):
                _look_at_all(near, counts, closer)
                closest = closer.n_pairs >= at_most
                seen.take_closest(closer)
                break
    equal = Partition.of_keys(seen.equal.labels())
    if not complete and within_nats > 0:
        # Some were passed over; at 0 what is passed over is equal too.
        equal = near_pairs(gap, ids, 0.0, at_most=0, most_entries=most_entries).components
    return NearPairs(
        n_pairs=seen.n_pairs,
        n_within=seen.n_within,
        complete=complete,
        closest=closest,
        left=ids[seen.pairs[0]],
        right=ids[seen.pairs[1]],
        nats=seen.nats,
        components=Partition.of_keys(seen.components.labels()),
        equal=equal,
        nearest=np.where(seen.nearest >= 0, ids[seen.nearest], -1),
        nearest_nats=seen.nearest_nats,
    )


def _look_at_all(near: NearPoints, counts: Ids, seen: _Seen) -> None:
    """Look at every candidate."""
    apart = np.arange(len(seen.nearest))
    for first, stop in _portions(counts):
        seen.look_at(*near.pairs_apart(apart, counts[first:stop], first))


def _look_between(near: NearPoints, seen: _Seen) -> None:
    """Look at every candidate whose points are in different components when its turn comes."""
    begin = 0
    while begin < near.n_blocks:
        labels = seen.components.labels()
        counts = near.counts_apart(labels, begin, min(begin + _RUN, near.n_blocks))
        # Of the first portion alone: it may have joined what the next ones are made of.
        _, stop = next(_portions(counts))
        seen.look_at(*near.pairs_apart(labels, counts[:stop], begin))
        begin += stop


def _portions(counts: Ids) -> Iterator[tuple[int, int]]:
    """Yield runs of blocks with few enough pairs to be held; one block may have more."""
    first = 0
    while first < len(counts):
        ends = np.cumsum(counts[first:])
        stop = first + max(1, int(np.searchsorted(ends, _MOST_HELD, side="right")))
        yield first, min(stop, len(counts))
        first = stop


def _ask_leaders(near: NearPoints, counts: Ids, points: Points, seen: _Seen) -> None:
    """Join what lies within the gap of a few points in the fullest places: a blob becomes one."""
    asked: set[int] = set()
    for block in np.argsort(-counts, kind="stable"):
        if len(asked) == _MOST_LEADERS or counts[block] == 0:
            return
        labels = seen.components.labels()
        covered = {int(labels[leader]) for leader in asked}
        own = near.block(int(block))
        free = [int(n) for n in own if int(labels[n]) not in covered]
        if not free:
            continue
        leader = free[0]
        asked.add(leader)
        apart = points.coordinates - points.coordinates[leader]
        reach = seen.within_nats * (1 + 1e-9) + points.errors + points.errors[leader]
        lengths = np.sqrt((apart * apart).sum(axis=1)) * (1 - 1e-9)
        others = np.flatnonzero((lengths <= reach) & (labels != labels[leader]))
        seen.look_at(np.minimum(others, leader), np.maximum(others, leader))


def widest_gap(gap: Gap, ids: Ids, *, most_entries: int = MOST_ENTRIES) -> Widest:
    """Return the widest gap between any two of some rows, or a bracket where these are many.

    Of many rows the farthest from one row is asked for its own farthest, and so on: the widest gap
    seen is a lower bound, and the two largest gaps from any one row add up to an upper one.
    """
    n = len(ids)
    if n < 2:
        return Widest(0.0, 0.0)
    if n * (n - 1) // 2 * gap.matrix.width <= most_entries:
        widest = 0.0
        step = max(1, _MOST_HELD // n)
        for first in range(0, n - 1, step):
            rows = np.arange(first, min(first + step, n - 1))
            left = np.repeat(rows, n - 1 - rows)
            right = np.concatenate([np.arange(row + 1, n) for row in rows])
            widest = max(widest, float(gap.nats(ids[left], ids[right]).max()))
        return Widest(widest, widest)
    coordinates = gap.points(ids).coordinates
    middle = ((coordinates - coordinates.mean(axis=0)) ** 2).sum(axis=1)
    asked, at_least, at_most = int(middle.argmin()), 0.0, np.inf
    for _ in range(_SWEEPS):
        nats = gap.nats(np.full(n, ids[asked]), ids)
        second, first_ = np.sort(nats)[-2:]
        at_least = max(at_least, float(first_))
        at_most = min(at_most, float(first_ + second) * (1 + 2 * RELATIVE_ERROR))
        asked = int(nats.argmax())
    return Widest(at_least, at_most)


def nearest_of(gap: Gap, token_id: int, ids: Ids, n: int) -> tuple[Ids, Float64s]:
    """Return the rows nearest to a token's among others, by gap, then by id, and their gaps."""
    others = ids[ids != token_id]
    nats = gap.nats(np.full(len(others), token_id), others)
    order = np.lexsort((others, nats))[:n]
    return others[order], nats[order]
