"""The loops over stored words, compiled by numba; nothing here allocates a copy of a matrix.

A word's format is its integer type: uint16 is bf16, int16 (the same bits, another view) is f16,
uint32 is f32; uint64 is binary64, which casts alone read. `typed` makes that view. Numba compiles
each kernel for the types it meets and caches the machine code.

Of ``fastmath`` only reassociation and contraction are allowed, and only in kernels whose callers
carry a bound that holds for any order of summation; products of two stored numbers have at most
48 significant bits, so a fused multiply-add rounds exactly as often as an addition.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from isologit.numerics.compilation import keep_machine_code, kernel
from isologit.numerics.formats import F16, Format
from isologit.numerics.halves import widen_halves
from isologit.numerics.stored import Matrix

# What is decoded at a time; a thread has one such piece.
_PIECE_BYTES = 8 << 20
_REASSOCIATE = {"reassoc", "contract"}

keep_machine_code()


def typed(words: npt.NDArray[np.unsignedinteger], format_: Format) -> npt.NDArray[Any]:
    """Return the view of stored words whose integer type names their format."""
    return words.view(np.int16) if format_ is F16 else words


def typed_block(matrix: Matrix, start: int, stop: int) -> npt.NDArray[Any]:
    """Return the words of rows start to stop, ``[n, d]``, as kernels take them."""
    return typed(matrix.block(start, stop), matrix.format)


def typed_rows(
    matrix: Matrix, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return words as kernels take them, and where in them some rows, given by id, are."""
    words, places = matrix.located(rows)
    return typed(words, matrix.format), places


def typed_pieces(
    matrix: Matrix, rows: npt.NDArray[np.int64], multiple: int = 1
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int64]]]:
    """Yield the same as `typed_rows`, in pieces of so many rows or a multiple of it.

    All rows at once, or with a coding as few as are worth a call, so that what is decoded at a time
    does not grow with their number.
    """
    step = len(rows)
    if matrix.coding is not None:
        step = max(1, _PIECE_BYTES // (multiple * matrix.row_bytes)) * multiple
    for start in range(0, len(rows), max(step, 1)):
        yield typed_rows(matrix, rows[start : start + step])


@intrinsic
def widen(_typing_context: Any, word: Any) -> Any:  # pragma: no cover - compiled
    """Return a stored word's value as binary64, exactly."""
    if word not in (types.uint16, types.int16, types.uint32, types.uint64):
        return None

    def codegen(_context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (value,) = args
        if signature.args[0] == types.uint64:
            return builder.bitcast(value, ir.DoubleType())
        if signature.args[0] == types.int16:
            single = widen_halves(builder, value)
        else:
            if signature.args[0] == types.uint16:
                wide = builder.zext(value, ir.IntType(32))
                value = builder.shl(wide, ir.Constant(ir.IntType(32), 16))
            single = builder.bitcast(value, ir.FloatType())
        return builder.fpext(single, ir.DoubleType())

    return types.float64(word), codegen


@kernel(fastmath=_REASSOCIATE)
def sum_columns(words, rows, sums, magnitudes):  # type: ignore[no-untyped-def]
    """Add the given rows into column sums and column sums of magnitudes."""
    for row in rows:
        for k in range(words.shape[1]):
            value = widen(words[row, k])
            sums[k] += value
            magnitudes[k] += abs(value)


@kernel()
def rows_equal(left, left_rows, right, right_rows, fold_zeros, equal):  # type: ignore[no-untyped-def]
    """Say for each pair of rows whether all words are equal; with ``fold_zeros`` −0 equals +0."""
    zero = left.dtype.type(0)
    sign = left.dtype.type(1 << (left.itemsize * 8 - 1))
    for n in range(left_rows.shape[0]):
        # Stretches without a way out in the middle are compared many words at a time.
        different = zero
        for start in range(0, left.shape[1], 256):
            a = left[left_rows[n], start : start + 256]
            b = right[right_rows[n], start : start + 256]
            for k in range(a.shape[0]):
                x, y = a[k], b[k]
                if fold_zeros:
                    x = zero if x == sign else x
                    y = zero if y == sign else y
                different |= x ^ y
            if different != zero:
                break
        equal[n] = different == zero


@intrinsic
def bits_of(_typing_context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """Return the bit pattern of a binary64 value."""
    if value != types.float64:
        return None

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.uint64(value), codegen


@intrinsic
def from_bits(_typing_context: Any, pattern: Any) -> Any:  # pragma: no cover - compiled
    """Return the binary64 value of a bit pattern."""
    if pattern != types.uint64:
        return None

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(pattern), codegen


def first_occurrence_labels(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """Number 64-bit keys by where each occurs first: equal keys get equal numbers, from 0 on.

    In time proportional to their number, where sorting them takes several times as long.
    """
    # A table at most half full.
    slots = np.full(1 << max(len(keys), 1).bit_length() + 1, -1, dtype=np.int32)
    labels = np.empty(len(keys), dtype=np.int32)
    _label(np.ascontiguousarray(keys), slots, labels)
    return labels


@kernel()
def _label(keys, slots, labels):  # type: ignore[no-untyped-def]
    """Fill the labels; ``slots`` is a table of −1 whose length is a power of two."""
    # Fibonacci hashing: keys that differ in a few bits alone, as logits do, spread by their high
    # bits (Knuth, The Art of Computer Programming 3, 6.4).
    golden = np.uint64(0x9E3779B97F4A7C15)
    mask = np.int64(len(slots) - 1)
    shift = np.uint64(64)
    while len(slots) >> np.int64(np.uint64(64) - shift) > 1:
        shift -= np.uint64(1)
    firsts = np.empty(len(keys), dtype=np.int32)
    n_labels = np.int32(0)
    for n in range(len(keys)):
        slot = np.int64((keys[n] * golden) >> shift)
        while slots[slot] >= 0 and keys[firsts[slots[slot]]] != keys[n]:
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot] = n_labels
            firsts[n_labels] = n
            n_labels += np.int32(1)
        labels[n] = slots[slot]
