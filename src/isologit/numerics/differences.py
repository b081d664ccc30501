"""Kernels over differences of two rows, weighted: sums that a norm's range asks for, pair by pair.

A pair is treated by itself and in one fixed order of addition, 32 lanes and then the lanes, without
fused multiplications: so a pair's sums are the same bits on every machine, whichever pairs are
asked for beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from isologit.numerics import kernels, lanes
from isologit.numerics.compilation import kernel
from isologit.numerics.distances import sketch_row
from isologit.numerics.formats import Float64s
from isologit.numerics.lanes import U_DOUBLE
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix

LANES = lanes.CHUNK
Ids = npt.NDArray[np.int64]

# Pairs at a time: of a matrix in a coding no more than twice as many rows are decoded at once.
_PIECE_PAIRS = 8192
# Chunks between two looks at whether a partial sum is beyond the limit already.
_STRIDE = 8


@dataclass(frozen=True, eq=False)
class DifferenceSums:
    """Sums over the entries of Δ = w_a − w_b and x = γ ⊙ Δ, ``[n]`` each.

    Parameters
    ----------
    squares
        Of x, or of its deviations from their mean.
    raw_squares
        Of x.
    products, product_sizes
        Of β ⊙ Δ, and of its magnitudes; 0 without a β.
    scaled_sizes, sizes
        Of the magnitudes of x, and of Δ.
    """

    squares: Float64s
    raw_squares: Float64s
    products: Float64s
    product_sizes: Float64s
    scaled_sizes: Float64s
    sizes: Float64s


def sum_share(width: int) -> float:
    """Return the share of the magnitudes that a sum over d entries may be off by, here."""
    return (width / LANES + LANES + 2) * U_DOUBLE


def difference_sums(
    matrix: Matrix, left: Ids, right: Ids, gamma: Float64s, beta: Float64s | None, *, centred: bool
) -> DifferenceSums:
    """Return the sums of some pairs of rows.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    left, right
        ``[n]`` rows, a pair each.
    gamma, beta
        ``[d]``.
    centred
        Whether `squares` is of the deviations of x from their mean.

    Notes
    -----
    Binary64. Δ is rounded once, x and β ⊙ Δ once more, and a sum is within `sum_share` of its
    terms' magnitudes. Products of three numbers of 24 bits neither overflow nor underflow.
    """
    sums = np.empty((len(left), 6))
    packed, added = _packed(matrix, gamma, beta)
    ones = lanes.packed(np.ones(matrix.width), matrix.format)

    def fill(start: int, stop: int) -> None:
        words, pair = _located(matrix, left[start:stop], right[start:stop])
        _fill_sums(words, pair, packed, added, ones, centred, sums[start:stop])

    _for_pieces(fill, matrix, len(left))
    return DifferenceSums(*np.ascontiguousarray(sums.T))


def squares_within(
    matrix: Matrix, left: Ids, right: Ids, gamma: Float64s, limit: float, *, centred: bool
) -> npt.NDArray[np.bool_]:
    """Return whether the sum of squares of x = γ ⊙ Δ may be within a limit, ``[n]``.

    False only where it is beyond it by a share of 10⁻⁹ of the squares of x: most pairs are decided
    after a part of the row. The sum of some squared deviations from their own mean is no larger
    than that of all from theirs.
    """
    within = np.empty(len(left), dtype=np.bool_)
    packed = lanes.packed(gamma, matrix.format)

    def fill(start: int, stop: int) -> None:
        words, pair = _located(matrix, left[start:stop], right[start:stop])
        _fill_within(words, pair, packed, centred, limit, within[start:stop])

    _for_pieces(fill, matrix, len(left))
    return within


def lane_of_entries(matrix: Matrix) -> npt.NDArray[np.intp]:
    """Return which of the 32 lanes each entry of a row is added in, ``[d]``."""
    order = lanes.lane_order(matrix.width, matrix.format)
    lane = np.empty(matrix.width + 1, dtype=np.intp)
    lane[order] = np.arange(len(order)) % LANES
    return lane[: matrix.width]


def _packed(matrix: Matrix, gamma: Float64s, beta: Float64s | None) -> tuple[Float64s, Float64s]:
    added = np.zeros(matrix.width) if beta is None else beta
    return lanes.packed(gamma, matrix.format), lanes.packed(added, matrix.format)


def _for_pieces(fill: Callable[[int, int], None], matrix: Matrix, n_pairs: int) -> None:
    def pieces(start: int, stop: int) -> None:
        for first in range(start, stop, _PIECE_PAIRS):
            fill(first, min(first + _PIECE_PAIRS, stop))

    for_blocks(pieces, n_pairs, 2 * matrix.row_bytes)


def _located(matrix: Matrix, left: Ids, right: Ids) -> tuple[npt.NDArray[np.unsignedinteger], Ids]:
    """Return words, and where in them the pairs' rows are, ``[2, n]``."""
    pair = np.stack([left, right]).astype(np.int64)
    if matrix.coding is None:
        return kernels.typed(matrix.words, matrix.format), pair
    rows, places = np.unique(pair, return_inverse=True)
    words, _ = kernels.typed_rows(matrix, rows)
    return words, places.reshape(pair.shape).astype(np.int64)


