"""Principal axes against a dense eigendecomposition, and the spherical coordinates along them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from isologit.equivalence.axes import PrincipalAxes, coordinates, direction, principal_axes
from isologit.errors import UndeterminedAxesError
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Float64s, Format
from isologit.numerics.parallel import set_threads
from isologit.numerics.stored import Matrix, StoredWords

every_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    set_threads(0)


def sample(n_tokens: int, width: int, format_: Format = BF16, seed: int = 7) -> Matrix:
    """Rows of a decaying spectrum in a random basis, off the origin."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(width, width)))
    spread = np.arange(1, width + 1) ** -0.4
    rows = (rng.normal(size=(n_tokens, width)) * spread) @ basis + rng.normal(size=width)
    return Matrix.of_values(rows, format_)


def dense(matrix: Matrix) -> tuple[Float64s, Float64s]:
    """The peer: numpy's eigendecomposition of the whole covariance, in binary64."""
    rows = matrix.rows(range(matrix.n_tokens))
    rows = rows[np.isfinite(rows).all(axis=1)]
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    return values[::-1], vectors[:, ::-1].T


def sines(axes: Float64s, peer: Float64s) -> Float64s:
    along = np.sum(axes * peer, axis=1)
    return np.asarray(np.linalg.norm(axes - along[:, None] * peer, axis=1))


def axis_matrix(values: npt.ArrayLike) -> Matrix:
    """Rows ±v for each v given: the covariance is known by hand."""
    rows = np.array(values, dtype=np.float64)
    return Matrix.of_values(np.concatenate([rows, -rows]), F32)


@every_format
@pytest.mark.parametrize(
    ("n_tokens", "width"), [(50, 3), (100, 8), (300, 9), (40, 120), (3000, 200)]
)
def test_axes_are_those_of_the_dense_covariance(n_tokens: int, width: int, format_: Format) -> None:
    matrix = sample(n_tokens, width, format_)
    axes = principal_axes(matrix)
    values, vectors = dense(matrix)
    np.testing.assert_allclose(axes.eigenvalues, values[:3], rtol=1e-12)
    np.testing.assert_allclose(axes.variance_share, values[:3] / values.sum(), rtol=1e-12)
    assert (sines(axes.axes, vectors[:3]) <= axes.sine_bounds + 1e-12).all()
    assert (axes.sine_bounds <= 1e-6).all()
    np.testing.assert_allclose(axes.axes @ axes.axes.T, np.eye(3), atol=1e-13)


def test_a_large_search_through_all_its_stages_is_as_exact() -> None:
    matrix = sample(12_000, 400)
    axes = principal_axes(matrix, 5)
    values, vectors = dense(matrix)
    np.testing.assert_allclose(axes.eigenvalues, values[:5], rtol=1e-11)
    assert (sines(axes.axes, vectors[:5]) <= axes.sine_bounds + 1e-12).all()
    assert (axes.sine_bounds <= 1e-6).all()
    residuals = np.linalg.norm(
        axes.axes @ (vectors.T * values) @ vectors - axes.eigenvalues[:, None] * axes.axes, axis=1
    )
    np.testing.assert_allclose(residuals, axes.residuals, rtol=1e-3, atol=1e-14)


def test_an_axis_that_every_eighth_row_misses_is_found() -> None:
    # A large search begins with one row in eight; here these span twelve dimensions, all of which
    # that search knows in the end, and the largest variance lies across them.
    rng = np.random.default_rng(12)
    rows = np.zeros((12_000, 400))
    rows[:, 1:13] = rng.normal(size=(12_000, 12)) * np.arange(12, 0, -1)
    rows[1::8] = 0
    rows[1::16, 0] = 36
    rows[9::16, 0] = -36
    axes = principal_axes(Matrix.of_values(rows, BF16))
    assert axes.eigenvalues[0] == pytest.approx(36**2 / 8, rel=1e-12)
    assert axes.axes[0, 0] == pytest.approx(1, abs=1e-12)


def test_close_eigenvalues_of_a_large_matrix_are_told_apart() -> None:
    # Gaussian rows: gaps of a percent and less, far below what a search in binary32 can resolve.
    rows = np.random.default_rng(5).normal(size=(12_000, 400))
    matrix = Matrix.of_values(rows, BF16)
    axes = principal_axes(matrix, tolerance=1e-9)
    values, vectors = dense(matrix)
    assert values[2] / values[3] < 1.01
    np.testing.assert_allclose(axes.eigenvalues, values[:3], rtol=1e-12)
    assert (sines(axes.axes, vectors[:3]) <= axes.sine_bounds + 1e-12).all()
    assert (axes.sine_bounds <= 1e-9).all()
    # A few of them in binary64, which starts from all that binary32 found.
    assert axes.passes <= 55


