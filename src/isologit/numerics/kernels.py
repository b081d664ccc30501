"""The loops over stored words, compiled by numba; nothing here allocates a copy of a matrix.

A word's format is its integer type: uint16 is bf16, int16 (the same bits, another view) is f16,
uint32 is f32. `typed` makes that view. Numba compiles each kernel for the types it meets and
caches the machine code.

Of ``fastmath`` only reassociation and contraction are allowed, and only in kernels whose callers
carry a bound that holds for any order of summation; products of two stored numbers have at most
48 significant bits, so a fused multiply-add rounds exactly as often as an addition.
"""

import atexit
import shutil
import tempfile
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from isologit.numerics.formats import F16, Format

_REASSOCIATE = {"reassoc", "contract"}


def _make_cacheable() -> None:
    """See that numba has somewhere to cache machine code, if only for this process.

    It looks beside the source and in the user's cache directory; where neither can be written to,
    as in a container with a read-only installation and no home, it would refuse to compile.
    """
    try:
        numba.njit(cache=True)(_make_cacheable)
    except RuntimeError:
        directory = tempfile.mkdtemp(prefix="isologit-kernels-")
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        numba.config.CACHE_DIR = directory


_make_cacheable()

# The long accumulator: 32-bit digits in 64-bit limbs. Products of two f32 lie between 2^-298 and
# 2^256, and a binary64 significand reaches 52 bits below its exponent.
LIMBS = 22
LOWEST_EXPONENT = -352


def typed(words: npt.NDArray[np.unsignedinteger], format_: Format) -> npt.NDArray[Any]:
    """Return the view of stored words whose integer type names their format."""
    return words.view(np.int16) if format_ is F16 else words


