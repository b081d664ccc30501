"""Casts to 8-bit floats beside ml_dtypes, on every number of 16 bits and on binary32 ties."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from isologit.numerics.codings import FLOAT8_TYPES
from isologit.numerics.encodings import encode_rows
from isologit.numerics.float8 import E4M3FN, E5M2, Float8
from isologit.numerics.formats import BF16, F16
from isologit.numerics.kernels import typed
from numerics.cast_values import hard_singles

NATIVE: dict[str, Any] = {
    "f8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8_e5m2": ml_dtypes.float8_e5m2,
}
each_format = pytest.mark.parametrize("to", [E4M3FN, E5M2], ids=lambda f: f.name)


def by_library(values: npt.NDArray[Any], to: Float8) -> npt.NDArray[np.uint8]:
    """Return ml_dtypes' cast."""
    with np.errstate(all="ignore"):
        words: npt.NDArray[np.uint8] = values.astype(NATIVE[to.name]).view(np.uint8)
    return words


def ours(stored: npt.NDArray[Any], to: Float8, overflow: Any = "nan") -> npt.NDArray[np.uint8]:
    """Return the words of a row."""
    out = np.empty((1, len(stored)), dtype=np.uint8)
    encode_rows(stored[None], np.ones(1), to.encoding(overflow), out)
    return out.reshape(-1)


def sources() -> Iterator[Any]:
    """Yield stored words as kernels take them, and the same as numpy's numbers."""
    every = np.arange(65536, dtype=np.uint16)
    yield pytest.param(typed(every, BF16), every.view(ml_dtypes.bfloat16), id="bf16")
    yield pytest.param(typed(every, F16), every.view(np.float16), id="f16")
    special = np.array([np.inf, -np.inf, np.nan, -np.nan], dtype=np.float32)
    values = np.concatenate([*map(hard_singles, NATIVE), special])
    yield pytest.param(values.view(np.uint32), values, id="f32")
    drawn = np.random.default_rng(2).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    yield pytest.param(drawn, drawn.view(np.float32), id="any f32")


@each_format
@pytest.mark.parametrize(("stored", "values"), list(sources()))
def test_under_the_nan_rule_a_cast_is_ml_dtypes_cast_bit_for_bit(
    to: Float8, stored: npt.NDArray[Any], values: npt.NDArray[Any]
) -> None:
    np.testing.assert_array_equal(ours(stored, to), by_library(values, to))


def test_the_two_rules_differ_for_30512_of_the_bf16_patterns_under_e4m3fn() -> None:
    every = np.arange(65536, dtype=np.uint16)
    assert (ours(every, E4M3FN, "saturate") != ours(every, E4M3FN, "nan")).sum() == 30_512


def test_the_two_rules_differ_under_e5m2_by_the_word_of_a_nan_alone() -> None:
    every = np.arange(65536, dtype=np.uint16)
    differ = ours(every, E5M2, "saturate") != ours(every, E5M2, "nan")
    assert differ.sum() == 254
    assert np.isnan(every.view(ml_dtypes.bfloat16)[differ].astype(np.float32)).all()


def test_what_becomes_of_a_number_that_is_too_large_has_a_name() -> None:
    assert [E4M3FN.becomes(rule) for rule in ("saturate", "nan")] == ["saturate", "nan"]
    assert [E5M2.becomes(rule) for rule in ("saturate", "nan")] == ["infinity", "infinity"]


@each_format
def test_a_format_is_what_its_coding_decodes(to: Float8) -> None:
    native = FLOAT8_TYPES[to.coding]
    values = np.arange(256, dtype=np.uint8).view(native).astype(np.float64)
    assert np.nanmax(values[np.isfinite(values)]) == to.largest == values[to.largest_word]
    assert (to.infinity_word is not None) == np.isinf(values).any()
    if to.infinity_word is not None:
        assert values[to.infinity_word] == np.inf
    assert all(np.isnan(values[word]) for word in to.nan_words.values())
