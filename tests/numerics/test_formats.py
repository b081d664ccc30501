"""Decoding, rounding and encoding, against numpy, ml_dtypes, exact constants and the oracle."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isologit.errors import UnsupportedFormatError
from isologit.numerics.formats import (
    BF16,
    F16,
    F32,
    FORMATS,
    Format,
    decode,
    encode,
    parse_format,
    round_fraction,
    round_sqrt,
    round_to,
    ulp,
)
from oracle import fraction_oracle as oracle
from oracle.draws import RANGES

each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
steadily = settings(derandomize=True, deadline=None, max_examples=300)
any_float = st.floats(allow_nan=False, allow_infinity=True, width=64)
formats = st.sampled_from(FORMATS)


def sixteen_bit_patterns() -> npt.NDArray[np.uint16]:
    return np.arange(65536, dtype=np.uint16)


def many_patterns(format_: Format) -> npt.NDArray[np.unsignedinteger]:
    """Return all patterns of 16 bits; of 32, the edges of every field and some 200,000 others."""
    if format_.bits == 16:
        return sixteen_bit_patterns()
    edges = (np.arange(512, dtype=np.uint32)[:, None] << 23) + np.arange(-2, 3).astype(np.uint32)
    drawn = np.random.default_rng(0).integers(0, 2**32, 200_000).astype(np.uint32)
    return np.concatenate([edges.ravel(), drawn])


def natively(words: npt.NDArray[np.unsignedinteger], format_: Format) -> npt.NDArray[np.float64]:
    """Return what numpy or ml_dtypes says that words mean."""
    with np.errstate(invalid="ignore"):
        return words.view(RANGES[format_.name].native).astype(np.float32).astype(np.float64)


def bits(values: npt.ArrayLike) -> list[int]:
    """Return binary64 patterns: −0 is not +0, and a NaN equals itself."""
    return [int(word) for word in np.asarray(values, dtype=np.float64).ravel().view(np.uint64)]


def positive_neighbours(format_: Format) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return finite numbers of even and odd words alike, and the next larger of each."""
    words = many_patterns(format_)
    sign = 1 << (format_.bits - 1)
    below = words[words < int(encode(np.inf, format_)) - 1]
    assert (below < sign).all()
    return natively(below, format_), natively(below + below.dtype.type(1), format_)


@pytest.mark.parametrize(
    ("format_", "word", "value"),
    [
        (BF16, 0x3F80, "0x1p+0"),
        (BF16, 0x3F81, "0x1.02p+0"),
        (BF16, 0x7F7F, "0x1.fep+127"),
        (BF16, 0x0080, "0x1p-126"),
        (BF16, 0x007F, "0x1.fcp-127"),
        (BF16, 0x0001, "0x1p-133"),
        (BF16, 0xFF80, "-inf"),
        (BF16, 0x8000, "-0x0p+0"),
        (F16, 0x3C00, "0x1p+0"),
        (F16, 0x3C01, "0x1.004p+0"),
        (F16, 0x7BFF, "0x1.ffcp+15"),
        (F16, 0x0400, "0x1p-14"),
        (F16, 0x03FF, "0x1.ff8p-15"),
        (F16, 0x0001, "0x1p-24"),
        (F16, 0x7C00, "inf"),
        (F16, 0x8000, "-0x0p+0"),
        (F32, 0x3F800000, "0x1p+0"),
        (F32, 0x3F800001, "0x1.000002p+0"),
        (F32, 0x7F7FFFFF, "0x1.fffffep+127"),
        (F32, 0x00800000, "0x1p-126"),
        (F32, 0x007FFFFF, "0x1.fffffcp-127"),
        (F32, 0x00000001, "0x1p-149"),
        (F32, 0xFF800000, "-inf"),
        (F32, 0x80000000, "-0x0p+0"),
    ],
)
def test_words_are_these_numbers_and_back(format_: Format, word: int, value: str) -> None:
    words = np.array([word], dtype=RANGES[format_.name].word)
    assert bits(decode(words, format_)) == bits(float.fromhex(value))
    assert encode([float.fromhex(value)], format_).tolist() == [word]