@intrinsic
def widen(_typing_context: Any, word: Any) -> Any:  # pragma: no cover - compiled
    """Return a stored word's value as binary64, exactly."""
    if word not in (types.uint16, types.int16, types.uint32):
        return None

    def codegen(_context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (value,) = args
        if signature.args[0] == types.int16:
            single = builder.fpext(builder.bitcast(value, ir.HalfType()), ir.FloatType())
        else:
            if signature.args[0] == types.uint16:
                wide = builder.zext(value, ir.IntType(32))
                value = builder.shl(wide, ir.Constant(ir.IntType(32), 16))
            single = builder.bitcast(value, ir.FloatType())
        return builder.fpext(single, ir.DoubleType())

    return types.float64(word), codegen


@intrinsic
def _bits_of(_typing_context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """Return the bit pattern of a binary64 value."""
    if value != types.float64:
        return None

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.uint64(value), codegen


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def dot_rows(words, h, start, stop, sums, magnitudes):  # type: ignore[no-untyped-def]
    """Fill sums and sums of magnitudes of ``words[start:stop] * h``, in any order of addition."""
    for i in range(start, stop):
        total = 0.0
        magnitude = 0.0
        for k in range(words.shape[1]):
            product = widen(words[i, k]) * h[k]
            total += product
            magnitude += abs(product)
        sums[i] = total
        magnitudes[i] = magnitude


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def square_rows(words, start, stop, squares):  # type: ignore[no-untyped-def]
    """Fill the sums of squares of ``words[start:stop]``, in any order of addition."""
    for i in range(start, stop):
        total = 0.0
        for k in range(words.shape[1]):
            value = widen(words[i, k])
            total += value * value
        squares[i] = total


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def sum_columns(words, rows, sums, magnitudes):  # type: ignore[no-untyped-def]
    """Add the given rows into column sums and column sums of magnitudes."""
    for row in rows:
        for k in range(words.shape[1]):
            value = widen(words[row, k])
            sums[k] += value
            magnitudes[k] += abs(value)


@numba.njit(nogil=True, cache=True)
def hash_rows(words, multipliers, start, stop, hashes, largest, negative_zeros):  # type: ignore[no-untyped-def]
    """Hash rows by their bits, and find what kinds of numbers they hold, in one pass.

    ``hashes`` gets the multilinear hash modulo 2^64 (Lemire and Kaser, 2014) of each row's words,
    ``largest`` the largest word without its sign (0: a zero row; below the smallest normal: a
    subnormal row; infinity or above: a non-finite row), ``negative_zeros`` how many words are −0.
    """
    one = np.uint64(1)
    width = np.uint64(words.itemsize * 8)
    sign = one << (width - one)
    everything = sign | (sign - one)
    for i in range(start, stop):
        total = np.uint64(0)
        top = np.uint64(0)
        zeros = np.uint64(0)
        for k in range(words.shape[1]):
            word = np.uint64(words[i, k]) & everything
            total += multipliers[k] * word
            top = max(top, word & ~sign)
            zeros += np.uint64(word == sign)
        hashes[i] = total
        largest[i] = top
        negative_zeros[i] = zeros


@numba.njit(nogil=True, cache=True)
def rows_equal(words, left, right, fold_zeros, equal):  # type: ignore[no-untyped-def]
    """Say for each pair of rows whether all words are equal; with ``fold_zeros`` −0 equals +0."""
    one = np.uint64(1)
    sign = one << (np.uint64(words.itemsize * 8) - one)
    for n in range(left.shape[0]):
        same = True
        for k in range(words.shape[1]):
            a = words[left[n], k]
            b = words[right[n], k]
            if a != b and not (fold_zeros and (np.uint64(a | b) & (sign - one)) == np.uint64(0)):
                same = False
                break
        equal[n] = same


@numba.njit(nogil=True, cache=True)
def _add_exactly(limbs, value):  # type: ignore[no-untyped-def]
    """Add a binary64 value of magnitude 0 or 2^-298 to 2^256 to the long accumulator, exactly."""
    pattern = _bits_of(value)
    exponent = np.int64((pattern >> np.uint64(52)) & np.uint64(0x7FF))
    if exponent == 0:
        return
    significand = (pattern & np.uint64(0xFFFFFFFFFFFFF)) | np.uint64(0x10000000000000)
    position = exponent - 1075 - LOWEST_EXPONENT
    index = position >> 5
    shift = np.uint64(position & 31)
    digit = np.uint64(0xFFFFFFFF)
    low = (significand & digit) << shift
    high = (significand >> np.uint64(32)) << shift
    first = np.int64(low & digit)
    second = np.int64(low >> np.uint64(32)) + np.int64(high & digit)
    third = np.int64(high >> np.uint64(32))
    if pattern >> np.uint64(63):
        limbs[index] -= first
        limbs[index + 1] -= second
        limbs[index + 2] -= third
    else:
        limbs[index] += first
        limbs[index + 1] += second
        limbs[index + 2] += third


@numba.njit(nogil=True, cache=True)
def _carry(limbs):  # type: ignore[no-untyped-def]
    """Carry every digit into [0, 2^32) and return what leaves the top: −1 for a negative number."""
    carry = np.int64(0)
    for n in range(LIMBS):
        digit = limbs[n] + carry
        carry = digit >> 32
        limbs[n] = digit & 0xFFFFFFFF
    return carry


@numba.njit(nogil=True, cache=True)
def _settle(limbs):  # type: ignore[no-untyped-def]
    """Carry all digits into [0, 2^32) and return whether the number was negative (now negated)."""
    if _carry(limbs) >= 0:
        return False
    # Two's complement of the whole number: its magnitude, with one more pass of carries.
    for n in range(LIMBS):
        limbs[n] = 0xFFFFFFFF - limbs[n]
    limbs[0] += 1
    _carry(limbs)
    return True


@numba.njit(nogil=True, cache=True)
def _round_limbs(limbs, negative, precision, quantum_exponent, largest):  # type: ignore[no-untyped-def]
    """Round a settled accumulator to a format, once, to nearest with ties to even."""
    top = -1
    for n in range(LIMBS - 1, -1, -1):
        if limbs[n] != 0:
            digit = limbs[n]
            top = 32 * n - 1
            while digit:
                digit >>= 1
                top += 1
            break
    if top < 0:
        return 0.0
    # `cut` is the position of the last bit that is kept.
    cut = max(top - precision + 1, quantum_exponent - LOWEST_EXPONENT)
    kept = np.int64(0)
    for position in range(top, cut - 1, -1):
        kept = (kept << 1) | ((limbs[position >> 5] >> (position & 31)) & 1)
    half = cut - 1 <= top and (limbs[(cut - 1) >> 5] >> ((cut - 1) & 31)) & 1
    if half:
        rest = limbs[(cut - 1) >> 5] & ((np.int64(1) << ((cut - 1) & 31)) - 1)
        for n in range((cut - 1) >> 5):
            rest |= limbs[n]
        if rest != 0 or kept & 1:
            kept += 1
    value = np.ldexp(np.float64(kept), cut + LOWEST_EXPONENT)
    if value > largest:
        value = np.inf
    return -value if negative else value


@numba.njit(nogil=True, cache=True)
def exact_dot_limbs(words, row, h, limbs):  # type: ignore[no-untyped-def]
    """Add ``words[row] · h`` to the long accumulator and settle it; returns its sign bit."""
    for k in range(words.shape[1]):
        _add_exactly(limbs, widen(words[row, k]) * h[k])
    return _settle(limbs)


@numba.njit(nogil=True, cache=True)
def exact_dots(words, rows, h, precision, quantum_exponent, largest, start, stop, out):  # type: ignore[no-untyped-def]
    """Fill ``out[n]`` with ``words[rows[n]] · h``, computed exactly and rounded once."""
    limbs = np.zeros(LIMBS, dtype=np.int64)
    for n in range(start, stop):
        limbs[:] = 0
        negative = exact_dot_limbs(words, rows[n], h, limbs)
        out[n] = _round_limbs(limbs, negative, precision, quantum_exponent, largest)


@numba.njit(nogil=True, cache=True)
def exact_column_limbs(words, rows, columns, limbs, negative):  # type: ignore[no-untyped-def]
    """Add some rows' entries in some columns to a long accumulator a column, and settle them."""
    for row in rows:
        for n in range(columns.shape[0]):
            _add_exactly(limbs[n], widen(words[row, columns[n]]))
    for n in range(columns.shape[0]):
        negative[n] = _settle(limbs[n])


@numba.njit(nogil=True, cache=True)
def exact_sum_limbs(values, limbs):  # type: ignore[no-untyped-def]
    """Add binary64 values (0, or of magnitude 2^-298 to 2^256) exactly; returns the sign bit."""
    for value in values:
        _add_exactly(limbs, value)
    return _settle(limbs)
