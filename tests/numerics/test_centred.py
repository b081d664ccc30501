"""Rows less a vector, against the definition."""

import numpy as np
import pytest

from checkpoints import gaussian
from isologit.numerics.centred import centred_rows, squares_beyond
from isologit.numerics.formats import BF16, F16, F32, Format
from isologit.numerics.stored import Matrix


@pytest.mark.parametrize("format_", [BF16, F16, F32])
def test_rows_are_centred_and_rounded_to_binary32(format_: Format) -> None:
    matrix = Matrix.of_values(gaussian(20, 30), format_)
    rows, centre = np.array([3, 19, 0]), gaussian(1, 30, seed=1)[0]
    factors = np.where(np.arange(30) % 7 == 0, 0.0, 0.5)
    expected = ((matrix.rows(rows) - centre) * factors).astype(np.float32)
    assert np.array_equal(centred_rows(matrix, rows, centre, factors, 30), expected)
    assert np.array_equal(centred_rows(matrix, rows, centre, factors, 11), expected[:, :11])
    squares = squares_beyond(matrix, rows, centre, factors, [0, 4, 29])
    exact = ((matrix.rows(rows) - centre) * factors) ** 2
    for n, cut in enumerate([0, 4, 29]):
        assert np.allclose(squares[:, n], exact[:, cut:].sum(axis=1), rtol=1e-14, atol=0)
