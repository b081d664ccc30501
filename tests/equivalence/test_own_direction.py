"""The blocked product in binary32 says of a token that it wins only where it does."""

from fractions import Fraction

import numpy as np
import pytest

from checkpoints import gaussian
from isologit.equivalence import own_direction
from isologit.equivalence.argmax_search import centre_of, own_states
from isologit.equivalence.domain import all_states, reachable_states
from isologit.equivalence.norm_range import NormRange
from isologit.equivalence.own_direction import OwnDirections
from isologit.equivalence.witness import check_states
from isologit.numerics.formats import BF16, F32
from isologit.numerics.stored import Matrix


@pytest.mark.parametrize("exponent", [0, -60, 60])
@pytest.mark.parametrize("killed", [False, True])
def test_it_agrees_with_exact_checks(
    exponent: int, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_direction, "_RIVAL_ROWS", 64)
    values = gaussian(300, 24) * np.random.default_rng(1).uniform(0.5, 2, (300, 1))
    values[100:140] = values[60:100] * (1 + 2.0**-7)  # beaten by a little
    matrix = Matrix.of_values(np.ldexp(values, exponent), BF16)
    gamma = np.ones(24)
    gamma[3:6] = 0.0
    domain = all_states(matrix)
    if killed:
        domain = reachable_states(matrix, NormRange("rms", gamma, None, 1e-6))
    rivals = np.arange(300)
    centre = centre_of(domain, rivals)
    directions = OwnDirections(domain, rivals, centre)
    ids = directions.sorted(rivals)
    found = directions.decide(ids, lambda: True)
    assert found is not None
    wins, open_ = found
    checked = check_states(domain, ids, own_states(domain, centre, ids), rivals)
    assert not (wins & ~checked.wins).any()
    assert not (~wins & ~open_ & checked.wins).any()
    assert 20 < wins.sum() < 290
    assert open_.sum() < 10


def test_a_lead_below_its_error_is_left_open() -> None:
    # Rows along one line: each is ahead of the next by a share of 2⁻²².
    values = np.array([[1.0, 1.0], [1.0 + 2.0**-22, 1.0 + 2.0**-22], [-1.0, -1.0]])
    domain = all_states(Matrix.of_values(values, F32))
    directions = OwnDirections(domain, np.arange(3), np.zeros(2))
    found = directions.decide(np.array([1, 0, 2]), lambda: True)
    assert found is not None
    wins, open_ = found
    assert wins.tolist() == [False, False, True]
    assert open_.tolist() == [True, True, False]
    states = own_states(domain, np.zeros(2), np.array([1]))
    rows = domain.matrix.rows([0, 1])
    lead = sum(
        Fraction(h) * (Fraction(b) - Fraction(a)) for h, a, b in zip(states[0], *rows, strict=True)
    )
    assert lead > 0
    assert check_states(domain, np.array([1]), states, np.arange(3)).wins.all()


def test_a_row_that_is_beaten_by_less_than_binary32_shows_is_not_said_to_win() -> None:
    # A longer row in the same direction, by a share below the error of 512 products.
    row = gaussian(1, 512)[0].astype(np.float32)
    longer = row.astype(np.float64) * (1 + 2.0**-18)
    domain = all_states(Matrix.of_values(np.vstack([row, longer, -row]), F32))
    directions = OwnDirections(domain, np.arange(3), np.zeros(512))
    found = directions.decide(directions.sorted(np.arange(3)), lambda: True)
    assert found is not None
    by_token = dict(zip(directions.sorted(np.arange(3)).tolist(), found[0].tolist(), strict=True))
    assert not by_token[0]
    assert by_token[2]


def test_it_stops_when_it_is_told_to() -> None:
    domain = all_states(Matrix.of_values(gaussian(20, 4), BF16))
    directions = OwnDirections(domain, np.arange(20), np.zeros(4))
    assert directions.decide(directions.sorted(np.arange(20)), lambda: False) is None


def test_the_estimate_is_of_all_pairs_that_can_matter() -> None:
    domain = all_states(Matrix.of_values(gaussian(200, 64), BF16))
    directions = OwnDirections(domain, np.arange(200), np.zeros(64))
    ids = directions.sorted(np.arange(200))
    few, all_ = directions.estimate(ids[:1]), directions.estimate(ids)
    assert 0 < all_.least_seconds < all_.most_seconds
    assert few.least_seconds < all_.most_seconds
