"""Loops over one row of stored words, written out for the vector unit and for memory.

Numba's own loops leave the vector width, the order of addition and the prefetching to the compiler.
Here they are fixed: a row is read in chunks of 32 words, widened to two vectors of 16 binary32
numbers, so the order of addition is the same on every machine and a bound may rely on it; and each
cache line is asked for 4 KB ahead, because a loop that computes looks too short a way ahead by
itself (a dot product took 1.6 times as long as reading the row, and 1.05 times with it). LLVM
splits the vectors where a machine's are shorter.

These are tools for intrinsics: functions that generate code with an llvmlite builder. What they
are made into lives beside the kernels that call it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types

from isologit.numerics.compilation import keep_machine_code
from isologit.numerics.formats import BF16, Format
from isologit.numerics.halves import widen_halves

keep_machine_code()

CHUNK = 32
# How many chunks are summed in binary32 before the sum goes on in binary64.
GROUP = 4

LANES = CHUNK // 2
U_SINGLE = 2.0**-24
U_DOUBLE = 2.0**-53
# A term of a group passes its product, the additions of the other chunks' terms of its lane, and
# the one of the chunk's halves.
GROUP_DEPTH = 1 + (GROUP - 1) + 1
# Additions that fold 16 lanes into one.
FOLDS = 4
# Widens a bound for the roundings of its own computation, far more than they come to.
ROOM = 1 + 2.0**-20

_AHEAD_BYTES = 4096
# What is asked for this early would only push h out of the first.
SECOND_LEVEL = 2
_LINE_BYTES = 64

FLOAT = ir.FloatType()
DOUBLE = ir.DoubleType()
I8 = ir.IntType(8)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
SINGLES = ir.VectorType(FLOAT, LANES)
DOUBLES = ir.VectorType(DOUBLE, LANES)
# Fusing an exact product with the addition after it changes nothing but the time; reassociation is
# never allowed here.
_FUSE = ("contract",)


def lane_order(width: int, format_: Format) -> npt.NDArray[np.intp]:
    """Return which word of a row each lane holds, chunk after chunk; d for the filling."""
    order = np.arange(-(-width // CHUNK) * CHUNK)
    if format_ is BF16:
        order = order.reshape(-1, LANES, 2).transpose(0, 2, 1).reshape(-1)
    return np.minimum(order, width)


def tuple_of(*elements: Any) -> Any:
    """Return the type of a tuple, for an intrinsic's signature."""
    return types.Tuple(elements)  # type: ignore[attr-defined]  # made at import


def packed(vectors: npt.NDArray[Any], format_: Format) -> npt.NDArray[Any]:
    """Return vectors ``[…, d]`` in the order of the lanes, filled up with zeros to whole chunks."""
    filled = np.concatenate([vectors, np.zeros_like(vectors[..., :1])], axis=-1)
    ordered: npt.NDArray[Any] = filled[..., lane_order(vectors.shape[-1], format_)]
    return ordered


def constant(value: int) -> ir.Constant:
    """Return a 64-bit integer."""
    return ir.Constant(I64, value)


def splat(element: ir.Type, count: int, value: float) -> ir.Constant:
    """Return a vector of equal constants."""
    return ir.Constant(ir.VectorType(element, count), [value] * count)


def spread(builder: Any, number: Any, count: int) -> Any:
    """Return a vector of one number, so many times."""
    undefined = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, splat(I32, count, 0))


def product_sum(builder: Any, left: Any, right: Any, addend: Any | None) -> Any:
    """Return ``left · right + addend``, or the product alone where nothing came before."""
    product = builder.fmul(left, right, flags=_FUSE)
    return product if addend is None else builder.fadd(product, addend, flags=_FUSE)


def sum_of_lanes(builder: Any, vector: Any) -> Any:
    """Return the sum of a vector's lanes, by halves."""
    return fold(builder, vector, builder.fadd)


def chunk_values(builder: Any, pointer: Any, word: Any) -> tuple[Any, Any]:
    """Load 32 words as two vectors of 16 binary32 values, in the order of `lane_order`."""
    if word == types.uint16:
        words = load(builder, pointer, ir.VectorType(I32, LANES), 2)
        even = builder.shl(words, splat(I32, LANES, 16))
        odd = builder.and_(words, splat(I32, LANES, 0xFFFF0000))
        return builder.bitcast(even, SINGLES), builder.bitcast(odd, SINGLES)
    kind = SINGLES if word == types.uint32 else ir.VectorType(I16, LANES)
    first = load(builder, pointer, kind, word.bitwidth // 8)
    second = load(builder, at(builder, pointer, LANES), kind, word.bitwidth // 8)
    if word == types.uint32:
        return first, second
    return widen_halves(builder, first), widen_halves(builder, second)


def ask_for(builder: Any, pointer: Any, n_bytes: int, *, level: int) -> None:
    """Ask for the cache lines of so many bytes: at level 3 into every cache, at 2 past the first.

    A prefetch never faults, so one past the end of a mapping is harmless.
    """
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32]),
        "llvm.prefetch.p0",
    )
    read, locality, data = (ir.Constant(I32, code) for code in (0, level, 1))
    start = builder.bitcast(pointer, I8.as_pointer())
    for line in range(0, n_bytes, _LINE_BYTES):
        builder.call(function, [at(builder, start, line), read, locality, data])


