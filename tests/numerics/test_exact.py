"""Exact arithmetic against the Fraction oracle, bit for bit, and the laws that it obeys."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from math import fsum

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isologit.numerics import exact, parallel
from isologit.numerics.exact import Rounded
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format, decode, encode, round_to
from isologit.numerics.parallel import set_threads
from isologit.numerics.stored import Matrix, Vector
from oracle import fraction_oracle as oracle
from oracle.draws import (
    FAMILIES,
    FORMAT_TRIPLES,
    RANGES,
    Draw,
    cast,
    cosine_tie_draws,
    finite_draws,
    finite_words,
    nonfinite_draws,
    norm_tie_draws,
    square_filling,
    wide_draws,
)
from oracle.fraction_oracle import Real

FORMAT = {format_.name: format_ for format_ in FORMATS}
PER_FAMILY = 32
TINY = 2.0**-70

steadily = settings(derandomize=True, deadline=None, max_examples=100)
each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)


def bits(values: npt.ArrayLike) -> list[int]:
    """Return binary64 patterns: −0 is not +0, and a NaN equals itself."""
    return [int(word) for word in np.asarray(values, dtype=np.float64).view(np.uint64).ravel()]


def matrix_of(draw: Draw) -> Matrix:
    return Matrix(np.ascontiguousarray(draw.words), FORMAT[draw.matrix_format])


def state_of(draw: Draw) -> Vector:
    return Vector(draw.state, FORMAT[draw.state_format])


def reals(words: npt.NDArray[np.unsignedinteger], format_name: str) -> list[Real]:
    return [oracle.decode(int(word), format_name) for word in words]


def logits_by_oracle(draw: Draw) -> list[float]:
    state = reals(draw.state, draw.state_format)
    products = [oracle.dot(reals(row, draw.matrix_format), state) for row in draw.words]
    return [oracle.as_float(oracle.nearest(product, draw.logit_format)) for product in products]


def cosines_by_oracle(draw: Draw) -> list[float]:
    state = reals(draw.state, draw.state_format)
    rows = [reals(row, draw.matrix_format) for row in draw.words]
    return [oracle.as_float(oracle.cosine(row, state, draw.logit_format)) for row in rows]


def norms_by_oracle(draw: Draw) -> list[float]:
    rows = [reals(row, draw.matrix_format) for row in draw.words]
    return [oracle.as_float(oracle.norm(row, draw.logit_format)) for row in rows]


def exact_logits(draw: Draw) -> Rounded:
    return exact.logits(matrix_of(draw), state_of(draw), FORMAT[draw.logit_format])


def exact_cosines(draw: Draw) -> Rounded:
    return exact.cosines(matrix_of(draw), state_of(draw), FORMAT[draw.logit_format])


def exact_norms(draw: Draw) -> Rounded:
    return exact.norms(matrix_of(draw), FORMAT[draw.logit_format])


@dataclass
class Agreement:
    """What came of comparing many draws with the oracle."""

    matrices: int = 0
    results: int = 0
    refined: int = 0
    families_refined: set[str] = field(default_factory=set)
    differences: list[str] = field(default_factory=list)

    @property
    def refined_share(self) -> float:
        return self.refined / self.results


def compare(
    draws: Iterator[Draw],
    ours: Callable[[Draw], Rounded],
    theirs: Callable[[Draw], list[float]],
) -> Agreement:
    """Compare results bit for bit."""
    agreement = Agreement()
    for draw in draws:
        got, expected = ours(draw), theirs(draw)
        agreement.matrices += 1
        agreement.results += len(expected)
        agreement.refined += got.refined
        if got.refined:
            agreement.families_refined.add(draw.family)
        if bits(got.values) != bits(expected):
            agreement.differences.append(f"{draw}: {got.values.tolist()}, expected {expected}")
    return agreement


def test_logits_are_the_oracles_on_ten_thousand_matrices(
    record_property: Callable[[str, object], None],
) -> None:
    agreement = compare(finite_draws(PER_FAMILY), exact_logits, logits_by_oracle)
    record_property("matrices", agreement.matrices)
    record_property("logits", agreement.results)
    record_property("refined", agreement.refined)
    assert agreement.differences[:3] == []
    assert agreement.matrices == PER_FAMILY * len(FAMILIES) * len(FORMAT_TRIPLES) >= 10_000
    assert 0.05 <= agreement.refined_share <= 0.95, f"{agreement.refined} of {agreement.results}"
    exact_steps = {"ties", "near ties", "subnormal logits", "overflow", "cancellation"}
    assert exact_steps <= agreement.families_refined


def test_logits_of_wide_rows_are_the_oracles() -> None:
    assert compare(wide_draws(4), exact_logits, logits_by_oracle).differences[:3] == []


def test_logits_of_non_finite_rows_are_ieee_754s() -> None:
    assert compare(nonfinite_draws(60), exact_logits, logits_by_oracle).differences[:3] == []


def test_cosines_are_the_oracles() -> None:
    agreement = compare(finite_draws(5), exact_cosines, cosines_by_oracle)
    assert agreement.differences[:3] == []
    assert agreement.refined > 0


def test_cosines_that_are_midpoints_go_to_the_even_neighbour() -> None:
    agreement = compare(cosine_tie_draws(12), exact_cosines, cosines_by_oracle)
    assert agreement.differences[:3] == []
    assert agreement.refined == agreement.results  # no bound decides a tie


def test_cosines_of_non_finite_rows_are_nan() -> None:
    assert compare(nonfinite_draws(20), exact_cosines, cosines_by_oracle).differences[:3] == []


def test_norms_are_the_oracles() -> None:
    assert compare(finite_draws(5), exact_norms, norms_by_oracle).differences[:3] == []
    assert compare(wide_draws(2), exact_norms, norms_by_oracle).differences[:3] == []


def test_norms_of_non_finite_rows_are_infinite_or_nan() -> None:
    assert compare(nonfinite_draws(20), exact_norms, norms_by_oracle).differences[:3] == []


def test_bounds_on_norms_are_above_them_and_hardly() -> None:
    for draw in [*finite_draws(3), *wide_draws(2)]:
        bounds = exact.norm_bounds(matrix_of(draw))
        smallest = 2 * Fraction(draw.words.shape[1]) * Fraction(2) ** -140
        for words, bound in zip(draw.words, bounds, strict=True):
            square = oracle.dot(*[reals(words, draw.matrix_format)] * 2)
            assert isinstance(square, Fraction)
            assert (
                square <= Fraction(float(bound)) ** 2 <= square * Fraction(10001, 10000) + smallest
            )


def test_bounds_on_norms_of_rows_that_are_not_finite_are_not() -> None:
    bounds = exact.norm_bounds(Matrix.of_values([[np.inf, 1.0], [np.nan, 1.0], [1.0, 1.0]], BF16))
    assert np.isfinite(bounds).tolist() == [False, False, True]


def test_norms_that_are_midpoints_go_to_the_even_neighbour() -> None:
    for matrix_format, norm_format, words in norm_tie_draws(25):
        row = reals(words[0], matrix_format)
        expected = oracle.as_float(oracle.norm(row, norm_format))
        got = exact.norms(Matrix(words, FORMAT[matrix_format]), FORMAT[norm_format])
        assert got.refined == 1
        assert bits(got.values) == bits(expected)
        vector = Vector(words[0], FORMAT[matrix_format])
        assert exact.norm(vector, FORMAT[norm_format]) == expected


def test_mean_rows_are_the_oracles() -> None:
    refined = results = 0
    rng = np.random.default_rng(0)
    for draw in finite_draws(5):
        ids = rng.integers(0, len(draw.words), int(rng.integers(1, 6)))
        ids = rng.permutation(len(draw.words)) if rng.integers(2) else ids
        columns = [reals(column, draw.matrix_format) for column in draw.words[ids].T]
        means = [oracle.as_float(oracle.mean(column, draw.matrix_format)) for column in columns]
        got, n = exact.mean_row(matrix_of(draw), ids)
        refined += n
        results += len(means)
        assert got.format is FORMAT[draw.matrix_format]
        assert bits(got.values) == bits(means), str(draw)
    assert 0.02 * results < refined < 0.9 * results


def test_every_row_counts_in_a_mean_of_more_than_one_block() -> None:
    """Each of some rows, at the ends of the blocks and elsewhere, decides a column of its own."""
    n = 2 * exact._MEAN_BLOCK + 5
    chosen = [0, exact._MEAN_BLOCK - 1, exact._MEAN_BLOCK, 2 * exact._MEAN_BLOCK, n - 1]
    W = np.zeros((n, len(chosen)))
    W[chosen, np.arange(len(chosen))] = 1.0
    mean, _ = exact.mean_row(Matrix.of_values(W, F32), np.arange(n))
    assert mean.values.tolist() == [float(np.float32(1 / n))] * len(chosen)


def test_mean_row_of_non_finite_rows_is_ieee_754s() -> None:
    for draw in nonfinite_draws(20):
        columns = [reals(column, draw.matrix_format) for column in draw.words.T]
        means = [oracle.as_float(oracle.mean(column, draw.matrix_format)) for column in columns]
        got, _ = exact.mean_row(matrix_of(draw), np.arange(len(draw.words)))
        assert bits(got.values) == bits(means), str(draw)


def test_means_dots_and_norms_of_vectors_are_the_oracles() -> None:
    for draw in islice(finite_draws(4), None, None, 3):
        to = FORMAT[draw.logit_format]
        values = reals(draw.state, draw.state_format)
        mean = oracle.as_float(oracle.mean(values, to.name))
        assert bits(exact.mean(state_of(draw).values, to)) == bits(mean), str(draw)
        assert exact.norm(state_of(draw), to) == oracle.as_float(oracle.norm(values, to.name))
        row = Vector(draw.words[0], FORMAT[draw.matrix_format])
        product = logits_by_oracle(draw)[0]
        assert bits(exact.dot(row, state_of(draw), to)) == bits(product), str(draw)


def test_mean_follows_ieee_754_with_infinities() -> None:
    assert exact.mean(np.array([np.inf, 1.0]), F32) == np.inf
    assert exact.mean(np.array([-np.inf, -np.inf]), F32) == -np.inf
    assert np.isnan(exact.mean(np.array([np.inf, -np.inf]), F32))
    assert np.isnan(exact.mean(np.array([np.nan, 1.0]), F32))


# The traps that DESIGN names.


def test_a_sum_that_fsum_rounds_onto_a_midpoint_is_still_rounded_up() -> None:
    terms = [1 + 2.0**-8, TINY]
    assert round_to(fsum(terms), BF16) == 1.0  # the trap: fsum cannot hold the tiny term
    matrix = Matrix.of_values([[1.0, 2.0**-8, TINY]], BF16)
    ones = Vector.of_values(np.ones(3), BF16)
    assert exact.logits(matrix, ones, BF16).values.tolist() == [1 + 2.0**-7]


def test_distinct_reals_of_one_fsum_get_distinct_logits() -> None:
    rows = np.array([[1.0, 2.0**-8, TINY], [1.0, 2.0**-8, 0.0], [1.0, 2.0**-8, -TINY]])
    assert len({fsum(row) for row in rows}) == 1
    got = exact.logits(Matrix.of_values(rows, BF16), Vector.of_values(np.ones(3), F32), BF16)
    assert got.values.tolist() == [1 + 2.0**-7, 1.0, 1.0]
    assert got.refined == 3
    odd = rows + np.array([2.0**-7, 0, 0])  # now the even neighbour is the one above
    got = exact.logits(Matrix.of_values(odd, F32), Vector.of_values(np.ones(3), F32), BF16)
    assert got.values.tolist() == [1 + 2.0**-6, 1 + 2.0**-6, 1 + 2.0**-7]


def test_a_logit_near_a_bf16_midpoint_is_not_rounded_through_binary32() -> None:
    matrix = Matrix.of_values([[1.0, 2.0**-8, 2.0**-30], [1.0, 3 * 2.0**-8, -(2.0**-30)]], BF16)
    ones = Vector.of_values(np.ones(3), BF16)
    assert exact.logits(matrix, ones, BF16).values.tolist() == [1 + 2.0**-7, 1 + 2.0**-7]


def test_a_sum_that_cancels_to_one_tiny_term_keeps_it() -> None:
    matrix = Matrix.of_values([[2.0**100, TINY, -(2.0**100)]], BF16)
    got = exact.logits(matrix, Vector.of_values(np.ones(3), BF16), BF16)
    assert got.values.tolist() == [TINY]
    assert got.refined == 1


def test_large_partial_sums_do_not_overflow_the_logit_format() -> None:
    matrix = Matrix.of_values([[65504.0] * 4 + [-65504.0] * 4 + [1.0]], F16)
    got = exact.logits(matrix, Vector.of_values(np.full(9, 65504.0), F16), F16)
    assert got.values.tolist() == [65504.0]


@each_format
def test_a_logit_overflows_from_halfway_beyond_the_largest_on(format_: Format) -> None:
    half = format_.largest * 2.0**-format_.precision / (2 - 2.0 ** (1 - format_.precision))
    largest, tiny = format_.largest, 2.0**-20
    rows = np.array([[largest, half, -tiny], [largest, half, 0], [largest, half, tiny]])
    matrix = Matrix.of_values(np.concatenate([rows, -rows]), format_)
    got = exact.logits(matrix, Vector.of_values(np.ones(3), format_), format_)
    expected = [largest, np.inf, np.inf]
    assert got.values.tolist() == expected + [-value for value in expected]
    assert got.refined >= 2  # both ties


def test_results_that_round_to_zero_are_plus_zero_refined_or_not() -> None:
    smallest = 2.0**-133
    matrix = Matrix.of_values([[-smallest, 0], [smallest, 0], [-0.0, -0.0]], BF16)
    half = exact.logits(matrix, Vector.of_values([0.5, 1], BF16), BF16)
    quarter = exact.logits(matrix, Vector.of_values([0.25, 1], BF16), BF16)
    assert (half.refined, quarter.refined) == (2, 0)
    assert bits(half.values) == bits(quarter.values) == [0, 0, 0]
    assert [exact.mean_row(matrix, [0, 2])[1], exact.mean_row(matrix, [0, 2, 2, 2])[1]] == [1, 0]
    for ids in ([0, 2], [0, 2, 2, 2]):
        assert exact.mean_row(matrix, ids)[0].words.tolist() == [0, 0]
    assert bits(exact.mean(np.array([-smallest, 0.0]), BF16)) == [0]
    # A cosine that underflows f16: 2^-25 is half its smallest subnormal.
    row = Matrix.of_values([[-(2.0**-25), 1], [-(2.0**-26), 1]], BF16)
    assert bits(exact.cosines(row, Vector.of_values([1, 0], BF16), F16).values) == [0, 0]


def test_every_nan_logit_has_the_same_bits() -> None:
    words = np.array([[0x7FC1, 0], [0xFF81, 0], [0x7F80, 0xFF80], [0xFFFF, 0x7F80]], np.uint16)
    matrix = Matrix(words, BF16)
    for state in ([1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]):
        got = exact.logits(matrix, Vector.of_values(state, F32), BF16).values
        assert set(bits(got)) == {int(np.array(np.nan).view(np.uint64))}


# Sums whose binary64 error is many units: beside 1, terms of a quarter unit are lost one by one.

SWALLOWED = 2.0**-54
N_SWALLOWED = 2049  # the one beyond 2^11 decides; the rest are taken back by one term of 2^-43


def swallowing_terms() -> npt.NDArray[np.float64]:
    """Return 4,096 terms that add up to 1 + 2^-8 + 2^-54, just above a midpoint of bf16."""
    terms = np.zeros(4096)
    terms[0], terms[-1] = 1.0, 2.0**-8 - 2.0**-16
    terms[1 : N_SWALLOWED + 1] = SWALLOWED
    terms[-2], terms[-3] = 2.0**-16, -(2.0**-43)
    return terms


def test_terms_swallowed_one_by_one_still_decide_a_logit() -> None:
    rng = np.random.default_rng(5)
    rows = [swallowing_terms(), swallowing_terms()[::-1]]
    rows += [np.concatenate([rows[0][:1], rng.permutation(rows[0][1:])]) for _ in range(6)]
    W = np.stack([*rows, *rows])
    W[8:][W[8:] == 1.0] += 2.0**-7  # here the even neighbour is above, so the sum must fall short
    W[8:][W[8:] == SWALLOWED] *= -1
    W[8:][W[8:] == -(2.0**-43)] *= -1
    got = exact.logits(Matrix.of_values(W, BF16), Vector.of_values(np.ones(4096), BF16), BF16)
    assert got.values.tolist() == [1 + 2.0**-7] * 16
    assert got.refined == 16
    error = [abs(Fraction(float(np.cumsum(row)[-1])) - sum(map(Fraction, row))) for row in W]
    assert max(error) > 100 * 2.0**-53  # what a bound without its factor n would miss


def test_terms_swallowed_one_by_one_still_decide_a_mean() -> None:
    column = Matrix.of_values(swallowing_terms()[:, None], BF16)
    mean, refined = exact.mean_row(column, np.arange(4096))
    assert mean.values.tolist() == [(1 + 2.0**-7) / 4096]
    assert refined == 1


def test_terms_swallowed_one_by_one_still_decide_a_norm() -> None:
    # 257² / 2^16 is the square of the midpoint 1 + 2^-8; units of 2^-54 = (2^-27)².
    rest = 257**2 * 2**38 - 2**54 - (N_SWALLOWED - 1)
    parts = [2**27, *[1] * N_SWALLOWED, *square_filling(rest, BF16.precision)]
    row = np.array([parts]) * 2.0**-27
    got = exact.norms(Matrix.of_values(row, BF16), BF16)
    assert got.values.tolist() == [1 + 2.0**-7]
    assert got.refined == 1


# Shapes and memory.


@pytest.mark.parametrize("to", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
def test_sums_of_rows_are_the_oracles(format_: Format, to: Format) -> None:
    rng = np.random.default_rng(8)
    for d in (1, 31, 33, 128, 300):
        words = finite_words(rng, (8, d), format_.name)
        words[4:] = encode(rng.standard_normal((4, d)), format_)
        found = exact.sums(Matrix(words, format_), to).values
        for n, row in enumerate(words):
            real = oracle.nearest(oracle.total(reals(row, format_.name)), to.name)
            assert found[n] == oracle.as_float(real), (d, n)


@pytest.mark.parametrize("format_", [BF16, F32], ids=lambda f: f.name)
def test_a_term_swallowed_in_binary32_still_decides_a_sum(format_: Format) -> None:
    row = np.zeros(128)
    row[[0, 32, 64]] = (1.0, 2.0**-8, 2.0**-25)
    assert exact.sums(Matrix.of_values(row[None], format_), BF16).values == 1 + 2.0**-7


def test_terms_swallowed_in_every_lane_still_decide_a_sum() -> None:
    """257 is a midpoint; in binary32 the sum falls 512 units of 2^-24 short of it, not beyond."""
    group = np.zeros((4, 2, 16))
    group[:, 0] = group[0, 1] = 2.0**-24 * (1 - 2.0**-8)
    group[0, 0] = 1.0
    row = np.concatenate([np.tile(group.reshape(-1), 16), [1.0, -(2.0**-15)]])
    assert exact.sums(Matrix.of_values(row[None], F32), BF16).values == 258


def test_squares_swallowed_one_by_one_still_decide_a_cosine() -> None:
    """The sum of squares in binary32 misses 399 half units, and so would the cosine its midpoint.

    The cosine lies 100 half units of binary32 below the midpoint, and seems to lie as far above.
    """
    row = np.full(400 * 32, 2.0**-12 * (1 - 2.0**-8))
    row[:32] = 1.0
    midpoint = 409 * 2.0**-11
    low, high = 0.0, 1.0
    for _ in range(60):
        c = (low + high) / 2
        seen = (1 + c) / np.sqrt(32 * (1 + c * c))
        low, high = (low, c) if seen > midpoint * (1 + 100 * 2.0**-24) else (c, high)
    reference = np.zeros(len(row))
    reference[:2] = (1.0, np.float32(low))
    found = exact.cosines(Matrix.of_values(row[None], BF16), Vector.of_values(reference, F32), BF16)
    left, right = ([Fraction(x) for x in vector.tolist()] for vector in (row, reference))
    assert Fraction(found.values[0]) == oracle.cosine(left, right, "bf16") == 204 * 2.0**-10


@pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
def test_zero_rows_have_norm_zero_without_an_exact_step(format_: Format) -> None:
    norms = exact.norms(Matrix.of_values(np.zeros((3, 40)), format_), format_)
    assert norms.values.tolist() == [0, 0, 0]
    assert norms.refined == 0


@pytest.mark.parametrize("n_rows", [0, 1])
def test_one_dimension_and_few_rows(n_rows: int) -> None:
    matrix = Matrix.of_values(np.full((n_rows, 1), 3.0), BF16)
    state = Vector.of_values([7.0], F32)
    assert exact.logits(matrix, state, F16).values.tolist() == [21.0] * n_rows
    assert exact.cosines(matrix, state, F16).values.tolist() == [1.0] * n_rows
    assert exact.norms(matrix, F16).values.tolist() == [3.0] * n_rows


def test_rows_of_no_dimensions_have_logit_zero() -> None:
    matrix = Matrix(np.zeros((2, 0), np.uint16), BF16)
    assert bits(exact.logits(matrix, Vector.of_values([], BF16), BF16).values) == [0, 0]


@each_format
def test_4096_powers_of_two_are_summed_exactly(format_: Format) -> None:
    rng = np.random.default_rng(0)
    low, high = RANGES[format_.name].quantum_exponent, format_.max_exponent
    W = np.ldexp(rng.choice([-1.0, 1.0], (4, 4096)), rng.integers(low, high + 1, (4, 4096)))
    W[1, 2048:] = -W[1, :2048]  # sums to nothing
    W[2, 2048:] = -W[2, :2048]
    W[2, 7] += 2.0**low if format_ is F16 else 0.0
    matrix, ones = Matrix.of_values(W, format_), Vector.of_values(np.ones(4096), format_)
    expected = [sum((Fraction(x) for x in row), Fraction(0)) for row in matrix.rows(np.arange(4))]
    for to in FORMATS:
        want = [oracle.as_float(oracle.nearest(total, to.name)) for total in expected]
        assert exact.logits(matrix, ones, to).values.tolist() == want


@each_format
def test_results_do_not_depend_on_alignment_or_writability(format_: Format) -> None:
    rng = np.random.default_rng(1)
    words = cast(rng.standard_normal((50, 33)), format_.name)
    state = Vector.of_values(rng.standard_normal(33), format_)
    shifted = b"\x5a" + words.tobytes()
    unaligned = np.frombuffer(shifted, dtype=words.dtype, offset=1).reshape(words.shape)
    frozen = words.copy()
    frozen.flags.writeable = False
    plain = everything(Matrix(words, format_), state)
    assert not unaligned.flags.aligned
    assert words.flags.writeable  # holding them in a Matrix leaves the caller's array alone
    assert everything(Matrix(unaligned, format_), state) == plain
    assert everything(Matrix(frozen, format_), state) == plain
    odd_state = np.frombuffer(b"\x5a" + state.words.tobytes(), state.words.dtype, offset=1)
    assert everything(Matrix(words, format_), Vector(odd_state, format_)) == plain


def everything(matrix: Matrix, state: Vector) -> list[object]:
    """Return all that is computed of a matrix and a state, with the counts of exact steps."""
    found: list[object] = []
    for to in FORMATS:
        for result in (
            exact.logits(matrix, state, to),
            exact.cosines(matrix, state, to),
            exact.norms(matrix, to),
        ):
            found += [bits(result.values), result.refined]
    mean, refined = exact.mean_row(matrix, np.arange(matrix.n_tokens))
    return [*found, mean.words.tolist(), refined]


def test_vectors_may_be_strided() -> None:
    words = encode(np.arange(12.0), BF16)
    strided, plain = Vector(words[::-3], BF16), Vector(words[::-3].copy(), BF16)
    assert exact.norm(strided, F32) == exact.norm(plain, F32)
    assert exact.dot(strided, strided, F32) == exact.dot(plain, plain, F32) == 121 + 64 + 25 + 4


@pytest.fixture
def hard_matrix() -> tuple[Matrix, Vector]:
    """1,000 rows on the bf16 grid of midpoints, so that both steps of every function run."""
    rng = np.random.default_rng(2)
    W = rng.integers(-8, 9, (1000, 24)) * 2.0 ** rng.integers(-4, 5, (1000, 24))
    return Matrix.of_values(W, BF16), Vector.of_values(rng.integers(-4, 5, 24), BF16)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block_bytes", [1, 100, 4801, 8 << 20])
def test_results_do_not_depend_on_threads_or_blocks(
    threads: int,
    block_bytes: int,
    hard_matrix: tuple[Matrix, Vector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_threads", 1)
    expected = everything(*hard_matrix)
    assert exact.logits(*hard_matrix, BF16).refined > 50
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", block_bytes)
    set_threads(threads)
    assert everything(*hard_matrix) == expected


# Laws.


@st.composite
def finite_matrices(draw: st.DrawFn) -> Draw:
    """Words of any finite pattern."""
    names = [draw(st.sampled_from(list(RANGES))) for _ in range(3)]
    n_rows, d = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    words = []
    for name, size in ((names[0], n_rows * d), (names[1], d)):
        limits = RANGES[name]
        top = int(cast(np.array(np.inf), name)) - 1
        word = st.integers(0, top) | st.sampled_from([0, 1, top, int(cast(np.array(1.0), name))])
        sign = 1 << (np.iinfo(limits.word).bits - 1)
        drawn = draw(st.lists(st.tuples(word, st.booleans()), min_size=size, max_size=size))
        words.append(np.array([w | (sign if s else 0) for w, s in drawn], dtype=limits.word))
    return Draw("drawn", names[0], names[1], names[2], words[0].reshape(n_rows, d), words[1])


@given(finite_matrices())
@steadily
def test_any_finite_matrix_has_the_oracles_logits(draw: Draw) -> None:
    assert bits(exact_logits(draw).values) == bits(logits_by_oracle(draw))


@given(finite_matrices(), st.randoms(use_true_random=False))
@steadily
def test_permuting_dimensions_changes_nothing(draw: Draw, random: object) -> None:
    order = np.arange(draw.words.shape[1])
    random.shuffle(order)  # type: ignore[attr-defined]
    words = np.ascontiguousarray(draw.words[:, order])
    permuted = Draw("", *formats_of(draw), words, draw.state[order])
    assert bits(exact_logits(permuted).values) == bits(exact_logits(draw).values)
    assert bits(exact_cosines(permuted).values) == bits(exact_cosines(draw).values)
    assert bits(exact_norms(permuted).values) == bits(exact_norms(draw).values)


def formats_of(draw: Draw) -> tuple[str, str, str]:
    return draw.matrix_format, draw.state_format, draw.logit_format


@given(finite_matrices())
@steadily
def test_identical_rows_have_identical_results_wherever_they_stand(draw: Draw) -> None:
    n = len(draw.words)
    twice = Draw("", *formats_of(draw), np.concatenate([draw.words, draw.words]), draw.state)
    for result in (exact_logits(twice), exact_cosines(twice), exact_norms(twice)):
        assert bits(result.values[:n]) == bits(result.values[n:])
        assert result.refined % 2 == 0


@given(finite_matrices())
@steadily
def test_negating_the_state_negates_logits_and_cosines(draw: Draw) -> None:
    negated = Vector.of_values(-state_of(draw).values, FORMAT[draw.state_format])
    to = FORMAT[draw.logit_format]
    for function in (exact.logits, exact.cosines):
        there = function(matrix_of(draw), state_of(draw), to).values
        back = function(matrix_of(draw), negated, to).values
        assert np.array_equal(back, -there, equal_nan=True)


@given(st.integers(0, 2**32 - 1), st.integers(-20, 20))
@steadily
def test_scaling_by_powers_of_two_commutes_within_the_range(seed: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    W, h = rng.standard_normal((5, 8)), rng.standard_normal(8)
    matrix, state = Matrix.of_values(W, BF16), Vector.of_values(h, BF16)
    scaled = Vector.of_values(state.values * 2.0**shift, BF16)
    for to in (BF16, F32):
        plain = exact.logits(matrix, state, to).values
        assert bits(exact.logits(matrix, scaled, to).values) == bits(plain * 2.0**shift)
        cosine = exact.cosines(matrix, state, to).values
        assert bits(exact.cosines(matrix, scaled, to).values) == bits(cosine)


@given(finite_matrices())
@steadily
def test_cosines_are_at_most_one_and_a_row_is_along_itself(draw: Draw) -> None:
    to = FORMAT[draw.logit_format]
    cosines = exact_cosines(draw).values
    assert (np.abs(cosines[~np.isnan(cosines)]) <= 1).all()
    with_itself = exact.cosines(
        matrix_of(draw), Vector(draw.words[0], FORMAT[draw.matrix_format]), to
    ).values[0]
    zero = not decode(draw.words[0], FORMAT[draw.matrix_format]).any()
    assert np.isnan(with_itself) if zero else with_itself == 1


@given(finite_matrices())
@steadily
def test_the_mean_of_one_row_is_that_row(draw: Draw) -> None:
    mean, refined = exact.mean_row(matrix_of(draw), [0])
    assert refined == 0
    assert np.array_equal(mean.values, decode(draw.words[0], FORMAT[draw.matrix_format]))


# What is refused.


def test_a_state_of_another_width_is_refused() -> None:
    matrix, state = Matrix.of_values(np.ones((2, 3)), BF16), Vector.of_values(np.ones(4), BF16)
    with pytest.raises(ValueError, match=r"^hidden state has 4 values, expected d = 3$"):
        exact.logits(matrix, state, BF16)
    with pytest.raises(ValueError, match=r"^reference has 4 values, expected d = 3$"):
        exact.cosines(matrix, state, BF16)


def test_the_mean_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the mean of no rows is not defined$"):
        exact.mean_row(Matrix.of_values(np.ones((2, 3)), BF16), [])


@pytest.mark.parametrize("ids", [[0, 2], [-1], [10**9]])
def test_the_mean_of_rows_that_are_not_there_is_refused(ids: list[int]) -> None:
    with pytest.raises(IndexError, match=r"^token ids run from .* expected 0 to 1$"):
        exact.mean_row(Matrix.of_values(np.ones((2, 3)), BF16), ids)


@pytest.mark.parametrize("value", [2.0**-299, 2.0**257, np.inf, np.nan])
def test_a_sum_of_values_outside_the_accumulator_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"expected 2\^-298 to 2\^256$"):
        exact.exact_sum(np.array([1.0, -value]))


def test_equal_reals_are_told_from_equal_roundings() -> None:
    tiny = 2.0**-60
    matrix = Matrix.of_values(np.array([[1, 1, 0], [2, 0, 0], [2, 0, tiny], [np.inf, 0, 0]]), F32)
    state = Vector.of_values([1, 1, 1], F32)
    assert exact.equal_dots(matrix, [0, 1], state) is True
    assert exact.equal_dots(matrix, [0, 1, 2], state) is False
    assert exact.equal_dots(matrix, [0, 3], state) is None
    assert exact.equal_dots(matrix, [2], state) is True
