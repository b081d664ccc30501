"""The long accumulator at its ends, and against fractions."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isologit.numerics import accumulator
from isologit.numerics.accumulator import LIMBS, LOWEST_EXPONENT
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.kernels import typed
from oracle import fraction_oracle as oracle
from oracle.draws import cast_exactly, finite_words

Limbs = npt.NDArray[np.int64]
each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
steadily = settings(derandomize=True, deadline=None, max_examples=200)

LARGEST = F32.largest
SMALLEST = 2.0**-149


def total_of(limbs: Limbs, negative: bool) -> Fraction:
    """Return the settled accumulator's number, and insist that it is settled."""
    assert ((limbs >= 0) & (limbs < 2**32)).all()
    magnitude = sum(Fraction(int(digit)) * Fraction(2) ** (32 * n) for n, digit in enumerate(limbs))
    return (-1 if negative else 1) * magnitude * Fraction(2) ** LOWEST_EXPONENT


def accumulate(row: npt.ArrayLike, h: npt.ArrayLike) -> tuple[Fraction, bool]:
    """Return the accumulator's dot product of an f32 row, and its sign bit."""
    limbs = np.zeros(LIMBS, dtype=np.int64)
    words = cast_exactly(np.atleast_2d(np.asarray(row, dtype=np.float64)), "f32")
    negative = accumulator.exact_dot_limbs(words, 0, np.asarray(h, dtype=np.float64), limbs)
    return total_of(limbs, negative), bool(negative)


def exactly(row: npt.ArrayLike, h: npt.ArrayLike) -> Fraction:
    pairs = zip(np.asarray(row).tolist(), np.asarray(h).tolist(), strict=True)
    return sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))


def rounded(row: npt.ArrayLike, h: npt.ArrayLike, to: Format) -> float:
    """Return what `exact_dots` makes of one f32 row."""
    out = np.full(1, np.nan)
    words = cast_exactly(np.atleast_2d(np.asarray(row, dtype=np.float64)), "f32")
    ends = (to.precision, to.quantum_exponent, to.largest)
    accumulator.exact_dots(words, np.zeros(1, np.int64), np.asarray(h, np.float64), *ends, out)
    return float(out[0])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [1, 2, 4096, 100_000])
def test_accumulator_holds_many_of_the_largest_products(n: int, sign: int) -> None:
    row, h = np.full(n, sign * LARGEST), np.full(n, LARGEST)
    assert accumulate(row, h) == (sign * n * Fraction(LARGEST) ** 2, sign < 0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [1, 3, 4096])
def test_accumulator_holds_the_smallest_products(n: int, sign: int) -> None:
    row, h = np.full(n, sign * SMALLEST), np.full(n, SMALLEST)
    assert accumulate(row, h) == (Fraction(sign * n, 2**298), sign < 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_accumulator_holds_both_ends_at_once(sign: int) -> None:
    row = sign * np.array([LARGEST, SMALLEST, -SMALLEST, SMALLEST])
    h = np.array([LARGEST, SMALLEST, LARGEST, -LARGEST])
    assert accumulate(row, h)[0] == exactly(row, h)


def test_a_borrow_runs_through_all_limbs() -> None:
    # 2^256 − 2^-298 sets every digit between; −2^-298 alone, as two's complement, every digit.
    big = 2.0**127
    row, h = [big, big, SMALLEST], [big, big, -SMALLEST]
    total, negative = accumulate(row, h)
    assert (total, negative) == (Fraction(2) ** 255 - Fraction(1, 2**298), False)
    row, h = [-big, -big, SMALLEST], [big, big, SMALLEST]
    total, negative = accumulate(row, h)
    assert (total, negative) == (Fraction(1, 2**298) - Fraction(2) ** 255, True)


def test_sums_of_nothing_and_sums_that_cancel_are_zero_without_a_sign() -> None:
    cancelling = np.tile([LARGEST, -LARGEST, SMALLEST, -SMALLEST], 1000)
    assert accumulate(cancelling, np.full(4000, LARGEST)) == (Fraction(0), False)
    assert accumulate([-0.0, 0.0], [1.0, -1.0]) == (Fraction(0), False)
    assert accumulate(np.zeros(0), np.zeros(0)) == (Fraction(0), False)


def test_a_sum_one_unit_either_side_of_zero_keeps_its_sign() -> None:
    row = np.array([LARGEST, -LARGEST, SMALLEST])
    for sign in (1, -1):
        h = np.array([LARGEST, LARGEST, sign * SMALLEST])
        assert accumulate(row, h) == (Fraction(sign, 2**298), sign < 0)


finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(finite32, finite32), max_size=30))
@steadily
def test_accumulator_is_the_real_dot_product(terms: list[tuple[float, float]]) -> None:
    row, h = [a for a, _ in terms], [b for _, b in terms]
    total, negative = accumulate(row, h)
    assert total == exactly(row, h)
    assert negative == (total < 0)


