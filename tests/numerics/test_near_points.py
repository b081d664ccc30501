"""Pairs of near points: none is lost, whatever the points are."""

from itertools import combinations

import numpy as np
import pytest

from isologit.numerics.formats import Float64s
from isologit.numerics.near_points import BLOCK, NearPoints


def found(points: Float64s, distance: float, errors: float = 0.0) -> set[tuple[int, int]]:
    near = NearPoints.of(points, np.full(len(points), errors), distance)
    labels = np.arange(len(points))
    counts = near.counts_apart(labels, 0, near.n_blocks)
    left, right = near.pairs_apart(labels, counts, 0)
    assert len(left) == counts.sum()
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    assert len(pairs) == len(left)
    return pairs


def within(points: Float64s, distance: float) -> set[tuple[int, int]]:
    """Return the pairs by definition."""
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    left, right = np.nonzero(np.triu(apart <= distance, 1))
    return set(zip(left.tolist(), right.tolist(), strict=True))


@pytest.mark.parametrize("n", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 7, 34])
def test_no_pair_is_lost_and_few_are_found_besides(n: int, columns: int) -> None:
    rng = np.random.default_rng([n, columns])
    points = rng.normal(size=(n, columns)) * 4.0 ** -np.arange(columns)
    distance = 0.3
    pairs, want = found(points, distance), within(points, distance)
    assert want <= pairs <= within(points, distance * 1.0001)


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e70])
def test_the_scale_of_the_points_does_not_matter(size: float) -> None:
    points = np.random.default_rng(1).normal(size=(150, 5))
    assert found(points * size, 0.7 * size) == found(points, 0.7)


def test_points_of_sizes_of_their_own_lose_none() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(300, 6)) * 10.0 ** rng.integers(-12, 12, (300, 1))
    points[1::3] = points[::3] * (1 + 1e-9 * rng.normal(size=(100, 6)))
    for distance in (0.0, 1e-12, 1e-6, 1.0, 1e6):
        assert within(points, distance) <= found(points, distance)


def test_a_pair_at_the_distance_itself_is_found() -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(80, 9))
    for a, b in list(combinations(range(80), 2))[::97]:
        assert (a, b) in found(points, float(np.sqrt(((points[a] - points[b]) ** 2).sum())))


def test_errors_of_the_points_are_allowed_for() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(size=(100, 4))
    moved = points + 0.05 * (lambda x: x / np.linalg.norm(x, axis=1, keepdims=True))(
        rng.normal(size=points.shape)
    )
    assert not within(points, 0.4) <= found(moved, 0.4)
    assert within(points, 0.4) <= found(moved, 0.4, errors=0.05)


def test_points_closer_than_binary32_can_tell_are_found() -> None:
    # Some of them are rounded apart.
    rng = np.random.default_rng(6)
    points = np.repeat([[1.0], [-1.0]], 100, axis=0) + 1e-6 * rng.normal(size=(200, 1))
    for distance in (1e-9, 1e-8, 3e-8):
        want = within(points, distance)
        assert want
        assert want <= found(points, distance)


def test_sums_of_squares_that_always_round_up_lose_no_pair() -> None:
    # Four large differences, one of them the first to be added; each of the others is rounded to
    # twice itself.
    differences = np.concatenate([np.ones(4), np.full(60, 2.0**-12 * (1 + 2.0**-10))])
    points = np.stack([differences / 2, -differences / 2])
    assert found(points, float(np.sqrt((differences**2).sum()))) == {(0, 1)}


def test_equal_points_are_near_at_no_distance() -> None:
    assert len(found(np.ones((200, 3)), 0.0)) == 200 * 199 // 2


def test_pairs_of_one_label_are_passed_over() -> None:
    rng = np.random.default_rng(5)
    points, labels = rng.normal(size=(400, 3)), rng.integers(0, 3, 400)
    labels[:200] = 7
    near = NearPoints.of(points, np.zeros(400), 0.5)
    counts = near.counts_apart(labels, 0, near.n_blocks)
    pairs = set(zip(*(each.tolist() for each in near.pairs_apart(labels, counts, 0)), strict=True))
    assert pairs == {(a, b) for a, b in found(points, 0.5) if labels[a] != labels[b]}
    # In portions they are the same.
    half = near.n_blocks // 2
    parts = [
        near.pairs_apart(labels, near.counts_apart(labels, *part), part[0])
        for part in ((0, half), (half, near.n_blocks))
    ]
    assert pairs == {
        pair for part in parts for pair in zip(*(each.tolist() for each in part), strict=True)
    }
    assert sorted(np.concatenate([near.block(n) for n in range(near.n_blocks)])) == list(range(400))
