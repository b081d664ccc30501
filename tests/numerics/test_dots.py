"""Dot products in two precisions: every column counts once, and the bounds hold."""

from fractions import Fraction

import numpy as np
import pytest

from isologit.numerics import lanes
from isologit.numerics.dots import Dots, dots_double, dots_single
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Float64s, Format
from isologit.numerics.stored import Matrix
from oracle.draws import RANGES, cast_exactly, finite_words, rows_that_lose_all_they_can

each_format = pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
# Around every length at which the loops change: a chunk, a group of them, and what is left.
widths = pytest.mark.parametrize("d", [1, 2, 15, 16, 31, 32, 33, 64, 127, 128, 129, 160, 300])


def both(matrix: Matrix, h: Float64s) -> dict[str, Dots]:
    every = np.arange(matrix.n_tokens)
    return {"single": dots_single(matrix, h), "double": dots_double(matrix, every, h)}


@each_format
@widths
def test_every_column_counts_once(format_: Format, d: int) -> None:
    """Small integers add without rounding, so any order of addition gives these very numbers."""
    rng = np.random.default_rng(d)
    W, h = rng.integers(-7, 8, (6, d)), rng.integers(-7, 8, d)
    matrix = Matrix(cast_exactly(W, format_.name), format_)
    for name, dots in both(matrix, h.astype(np.float64)).items():
        assert dots.values.tolist() == (W @ h).tolist(), name
        assert dots.squares.tolist() == (W * W).sum(axis=1).tolist(), name


@each_format
def test_rows_are_taken_as_they_are_named(format_: Format) -> None:
    matrix = Matrix(cast_exactly(np.diag(np.arange(1.0, 6.0)), format_.name), format_)
    assert dots_double(matrix, np.array([4, 0, 4]), np.ones(5)).values.tolist() == [5, 1, 5]
    assert len(dots_double(matrix, np.array([], dtype=np.int64), np.ones(5)).values) == 0


@each_format
def test_every_word_is_widened_exactly(format_: Format) -> None:
    rng = np.random.default_rng(1)
    words = rng.integers(0, 2**32, 65536).astype(np.uint32)
    if format_.bits == 16:
        words = np.arange(65536, dtype=np.uint16)
    words[:2] = (1, 2)
    with np.errstate(invalid="ignore"):
        values = words.view(RANGES[format_.name].native).astype(np.float32).astype(np.float64)
    # In either half of a chunk, and in the chunk that is filled up.
    for d, column in ((1, 0), (32, 0), (32, 17), (33, 32)):
        row = np.zeros((65536, d), dtype=words.dtype)
        row[:, column] = words
        h = np.zeros(d)
        h[column] = 1.0
        for name, dots in both(Matrix(row, format_), h).items():
            assert np.array_equal(dots.values, values, equal_nan=True), (name, d, column)


@each_format
@widths
@pytest.mark.parametrize("spread", [0, 3, 40, 250])
def test_bounds_hold(format_: Format, d: int, spread: int) -> None:
    """Random signs, magnitudes over many binades, and rows that cancel."""
    rng = np.random.default_rng([d, spread])
    matrix = Matrix(_draw(rng, (12, d), format_, spread), format_)
    h = Matrix(_draw(rng, (1, d), format_, spread), format_).rows([0])[0]
    W = matrix.rows(np.arange(12))
    for name, dots in both(matrix, h).items():
        for n in range(12):
            if not np.isfinite(dots.values[n]):
                assert name == "single"
                continue
            terms = [
                Fraction(a) * Fraction(b) for a, b in zip(W[n].tolist(), h.tolist(), strict=True)
            ]
            off = abs(Fraction(dots.values[n]) - sum(terms, Fraction(0)))
            assert not off > dots.errors[n], (name, n)
            square = sum((Fraction(w) ** 2 for w in W[n].tolist()), Fraction(0))
            if np.isfinite(dots.squares[n]) and dots.squares[n] > 0:
                share = abs(Fraction(dots.squares[n]) - square) / Fraction(dots.squares[n])
                assert share <= dots.square_share[n], (name, n)


