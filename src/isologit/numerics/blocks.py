"""Sketches read eight at a time, in the order in which they are asked for.

Tools for kernels that handle a leaf's worth of points, `LEAF_POINTS` side by side: the numbers of a
point are a column, so that eight points fill a vector.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from isologit.numerics import lanes
from isologit.numerics.distances import SKETCH_WIDTH

LEAF_POINTS = 32
EIGHT = 8
VECTOR = ir.VectorType(lanes.DOUBLE, EIGHT)


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Return the columns of an 8 × 8 block as vectors, in three rounds of exchanges."""
    block = list(rows)
    for apart in (4, 2, 1):
        swap = [lane & apart for lane in range(EIGHT)]
        low = [EIGHT + n - apart if swap[n] else n for n in range(EIGHT)]
        high = [EIGHT + n if swap[n] else n + apart for n in range(EIGHT)]
        masks = [ir.Constant(ir.VectorType(lanes.I32, EIGHT), mask) for mask in (low, high)]
        for n in range(EIGHT):
            if not n & apart:
                pair = block[n], block[n + apart]
                block[n], block[n + apart] = (builder.shuffle_vector(*pair, mask) for mask in masks)
    return block


def store(builder: Any, vector: Any, pointer: Any) -> None:
    """Store eight numbers, at any alignment."""
    builder.store(vector, builder.bitcast(pointer, VECTOR.as_pointer())).align = 8


def groups(builder: Any, size: Any) -> Any:
    """Return how many eights hold so many points."""
    rounded = builder.add(size, lanes.constant(EIGHT - 1))
    return builder.udiv(rounded, lanes.constant(EIGHT))


@intrinsic
def prefetch(_typing_context: Any, sketch: Any, row: Any) -> Any:  # pragma: no cover - compiled
    """Ask for a row of a sketch."""
    signature = types.void(sketch, row)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        start = builder.gep(data, [builder.mul(args[1], lanes.constant(SKETCH_WIDTH))])
        lanes.ask_for(builder, start, 8 * SKETCH_WIDTH, level=3)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def gather_transposed(  # pragma: no cover - compiled
    _typing_context: Any, sketch: Any, rows: Any, size: Any, points: Any
) -> Any:
    """Fill ``points[:, n]`` with row ``rows[n]`` of a sketch; rows come in eights."""
    signature = types.void(sketch, rows, size, points)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sketch_data, rows_data, points_data = (
            context.make_array(signature.args[n])(context, builder, args[n]).data for n in (0, 1, 3)
        )
        width = lanes.constant(SKETCH_WIDTH)
        with cgutils.for_range(builder, groups(builder, args[2])) as loop:
            first = builder.mul(loop.index, lanes.constant(EIGHT))
            ids = builder.gep(rows_data, [first])
            into = builder.gep(points_data, [first])
            starts = [
                builder.gep(
                    sketch_data,
                    [builder.mul(builder.load(lanes.at(builder, ids, n)), width)],
                )
                for n in range(EIGHT)
            ]
            for column in range(0, SKETCH_WIDTH, EIGHT):
                block = [
                    lanes.load(builder, lanes.at(builder, start, column), VECTOR, 8)
                    for start in starts
                ]
                for n, vector in enumerate(transposed(builder, block)):
                    place = lanes.at(builder, into, (column + n) * LEAF_POINTS)
                    store(builder, vector, place)
        return context.get_dummy_value()

    return signature, codegen
