"""The binary floating-point formats, and the one correct rounding into each.

A `Format` is described by its precision and exponent range alone; decoding, rounding and encoding
follow from these. Values travel as binary64, which holds every value of every format here.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
import numpy.typing as npt

from isologit.errors import UnsupportedFormatError

Words = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Format:
    """An IEEE-style binary format.

    Parameters
    ----------
    name
        Short name, as on the command line: ``bf16``, ``f16``, ``f32``.
    safetensors
        The dtype's name in a safetensors header.
    torch
        The dtype's name in torch and in ``config.json``.
    bits
        Width of the stored word.
    precision
        Significant bits, the hidden one included.
    max_exponent
        Exponent of the largest finite power of two; the smallest normal one is
        ``1 - max_exponent``, as in IEEE 754.
    """

    name: str
    safetensors: str
    torch: str
    bits: int
    precision: int
    max_exponent: int

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.max_exponent

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the smallest subnormal: every value is a multiple of 2 to this."""
        return self.min_exponent - self.precision + 1

    @property
    def largest(self) -> float:
        """The largest finite value."""
        return float(2 - Fraction(2) ** (1 - self.precision)) * 2.0**self.max_exponent

    @property
    def word_dtype(self) -> np.dtype[np.uint16] | np.dtype[np.uint32]:
        """The unsigned integer that a stored word is read as."""
        return np.dtype(np.uint16) if self.bits == 16 else np.dtype(np.uint32)

    @property
    def itemsize(self) -> int:
        """Bytes a stored word."""
        return self.bits // 8

    def holds(self, other: "Format") -> bool:
        """Return whether every value of another format is one of this."""
        return self.precision >= other.precision and self.max_exponent >= other.max_exponent


BF16 = Format("bf16", "BF16", "bfloat16", 16, 8, 127)
F16 = Format("f16", "F16", "float16", 16, 11, 15)
F32 = Format("f32", "F32", "float32", 32, 24, 127)

FORMATS: tuple[Format, ...] = (BF16, F16, F32)


def parse_format(name: str) -> Format:
    """Return the format that a short, safetensors or torch name stands for.

    Raises
    ------
    UnsupportedFormatError
        The name is none of these.
    """
    for format_ in FORMATS:
        if name in (format_.name, format_.safetensors, format_.torch):
            return format_
    known = ", ".join(f.name for f in FORMATS)
    raise UnsupportedFormatError(
        f"number format {name!r} is not read here; expected one of {known}"
    )


