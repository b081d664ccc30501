"""Decoding of ggml's block formats into binary32, one kernel for each family of layouts.

In all of them a value is ``scale · quant − minimum``: a block holds small integers (the quants),
and for each group of them a scale and perhaps a minimum, made of a binary16 number and in the K
formats a small integer beside it. How many significant bits that takes at most:

    ======  =============  =====  =============  =============
    format  scale          quant  scale · quant  minimum
    ======  =============  =====  =============  =============
    q8_0    d          11  7      18             none
    q4_0    d          11  3      14             none
    q5_0    d          11  4      15             none
    q4_1    d          11  4      15             −m         11
    q5_1    d          11  5      16             −m         11
    q2_k    d · 4 bits 15  2      17             dmin · 4   15
    q3_k    d · 5 bits 16  2      18             none
    q4_k    d · 6 bits 17  4      21             dmin · 6   17
    q5_k    d · 6 bits 17  5      22             dmin · 6   17
    q6_k    d · 7 bits 18  5      23             none
    ======  =============  =====  =============  =============

(A signed integer of k + 1 bits is −2ᵏ, which has one significant bit, or has k at most.) All these
numbers are multiples of 2⁻²⁴, the last place of binary16, and below 2²⁹: binary32 holds every
scale, minimum and product exactly. The one rounding is the subtraction's. So a decoded value is the
real number rounded once, to nearest-even, and without a minimum it is the real number; every
correct implementation computes the same, whatever it fuses. A zero has the sign that IEEE 754 gives
it. Where a scale or a minimum is not finite neither are its values, and every NaN is decoded as the
one quiet NaN, as `formats.encode` writes it.

The layouts are facts from ggml-quants.c (``dequantize_row_*``) and from gguf-py, which mirrors it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isologit.errors import UnsupportedFormatError
from isologit.numerics.codings import require_arrays
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import F32, Format
from isologit.numerics.kernels import widen
from isologit.numerics.stored import StoredWords


@kernel()
def _half(blocks, b, start):  # type: ignore[no-untyped-def]
    """Return the binary16 number that begins at a byte of a block, as binary32."""
    word = np.uint16(blocks[b, start]) | (np.uint16(blocks[b, start + 1]) << np.uint16(8))
    return np.float32(widen(np.int16(word)))


@kernel()
def _scaled(quants, scales, minima, values):  # type: ignore[no-untyped-def]
    """Fill a row's values, ``[groups, size]``, of which there are 32 or 16 in a group."""
    for g in range(len(scales)):
        scale, minimum = scales[g], minima[g]
        # Loops of a constant length are made into a few vector instructions.
        if quants.shape[1] == 32:
            for k in range(32):
                values[g, k] = scale * np.float32(quants[g, k]) - minimum
        else:
            for k in range(16):
                values[g, k] = scale * np.float32(quants[g, k]) - minimum
        if not (np.isfinite(scale) and np.isfinite(minimum)):
            for k in range(quants.shape[1]):
                if np.isnan(values[g, k]):
                    values[g, k] = np.nan


@kernel()
def _q8_0(stored, rows, values):  # type: ignore[no-untyped-def]
    """Decode blocks of d and 32 bytes of quants."""
    quants = np.empty(values.shape[1:], np.int8)
    scales, minima = np.empty(len(quants), np.float32), np.zeros(len(quants), np.float32)
    for n in range(len(rows)):
        blocks = stored[rows[n]]
        for b in range(len(blocks)):
            scales[b] = _half(blocks, b, 0)
            for k in range(32):
                quants[b, k] = np.int8(blocks[b, 2 + k])
        _scaled(quants, scales, minima, values[n])


