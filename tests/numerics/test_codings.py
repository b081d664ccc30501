"""8-bit numbers with and without scales, and binary64: every word beside integers and fractions."""

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.errors import UnsupportedFormatError
from isologit.numerics.codings import FLOAT8_TYPES, Rounded64, ScaledFloat8
from isologit.numerics.formats import BF16, F32
from isologit.numerics.stored import Coding, Matrix
from oracle import fraction_oracle as oracle
from oracle.fraction_oracle import Real, Special

Words = npt.NDArray[Any]

QUIET_NAN = 0x7FC00000
EVERY_WORD = np.arange(256, dtype=np.uint8).reshape(1, 256)
# Bits of the exponent and of the fraction, and the exponent's bias.
FIELDS = {
    "f8_e4m3": (4, 3, 7),
    "f8_e5m2": (5, 2, 15),
    "f8_e4m3fnuz": (4, 3, 8),
    "f8_e5m2fnuz": (5, 2, 16),
}
each_float8 = pytest.mark.parametrize("name", FLOAT8_TYPES)


def float8(name: str, word: int) -> Real:
    """Return what a word says by the definition of its format.

    e5m2 is IEEE 754's; e4m3(fn) has no infinities and a NaN where all other bits are set; the
    ``fnuz`` formats have one NaN, in the place of −0 (OCP 8-bit Floating Point Specification 1.0;
    Noune et al., 8-bit Numerical Formats for Deep Neural Networks).
    """
    exponent_bits, fraction_bits, bias = FIELDS[name]
    negative, rest = divmod(word, 128)
    exponent, fraction = divmod(rest, 1 << fraction_bits)
    if name.endswith("fnuz"):
        if word == 128:
            return Special.NAN
    elif name == "f8_e4m3":
        if rest == 127:
            return Special.NAN
    elif exponent == (1 << exponent_bits) - 1:
        infinity = Special.MINUS_INFINITY if negative else Special.PLUS_INFINITY
        return Special.NAN if fraction else infinity
    part = Fraction(fraction, 1 << fraction_bits) + (exponent > 0)
    value = part * Fraction(2) ** (max(exponent, 1) - bias)
    return -value if negative else value


def decoded(coding: Coding, stored: Words, rows: npt.ArrayLike | None = None) -> Words:
    """Return the words that some rows are decoded into, all of them where none are named."""
    ids = np.asarray(np.arange(len(stored)) if rows is None else rows, dtype=np.int64)
    out = np.full((len(ids), coding.width), 0xDEAD, dtype=coding.format.word_dtype)
    coding.decode(stored, ids, out)
    return out


@each_float8
def test_every_word_alone_is_exact_in_bf16(name: str) -> None:
    words = decoded(ScaledFloat8(name, 1, 256), EVERY_WORD)
    assert words.dtype == np.uint16
    assert [oracle.decode(word, "bf16") for word in words[0].tolist()] == [
        float8(name, word) for word in range(256)
    ]


@each_float8
def test_zeros_keep_their_sign_and_every_nan_is_the_quiet_one(name: str) -> None:
    words = decoded(ScaledFloat8(name, 1, 256), EVERY_WORD)[0]
    assert words[0] == 0
    assert words[128] == (0x7FC0 if name.endswith("fnuz") else 0x8000)
    nan = [float8(name, word) is Special.NAN for word in range(256)]
    assert set(words[nan].tolist()) == {0x7FC0}


def from_words(*words: int) -> npt.NDArray[np.float32]:
    """Return binary32 numbers by their words."""
    return np.array(words, dtype=np.uint32).view(np.float32)


# ±0, subnormals, normal numbers about 1 and at either end, infinities, NaN; and some at random.
SCALES = from_words(
    *(0, 1, 0x7FFFFF, 0x800000, 0x3F7FFFFF, 0x3F800001, 0x7F7FFFFF, 0x7F800000, 0x7F800001),
    *(0x80000000, 0x80000003, 0xBF9D70A4, 0xFF800000, 0xFFC00000),
    *np.random.default_rng(0).integers(0x20000000, 0x60000000, 6).tolist(),
)


@each_float8
def test_a_scaled_word_is_the_real_product_rounded_once(name: str) -> None:
    stored = np.repeat(EVERY_WORD, len(SCALES), axis=0)
    words = decoded(ScaledFloat8(name, len(SCALES), 256, SCALES), stored)
    assert words.dtype == np.uint32
    for scale, row in zip(SCALES.view(np.uint32).tolist(), words.tolist(), strict=True):
        for word, found in enumerate(row):
            exact = oracle.multiply(float8(name, word), oracle.decode(scale, "f32"))
            assert oracle.decode(found, "f32") == oracle.nearest(exact, "f32")
            assert exact is not Special.NAN or found == QUIET_NAN


