"""The null model's bounds against exact binomials and simulated clouds."""

from fractions import Fraction
from math import comb, log

import numpy as np
import pytest

from isologit.equivalence import edge as edge_module
from isologit.equivalence.edge import Edge, EdgeTest

EVERY_CHANCE = [Fraction(1, 50), Fraction(1, 3), Fraction(1, 2), Fraction(9, 10)]


def edges_from_every_row(values: np.ndarray, test: EdgeTest) -> list[Edge | None]:
    squares = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    return [test.edge(row, np.argsort(row, kind="stable")) for row in squares]


@pytest.mark.parametrize("chance", EVERY_CHANCE)
def test_surprise_never_exceeds_the_exact_binomial_tail(chance: Fraction) -> None:
    for total in (1, 2, 5, 30):
        for hits in range(total + 1):
            tail = sum(
                comb(total, k) * chance**k * (1 - chance) ** (total - k)
                for k in range(hits, total + 1)
            )
            surprise = edge_module._surprise(np.array([hits]), total - hits, -log(float(chance)))
            assert 0 <= surprise[0] <= -log(float(tail)) * (1 + 1e-9) + 1e-12
            if hits == total:
                assert surprise[0] == pytest.approx(-total * log(float(chance)))


@pytest.mark.parametrize("width", [1, 2])
def test_false_alarms_from_all_rows_of_a_cloud_keep_to_the_rate(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    rate = 0.2
    monkeypatch.setattr(edge_module, "FALSE_ALARM_RATE", rate)
    generator = np.random.default_rng(width)
    n_clouds = 60
    test = EdgeTest(np.zeros(50, dtype=np.bool_))
    alarms = sum(
        any(edges_from_every_row(generator.uniform(size=(50, width)), test))
        for _ in range(n_clouds)
    )
    assert alarms <= rate * n_clouds


def test_rows_on_a_line_reach_the_bound_for_one_rank() -> None:
    # In one dimension P(D_n+1 ≥ ρ·D_n) is ρ^-n itself: a sharper threshold would be wrong.
    generator = np.random.default_rng(3)
    n, ratio, draws = 4, 1.5, 20_000
    distances = np.sort(generator.uniform(size=(draws, 40)), axis=1)
    share = (distances[:, n] >= ratio * distances[:, n - 1]).mean()
    assert share == pytest.approx(ratio**-n, rel=0.05)


def test_an_edge_tells_its_size_its_window_and_its_evidence() -> None:
    generator = np.random.default_rng(4)
    inside = generator.uniform(0.5, 1, size=40)
    outside = generator.uniform(100, 200, size=400)
    squares = np.concatenate([outside, inside, [20.0, 30.0]]) ** 2
    test = EdgeTest(np.zeros(len(squares), dtype=np.bool_))
    edge = test.edge(squares, np.argsort(squares))
    assert edge is not None
    assert (edge.inside, edge.stragglers, edge.size) == (40, 2, 40)
    assert edge.near == pytest.approx(inside.max())
    assert edge.far == pytest.approx(outside.min())
    assert edge.ratio == edge.far / edge.near
    share, chance = 39 / 41, 1 / edge.ratio
    expected = 39 * log(share / chance) + 2 * log((1 - share) / (1 - chance))
    assert edge.evidence == pytest.approx(expected)
    # 442 centres, ranks as 1/(n(n + 1)), and 0, 1, 2, 3 or 4 stragglers: 8·4 ≤ 39.
    assert edge.threshold == pytest.approx(log(442 * 39 * 40 * 5 * 1e6))


def test_evidence_shrinks_with_the_growth_measured_on_each_side() -> None:
    # Inside, the median is e^2 times nearer than the last; beyond the window of e^3, all are alike.
    inside = np.exp(np.concatenate([np.full(30, -2.0), np.linspace(-1.9, 0, 30)]))
    distances = np.concatenate([inside, np.exp(3.0) * np.linspace(1, 1.1, 300)])
    test = EdgeTest(np.zeros(len(distances), dtype=np.bool_))
    edge = test.edge(distances**2, np.arange(len(distances)))
    assert edge is not None
    assert edge.size == 60
    spread = -np.log(distances[59 // 2 + 1])
    assert edge.evidence == pytest.approx(59 * log(2) / spread * 3)


def test_no_edge_where_the_ratio_is_less_than_three() -> None:
    squares = np.concatenate([np.linspace(0.9, 1, 100), np.linspace(2.9, 4, 400)]) ** 2
    test = EdgeTest(np.zeros(500, dtype=np.bool_))
    assert test.edge(squares, np.arange(500)) is None
    squares[100:] *= (3.01 / 2.9) ** 2
    assert test.edge(squares, np.arange(500)) is not None


def test_no_edge_around_more_than_three_quarters_of_the_rows() -> None:
    test = EdgeTest(np.zeros(400, dtype=np.bool_))
    for size, found in ((290, True), (310, False)):
        squares = np.concatenate([np.linspace(0.9, 1, size), np.linspace(90, 99, 400 - size)]) ** 2
        assert (test.edge(squares, np.arange(400)) is not None) is found


def test_no_edge_among_distances_that_spread_over_many_scales() -> None:
    squares = np.exp(np.linspace(-200, 200, 500))
    test = EdgeTest(np.zeros(500, dtype=np.bool_))
    # Of every eight rows one is left out, so that each window is nearly three times as wide.
    assert test.edge(squares, np.arange(500)) is None


@pytest.mark.parametrize(("n_duplicated", "found"), [(0, False), (5, True)])
def test_few_rows_stand_out_if_they_are_the_duplicated_ones(n_duplicated: int, found: bool) -> None:
    squares = np.concatenate([np.linspace(0.9, 1, 5), np.linspace(90, 99, 9995)]) ** 2
    duplicated = np.zeros(10_000, dtype=np.bool_)
    duplicated[:n_duplicated] = True
    duplicated[-3:] = True
    assert (EdgeTest(duplicated).edge(squares, np.arange(10_000)) is not None) is found
