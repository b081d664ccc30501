"""Casts of whole matrices: what they are called, what they are made of, and what they keep."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from isologit.numerics import parallel
from isologit.numerics.cast_formats import CASTS, SCHEMES, Rules, is_float8, why_impossible
from isologit.numerics.casts import cast
from isologit.numerics.codings import Rounded64, ScaledFloat8
from isologit.numerics.formats import BF16, F16, F32, FORMATS, decode, encode
from isologit.numerics.gguf_blocks import GgufBlocks
from isologit.numerics.stored import Matrix

V, D = 70, 64
PLAIN = Rules()


def gaussian(format_: Any = BF16, spread: float = 0.02, seed: int = 0) -> Matrix:
    values = np.random.default_rng(seed).standard_normal((V, D)) * spread
    return Matrix.of_values(values, format_)


def values_of(matrix: Matrix) -> Any:
    return matrix.rows(np.arange(matrix.n_tokens))


def test_every_format_has_a_scheme() -> None:
    assert tuple(SCHEMES) == CASTS
    assert [name for name in CASTS if is_float8(name)] == ["f8_e4m3fn", "f8_e5m2"]


@pytest.mark.parametrize("name", ["bf16", "f16", "f32"])
def test_a_cast_to_its_own_format_is_the_matrix_itself(name: str) -> None:
    matrix = gaussian({f.name: f for f in FORMATS}[name])
    made = cast(matrix, name, PLAIN)
    assert made.matrix is matrix
    assert (made.kind, made.counts, made.scaling, made.overflow) == ("identity", None, "none", None)


@pytest.mark.parametrize("source", [BF16, F16], ids=lambda f: f.name)
def test_numbers_of_16_bits_are_all_numbers_of_binary32(source: Any) -> None:
    matrix = gaussian(source)
    made = cast(matrix, "f32", PLAIN)
    assert (made.kind, made.counts) == ("exact", None)
    assert made.matrix is matrix


@pytest.mark.parametrize(
    ("source", "name"), [(BF16, "f16"), (F16, "bf16"), (F32, "f16"), (F32, "bf16")]
)
def test_where_numbers_are_lost_each_is_rounded_once(source: Any, name: str) -> None:
    matrix = gaussian(source, spread=1e-5)
    made = cast(matrix, name, PLAIN)
    to = {f.name: f for f in FORMATS}[name]
    assert (made.kind, made.overflow, made.matrix.format) == ("rounded", "infinity", to)
    np.testing.assert_array_equal(made.matrix.words, encode(values_of(matrix), to))


@pytest.mark.parametrize("scaling", ["none", "tensor", "row"])
@pytest.mark.parametrize("name", ["f8_e4m3fn", "f8_e5m2"])
def test_8_bit_floats_are_quotients_by_the_scale_that_decodes_them(name: str, scaling: Any) -> None:
    matrix = gaussian(F32)
    made = cast(matrix, name, Rules(scaling=scaling))
    coding = made.matrix.coding
    assert isinstance(coding, ScaledFloat8)
    assert made.scaling == scaling
    native = ml_dtypes.float8_e4m3fn if name == "f8_e4m3fn" else ml_dtypes.float8_e5m2
    largest = np.float32(ml_dtypes.finfo(native).max)
    values = values_of(matrix)
    if scaling == "none":
        assert coding.scale is None
        quotients = values
    else:
        axis = None if scaling == "tensor" else 1
        expected = abs(values).max(axis=axis).astype(np.float32) / largest
        np.testing.assert_array_equal(coding.scale, expected)
        quotients = values / np.asarray(expected, dtype=np.float64).reshape(-1, 1)
        assert made.counts is not None
        assert made.counts.overflowed == 0
    # A binary64 quotient is on the right side of every tie.
    nearest = np.array([ml_dtypes_nearest(x, native) for x in quotients.ravel()])
    np.testing.assert_array_equal(made.matrix.words.ravel(), nearest)


def ml_dtypes_nearest(x: float, native: Any) -> int:
    """Return the word of an 8-bit format that is nearest to a number; of two the even one."""
    words = np.arange(128, dtype=np.uint8)
    numbers = words.view(native).astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    apart = abs(numbers - abs(x))
    best = np.flatnonzero(apart == apart.min())
    word = int(best[0] if len(best) == 1 or best[0] % 2 == 0 else best[1])
    return word | (0x80 if np.signbit(x) else 0)


@pytest.mark.parametrize(("name", "axis"), [("int8_row", 1), ("int8_channel", 0)])
def test_integers_have_a_scale_of_the_largest_magnitude_by_127(name: str, axis: int) -> None:
    matrix = gaussian()
    made = cast(matrix, name, PLAIN)
    values = values_of(matrix)
    scale = abs(values).max(axis=axis).astype(np.float32) / np.float32(127)
    coding: Any = made.matrix.coding
    np.testing.assert_array_equal(coding.scale, scale)
    wide = np.expand_dims(scale.astype(np.float64), axis)
    integers = np.rint(values / wide)
    np.testing.assert_array_equal(made.matrix.words.view(np.int8), integers)
    decoded = (integers.astype(np.float32) * np.expand_dims(scale, axis)).astype(np.float64)
    np.testing.assert_array_equal(values_of(made.matrix), decoded)
    assert abs(made.matrix.words.view(np.int8)).max(axis=axis).tolist() == [127] * len(scale)


@pytest.mark.parametrize("name", ["int8_row", "int8_channel", "f8_e4m3fn", "f8_e5m2"])
def test_zeros_and_what_is_too_small_for_a_scale_become_zeros(name: str) -> None:
    values = np.zeros((3, 4))
    values[1] = 2.0**-149
    made = cast(Matrix.of_values(values, F32), name, Rules(scaling="row"))
    assert (values_of(made.matrix) == 0).all()
    assert made.counts == (4, 0, 0)


@pytest.mark.parametrize("name", ["int8_row", "int8_channel", "f8_e4m3fn", "f8_e5m2"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_scale_of_what_is_not_finite_makes_what_is_no_number(name: str, bad: float) -> None:
    values = np.ones((3, 4))
    values[1, 2] = bad
    decoded = values_of(cast(Matrix.of_values(values, BF16), name, Rules(scaling="row")).matrix)
    expected = np.ones((3, 4), dtype=bool)
    if name == "int8_channel":
        expected[:, 2] = False
    else:
        expected[1] = False
    np.testing.assert_array_equal(np.isfinite(decoded), expected)


@pytest.mark.parametrize("name", [name for name in CASTS if name != "bf16"])
def test_a_matrix_in_many_blocks_on_many_threads_is_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = gaussian()
    whole = cast(matrix, name, Rules(scaling="row"))
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(parallel, "_threads", 3)
    parts = cast(Matrix(matrix.words, BF16), name, Rules(scaling="row"))
    np.testing.assert_array_equal(whole.matrix.words, parts.matrix.words)
    assert whole.counts == parts.counts


class TestOfWhatIsStoredOtherwise:
    """Codings: blocks, 8-bit floats, binary64."""

    def stored(self, name: str) -> Matrix:
        return cast(gaussian(), name, PLAIN).matrix

    @pytest.mark.parametrize("name", ["q8_0", "q5_1", "q4_0", "f8_e4m3fn", "f8_e5m2"])
    def test_its_own_format_is_the_identity(self, name: str) -> None:
        matrix = self.stored(name)
        made = cast(matrix, name, PLAIN)
        assert made.matrix is matrix
        assert made.kind == "identity"

    def test_8_bit_floats_with_scales_of_their_own_are_of_the_format_too(self) -> None:
        matrix = cast(gaussian(), "f8_e4m3fn", Rules(scaling="row")).matrix
        made = cast(matrix, "f8_e4m3fn", Rules(scaling="tensor"))
        assert (made.kind, made.scaling) == ("identity", "row")
        # Without scales, to be given some, they are not.
        assert cast(self.stored("f8_e4m3fn"), "f8_e4m3fn", Rules(scaling="row")).kind == "rounded"
        assert cast(matrix, "f8_e5m2", PLAIN).kind == "rounded"

    @pytest.mark.parametrize("name", ["f8_e4m3fn", "f8_e5m2"])
    @pytest.mark.parametrize("to", ["f16", "bf16", "f32"])
    def test_8_bit_floats_are_numbers_of_every_wider_format(self, name: str, to: str) -> None:
        every = np.arange(256, dtype=np.uint8).reshape(4, 64)
        coding = ScaledFloat8(name.replace("fn", ""), 4, 64)
        matrix = Matrix(every, BF16, coding)
        made = cast(matrix, to, PLAIN)
        assert (made.kind, made.counts) == ("exact", None)
        np.testing.assert_array_equal(values_of(made.matrix), values_of(matrix))

    @pytest.mark.parametrize("to", ["f16", "bf16", "f32", "f8_e4m3fn", "int8_row", "q8_0"])
    def test_the_decoded_values_are_cast(self, to: str) -> None:
        matrix = self.stored("q5_1")
        plain = Matrix(matrix.block(0, V), F32)
        made, expected = cast(matrix, to, PLAIN), cast(plain, to, PLAIN)
        assert made.kind == ("exact" if to == "f32" else "rounded")
        np.testing.assert_array_equal(values_of(made.matrix), values_of(expected.matrix))
        np.testing.assert_array_equal(made.matrix.words, expected.matrix.words)

    @pytest.mark.parametrize("to", ["f16", "bf16", "f32", "f8_e4m3fn"])
    def test_binary64_is_rounded_once(self, to: str) -> None:
        # Just above a tie of each format: binary32 would take it for the tie.
        values = np.full((2, 32), 1 + 2.0**-4 + 2.0**-40)
        values[0, :3] = [1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-24 + 2.0**-50]
        matrix = Matrix(values.view(np.uint64), F32, Rounded64(32))
        made = cast(matrix, to, PLAIN)
        assert made.kind == "rounded"
        first = {"f16": 1 + 2.0**-10, "bf16": 1.0, "f32": 1 + 2.0**-11, "f8_e4m3fn": 1.0}[to]
        second = {"bf16": 1 + 2.0**-7}
        third = {"f32": 1 + 2.0**-23}
        found = values_of(made.matrix)
        assert found[0, 0] == first
        assert found[0, 1] == second.get(to, found[0, 1])
        assert found[0, 2] == third.get(to, found[0, 2])
        assert found[1, 0] == (1.125 if to == "f8_e4m3fn" else found[1, 0])

    def test_scales_are_of_binary32_values(self) -> None:
        values = np.random.default_rng(1).standard_normal((5, 32))
        matrix = Matrix(values.view(np.uint64), F32, Rounded64(32))
        plain = Matrix.of_values(values, F32)
        for to in ("q4_1", "int8_row", "int8_channel"):
            np.testing.assert_array_equal(
                cast(matrix, to, PLAIN).matrix.words, cast(plain, to, PLAIN).matrix.words
            )

    def test_its_scales_are_named(self) -> None:
        blocks = np.zeros((4, GgufBlocks("q4_k", 256).row_bytes), np.uint8)
        assert cast(Matrix(blocks, F32, GgufBlocks("q4_k", 256)), "f16", PLAIN).kind == "rounded"
        assert cast(self.stored("q8_0"), "q8_0", PLAIN).scaling == "block"


def test_a_format_that_is_not_possible_is_refused() -> None:
    assert why_impossible("q8_0", 1000) == "rows of 1,000 numbers are not whole blocks of 32"
    matrix = Matrix.of_values(np.ones((2, 33)), BF16)
    with pytest.raises(ValueError, match="q4_0: rows of 33 numbers are not whole blocks of 32"):
        cast(matrix, "q4_0", PLAIN)
    with pytest.raises(ValueError, match="no cast to 'q9'; expected one of f32"):
        cast(matrix, "q9", PLAIN)


def test_bf16_to_bf16_keeps_every_pattern_but_the_words_of_nan() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    matrix = Matrix(every, BF16)
    assert cast(matrix, "bf16", PLAIN).matrix.words is matrix.words
    again = cast(Matrix(cast(matrix, "f32", PLAIN).matrix.words, BF16), "bf16", PLAIN)
    np.testing.assert_array_equal(decode(again.matrix.words, BF16), decode(every, BF16))
