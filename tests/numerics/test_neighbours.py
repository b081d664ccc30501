"""Leaves of trees, and what they show, against slow and obvious ones."""

from itertools import pairwise

import numpy as np
import pytest

from isologit.numerics import neighbours, trees
from isologit.numerics.blocks import LEAF_POINTS
from isologit.numerics.formats import Float64s
from isologit.numerics.neighbours import isolation
from isologit.numerics.parallel import get_threads, set_threads

SIZES = [1, 2, 7, 8, 9, 15, 17, 24, 31, 32]


def points(n: int, seed: int = 0) -> Float64s:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, 32)) * np.exp(2 * generator.normal(size=(n, 1)))


def slow_scores(sketch: Float64s) -> tuple[Float64s, Float64s]:
    squares = np.sort(((sketch[:, None] - sketch[None]) ** 2).sum(axis=2), axis=1)
    size = len(sketch)
    scores = np.zeros(size)
    for n, row in enumerate(squares):
        for k in range(3, size - 3):
            for s in (0, 1, 2):
                if 8 * s > k or k + s + 1 >= size - 2 or not row[k + s + 1] > 2.25 * row[k] > 0:
                    continue
                hits = min(k, size - 2 - k - s)
                share, chance = hits / (hits + s), np.sqrt(row[k] / row[k + s + 1])
                if share > chance:
                    score = hits * np.log(share / chance)
                    score += s * np.log((1 - share) / (1 - chance)) if s else 0.0
                    scores[n] = max(scores[n], score)
    return scores, np.sqrt(squares[:, 1])


@pytest.mark.parametrize("size", [size for size in SIZES if size >= 8])
def test_a_leaf_is_scored_as_its_distances_say(size: int) -> None:
    for seed in range(5):
        sketch = points(size, seed) * 1e20 ** (seed - 2)
        scores, nearest = isolation(sketch)
        expected, expected_nearest = slow_scores(sketch)
        np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(nearest, expected_nearest, rtol=1e-12)
        assert size < 12 or (scores > 0).any()


def test_comparators_sort_every_pattern_of_zeros_and_ones() -> None:
    # Which is enough (Knuth's zero-one principle); 32 wires have too many to try them all.
    every = (np.arange(1 << 16)[:, None] >> np.arange(16)) & 1
    random = np.random.default_rng(0).integers(0, 2, size=(20_000, 32))
    for patterns in (every, random):
        for low, high in neighbours._comparators(patterns.shape[1]):
            pair = patterns[:, [low, high]]
            patterns[:, low], patterns[:, high] = pair.min(axis=1), pair.max(axis=1)
        assert (np.diff(patterns, axis=1) >= 0).all()


@pytest.mark.parametrize("size", [2, 3, 8, 9, 10, 33, 64, 65, 500, 5_000, 300_000])
@pytest.mark.parametrize("shape", ["random", "sorted", "reversed", "stepped"])
def test_the_smallest_items_come_to_the_front(size: int, shape: str) -> None:
    items = np.arange(size, dtype=np.uint64)
    items = {
        "random": np.random.default_rng(size).permutation(items),
        "sorted": items,
        "reversed": items[::-1].copy(),
        "stepped": np.concatenate([items[::2], items[1::2]]),
    }[shape]
    trees._select(items, size // 2)
    assert sorted(items) == list(range(size))
    assert size < 2 or items[: size // 2].max() < items[size // 2 :].min()


@pytest.mark.parametrize("n_points", [33, 100, 1_000, 20_000])
def test_leaves_hold_every_point_once_and_halves_are_apart(n_points: int) -> None:
    sketch = points(n_points)
    order = np.random.default_rng(1).permutation(n_points).astype(np.int32)
    places, grown = trees.leaves(sketch, order)
    columns, _, _ = trees._split_columns(sketch[order[:4096]])
    sizes = [bounds[-1] - bounds[0] for bounds in grown]
    assert sizes[:4] == [n_points, n_points, n_points // 4, n_points // 4]
    for tree, (bounds, size) in enumerate(zip(grown, sizes, strict=True)):
        held = places[bounds[0] : bounds[-1]] & np.uint64(0xFFFFFFFF)
        assert sorted(held) == list(range(size))
        assert 0 < np.diff(bounds).min() <= np.diff(bounds).max() <= LEAF_POINTS
        if len(bounds) > 2:
            values = sketch[order[held], columns[tree % 2 * (len(columns) // 2)]]
            half = size // 2
            assert values[:half].max() <= values[half:].min() + 1e-5 * np.ptp(values)


def test_keys_keep_the_order_of_numbers_of_any_sign_and_size() -> None:
    sketch = np.zeros((77, 32))
    sketch[:, 5] = np.random.default_rng(2).permutation(np.arange(77) - 40.0)
    order = np.arange(77, dtype=np.int32)
    for scale in (1e-40, 1.0, 1e60):
        places, grown = trees.leaves(sketch * scale, order)
        held = places[: grown[0][-1]] & np.uint64(0xFFFFFFFF)
        leaves = np.split(sketch[held, 5], grown[0][1:-1])
        for left, right in pairwise(leaves):
            assert left.max() < right.min()


def test_points_that_are_all_alike_are_not_isolated() -> None:
    scores, nearest = isolation(np.ones((1_000, 32)))
    assert not scores.any()
    assert not nearest.any()


def test_the_number_of_threads_changes_nothing() -> None:
    sketch = points(50_000)
    before = get_threads()
    answers = []
    try:
        for threads in (1, 2, 5):
            set_threads(threads)
            answers.append(isolation(sketch))
    finally:
        set_threads(before)
    for scores, nearest in answers[1:]:
        np.testing.assert_array_equal(scores, answers[0][0])
        np.testing.assert_array_equal(nearest, answers[0][1])
