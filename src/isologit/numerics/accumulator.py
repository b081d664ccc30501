"""The long accumulator: sums of products held whole, in integers (Kulisch, 1986), and rounded once.

A number is 32-bit digits in 64-bit limbs, so that many values are added before a carry is due.
"""

import numpy as np

from isologit.numerics.compilation import kernel
from isologit.numerics.kernels import bits_of, widen

# Products of two f32 lie between 2^-298 and 2^256, and a binary64 significand reaches 52 bits below
# its exponent.
LIMBS = 22
LOWEST_EXPONENT = -352


@kernel()
def _add_exactly(limbs, value):  # type: ignore[no-untyped-def]
    """Add a binary64 value of magnitude 0 or 2^-298 to 2^256 to the long accumulator, exactly."""
    pattern = bits_of(value)
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


@kernel()
def _carry(limbs):  # type: ignore[no-untyped-def]
    """Carry every digit into [0, 2^32) and return what leaves the top: −1 for a negative number."""
    carry = np.int64(0)
    for n in range(LIMBS):
        digit = limbs[n] + carry
        carry = digit >> 32
        limbs[n] = digit & 0xFFFFFFFF
    return carry


@kernel()
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


@kernel()
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


@kernel()
def exact_dot_limbs(words, row, h, limbs):  # type: ignore[no-untyped-def]
    """Add ``words[row] · h`` to the long accumulator and settle it; returns its sign bit."""
    for k in range(words.shape[1]):
        _add_exactly(limbs, widen(words[row, k]) * h[k])
    return _settle(limbs)


@kernel()
def exact_dots(words, rows, h, precision, quantum_exponent, largest, out):  # type: ignore[no-untyped-def]
    """Fill ``out[n]`` with ``words[rows[n]] · h``, computed exactly and rounded once."""
    limbs = np.zeros(LIMBS, dtype=np.int64)
    for n in range(rows.shape[0]):
        limbs[:] = 0
        negative = exact_dot_limbs(words, rows[n], h, limbs)
        out[n] = _round_limbs(limbs, negative, precision, quantum_exponent, largest)


@kernel()
def exact_dots_limbs(words, rows, h, limbs, negative):  # type: ignore[no-untyped-def]
    """Fill ``limbs[n]``, zeros before, with ``words[rows[n]] · h`` settled, and its sign bit."""
    for n in range(rows.shape[0]):
        negative[n] = exact_dot_limbs(words, rows[n], h, limbs[n])


@kernel()
def add_columns(words, rows, columns, limbs):  # type: ignore[no-untyped-def]
    """Add some rows' entries in some columns to a long accumulator a column."""
    for row in rows:
        for n in range(columns.shape[0]):
            _add_exactly(limbs[n], widen(words[row, columns[n]]))


@kernel()
def settle_columns(limbs, negative):  # type: ignore[no-untyped-def]
    """Settle a long accumulator a column, and say which sums are negative."""
    for n in range(limbs.shape[0]):
        negative[n] = _settle(limbs[n])


@kernel()
def exact_sum_limbs(values, limbs):  # type: ignore[no-untyped-def]
    """Add binary64 values (0, or of magnitude 2^-298 to 2^256) exactly; returns the sign bit."""
    for value in values:
        _add_exactly(limbs, value)
    return _settle(limbs)