@pytest.mark.parametrize(
    ("format_", "largest", "last_finite", "first_overflow", "smallest", "half_smallest"),
    [
        (
            BF16,
            "0x1.fep+127",
            "0x1.fefffffffffffp+127",
            "0x1.ffp+127",
            "0x1p-133",
            "0x1p-134",
        ),
        (F16, "0x1.ffcp+15", "0x1.ffdffffffffffp+15", "0x1.ffep+15", "0x1p-24", "0x1p-25"),
        (
            F32,
            "0x1.fffffep+127",
            "0x1.fffffefffffffp+127",
            "0x1.ffffffp+127",
            "0x1p-149",
            "0x1p-150",
        ),
    ],
)
def test_ranges_end_at_these_constants(
    format_: Format,
    largest: str,
    last_finite: str,
    first_overflow: str,
    smallest: str,
    half_smallest: str,
) -> None:
    top, tiny = float.fromhex(largest), float.fromhex(smallest)
    half = float.fromhex(half_smallest)
    assert format_.largest == top
    assert format_.quantum_exponent == int(np.log2(tiny))
    assert round_to(float.fromhex(last_finite), format_) == top
    assert round_to(float.fromhex(first_overflow), format_) == np.inf
    assert round_to(-float.fromhex(first_overflow), format_) == -np.inf
    assert bits(round_to([half, -half], format_)) == bits([0.0, -0.0])
    assert bits(round_to(np.nextafter([half, -half], [1, -1]), format_)) == bits([tiny, -tiny])
    assert round_to(1.5 * tiny, format_) == 2 * tiny  # a tie, and 2 is even
    assert round_to(2.5 * tiny, format_) == 2 * tiny


@each_format
def test_decode_agrees_with_numpy_and_ml_dtypes_on_every_pattern(format_: Format) -> None:
    words = many_patterns(format_)
    ours = decode(words, format_)
    theirs = natively(words, format_)
    assert np.array_equal(ours, theirs, equal_nan=True)
    assert np.array_equal(np.signbit(ours), np.signbit(theirs))


@each_format
def test_decode_agrees_with_the_bit_fields(format_: Format) -> None:
    words = many_patterns(format_)[::37]
    expected = [oracle.as_float(oracle.decode(int(word), format_.name)) for word in words]
    assert np.array_equal(decode(words, format_), np.array(expected), equal_nan=True)


@each_format
def test_encode_undoes_decode_for_every_number(format_: Format) -> None:
    words = many_patterns(format_)
    values = decode(words, format_)
    numbers = ~np.isnan(values)
    assert np.array_equal(encode(values, format_)[numbers], words[numbers])


@each_format
def test_every_nan_is_encoded_as_the_one_quiet_nan(format_: Format) -> None:
    values = decode(many_patterns(format_), format_)
    nans = np.concatenate([values[np.isnan(values)], [-np.nan, np.nan]])
    assert len(nans) > 2
    quiet = {"bf16": 0x7FC0, "f16": 0x7E00, "f32": 0x7FC00000}[format_.name]
    assert set(encode(nans, format_).tolist()) == {quiet}
    assert len(set(bits(round_to(nans, format_)))) == 1


@each_format
def test_round_to_leaves_every_number_of_the_format_alone(format_: Format) -> None:
    values = decode(many_patterns(format_), format_)
    values = values[~np.isnan(values)]
    assert bits(round_to(values, format_)[:70000]) == bits(values[:70000])


@each_format
def test_midpoints_go_to_the_even_word_and_their_neighbours_do_not(format_: Format) -> None:
    below, above = positive_neighbours(format_)
    middle = (below + above) / 2
    even = np.where(encode(below, format_) % 2 == 0, below, above)
    for sign in (1.0, -1.0):
        assert np.array_equal(round_to(sign * middle, format_), sign * even)
        assert np.array_equal(round_to(sign * np.nextafter(middle, 0), format_), sign * below)
        assert np.array_equal(round_to(sign * np.nextafter(middle, np.inf), format_), sign * above)


