"""The oracle against what others say a word means and how a sum is rounded."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from oracle.draws import FAMILIES, FORMAT_TRIPLES, RANGES, finite_draws
from oracle.fraction_oracle import (
    Special,
    add,
    as_float,
    cosine,
    decode,
    dot,
    mean,
    multiply,
    nearest,
    nearest_root,
    norm,
)

INF, MINUS_INF, NAN = Special.PLUS_INFINITY, Special.MINUS_INFINITY, Special.NAN


@pytest.mark.parametrize(("name", "native"), [("bf16", ml_dtypes.bfloat16), ("f16", np.float16)])
def test_oracle_decodes_every_pattern_as_its_library_does(name: str, native: type) -> None:
    theirs = np.arange(65536, dtype=np.uint16).view(native).astype(np.float32)
    ours = [as_float(decode(word, name)) for word in range(65536)]
    assert np.array_equal(np.array(ours, dtype=np.float32), theirs, equal_nan=True)


@pytest.mark.parametrize("name", RANGES)
def test_oracle_returns_every_number_of_a_format_unrounded(name: str) -> None:
    rng = np.random.default_rng(0)
    for word in rng.integers(0, int(np.iinfo(RANGES[name].word).max) + 1, 500):
        value = decode(int(word), name)
        assert nearest(value, name) == value


@pytest.mark.parametrize(
    ("real", "name", "rounded"),
    [
        (Fraction(257), "bf16", 256),  # halfway, 256 is the even one
        (Fraction(259), "bf16", 260),
        (257 + Fraction(1, 2**300), "bf16", 258),
        (257 - Fraction(1, 2**300), "bf16", 256),
        (Fraction(1, 2**25), "f16", 0),  # half the smallest subnormal
        (Fraction(1, 2**25) + Fraction(1, 2**99), "f16", Fraction(1, 2**24)),
        (Fraction(-3, 2**25), "f16", Fraction(-2, 2**24)),
        (Fraction(65519), "f16", 65504),
        (Fraction(65520), "f16", INF),
        (Fraction(-65520), "f16", MINUS_INF),
        (Fraction(2) ** 128 - Fraction(2) ** 103, "f32", INF),
        (Fraction(2) ** 128 - Fraction(2) ** 103 - 1, "f32", Fraction(2) ** 128 - 2**104),
    ],
)
def test_oracle_rounds_to_nearest_even(real: Fraction, name: str, rounded: object) -> None:
    assert nearest(real, name) == rounded


@pytest.mark.parametrize(
    "square", [0, 1, 2, 3, 10, 65025, 66049, Fraction(1, 3), Fraction(1, 2**60)]
)
def test_oracle_roots_are_numpys_in_binary32(square: int | Fraction) -> None:
    # The root of a binary64 rounded to binary32 is free of double rounding (Figueroa, 1995).
    value = Fraction(float(square))
    assert nearest_root(value, "f32") == Fraction(float(np.float32(np.sqrt(float(square)))))


def test_oracle_roots_that_are_midpoints_go_to_the_even_word() -> None:
    assert nearest_root(Fraction(257**2), "bf16") == 256
    assert nearest_root(Fraction(259**2), "bf16") == 260
    assert nearest_root(Fraction(257**2 + 1), "bf16") == 258


def test_oracle_follows_ieee_754_with_infinities() -> None:
    one, zero = Fraction(1), Fraction(0)
    assert add(INF, one) is INF
    assert add(INF, INF) is INF
    assert add(INF, MINUS_INF) is NAN
    assert add(NAN, INF) is NAN
    assert multiply(INF, zero) is NAN
    assert multiply(INF, -one) is MINUS_INF
    assert multiply(MINUS_INF, MINUS_INF) is INF
    assert dot([INF, one], [one, one]) is INF
    assert mean([INF, MINUS_INF], "f32") is NAN
    assert norm([MINUS_INF, one], "f32") is INF


def test_oracle_knows_cosines_that_school_knows() -> None:
    three, four, zero = Fraction(3), Fraction(4), Fraction(0)
    assert cosine([three, four], [three, zero], "f32") == Fraction(float(np.float32(0.6)))
    assert cosine([-three, zero], [four, zero], "bf16") == -1
    assert cosine([zero, zero], [four, zero], "bf16") is NAN
    assert cosine([INF, zero], [four, zero], "bf16") is NAN


def test_draws_are_the_same_each_time_and_cover_every_family_and_triple() -> None:
    first, again = list(finite_draws(1)), list(finite_draws(1))
    assert [str(draw) for draw in first] == [str(draw) for draw in again]
    seen = {(d.family, d.matrix_format, d.state_format, d.logit_format) for d in first}
    assert seen == {(family, *triple) for family in FAMILIES for triple in FORMAT_TRIPLES}
