"""Rows that one factor explains, against trying every factor that could matter."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.numerics.codings import Rounded64
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.scaled_rows import scaled_rows
from isologit.numerics.stored import Matrix
from oracle.fraction_oracle import LAYOUTS, Special, decode, magnitude, nearest


def real(word: int, format_: Format) -> Fraction | None:
    found = decode(word, format_.name)
    return None if isinstance(found, Special) else found


def possible(
    before: list[Fraction | None], after: list[int], format_: Format
) -> list[tuple[Fraction, bool]]:
    """Return the factors that could matter, and whether each explains the row, by rounding.

    What explains a row is an interval whose ends are among the quotients of a midpoint between two
    neighbours and an entry: so those, and one factor between each two of them, are all to try.
    """
    layout = LAYOUTS[format_.name]
    wanted = [real(word, format_) for word in after]
    ends = {Fraction(0)}
    for x, word in zip(before, after, strict=True):
        if not x:
            continue
        size = word & (layout.sign - 1)
        for neighbour in (size - 1, size + 1):
            if neighbour >= 0 and size < layout.infinity:
                middle = (magnitude(neighbour, layout) + magnitude(size, layout)) / 2
                ends.add(middle / abs(x))
    ordered = sorted(ends)
    between = [(a + b) / 2 for a, b in pairwise([*ordered, ordered[-1] + 1])]
    return [
        (
            c,
            None not in before
            and None not in wanted
            and all(
                nearest(c * x, format_.name) == y  # type: ignore[operator]
                for x, y in zip(before, wanted, strict=True)
            ),
        )
        for c in sorted([*ordered[1:], *between])
    ]


@st.composite
def rows(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    one, other = (draw(st.sampled_from(FORMATS)) for _ in range(2))
    n = draw(st.integers(1, 4))
    entry = st.sampled_from(
        [0.0, -0.0, 1.0, -1.0, 0.75, 3.0, 5.0, 1.0078125, 1.5, -40.0, 6e4, 1e-7]
    )
    values = np.array([draw(st.lists(entry, min_size=n, max_size=n))])
    factor = draw(st.sampled_from([0.9, 0.5, 1.0, 2.0, 1.25, 0.1, 1.00390625, 7e4, 1e-8]))
    with np.errstate(over="ignore"):
        scaled = Matrix.of_values(values * factor, other)
    words = scaled.words.copy()
    # As it is, or an entry a step or a sign away from it.
    k = draw(st.integers(0, n - 1))
    step = draw(st.sampled_from([0, 0, 1, -1, 2, 1 << (other.bits - 1)]))
    words[0, k] = (int(words[0, k]) + step) % (1 << other.bits)
    return Matrix.of_values(values, one), Matrix(words, other)


@given(rows())
def test_a_row_is_found_where_some_factor_explains_it(two: tuple[Matrix, Matrix]) -> None:
    before, after = two
    left = [real(int(word), before.format) for word in before.words[0]]
    tried = possible(left, after.words[0].tolist(), after.format)
    fit = [c for c, does in tried if does]
    found = scaled_rows(before, after, np.arange(1))
    is_zero = not any(left) or not any(real(int(word), after.format) for word in after.words[0])
    assert len(found.token_ids) == (bool(fit) and not is_zero)
    common = found.common()
    if common is not None:
        low, high = common
        assert low <= min(fit)
        assert max(fit) <= high
        # Between its ends nothing is left out, and beyond them nothing does.
        assert all(does for c, does in tried if low < c < high)
        assert not any(does for c, does in tried if c < low or c > high)
        assert found.range == (float(low), float(high))


@pytest.mark.parametrize("format_", FORMATS, ids=lambda each: each.name)
@pytest.mark.parametrize("factor", [0.9, 0.987654321, 0.5, 3.0])
def test_a_scaled_matrix_is_found_and_a_step_ends_it(format_: Format, factor: float) -> None:
    before = Matrix.of_values(np.random.default_rng(0).normal(size=(40, 300)), format_)
    after = Matrix.of_values(before.rows(np.arange(40)) * factor, format_)
    found = scaled_rows(before, after, np.arange(40))
    assert found.token_ids.tolist() == list(range(40))
    common = found.common()
    assert common is not None
    assert float(common[0]) <= factor <= float(common[1])
    words = after.words.copy()
    words[5, 17] += 3
    words[9, 299] ^= 1 << (format_.bits - 1)
    found = scaled_rows(before, Matrix(words, format_), np.arange(40))
    assert found.token_ids.tolist() == [n for n in range(40) if n not in (5, 9)]


def test_rows_of_two_factors_have_none_in_common() -> None:
    before = Matrix.of_values(np.ones((2, 8)), BF16)
    after = Matrix.of_values([[0.5] * 8, [2.0] * 8], BF16)
    found = scaled_rows(before, after, np.arange(2))
    assert found.token_ids.tolist() == [0, 1]
    assert found.common() is None
    assert found.range is not None
    assert found.range[0] < 0.5 < 2 < found.range[1]


# In bf16 numbers from 256 to 512 are even. 290 · 0.9 = 261 lies between 260, whose last bit is
# even, and 262; 310 · 0.9 = 279 between 278 and 280, which is even. So 290 → 260 allows factors up
# to 0.9 and 310 → 280 from there, both with 0.9 itself; 290 → 262 those above 0.9 without it.
NINE_TENTHS = Fraction(9, 10), Fraction(9, 10)


@pytest.mark.parametrize(
    ("before", "after", "common"),
    [
        ([[290, 310]], [[260, 280]], NINE_TENTHS),
        ([[310, 290]], [[280, 260]], NINE_TENTHS),
        ([[290], [310]], [[260], [280]], NINE_TENTHS),
        ([[290, 290]], [[260, 262]], None),
        ([[290], [290]], [[260], [262]], None),
        ([[290, 310, 290]], [[260, 280, 262]], None),
        ([[290], [310], [290]], [[260], [280], [262]], None),
    ],
)
def test_ends_that_meet_are_the_one_factor_where_all_keep_them(
    before: list[list[int]], after: list[list[int]], common: tuple[Fraction, Fraction] | None
) -> None:
    one, other = Matrix.of_values(before, BF16), Matrix.of_values(after, BF16)
    found = scaled_rows(one, other, np.arange(len(before)))
    assert found.common() == common
    if common is not None or len(before) > 1:
        assert found.token_ids.tolist() == list(range(len(before)))
    else:
        assert not len(found.token_ids)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda each: each.name)
def test_the_largest_number_reaches_half_of_the_way_to_the_next_power(format_: Format) -> None:
    ones = Matrix.of_values(np.ones((1, 2)), format_)
    largest = Matrix.of_values(np.full((1, 2), format_.largest), format_)
    common = scaled_rows(ones, largest, np.arange(1)).common()
    half = Fraction(2) ** (format_.max_exponent - format_.precision)
    assert common == (Fraction(format_.largest) - half, Fraction(format_.largest) + half)


def test_what_is_zero_or_not_finite_is_left_out() -> None:
    inf, nan = float("inf"), float("nan")
    before = Matrix.of_values([[0.0, 0.0], [1.0, 2.0], [1.0, inf], [1.0, nan], [0.0, 1.0]], F16)
    after = Matrix.of_values([[0.0, 0.0], [0.0, 0.0], [2.0, inf], [2.0, nan], [1.0, 2.0]], F16)
    assert not len(scaled_rows(before, after, np.arange(5)).token_ids)


def test_what_is_not_rounded_one_by_one_is_refused() -> None:
    plain = Matrix.of_values(np.ones((2, 3)), F32)
    stored = np.ones((2, 3)).view(np.uint64)
    with pytest.raises(ValueError, match="values of f64 are not rounded one by one"):
        scaled_rows(plain, Matrix(stored, F32, Rounded64(3)), np.arange(2))
    with pytest.raises(ValueError, match="rows of 3 and of 2 entries"):
        scaled_rows(plain, Matrix.of_values(np.ones((2, 2)), F32), np.arange(2))
