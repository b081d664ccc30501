"""The kernels of eight vectors, and the moments and covariances made with them, against numpy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from isologit.numerics import bases, kernels, products
from isologit.numerics.covariance import covariance_product, moments_of
from isologit.numerics.formats import BF16, F32, FORMATS, Format
from isologit.numerics.parallel import set_threads
from isologit.numerics.products import BLOCK, TILE
from isologit.numerics.stored import Matrix

every_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
# Whole chunks, chunks and a rest, and less than one chunk.
every_width = pytest.mark.parametrize("width", [64, 77, 5])
both_precisions = pytest.mark.parametrize(
    ("precision", "tolerance"), [(np.float32, 3e-6), (np.float64, 1e-14)]
)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    set_threads(0)


def sample(n_tokens: int, width: int, format_: Format = BF16) -> Matrix:
    rng = np.random.default_rng(n_tokens + width)
    return Matrix.of_values(rng.normal(size=(n_tokens, width)) + 0.5, format_)


def test_packed_vectors_unpack_to_themselves() -> None:
    vectors = np.random.default_rng(1).normal(size=(BLOCK, 77))
    for format_ in FORMATS:
        packed = products.packed(vectors, format_)
        assert len(packed) == products.packed_size(BLOCK, 77)
        unpacked = products.unpacked(packed, BLOCK, 77, format_, np.float64)
        assert unpacked.tolist() == vectors.tolist()


@every_format
@every_width
@both_precisions
@pytest.mark.parametrize("n_rows", [1, TILE, 12 * TILE + 7])
def test_products_are_those_of_numpy(
    n_rows: int, width: int, format_: Format, precision: type[Any], tolerance: float
) -> None:
    matrix = sample(2 * n_rows + 3, width, format_)
    # Some rows, out of the middle of those given.
    rows = np.random.default_rng(2).permutation(matrix.n_tokens)
    start, stop = 2, 2 + n_rows
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(BLOCK, width)).astype(precision)
    offsets = rng.normal(size=BLOCK).astype(precision)
    sums, totals = np.zeros(products.packed_size(BLOCK, width)), np.zeros(BLOCK)
    words = kernels.typed(matrix.words, format_)
    basis = products.packed(vectors, format_)
    products.add_products(words, rows[start:stop], basis, offsets, sums, totals)
    x = matrix.rows(rows[start:stop])
    y = x @ vectors.astype(np.float64).T - offsets
    found = products.unpacked(sums, BLOCK, width, format_, precision)
    np.testing.assert_allclose(found, y.T @ x, atol=tolerance * np.abs(y).sum() * np.abs(x).max())
    np.testing.assert_allclose(totals, y.sum(axis=0), atol=tolerance * np.abs(y).sum())


@every_format
@every_width
def test_projections_are_each_rows_own(width: int, format_: Format) -> None:
    matrix = sample(61, width, format_)
    values = matrix.rows(range(61))
    values[[4, 60]] = np.nan
    values[7, 0] = np.inf
    vectors = np.random.default_rng(3).normal(size=(BLOCK, width))
    words = kernels.typed(Matrix.of_values(values, format_).words, format_)
    found = np.full((61, BLOCK), 7.0)
    basis = products.packed(vectors, format_)
    products.project_rows(words, np.arange(1, 61), basis, found[1:])
    assert (found[0] == 7).all()
    assert np.isnan(found[[4, 60]]).all()
    assert not np.isfinite(found[7]).any()
    ordinary = np.setdiff1d(np.arange(1, 61), [4, 7, 60])
    expected = values[ordinary] @ vectors.T
    np.testing.assert_allclose(found[ordinary], expected, atol=1e-13 * width)


@every_format
@every_width
@pytest.mark.parametrize("broken", [False, True])
def test_moments_are_those_of_the_finite_rows(width: int, broken: bool, format_: Format) -> None:
    values = sample(5 * TILE + 1, width, format_).rows(range(5 * TILE + 1))
    if broken:
        values[3, 0] = np.nan
        values[50, -1] = np.inf
        values[51, -1] = -np.inf
    moments = moments_of(Matrix.of_values(values, format_))
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    assert moments.rows.tolist() == finite.tolist()
    np.testing.assert_allclose(moments.mean, values[finite].mean(axis=0), rtol=1e-13, atol=1e-15)
    assert moments.variance == pytest.approx(values[finite].var(axis=0).sum(), rel=1e-12)


@pytest.mark.parametrize("exponent", [-10, -20, -23])
def test_the_variance_of_rows_far_from_the_origin_is_not_lost(exponent: int) -> None:
    W = 1 + np.random.default_rng(0).integers(0, 2, (5000, 4)) * 2.0**exponent
    variance = (W - 1).var(axis=0).sum()
    assert moments_of(Matrix.of_values(W, F32)).variance == pytest.approx(variance, rel=1e-7)


def test_rows_whose_squares_leave_binary32_are_finite() -> None:
    moments = moments_of(Matrix.of_values(np.array([[3e38, 1], [-3e38, 3]]), F32))
    assert len(moments.rows) == 2
    assert moments.mean.tolist() == [0, 2]
    assert moments.variance == pytest.approx(9e76, rel=1e-6)


@both_precisions
def test_a_covariance_is_as_precise_far_from_the_origin(
    precision: type[Any], tolerance: float
) -> None:
    rng = np.random.default_rng(5)
    rows = np.round(rng.normal(size=(4000, 40)) * 50)
    centred = rows - rows.mean(axis=0)
    covariance = centred.T @ centred / len(rows)
    far = Matrix.of_values(rows + 5000, F32)
    moments = moments_of(far)
    vectors = np.linalg.qr(rng.normal(size=(40, 11)))[0].T
    found = covariance_product(far, moments.rows, moments, precision)(vectors)
    np.testing.assert_allclose(
        found * moments.unit**2, vectors @ covariance, atol=100 * tolerance * 50**2
    )


def test_errors_in_binary32_average_out_over_the_rows() -> None:
    # What a search in binary32 relies on to carry as far as it does.
    matrix = sample(40_000, 128)
    moments = moments_of(matrix)
    vectors = np.linalg.qr(np.random.default_rng(6).normal(size=(128, 8)))[0].T
    vectors = vectors.astype(np.float32).astype(np.float64)
    single, double = (
        covariance_product(matrix, moments.rows, moments, precision)(vectors)
        for precision in (np.float32, np.float64)
    )
    size = np.linalg.norm(double, axis=1)
    assert (np.linalg.norm(single - double, axis=1) <= 2.0**-24 * size).all()


@both_precisions
def test_the_number_of_threads_changes_no_bit_of_a_product(
    precision: type[Any], tolerance: float
) -> None:
    matrix = sample(9000, 70)
    found = []
    for threads in (1, 3):
        set_threads(threads)
        moments = moments_of(matrix)
        apply = covariance_product(matrix, moments.rows, moments, precision)
        found.append((moments.mean.tobytes(), apply(np.eye(8, 70)).tobytes()))
    assert found[0] == found[1]


def test_products_of_vectors_are_those_of_numpy() -> None:
    rng = np.random.default_rng(7)
    left, right = rng.normal(size=(5, 1100)), rng.normal(size=(9, 1100))
    np.testing.assert_allclose(bases.inner_products(left, right), left @ right.T, atol=1e-11)
    weights = rng.normal(size=(5, 9))
    np.testing.assert_allclose(bases.combinations(weights, right), weights @ right, atol=1e-13)
    assert bases.inner_products(left, right[:0]).shape == (5, 0)
    assert bases.combinations(weights[:, :0], right[:0]).tolist() == np.zeros((5, 1100)).tolist()