def for_chunks(
    context: Any,
    builder: Any,
    words_type: Any,
    words: Any,
    row: Any,
    body: Callable[[Any, Any, Any, int], None],
) -> None:
    """Generate the loop over a row's chunks.

    ``body(pointer, same, offset, n)`` handles n chunks from the word at `offset` on: groups of
    `GROUP` while there are any, then single ones. They lie at `pointer` and again at `same`; but
    the last chunk, where it is short, is filled up with zeros at `pointer` and with its own last
    word at `same`.
    """
    array = context.make_array(words_type)(context, builder, words)
    width = builder.extract_value(array.shape, 1)
    start = builder.gep(array.data, [builder.mul(row, width)])
    group = constant(GROUP * CHUNK)
    n_groups = builder.udiv(width, group)
    with cgutils.for_range(builder, n_groups) as loop:
        offset = builder.mul(loop.index, group)
        pointer = builder.gep(start, [offset])
        group_bytes = GROUP * CHUNK * words_type.dtype.bitwidth // 8
        ahead = at(builder, builder.bitcast(pointer, I8.as_pointer()), _AHEAD_BYTES)
        ask_for(builder, ahead, group_bytes, level=SECOND_LEVEL)
        body(pointer, pointer, offset, GROUP)
    done = builder.mul(n_groups, group)
    chunk = constant(CHUNK)
    n_chunks = builder.udiv(builder.sub(width, done), chunk)
    with cgutils.for_range(builder, n_chunks) as loop:
        offset = builder.add(done, builder.mul(loop.index, chunk))
        pointer = builder.gep(start, [offset])
        body(pointer, pointer, offset, 1)
    done = builder.add(done, builder.mul(n_chunks, chunk))
    rest = builder.sub(width, done)
    with builder.if_then(builder.icmp_unsigned(">", rest, constant(0))):
        last = builder.load(builder.gep(start, [builder.sub(width, constant(1))]))
        same = short_chunk(builder, start, done, rest, last)
        body(short_chunk(builder, start, done, rest), same, done, 1)


def double_sums(
    context: Any,
    builder: Any,
    words_type: Any,
    words: Any,
    row: Any,
    vector: Any,
    terms: Sequence[Callable[[Any, Any, Any], Any]],
) -> list[list[Any]]:
    """Generate sums in binary64 over a row and a packed vector, a lane; for each term two halves.

    ``term(value, entry, sum)`` returns the sum with a term added, made of the row's value and the
    vector's entry; `vector` is the address of binary64 numbers.
    """
    zeros = splat(DOUBLE, LANES, 0.0)
    sums = [[cgutils.alloca_once_value(builder, zeros) for _ in range(2)] for _ in terms]

    def body(pointer: Any, _same: Any, offset: Any, n_chunks: int) -> None:
        entries = builder.gep(vector, [offset])
        for begin in range(0, n_chunks * CHUNK, CHUNK):
            values = chunk_values(builder, at(builder, pointer, begin), words_type.dtype)
            for half, single in enumerate(values):
                place = at(builder, entries, begin + half * LANES)
                entry = load(builder, place, DOUBLES, 8)
                value = builder.fpext(single, DOUBLES)
                for term, halves in zip(terms, sums, strict=True):
                    builder.store(term(value, entry, builder.load(halves[half])), halves[half])

    for_chunks(context, builder, words_type, words, row, body)
    return [[builder.load(each) for each in halves] for halves in sums]


def short_chunk(builder: Any, start: Any, done: Any, rest: Any, filling: Any | None = None) -> Any:
    """Return a copy of a row's last words, filled up to a chunk with zeros or another word."""
    word = start.type.pointee
    copy = cgutils.alloca_once(builder, ir.ArrayType(word, CHUNK))
    copy = builder.gep(copy, [constant(0), constant(0)])
    filling = ir.Constant(word, 0) if filling is None else filling
    for n in range(CHUNK):
        builder.store(filling, at(builder, copy, n))
    with cgutils.for_range(builder, rest) as loop:
        stored = builder.load(builder.gep(start, [builder.add(done, loop.index)]))
        builder.store(stored, builder.gep(copy, [loop.index]))
    return copy


def load(builder: Any, pointer: Any, kind: ir.Type, align: int) -> Any:
    """Load a vector from an address of so many bytes' alignment."""
    vector = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    vector.align = align
    return vector


def at(builder: Any, pointer: Any, offset: int) -> Any:
    """Return the address of the element so many further on."""
    return builder.gep(pointer, [constant(offset)])


def fold(builder: Any, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine a vector's lanes into one, by halves."""
    count = vector.type.count
    undefined = ir.Constant(vector.type, ir.Undefined)
    while count > 1:
        count //= 2
        halves = [
            ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
            for first in (0, count)
        ]
        low, high = (builder.shuffle_vector(vector, undefined, half) for half in halves)
        vector = combine(low, high)
        undefined = ir.Constant(vector.type, ir.Undefined)
    return builder.extract_element(vector, ir.Constant(I32, 0))
