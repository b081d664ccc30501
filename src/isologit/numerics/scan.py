"""One pass over W that finds everything its rows say by themselves.

A hash of each row's bytes, its sum and its sum of squares, its smallest and its largest entry, and
from these what kinds of numbers it holds. `isologit.numerics.lanes` has the order of addition.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from isologit.numerics import kernels, lanes
from isologit.numerics.formats import Float64s, Format, decode
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix

_SEED = 0x150106


@intrinsic
def _scan_row(_typing_context: Any, words: Any, row: Any, keys: Any) -> Any:  # pragma: no cover
    """Return a row's hash, sum, sum of squares, extreme words, and whether it holds a −0.

    The extremes are of words read as sign and magnitude, in the order of the numbers they stand
    for, with −0 just below +0 and NaNs beyond the infinities.
    """
    word = words.dtype
    fields = (types.uint64, types.float64, types.float64, types.int64, types.int64, types.boolean)
    signature = lanes.tuple_of(*fields)(words, row, keys)
    bits = word.bitwidth
    integer = ir.IntType(bits)
    vector = ir.VectorType(integer, lanes.CHUNK)
    sign = 1 << (bits - 1)
    # Vectors of 16 pairs of bytes a chunk.
    n_parts = bits // 16

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, row, keys = args
        words_type, _, keys_type = signature.args
        key_data = context.make_array(keys_type)(context, builder, keys).data

        def variable(kind: ir.Type, count: int, value: float) -> Any:
            return cgutils.alloca_once_value(builder, lanes.splat(kind, count, value))

        half = lanes.LANES // 2
        digest = variable(lanes.I64, half, 0)
        total, squares = (variable(lanes.DOUBLE, lanes.LANES, 0.0) for _ in range(2))
        low = variable(integer, lanes.CHUNK, sign - 1)
        high = variable(integer, lanes.CHUNK, sign)
        nonzero = variable(integer, lanes.CHUNK, 2 * sign - 1)

        def update(into: Any, compare: str, value: Any, *, signed: bool = True) -> None:
            old = builder.load(into)
            test = builder.icmp_signed if signed else builder.icmp_unsigned
            builder.store(builder.select(test(compare, value, old), value, old), into)

        def add_to_digest(pointer: Any, key: Any) -> None:
            """Add one product of two keyed 32-bit words for each 64 bits of the row."""
            data = lanes.load(builder, pointer, ir.VectorType(lanes.I32, lanes.LANES), bits // 8)
            keyed = builder.add(data, lanes.load(builder, key, data.type, 4))
            pairs = builder.bitcast(keyed, ir.VectorType(lanes.I64, half))
            left = builder.and_(pairs, lanes.splat(lanes.I64, half, 0xFFFFFFFF))
            right = builder.lshr(pairs, lanes.splat(lanes.I64, half, 32))
            builder.store(builder.add(builder.load(digest), builder.mul(left, right)), digest)

        def body(pointer: Any, same: Any, offset: Any, n_chunks: int) -> None:
            sums: list[Any] = [None, None]
            products: list[Any] = [None, None]
            first_key = builder.udiv(builder.mul(offset, _constant(bits)), _constant(32))
            key = builder.gep(key_data, [first_key])
            for chunk in range(n_chunks):
                here = lanes.at(builder, pointer, chunk * lanes.CHUNK)
                for n in range(n_parts):
                    begin = lanes.at(builder, here, n * lanes.CHUNK // n_parts)
                    add_to_digest(
                        begin, lanes.at(builder, key, (chunk * n_parts + n) * lanes.LANES)
                    )
                for n, x in enumerate(lanes.chunk_values(builder, here, word)):
                    sums[n] = x if sums[n] is None else builder.fadd(sums[n], x)
                    products[n] = lanes.product_sum(builder, x, x, products[n])
                place = lanes.at(builder, same, chunk * lanes.CHUNK)
                stored = lanes.load(builder, place, vector, bits // 8)
                negative = builder.ashr(stored, lanes.splat(integer, lanes.CHUNK, bits - 1))
                flip = builder.and_(negative, lanes.splat(integer, lanes.CHUNK, sign - 1))
                value = builder.xor(stored, flip)
                update(low, "<", value)
                update(high, ">", value)
                # Zero where the word is −0 and nowhere else.
                mark = builder.xor(stored, lanes.splat(integer, lanes.CHUNK, sign))
                update(nonzero, "<", mark, signed=False)
            for into, parts in ((total, sums), (squares, products)):
                both = builder.fpext(builder.fadd(*parts), lanes.DOUBLES)
                builder.store(builder.fadd(builder.load(into), both), into)

        lanes.for_chunks(context, builder, words_type, words, row, body)

        def extreme(of: Any, compare: str, *, signed: bool = True) -> Any:
            test = builder.icmp_signed if signed else builder.icmp_unsigned
            return lanes.fold(
                builder, builder.load(of), lambda a, b: builder.select(test(compare, a, b), a, b)
            )

        return context.make_tuple(
            builder,
            signature.return_type,
            [
                lanes.fold(builder, builder.load(digest), builder.add),
                lanes.sum_of_lanes(builder, builder.load(total)),
                lanes.sum_of_lanes(builder, builder.load(squares)),
                builder.sext(extreme(low, "<"), lanes.I64),
                builder.sext(extreme(high, ">"), lanes.I64),
                builder.icmp_unsigned(
                    "==", extreme(nonzero, "<", signed=False), ir.Constant(integer, 0)
                ),
            ],
        )

    return signature, codegen


def _constant(value: int) -> ir.Constant:
    return ir.Constant(lanes.I64, value)


@numba.njit(nogil=True, cache=True)
def _scan(words, keys, start, stop, hashes, sums, squares, low, high, negative_zeros):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        (
            hashes[row], sums[row], squares[row], low[row], high[row], negative_zeros[row]
        ) = _scan_row(words, row, keys)  # fmt: skip


@numba.njit(nogil=True, cache=True)
def _hash_folded(words, rows, keys, start, stop, hashes):  # type: ignore[no-untyped-def]
    """Hash some rows as if each −0 were +0."""
    sign = words.dtype.type(1 << (words.itemsize * 8 - 1))
    folded = np.empty((1, words.shape[1]), words.dtype)
    for n in range(start, stop):
        for k in range(words.shape[1]):
            word = words[rows[n], k]
            folded[0, k] = words.dtype.type(0) if word == sign else word
        hashes[n] = _scan_row(folded, 0, keys)[0]


@dataclass(frozen=True, eq=False)
class RowScan:
    """What the rows of a matrix say by themselves, ``[V]`` each.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    hashes
        uint64, equal where rows are the same bytes.
    sums, squares
        Each row's sum and sum of squares, in binary64; where they overflow binary32 on the way,
        and for rows with an infinity or a NaN, not finite.
    low, high
        int32, each row's extreme words in the order of the numbers that they stand for: −0 is −1
        and +0 is 0, and a NaN lies beyond the infinity of its sign.
    has_negative_zero
        bool.
    """

    matrix: Matrix
    hashes: npt.NDArray[np.uint64]
    sums: Float64s
    squares: Float64s
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    has_negative_zero: npt.NDArray[np.bool_]

    @property
    def sum_depth(self) -> float:
        """Bound on the error of a sum, as a share of the sum of its terms' magnitudes.

        For squares, whose terms are positive, a share of the sum itself.
        """
        chunks = -(-self.matrix.width // lanes.CHUNK)
        depth = lanes.GROUP_DEPTH * lanes.U_SINGLE + (chunks + lanes.FOLDS) * lanes.U_DOUBLE
        return depth * lanes.ROOM

    @property
    def square_loss(self) -> float:
        """Bound on what squares below the range of binary32 add to a sum's error."""
        return (self.matrix.width + lanes.CHUNK) * 2.0**-149

    @cached_property
    def _largest_magnitude(self) -> npt.NDArray[np.int32]:
        return np.maximum(self.high, -1 - self.low)

    @property
    def zero(self) -> npt.NDArray[np.bool_]:
        """Rows whose every entry is ±0."""
        return np.asarray(self._largest_magnitude == 0)

    @property
    def subnormal(self) -> npt.NDArray[np.bool_]:
        """Rows, not zero, without a single normal entry."""
        smallest_normal = 1 << (self.matrix.format.precision - 1)
        magnitude = self._largest_magnitude
        return np.asarray((magnitude > 0) & (magnitude < smallest_normal))

    @cached_property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Rows without an infinity or a NaN."""
        return np.asarray(self._largest_magnitude < _infinity_word(self.matrix.format))

    @property
    def smallest(self) -> Float64s:
        """Each row's smallest entry; exact. NaN where an entry is."""
        return self._entries(self.low)

    @property
    def largest(self) -> Float64s:
        """Each row's largest entry; exact. NaN where an entry is."""
        return self._entries(self.high)

    def _entries(self, ordered: npt.NDArray[np.int32]) -> Float64s:
        format_ = self.matrix.format
        infinity = _infinity_word(format_)
        magnitude = np.where(ordered < 0, -1 - ordered, ordered)
        words = magnitude | np.where(ordered < 0, 1 << (format_.bits - 1), 0)
        entries = decode(words.astype(format_.word_dtype), format_)
        # A NaN of one sign is an extreme; the other extreme is still a number.
        nan = (self.high > infinity) | (-1 - self.low > infinity)
        return np.where(nan, np.nan, entries + 0.0)

    def hashes_without_signed_zeros(self) -> npt.NDArray[np.uint64]:
        """Return hashes that are equal where rows have equal values, −0 being +0."""
        rows = np.flatnonzero(self.has_negative_zero)
        hashes = self.hashes.copy()
        folded = np.empty(len(rows), dtype=np.uint64)
        words, keys = kernels.typed(self.matrix.words, self.matrix.format), _keys(self.matrix)
        for_blocks(
            lambda start, stop: _hash_folded(words, rows, keys, start, stop, folded),
            len(rows),
            self.matrix.width * self.matrix.format.itemsize,
        )
        hashes[rows] = folded
        return hashes