def test_a_zero_has_the_sign_of_its_factors() -> None:
    words = decoded(
        ScaledFloat8("f8_e5m2", 2, 2, from_words(0x3F800000, 0xBF800000)),
        np.array([[0, 128]] * 2, np.uint8),
    )
    assert words.tolist() == [[0, 0x80000000], [0x80000000, 0]]


def draw(n_tokens: int, width: int) -> npt.NDArray[np.uint8]:
    """Return words of any bits at all."""
    return np.random.default_rng(1).integers(0, 256, (n_tokens, width), dtype=np.uint8)


def peer(name: str, stored: Words, scale: Any) -> Words:
    """Return numpy's products as words, every NaN the quiet one."""
    with np.errstate(all="ignore"):
        product = stored.view(FLOAT8_TYPES[name]).astype(np.float32) * np.float32(scale)
    return np.where(np.isnan(product), np.uint32(QUIET_NAN), product.view(np.uint32))


@each_float8
def test_one_scale_for_all_is_numpy_s_product(name: str) -> None:
    stored, scale = draw(5, 33), np.array(0.37, np.float32)
    coding = ScaledFloat8(name, 5, 33, scale)
    np.testing.assert_array_equal(decoded(coding, stored), peer(name, stored, scale))
    assert coding.row_keys is None


