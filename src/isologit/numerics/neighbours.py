"""How sharply the near neighbours of points end: what the leaves of k-d trees show.

The points are sketches of rows (`isologit.numerics.distances`), 32 binary64 numbers each. A leaf
(`isologit.numerics.trees`) holds at most 32 of them, and all of its distances are computed and
sorted eight at a time, in a fixed order. A point lies in one leaf of a tree, so results do not
depend on the number of threads.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from isologit.numerics import lanes
from isologit.numerics.blocks import (
    EIGHT,
    LEAF_POINTS,
    VECTOR,
    gather_transposed,
    groups,
    prefetch,
    store,
    transposed,
)
from isologit.numerics.compilation import kernel
from isologit.numerics.distances import SKETCH_WIDTH
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.trees import PLACE, Ids, leaves

_SEED = 20_250_701
# What scoring a leaf costs, in bytes of a matrix pass.
_LEAF_BYTES = 1 << 15
# Of distances. Lower ones are everywhere, and the logarithms are what costs here.
_LEAST_RATIO = 1.5


def isolation(sketch: Float64s) -> tuple[Float64s, Float64s]:
    """Return how sharply the near neighbours of each point end, and its nearest one's distance.

    Both are found among the few points that share a leaf of a tree with it, in two trees over all
    points and two over each of the subsamples.

    Parameters
    ----------
    sketch
        ``[n, 32]``, finite.

    Returns
    -------
    scores, nearest
        ``[n]`` each. A score is the largest over k and s of (k + s)·KL(k/(k + s) ‖ D_k/D_{k+s+1}),
        in nats: D_k is the distance of the k-th neighbour, and s ≤ k/8 neighbours may lie in the
        gap (`isologit.equivalence.edge` has the meaning). On either side of the gap there are at
        least 3 points.
    """
    # The raw stream of PCG64 is the same in every version of numpy.
    order = np.argsort(np.random.PCG64(_SEED).random_raw(len(sketch))).astype(np.int32)
    scores = np.zeros(len(sketch))
    nearest = np.full(len(sketch), np.inf)
    places, trees = leaves(sketch, order)
    for bounds in trees:
        _score_tree(sketch, order, places, bounds, scores, nearest)
    return scores, np.sqrt(nearest)


def _score_tree(
    sketch: Float64s,
    order: npt.NDArray[np.int32],
    places: npt.NDArray[np.uint64],
    bounds: Ids,
    scores: Float64s,
    nearest: Float64s,
) -> None:
    for_blocks(
        lambda first, last: _score_leaves(
            sketch, order, places, bounds, first, last, scores, nearest
        ),
        len(bounds) - 1,
        _LEAF_BYTES,
    )


def _comparators(count: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs that Batcher's odd-even merge sort puts in order; count is a power of 2."""
    merged = 1
    while merged < count:
        apart = merged
        while apart:
            for first in range(apart % merged, count - apart, 2 * apart):
                for low in range(first, min(first + apart, count - apart)):
                    if low // (2 * merged) == (low + apart) // (2 * merged):
                        yield low, low + apart
            apart //= 2
        merged *= 2