@dataclass(frozen=True, eq=False)
class RowSums:
    """Sums over the entries of weighted rows x = γ ⊙ w.

    Parameters
    ----------
    sketch
        ``[n, 32]``, of x times the weights, over every 32nd entry.
    total, squares
        ``[n]``, of x, and of its squares.
    products
        ``[n]``, of β ⊙ w.
    """

    sketch: Float64s
    total: Float64s
    squares: Float64s
    products: Float64s


def row_sums(
    matrix: Matrix, rows: Ids, gamma: Float64s, beta: Float64s | None, weights: Float64s
) -> RowSums:
    """Return the sums of some rows; γ, β and the weights are ``[d]``. Binary64, see `sum_share`."""
    sketch, moments = np.empty((len(rows), LANES)), np.empty((len(rows), 3))
    packed, added = _packed(matrix, gamma, beta)
    sketching = lanes.packed(gamma * weights, matrix.format)

    def fill(start: int, stop: int) -> None:
        words, places = kernels.typed_rows(matrix, rows[start:stop])
        part = slice(start, stop)
        _fill_rows(
            words, places, packed, added, beta is not None, sketching, sketch[part], moments[part]
        )

    for_blocks(fill, len(rows), matrix.row_bytes)
    return RowSums(sketch, *np.ascontiguousarray(moments.T))


def _for_chunks_of_two(
    context: Any,
    builder: Any,
    words_type: Any,
    words: Any,
    rows: tuple[Any, Any],
    chunks: tuple[Any, Any] | None,
    body: Callable[[list[Any], Any], None],
) -> None:
    """Generate the loop over chunks of two rows, all of them or those from one to before another.

    ``body(pointers, offset)`` handles the chunk at the word `offset`; a short last one is filled up
    with zeros.
    """
    array = context.make_array(words_type)(context, builder, words)
    width = builder.extract_value(array.shape, 1)
    starts = [builder.gep(array.data, [builder.mul(row, width)]) for row in rows]
    chunk = lanes.constant(LANES)
    n_whole, rest = builder.udiv(width, chunk), builder.urem(width, chunk)
    first, last = chunks or (lanes.constant(0), builder.add(n_whole, lanes.constant(1)))
    stop = builder.select(builder.icmp_unsigned("<", last, n_whole), last, n_whole)
    with cgutils.for_range(builder, builder.sub(stop, first)) as loop:
        offset = builder.mul(builder.add(loop.index, first), chunk)
        body([builder.gep(start, [offset]) for start in starts], offset)
    short = builder.and_(
        builder.icmp_unsigned(">", rest, lanes.constant(0)),
        builder.icmp_unsigned(">", last, n_whole),
    )
    with builder.if_then(short):
        done = builder.mul(n_whole, chunk)
        body([lanes.short_chunk(builder, start, done, rest) for start in starts], done)