@pytest.mark.parametrize("block", [(1, 1), (2, 3), (3, 8), (4, 16), (128, 128), (1, 33), (5, 1)])
def test_scales_of_blocks_cover_the_matrix_from_its_corner(block: tuple[int, int]) -> None:
    stored = draw(5, 33)
    shape = -(-5 // block[0]), -(-33 // block[1])
    scale = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    coding = ScaledFloat8("f8_e4m3", 5, 33, scale, block)
    spread = np.repeat(np.repeat(scale, block[0], axis=0), block[1], axis=1)[:5, :33]
    expected = peer("f8_e4m3", stored, spread)
    np.testing.assert_array_equal(decoded(coding, stored), expected)
    np.testing.assert_array_equal(decoded(coding, stored, [4, 0, 4]), expected[[4, 0, 4]])


def test_scales_that_are_a_view_across_memory_are_read_as_they_stand() -> None:
    stored, scales = draw(4, 8), np.arange(1, 9, dtype=np.float32)
    words = decoded(ScaledFloat8("f8_e4m3", 4, 8, scales[::2]), stored)
    np.testing.assert_array_equal(words, peer("f8_e4m3", stored, scales[::2, np.newaxis]))


def test_rows_have_equal_keys_exactly_where_their_scales_are_equal_bits() -> None:
    scale = from_words(0, 0x80000000, 0x7FC00000, 0x7FC00001, 0x7FC00000, 0, 0x3F800000)
    keys = ScaledFloat8("f8_e4m3", 7, 4, scale).row_keys
    assert keys is not None
    words = scale.view(np.uint32)
    np.testing.assert_array_equal(
        keys[:, np.newaxis] == keys, words[:, np.newaxis] == words, strict=True
    )


def test_rows_of_blocks_with_equal_scales_have_equal_keys() -> None:
    scale = np.array([[1, 2], [1, 3], [1, 2], [2, 1]], np.float32)
    keys = ScaledFloat8("f8_e4m3", 7, 4, scale, (2, 3)).row_keys
    assert keys is not None
    a, b, c = keys[0], keys[2], keys[6]
    assert keys.tolist() == [a, a, b, b, a, a, c]
    assert len({int(a), int(b), int(c)}) == 3


@pytest.mark.parametrize(
    "coding",
    [
        ScaledFloat8("f8_e4m3", 3, 4),
        ScaledFloat8("f8_e4m3", 3, 4, np.ones((), np.float32)),
        ScaledFloat8("f8_e4m3", 3, 4, np.full(3, np.nan, np.float32)),
        ScaledFloat8("f8_e4m3", 3, 4, np.ones((1, 2), np.float32), (128, 2)),
        Rounded64(4),
    ],
)
def test_rows_that_all_have_the_same_scales_have_no_keys(coding: Coding) -> None:
    assert coding.row_keys is None


@each_float8
@pytest.mark.parametrize("scaled", [False, True])
def test_a_matrix_has_the_rows_that_its_words_stand_for(name: str, scaled: bool) -> None:
    stored = draw(6, 5) & np.uint8(0xBF)  # finite
    scale = np.arange(6, dtype=np.float32) if scaled else None
    matrix = Matrix(stored, F32 if scaled else BF16, ScaledFloat8(name, 6, 5, scale))
    assert (matrix.width, matrix.stored_as) == (5, name)
    values = stored.view(FLOAT8_TYPES[name]).astype(np.float64)
    expected = values * np.arange(6)[:, np.newaxis] if scaled else values
    np.testing.assert_array_equal(matrix.rows([5, 0, 5]), expected[[5, 0, 5]])


def test_formats_are_named_as_in_a_safetensors_header() -> None:
    assert FLOAT8_TYPES["f8_e4m3"] is ml_dtypes.float8_e4m3fn
    with pytest.raises(UnsupportedFormatError) as caught:
        ScaledFloat8("f8_e8m0", 1, 1)
    assert str(caught.value) == (
        "8-bit format 'f8_e8m0' is not decoded here; expected one of "
        "f8_e4m3, f8_e5m2, f8_e4m3fnuz, f8_e5m2fnuz"
    )


@pytest.mark.parametrize(
    ("scale", "block", "message"),
    [
        (np.ones(4, np.float32), None, "must be float32 of shape () or (5,), got float32 (4,)"),
        (np.ones(5), None, "of a [5, 7] matrix must be float32 of shape () or (5,), got float64"),
        (np.ones((5, 1), np.float32), None, "got float32 (5, 1)"),
        (np.ones((3, 2), np.float32), (2, 3), "must be float32 of shape (3, 3), got float32"),
        (np.ones(5, np.float32), (2, 3), "must be float32 of shape (3, 3), got float32 (5,)"),
        (np.ones((5, 7), np.float32), (0, 1), "blocks must have rows and columns, got (0, 1)"),
        (None, (2, 3), "blocks of (2, 3) have no scales"),
    ],
)
def test_scales_of_another_shape_or_type_are_refused(scale: Any, block: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"scales|blocks") as caught:
        ScaledFloat8("f8_e4m3", 5, 7, scale, block)
    assert message in str(caught.value)


def test_another_number_of_rows_than_scales_is_refused() -> None:
    coding = ScaledFloat8("f8_e4m3", 5, 7, np.ones(5, np.float32))
    with pytest.raises(ValueError, match=r"^expected 5 rows, got 6$"):
        coding.decode(draw(6, 7), np.arange(1), np.empty((1, 7), np.uint32))


def rounded(*values: float) -> list[int]:
    """Return the binary32 words of some binary64 numbers."""
    stored = np.array([values], dtype=np.float64).view(np.uint64)
    words: list[int] = decoded(Rounded64(len(values)), stored)[0].tolist()
    return words


def as_oracle(value: float) -> Real:
    """Return a finite binary64 number rounded once by bisection."""
    return oracle.nearest(Fraction(value), "f32")


def beside(word: int) -> list[float]:
    """Return a positive binary32 number, the midpoint after it, and binary64's neighbours of both.

    Where the word is the largest finite one, the number after it is as if there were no infinity.
    """
    here, after = (oracle.magnitude(word + n, oracle.LAYOUTS["f32"]) for n in range(2))
    places = [float(here), float((here + after) / 2)]
    return [near for x in places for near in (np.nextafter(x, 0), x, np.nextafter(x, np.inf))]


@pytest.mark.parametrize(
    "word", [0, 1, 2, 0x7FFFFE, 0x7FFFFF, 0x800000, 0x3F800000, 0x3F800001, 0x7F7FFFFE, 0x7F7FFFFF]
)
def test_numbers_beside_a_midpoint_are_rounded_once_to_even(word: int) -> None:
    values = [sign * value for value in beside(word) for sign in (1, -1)]
    assert [oracle.decode(found, "f32") for found in rounded(*values)] == [
        as_oracle(value) for value in values
    ]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_any_binary64_number_is_rounded_once(values: list[float]) -> None:
    assert [oracle.decode(word, "f32") for word in rounded(*values)] == [
        as_oracle(value) for value in values
    ]


@given(st.integers(0, 0x7F7FFFFF))
def test_numbers_beside_any_midpoint_are_rounded_once(word: int) -> None:
    assert [oracle.decode(found, "f32") for found in rounded(*beside(word))] == [
        as_oracle(value) for value in beside(word)
    ]


def test_what_no_real_number_is_stays_so_and_zeros_keep_their_sign() -> None:
    assert rounded(np.inf, -np.inf, 0.0, -0.0, -5e-324, 1e300, -1e300) == [
        *(0x7F800000, 0xFF800000, 0, 0x80000000, 0x80000000, 0x7F800000, 0xFF800000)
    ]
    nans = [0x7FF8 << 48, 0xFFF8 << 48, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF]
    words = decoded(Rounded64(4), np.array([nans], dtype=np.uint64))
    assert words.tolist() == [[QUIET_NAN] * 4]


def test_a_matrix_of_binary64_at_an_odd_byte_is_not_copied() -> None:
    values = np.random.default_rng(4).normal(size=(5, 3))
    raw = b"?" + values.tobytes()
    stored = np.frombuffer(raw, np.uint64, offset=1).reshape(5, 3)
    assert not stored.flags.aligned
    matrix = Matrix(stored, F32, Rounded64(3))
    assert matrix.stored_as == "f64"
    np.testing.assert_array_equal(matrix.rows([4, 0]), values.astype(np.float32)[[4, 0]])


def test_words_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^stored must be a C-contiguous uint64 array"):
        Rounded64(2).decode(np.ones((1, 2)), np.arange(1), np.empty((1, 2), np.uint32))  # type: ignore[arg-type]
