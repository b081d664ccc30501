"""Distinct real dot products, against rational numbers."""

from fractions import Fraction

import numpy as np
import pytest

from isologit.numerics.formats import BF16, parse_format
from isologit.numerics.reals import distinct_reals
from isologit.numerics.stored import Matrix, Vector
from oracle import fraction_oracle as oracle
from oracle.draws import finite_draws, wide_draws


@pytest.mark.parametrize("draws", [lambda: finite_draws(1), lambda: wide_draws(1)])
def test_each_row_has_its_real_number_and_they_ascend(draws: object) -> None:
    assert callable(draws)
    for draw in draws():
        matrix = Matrix(np.ascontiguousarray(draw.words), parse_format(draw.matrix_format))
        state = Vector(draw.state, parse_format(draw.state_format))
        rows = np.arange(matrix.n_tokens)[::-1].copy()
        found = distinct_reals(matrix, rows, state)
        h = [oracle.decode(int(w), draw.state_format) for w in draw.state]
        expected = [
            oracle.dot([oracle.decode(int(w), draw.matrix_format) for w in draw.words[row]], h)
            for row in rows
        ]
        assert [found.values[label] for label in found.labels] == expected, draw
        assert list(found.values) == sorted(set(expected)), draw  # type: ignore[type-var]


def test_no_rows_have_no_reals() -> None:
    matrix = Matrix.of_values([[1.0]], BF16)
    found = distinct_reals(matrix, np.empty(0, dtype=np.intp), matrix.row(0))
    assert (found.values, len(found.labels)) == ((), 0)
    nowhere = Vector.of_values([np.inf], BF16)
    assert distinct_reals(matrix, np.empty(0, dtype=np.intp), nowhere).values == ()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_no_number_is_refused_wherever_it_stands(value: float) -> None:
    matrix = Matrix.of_values([[1.0, 2.0], [1.0, value]], BF16)
    assert distinct_reals(matrix, np.array([0]), matrix.row(0)).values == (Fraction(5),)
    for rows, state in ((np.array([0, 1]), matrix.row(0)), (np.array([0]), matrix.row(1))):
        with pytest.raises(ValueError, match="holds an infinity or a NaN"):
            distinct_reals(matrix, rows, state)
