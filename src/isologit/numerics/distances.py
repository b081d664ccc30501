"""Passes over W that find near rows: short sketches of rows, and squared distances from a point.

Both read the rows with `isologit.numerics.lanes` and do everything in binary64: the rows of a tight
cluster differ in the last bits of large numbers, so differences are taken before they are squared.
Each row is treated by itself, so results do not depend on the number of threads.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.extending import intrinsic

from isologit.numerics import kernels, lanes
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix

SKETCH_WIDTH = lanes.CHUNK
_SEED = 20_250_701


def sketch_rows(matrix: Matrix, rows: npt.NDArray[np.int64]) -> Float64s:
    """Return some rows in 32 numbers each, ``[n, 32]``, all distances shrunk much alike.

    Each number is a sum over every 32nd column with fixed random signs and sizes, or 0 where there
    are fewer columns. The sizes keep rows of small integers apart, whose differences would often
    cancel under signs alone. Rows with an infinity or a NaN have no sketch of any use.
    """
    # The raw stream of PCG64 is the same in every version of numpy.
    random = np.random.PCG64(_SEED).random_raw(matrix.width)
    sizes = 0.75 + (random >> np.uint64(11)) * 2.0**-54
    weights = lanes.packed(np.where(random & np.uint64(1), -sizes, sizes), matrix.format)
    sketch = np.empty((len(rows), SKETCH_WIDTH))

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        _fill_sketch(words, places, weights, sketch[start:stop])

    for_blocks(fill, len(rows), matrix.row_bytes)
    return sketch


def square_distances(matrix: Matrix, rows: npt.NDArray[np.int64], point: Float64s) -> Float64s:
    """Return the squared distances of some rows from a point ``[d]``, ``[n]``."""
    squares = np.empty(len(rows))
    packed = lanes.packed(point, matrix.format)

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        _fill_squares(words, places, packed, squares[start:stop])

    for_blocks(fill, len(rows), matrix.row_bytes)
    return squares


@intrinsic
def sketch_row(  # pragma: no cover - compiled
    _typing_context: Any, words: Any, row: Any, weights: Any, sketch: Any, n: Any
) -> Any:
    """Store a row's products with packed weights, summed a lane, as ``sketch[n]``."""
    signature = types.void(words, row, weights, sketch, n)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, row, weights, sketch, n = args
        weights, sketch = (
            context.make_array(signature.args[k])(context, builder, array).data
            for k, array in ((2, weights), (3, sketch))
        )

        def term(value: Any, weight: Any, total: Any) -> Any:
            return lanes.product_sum(builder, value, weight, total)

        (sums,) = lanes.double_sums(
            context, builder, signature.args[0], words, row, weights, [term]
        )
        start = builder.mul(n, lanes.constant(SKETCH_WIDTH))
        for half, total in enumerate(sums):
            place = lanes.at(builder, builder.gep(sketch, [start]), half * lanes.LANES)
            place = builder.bitcast(place, lanes.DOUBLES.as_pointer())
            builder.store(total, place).align = 8
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _square_distance(  # pragma: no cover - compiled
    _typing_context: Any, words: Any, row: Any, point: Any
) -> Any:
    """Return a row's squared distance from a point."""
    signature = types.float64(words, row, point)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, row, point = args
        point = context.make_array(signature.args[2])(context, builder, point).data

        def term(value: Any, entry: Any, total: Any) -> Any:
            difference = builder.fsub(value, entry)
            return lanes.product_sum(builder, difference, difference, total)

        (sums,) = lanes.double_sums(context, builder, signature.args[0], words, row, point, [term])
        return lanes.sum_of_lanes(builder, builder.fadd(*sums))

    return signature, codegen


@kernel()
def _fill_sketch(words, rows, weights, sketch):  # type: ignore[no-untyped-def]
    for n in range(rows.shape[0]):
        sketch_row(words, rows[n], weights, sketch, n)


@kernel()
def _fill_squares(words, rows, point, squares):  # type: ignore[no-untyped-def]
    for n in range(rows.shape[0]):
        squares[n] = _square_distance(words, rows[n], point)
