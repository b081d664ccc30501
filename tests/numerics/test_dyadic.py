"""Numbers as integers over a power of two: held against fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.numerics.dyadic import fraction, integers, solve

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1, max_size=8))
def test_integers_over_a_power_of_two_are_the_numbers(values: list[float]) -> None:
    whole, exponent = integers(np.array(values))
    assert [Fraction(int(n)) * Fraction(2) ** exponent for n in whole] == [
        Fraction(value) for value in values
    ]


@given(st.lists(st.tuples(FINITE, FINITE), max_size=8))
def test_a_product_of_vectors_is_the_real_number(pairs: list[tuple[float, float]]) -> None:
    left, right = (np.array([pair[n] for pair in pairs]) for n in (0, 1))
    real = sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))
    assert fraction(left, right) == real


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="no fraction"):
        integers(np.array([1.0, np.nan]))


@pytest.mark.parametrize("seed", range(20))
def test_the_solution_solves_the_system(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 7))
    matrix = random.normal(size=(n + int(random.integers(0, 3)), n))
    matrix[random.random(matrix.shape) < 0.3] = 0.0
    wanted = random.integers(-8, 8, n).astype(np.float64)
    matrix = np.ldexp(np.rint(np.ldexp(matrix, 10)), -10)
    solution = solve(matrix, matrix @ wanted)  # few bits: the product is exact
    if np.linalg.matrix_rank(matrix) < n:
        assert solution is None
    else:
        assert solution is not None
        assert solution.fractions() == [Fraction(x) for x in wanted]


def test_a_solution_that_no_float_holds_is_found() -> None:
    solution = solve(np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([1.0, 1.0]))
    assert solution is not None
    assert solution.fractions() == [Fraction(1, 5), Fraction(2, 5)]


@pytest.mark.parametrize(
    ("matrix", "right"),
    [
        ([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0]),
        ([[1.0, 2.0], [2.0, 4.0]], [1.0, 3.0]),
        ([[1.0], [1.0]], [1.0, 1.0 + 2.0**-52]),
        ([[0.0]], [0.0]),
    ],
)
def test_none_or_many_solutions_are_no_solution(
    matrix: list[list[float]], right: list[float]
) -> None:
    assert solve(np.array(matrix), np.array(right)) is None
