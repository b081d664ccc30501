"""Quantised blocks beside gguf-py, bit for bit, and beside fractions, block by block."""

import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import quantize
from safetensors.numpy import load_file

from isologit.numerics import cast_formats
from isologit.numerics.block_quantisers import QUANTISED, quantise_blocks
from isologit.numerics.formats import BF16, F16, F32, Format
from isologit.numerics.gguf_blocks import BLOCK_SHAPES, GgufBlocks
from isologit.numerics.kernels import typed
from isologit.numerics.stored import Matrix

Bytes = npt.NDArray[np.uint8]

each_format = pytest.mark.parametrize("name", QUANTISED)


def blocks_of(values: npt.NDArray[Any], name: str) -> tuple[Bytes, tuple[int, int, int]]:
    """Return the blocks of rows of bf16, f16 or f32 numbers, and the counts."""
    formats: dict[Any, Format] = {np.float32: F32, np.float16: F16, ml_dtypes.bfloat16: BF16}
    format_ = formats[values.dtype.type]
    words = typed(np.ascontiguousarray(values).view(format_.word_dtype), format_)
    out = np.empty((len(values), GgufBlocks(name, values.shape[1]).row_bytes), np.uint8)
    return out, quantise_blocks(words, name, out)


def by_library(values: npt.NDArray[Any], name: str) -> Bytes:
    """Return gguf-py's blocks."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Of numbers that are not finite, and of quotients by subnormal ones.
        warnings.simplefilter("ignore")
        found: Bytes = quantize(values.astype(np.float32), GGMLQuantizationType[name.upper()])
    return found


def cases() -> Iterator[Any]:
    """Yield rows of binary32 numbers."""
    rng = np.random.default_rng(0)
    gaussian = rng.standard_normal((600, 64))
    yield pytest.param(gaussian, id="gaussian")
    yield pytest.param(rng.integers(-8, 9, (1500, 32)) / 8, id="ties and ±absmax")
    yield pytest.param(gaussian * 10.0 ** rng.uniform(-45, -4, (600, 1)), id="subnormal scales")
    yield pytest.param(gaussian * 10.0 ** rng.uniform(-4, 38, (600, 1)), id="scales too large")
    yield pytest.param(rng.integers(-300, 300, (600, 32)) * 2.0**-149, id="subnormal numbers")
    halves = (rng.integers(-255, 256, (600, 32)) / 2) * 2.0 ** rng.integers(-9, 9, (600, 1))
    yield pytest.param(halves, id="halves")
    bits = rng.integers(0, 1 << 32, (800, 32), dtype=np.uint32).view(np.float32)
    yield pytest.param(np.where(np.isfinite(bits), bits, 1), id="any binary32 numbers")
    yield pytest.param(np.zeros((2, 32)), id="zeros")


@each_format
@pytest.mark.parametrize("values", list(cases()))
def test_blocks_are_those_of_the_library(values: npt.NDArray[Any], name: str) -> None:
    with np.errstate(over="ignore", under="ignore"):
        rows = values.astype(np.float32)
    np.testing.assert_array_equal(blocks_of(rows, name)[0], by_library(rows, name))


@each_format
@pytest.mark.parametrize("native", [ml_dtypes.bfloat16, np.float16])
def test_numbers_of_16_bits_are_quantised_as_their_binary32_values(native: Any, name: str) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 16, (1000, 32), dtype=np.uint16)
    bits[500:] = (rng.standard_normal((500, 32)) * 0.02).astype(native).view(np.uint16)
    values = bits.view(native)
    rows = np.where(np.isfinite(values.astype(np.float32)), values, native(1))
    np.testing.assert_array_equal(blocks_of(rows, name)[0], by_library(rows, name))


@pytest.mark.parametrize("name", ["q8_0", "q5_0", "q4_0"])
def test_the_sign_of_a_zero_is_the_librarys(name: str) -> None:
    rng = np.random.default_rng(2)
    zeros = np.where(rng.random((400, 32)) < 0.5, np.float32(0), np.float32(-0.0))
    zeros[200:, 5] = rng.standard_normal(200)
    np.testing.assert_array_equal(blocks_of(zeros, name)[0], by_library(zeros, name))


@pytest.mark.parametrize("name", ["q5_1", "q4_1"])
def test_of_zeros_of_both_signs_the_minimum_is_the_first_as_in_c(name: str) -> None:
    # In gguf-py numpy chooses one, by the width of its vectors.
    rng = np.random.default_rng(3)
    zeros = np.where(rng.random((400, 32)) < 0.5, np.float32(0), np.float32(-0.0))
    rows = np.where(rng.random((400, 32)) < 0.5, zeros, abs(rng.standard_normal((400, 32))))
    rows = rows.astype(np.float32)
    found, expected = blocks_of(rows, name)[0], by_library(rows, name)
    signs = [np.signbit(row[row == 0][0]) for row in rows if (row == 0).any()]
    assert (found[(rows == 0).any(axis=1), 3] >> 7).tolist() == [int(sign) for sign in signs]
    expected[:, 3] = found[:, 3] = 0
    np.testing.assert_array_equal(found, expected)


@each_format
def test_a_block_with_what_is_not_finite_has_no_finite_value_and_harms_no_other(name: str) -> None:
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((6, 96)).astype(np.float32)
    rows[0, 40], rows[1, 40], rows[2, 40] = np.inf, -np.inf, np.nan
    rows[3, 32:64], rows[4, 33], rows[4, 40], rows[5, 33], rows[5, 40] = (
        *(np.nan, np.inf, -np.inf, np.inf, np.nan),
    )
    stored, counts = blocks_of(rows, name)
    values = Matrix(stored, F32, GgufBlocks(name, 96)).rows(np.arange(6))
    assert not np.isfinite(values[:, 32:64]).any()
    assert np.isfinite(values[:, :32]).all()
    assert np.isfinite(values[:, 64:]).all()
    assert counts[2] == 0
    clean = rows.copy()
    clean[:, 32:64] = 0
    kept = blocks_of(clean, name)[0].reshape(6, 3, -1)
    np.testing.assert_array_equal(stored.reshape(6, 3, -1)[:, [0, 2]], kept[:, [0, 2]])


@pytest.mark.parametrize(("name", "most"), [("q8_0", 127), ("q5_0", 15), ("q4_0", 7)])
def test_a_scale_in_range_decodes_to_within_half_a_step(name: str, most: int) -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((50, 32)).astype(np.float32)
    values = Matrix(blocks_of(rows, name)[0], F32, GgufBlocks(name, 32)).rows(np.arange(50))
    for row, decoded in zip(rows, values, strict=True):
        step = Fraction(float(abs(row).max())) / most
        worst = max(
            abs(Fraction(float(x)) - Fraction(float(y))) for x, y in zip(row, decoded, strict=True)
        )
        # q4_0 and q5_0 reach one step less on the other side; the scale is rounded to binary16.
        assert worst <= step * (Fraction(1, 2) if name == "q8_0" else 1) + step * most / 1000


@each_format
def test_entries_are_counted_that_decode_to_0_or_whose_scale_is_too_large(name: str) -> None:
    rng = np.random.default_rng(6)
    scales = np.repeat([1.0, 2.0**-40, 1e8, 2.0**-17], 25)[:, None]
    rows = (rng.standard_normal((100, 32)) * scales).astype(np.float32)
    stored, counts = blocks_of(rows, name)
    values = Matrix(stored, F32, GgufBlocks(name, 32)).rows(np.arange(100))
    assert counts[0] == ((values == 0) & (rows != 0)).sum()
    assert counts[0] > 0
    lost = ~np.isfinite(values).all(axis=1)
    assert counts[1:] == (0, 32 * lost.sum())
    assert lost.sum() == 25


def test_the_formats_are_those_that_can_be_cast_to() -> None:
    blocks = [name for name in cast_formats.CASTS if name in BLOCK_SHAPES]
    assert tuple(blocks) == QUANTISED
    for name in QUANTISED:
        assert BLOCK_SHAPES[name].values == 32
        assert cast_formats.why_impossible(name, 33) is not None
        assert cast_formats.why_impossible(name, 64) is None


@pytest.mark.parametrize("quantised", ["Q8_0", "Q4_0"])
def test_a_real_head_becomes_what_its_publisher_stored(shared: Path, quantised: str) -> None:
    head = load_file(shared / "checkpoints" / "llama2xs-hf-f32" / "model.safetensors")
    reader = GGUFReader(shared / "checkpoints" / f"llama2xs-{quantised}.gguf")
    tensor = next(t for t in reader.tensors if t.name == "token_embd.weight")
    found, _ = blocks_of(head["model.embed_tokens.weight"], quantised.lower())
    np.testing.assert_array_equal(found, np.array(tensor.data))
