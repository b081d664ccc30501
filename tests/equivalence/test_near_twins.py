"""The search for near twins: what a look at every pair finds, and no more than that looked at."""

from itertools import combinations
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest

from equivalence.gap_cases import KINDS, Case, Kind, cases
from isologit.equivalence.gap import Gap
from isologit.equivalence.near_twins import NearPairs, near_pairs, nearest_of, widest_gap
from isologit.equivalence.norm_range import NormRange
from isologit.numerics.formats import BF16, F32
from isologit.numerics.stored import Matrix

Ids = npt.NDArray[np.int64]


def every_id(case: Case) -> Ids:
    return np.arange(len(case.values))


def components_of(n: int, pairs: set[tuple[int, int]]) -> list[int]:
    labels = list(range(n))
    for _ in range(n):
        for a, b in pairs:
            labels[a] = labels[b] = min(labels[a], labels[b])
    return labels


def check(case: Case, limit: float, found: NearPairs) -> None:
    """Hold a search to a look at every pair, by the definition."""
    n = len(case.values)
    want = {pair for pair, true in case.all_true.items() if true.at_most(limit)}
    assert found.complete
    assert found.n_pairs == len(want)
    listed = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert set(listed) == want
    assert len(listed) == len(want)
    numbers = case.gap.nats(found.left, found.right)
    assert np.array_equal(found.nats, numbers)
    assert listed == sorted(listed, key=lambda p: (numbers[listed.index(p)], p))
    labels = components_of(n, want)
    assert found.components.labels.tolist() == [sorted(set(labels)).index(k) for k in labels]
    equal = components_of(n, {pair for pair, t in case.all_true.items() if t.nats == 0})
    assert found.equal.labels.tolist() == [sorted(set(equal)).index(k) for k in equal]
    of = dict(zip(listed, numbers.tolist(), strict=True))
    for token in range(n):
        others = [(v, a + b - token) for (a, b), v in of.items() if token in (a, b)]
        nats, twin = min(others, default=(np.inf, -1))
        assert (found.nearest[token], found.nearest_nats[token]) == (twin, nats)


# The others differ from these in what a gap is made of, not in how it is searched for.
SEARCHED = [each for each in cases() if each.name not in ("plain", "state-scale", "beta")]


