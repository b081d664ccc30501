"""Distances in ULP against the order of a format's numbers, listed; and against peers' casts."""

from bisect import bisect_left
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.numerics.codings import Rounded64, ScaledFloat8
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.gguf_blocks import GgufBlocks
from isologit.numerics.parallel import set_threads
from isologit.numerics.stored import Matrix
from isologit.numerics.ulp_distances import coarser, row_moves, stored_alike

Words = npt.NDArray[np.unsignedinteger]
NATIVE: dict[str, Any] = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}


def values_of(words: Words, format_: Format) -> list[float]:
    """Return what words stand for, by the libraries that have the types."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        found: list[float] = words.view(NATIVE[format_.name]).astype(np.float64).tolist()
    return found


@cache
def order_of(format_: Format) -> list[float]:
    """Return every number of a 16-bit format in order, ±0 once, infinities at the ends."""
    every = values_of(np.arange(1 << 16, dtype=np.uint16), format_)
    return sorted({x + 0.0 for x in every if x == x})


def place(value: float, format_: Format) -> int:
    """Return where in the order the number is that a value rounds to, zero being at 0."""
    order = order_of(format_)
    zero = len(order) // 2
    if abs(value) == float("inf"):
        return zero if value > 0 else -zero
    size = Fraction(abs(value))
    above = bisect_left(order, float(size))
    # Where infinity stands, IEEE 754 rounds as if the next power of two did.
    high, low = (
        Fraction(2) ** (format_.max_exponent + 1) if n == len(order) - 1 else Fraction(order[n])
        for n in (above, max(above - 1, zero))
    )
    if size >= high:
        return above - zero if value > 0 else zero - above
    nearer_above = high - size < size - low
    # Of the two beside a tie the one with an even word: words count from zero, as places do.
    tie = high - size == size - low and (above - zero) % 2 == 0
    found = above - zero - (0 if nearer_above or tie else 1)
    return found if value > 0 else -found


def expected(left: list[float], right: list[float], format_: Format) -> tuple[int, int, int, int]:
    """Return the largest distance, the entries moved, NaNs in one alone, and signs that changed."""
    largest = moved = nans = through = 0
    for x, y in zip(left, right, strict=True):
        if x != x or y != y:
            nans += (x != x) != (y != y)
            continue
        places = place(x, format_), place(y, format_)
        distance = abs(places[0] - places[1])
        largest, moved = max(largest, distance), moved + (distance > 0)
        sides = [(each > 0) - (each < 0) for each in places]
        through += sides[0] != sides[1]
    return largest, moved, nans, through


def figures(before: Matrix, after: Matrix, format_: Format | None = None) -> list[tuple[int, ...]]:
    moves = row_moves(before, after, format_)
    columns = (moves.largest, moves.entries, moves.unlike_nan, moves.through_zero)
    return list(zip(*(each.tolist() for each in columns), strict=True))


SPECIAL_16 = [0, 1, 2, 0x8000, 0x8001, 0x7C00, 0x7BFF, 0x7C01, 0xFC00, 0x7F80, 0x7F7F, 0x7F81]
SPECIAL_16 += [0xFF80, 0x0080, 0x007F, 0x03FF, 0x0400, 0x3F80, 0x3F81, 0x3C00, 0xBC00, 0x7FC0]
SPECIAL_32 = [0, 1, 1 << 31, 0x7F800000, 0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 0xFF800000, 0x7FC00001]
SPECIAL_32 += [0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x00007FFF, 0x00008000, 0x00008001]
SPECIAL_32 += [0x477FEFFF, 0x477FF000, 0x33000000, 0x33000001, 0x387FE000, 0x387FF000, 0x00800000]


@st.composite
def two_matrices(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    n = shape[0] * shape[1]
    made = []
    for _ in range(2):
        format_ = draw(st.sampled_from(FORMATS))
        special = SPECIAL_32 if format_ is F32 else SPECIAL_16
        word = st.one_of(st.sampled_from(special), st.integers(0, (1 << format_.bits) - 1))
        words = np.array(draw(st.lists(word, min_size=n, max_size=n)), dtype=np.uint32)
        stored = words if format_ is F32 else words.astype(np.uint16)
        made.append(Matrix(stored.reshape(shape), format_))
    return made[0], made[1]


@given(two_matrices(), st.sampled_from([BF16, F16]))
def test_distances_are_those_in_the_order_of_all_numbers(
    two: tuple[Matrix, Matrix], format_: Format
) -> None:
    before, after = two
    rows = [
        expected(left, right, format_)
        for left, right in zip(
            *([values_of(row, each.format) for row in each.words] for each in two), strict=True
        )
    ]
    assert figures(before, after, format_) == rows


@given(two_matrices())
def test_sameness_is_of_bits_and_of_values(two: tuple[Matrix, Matrix]) -> None:
    before, after = two
    moves = row_moves(before, after)
    for n in range(before.n_tokens):
        x, y = (values_of(each.words[n], each.format) for each in two)
        same = all(a == b or (a != a and b != b) for a, b in zip(x, y, strict=True))
        assert moves.same_values[n] == same
        if before.format == after.format:
            assert moves.same_bits is not None
            assert moves.same_bits[n] == (before.words[n].tolist() == after.words[n].tolist())
        else:
            assert moves.same_bits is None
    assert (
        moves.frozen == (moves.same_values if moves.same_bits is None else moves.same_bits)
    ).all()


@pytest.mark.parametrize("format_", [BF16, F16], ids=lambda each: each.name)
def test_each_of_all_words_is_one_step_from_the_next(format_: Format) -> None:
    words = np.arange(1 << 16, dtype=np.uint16)
    numbers = ~np.isnan(np.array(values_of(words, format_)))
    zeros = np.zeros((1 << 16, 1), dtype=np.uint16)
    moves = row_moves(Matrix(zeros, format_), Matrix(words.reshape(-1, 1), format_))
    places = np.array([place(x, format_) for x in np.array(values_of(words, format_))[numbers]])
    assert (moves.largest[numbers] == np.abs(places)).all()
    assert (moves.unlike_nan == ~numbers).all()
    assert (moves.largest[~numbers] == 0).all()


@pytest.mark.parametrize(("wide", "narrow"), [(F32, BF16), (F32, F16), (F16, BF16)])
def test_a_cast_by_a_library_moves_nothing(wide: Format, narrow: Format) -> None:
    if wide is F16:
        words = np.arange(1 << 16, dtype=np.uint16)
    else:
        random = np.random.default_rng(0).integers(0, 1 << 32, 60_000, dtype=np.uint32)
        words = np.r_[random, np.array(SPECIAL_32, dtype=np.uint32)]
    with np.errstate(over="ignore", invalid="ignore"):
        cast = words.view(NATIVE[wide.name]).astype(NATIVE["f32"]).astype(NATIVE[narrow.name])
    before = Matrix(words.reshape(-1, 1), wide)
    after = Matrix(cast.view(np.uint16).reshape(-1, 1), narrow)
    moves = row_moves(before, after)
    assert moves.format is narrow
    assert not moves.largest.any()
    assert not moves.unlike_nan.any()


def test_an_ulp_of_f32_is_counted_in_whole_numbers_beyond_32_bits() -> None:
    words = np.array([[0x7F800000], [0x00000001], [0x3F800000]], dtype=np.uint32)
    negative = np.array([[0xFF800000], [0x80000001], [0x3F800003]], dtype=np.uint32)
    assert figures(Matrix(words, F32), Matrix(negative, F32)) == [
        (2 * 0x7F800000, 1, 0, 1),
        (2, 1, 0, 1),
        (3, 1, 0, 0),
    ]


def test_zeros_are_one_number_and_so_are_nans() -> None:
    words = np.array([[0x0000, 0x7FC0], [0x0000, 0x3F80]], dtype=np.uint16)
    others = np.array([[0x8000, 0x7FC1], [0x0000, 0x3F80]], dtype=np.uint16)
    moves = row_moves(Matrix(words, BF16), Matrix(others, BF16))
    assert moves.same_values.tolist() == [True, True]
    assert moves.frozen.tolist() == [False, True]
    assert moves.largest.tolist() == [0, 0]


def test_nans_are_the_same_value_in_two_formats() -> None:
    before = Matrix.of_values([[np.nan, 1.0], [2.0, 1.0]], F32)
    moves = row_moves(before, Matrix.of_values([[np.nan, 1.0], [np.nan, 1.0]], BF16))
    assert moves.same_values.tolist() == [True, False]
    assert moves.unlike_nan.tolist() == [0, 1]


def test_the_coarser_format_is_the_one_that_counts() -> None:
    assert [coarser(a, b) for a, b in product(FORMATS, repeat=2)] == [
        *(BF16, BF16, BF16),
        *(BF16, F16, F16),
        *(BF16, F16, F32),
    ]


@pytest.mark.parametrize("width", [1, 255, 256, 257, 600])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_entry_is_found_wherever_it_is(width: int, threads: int) -> None:
    words = np.random.default_rng(0).integers(0x3C00, 0x4000, (3 * width, width), dtype=np.uint16)
    moved = words.copy()
    for n in range(3 * width):
        moved[n, n % width] += n // width
    try:
        set_threads(threads)
        moves = row_moves(Matrix(words, BF16), Matrix(moved, BF16))
    finally:
        set_threads(0)
    assert moves.largest.tolist() == [n // width for n in range(3 * width)]
    assert (moves.frozen == (moves.largest == 0)).all()


@pytest.mark.parametrize("format_", FORMATS, ids=lambda each: each.name)
def test_words_may_lie_at_any_byte(format_: Format) -> None:
    kind: Any = np.uint32 if format_ is F32 else np.uint16
    words = np.arange(1000, 1012, dtype=kind).reshape(3, 4)
    raw = np.zeros(words.nbytes + 1, dtype=np.uint8)
    raw[1:] = words.view(np.uint8).reshape(-1)
    odd = raw[1:].view(kind).reshape(3, 4)
    assert not odd.flags.aligned
    moves = row_moves(Matrix(odd, format_), Matrix(words + kind(2), format_))
    assert moves.largest.tolist() == [2, 2, 2]
    assert row_moves(Matrix(odd, format_), Matrix(words, format_)).frozen.all()


def test_rows_that_both_have_are_compared() -> None:
    words = np.arange(12, dtype=np.uint16).reshape(4, 3)
    assert row_moves(Matrix(words, BF16), Matrix(words[:2], BF16)).frozen.tolist() == [True, True]
    assert row_moves(Matrix(words[:2], F16), Matrix(words, F16)).frozen.tolist() == [True, True]


def test_rows_of_other_widths_are_refused() -> None:
    one, other = (Matrix(np.zeros((2, n), dtype=np.uint16), BF16) for n in (3, 4))
    with pytest.raises(ValueError, match="rows of 3 and of 4 entries"):
        row_moves(one, other)


class TestCodings:
    """Rows in a coding: bits of what is stored, ULP of what it is decoded into."""

    def blocks(self) -> Words:
        stored = np.random.default_rng(0).integers(0, 256, (3, 34), dtype=np.uint8)
        stored[:, 0:2] = np.array([1.0], np.float16).view(np.uint8)
        return stored

    def test_blocks_are_compared_by_their_bytes(self) -> None:
        stored = self.blocks()
        other = stored.copy()
        other[1, 5] += 1
        # A scale of half and quants of twice as much: other bytes, the same values.
        stored[2, 2:], other[2, 2:] = 2, 4
        other[2, 0:2] = np.array([0.5], np.float16).view(np.uint8)
        coding = GgufBlocks("q8_0", 32)
        moves = row_moves(Matrix(stored, F32, coding), Matrix(other, F32, GgufBlocks("q8_0", 32)))
        assert moves.frozen.tolist() == [True, False, False]
        assert moves.same_values.tolist() == [True, False, True]
        assert (moves.largest > 0).tolist() == [False, True, False]

    def test_scales_of_a_matrix_make_its_bits_incomparable(self) -> None:
        stored = np.full((2, 4), 0x38, dtype=np.uint8)  # 1 in e4m3fn
        one, other = (
            Matrix(stored, F32, ScaledFloat8("f8_e4m3", 2, 4, np.array(scales, np.float32)))
            for scales in ([1.0, 1.0], [1.0, 2.0])
        )
        assert not stored_alike(one, other)
        moves = row_moves(one, other)
        assert moves.same_bits is None
        assert moves.frozen.tolist() == [True, False]
        assert moves.largest.tolist() == [0, 1 << 23]

    def test_binary64_is_compared_by_its_own_bits(self) -> None:
        stored = np.array([[1.0], [1.0]]).view(np.uint64)
        other = np.array([[1.0], [1.0 + 2.0**-40]]).view(np.uint64)
        one, two = (Matrix(each, F32, Rounded64(1)) for each in (stored, other))
        moves = row_moves(one, two)
        assert moves.frozen.tolist() == [True, False]
        assert moves.same_values.tolist() == [True, True]

    def test_a_coding_is_not_stored_like_what_it_decodes_into(self) -> None:
        plain = Matrix(np.zeros((3, 32), dtype=np.uint32), F32)
        assert not stored_alike(plain, Matrix(self.blocks(), F32, GgufBlocks("q8_0", 32)))
        assert stored_alike(plain, plain)
