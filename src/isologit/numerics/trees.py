"""k-d trees over sketches, grown level by level and all at once.

A node is halved at the median of one column by one thread, and equal numbers are told apart by
their points' places, so the leaves do not depend on the number of threads.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from isologit.numerics import lanes
from isologit.numerics.blocks import EIGHT, LEAF_POINTS, VECTOR, gather_transposed, prefetch
from isologit.numerics.compilation import kernel
from isologit.numerics.distances import SKETCH_WIDTH
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks

# A subsample keeps one point in four of the one before it, so that a cluster of any size fills some
# half of a leaf in one of them.
_THINNING = 4
# With fewer there are no three points on either side of a gap.
_FEWEST_POINTS = 8
_SAMPLE = 4096
# What halving a point or its keys costs, in bytes of a matrix pass.
_POINT_BYTES = 1 << 9
# Of an item, the bits that say which point; its key lies above them.
PLACE = np.uint64(0xFFFFFFFF)
_KEY_SHIFT = np.uint64(32)

Ids = npt.NDArray[np.int64]


def leaves(
    sketch: Float64s, order: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.uint64], list[Ids]]:
    """Grow the trees, all at once, level by level.

    Returns the places in `order` of every tree's points, and for each tree where its leaves begin
    in them, with the end of the last one.
    """
    columns, middles, scales = _split_columns(sketch[order[:_SAMPLE]])
    n_blocks = -(-len(order) // LEAF_POINTS)
    keys = np.empty((len(columns), n_blocks * LEAF_POINTS), dtype=np.uint32)
    for_blocks(
        lambda first, last: _fill_keys(sketch, order, columns, middles, scales, first, last, keys),
        n_blocks,
        LEAF_POINTS * _POINT_BYTES,
    )
    sizes = [size for size in _subsamples(len(order)) for _ in range(2)]
    ends = np.cumsum(sizes, dtype=np.int64)
    places = np.concatenate([np.arange(size, dtype=np.uint64) for size in sizes])
    trees = [np.array([end - size, end]) for size, end in zip(sizes, ends, strict=True)]
    for depth in range(64):
        growing = [n for n, size in enumerate(sizes) if -(-size >> depth) > LEAF_POINTS]
        if not growing:
            break
        starts = np.concatenate([trees[n][:-1] for n in growing])
        stops = np.concatenate([trees[n][1:] for n in growing])
        # Two trees that halve in other columns: what one cuts in two the other keeps whole.
        first_columns = np.repeat([n % 2 * (len(columns) // 2) for n in growing], 1 << depth)
        rows_of_keys = (first_columns + depth) % len(columns)
        _halve_all(keys, places, starts, stops, rows_of_keys)
        for n in growing:
            trees[n] = _with_middles(trees[n])
    return places, trees


def _subsamples(n_points: int) -> Iterator[int]:
    while n_points >= _FEWEST_POINTS:
        yield n_points
        if n_points <= LEAF_POINTS:
            break
        n_points //= _THINNING


def _halve_all(
    keys: npt.NDArray[np.uint32],
    places: npt.NDArray[np.uint64],
    starts: Ids,
    stops: Ids,
    rows_of_keys: Ids,
) -> None:
    for_blocks(
        lambda first, last: _halve_nodes(keys, places, starts, stops, rows_of_keys, first, last),
        len(starts),
        int((stops - starts).mean()) * _POINT_BYTES,
    )


def _with_middles(bounds: Ids) -> Ids:
    finer = np.empty(2 * len(bounds) - 1, dtype=np.int64)
    finer[::2] = bounds
    finer[1::2] = bounds[:-1] + np.diff(bounds) // 2
    return finer


def _split_columns(sample: Float64s) -> tuple[Ids, Float64s, Float64s]:
    """Return the columns in which points differ most, widest first.

    And for each of them the middle of what it holds, and what brings its spread to 1: so keys of
    binary32 tell points apart wherever they lie and whatever their scale.
    """
    low, high = np.quantile(sample, [0.05, 0.95], axis=0)
    spread = high - low
    widest = np.argsort(-spread, kind="stable")
    columns: Ids = widest[spread[widest] >= spread.max() / 4]
    scales = 1 / np.where(spread > 0, spread, 1.0)
    return columns, ((low + high) / 2)[columns], scales[columns]


@intrinsic
def _store_keys(  # pragma: no cover - compiled
    _typing_context: Any,
    points: Any,
    column: Any,
    middle: Any,
    scale: Any,
    keys: Any,
    row: Any,
    start: Any,
) -> Any:
    """Round ``(points[column] - middle) · scale`` to binary32, 32 numbers, and store its order."""
    signature = types.void(points, column, middle, scale, keys, row, start)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        points, column, middle, scale, keys, row, start = args
        data = context.make_array(signature.args[0])(context, builder, points).data
        array = context.make_array(signature.args[4])(context, builder, keys)
        n_columns = builder.extract_value(array.shape, 1)
        into = builder.gep(array.data, [builder.add(builder.mul(row, n_columns), start)])
        values = builder.gep(data, [builder.mul(column, lanes.constant(LEAF_POINTS))])
        middle, scale = (lanes.spread(builder, each, EIGHT) for each in (middle, scale))
        words = ir.VectorType(lanes.I32, EIGHT)
        sign = lanes.splat(lanes.I32, EIGHT, -(1 << 31))
        last_bit = lanes.splat(lanes.I32, EIGHT, 31)
        for n in range(0, LEAF_POINTS, EIGHT):
            value = lanes.load(builder, lanes.at(builder, values, n), VECTOR, 8)
            value = builder.fmul(builder.fsub(value, middle), scale)
            single = builder.fptrunc(value, ir.VectorType(lanes.FLOAT, EIGHT))
            bits = builder.bitcast(single, words)
            # Floats are in the order of their bits once the sign's, and all of a negative one's,
            # are flipped.
            flip = builder.or_(builder.ashr(bits, last_bit), sign)
            place = builder.bitcast(lanes.at(builder, into, n), words.as_pointer())
            builder.store(builder.xor(bits, flip), place).align = 4
        return context.get_dummy_value()

    return signature, codegen


@kernel()
def _fill_keys(sketch, order, columns, middles, scales, first, last, keys):  # type: ignore[no-untyped-def]
    """Fill ``keys[k, n]`` with a whole number in the order of a column's, by place in `order`.

    From the first to the last of the blocks of 32 places; past the end of `order` it is of no use.
    """
    points = np.empty((SKETCH_WIDTH, LEAF_POINTS))
    rows = np.zeros(LEAF_POINTS, dtype=np.int64)
    for block in range(first, last):
        start = block * LEAF_POINTS
        size = min(LEAF_POINTS, len(order) - start)
        for n in range(size):
            rows[n] = order[start + n]
            # The next block's: the order is random, so nothing else asks for them in time.
            prefetch(sketch, np.int64(order[min(start + LEAF_POINTS + n, len(order) - 1)]))
        gather_transposed(sketch, rows, size, points)
        for k in range(len(columns)):
            _store_keys(points, columns[k], middles[k], scales[k], keys, k, start)


@kernel()
def _halve_nodes(keys, places, starts, stops, rows_of_keys, first, last):  # type: ignore[no-untyped-def]
    """Bring the half of each node's points that have the lowest keys to the front.

    The lower 32 bits of ``places[n]`` say which point, the upper ones get its key, so of points
    with equal keys the first ones in their random order go first.
    """
    for node in range(first, last):
        key = keys[rows_of_keys[node]]
        items = places[starts[node] : stops[node]]
        for n in range(len(items)):
            place = items[n] & PLACE
            items[n] = (np.uint64(key[place]) << _KEY_SHIFT) | place
        _select(items, len(items) // 2)


@kernel()
def _select(items, count):  # type: ignore[no-untyped-def]
    """Bring the smallest items, so many of them, to the front; all items differ."""
    low, high = 0, len(items)
    sample = np.empty(1024, dtype=items.dtype)
    while high - low > 8:
        size = high - low
        # So many that their sorting by insertion takes a sixteenth of a pass.
        n_drawn = min(max(3, int(np.sqrt(size)) // 2), len(sample))
        for n in range(n_drawn):
            item = items[low + (2 * n + 1) * size // (2 * n_drawn)]
            place = n
            while place > 0 and sample[place - 1] > item:
                sample[place] = sample[place - 1]
                place -= 1
            sample[place] = item
        # A standard deviation beyond the boundary, so that the smaller part will hold it.
        share = (count - low) / size
        beyond = 0.5 * np.sqrt(n_drawn)
        rank = int(share * n_drawn + (beyond if share <= 0.5 else -beyond))
        # Some item is below the pivot, so the parts are smaller than the whole.
        pivot = sample[min(max(rank, 1), n_drawn - 1)]
        place = low
        for n in range(low, high):
            # Without a branch, which would be mispredicted every other time.
            item = items[n]
            items[n] = items[place]
            items[place] = item
            place += item < pivot
        if place > count:
            high = place
        else:
            low = place
    for n in range(low + 1, high):
        item = items[n]
        place = n
        while place > low and items[place - 1] > item:
            items[place] = items[place - 1]
            place -= 1
        items[place] = item