@pytest.mark.parametrize("scale", [2.0**-140, 2.0**115])
def test_a_large_matrix_beyond_the_range_of_binary32_has_the_same_axes(scale: float) -> None:
    rng = np.random.default_rng(8)
    sizes = np.full(400, 20.0)
    sizes[:3] = 400, 300, 200
    # Integers, so that the scaled numbers are exact, subnormal as the small ones are.
    values = np.round(rng.normal(size=(12_000, 400)) * sizes)
    axes = principal_axes(Matrix.of_values(values, F32))
    scaled = principal_axes(Matrix.of_values(values * scale, F32))
    np.testing.assert_allclose(scaled.axes, axes.axes, atol=2e-6)
    np.testing.assert_allclose(scaled.eigenvalues, axes.eigenvalues * scale**2, rtol=1e-10)


def test_equal_eigenvalues_of_a_large_matrix_are_refused_within_bounds() -> None:
    rng = np.random.default_rng(4)
    half = np.zeros((6000, 400))
    half[600:, 2:] = rng.normal(size=(5400, 398))
    half[:300, 0] = 30
    half[300:600, 1] = 30
    matrix = Matrix.of_values(np.concatenate([half, -half]), BF16)
    with pytest.raises(UndeterminedAxesError, match=r"axis 1 of .* after ([1-9]|[1-4][0-9]) pas"):
        principal_axes(matrix)


def test_a_tighter_tolerance_is_met() -> None:
    matrix = sample(2000, 150)
    axes = principal_axes(matrix, tolerance=1e-11)
    assert (sines(axes.axes, dense(matrix)[1][:3]) <= 1e-11).all()


@pytest.mark.parametrize("count", [1, 2, 8, 17])
def test_any_number_of_axes_can_be_asked_for(count: int) -> None:
    matrix = sample(500, 40)
    axes = principal_axes(matrix, count)
    assert axes.axes.shape == (count, 40)
    np.testing.assert_allclose(axes.eigenvalues, dense(matrix)[0][:count], rtol=1e-12)


def test_the_covariance_is_divided_by_the_number_of_rows() -> None:
    axes = principal_axes(axis_matrix([[4, 0, 0], [0, 2, 0], [0, 0, 1]]))
    np.testing.assert_allclose(axes.eigenvalues, [16 / 3, 4 / 3, 1 / 3], rtol=1e-14)
    np.testing.assert_allclose(axes.axes, np.eye(3), atol=1e-14)


def test_the_leading_component_of_each_axis_is_positive() -> None:
    for seed in range(20):
        axes = principal_axes(sample(60, 12, seed=seed)).axes
        magnitudes = np.abs(axes)
        for axis, size in zip(axes, magnitudes, strict=True):
            assert axis[np.argmax(size >= (1 - 2.0**-10) * size.max())] > 0


def test_of_components_equal_by_symmetry_the_first_is_positive() -> None:
    axes = principal_axes(axis_matrix([[-4, 4, 0, 0], [0, 0, -2, -2], [1, 1, 0, 0]])).axes
    half = np.sqrt(0.5)
    expected = [[half, -half, 0, 0], [0, 0, half, half], [half, half, 0, 0]]
    np.testing.assert_allclose(axes, expected, atol=1e-14)


@every_format
@pytest.mark.parametrize(("n_tokens", "width"), [(5000, 60), (12_000, 400)])
def test_the_number_of_threads_changes_no_bit(n_tokens: int, width: int, format_: Format) -> None:
    matrix = sample(n_tokens, width, format_)
    set_threads(1)
    one = principal_axes(matrix)
    set_threads(3)
    three = principal_axes(matrix)
    assert one.axes.tobytes() == three.axes.tobytes()
    assert one.eigenvalues.tobytes() == three.eigenvalues.tobytes()


def test_a_power_of_two_scales_eigenvalues_and_changes_no_axis() -> None:
    matrix = sample(400, 30, F32)
    scaled = Matrix.of_values(matrix.rows(range(400)) * 2.0**-100, F32)
    axes, small = principal_axes(matrix), principal_axes(scaled)
    assert small.axes.tobytes() == axes.axes.tobytes()
    assert small.eigenvalues.tolist() == (axes.eigenvalues * 2.0**-200).tolist()
    assert small.variance_share.tolist() == axes.variance_share.tolist()