def scan_rows(matrix: Matrix) -> RowScan:
    """Scan every row of a matrix, in one pass; done once for each `Matrix` object.

    The hash is NH (Black, Halevi, Krawczyk, Krovetz and Rogaway, 1999) with fixed keys: the sum
    modulo 2^64 of products of pairs of 32-bit words, each with a key added to it modulo 2^32. It
    only groups rows; who relies on a group compares the bytes.
    """
    known = _SCANS.get(matrix)
    if known is None:
        known = _SCANS[matrix] = _scanned(matrix)
    return known


_SCANS: WeakKeyDictionary[Matrix, RowScan] = WeakKeyDictionary()


def _scanned(matrix: Matrix) -> RowScan:
    n = matrix.n_tokens
    hashes = np.empty(n, dtype=np.uint64)
    sums, squares = np.empty(n), np.empty(n)
    low, high = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    negative_zeros = np.empty(n, dtype=np.bool_)
    words, keys = kernels.typed(matrix.words, matrix.format), _keys(matrix)
    for_blocks(
        lambda start, stop: _scan(
            words, keys, start, stop, hashes, sums, squares, low, high, negative_zeros
        ),
        n,
        matrix.width * matrix.format.itemsize,
    )
    return RowScan(matrix, hashes, sums, squares, low, high, negative_zeros)


def _infinity_word(format_: Format) -> int:
    """Return the word of +∞."""
    return (2 * format_.max_exponent + 1) << (format_.precision - 1)


def _keys(matrix: Matrix) -> npt.NDArray[np.uint32]:
    """Return a key for each 32 bits of a padded row, the same for every run and machine."""
    chunks = -(-matrix.width // lanes.CHUNK)
    n = chunks * lanes.CHUNK * matrix.format.bits // 32
    return (np.random.PCG64(_SEED).random_raw(n) >> np.uint64(32)).astype(np.uint32)
