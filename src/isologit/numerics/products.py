"""Kernels that multiply rows with eight vectors at once, and add up rows weighted by the products.

Both halves of a covariance's product are written out for the vector unit, on the tools of
`isologit.numerics.lanes`: dot products keep a few rows times all vectors in registers while the
rows are read once; sums keep all vectors times some columns there while the rows of a tile, by now
in the cache, pass by, and the rows of the next tile are asked for.

Nothing here is certified: callers bound the error of what they make of it. The order of addition
depends on the machine's vector unit and on nothing else.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from isologit.numerics import lanes
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s, Format

# Vectors at a time.
BLOCK = 8
# Rows at a time, a multiple of those below; they stay in the second-level cache between the two
# halves. Twice as many were slower.
TILE = 24
# Rows whose sums stay in binary32 before they go on in binary64: their rounding errors then are
# those of a few hundred additions, whatever V is.
FLUSH = 10 * TILE

_WIDE = bool(llvm.get_host_cpu_features().get("avx512f"))
_REGISTER_BITS = 512 if _WIDE else 256
# What has room in 32 and in 16 registers: rows times vectors, and columns times vectors.
_ROWS = 3
_VECTORS = 8 if _WIDE else 4
_STRIPES = 2


def packed(vectors: npt.NDArray[Any], format_: Format) -> npt.NDArray[Any]:
    """Return eight vectors ``[8, d]`` in the order in which the kernels meet them, in one array."""
    ordered = lanes.packed(vectors, format_)
    count = _REGISTER_BITS // (8 * vectors.itemsize)
    return ordered.reshape(len(vectors), -1, count).transpose(1, 0, 2).reshape(-1)


def unpacked(
    sums: Float64s, n_vectors: int, width: int, format_: Format, precision: type[Any]
) -> Float64s:
    """Return the vectors ``[n, d]`` of sums in the order that `packed` gives to a precision."""
    count = _REGISTER_BITS // (8 * np.dtype(precision).itemsize)
    ordered = sums.reshape(-1, n_vectors, count).transpose(1, 0, 2).reshape(n_vectors, -1)
    result = np.empty((n_vectors, width + 1))
    result[:, lanes.lane_order(width, format_)] = ordered
    return result[:, :width]


def packed_size(n_vectors: int, width: int) -> int:
    """Return how many numbers n packed vectors are."""
    return n_vectors * -(-width // lanes.CHUNK) * lanes.CHUNK


def _register(dtype: Any) -> ir.VectorType:
    element = lanes.FLOAT if dtype == types.float32 else lanes.DOUBLE
    return ir.VectorType(element, _REGISTER_BITS // dtype.bitwidth)


def _stripes(builder: Any, pointer: Any, word: types.Integer, kind: ir.VectorType) -> list[Any]:
    """Load a chunk of words as registers of binary32 or binary64 values, in packed order."""
    stripes = []
    for values in lanes.chunk_values(builder, pointer, word):
        for first in range(0, lanes.LANES, kind.count):
            numbers = list(range(first, first + kind.count))
            mask = ir.Constant(ir.VectorType(lanes.I32, kind.count), numbers)
            part = builder.shuffle_vector(values, ir.Constant(values.type, ir.Undefined), mask)
            stripes.append(part if kind.element == lanes.FLOAT else builder.fpext(part, kind))
    return stripes


def _chunks_of(builder: Any, width: Any) -> tuple[Any, Any, Any]:
    """Return how many whole chunks a row has, how many words that is, and how many are left."""
    n_chunks = builder.udiv(width, lanes.constant(lanes.CHUNK))
    done = builder.mul(n_chunks, lanes.constant(lanes.CHUNK))
    return n_chunks, done, builder.sub(width, done)


@intrinsic
def _project(
    _typing_context: Any, words: Any, starts: Any, first: Any, basis: Any, y: Any
) -> Any:  # pragma: no cover
    """Fill ``y[r, c]`` with the dot products of three rows, from `first` on, with eight vectors."""
    signature = types.void(words, starts, first, basis, y)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = [
            context.make_array(kind)(context, builder, value)
            for n, (kind, value) in enumerate(zip(signature.args, args, strict=True))
            if n != 2
        ]
        words, starts, basis, y = arrays
        word, kind = signature.args[0].dtype, _register(signature.args[3].dtype)
        n_chunks, done, rest = _chunks_of(builder, builder.extract_value(words.shape, 1))
        numbers = [builder.add(args[2], lanes.constant(r)) for r in range(_ROWS)]
        rows = [
            builder.gep(words.data, [builder.load(builder.gep(starts.data, [number]))])
            for number in numbers
        ]
        for group in range(0, BLOCK, _VECTORS):
            totals = [
                [
                    cgutils.alloca_once_value(builder, lanes.splat(kind.element, kind.count, 0.0))
                    for _ in range(_VECTORS)
                ]
                for _ in rows
            ]

            def add(
                pointers: list[Any], offset: Any, group: int = group, totals: Any = totals
            ) -> None:
                place = builder.gep(basis.data, [builder.mul(offset, lanes.constant(BLOCK))])
                loaded = [_stripes(builder, pointer, word, kind) for pointer in pointers]
                for s in range(lanes.CHUNK // kind.count):
                    for c in range(_VECTORS):
                        begin = (s * BLOCK + group + c) * kind.count
                        factor = lanes.load(builder, lanes.at(builder, place, begin), kind, 4)
                        for stripes, sums in zip(loaded, totals, strict=True):
                            old = builder.load(sums[c])
                            new = lanes.product_sum(builder, stripes[s], factor, old)
                            builder.store(new, sums[c])

            with cgutils.for_range(builder, n_chunks) as loop:
                offset = builder.mul(loop.index, lanes.constant(lanes.CHUNK))
                add([builder.gep(row, [offset]) for row in rows], offset)
            with builder.if_then(builder.icmp_unsigned(">", rest, lanes.constant(0))):
                add([lanes.short_chunk(builder, row, done, rest) for row in rows], done)
            for number, sums in zip(numbers, totals, strict=True):
                place = builder.gep(y.data, [builder.mul(number, lanes.constant(BLOCK))])
                for c in range(_VECTORS):
                    total = lanes.sum_of_lanes(builder, builder.load(sums[c]))
                    builder.store(total, lanes.at(builder, place, group + c))
        return context.get_dummy_value()

    return signature, codegen


def _pass_by(
    context: Any,
    builder: Any,
    signature: Any,
    args: Any,
    n_sums: int,
    parts: list[list[tuple[int, int]]],
    add: Callable[[Any, Any, int, Any], Any],
) -> None:
    """Generate the loop over the columns of a tile of rows, with the rows as the inner loop.

    The first arguments are words, starts, upcoming, n, and the last is sums, where `n_sums` sums
    lie for each register of columns. Those of one part, given as pairs (register of the chunk,
    number of the sum), are held in registers while n rows pass by; ``add(row, values, number,
    old)`` returns a new sum. The rows of `upcoming` are asked for meanwhile.
    """
    words, starts, upcoming, sums = (
        context.make_array(signature.args[n])(context, builder, args[n]) for n in (0, 1, 2, -1)
    )
    n_rows = args[3]
    word, kind = signature.args[0].dtype, _register(signature.args[-1].dtype)
    n_chunks, done, rest = _chunks_of(builder, builder.extract_value(words.shape, 1))

    def row_of(table: Any, r: Any) -> Any:
        return builder.gep(words.data, [builder.load(builder.gep(table.data, [r]))])

    def columns(offset: Any, chunk_of: Callable[[Any], Any], ask: bool) -> None:
        place = builder.gep(sums.data, [builder.mul(offset, lanes.constant(n_sums))])
        for part in parts:
            places = [
                lanes.at(builder, place, (stripe * n_sums + number) * kind.count)
                for stripe, number in part
            ]
            held = [
                cgutils.alloca_once_value(builder, lanes.load(builder, p, kind, 4)) for p in places
            ]
            with cgutils.for_range(builder, n_rows) as loop:
                if ask and part is parts[0]:
                    ahead = builder.gep(row_of(upcoming, loop.index), [offset])
                    lanes.ask_for(
                        builder, ahead, lanes.CHUNK * word.bitwidth // 8, level=lanes.SECOND_LEVEL
                    )
                stripes = _stripes(builder, chunk_of(loop.index), word, kind)
                for (stripe, number), h in zip(part, held, strict=True):
                    new = add(loop.index, stripes[stripe], number, builder.load(h))
                    builder.store(new, h)
            for p, h in zip(places, held, strict=True):
                stored = builder.store(builder.load(h), builder.bitcast(p, kind.as_pointer()))
                stored.align = 4

    with cgutils.for_range(builder, n_chunks) as chunk:
        offset = builder.mul(chunk.index, lanes.constant(lanes.CHUNK))
        columns(offset, lambda r: builder.gep(row_of(starts, r), [offset]), ask=True)
    with builder.if_then(builder.icmp_unsigned(">", rest, lanes.constant(0))):
        columns(
            done, lambda r: lanes.short_chunk(builder, row_of(starts, r), done, rest), ask=False
        )


@intrinsic
def _accumulate(
    _typing_context: Any, words: Any, starts: Any, upcoming: Any, n: Any, y: Any, sums: Any
) -> Any:  # pragma: no cover
    """Add n rows, each times its eight numbers in y, into eight packed sums."""
    signature = types.void(words, starts, upcoming, n, y, sums)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        y = context.make_array(signature.args[4])(context, builder, args[4])
        kind = _register(signature.args[-1].dtype)

        def add(row: Any, values: Any, number: int, old: Any) -> Any:
            place = builder.add(builder.mul(row, lanes.constant(BLOCK)), lanes.constant(number))
            factor = builder.load(builder.gep(y.data, [place]))
            return lanes.product_sum(
                builder, values, lanes.spread(builder, factor, kind.count), old
            )

        parts = [
            [(first + s, group + c) for c in range(_VECTORS) for s in range(_STRIPES)]
            for first in range(0, lanes.CHUNK // kind.count, _STRIPES)
            for group in range(0, BLOCK, _VECTORS)
        ]
        _pass_by(context, builder, signature, args, BLOCK, parts, add)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _add_moments(
    _typing_context: Any, words: Any, starts: Any, upcoming: Any, n: Any, sums: Any
) -> Any:  # pragma: no cover
    """Add n rows and their squares into two packed sums."""
    signature = types.void(words, starts, upcoming, n, sums)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = _register(signature.args[-1].dtype)

        def add(_row: Any, values: Any, number: int, old: Any) -> Any:
            if number == 0:
                return builder.fadd(old, values)
            return lanes.product_sum(builder, values, values, old)

        parts = [
            [(first + s, number) for s in range(4) for number in range(2)]
            for first in range(0, lanes.CHUNK // kind.count, 4)
        ]
        _pass_by(context, builder, signature, args, 2, parts, add)
        return context.get_dummy_value()

    return signature, codegen


@kernel()
def _take_tile(rows, first, width, starts):  # type: ignore[no-untyped-def]
    """Fill in where the rows of a tile start, the last one again where there are too few."""
    for r in range(TILE):
        starts[r] = rows[min(first + r, rows.shape[0] - 1)] * width


@kernel()
def add_moments(words, rows, sums):  # type: ignore[no-untyped-def]
    """Add ``words[rows]`` and their squares into two packed sums."""
    starts = np.empty(TILE, np.int64)
    upcoming = np.empty(TILE, np.int64)
    for i in range(0, rows.shape[0], TILE):
        _take_tile(rows, i, words.shape[1], starts)
        _take_tile(rows, i + TILE, words.shape[1], upcoming)
        _add_moments(words, starts, upcoming, min(TILE, rows.shape[0] - i), sums)


@kernel()
def add_products(words, rows, basis, offsets, sums, totals):  # type: ignore[no-untyped-def]
    """Add ``Xᵀ · Y`` to packed sums, and the sums of Y to totals ``[8]``.

    X is ``words[rows]`` and Y is ``X · basisᵀ − offsets``, in the precision of the
    basis.
    """
    starts = np.empty(TILE, np.int64)
    upcoming = np.empty(TILE, np.int64)
    y = np.empty((TILE, BLOCK), basis.dtype)
    partial = np.zeros(sums.shape[0], basis.dtype)
    for i in range(0, rows.shape[0], TILE):
        n = min(TILE, rows.shape[0] - i)
        _take_tile(rows, i, words.shape[1], starts)
        _take_tile(rows, i + TILE, words.shape[1], upcoming)
        for r in range(0, n, _ROWS):
            _project(words, starts, r, basis, y)
        for r in range(n):
            for c in range(BLOCK):
                y[r, c] -= offsets[c]
                totals[c] += y[r, c]
        _accumulate(words, starts, upcoming, n, y, partial)
        if (i + TILE) % FLUSH == 0 or i + TILE >= rows.shape[0]:
            for k in range(sums.shape[0]):
                sums[k] += partial[k]
            partial[:] = 0


@kernel()
def project_rows(words, rows, basis, projections):  # type: ignore[no-untyped-def]
    """Fill ``projections[i] = words[rows[i]] · basisᵀ``, ``[n, 8]``."""
    starts = np.empty(TILE, np.int64)
    y = np.empty((TILE, BLOCK), basis.dtype)
    for i in range(0, rows.shape[0], TILE):
        n = min(TILE, rows.shape[0] - i)
        _take_tile(rows, i, words.shape[1], starts)
        for r in range(0, n, _ROWS):
            _project(words, starts, r, basis, y)
        projections[i : i + n] = y[:n]