def test_a_constant_added_to_every_row_changes_no_axis() -> None:
    rng = np.random.default_rng(2)
    rows = np.round(rng.normal(size=(300, 10)) * np.arange(10, 110, 10))
    axes = principal_axes(Matrix.of_values(rows, F32))
    moved = principal_axes(Matrix.of_values(rows + 100_000, F32))
    np.testing.assert_allclose(moved.axes, axes.axes, atol=1e-9)
    np.testing.assert_allclose(moved.variance_share, axes.variance_share, rtol=1e-9)


def test_rows_that_are_not_finite_are_left_out_and_counted() -> None:
    matrix = sample(200, 12)
    values = matrix.rows(range(200))
    values[[3, 50]] = np.nan
    values[120, 5] = np.inf
    values[199, 0] = -np.inf
    broken = Matrix.of_values(values, BF16)
    axes = principal_axes(broken)
    assert axes.rows_left_out == 4
    kept = principal_axes(Matrix.of_values(values[np.isfinite(values).all(axis=1)], BF16))
    assert kept.rows_left_out == 0
    np.testing.assert_allclose(axes.axes, kept.axes, atol=1e-9)
    np.testing.assert_allclose(axes.eigenvalues, kept.eigenvalues, rtol=1e-12)


def test_words_at_an_odd_address_give_the_same_axes() -> None:
    matrix = sample(100, 20)
    mapped = b"\0" + matrix.words.tobytes()
    words: StoredWords = np.frombuffer(mapped, dtype=np.uint16, offset=1)
    axes = principal_axes(Matrix(words.reshape(100, 20), BF16))
    assert axes.axes.tobytes() == principal_axes(matrix).axes.tobytes()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            axis_matrix([[1, 0], [0, 2]]),
            "not determined: 3 principal axes of a [4, 2] f32 matrix; there are only d dimensions. "
            "Name the direction by token ids or a vector instead",
        ),
        (
            axis_matrix([[1, 0, 0, 0], [0, 2, 0, 0]]),
            "not determined: axis 3 of a [4, 4] f32 matrix; only 2 axes have any variance. ",
        ),
        (
            Matrix.of_values(np.ones((9, 5)), BF16),
            "not determined: the principal axes of a [9, 5] bf16 matrix; its 9 finite rows have no "
            "variance. ",
        ),
        (
            Matrix.of_values(np.full((9, 5), np.nan), F16),
            "its 0 finite rows have no variance. ",
        ),
        (
            axis_matrix([[4, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]),
            "not determined: axis 2 of a [8, 4] f32 matrix; its eigenvalue is one of 4, 1, 1, and "
            "after 1 passes the sine of its error is bounded by inf (expected at most 1e-06). ",
        ),
    ],
    ids=["narrow", "rank 2", "constant", "all NaN", "equal"],
)
def test_axes_that_are_not_determined_are_refused(matrix: Matrix, message: str) -> None:
    with pytest.raises(UndeterminedAxesError) as caught:
        principal_axes(matrix)
    assert message in str(caught.value)


def test_equal_third_and_fourth_eigenvalues_are_refused() -> None:
    matrix = axis_matrix(np.diag([5.0, 4, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]))
    with pytest.raises(UndeterminedAxesError, match="axis 3 of"):
        principal_axes(matrix)
    assert len(principal_axes(matrix, 2).axes) == 2


def test_equal_eigenvalues_above_a_flat_rest_are_refused_without_spending_every_pass() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(2000, 300)) * 0.01
    spikes = np.zeros((4, 300))
    spikes[[0, 1], 0] = [3, -3]
    spikes[[2, 3], 1] = [3, -3]
    exact_rows = np.concatenate([spikes, np.concatenate([rows, -rows])])
    # No noise along the two spikes: their eigenvalues are the same number.
    exact_rows[4:, :2] = 0
    with pytest.raises(UndeterminedAxesError, match=r"axis 1 of .* after ([1-9]|1[0-9]) passes"):
        principal_axes(Matrix.of_values(exact_rows, F32))


def test_close_but_distinct_eigenvalues_are_told_apart() -> None:
    sizes = np.ones(20)
    sizes[:4] = [3, 2 + 2.0**-12, 2, 1.5]
    axes = principal_axes(axis_matrix(np.diag(sizes)))
    np.testing.assert_allclose(axes.axes, np.eye(20)[:3], atol=1e-6)


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        principal_axes(sample(10, 4), 0)


