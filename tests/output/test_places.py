"""Where the rows lie: the columns ``pc1`` to ``pc3``, along which axes, and when there are none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from checkpoints import gaussian, write_matrix
from cli.command import isologit
from isologit.audit_tables import read_audit
from isologit.equivalence.axes import coordinates, on_sphere, principal_axes, projections
from isologit.numerics.formats import BF16, F32
from isologit.numerics.stored import Matrix

V, D = 400, 10
# Axes of clearly different variance, and a mean that is not zero.
SPREAD = np.array([9.0, 5.0, 3.0, 1, 1, 1, 1, 1, 1, 1])


def stretched() -> Any:
    values = 4.0 + gaussian(V, D, seed=5) * SPREAD
    values[17] = np.nan
    values[23] = 0
    return values


def places(directory: Path) -> Any:
    table = pq.read_table(directory / "tokens.parquet")
    return np.stack([table[f"pc{n}"].to_numpy() for n in (1, 2, 3)], axis=1)


def test_components_are_of_the_rows_as_they_are_along_the_leading_axes() -> None:
    matrix = Matrix.of_values(stretched(), F32)
    axes = principal_axes(matrix)
    found = projections(matrix, axes)
    finite = np.arange(V) != 17
    rows = matrix.rows(np.flatnonzero(finite))
    np.testing.assert_allclose(found[finite], rows @ axes.axes[:3].T, atol=1e-12)
    assert not np.isfinite(found[17]).any()
    # The sphere of the seed's axes: north is the second, the meridian the first.
    on_axes = on_sphere(found[:, 0], found[:, 2], found[:, 1])
    for own, expected in zip(on_axes, coordinates(matrix, axes), strict=True):
        np.testing.assert_array_equal(own, expected)


def test_an_audit_writes_them_and_says_along_which_axes(tmp_path: Path) -> None:
    values = stretched()
    model = write_matrix(tmp_path / "m", values, "bf16")
    assert isologit("audit", model, "-o", tmp_path / "out").code == 0
    matrix = Matrix.of_values(values, BF16)
    found = places(tmp_path / "out")
    assert found.dtype == np.float32
    finite = np.arange(V) != 17
    expected = projections(matrix, principal_axes(matrix))[finite]
    length = np.linalg.norm(matrix.rows(np.flatnonzero(finite)), axis=1)[:, None]
    # The sine of an axis's error is at most a thousandth.
    assert (np.abs(found[finite] - expected) <= 1.01e-3 * length).all()
    facts = read_audit(tmp_path / "out").places
    assert facts is not None
    assert facts.axes is not None
    assert max(facts.axes.sine_bounds) <= 1e-3
    assert facts.axes.rows_left_out == 1
    covariance = np.cov(matrix.rows(np.flatnonzero(finite)).T, bias=True)
    leading = np.linalg.eigvalsh(covariance)[::-1][:3]
    np.testing.assert_allclose(facts.axes.eigenvalues, leading, rtol=1e-6)


def test_a_poles_axes_serve_for_the_places_too(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", stretched())
    assert isologit("audit", model, "--pole", "10,20", "-o", tmp_path / "out").code == 0
    read = read_audit(tmp_path / "out")
    assert read.places is not None
    assert read.places.axes == read.findings.axes


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.array([[1.0, 2], [3, 5], [7, 1]]), "there are only d dimensions"),
        (np.ones((5, 4)), "have no variance"),
        (np.full((3, 4), np.nan), "have no variance"),
    ],
)
def test_axes_that_are_not_determined_leave_the_columns_out_and_the_reason_in(
    tmp_path: Path, values: Any, why: str
) -> None:
    model = write_matrix(tmp_path / "m", values)
    ran = isologit("audit", model, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    read = read_audit(tmp_path / "out")
    assert not {"pc1", "pc2", "pc3"} & set(read.tokens.column_names)
    assert read.places is not None
    assert read.places.axes is None
    assert why in (read.places.why or "")


def test_classes_has_no_places(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", stretched())
    assert isologit("classes", model, "-o", tmp_path / "out").code == 0
    assert "pc1" not in pq.read_table(tmp_path / "out" / "tokens.parquet").column_names


def test_the_summary_is_what_json_prints_whether_a_directory_is_written_or_not(
    tmp_path: Path,
) -> None:
    model = write_matrix(tmp_path / "m", stretched())
    alone = isologit("audit", model, "--json").json
    assert isologit("audit", model, "-o", tmp_path / "out").code == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == alone
    assert alone["axes"] is None


def test_what_is_beyond_the_largest_float_is_infinite_and_not_drawn(tmp_path: Path) -> None:
    # Along (1, …, 1)/√D, the leading axis, the rows lie at some √D · 1e38.
    along = 1 + gaussian(V, 1, seed=5)
    values = 1e38 * along + 1e36 * gaussian(V, D, seed=6) * SPREAD
    model = write_matrix(tmp_path / "m", values, "f32")
    assert isologit("audit", model, "-o", tmp_path / "out").code == 0
    found = places(tmp_path / "out")
    beyond = np.isinf(found[:, 0])
    assert 0 < beyond.sum() < V
    assert np.isfinite(found[:, 1:]).all()
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{beyond.sum()} tokens without a place left out" in page
