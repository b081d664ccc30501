"""Decoded blocks beside gguf-py, bit for bit, and beside integers and fractions, value by value."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from isologit.errors import UnsupportedFormatError
from isologit.numerics.formats import F32
from isologit.numerics.gguf_blocks import BLOCK_SHAPES, GgufBlocks
from isologit.numerics.stored import Matrix
from oracle import fraction_oracle as oracle

Bytes = npt.NDArray[np.uint8]

QUIET_NAN = 0x7FC00000
# Where in a block its binary16 numbers begin: the scale, and the minimum where there is one.
HALVES = {
    "q8_0": (0,),
    "q4_0": (0,),
    "q4_1": (0, 2),
    "q5_0": (0,),
    "q5_1": (0, 2),
    "q2_k": (80, 82),
    "q3_k": (108,),
    "q4_k": (0, 2),
    "q5_k": (0, 2),
    "q6_k": (208,),
}
# Zeros, the smallest and largest subnormal and normal numbers, infinities, quiet and signalling
# NaN, of either sign.
STRANGE = [0x0000, 0x0001, 0x03FF, 0x0400, 0x7BFF, 0x7C00, 0x7E00, 0x7C01, 0x7FFF]
STRANGE += [word | 0x8000 for word in STRANGE]

each_format = pytest.mark.parametrize("name", BLOCK_SHAPES)


def random_rows(name: str, n_tokens: int, n_blocks: int, seed: int = 0) -> Bytes:
    """Return rows of blocks of any bytes at all."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n_tokens, n_blocks * BLOCK_SHAPES[name].bytes), dtype=np.uint8)


