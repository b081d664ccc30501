"""All pairs of points that lie near each other, in a few dozen dimensions: a screen, no decision.

Points are put into blocks of 64 that lie together in the three widest coordinates; two blocks whose
boxes are too far apart are passed over, and so is a point too far from a box; what is left is
compared in binary32, four coordinates at a time, until all 64 are beyond reach. Pairs are never
lost: each point brings a bound on how far off its coordinates are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_each

Ids = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

BLOCK = 64
# By how many coordinates the blocks are made.
_SORTED = 3
# Coordinates that are compared before the next look at who is left.
_STEP = 4
# Widens the threshold for what binary32 rounds: a difference, its square and some dozens of sums.
_ROOM = np.float32(1 + 2.0**-16)
# Where the largest coordinate is brought to, so that no square overflows, and none that matters
# underflows: what is below 2^-63 of the largest is below its rounding.
_LARGEST = 2.0**40
# Blocks that are counted before the next look at how many pairs there are by now.
_RUN = 64


@dataclass(frozen=True, eq=False)
class NearPoints:
    """Points ``[n]`` in blocks, and the distance within which pairs are wanted.

    Parameters
    ----------
    order
        Which point lies at a place, ``[n_blocks · 64]``; −1 where a block is filled up.
    points
        ``[n_blocks, k, 64]``, scaled; NaN where a block is filled up.
    radii
        ``[n_blocks, 64]``, half the distance and the point's own error, scaled.
    low, high
        ``[n_blocks, k]``, the box around a block's points.
    reach
        ``[n_blocks]``, its largest radius.
    """

    order: Ids
    points: Singles
    radii: Singles
    low: Singles
    high: Singles
    reach: Singles

    @classmethod
    def of(cls, coordinates: Float64s, errors: Float64s, distance: float) -> "NearPoints":
        """Arrange points.

        Parameters
        ----------
        coordinates
            ``[n, k]``, finite.
        errors
            ``[n]``, how far from the point that is meant they may be, at most.
        distance
            Pairs of points meant that are no farther apart are never lost.
        """
        n_points, n_columns = coordinates.shape
        centred = coordinates
        if n_points:
            # Any point near the middle will do.
            centred = coordinates - np.median(coordinates[:: max(1, n_points // 4096)], axis=0)
        spread = _spread(centred)
        columns = np.argsort(-spread, kind="stable")
        centred = centred[:, columns]
        largest = np.abs(centred).max(initial=0.0)
        # A power of two, so that nothing is rounded here.
        scale = 2.0 ** np.clip(40 - np.ceil(np.log2(largest)), -1000, 1000) if largest > 0 else 1.0
        places = _in_blocks(centred[:, :_SORTED], spread[columns[:_SORTED]])
        n_blocks = -(-n_points // BLOCK)
        filled = np.full((n_blocks * BLOCK, n_columns), np.nan, dtype=np.float32)
        radii = np.zeros(n_blocks * BLOCK, dtype=np.float32)
        order = np.full(n_blocks * BLOCK, -1, dtype=np.int64)
        order[:n_points] = places
        with np.errstate(over="ignore", under="ignore"):
            filled[:n_points] = (centred[places] * scale).astype(np.float32)
            lengths = np.sqrt((centred * centred).sum(axis=1))
            # Centring rounds in binary64, storing in binary32.
            own = distance / 2 + errors + lengths * (2.0**-50 + 2.0**-23)
            # Half a unit in the last place is lost to the cast itself.
            wide = own[places] * scale * (1 + 2.0**-22) + 2.0**-60
            radii[:n_points] = np.minimum(wide, 2.0**62).astype(np.float32)
        points = np.ascontiguousarray(filled.reshape(n_blocks, BLOCK, n_columns).swapaxes(1, 2))
        with np.errstate(invalid="ignore"):
            low = np.fmin.reduce(points, axis=2)
            high = np.fmax.reduce(points, axis=2)
        radii = radii.reshape(n_blocks, BLOCK)
        return cls(order, points, radii, low, high, radii.max(axis=1, initial=0.0))

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return len(self.reach)

    def block(self, number: int) -> Ids:
        """Return which points lie in a block."""
        places = self.order[number * BLOCK : (number + 1) * BLOCK]
        return places[places >= 0]

    def counts_apart(
        self, labels: Ids, first: int, stop: int, *, at_most: int | None = None
    ) -> Ids:
        """Return how many pairs each of some blocks' points make with those after them.

        Parameters
        ----------
        labels
            ``[n]``; pairs of points of the same label are left out.
        first, stop
            Which blocks.
        at_most
            Count no further than some blocks past so many; the counts of the rest are 0.
        """
        own, common = self._labels(labels)
        counts = np.zeros(stop - first, dtype=np.int64)
        unused = np.empty((2, 0), dtype=np.int64)

        def count(n: int) -> None:
            counts[n] = self._join(first + n, own, common, unused)

        # Where it ends does not depend on which thread is ahead.
        for begin in range(0, stop - first, _RUN):
            run = min(_RUN, stop - first - begin)
            for_each(lambda n, begin=begin: count(begin + n), run)  # type: ignore[misc]
            if at_most is not None and int(counts.sum()) > at_most:
                break
        return counts

    def pairs_apart(self, labels: Ids, counts: Ids, first: int) -> tuple[Ids, Ids]:
        """Return the pairs that some blocks' points make with those after them, the lower first.

        Parameters
        ----------
        labels
            ``[n]``; pairs of points of the same label are left out.
        counts
            What `counts_apart` returns for the blocks.
        first
            The first of them.
        """
        own, common = self._labels(labels)
        ends = np.concatenate([[0], np.cumsum(counts)])
        found = np.empty((2, int(ends[-1])), dtype=np.int64)

        def fill(n: int) -> None:
            if not counts[n]:
                return
            part = np.ascontiguousarray(found[:, ends[n] : ends[n + 1]])
            self._join(first + n, own, common, part)
            found[:, ends[n] : ends[n + 1]] = self.order[part]

        for_each(fill, len(counts))
        return np.minimum(*found), np.maximum(*found)

    def _labels(self, labels: Ids) -> tuple[Ids, Ids]:
        """Return the labels by place, and each block's where it has but one, else −1."""
        real = self.order >= 0
        own = np.full(len(self.order), -1, dtype=np.int64)
        own[real] = labels[self.order[real]]
        blocks = own.reshape(-1, BLOCK)
        # The last block alone is filled up, behind its points.
        first = blocks[:, :1]
        single = ((blocks == first) | (blocks == -1)).all(axis=1)
        return own, np.where(single, first[:, 0], -1)

    def _join(self, block: int, own: Ids, common: Ids, found: Ids) -> int:
        return int(
            _join_block(
                *(self.points, self.radii, self.low, self.high, self.reach),
                *(own, common, block, found),
            )
        )


