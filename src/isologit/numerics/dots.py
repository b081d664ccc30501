"""Dot products of rows with a vector, in two precisions, and what their roundings can come to.

Both add in the fixed order of `isologit.numerics.lanes`, and give with each dot product the row's
sum of squares, whose root times the vector's length bounds the sum of the terms' magnitudes
(Cauchy and Schwarz). So an error bound costs one more multiplication a word, not three.

`dots_single` multiplies and adds in binary32, a few terms at a time, before it goes on in binary64:
it takes hardly longer than reading W. `dots_double` does everything in binary64, where the products
of stored numbers are exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from isologit.numerics import kernels, lanes
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix


@intrinsic
def _dot_single(_typing_context: Any, words: Any, row: Any, h: Any) -> Any:  # pragma: no cover
    """Return a row's dot product with h, and its sum of squares in binary32."""
    signature = lanes.tuple_of(types.float64, types.float64)(words, row, h)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, row, h = args
        words_type, _, h_type = signature.args
        h_data = context.make_array(h_type)(context, builder, h).data
        zeros = lanes.splat(lanes.FLOAT, lanes.LANES, 0.0)
        total = cgutils.alloca_once_value(builder, lanes.splat(lanes.DOUBLE, lanes.LANES, 0.0))
        squares = [cgutils.alloca_once_value(builder, zeros) for _ in range(2)]

        def body(pointer: Any, _same: Any, offset: Any, n_chunks: int) -> None:
            partial: list[Any] = [None, None]
            for chunk in range(n_chunks):
                begin = chunk * lanes.CHUNK
                values = lanes.chunk_values(
                    builder, lanes.at(builder, pointer, begin), words_type.dtype
                )
                for half, x in enumerate(values):
                    place = builder.gep(h_data, [offset])
                    place = lanes.at(builder, place, begin + half * lanes.LANES)
                    factor = lanes.load(builder, place, lanes.SINGLES, 4)
                    partial[half] = lanes.product_sum(builder, x, factor, partial[half])
                    square = lanes.product_sum(builder, x, x, builder.load(squares[half]))
                    builder.store(square, squares[half])
            both = builder.fpext(builder.fadd(*partial), lanes.DOUBLES)
            builder.store(builder.fadd(builder.load(total), both), total)

        lanes.for_chunks(context, builder, words_type, words, row, body)
        dot = lanes.sum_of_lanes(builder, builder.load(total))
        square = lanes.sum_of_lanes(builder, builder.fadd(*(builder.load(s) for s in squares)))
        pair = [dot, builder.fpext(square, lanes.DOUBLE)]
        return context.make_tuple(builder, signature.return_type, pair)

    return signature, codegen


@intrinsic
def _dot_double(_typing_context: Any, words: Any, row: Any, h: Any) -> Any:  # pragma: no cover
    """Return a row's dot product with h, and its sum of squares, in binary64."""
    signature = lanes.tuple_of(types.float64, types.float64)(words, row, h)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, row, h = args
        words_type, _, h_type = signature.args
        h_data = context.make_array(h_type)(context, builder, h).data
        terms = [
            lambda x, factor, total: lanes.product_sum(builder, x, factor, total),
            lambda x, _factor, total: lanes.product_sum(builder, x, x, total),
        ]
        sums = lanes.double_sums(context, builder, words_type, words, row, h_data, terms)
        pair = [lanes.sum_of_lanes(builder, builder.fadd(*halves)) for halves in sums]
        return context.make_tuple(builder, signature.return_type, pair)

    return signature, codegen


@kernel()
def _fill_single(words, h, dots, squares):  # type: ignore[no-untyped-def]
    for row in range(words.shape[0]):
        dots[row], squares[row] = _dot_single(words, row, h)


@kernel()
def _fill_double(words, rows, h, dots, squares):  # type: ignore[no-untyped-def]
    for n in range(rows.shape[0]):
        dots[n], squares[n] = _dot_double(words, rows[n], h)


@dataclass(frozen=True, eq=False)
class Dots:
    """Dot products of n rows with a vector, in binary64, with bounds.

    Parameters
    ----------
    values
        ``[n]``; where an infinity or a NaN is involved, or was met on the way, not finite.
    errors
        ``[n]``, at least the distance of each value from the real dot product.
    squares
        ``[n]``, the rows' sums of squares.
    square_share
        ``[n]``, bounds on the squares' errors as shares of themselves.
    """

    values: Float64s
    errors: Float64s
    squares: Float64s
    square_share: Float64s


def dots_single(matrix: Matrix, h: Float64s) -> Dots:
    """Multiply every row with a vector of binary32 values, in binary32 as far as it carries."""
    dots, squares = np.empty(matrix.n_tokens), np.empty(matrix.n_tokens)
    packed = lanes.packed(h, matrix.format).astype(np.float32)

    def fill(start: int, stop: int) -> None:
        words = kernels.typed_block(matrix, start, stop)
        _fill_single(words, packed, dots[start:stop], squares[start:stop])

    for_blocks(fill, matrix.n_tokens, matrix.row_bytes)
    chunks = len(packed) // lanes.CHUNK
    depth = lanes.GROUP_DEPTH * lanes.U_SINGLE + (chunks + lanes.FOLDS) * lanes.U_DOUBLE
    # A square passes its product, the other chunks of its lane, the other half, and the folds.
    square_depth = (chunks + 2 + lanes.FOLDS) * lanes.U_SINGLE
    # What falls below the range of binary32 is lost a product at a time.
    return _bounded(dots, squares, h, depth, square_depth, len(packed) * 2.0**-149)


def dots_double(matrix: Matrix, rows: npt.NDArray[np.intp], h: Float64s) -> Dots:
    """Multiply some rows with a vector, in binary64."""
    dots, squares = np.empty(len(rows)), np.empty(len(rows))
    packed = lanes.packed(h, matrix.format)

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        _fill_double(words, places, packed, dots[start:stop], squares[start:stop])

    for_blocks(fill, len(rows), matrix.row_bytes)
    # Products are exact; each passes the other chunks of its lane, the other half, and the folds.
    depth = (len(packed) // lanes.CHUNK + 1 + lanes.FOLDS) * lanes.U_DOUBLE
    return _bounded(dots, squares, h, depth, depth, 0.0)


def _bounded(
    dots: Float64s, squares: Float64s, h: Float64s, depth: float, square_depth: float, lost: float
) -> Dots:
    # S (1 − δ)^m − lost ≤ computed ≤ S (1 + δ)^m + lost, for the real S.
    share = square_depth / (1 - square_depth) * lanes.ROOM
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lengths = np.sqrt((squares + lost) * (1 + share)) * np.sqrt(np.dot(h, h))
        errors = (lengths * depth + lost) * lanes.ROOM
        shares = share + 2 * lost / squares
    return Dots(dots, errors, squares, shares)