@pytest.mark.parametrize("format_", [BF16, F16], ids=lambda f: f.name)
def test_no_double_rounding_just_beside_a_midpoint(format_: Format) -> None:
    """Within 2^-30 of a midpoint binary32 rounds onto it, and the tie then goes the wrong way."""
    below, above = positive_neighbours(format_)
    normal = below >= 2.0**format_.min_exponent
    below, above = below[normal], above[normal]
    middle = (below + above) / 2
    up, down = middle * (1 + 2.0**-30), middle * (1 - 2.0**-30)
    assert np.array_equal(round_to(up, format_), above)
    assert np.array_equal(round_to(down, format_), below)
    up, down = (round_to(x.astype(np.float32).astype(np.float64), format_) for x in (up, down))
    wrong = np.sum(up != above) + np.sum(down != below)
    assert wrong == len(below)  # the trap is real: half of all cases


@pytest.mark.parametrize("format_", [F16, F32], ids=lambda f: f.name)
def test_round_to_agrees_with_numpys_casts(format_: Format) -> None:
    rng = np.random.default_rng(1)
    patterns = rng.integers(0, 2**64, 200_000, dtype=np.uint64, endpoint=False)
    low, high = format_.quantum_exponent - 3, format_.max_exponent + 3
    near = np.ldexp(rng.uniform(-2, 2, 200_000), rng.integers(low, high, 200_000))
    values = np.concatenate([patterns.view(np.float64), near])
    values = values[~np.isnan(values)]
    with np.errstate(over="ignore", under="ignore"):
        theirs = values.astype(RANGES[format_.name].native).astype(np.float64)
    ours = round_to(values, format_)
    assert np.array_equal(ours, theirs)
    assert np.array_equal(np.signbit(ours), np.signbit(theirs))


@given(any_float, formats)
@steadily
def test_round_to_is_the_oracles_nearest(value: float, format_: Format) -> None:
    if np.isinf(value):
        assert round_to(value, format_) == value
        return
    expected = oracle.as_float(oracle.nearest(Fraction(value), format_.name))
    assert bits(round_to(value, format_)) == bits(np.copysign(expected, value))


@given(any_float, formats)
@steadily
def test_rounding_is_idempotent_and_odd(value: float, format_: Format) -> None:
    rounded = round_to(value, format_)
    assert bits(round_to(rounded, format_)) == bits(rounded)
    assert bits(round_to(-value, format_)) == bits(-rounded)


@given(st.lists(any_float, min_size=2, max_size=20), formats)
@steadily
def test_rounding_is_monotone(values: list[float], format_: Format) -> None:
    rounded = round_to(sorted(values), format_)
    assert all(a <= b for a, b in pairwise(rounded))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0, 3)])
def test_rounding_keeps_shapes(shape: tuple[int, ...]) -> None:
    assert round_to(np.ones(shape), BF16).shape == shape
    assert encode(np.ones(shape), F16).shape == shape
    assert decode(np.ones(shape, dtype=np.uint16), F16).shape == shape


@each_format
def test_strided_and_read_only_input_is_rounded_and_decoded_alike(format_: Format) -> None:
    values = np.linspace(-3, 3, 60)
    values.flags.writeable = False
    assert bits(round_to(values[::-7], format_)) == bits(round_to(values[::-7].copy(), format_))
    words = encode(values, format_)
    words.flags.writeable = False
    assert bits(decode(words[::-7], format_)) == bits(decode(words, format_)[::-7])


@each_format
def test_nan_stays_nan_without_a_warning(format_: Format) -> None:
    assert np.isnan(round_to([np.nan, -np.nan], format_)).all()
    signalling = np.array([int(encode(np.inf, format_)) + 1], dtype=RANGES[format_.name].word)
    values = decode(signalling, format_)
    assert np.isnan(values).all()
    assert np.isnan(np.dot(values, values))  # a signalling NaN would warn here


