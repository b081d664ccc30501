"""Sketches and distances against numpy, for every format and width."""

import numpy as np
import pytest

from isologit.numerics.distances import SKETCH_WIDTH, sketch_rows, square_distances
from isologit.numerics.formats import FORMATS, Format
from isologit.numerics.stored import Matrix

WIDTHS = [1, 2, 31, 32, 33, 128, 131, 300]


def matrix_of(width: int, format_: Format) -> Matrix:
    values = np.random.default_rng(width).normal(size=(70, width))
    return Matrix.of_values(values, format_)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("width", WIDTHS)
def test_square_distances_are_those_of_the_values(width: int, format_: Format) -> None:
    matrix = matrix_of(width, format_)
    rows = np.arange(69, -1, -3)
    point = np.random.default_rng(1).normal(size=width)
    expected = ((matrix.rows(rows) - point) ** 2).sum(axis=1)
    np.testing.assert_allclose(square_distances(matrix, rows, point), expected, rtol=1e-13)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_distances_within_an_ulp_keep_their_digits(format_: Format) -> None:
    words = np.full((3, 200), matrix_of(1, format_).words[0, 0])
    words[1, 7] += 1
    words[2, 100:] += 1
    matrix = Matrix(words, format_)
    values = matrix.rows([0, 1, 2])
    ulp = abs(values[1, 7] - values[0, 7])
    squares = square_distances(matrix, np.arange(3), values[0])
    np.testing.assert_allclose(squares, [0, ulp**2, 100 * ulp**2], rtol=1e-13)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("width", WIDTHS)
def test_each_column_goes_into_one_number_of_a_sketch(width: int, format_: Format) -> None:
    matrix = Matrix.of_values(np.eye(width), format_)
    sketch = sketch_rows(matrix, np.arange(width))
    assert sketch.shape == (width, SKETCH_WIDTH)
    assert (np.count_nonzero(sketch, axis=1) == 1).all()
    sizes = np.abs(sketch).max(axis=1)
    assert ((sizes >= 0.75) & (sizes < 1.25)).all()
    into = sketch.any(axis=0) @ np.ones(SKETCH_WIDTH)
    assert into == min(width, SKETCH_WIDTH)
    assert np.count_nonzero(sketch, axis=0).max() == -(-width // SKETCH_WIDTH)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("width", WIDTHS)
def test_sketches_are_linear(width: int, format_: Format) -> None:
    matrix = matrix_of(width, format_)
    rows = np.arange(69, -1, -3)
    unit = sketch_rows(Matrix.of_values(np.eye(width), format_), np.arange(width))
    expected = matrix.rows(rows) @ unit
    np.testing.assert_allclose(sketch_rows(matrix, rows), expected, rtol=1e-12, atol=1e-13)