@pytest.mark.parametrize("case", SEARCHED, ids=str)
def test_a_search_finds_what_a_look_at_every_pair_finds(case: Case) -> None:
    gap, ids = case.gap, every_id(case)
    everything = gap.nats(*np.triu_indices(len(ids), 1))
    middle = float(np.sort(everything)[len(everything) // 3])
    limits = [0.0, middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf)]
    for limit in limits:
        check(case, float(limit), near_pairs(gap, ids, float(limit), at_most=10**6))


@pytest.mark.parametrize("case", list(cases())[::4], ids=str)
def test_without_looking_at_every_pair_the_components_are_the_same(case: Case) -> None:
    gap, ids = case.gap, every_id(case)
    everything = np.sort(gap.nats(*np.triu_indices(len(ids), 1)))
    for limit in everything[:: max(1, len(everything) // 4)].tolist():
        whole = near_pairs(gap, ids, limit, steps=(limit / 2,), at_most=10**6)
        part = near_pairs(gap, ids, limit, steps=(limit / 2,), at_most=10**6, most_entries=-1)
        assert not part.complete
        assert part.components == whole.components
        assert part.equal == whole.equal
        assert part.n_pairs <= whole.n_pairs
        assert part.n_within[0] <= whole.n_within[0]
        pairs = set(zip(whole.left.tolist(), whole.right.tolist(), strict=True))
        listed = list(zip(part.left.tolist(), part.right.tolist(), strict=True))
        assert set(listed) <= pairs
        assert len(set(listed)) == len(listed)
        assert part.nats.tolist() == sorted(part.nats.tolist())
        assert (part.nearest_nats >= whole.nearest_nats).all()
        assert np.array_equal(part.nearest >= 0, whole.nearest >= 0)


def test_where_not_every_pair_is_looked_at_the_closest_are_listed_still() -> None:
    gap = a_gap(400, 30, n_near=200)
    upper = np.sort(by_numpy(gap)[np.triu_indices(400, 1)])
    ids = np.arange(400)
    # Within 1 nat lie the 20,000 pairs of the near rows, within a thirtieth of it a few of them.
    whole = near_pairs(gap, ids, 1.0, at_most=40)
    part = near_pairs(gap, ids, 1.0, at_most=40, steps=[0.03], most_entries=150_000)
    assert (whole.complete, part.complete, part.closest) == (True, False, True)
    assert np.array_equal(part.nats, whole.nats)
    assert np.array_equal(part.left, whole.left)
    assert np.allclose(part.nats, upper[:40], rtol=1e-9)
    assert part.n_within == [(upper <= 0.03).sum()]
    assert part.n_within[0] <= part.n_pairs <= whole.n_pairs
    near = part.nearest_nats < upper[40]
    assert near.any()
    assert np.array_equal(part.nearest[near], whole.nearest[near])


def a_gap(
    n: int, d: int, kind: Kind = "rms", seed: int = 0, spread: float = 1.0, n_near: int = 0
) -> Gap:
    """Return rows of chance, the last of them near the first."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, d)) * spread
    if n_near:
        values[n - n_near :] = values[0] + 1e-3 * rng.normal(size=(n_near, d))
    return Gap(Matrix.of_values(values, F32), NormRange.assumed(d, kind), BF16)


def by_numpy(gap: Gap) -> npt.NDArray[np.float64]:
    """Return the gaps of all pairs ``[n, n]``, of a head without a bias."""
    z = gap.norm_range.seen(gap.matrix.rows(np.arange(gap.matrix.n_tokens)))
    squares = ((z[:, None] - z[None]) ** 2).sum(axis=2)
    return np.asarray(gap.norm_range.radius * np.sqrt(squares))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [3, 33, 70])
def test_a_search_among_hundreds_finds_what_numpy_finds(d: int, kind: Kind) -> None:
    gap = a_gap(500, d, kind, n_near=60)
    apart = by_numpy(gap)
    upper = apart[np.triu_indices(500, 1)]
    for share in (0.01, 0.1, 0.5):
        limit = float(np.quantile(upper, share))
        found = near_pairs(gap, np.arange(500), limit, steps=[limit / 3], at_most=50)
        assert found.n_pairs == (upper <= limit).sum()
        assert found.n_within == [(upper <= limit / 3).sum()]
        assert len(found.nats) == 50
        assert np.allclose(found.nats, np.sort(upper)[:50], rtol=1e-9)
        nearest = (apart + np.diag(np.full(500, np.inf))).min(axis=1)
        here = nearest <= limit
        assert np.allclose(found.nearest_nats[here], nearest[here], rtol=1e-9)
        assert (found.nearest[~here] == -1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_a_last_place_apart_in_a_small_entry_are_found(kind: Kind) -> None:
    # What the 32 directions leave over is 0 but for rounding, which is far more than these gaps.
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(size=(40, 8)), 3, axis=0)
    values[:, 5] = 2.0**-12 * (1 + np.arange(120) % 3 * 2.0**-23)
    gap = Gap(Matrix.of_values(values, F32), NormRange.assumed(8, kind), BF16)
    left = np.repeat(np.arange(0, 120, 3), 2)
    right = left + np.tile([1, 2], 40)
    most = float(gap.nats(left, right).max())
    assert most < 1e-9
    found = near_pairs(gap, np.arange(120), most, at_most=10**4)
    assert found.n_pairs == 120
    assert found.components.sizes().tolist() == [3] * 40


def test_some_rows_alone_are_searched() -> None:
    gap = a_gap(200, 20, n_near=30)
    ids = np.arange(1, 200, 3)
    found = near_pairs(gap, ids, 10.0, at_most=10**5)
    apart = by_numpy(gap)
    want = {(int(a), int(b)) for a, b in combinations(ids, 2) if apart[a, b] <= 10.0}
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == want
    assert {int(i) for i in found.nearest} <= {-1, *ids.tolist()}


def test_permuting_tokens_permutes_the_results() -> None:
    gap = a_gap(150, 24, n_near=40)
    order = np.random.default_rng(1).permutation(150)
    other = Gap(gap.matrix.take(order), gap.norm_range, BF16)
    limit = float(np.quantile(by_numpy(gap), 0.05))
    here = near_pairs(gap, np.arange(150), limit, at_most=10**5)
    there = near_pairs(other, np.arange(150), limit, at_most=10**5)
    back = {
        tuple(sorted((int(order[a]), int(order[b])))): nats
        for a, b, nats in zip(there.left, there.right, there.nats, strict=True)
    }
    assert back == {
        (int(a), int(b)): nats for a, b, nats in zip(here.left, here.right, here.nats, strict=True)
    }
    assert here.components.labels[order].tolist() == [
        here.components.labels[i] for i in order.tolist()
    ]
    groups = {frozenset(group.tolist()) for group in here.components.groups()}
    assert groups == {frozenset(order[group].tolist()) for group in there.components.groups()}


@pytest.mark.parametrize(("n", "size"), [(20_000, 1.0), (4_000, 0.03)])
def test_a_dense_blob_is_one_component_without_a_look_at_each_pair(n: int, size: float) -> None:
    # All within the threshold of each other, though at 1.0 hardly any within half of it.
    rng = np.random.default_rng(2)
    d = 16
    values = rng.normal(size=d) + size * rng.normal(size=(n, d))
    values[n // 2 :: 100] += 500.0
    gap = Gap(Matrix.of_values(values, F32), NormRange.assumed(d), BF16)
    looked_at = 0
    within = gap.within

    def counting(left: Ids, right: Ids, nats: float) -> tuple[Ids, npt.NDArray[np.float64]]:
        nonlocal looked_at
        looked_at += len(left)
        return within(left, right, nats)

    with mock.patch.object(Gap, "within", side_effect=counting):
        found = near_pairs(gap, np.arange(n), 60.0, at_most=10, most_entries=1 << 22)
    assert not found.complete
    assert looked_at < 40 * n
    assert len(found.nats) == 10
    far = np.zeros(n, dtype=np.int32)
    far[n // 2 :: 100] = 1
    assert np.array_equal(found.components.labels, far)
    widest = widest_gap(gap, np.flatnonzero(far == 0), most_entries=1 << 22)
    assert 0 < widest.at_least < widest.at_most <= 2.0001 * widest.at_least


@pytest.mark.parametrize("kind", KINDS)
def test_the_widest_gap_lies_in_its_bracket(kind: Kind) -> None:
    gap = a_gap(90, 12, kind)
    widest = float(gap.nats(*np.triu_indices(90, 1)).max())
    exact = widest_gap(gap, np.arange(90))
    assert (exact.at_least, exact.at_most) == (widest, widest)
    bracket = widest_gap(gap, np.arange(90), most_entries=0)
    assert 0.6 * widest < bracket.at_least <= widest <= bracket.at_most
    assert widest_gap(gap, np.array([5])).at_most == 0


def test_the_nearest_are_the_nearest() -> None:
    gap = a_gap(60, 12)
    apart = by_numpy(gap)
    apart[7, 7] = np.inf
    ids, nats = nearest_of(gap, 7, np.arange(60), 4)
    assert ids.tolist() == np.argsort(apart[7])[:4].tolist()
    assert np.allclose(nats, np.sort(apart[7])[:4], rtol=1e-12)
    # A token that is not among the rows has itself a nearest there.
    assert nearest_of(gap, 7, np.array([1, 2]), 4)[0].tolist() in ([1, 2], [2, 1])


def test_nothing_has_no_twins() -> None:
    gap = a_gap(3, 4)
    for ids in (np.arange(0), np.arange(1)):
        found = near_pairs(gap, ids, 1.0, at_most=5)
        assert (found.n_pairs, found.complete, found.components.n_tokens) == (0, True, len(ids))
