"""Balls and shells that candidates crowd in, and the evidence, against exact binomial tails."""

from math import comb, log

import numpy as np
import pytest

from isologit.tokens.windows import fullest_ball, fullest_shell, surprise


@pytest.mark.parametrize(("hits", "total"), [(4, 4), (6, 20), (30, 100)])
@pytest.mark.parametrize("held", [0, 9, 99])
def test_evidence_bounds_the_binomial_tail(hits: int, total: int, held: int) -> None:
    others = 1000
    chance = (held + 1) / (others + 2)
    tail = sum(
        comb(total, k) * chance**k * (1 - chance) ** (total - k) for k in range(hits, total + 1)
    )
    nats = surprise(np.array([hits]), total, np.array([held]), others)[0]
    assert 0 < nats <= -log(tail)
    # Chernoff's bound is off by a factor of about the square root of the variance.
    assert nats > -log(tail) - 4


def test_no_more_candidates_than_others_is_no_evidence() -> None:
    assert surprise(np.array([5]), 10, np.array([60]), 100)[0] == 0


def test_a_ball_has_the_others_three_times_as_far() -> None:
    radii = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 9.0])
    near, far = np.sort(np.r_[np.full(50, 2.9)]), np.sort(np.r_[np.full(50, 3.1)])
    assert fullest_ball(radii, near, 3.0) is None
    group = fullest_ball(radii, far, 3.0)
    assert group is not None
    assert group.inside.tolist() == [True, True, True, True, False, False]
    # Nor may most of the others be inside.
    crowded = np.sort(np.r_[np.full(76, 0.5), np.full(24, 10.0)])
    assert fullest_ball(radii, crowded, 3.0) is None


def test_a_shell_is_thin_and_not_what_others_fill() -> None:
    generator = np.random.default_rng(0)
    others = np.sort(np.exp(0.3 * generator.normal(size=1000)))
    shell = 2.5 + 0.05 * generator.normal(size=12)
    candidates = np.r_[shell, np.exp(0.3 * generator.normal(size=12))]
    group = fullest_shell(candidates, others, 200)
    assert group is not None
    assert group.inside[:12].sum() >= 9
    assert not group.inside[12:].any()
    assert group.evidence > 20
    wide = fullest_shell(np.linspace(2, 6, 12), others, 20_000)
    assert wide is None or wide.evidence < 10