def decode(words: npt.NDArray[np.unsignedinteger], format_: Format) -> Float64s:
    """Return the values of stored words, exactly, as binary64 of the same shape.

    Copies: meant for vectors and blocks of rows, not for whole matrices.
    """
    # A signalling NaN raises the invalid flag when widened; its value is still NaN.
    with np.errstate(invalid="ignore"):
        if format_ is BF16:
            return (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        native = np.dtype(np.float16) if format_ is F16 else np.dtype(np.float32)
        contiguous = np.asarray(words, dtype=format_.word_dtype, order="C")
        # numpy keeps a signalling f16 NaN signalling; a multiplication makes it quiet, so that
        # later arithmetic does not warn of it.
        return contiguous.view(native).astype(np.float64) * 1.0


def round_to(values: npt.ArrayLike, format_: Format) -> Float64s:
    """Round binary64 values to a format, once, to nearest with ties to even.

    The results are again binary64. Overflow gives an infinity, as IEEE 754 has it; every NaN
    becomes the one quiet NaN; the sign of zero is kept. Exact: no intermediate format is passed
    through.
    """
    x = np.asarray(values, dtype=np.float64)
    # Below the format's normal range (and a little above it) values lie on a fixed grid; scaling
    # by a power of two is exact there, and rint is nearest-even.
    # Above it, add half of the last kept bit, minus one unless that bit is odd, to the integer
    # pattern and cut: nearest-even on the significand, carrying into the exponent as it should.
    dropped = np.uint64(53 - format_.precision)
    pattern = x.view(np.uint64)
    one = np.uint64(1)
    half = (one << (dropped - one)) - one
    odd = (pattern >> dropped) & one
    rounded = ((pattern + half + odd) >> dropped << dropped).view(np.float64)
    magnitude = np.abs(x)
    with np.errstate(invalid="ignore", over="ignore"):
        quantum = 2.0**format_.quantum_exponent
        # min: an infinity or a huge value must not warn in the branch that it does not take.
        small = np.rint(np.minimum(magnitude, 1.0) / quantum) * quantum
        rounded = np.where(magnitude < 2.0**format_.min_exponent, np.copysign(small, x), rounded)
        rounded = np.where(np.abs(rounded) > format_.largest, np.copysign(np.inf, x), rounded)
    return np.where(np.isfinite(x), rounded, np.where(np.isnan(x), np.nan, x))


def encode(values: npt.ArrayLike, format_: Format) -> Words:
    """Return the stored words of binary64 values, rounding each once to nearest-even.

    NaN becomes the format's quiet NaN.
    """
    rounded = round_to(values, format_)
    # Every rounded value is exact in binary32 (and, for f16, in binary16): the casts only repack.
    if format_ is F16:
        return rounded.astype(np.float16).view(np.uint16)
    single = rounded.astype(np.float32).view(np.uint32)
    return (single >> 16).astype(np.uint16) if format_ is BF16 else single


def ulp(values: npt.ArrayLike, format_: Format) -> Float64s:
    """Return the spacing of a format's numbers at values of it: the unit in the last place. Exact.

    At x with 2^e ≤ |x| < 2^(e+1) it is 2^(e−p+1), for p significant bits: the distance to the next
    number away from zero. Below the normal numbers, and at 0, it is the smallest subnormal; at an
    infinity, that of the largest finite number. A NaN has none: NaN.
    """
    sizes = np.minimum(np.abs(np.asarray(values, dtype=np.float64)), format_.largest)
    # frexp's fraction lies in [½, 1), so its exponent is e + 1.
    exponents = np.maximum(np.frexp(sizes)[1] - 1, format_.min_exponent)
    spacings = np.ldexp(1.0, np.where(sizes > 0, exponents, format_.min_exponent))
    return np.where(np.isnan(sizes), np.nan, spacings * 2.0 ** (1 - format_.precision))


def round_fraction(value: Fraction, format_: Format) -> float:
    """Round a rational number to a format, once, to nearest with ties to even. Exact."""
    if value == 0:
        return 0.0
    magnitude = abs(value)
    # floor(log2) from the bit lengths, corrected by at most one.
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    quantum = Fraction(2) ** max(exponent - format_.precision + 1, format_.quantum_exponent)
    rounded = float(round(magnitude / quantum) * quantum)  # Fraction's round is ties to even
    if rounded > format_.largest:
        rounded = float("inf")
    return rounded if value > 0 else -rounded


def round_sqrt(square: Fraction, format_: Format) -> float:
    """Round the square root of a non-negative rational to a format, once, ties to even. Exact."""
    if square == 0:
        return 0.0
    # 2 * exponent <= log2(square) + 1, so the quantum is at most one binade too fine or right;
    # one more pass settles it when the root carries into the next binade.
    exponent = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    while Fraction(4) ** exponent > square:
        exponent -= 1
    while Fraction(4) ** (exponent + 1) <= square:
        exponent += 1
    quantum = Fraction(2) ** max(exponent - format_.precision + 1, format_.quantum_exponent)
    scaled = square / quantum**2
    floor = isqrt(scaled.numerator // scaled.denominator)
    # The root lies in [floor, floor + 1) quanta; compare its square with the midpoint's.
    half = (Fraction(2 * floor + 1) / 2) ** 2
    up = scaled > half or (scaled == half and floor % 2 == 1)
    rounded = float((floor + up) * quantum)
    return rounded if rounded <= format_.largest else float("inf")