@given(st.fractions(), st.integers(-200, 200), formats)
@steadily
def test_round_fraction_is_the_oracles_nearest(
    value: Fraction, shift: int, format_: Format
) -> None:
    scaled = value * Fraction(2) ** shift
    assert round_fraction(scaled, format_) == oracle.as_float(oracle.nearest(scaled, format_.name))


@each_format
def test_round_fraction_rounds_midpoints_and_what_lies_beside_them(format_: Format) -> None:
    tiny = Fraction(1, 2**400)  # binary64 cannot tell these apart
    rng = np.random.default_rng(2)
    words = rng.integers(0, int(encode(np.inf, format_)), 300)
    words[:3] = (0, 1, int(encode(np.inf, format_)) - 1)
    layout = oracle.LAYOUTS[format_.name]
    for word in words:
        below, above = (oracle.magnitude(int(word) + n, layout) for n in (0, 1))
        middle = (below + above) / 2
        for real in (middle, middle + tiny, middle - tiny, -middle, -middle - tiny):
            expected = oracle.as_float(oracle.nearest(real, format_.name))
            assert round_fraction(real, format_) == expected


@each_format
def test_round_fraction_and_round_to_agree_on_binary64(format_: Format) -> None:
    below, above = positive_neighbours(format_)
    middle = ((below + above) / 2)[::131]
    for value in np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf)]):
        assert round_fraction(Fraction(float(value)), format_) == round_to(value, format_)


@given(st.fractions(min_value=0), st.integers(-500, 300), formats)
@steadily
def test_round_sqrt_is_the_oracles_nearest_root(
    square: Fraction, shift: int, format_: Format
) -> None:
    scaled = square * Fraction(2) ** shift
    expected = oracle.as_float(oracle.nearest_root(scaled, format_.name))
    assert round_sqrt(scaled, format_) == expected


@each_format
def test_round_sqrt_rounds_midpoints_and_what_lies_beside_them(format_: Format) -> None:
    tiny = Fraction(1, 2**600)
    rng = np.random.default_rng(3)
    words = rng.integers(0, int(encode(np.inf, format_)), 300)
    words[:3] = (0, 1, int(encode(np.inf, format_)) - 1)
    layout = oracle.LAYOUTS[format_.name]
    for word in words:
        below, above = (oracle.magnitude(int(word) + n, layout) for n in (0, 1))
        even, odd = (below, above) if word % 2 == 0 else (above, below)
        middle = ((below + above) / 2) ** 2
        largest = Fraction(format_.largest)
        for square, root in (
            (middle, even),
            (middle + tiny, above),
            (middle - tiny, below),
            (odd**2, odd),
        ):
            expected = float(root) if root <= largest else np.inf
            assert round_sqrt(square, format_) == expected


@each_format
def test_a_format_answers_to_each_of_its_names(format_: Format) -> None:
    for name in (format_.name, format_.safetensors, format_.torch):
        assert parse_format(name) is format_


def test_an_unknown_format_is_named_beside_those_that_are_read() -> None:
    with pytest.raises(UnsupportedFormatError) as error:
        parse_format("F8_E4M3")
    assert str(error.value) == (
        "number format 'F8_E4M3' is not read here; expected one of bf16, f16, f32"
    )


@each_format
def test_a_words_integer_is_as_wide_as_the_format(format_: Format) -> None:
    assert format_.word_dtype.itemsize * 8 == format_.bits
    assert format_.itemsize * 8 == format_.bits


@pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
def test_the_unit_in_the_last_place_is_the_distance_to_the_next_number_away(
    format_: Format,
) -> None:
    below, above = positive_neighbours(format_)
    assert np.array_equal(ulp(below, format_), above - below)
    assert np.array_equal(ulp(-below, format_), above - below)
    largest = float(ulp(format_.largest, format_))
    assert float(ulp(np.inf, format_)) == float(ulp(-np.inf, format_)) == largest
    assert largest == 2.0 ** (format_.max_exponent - format_.precision + 1)
    assert float(ulp(0.0, format_)) == float(ulp(-0.0, format_)) == 2.0**format_.quantum_exponent
    assert np.isnan(ulp(np.nan, format_))