@given(st.lists(finite32, max_size=30))
@steadily
def test_sum_accumulator_is_the_real_sum(values: list[float]) -> None:
    limbs = np.zeros(LIMBS, dtype=np.int64)
    negative = accumulator.exact_sum_limbs(np.array(values, dtype=np.float64), limbs)
    assert total_of(limbs, negative) == sum(map(Fraction, values), Fraction(0))


@pytest.mark.parametrize(
    ("terms", "to", "value"),
    [
        # 1 + 2^-8 lies halfway between 1 (even) and 1 + 2^-7.
        ([1, 2.0**-8], BF16, 1.0),
        ([1, 2.0**-8, SMALLEST * SMALLEST], BF16, 1 + 2.0**-7),
        ([1, 2.0**-8, -SMALLEST * SMALLEST], BF16, 1.0),
        ([1, 2.0**-8, 2.0**-9], BF16, 1 + 2.0**-7),
        ([1, 2.0**-8, -(2.0**-9)], BF16, 1.0),
        ([1, 3 * 2.0**-8], BF16, 1 + 2.0**-6),
        ([1, 3 * 2.0**-8, -SMALLEST * SMALLEST], BF16, 1 + 2.0**-7),
        # All ones carry into the next binade.
        ([2 - 2.0**-7, 2.0**-8], BF16, 2.0),
        # Half the smallest subnormal is a tie with zero; more is not; less is not.
        ([2.0**-150], F32, 0.0),
        ([2.0**-150, SMALLEST * SMALLEST], F32, SMALLEST),
        ([2.0**-150, -SMALLEST * SMALLEST], F32, 0.0),
        ([3 * 2.0**-150], F32, 2 * SMALLEST),
        ([2.0**-151, 2.0**-152], F32, 0.0),
        ([2.0**-134, SMALLEST * SMALLEST], BF16, 2.0**-133),
        ([2.0**-25], F16, 0.0),
        ([2.0**-25, SMALLEST * SMALLEST], F16, 2.0**-24),
        # The largest subnormal and half more become the smallest normal number.
        ([2.0**-14 - 2.0**-24, 2.0**-25], F16, 2.0**-14),
        # Halfway beyond the largest number is infinite, less is not.
        ([F16.largest, 16.0], F16, np.inf),
        ([F16.largest, 16.0, -SMALLEST * SMALLEST], F16, F16.largest),
        ([LARGEST, 2.0**103], F32, np.inf),
        ([LARGEST, 2.0**103, -SMALLEST * SMALLEST], F32, LARGEST),
        ([LARGEST * LARGEST], BF16, np.inf),
        ([], BF16, 0.0),
    ],
)
def test_accumulators_are_rounded_once_to_nearest_even(
    terms: list[float], to: Format, value: float
) -> None:
    row, h = [], []
    for term in terms:
        # Split a term between the two sides, so that products reach where no f32 does.
        size = abs(term)
        side = LARGEST if size == LARGEST**2 else 1.0
        side = SMALLEST if size <= 2.0**-151 or size == 2.0**-298 else side
        side = 2.0**-10 if 2.0**-151 < size < 2.0**-140 else side
        row.append(term / side)
        h.append(side)
    assert exactly(row, h) == sum(map(Fraction, terms), Fraction(0))
    assert rounded(row, h, to) == value
    assert rounded([-x for x in row], h, to) == -value


@each_format
def test_exact_dots_takes_the_rows_it_is_given(format_: Format) -> None:
    rng = np.random.default_rng(0)
    words = finite_words(rng, (9, 5), format_.name)
    h = rng.standard_normal(5).astype(np.float32).astype(np.float64)
    rows = np.array([7, 0, 7, 3, 8])
    out = np.full(5, np.nan)
    ends = (BF16.precision, BF16.quantum_exponent, BF16.largest)
    accumulator.exact_dots(typed(words, format_), rows, h, *ends, out)
    state: list[oracle.Real] = [Fraction(x) for x in h.tolist()]
    for n in range(5):
        row = [oracle.decode(int(word), format_.name) for word in words[rows[n]]]
        assert out[n] == oracle.as_float(oracle.nearest(oracle.dot(row, state), "bf16"))