def _spread(points: Float64s) -> Float64s:
    if not len(points):
        return np.zeros(points.shape[1])
    low, high = np.quantile(points[:: max(1, len(points) // 8192)], [0.02, 0.98], axis=0)
    return np.asarray(high - low)


def _in_blocks(points: Float64s, spread: Float64s) -> Ids:
    """Return an order in which 64 consecutive points lie together, of ``[n, ≤ 3]`` coordinates."""
    n_points = len(points)
    order: Ids = np.arange(n_points)
    slab = np.zeros(n_points, dtype=np.int64)
    n_left = max(1, -(-n_points // BLOCK))
    widths = np.where(spread > 0, spread, 0.0)
    for k in range(points.shape[1]):
        # As many slabs across each coordinate as make them about as wide in all of them.
        rest = widths[k:]
        if rest[0] == 0:
            break
        share = rest[0] / np.exp(np.mean(np.log(rest[rest > 0])))
        n_slabs = int(np.clip(round(share * n_left ** (1 / np.count_nonzero(rest))), 1, n_left))
        order = order[np.lexsort((points[order, k], slab[order]))]
        # Within each slab by rank.
        inside = slab[order]
        starts = np.flatnonzero(np.diff(inside, prepend=-1))
        sizes = np.diff(np.append(starts, n_points))
        rank = np.arange(n_points) - np.repeat(starts, sizes)
        slab[order] = inside * n_slabs + rank * n_slabs // np.repeat(sizes, sizes)
        n_left = max(1, n_left // n_slabs)
    return order[np.argsort(slab[order], kind="stable")]


@kernel(fastmath={"contract"})
def _box_distance(value, low, high):  # type: ignore[no-untyped-def]
    return max(np.float32(0), low - value) + max(np.float32(0), value - high)


@kernel(fastmath={"contract"})
def _join_block(points, radii, low, high, reach, own, common, block, found):  # type: ignore[no-untyped-def]
    """Return how many pairs there are of a block's points and those after them; store their places.

    As many as `found` ``[2, n]`` has room for.
    """
    n_columns = points.shape[1]
    squares = np.empty(BLOCK, np.float32)
    point = np.empty(n_columns, np.float32)
    count = 0
    for other in range(block, points.shape[0]):
        if common[block] >= 0 and common[block] == common[other]:
            continue
        limit = reach[block] + reach[other]
        limit = limit * limit * _ROOM
        apart = np.float32(0)
        for k in range(n_columns):
            between = _box_distance(np.float32(0), low[other, k] - high[block, k], np.float32(0))
            between += _box_distance(np.float32(0), low[block, k] - high[other, k], np.float32(0))
            apart += between * between
            if apart > limit:
                break
        if apart > limit:
            continue
        for n in range(BLOCK):
            if own[block * BLOCK + n] < 0:
                break
            limit = radii[block, n] + reach[other]
            limit = limit * limit * _ROOM
            apart = np.float32(0)
            for k in range(n_columns):
                point[k] = points[block, k, n]
                between = _box_distance(point[k], low[other, k], high[other, k])
                apart += between * between
            if apart > limit:
                continue
            squares[:] = np.float32(0)
            left = 1
            for start in range(0, n_columns, _STEP):
                for rank in range(start, min(start + _STEP, n_columns)):
                    # Of the blocks' own coordinates, the first ones, there is least to be learned.
                    k = (rank + _SORTED) % n_columns
                    value = point[k]
                    for m in range(BLOCK):
                        difference = points[other, k, m] - value
                        squares[m] += difference * difference
                left = 0
                for m in range(BLOCK):
                    left += squares[m] <= limit
                if left == 0:
                    break
            if left == 0:
                continue
            for m in range(n + 1 if other == block else 0, BLOCK):
                limit = radii[block, n] + radii[other, m]
                here, there = block * BLOCK + n, other * BLOCK + m
                if squares[m] <= limit * limit * _ROOM and own[here] != own[there]:
                    if count < found.shape[1]:
                        found[0, count] = here
                        found[1, count] = there
                    count += 1
    return count