def _differences(builder: Any, pointers: list[Any], word: Any) -> list[Any]:
    """Return w_a − w_b of a chunk, as two vectors of binary64."""
    a, b = (lanes.chunk_values(builder, pointer, word) for pointer in pointers)
    return [
        builder.fsub(builder.fpext(x, lanes.DOUBLES), builder.fpext(y, lanes.DOUBLES))
        for x, y in zip(a, b, strict=True)
    ]


def _magnitude(builder: Any, value: Any) -> Any:
    kind = ir.FunctionType(lanes.DOUBLES, [lanes.DOUBLES])
    name = f"llvm.fabs.v{lanes.LANES}f64"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])


def _sums(
    context: Any,
    builder: Any,
    words_type: Any,
    pair: tuple[Any, Any, Any],
    chunks: tuple[Any, Any] | None,
    n_sums: int,
    terms: Callable[[Any, Callable[[Any], Any]], list[Any]],
) -> list[Any]:
    """Generate sums over a pair of rows, each folded in a fixed order.

    ``terms(difference, entries_of)`` returns what to add of 16 entries, and ``entries_of(vector)``
    those of a packed vector, given by address. Nothing is fused: what is added is the same on every
    machine.
    """
    words, a, b = pair
    zeros = lanes.splat(lanes.DOUBLE, lanes.LANES, 0.0)
    sums = [[cgutils.alloca_once(builder, lanes.DOUBLES) for _ in range(2)] for _ in range(n_sums)]
    for halves in sums:
        for half in halves:
            builder.store(zeros, half)

    def body(pointers: list[Any], offset: Any) -> None:
        for half, difference in enumerate(_differences(builder, pointers, words_type.dtype)):

            def entries_of(vector: Any, half: int = half) -> Any:
                place = lanes.at(builder, builder.gep(vector, [offset]), half * lanes.LANES)
                return lanes.load(builder, place, lanes.DOUBLES, 8)

            for term, halves in zip(terms(difference, entries_of), sums, strict=True):
                builder.store(builder.fadd(builder.load(halves[half]), term), halves[half])

    _for_chunks_of_two(context, builder, words_type, words, (a, b), chunks, body)
    return [
        lanes.sum_of_lanes(builder, builder.fadd(*(builder.load(half) for half in halves)))
        for halves in sums
    ]


def _data(context: Any, builder: Any, signature: Any, args: Any, n: int) -> Any:
    return context.make_array(signature.args[n])(context, builder, args[n]).data


@intrinsic
def _all_sums(  # pragma: no cover - compiled
    _typing_context: Any, words: Any, a: Any, b: Any, gamma: Any, beta: Any
) -> Any:
    """Return a pair's sums of x, x², β ⊙ Δ, its magnitudes, those of x, and those of Δ."""
    signature = lanes.tuple_of(*[types.float64] * 6)(words, a, b, gamma, beta)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        gamma, beta = (_data(context, builder, signature, args, n) for n in (3, 4))

        def terms(difference: Any, entries_of: Any) -> list[Any]:
            x = builder.fmul(difference, entries_of(gamma))
            product = builder.fmul(difference, entries_of(beta))
            magnitudes = [_magnitude(builder, each) for each in (product, x, difference)]
            return [x, builder.fmul(x, x), product, *magnitudes]

        sums = _sums(context, builder, signature.args[0], args[:3], None, 6, terms)
        return context.make_tuple(builder, signature.return_type, sums)

    return signature, codegen


@intrinsic
def _square_deviations(  # pragma: no cover - compiled
    _typing_context: Any, words: Any, a: Any, b: Any, gamma: Any, ones: Any, mean: Any
) -> Any:
    """Return a pair's sum of the squares of x − mean."""
    signature = types.float64(words, a, b, gamma, ones, mean)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        gamma, ones = (_data(context, builder, signature, args, n) for n in (3, 4))
        means = lanes.spread(builder, args[5], lanes.LANES)

        def terms(difference: Any, entries_of: Any) -> list[Any]:
            x = builder.fmul(difference, entries_of(gamma))
            # What fills up the last chunk has no deviation.
            deviation = builder.fsub(x, builder.fmul(means, entries_of(ones)))
            return [builder.fmul(deviation, deviation)]

        (total,) = _sums(context, builder, signature.args[0], args[:3], None, 1, terms)
        return total

    return signature, codegen


