"""The bounds of the two models of a device, by their formulas."""

from fractions import Fraction

import pytest

from isologit.equivalence.device_sums import (
    MODELS,
    ROUNDING,
    TRUNCATING,
    lost,
    products_are_exact,
)
from isologit.numerics.formats import BF16, F16, F32

U = Fraction(1, 2**24)


def test_exact_products_are_rounded_by_the_additions_alone() -> None:
    assert ROUNDING.factor(1, exact_products=True) == 0
    assert ROUNDING.factor(2560, exact_products=True) == 2559 * U
    assert ROUNDING.factor(2560, exact_products=False) == 2560 * U / (1 - 2560 * U)
    for exact_products in (True, False):
        cut = TRUNCATING.factor(2560, exact_products=exact_products)
        assert cut == 4 * 2560 * U / (1 - 4 * 2560 * U)


def test_more_terms_than_the_bound_is_made_for_are_refused() -> None:
    with pytest.raises(ValueError, match="more than a sum in binary32 is bounded for"):
        TRUNCATING.factor(2**22, exact_products=True)
    with pytest.raises(ValueError, match="more than a sum"):
        ROUNDING.factor(2**24, exact_products=False)


def test_products_of_16_bits_are_exact_in_binary32() -> None:
    assert products_are_exact(BF16, BF16)
    assert products_are_exact(F16, F16)
    assert not products_are_exact(F32, BF16)


def test_flushing_loses_a_smallest_normal_number_an_operation_and_an_entry() -> None:
    assert lost(3, Fraction(5)) == 2 * Fraction(1, 2**126) * 11


def test_each_model_says_what_it_assumes() -> None:
    assert [model.name for model in MODELS] == ["float32, to nearest", "float32, cut off"]
    for model in MODELS:
        assert any(
            "no TF32, and no partial sum is rounded to 16 bits" in a for a in model.assumptions
        )
    assert any("rounds to nearest" in a for a in ROUNDING.assumptions)
    assert any("tensor cores" in a for a in TRUNCATING.assumptions)
