"""Quantisers of ggml's simple block formats, as the reference ones compute: in binary32.

What `isologit.numerics.gguf_blocks` decodes, 32 values a block. Each operation rounds to binary32:

    ======  ============================  ===========================================
    format  scale                         quant of x
    ======  ============================  ===========================================
    q8_0    d = max|x| / 127              x·(1/d), rounded, halves away from 0
    q4_0    d = m / −8, m the first x     min(15, ⌊x·(1/d) + 8.5⌋)
            of the largest magnitude
    q5_0    d = m / −16                   min(31, ⌊x·(1/d) + 16.5⌋)
    q4_1    d = (max x − min x) / 15      min(15, ⌊(x − min)·(1/d) + 0.5⌋)
    q5_1    d = (max x − min x) / 31      min(31, ⌊(x − min)·(1/d) + 0.5⌋)
    ======  ============================  ===========================================

with 0 for 1/d where d is 0; d, and the minimum, are stored as binary16. The quants are made with
the d that has not been rounded to that. The facts are those of ggml-quants.c
(``quantize_row_*_ref``) and of gguf-py's ``quants.py``, which the tests hold this to, bit for bit.
Where the reference converts a number that is not finite to an integer, which C leaves undefined,
the quant is 0, as on x86. A block of zeros has, as in gguf-py, a scale of −0 under q4_0 and q5_0
where its first is +0 (always in C). Where +0 and −0 are both the minimum it is the first of them,
as in C (gguf-py leaves that to numpy).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isologit.numerics.compilation import kernel
from isologit.numerics.encodings import HALF, Counts, encode_one
from isologit.numerics.gguf_blocks import BLOCK_SHAPES
from isologit.numerics.kernels import widen


class _Scheme(NamedTuple):
    """Whether quants count from the minimum, and their bits."""

    has_minimum: bool
    bits: int


_SCHEMES: Mapping[str, _Scheme] = {
    "q8_0": _Scheme(False, 8),
    "q5_1": _Scheme(True, 5),
    "q5_0": _Scheme(False, 5),
    "q4_1": _Scheme(True, 4),
    "q4_0": _Scheme(False, 4),
}

# Of binary32: all bits but the sign, and the pattern of an infinity.
_MAGNITUDE, _INFINITY = 0x7FFFFFFF, 0x7F800000

#: The formats that can be quantised to.
QUANTISED = tuple(_SCHEMES)


def quantise_blocks(words: npt.NDArray[Any], name: str, out: npt.NDArray[np.uint8]) -> Counts:
    """Fill ``out`` with the blocks of some rows.

    Parameters
    ----------
    words
        ``[n, d]`` as kernels take them; d a multiple of 32.
    name
        One of `QUANTISED`.
    out
        ``[n, row_bytes]``, C-contiguous.

    Returns
    -------
    Counts
        Entries whose decoded value is 0 and that were not, none subnormal, and entries of blocks
        whose scale or minimum is too large for binary16 though all of them are finite.
    """
    blocks = out.reshape(len(out), -1, BLOCK_SHAPES[name].bytes)
    counts = np.zeros(2, dtype=np.int64)
    scheme = _SCHEMES[name]
    if scheme.bits == 8:
        _q8_0(words, HALF, blocks, counts)
    else:
        _legacy(words, HALF, scheme.has_minimum, scheme.bits == 5, blocks, counts)
    return Counts(int(counts[0]), 0, int(counts[1]))


@kernel()
def _q8_0(words, half, blocks, counts):  # type: ignore[no-untyped-def]
    """Fill blocks of d and 32 bytes of quants."""
    x, one = np.empty(32, np.float32), np.empty(1, np.float32)
    patterns, pattern = x.view(np.int32), one.view(np.int32)
    for n in range(words.shape[0]):
        for b in range(blocks.shape[1]):
            _read(words, n, b, x)
            # Patterns without their signs are in the order of magnitudes, a NaN beyond all others.
            largest = np.int32(0)
            for k in range(32):
                largest = max(largest, patterns[k] & np.int32(_MAGNITUDE))
            pattern[0] = largest
            d = one[0] / np.float32(127)
            inverse = np.float32(0) if d == 0 else np.float32(1) / d
            lost = _store_half(d, half, blocks, n, b, 0)
            counts[1] += 32 * (lost and one[0] < np.inf)
            scale = _half_of(blocks, n, b, 0)
            zeroed = np.int32(0)
            for k in range(32):
                product = x[k] * inverse
                size = abs(product)
                floor = np.floor(size)
                rounded = floor + np.floor(np.float32(2) * (size - floor))
                rounded = np.copysign(rounded, product) if size < 128 else np.float32(0)
                blocks[n, b, 2 + k] = np.uint8(np.int32(rounded) & np.int32(255))
                # Where that is 0 the scale is finite, and so is x.
                zeroed += scale * rounded == 0 and x[k] != 0
            counts[0] += zeroed


@kernel()
def _legacy(words, half, has_minimum, has_fifth_bit, blocks, counts):  # type: ignore[no-untyped-def]
    """Fill blocks of d, perhaps m, perhaps 32 fifth bits, and 32 quants of four bits."""
    x, one = np.empty(32, np.float32), np.empty(1, np.float32)
    patterns, pattern = x.view(np.int32), one.view(np.int32)
    quants = np.empty(32, np.uint8)
    fifth = 4 if has_minimum else 2
    low = fifth + 4 if has_fifth_bit else fifth
    most = 31 if has_fifth_bit else 15
    # Where the smallest quant stands for −d·shift.
    shift = 0 if has_minimum else (most + 1) // 2
    addend = np.float32(0.5) + np.float32(shift)
    for n in range(words.shape[0]):
        for b in range(blocks.shape[1]):
            _read(words, n, b, x)
            minimum = np.float32(0)
            if has_minimum:
                smallest, largest = _extremes(x, patterns, one, pattern)
                d = (largest - smallest) / np.float32(most)
                lost = _store_half(d, half, blocks, n, b, 0)
                lost |= _store_half(smallest, half, blocks, n, b, 2)
                finite = abs(smallest) < np.inf and abs(largest) < np.inf
                minimum = _half_of(blocks, n, b, 2)
            else:
                extreme = _first_of_largest_magnitude(x, patterns)
                d = extreme / np.float32(-shift)
                lost = _store_half(d, half, blocks, n, b, 0)
                finite = abs(extreme) < np.inf
                smallest = np.float32(0)
            counts[1] += 32 * (lost and finite)
            inverse = np.float32(0) if d == 0 else np.float32(1) / d
            scale = _half_of(blocks, n, b, 0)
            zeroed = np.int32(0)
            for k in range(32):
                # Less +0, a −0 stays what it is.
                shifted = (x[k] - smallest) * inverse + addend
                quant = np.int32(shifted if abs(shifted) < 128 else np.float32(0))
                quant = min(quant, np.int32(most))
                quants[k] = np.uint8(quant)
                value = scale * np.float32(quant - np.int32(shift)) + minimum
                # Where that is 0 the scale is finite, and so is x.
                zeroed += value == 0 and x[k] != 0
            counts[0] += zeroed
            for k in range(16):
                blocks[n, b, low + k] = (quants[k] & 15) | ((quants[16 + k] & 15) << 4)
            if has_fifth_bit:
                for j in range(4):
                    byte = np.uint8(0)
                    for k in range(8):
                        byte |= np.uint8((quants[8 * j + k] >> 4) << k)
                    blocks[n, b, fifth + j] = byte


@kernel()
def _read(words, n, b, x):  # type: ignore[no-untyped-def]
    """Fill x with the numbers of a block, as binary32."""
    for k in range(32):
        x[k] = np.float32(widen(words[n, 32 * b + k]))


@kernel()
def _first_of_largest_magnitude(x, patterns):  # type: ignore[no-untyped-def]
    """Return the first number of the largest magnitude; a NaN is larger than any other."""
    largest = np.int32(0)
    for k in range(32):
        largest = max(largest, patterns[k] & np.int32(_MAGNITUDE))
    for k in range(32):
        if patterns[k] & np.int32(_MAGNITUDE) == largest:
            return x[k]
    return x[0]


@kernel()
def _extremes(x, patterns, one, pattern):  # type: ignore[no-untyped-def]
    """Return the smallest and the largest number, of zeros the first; two NaNs if there is one."""
    low, high, size = np.int32(_MAGNITUDE), np.int32(-_MAGNITUDE - 1), np.int32(0)
    for k in range(32):
        # With the magnitudes of negative ones turned round, patterns are in the order of numbers.
        key = patterns[k] ^ ((patterns[k] >> np.int32(31)) & np.int32(_MAGNITUDE))
        low, high = min(low, key), max(high, key)
        size = max(size, patterns[k] & np.int32(_MAGNITUDE))
    if size > np.int32(_INFINITY):
        return np.float32(np.nan), np.float32(np.nan)
    pattern[0] = high ^ ((high >> np.int32(31)) & np.int32(_MAGNITUDE))
    largest = one[0]
    pattern[0] = low ^ ((low >> np.int32(31)) & np.int32(_MAGNITUDE))
    smallest = one[0]
    if smallest == 0:
        for k in range(32):
            if x[k] == 0:
                return x[k], largest
    return smallest, largest


@kernel()
def _store_half(value, half, blocks, n, b, start):  # type: ignore[no-untyped-def]
    """Write a number as binary16 from a byte of a block on; return whether it is infinite there."""
    word = encode_one(np.float64(value), half)
    blocks[n, b, start] = np.uint8(word & np.uint64(255))
    blocks[n, b, start + 1] = np.uint8(word >> np.uint64(8))
    return (word & np.uint64(0x7FFF)) == np.uint64(half.infinity)


@kernel()
def _half_of(blocks, n, b, start):  # type: ignore[no-untyped-def]
    """Return the binary16 number from a byte of a block on, as binary32."""
    word = np.uint16(blocks[n, b, start]) | (np.uint16(blocks[n, b, start + 1]) << np.uint16(8))
    return np.float32(widen(np.int16(word)))
