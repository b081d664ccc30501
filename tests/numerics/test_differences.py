"""Sums over differences of rows, against numpy's on decoded rows."""

import numpy as np
import pytest

from isologit.numerics.differences import (
    LANES,
    difference_sums,
    lane_of_entries,
    row_sums,
    squares_within,
    sum_share,
)
from isologit.numerics.formats import FORMATS, Format
from isologit.numerics.parallel import get_threads, set_threads
from isologit.numerics.stored import Matrix

WIDTHS = (1, 31, 32, 33, 64, 257, 600)


def a_matrix(width: int, format_: Format) -> Matrix:
    rng = np.random.default_rng([width, format_.precision])
    return Matrix.of_values(rng.normal(size=(20, width)), format_)


def pairs() -> tuple[np.ndarray, np.ndarray]:
    left, right = np.triu_indices(20, 1)
    return left.astype(np.int64), right.astype(np.int64)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("format_", FORMATS)
def test_sums_are_numpys(format_: Format, width: int, centred: bool) -> None:
    rng = np.random.default_rng(0)
    matrix = a_matrix(width, format_)
    gamma, beta = rng.normal(size=(2, width))
    left, right = pairs()
    sums = difference_sums(matrix, left, right, gamma, beta, centred=centred)
    delta = matrix.rows(left) - matrix.rows(right)
    x = delta * gamma
    deviations = x - x.mean(axis=1, keepdims=True) if centred else x
    share = 4 * sum_share(width)
    for got, terms in (
        (sums.squares, deviations**2),
        (sums.raw_squares, x**2),
        (sums.products, beta * delta),
        (sums.product_sizes, np.abs(beta * delta)),
        (sums.scaled_sizes, np.abs(x)),
        (sums.sizes, np.abs(delta)),
    ):
        room = share * np.abs(terms).sum(axis=1) + 1e-25
        if width > 1 or not centred:
            assert (np.abs(got - terms.sum(axis=1)) <= room).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("format_", FORMATS)
def test_row_sums_are_numpys(format_: Format, width: int) -> None:
    rng = np.random.default_rng(1)
    matrix = a_matrix(width, format_)
    gamma, beta, weights = rng.normal(size=(3, width))
    ids = np.array([3, 0, 19])
    sums = row_sums(matrix, ids, gamma, beta, weights)
    w = matrix.rows(ids)
    x, lane = w * gamma, lane_of_entries(matrix)
    sketch = np.stack([np.bincount(lane, row * weights, minlength=LANES) for row in x])
    for got, want in (
        (sums.sketch, sketch),
        (sums.total, x.sum(axis=1)),
        (sums.squares, (x * x).sum(axis=1)),
        (sums.products, (w * beta).sum(axis=1)),
    ):
        assert np.allclose(got, want, rtol=1e-12, atol=1e-12)


def test_sums_do_not_depend_on_the_other_pairs_or_on_threads() -> None:
    matrix = a_matrix(257, FORMATS[0])
    gamma = np.random.default_rng(2).normal(size=257)
    left, right = pairs()
    whole = difference_sums(matrix, left, right, gamma, gamma, centred=True)
    before = get_threads()
    set_threads(1)
    alone = difference_sums(matrix, right[7:8], left[7:8], gamma, gamma, centred=True)
    set_threads(before)
    for name in ("squares", "raw_squares", "product_sizes", "scaled_sizes", "sizes"):
        assert getattr(whole, name)[7] == getattr(alone, name)[0]
    assert whole.products[7] == -alone.products[0]


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_pair_within_the_limit_is_never_left_out(width: int, centred: bool) -> None:
    matrix = a_matrix(width, FORMATS[0])
    gamma = np.random.default_rng(3).normal(size=width)
    left, right = pairs()
    squares = difference_sums(matrix, left, right, gamma, None, centred=centred).squares
    for limit in (0.0, squares[5], np.median(squares), squares.max()):
        found = squares_within(matrix, left, right, gamma, float(limit), centred=centred)
        assert found[squares <= limit].all()
        beyond = squares > limit * 1.0001 + 1e-6 * squares.max()
        assert not found[beyond].any() or centred