def frame(k: int = 4, width: int = 6) -> PrincipalAxes:
    """Axes along the coordinates."""
    zeros = np.zeros(k)
    return PrincipalAxes(np.arange(k, 0, -1.0), np.eye(k, width), zeros, zeros, zeros, 0, 1)


def test_a_direction_points_where_the_seed_line_defines_it() -> None:
    lat, lon = np.radians(-7.288), np.radians(6.941)
    vector = direction(frame(), -7.288, 6.941)
    expected = [np.cos(lat) * np.cos(lon), np.sin(lat), np.cos(lat) * np.sin(lon), 0, 0, 0]
    np.testing.assert_allclose(vector, expected, atol=1e-15)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("lat_deg", "lon_deg", "numbers", "expected"),
    [
        (90, 0, {}, [0, 1, 0, 0]),
        (0, 0, {}, [1, 0, 0, 0]),
        (0, 90, {}, [0, 0, 1, 0]),
        (90, 0, {"north": -2}, [0, -1, 0, 0]),
        (0, 0, {"meridian": -1}, [-1, 0, 0, 0]),
        (0, 90, {"equinox": -4}, [0, 0, 0, -1]),
        (0, 180, {"north": 1, "meridian": 3, "equinox": 2}, [0, 0, -1, 0]),
    ],
)
def test_axes_are_numbered_from_one_and_flipped_by_a_minus(
    lat_deg: float, lon_deg: float, numbers: dict[str, int], expected: list[float]
) -> None:
    vector = direction(frame(), lat_deg, lon_deg, **numbers)
    np.testing.assert_allclose(vector[:4], expected, atol=1e-15)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"north": 0}, "north 0, meridian 1, equinox 3: expected numbers of principal axes from 1"),
        ({"equinox": 5}, "equinox 5: expected numbers of principal axes from 1 to 4, negative to"),
        ({"equinox": -5}, "equinox -5: expected numbers"),
        ({"north": -1}, "north -1, meridian 1, equinox 3: expected three different axes"),
    ],
)
def test_numbers_that_name_no_frame_are_refused(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        direction(frame(), 0, 0, **numbers)
    with pytest.raises(ValueError, match=message):
        coordinates(sample(8, 6), frame(), **numbers)


@every_format
def test_coordinates_are_of_the_rows_as_they_are_not_centred(format_: Format) -> None:
    matrix = sample(101, 30, format_)
    axes = principal_axes(matrix)
    lat_deg, lon_deg, radius = coordinates(matrix, axes)
    x, z, y = axes.axes @ matrix.rows(range(101)).T
    r = np.sqrt(x * x + y * y + z * z)
    np.testing.assert_allclose(radius, r, rtol=1e-13)
    np.testing.assert_allclose(lat_deg, np.degrees(np.arcsin(z / r)), atol=1e-10)
    np.testing.assert_allclose(lon_deg, np.degrees(np.arctan2(y, x)), atol=1e-10)


def test_a_token_in_a_direction_has_that_directions_coordinates() -> None:
    axes = principal_axes(sample(300, 40, F32))
    numbers = {"north": -3, "meridian": 2, "equinox": -1}
    places = [(-7.288, 6.941), (0.0, 0.0), (45.0, -120.0), (-89.0, 179.0), (12.5, 90.0)]
    rows = [2.5 * direction(axes, lat, lon, **numbers) for lat, lon in places]
    lat_deg, lon_deg, radius = coordinates(Matrix.of_values(rows, F32), axes, **numbers)
    np.testing.assert_allclose(lat_deg, [lat for lat, _ in places], atol=1e-4)
    np.testing.assert_allclose(lon_deg, [lon for _, lon in places], atol=1e-3)
    np.testing.assert_allclose(radius, 2.5, rtol=1e-6)


def test_rows_without_a_projection_have_no_coordinates() -> None:
    rows: list[list[float]] = [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 7, 0, 0],
        [np.nan] * 6,
        [np.inf, 0, 0, 0, 0, 0],
    ]
    lat_deg, lon_deg, radius = coordinates(Matrix.of_values(rows, BF16), frame())
    assert np.isnan(lat_deg).all()
    assert np.isnan(lon_deg).all()
    assert radius[:2].tolist() == [0, 0]


def test_latitude_is_precise_at_the_poles() -> None:
    rows = Matrix.of_values(np.array([[2.0**-40, 1, 0, 0, 0, 0], [0, -1, 0, 0, 0, 0]]), BF16)
    lat_deg, _, _ = coordinates(rows, frame())
    assert 90 - lat_deg[0] == pytest.approx(np.degrees(2.0**-40), rel=1e-3)
    assert lat_deg[1] == -90