@intrinsic
def _part_sums(  # pragma: no cover - compiled
    _typing_context: Any, words: Any, a: Any, b: Any, gamma: Any, first: Any, last: Any
) -> Any:
    """Return a pair's sums of x² and of x over the chunks from the first to before the last."""
    signature = lanes.tuple_of(types.float64, types.float64)(words, a, b, gamma, first, last)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        gamma = _data(context, builder, signature, args, 3)

        def terms(difference: Any, entries_of: Any) -> list[Any]:
            x = builder.fmul(difference, entries_of(gamma))
            return [builder.fmul(x, x), x]

        chunks = (args[4], args[5])
        sums = _sums(context, builder, signature.args[0], args[:3], chunks, 2, terms)
        return context.make_tuple(builder, signature.return_type, sums)

    return signature, codegen


@intrinsic
def _row_moments(  # pragma: no cover - compiled
    _typing_context: Any, words: Any, row: Any, gamma: Any
) -> Any:
    """Return a row's sums of its products with a vector, and of their squares."""
    signature = lanes.tuple_of(types.float64, types.float64)(words, row, gamma)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        gamma = _data(context, builder, signature, args, 2)

        def product(value: Any, entry: Any, total: Any) -> Any:
            return lanes.product_sum(builder, value, entry, total)

        def square(value: Any, entry: Any, total: Any) -> Any:
            x = builder.fmul(value, entry)
            return lanes.product_sum(builder, x, x, total)

        sums = lanes.double_sums(
            context, builder, signature.args[0], args[0], args[1], gamma, [product, square]
        )
        totals = [lanes.sum_of_lanes(builder, builder.fadd(*halves)) for halves in sums]
        return context.make_tuple(builder, signature.return_type, totals)

    return signature, codegen


@kernel()
def _fill_sums(words, pair, gamma, beta, ones, centred, sums):  # type: ignore[no-untyped-def]
    for n in range(pair.shape[1]):
        a, b = pair[0, n], pair[1, n]
        total, squares, products, product_sizes, scaled, sizes = _all_sums(words, a, b, gamma, beta)
        sums[n, 0] = squares
        if centred:
            mean = total / words.shape[1]
            sums[n, 0] = _square_deviations(words, a, b, gamma, ones, mean)
        sums[n, 1] = squares
        sums[n, 2] = products
        sums[n, 3] = product_sizes
        sums[n, 4] = scaled
        sums[n, 5] = sizes


@kernel()
def _fill_within(words, pair, gamma, centred, limit, within):  # type: ignore[no-untyped-def]
    width = words.shape[1]
    n_chunks = (width + LANES - 1) // LANES
    for n in range(pair.shape[1]):
        squares = 0.0
        total = 0.0
        within[n] = True
        for first in range(0, n_chunks, _STRIDE):
            last = min(first + _STRIDE, n_chunks)
            more, added = _part_sums(words, pair[0, n], pair[1, n], gamma, first, last)
            squares += more
            total += added
            least = squares * (1 - 1e-9)
            if centred:
                least -= total * total / min(last * LANES, width)
            if least > limit:
                within[n] = False
                break


@kernel()
def _fill_rows(words, rows, gamma, beta, biased, sketching, sketch, moments):  # type: ignore[no-untyped-def]
    for n in range(rows.shape[0]):
        sketch_row(words, rows[n], sketching, sketch, n)
        moments[n, 0], moments[n, 1] = _row_moments(words, rows[n], gamma)
        moments[n, 2] = 0.0
        if biased:
            moments[n, 2], _ = _row_moments(words, rows[n], beta)