@intrinsic
def _pair_squares(  # pragma: no cover - compiled
    _typing_context: Any, points: Any, size: Any, squares: Any
) -> Any:
    """Fill ``squares[a, b]`` with the squared distance of ``points[:, a]`` and ``points[:, b]``."""
    signature = types.void(points, size, squares)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, into = (
            context.make_array(signature.args[n])(context, builder, args[n]).data for n in (0, 2)
        )
        eight, leaf = (lanes.constant(n) for n in (EIGHT, LEAF_POINTS))
        zeros = lanes.splat(lanes.DOUBLE, EIGHT, 0.0)

        def place(row: Any, column: Any) -> Any:
            return builder.gep(into, [builder.add(builder.mul(row, leaf), column)])

        n_groups = groups(builder, args[1])
        sums = [cgutils.alloca_once(builder, VECTOR) for _ in range(EIGHT)]
        # Eight points against eight, and the same the other way round.
        with cgutils.for_range(builder, n_groups) as outer:
            last = builder.add(outer.index, lanes.constant(1))
            with cgutils.for_range(builder, last) as inner:
                left, right = (builder.mul(each.index, eight) for each in (outer, inner))
                for total in sums:
                    builder.store(zeros, total)
                with cgutils.for_range(builder, lanes.constant(SKETCH_WIDTH)) as loop:
                    offset = builder.mul(loop.index, leaf)
                    others = builder.gep(data, [builder.add(offset, right)])
                    others = lanes.load(builder, others, VECTOR, 8)
                    ones = builder.gep(data, [builder.add(offset, left)])
                    for n, total in enumerate(sums):
                        one = lanes.spread(builder, builder.load(lanes.at(builder, ones, n)), EIGHT)
                        difference = builder.fsub(others, one)
                        old = builder.load(total)
                        new = lanes.product_sum(builder, difference, difference, old)
                        builder.store(new, total)
                block = [builder.load(total) for total in sums]
                for corner, vectors in (
                    (place(left, right), block),
                    (place(right, left), transposed(builder, block)),
                ):
                    for n, vector in enumerate(vectors):
                        store(builder, vector, lanes.at(builder, corner, n * LEAF_POINTS))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _sort_columns(  # pragma: no cover - compiled
    _typing_context: Any, squares: Any, n_columns: Any
) -> Any:
    """Sort each of the first columns of a ``[32, 32]`` matrix without NaNs; they come in eights."""
    signature = types.void(squares, n_columns)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        with cgutils.for_range(builder, groups(builder, args[1])) as loop:
            top = builder.gep(data, [builder.mul(loop.index, lanes.constant(EIGHT))])
            places = [lanes.at(builder, top, n * LEAF_POINTS) for n in range(LEAF_POINTS)]
            values = [lanes.load(builder, place, VECTOR, 8) for place in places]
            for low, high in _comparators(LEAF_POINTS):
                pair = values[low], values[high]
                less = builder.fcmp_ordered("<", *pair)
                values[low] = builder.select(less, *pair)
                values[high] = builder.select(less, *reversed(pair))
            for place, vector in zip(places, values, strict=True):
                store(builder, vector, place)
        return context.get_dummy_value()

    return signature, codegen


@kernel()
def _score_leaves(sketch, order, places, bounds, first, last, scores, nearest):  # type: ignore[no-untyped-def]
    """Raise the scores, and lower the squares of nearest distances, of the points of some leaves.

    Leaf n holds the places from ``bounds[n]`` to ``bounds[n + 1]``.
    """
    points = np.zeros((SKETCH_WIDTH, LEAF_POINTS))
    squares = np.zeros((LEAF_POINTS, LEAF_POINTS))
    widest = np.empty(LEAF_POINTS)
    # What fills up a leaf may be any row.
    rows = np.zeros(LEAF_POINTS, dtype=np.int64)
    for leaf in range(first, last):
        size = bounds[leaf + 1] - bounds[leaf]
        for n in range(size):
            rows[n] = order[places[bounds[leaf] + n] & PLACE]
            ahead = min(bounds[leaf + 1] + n, bounds[last] - 1)
            prefetch(sketch, np.int64(order[places[ahead] & PLACE]))
        gather_transposed(sketch, rows, size, points)
        _pair_squares(points, size, squares)
        squares[size:] = np.inf
        _sort_columns(squares, size)
        widest[:] = 0.0
        for k in range(3, size - 3):
            end = min(k + (1 if k < 8 else 2 if k < 16 else 3), size - 3)
            for n in range(LEAF_POINTS):
                widest[n] = max(widest[n], squares[end, n] - _LEAST_RATIO**2 * squares[k, n])
        for n in range(size):
            if size > 1:
                nearest[rows[n]] = min(nearest[rows[n]], squares[1, n])
            if widest[n] > 0:
                scores[rows[n]] = max(scores[rows[n]], _score(squares[:size, n]))


@kernel()
def _score(squares):  # type: ignore[no-untyped-def]
    """Score the sorted squared distances from a point, its own first."""
    size = len(squares)
    best = 0.0
    for k in range(3, size - 3):
        stragglers = 0
        while 8 * stragglers <= k and k + stragglers + 1 < size - 2:
            inside = squares[k]
            outside = squares[k + stragglers + 1]
            if outside > _LEAST_RATIO**2 * inside and inside > 0:
                hits = min(k, size - 2 - k - stragglers)
                total = hits + stragglers
                log_chance = 0.5 * np.log(inside / outside)
                share = hits / total
                score = hits * (np.log(share) - log_chance)
                if stragglers:
                    score += stragglers * np.log((1 - share) / (1 - np.exp(log_chance)))
                # The bound holds only where more points are inside than their share.
                if np.log(share) > log_chance:
                    best = max(best, score)
            stragglers = 1 if stragglers == 0 else 2 * stragglers
    return best
