"""Symmetric 8-bit integers against fractions: quantised, and decoded."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from isologit.numerics.formats import F32, encode
from isologit.numerics.scaled_int8 import Axis, ScaledInt8, column_magnitudes, quantise_rows
from isologit.numerics.stored import Matrix
from oracle import fraction_oracle as oracle


def quantised(values: Any, divisors: Any, axis: Axis) -> tuple[Any, tuple[int, int, int]]:
    """Return the integers of binary32 rows, and the counts."""
    stored = np.asarray(values, dtype=np.float32)
    out = np.empty(stored.shape, dtype=np.uint8)
    divisors = np.asarray(divisors, dtype=np.float64)
    counts = quantise_rows(stored.view(np.uint32), divisors, axis, out)
    return out.view(np.int8), counts


def around_ties(scale: np.float32) -> Any:
    """Return binary32 numbers at, below and above each half of a scale."""
    halves = (np.arange(-255, 256) / 2 * float(scale)).astype(np.float32)
    return np.concatenate(
        [np.nextafter(halves, np.float32(d)) for d in (-np.inf, np.inf)] + [halves]
    )


@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 127, 3e-20, 2.0**-130])
def test_an_integer_is_the_nearest_to_the_real_quotient(scale: float) -> None:
    s = np.float32(scale)
    values = around_ties(s)
    found, counts = quantised(values[None], [s], "row")
    real = [Fraction(float(x)) / Fraction(float(s)) for x in values]
    expected = [max(-127, min(127, round(x))) for x in real]  # Fraction's round is ties to even
    assert found[0].tolist() == expected
    assert counts[0] == sum(n == 0 and x != 0 for n, x in zip(expected, real, strict=True))
    assert counts[2] == sum(abs(round(x)) > 127 for x in real)


def test_each_row_or_each_column_has_its_divisor() -> None:
    values = np.array([[1.0, 2.0], [4.0, 8.0]])
    assert quantised(values, [1.0, 4.0], "row")[0].tolist() == [[1, 2], [1, 2]]
    assert quantised(values, [1.0, 4.0], "column")[0].tolist() == [[1, 0], [4, 2]]


def test_what_is_not_a_number_becomes_0_and_is_not_counted() -> None:
    found, counts = quantised([[np.nan, np.inf, -np.inf, 1.0]], [np.nan], "row")
    assert found.tolist() == [[0, 0, 0, 0]]
    assert counts == (1, 0, 0)
    found, _ = quantised([[np.inf, 1.0]], [np.inf], "row")
    assert found.tolist() == [[0, 0]]


def test_column_magnitudes_are_the_largest_and_a_nan_stays() -> None:
    rows = np.array([[1, -5, np.nan, np.inf], [-3, 2, 7, 0]], dtype=np.float32).view(np.uint32)
    largest = np.zeros(4)
    column_magnitudes(rows, largest)
    column_magnitudes(np.ones((1, 4), np.float32).view(np.uint32), largest)
    np.testing.assert_array_equal(largest, [3, 5, np.nan, np.inf])


@pytest.mark.parametrize("axis", ["row", "column"])
def test_a_decoded_value_is_the_real_product_rounded_once(axis: Axis) -> None:
    rng = np.random.default_rng(4)
    stored = rng.integers(-127, 128, (40, 30)).astype(np.int8)
    scale = rng.standard_normal(40 if axis == "row" else 30).astype(np.float32)
    scale[:2] = [0.0, 2.0**-149]
    matrix = Matrix(stored.view(np.uint8), F32, ScaledInt8(40, 30, scale, axis))
    words = matrix.block(0, 40)
    for n, k in np.ndindex(stored.shape):
        real = int(stored[n, k]) * Fraction(float(scale[n if axis == "row" else k]))
        assert oracle.decode(int(words[n, k]), "f32") == oracle.nearest(real, "f32")
    np.testing.assert_array_equal(matrix.take([7, 3]).words, words[[7, 3]])


def test_a_scale_without_a_number_makes_the_one_quiet_nan() -> None:
    scale = np.array([np.nan, -np.nan, np.inf], dtype=np.float32)
    matrix = Matrix(np.zeros((3, 2), np.uint8), F32, ScaledInt8(3, 2, scale, "row"))
    assert (matrix.block(0, 3) == encode(np.nan, F32)).all()


def test_rows_with_other_scales_are_other_rows() -> None:
    scale = np.array([1.0, 2.0, 1.0], dtype=np.float32)
    keys = ScaledInt8(3, 2, scale, "row").row_keys
    assert keys is not None
    assert keys[0] == keys[2] != keys[1]
    assert ScaledInt8(9, 3, scale, "column").row_keys is None
    assert ScaledInt8(9, 3, scale, "column").name == "int8_channel"


@pytest.mark.parametrize(
    ("shape", "scale", "axis"),
    [
        ((3, 2), np.ones(2, np.float32), "row"),
        ((3, 2), np.ones(3, np.float32), "column"),
        ((3, 2), np.ones(3), "row"),
    ],
)
def test_scales_of_another_shape_or_type_are_refused(
    shape: tuple[int, int], scale: Any, axis: Axis
) -> None:
    with pytest.raises(ValueError, match="must be float32 of shape"):
        ScaledInt8(*shape, scale, axis)


def test_rows_of_another_matrix_are_refused() -> None:
    coding = ScaledInt8(3, 2, np.ones(3, np.float32), "row")
    out = np.empty((1, 2), np.uint32)
    with pytest.raises(ValueError, match="expected 3 rows, got 4"):
        coding.decode(np.zeros((4, 2), np.uint8), np.zeros(1, np.int64), out)
    with pytest.raises(ValueError, match="stored must be a C-contiguous uint8"):
        coding.decode(np.zeros((3, 3), np.uint8), np.zeros(1, np.int64), out)
