"""Encoding into words against fractions, and what is counted of it."""

from fractions import Fraction

import numpy as np
import pytest

from isologit.numerics.encodings import Counts, Encoding, encode_rows, encoding_of
from isologit.numerics.float8 import E4M3FN, E5M2
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format, decode, encode
from isologit.numerics.kernels import typed
from isologit.numerics.stored import StoredWords
from numerics.cast_values import TARGETS, hard_singles, hard_values, nearest_word

ENCODINGS: dict[str, Encoding] = {
    **{format_.name: encoding_of(format_) for format_ in FORMATS},
    **{format_.name: format_.encoding("saturate") for format_ in (E4M3FN, E5M2)},
}
WORDS = {"f16": np.uint16, "bf16": np.uint16, "f32": np.uint32}

each_target = pytest.mark.parametrize("target", TARGETS)


def encoded(stored: StoredWords, target: str, divisors: float = 1.0) -> tuple[StoredWords, Counts]:
    """Return the words of a row of stored numbers, and the counts."""
    out = np.empty((1, len(stored)), dtype=WORDS.get(target, np.uint8))
    counts = encode_rows(stored[None], np.array([divisors]), ENCODINGS[target], out)
    return out[0], counts


def expected(values: list[Fraction], negative: list[bool], target: str) -> list[int]:
    """Return the words that fractions have to become."""
    to = ENCODINGS[target]
    _, largest = TARGETS[target]
    words = []
    for value, minus in zip(values, negative, strict=True):
        word = nearest_word(abs(value), target)
        words.append((to.overflow if word > largest else word) | (to.sign if minus else 0))
    return words


@each_target
def test_binary32_numbers_at_and_around_ties_round_once_to_the_even_word(target: str) -> None:
    stored = hard_singles(target)
    real = stored.astype(np.float64)
    words, _ = encoded(stored.view(np.uint32), target)
    fractions = [Fraction(x) for x in real.tolist()]
    assert words.tolist() == expected(fractions, np.signbit(real).tolist(), target)


@each_target
def test_binary64_numbers_are_not_rounded_twice(target: str) -> None:
    # A binary64 number just above a tie of the target becomes that tie in binary32.
    values = hard_values(target, 53)
    with np.errstate(over="ignore"):
        assert (values != values.astype(np.float32)).any()
    words, _ = encoded(values.view(np.uint64), target)
    fractions = [Fraction(x) for x in values.tolist()]
    assert words.tolist() == expected(fractions, np.signbit(values).tolist(), target)


@pytest.mark.parametrize("target", ["f8_e4m3fn", "f8_e5m2"])
@pytest.mark.parametrize("scale", [0.1, 3.0, 1 / 3, 2.0**-140, 2.0**120])
def test_a_quotient_is_the_real_one_rounded_once(target: str, scale: float) -> None:
    s = np.float32(scale)
    with np.errstate(over="ignore"):
        stored = (hard_values(target, 24) * float(s)).astype(np.float32)
    stored = np.concatenate([np.nextafter(stored, np.float32(d)) for d in (-np.inf, 0, np.inf)])
    stored = stored[np.isfinite(stored)]
    words, _ = encoded(stored.view(np.uint32), target, float(s))
    fractions = [Fraction(float(x)) / Fraction(float(s)) for x in stored]
    assert words.tolist() == expected(fractions, np.signbit(stored).tolist(), target)


@pytest.mark.parametrize("source", [BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("to", FORMATS, ids=lambda f: f.name)
def test_every_number_of_16_bits_becomes_what_the_formats_own_rounding_says(
    source: Format, to: Format
) -> None:
    every = np.arange(65536, dtype=np.uint16)
    words, counts = encoded(typed(every, source), to.name)
    values = decode(every, source)
    np.testing.assert_array_equal(words, encode(values, to))
    after = decode(words, to)
    finite = np.isfinite(values)
    assert counts.zeroed == ((after == 0) & (values != 0)).sum()
    assert counts.overflowed == (finite & ~np.isfinite(after)).sum()
    assert counts.subnormal == ((abs(after) < 2.0**to.min_exponent) & (after != 0)).sum()
    if source is to:
        assert words[finite].tolist() == every[finite].tolist()


def test_an_infinite_divisor_makes_zeros_that_keep_their_signs() -> None:
    stored = np.array([1.0, -1.0, 0.0, -0.0], dtype=np.float32).view(np.uint32)
    words, counts = encoded(stored, "f8_e4m3fn", np.inf)
    assert words.tolist() == [0, 0x80, 0, 0x80]
    assert counts == (2, 0, 0)


def test_what_is_not_finite_is_not_counted() -> None:
    stored = np.array([np.inf, -np.inf, np.nan, 1e9], dtype=np.float32).view(np.uint32)
    words, counts = encoded(stored, "f8_e4m3fn")
    assert words.tolist() == [0x7E, 0xFE, 0x7F, 0x7E]
    assert counts == (0, 0, 1)


def test_the_largest_number_is_not_too_large() -> None:
    # 464 is a tie and becomes 448; what is above it saturates.
    stored = np.array([448, 464, np.nextafter(np.float32(464), np.float32(500))], dtype=np.float32)
    words, counts = encoded(stored.view(np.uint32), "f8_e4m3fn")
    assert words.tolist() == [0x7E, 0x7E, 0x7E]
    assert counts.overflowed == 1


def test_the_words_of_f32_are_kept() -> None:
    rng = np.random.default_rng(1)
    every = rng.integers(0, 1 << 32, 10_000, dtype=np.uint32)
    every = every[~np.isnan(every.view(np.float32))]
    words, _ = encoded(every, F32.name)
    np.testing.assert_array_equal(words, every)
