"""The softcap, rounded once: against decimals of 120 digits, and where it saturates."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.numerics import softcap as module
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format, round_to
from isologit.numerics.softcap import exp_bounds, softcap, tanh_bounds
from oracle import fraction_oracle as oracle

CAPS = [30.0, 50.0, 1.0, 0.1, 7.3e-5, 30.0625]


def tanh(x: Fraction) -> Fraction:
    """Return tanh(x) for x > 0 to a hundred digits, by the standard library's correct exp."""
    with localcontext(Context(prec=160)):
        t = (Decimal(-2) * Decimal(x.numerator) / Decimal(x.denominator)).exp()
        return Fraction((1 - t) / (1 + t))


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("to", FORMATS, ids=lambda f: f.name)
def test_it_is_the_real_number_rounded_once(cap: float, to: Format) -> None:
    rng = np.random.default_rng(0)
    exponents = [*range(-5, 9), -12, -24, -60, -130]
    values = [rng.uniform(1, 2) * cap * 2.0**e for e in exponents for _ in range(4)]
    for value in round_to(values, to):
        if 0 < value < np.inf:
            real = Fraction(cap) * tanh(Fraction(float(value)) / Fraction(cap))
            expected = oracle.as_float(oracle.nearest(real, to.name))
            assert softcap(float(value), cap, to) == expected
            assert softcap(-float(value), cap, to) == -expected


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_few_digits_to_begin_with_change_nothing(
    monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    values = [float(x) for x in round_to(np.linspace(0.37, 290.0, 200), F16)]
    expected = [softcap(value, 30.0, F16) for value in values]
    monkeypatch.setattr(module, "_FIRST_BITS", bits)
    assert [softcap(value, 30.0, F16) for value in values] == expected


@pytest.mark.parametrize("bits", [6, 12])
def test_the_exponential_is_enclosed_without_any_digit_to_spare(
    monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    monkeypatch.setattr(module, "_GUARD_BITS", 0)
    for y in [Fraction(n, 96) for n in range(1, 1200)]:
        low, high = exp_bounds(y, bits)
        with localcontext(Context(prec=60)):
            real = (-Decimal(y.numerator) / Decimal(y.denominator)).exp() * (1 << bits)
        assert low <= real <= high, y


@given(st.fractions(Fraction(1, 10**12), 200), st.sampled_from([8, 64, 200]))
def test_the_bounds_enclose(x: Fraction, bits: int) -> None:
    low, high = tanh_bounds(x, bits)
    assert low <= tanh(x) <= high
    assert high - low <= Fraction(4, 1 << bits)
    below, above = exp_bounds(x, bits)
    assert 0 <= below <= above <= 1 << bits
    assert above - below <= 2


def test_a_logit_far_beyond_the_cap_is_just_below_it() -> None:
    assert softcap(3e38, 30.0, BF16) == softcap(np.inf, 30.0, BF16) == 30.0
    assert softcap(-3e38, 30.0, F32) == softcap(-np.inf, 30.0, F32) == -30.0
    # 30.0625 lies halfway between 30 and 30.125 in bf16, and ties go to 30.125's even neighbour;
    # below it there is but one answer.
    assert softcap(1e30, 30.0625, BF16) == 30.0
    # 30.1875 is the midpoint of 30.125 and 30.25, which is even: what is below it goes down.
    assert softcap(1e30, 30.1875, BF16) == 30.125
    assert softcap(200.0, 30.1875, BF16) == softcap(2500.0, 30.1875, BF16) == 30.125


def test_zeros_and_nans_stay() -> None:
    assert softcap(0.0, 30.0, BF16) == softcap(-0.0, 30.0, F16) == 0
    assert np.isnan(softcap(np.nan, 30.0, BF16))


def test_it_never_decreases() -> None:
    values = np.arange(-300, 300) / 2
    capped = [softcap(float(value), 30.0, BF16) for value in values]
    assert capped == sorted(capped)
    assert len(set(capped)) > 100