def strange_rows(name: str) -> Bytes:
    """Return a row for each pair of strange binary16 numbers, of one block of any other bytes."""
    rows = random_rows(name, len(STRANGE) ** 2, 1)
    for n, start in enumerate(HALVES[name]):
        words = np.array(STRANGE, dtype="<u2")[np.arange(len(rows)) // len(STRANGE) ** n % 18]
        rows[:, start : start + 2] = words.view(np.uint8).reshape(-1, 2)
    return rows


def decoded(name: str, stored: Bytes, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.uint32]:
    """Return the words that some rows are decoded into, all of them where none are named."""
    shape = BLOCK_SHAPES[name]
    coding = GgufBlocks(name, stored.shape[1] // shape.bytes * shape.values)
    ids = np.asarray(np.arange(len(stored)) if rows is None else rows, dtype=np.int64)
    out = np.full((len(ids), coding.width), 0xDEADBEEF, dtype=np.uint32)
    coding.decode(stored, ids, out)
    return out


def by_the_library(name: str, stored: Bytes) -> npt.NDArray[np.uint32]:
    """Return the words of gguf-py's values, every NaN the quiet one."""
    with np.errstate(all="ignore"):
        values: npt.NDArray[np.float32] = dequantize(stored, GGMLQuantizationType[name.upper()])
    return np.where(np.isnan(values), np.uint32(QUIET_NAN), values.view(np.uint32))


def test_every_format_is_tested() -> None:
    assert set(HALVES) == set(BLOCK_SHAPES)


@each_format
def test_blocks_of_any_bytes_are_decoded_as_by_the_library(name: str) -> None:
    stored = random_rows(name, 401, 3)
    np.testing.assert_array_equal(decoded(name, stored), by_the_library(name, stored))


@each_format
def test_strange_scales_and_minima_are_decoded_as_by_the_library(name: str) -> None:
    stored = strange_rows(name)
    expected = by_the_library(name, stored)
    assert (expected == QUIET_NAN).any()
    assert (expected == 0x80000000).any()
    np.testing.assert_array_equal(decoded(name, stored), expected)


@each_format
@given(data=st.data())
def test_a_block_of_drawn_bytes_is_decoded_as_by_the_library(name: str, data: Any) -> None:
    n = BLOCK_SHAPES[name].bytes
    stored = np.frombuffer(data.draw(st.binary(min_size=n, max_size=n)), np.uint8).reshape(1, n)
    np.testing.assert_array_equal(decoded(name, stored), by_the_library(name, stored))


def bits(number: int, start: int, count: int) -> int:
    """Return some bits of a number."""
    return number >> start & (1 << count) - 1


def signed(byte: int) -> int:
    """Return what a byte is in two's complement."""
    return byte - 256 if byte > 127 else byte


def integers(name: str, block: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each value's own scale, quant and minimum, of a block taken apart bit by bit."""

    def plane(v: int, start: int, period: int, count: int) -> int:
        """Return a value's bits where a byte has those of some values, a period apart."""
        per_byte = 8 // count
        chunk, rest = divmod(v, period * per_byte)
        place, k = divmod(rest, period)
        return bits(block[start + chunk * period + k], place * count, count)

    def six(j: int, start: int) -> tuple[int, int]:
        """Return the j-th of eight pairs of six bits each."""
        low, middle, high = (block[start + n : start + n + 4] for n in (0, 4, 8))
        if j < 4:
            return bits(low[j], 0, 6), bits(middle[j], 0, 6)
        j -= 4
        return (
            bits(high[j], 0, 4) + 16 * bits(low[j], 6, 2),
            bits(high[j], 4, 4) + 16 * bits(middle[j], 6, 2),
        )

    for v in range(BLOCK_SHAPES[name].values):
        match name:
            case "q8_0":
                yield 1, signed(block[2 + v]), 0
            case "q4_0":
                yield 1, plane(v, 2, 16, 4) - 8, 0
            case "q4_1":
                yield 1, plane(v, 4, 16, 4), -1
            case "q5_0":
                yield 1, plane(v, 6, 16, 4) + 16 * bits(block[2 + v // 8], v % 8, 1) - 16, 0
            case "q5_1":
                yield 1, plane(v, 8, 16, 4) + 16 * bits(block[4 + v // 8], v % 8, 1), -1
            case "q2_k":
                both = block[v // 16]
                yield bits(both, 0, 4), plane(v, 16, 32, 2), bits(both, 4, 4)
            case "q3_k":
                g = v // 16
                low, high = bits(block[96 + g % 8], g // 8 * 4, 4), block[104 + g % 4]
                scale = low + 16 * bits(high, g // 4 * 2, 2) - 32
                yield scale, plane(v, 32, 32, 2) + 4 * plane(v, 0, 32, 1) - 4, 0
            case "q4_k":
                scale, minimum = six(v // 32, 4)
                yield scale, plane(v, 16, 32, 4), minimum
            case "q5_k":
                scale, minimum = six(v // 32, 4)
                yield scale, plane(v, 48, 32, 4) + 16 * plane(v, 16, 32, 1), minimum
            case "q6_k":
                quant = plane(v, 0, 64, 4) + 16 * plane(v, 128, 32, 2) - 32
                yield signed(block[192 + v // 16]), quant, 0


@each_format
def test_a_value_is_the_real_number_rounded_once(name: str) -> None:
    stored = random_rows(name, 12, 1, seed=1)
    for start in HALVES[name]:
        stored[:, start + 1] &= 0xBF  # finite, of magnitude below 2
    stored[::3, HALVES[name][-1] + 1] &= 0x83  # a scale or a minimum that is subnormal
    rounded = 0
    for row, words in zip(stored, decoded(name, stored).tolist(), strict=True):
        halves = [
            oracle.decode(int.from_bytes(row[n : n + 2], "little"), "f16") for n in HALVES[name]
        ]
        d, m = (*halves, Fraction(0))[:2]
        assert isinstance(d, Fraction)
        assert isinstance(m, Fraction)
        for (scale, quant, minimum), word in zip(integers(name, row.tobytes()), words, strict=True):
            exact = d * scale * quant - m * minimum
            assert oracle.decode(word, "f32") == oracle.nearest(exact, "f32")
            rounded += oracle.nearest(exact, "f32") != exact
    # Without a minimum nothing is rounded; with one something is, or this would prove little.
    assert (rounded > 0) == (len(HALVES[name]) == 2)


@each_format
def test_a_scale_times_a_quant_has_bits_to_spare_for_a_binary16_number(name: str) -> None:
    # binary32 has 24, a binary16 number 11: so their product is exact, as the module says.
    for row in random_rows(name, 200, 1, seed=2):
        for scale, quant, minimum in integers(name, row.tobytes()):
            for number in (abs(scale * quant), abs(minimum)):
                odd = number // (number & -number) if number else 0
                assert odd.bit_length() <= 24 - 11
                assert number * 65504 < 2**29


@each_format
def test_rows_are_decoded_in_the_order_asked(name: str) -> None:
    stored = random_rows(name, 7, 2)
    every = decoded(name, stored)
    for rows in ([6, 5, 4, 3, 2, 1, 0], [3], [2, 2, 5, 2], [6, 0, 6], []):
        np.testing.assert_array_equal(decoded(name, stored, rows), every[rows])


@each_format
def test_a_view_of_bytes_at_any_alignment_is_decoded(name: str) -> None:
    stored = random_rows(name, 3, 2)
    raw = b"?" + stored.tobytes()
    view = np.frombuffer(raw, np.uint8, offset=1).reshape(stored.shape)
    np.testing.assert_array_equal(decoded(name, view), decoded(name, stored))


@each_format
def test_a_matrix_has_the_rows_that_its_blocks_stand_for(name: str) -> None:
    stored = random_rows(name, 5, 2)
    coding = GgufBlocks(name, 2 * BLOCK_SHAPES[name].values)
    matrix = Matrix(stored, F32, coding)
    assert (matrix.width, matrix.stored_as, coding.format) == (coding.width, name, F32)
    assert coding.row_keys is None
    np.testing.assert_array_equal(matrix.take([4, 0]).words, by_the_library(name, stored)[[4, 0]])


@pytest.mark.parametrize("quantised", ["Q8_0", "Q4_0"])
def test_every_matrix_of_a_real_file_is_what_the_library_makes_of_it(
    shared: Path, quantised: str
) -> None:
    name, seen = quantised.lower(), 0
    for tensor in GGUFReader(shared / "checkpoints" / f"llama2xs-{quantised}.gguf").tensors:
        if tensor.tensor_type.name == quantised:
            stored = np.array(tensor.data).reshape(-1, tensor.data.shape[-1])
            np.testing.assert_array_equal(decoded(name, stored), by_the_library(name, stored))
            seen += 1
    assert seen


@pytest.mark.parametrize("name", ["q8_0", "q4_0", "q4_1", "q5_0", "q5_1"])
def test_what_the_library_quantises_comes_back_close(name: str) -> None:
    values = np.random.default_rng(3).normal(size=(4, 256)).astype(np.float32)
    stored = quantize(values, GGMLQuantizationType[name.upper()])
    assert np.abs(decoded(name, stored).view(np.float32) - values).max() < 0.5


def test_a_row_without_blocks_is_decoded_into_nothing() -> None:
    assert decoded("q4_k", np.empty((3, 0), np.uint8)).shape == (3, 0)
    assert decoded("q4_k", np.empty((0, 144), np.uint8)).shape == (0, 256)


def test_rows_that_are_not_whole_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^rows of q4_k are blocks of 256 values, got 128$"):
        GgufBlocks("q4_k", 128)


def test_a_format_that_is_not_decoded_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnsupportedFormatError) as caught:
        GgufBlocks("iq4_xs", 256)
    assert str(caught.value) == (
        "block format 'iq4_xs' is not decoded here; expected one of "
        "q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k"
    )


STORED = np.zeros((4, 68), np.uint8)
ROWS = np.arange(2)
OUT = np.zeros((2, 64), np.uint32)


@pytest.mark.parametrize(
    ("stored", "rows", "out", "message"),
    [
        (STORED[:, :67], ROWS, OUT, "stored must be a C-contiguous uint8 array of shape (4, 68)"),
        (np.zeros((4, 136), np.uint8)[:, ::2], ROWS, OUT, "stored must be a C-contiguous uint8"),
        (STORED.view(np.int8), ROWS, OUT, "got int8 (4, 68)"),
        (STORED, ROWS.astype(np.int32), OUT, "rows must be a C-contiguous int64 array of shape"),
        (STORED, ROWS[:1], OUT, "out must be a C-contiguous uint32 array of shape (1, 64)"),
        (STORED, ROWS, OUT.view(np.float32), "out must be a C-contiguous uint32 array"),
        (STORED, ROWS, np.zeros((2, 128), np.uint32)[:, ::2], "out must be a C-contiguous"),
        (STORED, ROWS, np.zeros((2, 32), np.uint32), "of shape (2, 64), got uint32 (2, 32)"),
    ],
)
def test_arrays_of_another_shape_type_or_layout_are_refused(
    stored: Any, rows: Any, out: Any, message: str
) -> None:
    with pytest.raises(ValueError, match="must be a C-contiguous") as caught:
        GgufBlocks("q8_0", 64).decode(stored, rows, out)
    assert message in str(caught.value)
