"""Shells against what rows of each initialisation show, and bands against numbers by hand."""

import numpy as np
import pytest

from isologit.numerics.formats import BF16, F32
from isologit.tokens.shells import (
    Band,
    Shell,
    fit_ball,
    fit_shell,
    prediction_factor,
    rounding_distance,
)

WIDTH = 96


@pytest.mark.parametrize("drift", [0.0, 1.0, 8.0])
def test_norms_of_untouched_rows_are_no_wider_than_gaussian_whatever_they_share(
    drift: float,
) -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(20_000, WIDTH)) / np.sqrt(WIDTH) + drift * np.eye(WIDTH)[0]
    shell = Shell.of(np.linalg.norm(rows, axis=1), WIDTH, 0.0)
    expected = np.sqrt(1 + 2 * drift**2) / (1 + drift**2) / np.sqrt(2 * WIDTH)
    assert shell.relative_spread == pytest.approx(expected, rel=0.03)
    assert shell.relative_spread < 1.03 * shell.gaussian
    assert shell.is_thin


def test_each_initialisation_is_known_by_its_spread() -> None:
    generator = np.random.default_rng(1)
    uniform = np.linalg.norm(generator.uniform(-1, 1, size=(5000, WIDTH)), axis=1)
    shell = Shell.of(uniform, WIDTH, 0.0)
    assert shell.relative_spread == pytest.approx(shell.uniform, rel=0.05)
    assert shell.resembles == ("uniform",)
    gaussian = np.linalg.norm(generator.normal(size=(5000, WIDTH)), axis=1)
    assert Shell.of(gaussian, WIDTH, 0.0).resembles == ("Gaussian",)
    assert Shell.of(1 + 1e-4 * generator.normal(size=5000), WIDTH, 0.0).resembles == ("orthogonal",)
    assert Shell.of(np.exp(0.3 * generator.normal(size=5000)), WIDTH, 0.0).resembles == ()


def test_spreads_that_training_leaves_are_not_thin() -> None:
    norms = np.exp(0.2 * np.random.default_rng(2).normal(size=500))
    assert not Shell.of(norms, WIDTH, 0.0).is_thin
    assert Shell.of(norms, 8, 0.0).is_thin


def test_equal_rows_have_no_relative_spread() -> None:
    assert np.isnan(Shell.of(np.zeros(5), WIDTH, 1.0).relative_spread)


# Student's quantiles at 0.99865 for n - 1 degrees of freedom, by R's qt, times √(1 + 1/n).
@pytest.mark.parametrize(("n", "quantile"), [(8, 4.53), (16, 3.59), (101, 3.08)])
def test_the_prediction_factor_is_students(n: int, quantile: float) -> None:
    assert prediction_factor(n) == pytest.approx(quantile * np.sqrt(1 + 1 / n), rel=0.03)


def test_a_band_holds_its_ends_and_no_nan() -> None:
    assert Band(1.0, 2.0).holds(np.array([0.9, 1.0, 2.0, 2.1, np.nan])).tolist() == (
        [False, True, True, False, False]
    )


def test_strangers_in_a_ball_are_bounded_by_the_nearest_outside() -> None:
    # (N + 1) t / (D - t) at D = 3, 11, 101: 2/2, 3/10, 4/100.
    assert Band(0.0, 1.0).expected_strangers(np.array([0.5, 3.0, 11.0, 101.0])) == 0.04
    assert Band(0.0, 1.0).expected_strangers(np.array([0.5])) == np.inf


def test_strangers_in_a_shell_are_bounded_by_its_neighbourhood() -> None:
    generator = np.random.default_rng(3)
    flat = generator.uniform(0, 10, size=100_000)
    strangers = Band(5.0, 6.0).expected_strangers(flat)
    assert 10_000 < strangers < 10_500
    tail = generator.exponential(size=100_000)
    actual = np.count_nonzero((tail >= 3) & (tail <= 5))
    assert actual < Band(3.0, 5.0).expected_strangers(tail) < 1.5 * actual
    assert Band(50.0, 60.0).expected_strangers(tail) == pytest.approx(1.0)


def test_a_ball_leaves_out_what_is_beyond_its_spread() -> None:
    radii = np.array([1.0, 1.05, 0.95, 1.02, 0.98, 1.01, 0.99, 1.0, 1.6, 5.0])
    inside = np.arange(10) < 4
    band = fit_ball(radii, inside, 1000, rounding=0.0)
    assert band is not None
    assert band.low == 0
    assert 1.05 < band.high < 1.6
    wider = fit_ball(radii, inside, 1000, rounding=0.7)
    assert wider is not None
    assert 1.6 < wider.high < 5
    assert fit_ball(radii, np.arange(10) < 3, 1000, rounding=0.0) is None


def test_a_shell_reaches_no_farther_than_gaussian_rows_would() -> None:
    radii = np.array([0.7, 0.9, 1.0, 1.1, 1.3])
    band = fit_shell(radii, np.ones(5, dtype=np.bool_), 50)
    assert band is not None
    assert band.high - band.low == pytest.approx(2 * 3 * np.sqrt(1.2 / 100), rel=1e-9)


def test_equal_radii_stay_in_their_band() -> None:
    radii = np.full(7, 0.1)
    for band in (
        fit_ball(radii, np.ones(7, dtype=np.bool_), 50, rounding=0.0),
        fit_shell(radii, np.ones(7, dtype=np.bool_), 50),
    ):
        assert band is not None
        assert band.holds(radii).all()


def test_rounding_moves_rows_as_far_as_is_said() -> None:
    rows = np.random.default_rng(4).normal(size=(2000, WIDTH))
    words = rows.astype(np.float32).view(np.uint32)
    moved = ((words + 0x7FFF + ((words >> 16) & 1)) & 0xFFFF0000).view(np.float32) - rows
    measured = np.sqrt((moved**2).sum(axis=1).mean())
    said = np.sqrt(np.mean([rounding_distance(row, BF16) ** 2 for row in rows]))
    assert said == pytest.approx(measured, rel=0.01)
    assert rounding_distance(np.zeros(4), F32) == 0