@kernel()
def _legacy(stored, rows, values, has_minimum, has_fifth_bit):  # type: ignore[no-untyped-def]
    """Decode blocks of d, perhaps m, perhaps 32 fifth bits, and 32 quants of four bits.

    Quants without a minimum are shifted, so that half of them are negative.
    """
    quants = np.empty(values.shape[1:], np.int8)
    scales, minima = np.empty(len(quants), np.float32), np.zeros(len(quants), np.float32)
    fifth = 4 if has_minimum else 2
    low = fifth + 4 if has_fifth_bit else fifth
    shift = 0 if has_minimum else 16 if has_fifth_bit else 8
    for n in range(len(rows)):
        blocks = stored[rows[n]]
        for b in range(len(blocks)):
            scales[b] = _half(blocks, b, 0)
            if has_minimum:
                minima[b] = -_half(blocks, b, 2)
            for k in range(16):
                byte = blocks[b, low + k]
                quants[b, k] = np.int8((byte & 15) - shift)
                quants[b, 16 + k] = np.int8((byte >> 4) - shift)
            if has_fifth_bit:
                for k in range(32):
                    bit = (blocks[b, fifth + k // 8] >> (k % 8)) & 1
                    quants[b, k] += np.int8(bit << 4)
        _scaled(quants, scales, minima, values[n])


@kernel()
def _six_bits(blocks, b, start, j):  # type: ignore[no-untyped-def]
    """Return the j-th scale and minimum of the eight that twelve bytes hold, six bits each.

    The first four of each have a byte of their own; its two high bits, and half of a byte further
    on, make up one of the others.
    """
    if j < 4:
        return blocks[b, start + j] & 63, blocks[b, start + 4 + j] & 63
    last = blocks[b, start + 4 + j]
    scale = (last & 15) | ((blocks[b, start + j - 4] >> 6) << 4)
    return scale, (last >> 4) | ((blocks[b, start + j] >> 6) << 4)


@kernel()
def _q4_k(stored, rows, values, has_fifth_bit):  # type: ignore[no-untyped-def]
    """Decode blocks of d, dmin, 12 bytes of scales and minima, perhaps 256 fifth bits, quants."""
    quants = np.empty(values.shape[1:], np.int8)
    scales, minima = np.empty(len(quants), np.float32), np.empty(len(quants), np.float32)
    low = 48 if has_fifth_bit else 16
    for n in range(len(rows)):
        blocks = stored[rows[n]]
        for b in range(len(blocks)):
            d, dmin = _half(blocks, b, 0), _half(blocks, b, 2)
            for j in range(8):
                scale, minimum = _six_bits(blocks, b, 4, j)
                scales[8 * b + j] = d * np.float32(scale)
                minima[8 * b + j] = dmin * np.float32(minimum)
            for c in range(4):
                for k in range(32):
                    byte = blocks[b, low + 32 * c + k]
                    quants[8 * b + 2 * c, k] = np.int8(byte & 15)
                    quants[8 * b + 2 * c + 1, k] = np.int8(byte >> 4)
            if has_fifth_bit:
                for j in range(8):
                    for k in range(32):
                        bit = (blocks[b, 16 + k] >> j) & 1
                        quants[8 * b + j, k] |= np.int8(bit << 4)
        _scaled(quants, scales, minima, values[n])


@kernel()
def _q2_k(stored, rows, values):  # type: ignore[no-untyped-def]
    """Decode blocks of 16 bytes of scales and minima, 64 of quants of two bits, d, dmin."""
    quants = np.empty(values.shape[1:], np.int8)
    scales, minima = np.empty(len(quants), np.float32), np.empty(len(quants), np.float32)
    for n in range(len(rows)):
        blocks = stored[rows[n]]
        for b in range(len(blocks)):
            d, dmin = _half(blocks, b, 80), _half(blocks, b, 82)
            for g in range(16):
                scales[16 * b + g] = d * np.float32(blocks[b, g] & 15)
                minima[16 * b + g] = dmin * np.float32(blocks[b, g] >> 4)
                # Bytes of quants serve four groups of 32, two bits each.
                start, shift = 16 + 32 * (g // 8) + 16 * (g % 2), 2 * (g // 2 % 4)
                for k in range(16):
                    quants[16 * b + g, k] = np.int8((blocks[b, start + k] >> shift) & 3)
        _scaled(quants, scales, minima, values[n])


@kernel()
def _q3_k(stored, rows, values):  # type: ignore[no-untyped-def]
    """Decode blocks of 256 third bits, 64 bytes of quants of two bits, 12 of scales, d.

    A third bit that is not set takes four from the quant. A scale of six bits, less 32, is half of
    one of the first eight bytes of scales, and two bits of one of the other four.
    """
    quants = np.empty(values.shape[1:], np.int8)
    scales, minima = np.empty(len(quants), np.float32), np.zeros(len(quants), np.float32)
    for n in range(len(rows)):
        blocks = stored[rows[n]]
        for b in range(len(blocks)):
            d = _half(blocks, b, 108)
            for g in range(16):
                low = (blocks[b, 96 + g % 8] >> (4 * (g // 8))) & 15
                high = (blocks[b, 104 + g % 4] >> (2 * (g // 4))) & 3
                scales[16 * b + g] = d * np.float32((low | (high << 4)) - 32)
                half = 16 * (g % 2)
                start, shift = 32 + 32 * (g // 8) + half, 2 * (g // 2 % 4)
                for k in range(16):
                    two = (blocks[b, start + k] >> shift) & 3
                    third = (blocks[b, half + k] >> (g // 2)) & 1
                    quants[16 * b + g, k] = np.int8((two | (third << 2)) - 4)
        _scaled(quants, scales, minima, values[n])


@kernel()
def _q6_k(stored, rows, values):  # type: ignore[no-untyped-def]
    """Decode blocks of 128 bytes of low halves of quants, 64 of two high bits, 16 of scales, d."""
    quants = np.empty(values.shape[1:], np.int8)
    scales, minima = np.empty(len(quants), np.float32), np.zeros(len(quants), np.float32)
    for n in range(len(rows)):
        blocks = stored[rows[n]]
        for b in range(len(blocks)):
            d = _half(blocks, b, 208)
            for g in range(16):
                scales[16 * b + g] = d * np.float32(np.int8(blocks[b, 192 + g]))
                # The low halves of 64 quants share 64 bytes with those of the next 64; the high
                # bits of 32 share 32 bytes with those of the next three times 32.
                low, low_shift = 64 * (g // 8) + 16 * (g % 4), 4 * (g // 4 % 2)
                high, high_shift = 128 + 32 * (g // 8) + 16 * (g % 2), 2 * (g // 2 % 4)
                for k in range(16):
                    four = (blocks[b, low + k] >> low_shift) & 15
                    two = (blocks[b, high + k] >> high_shift) & 3
                    quants[16 * b + g, k] = np.int8((four | (two << 4)) - 32)
        _scaled(quants, scales, minima, values[n])


class BlockShape(NamedTuple):
    """How many values a block holds, and in how many bytes."""

    values: int
    bytes: int


class _Layout(NamedTuple):
    """What a block holds, and what reads it: bits a quant, bytes of all else, values a group."""

    values: int
    bits: int
    other_bytes: int
    group: int
    decode: Callable[..., None]
    options: tuple[bool, ...] = ()

    @property
    def shape(self) -> BlockShape:
        """The values and the bytes of a block."""
        return BlockShape(self.values, self.values * self.bits // 8 + self.other_bytes)


_LAYOUTS = {
    "q8_0": _Layout(32, 8, 2, 32, _q8_0),
    "q4_0": _Layout(32, 4, 2, 32, _legacy, (False, False)),
    "q4_1": _Layout(32, 4, 4, 32, _legacy, (True, False)),
    "q5_0": _Layout(32, 5, 2, 32, _legacy, (False, True)),
    "q5_1": _Layout(32, 5, 4, 32, _legacy, (True, True)),
    "q2_k": _Layout(256, 2, 16 + 4, 16, _q2_k),
    "q3_k": _Layout(256, 3, 12 + 2, 16, _q3_k),
    "q4_k": _Layout(256, 4, 12 + 4, 32, _q4_k, (False,)),
    "q5_k": _Layout(256, 5, 12 + 4, 32, _q4_k, (True,)),
    "q6_k": _Layout(256, 6, 16 + 2, 16, _q6_k),
}

BLOCK_SHAPES: Mapping[str, BlockShape] = {name: each.shape for name, each in _LAYOUTS.items()}


@dataclass(frozen=True)
class GgufBlocks:
    """A `Coding` of rows that consist of ggml's blocks, decoded into binary32.

    Exact, or with a minimum (q4_1, q5_1, q2_k, q4_k, q5_k) the real number rounded once to
    nearest-even; see the module. Every NaN is decoded as the one quiet NaN.

    Parameters
    ----------
    name
        The block format's name in lower case, one of `BLOCK_SHAPES`.
    width
        d, a multiple of a block's values.

    Raises
    ------
    UnsupportedFormatError
        The format is none of those.
    ValueError
        The rows are not whole blocks.
    """

    name: str
    width: int

    def __post_init__(self) -> None:
        if self.name not in BLOCK_SHAPES:
            raise UnsupportedFormatError(
                f"block format {self.name!r} is not decoded here; expected one of "
                f"{', '.join(BLOCK_SHAPES)}"
            )
        n = BLOCK_SHAPES[self.name].values
        if self.width < 0 or self.width % n:
            raise ValueError(f"rows of {self.name} are blocks of {n} values, got {self.width}")

    @property
    def format(self) -> Format:
        """binary32."""
        return F32

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as stored."""
        shape = BLOCK_SHAPES[self.name]
        return self.width // shape.values * shape.bytes

    @property
    def row_keys(self) -> None:
        """None: a block's scales are among its bytes."""
        return None

    def decode(
        self, stored: StoredWords, rows: npt.NDArray[np.int64], out: npt.NDArray[Any]
    ) -> None:
        """Fill ``out[n]`` with the words of the values of row ``rows[n]``.

        Parameters
        ----------
        stored
            ``[V, row_bytes]`` uint8, C-contiguous.
        rows
            ``[n]`` ids from 0 to V − 1, in any order.
        out
            ``[n, d]`` uint32, C-contiguous.

        Raises
        ------
        ValueError
            The arrays are not of these shapes, types and layouts.
        """
        require_arrays(stored, (self.row_bytes, np.uint8), rows, out, (self.width, np.uint32))
        layout = _LAYOUTS[self.name]
        n_blocks, n_groups = self.width // layout.values, self.width // layout.group
        blocks = stored.reshape(len(stored), n_blocks, layout.shape.bytes)
        values = out.view(np.float32).reshape(len(out), n_groups, layout.group)
        layout.decode(blocks, rows, values, *layout.options)