@pytest.mark.parametrize("format_", [BF16, F16], ids=lambda f: f.name)
def test_the_bound_of_single_sums_is_not_idle(format_: Format) -> None:
    """A row times itself, whose small squares are lost beside the large one of their lane."""
    row = np.full(128, 2.0**-12 * (1 - 2.0**-8))
    row[:32] = 1.0
    matrix = Matrix.of_values(row[None], format_)
    assert matrix.rows([0])[0].tolist() == row.tolist()
    dots = dots_single(matrix, row)
    off = sum((Fraction(x) ** 2 for x in row.tolist()), Fraction(0)) - Fraction(dots.values[0])
    assert 0 < off <= dots.errors[0] < 2 * off


def test_the_bound_of_single_sums_is_reached() -> None:
    """Each rounding that a term can pass loses half a unit: product, group, halves."""
    matrix = Matrix.of_values(rows_that_lose_all_they_can(), F32)
    shares = []
    for n, row in enumerate(matrix.rows([0, 1])):
        dots = dots_single(matrix, row)
        square = sum((Fraction(x) ** 2 for x in row.tolist()), Fraction(0))
        shares.append((square - Fraction(dots.values[n])) / Fraction(dots.errors[n]))
    assert 0.99 < max(shares) <= 1


@pytest.mark.parametrize("format_", [BF16, F16], ids=lambda f: f.name)
def test_the_bound_of_squares_grows_with_the_row(format_: Format) -> None:
    """The squares of a lane stay in binary32: each small one is lost beside the first."""
    row = np.full(100 * lanes.CHUNK, 2.0**-12 * (1 - 2.0**-8))
    row[: lanes.CHUNK] = 1.0
    dots = dots_single(Matrix.of_values(row[None], format_), row)
    off = sum((Fraction(v) ** 2 for v in row.tolist()), Fraction(0)) - Fraction(dots.squares[0])
    bound = Fraction(dots.square_share[0]) * Fraction(dots.squares[0])
    assert off <= bound < off * Fraction(11, 10)


@pytest.mark.parametrize("n_chunks", [1, 100])
def test_the_bound_of_double_sums_is_nearly_reached(n_chunks: int) -> None:
    """Products below half a unit of one, lost along a lane or on the way of its folds."""
    small = 2.0**-27 * 1.40625
    row = np.full(n_chunks * lanes.CHUNK, small)
    row[: lanes.CHUNK] = 0
    row[[1, 2, 4, 8, 16]] = small
    row[0] = 1.0
    row[lanes.CHUNK :].reshape(-1, lanes.CHUNK)[:, 1:] = 0
    dots = dots_double(Matrix.of_values(row[None], F32), np.array([0]), row)
    off = sum((Fraction(v) ** 2 for v in row.tolist()), Fraction(0)) - Fraction(dots.values[0])
    # One rounding more than these is left to the ends of the interval.
    assert off <= dots.errors[0] < off * Fraction(5, 4)


def test_what_overflows_binary32_is_not_finite_and_binary64_holds_it() -> None:
    matrix = Matrix.of_values([[F32.largest, F32.largest]], F32)
    single, double = both(matrix, np.array([F32.largest, -F32.largest])).values()
    assert not np.isfinite(single.values[0]) or not np.isfinite(single.errors[0])
    assert double.values[0] == 0


def _draw(
    rng: np.random.Generator, shape: tuple[int, int], format_: Format, spread: int
) -> np.ndarray:
    if spread == 250:
        return finite_words(rng, shape, format_.name)
    values = rng.standard_normal(shape) * 2.0 ** rng.integers(-spread, spread + 1, shape)
    values[:, shape[1] // 2 :] *= rng.choice([-1, 0, 1], (shape[0], 1))
    limited = np.clip(values, -format_.largest, format_.largest)
    return np.array(Matrix.of_values(limited, format_).words)
