"""One pass over W that finds everything its rows say by themselves.

A hash of each row's bytes, its sum and its sum of squares, its smallest and its largest entry, and
from these what kinds of numbers it holds. `isologit.numerics.lanes` has the order of addition.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from isologit.numerics import kernels, lanes
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s, Format
from isologit.numerics.ieee_mode import require_ieee_mode
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
            first_key = builder.udiv(builder.mul(offset, lanes.constant(bits)), lanes.constant(32))
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


@kernel()
def _scan(words, first, keys, infinity, hashes, figures, has_negative_zero):  # type: ignore[no-untyped-def]
    """Fill the figures of rows, from number `first` on.

    Sum, sum of squares, smallest and largest entry, ``[4, V]``.
    """
    for n in range(words.shape[0]):
        row = first + n
        hashes[row], figures[0, row], figures[1, row], low, high, has_negative_zero[row] = (
            _scan_row(words, n, keys)
        )
        if high > infinity or ~low > infinity:
            # A NaN of one sign is an extreme; the other extreme is still a number.
            figures[2, row] = figures[3, row] = np.nan
        else:
            figures[2, row] = _entry(words, low)
            figures[3, row] = _entry(words, high)


@kernel()
def _entry(words, ordered):  # type: ignore[no-untyped-def]
    """Return the number at a place in the order of numbers; +0 for either zero."""
    if ordered >= 0:
        return kernels.widen(words.dtype.type(ordered))
    return 0.0 - kernels.widen(words.dtype.type(~ordered))


@kernel()
def _hash_folded(words, rows, keys, hashes):  # type: ignore[no-untyped-def]
    """Hash some rows as if each −0 were +0."""
    sign = words.dtype.type(1 << (words.itemsize * 8 - 1))
    folded = np.empty((1, words.shape[1]), words.dtype)
    for n in range(rows.shape[0]):
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
        The matrix.
    hashes
        uint64, equal where rows are the same words of the format.
    sums, squares
        Each row's sum and sum of squares, in binary64; where they overflow binary32 on the way,
        and for rows with an infinity or a NaN, not finite.
    smallest, largest
        Each row's extreme entries, exact and never −0; NaN where an entry is.
    has_negative_zero
        bool.
    """

    # A copy of the object that was scanned, with which a scan is kept for as long as that lives.
    matrix: Matrix
    hashes: npt.NDArray[np.uint64]
    sums: Float64s
    squares: Float64s
    smallest: Float64s
    largest: Float64s
    has_negative_zero: npt.NDArray[np.bool_]

    @property
    def sum_depth(self) -> float:
        """Bound on the error of a sum, as a share of the sum of its terms' magnitudes.

        For squares, whose terms are positive, a share of the sum itself.
        """
        chunks = -(-self.matrix.width // lanes.CHUNK)
        depth = lanes.GROUP_DEPTH * lanes.U_SINGLE + (chunks + lanes.FOLDS) * lanes.U_DOUBLE
        return float(depth * lanes.ROOM)

    @property
    def square_loss(self) -> float:
        """Bound on what squares below the range of binary32 add to a sum's error."""
        return float((self.matrix.width + lanes.CHUNK) * 2.0**-149)

    @cached_property
    def _magnitude(self) -> Float64s:
        return np.maximum(self.largest, -self.smallest)

    @property
    def zero(self) -> npt.NDArray[np.bool_]:
        """Rows whose every entry is ±0."""
        return np.asarray(self._magnitude == 0)

    @property
    def subnormal(self) -> npt.NDArray[np.bool_]:
        """Rows, not zero, without a single normal entry."""
        smallest_normal = 2.0**self.matrix.format.min_exponent
        return np.asarray((self._magnitude > 0) & (self._magnitude < smallest_normal))

    @cached_property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Rows without an infinity or a NaN."""
        return np.asarray(self._magnitude < np.inf)

    def hashes_without_signed_zeros(self) -> npt.NDArray[np.uint64]:
        """Return hashes that are equal where rows have equal values, −0 being +0."""
        rows = np.flatnonzero(self.has_negative_zero)
        hashes = self.hashes.copy()
        folded = np.empty(len(rows), dtype=np.uint64)
        keys = _keys(self.matrix)

        def fill(start: int, stop: int) -> None:
            words, places = kernels.typed_rows(self.matrix, rows[start:stop])
            _hash_folded(words, places, keys, folded[start:stop])

        for_blocks(fill, len(rows), self.matrix.row_bytes)
        hashes[rows] = folded
        return hashes


def scan_rows(matrix: Matrix) -> RowScan:
    """Scan every row of a matrix, in one pass; done once for each `Matrix` object.

    The hash is NH (Black, Halevi, Krawczyk, Krovetz and Rogaway, 1999) with fixed keys: the sum
    modulo 2^64 of products of pairs of 32-bit words, each with a key added to it modulo 2^32. It
    only groups rows; who relies on a group compares the bytes.

    Raises
    ------
    FloatingPointModeError
    """
    known = _SCANS.get(matrix)
    if known is None:
        # A scan is kept, so the mode of whoever asks for it first would stay in its figures.
        require_ieee_mode()
        known = _SCANS[matrix] = _scanned(matrix)
    return known


_SCANS: WeakKeyDictionary[Matrix, RowScan] = WeakKeyDictionary()


def _scanned(matrix: Matrix) -> RowScan:
    n = matrix.n_tokens
    hashes, figures = np.empty(n, dtype=np.uint64), np.empty((4, n))
    has_negative_zero = np.empty(n, dtype=np.bool_)
    keys, infinity = _keys(matrix), _infinity_word(matrix.format)

    def fill(start: int, stop: int) -> None:
        words = kernels.typed_block(matrix, start, stop)
        _scan(words, start, keys, infinity, hashes, figures, has_negative_zero)

    for_blocks(fill, n, matrix.row_bytes)
    sums, squares, smallest, largest = figures
    return RowScan(replace(matrix), hashes, sums, squares, smallest, largest, has_negative_zero)


def _infinity_word(format_: Format) -> int:
    """Return the word of +∞."""
    return (2 * format_.max_exponent + 1) << (format_.precision - 1)


def _keys(matrix: Matrix) -> npt.NDArray[np.uint32]:
    """Return a key for each 32 bits of a padded row, the same for every run and machine."""
    chunks = -(-matrix.width // lanes.CHUNK)
    n = chunks * lanes.CHUNK * matrix.format.itemsize // 4
    keys: npt.NDArray[np.uint32] = (np.random.PCG64(_SEED).random_raw(n) >> np.uint64(32)).astype(
        np.uint32
    )
    return keys
