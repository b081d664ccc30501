"""Winners at states against fractions, by brute force."""

from fractions import Fraction

import numpy as np
import pytest

from isologit.equivalence import winners as module
from isologit.equivalence.winners import NOBODY, margin, winners
from isologit.numerics.formats import BF16, F16, F32, FORMATS, Format
from isologit.numerics.stored import Matrix
from oracle import fraction_oracle as oracle


def logits(matrix: Matrix, state: Matrix, k: int, to: Format) -> list[Fraction]:
    """Return the rounded logits of small integers times powers of two, as fractions."""
    rows = matrix.rows(np.arange(matrix.n_tokens))
    h = state.rows([k])[0]
    found = []
    for row in rows:
        real = sum((Fraction(a) * Fraction(b) for a, b in zip(row, h, strict=True)), Fraction(0))
        rounded = oracle.nearest(real, to.name)
        assert isinstance(rounded, Fraction)
        found.append(rounded)
    return found


@pytest.mark.parametrize("to", FORMATS, ids=lambda f: f.name)
def test_the_winner_is_the_lowest_id_of_the_largest_rounded_logit(to: Format) -> None:
    rng = np.random.default_rng(1)
    # Few values, so that ties after rounding abound.
    matrix = Matrix.of_values(1 + rng.integers(0, 3, (40, 5)) / 128, BF16)
    states = Matrix.of_values(rng.integers(-4, 5, (20, 5)), BF16)
    found = winners(matrix, states, to)
    for k in range(20):
        expected = logits(matrix, states, k, to)
        assert found[k] == expected.index(max(expected))
        other = int(rng.integers(40))
        h = states.row(k).values
        assert margin(matrix, int(found[k]), other, h, to) == max(expected) - expected[other]


def test_states_in_parts_have_the_same_winners(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    matrix = Matrix.of_values(rng.standard_normal((300, 16)), BF16)
    states = Matrix.of_values(rng.standard_normal((37, 16)), BF16)
    whole = winners(matrix, states, F32)
    monkeypatch.setattr(module, "_LOGIT_BYTES", 1)
    np.testing.assert_array_equal(winners(matrix, states, F32), whole)


def test_what_is_no_number_does_not_win() -> None:
    matrix = Matrix.of_values(np.array([[np.nan, 1], [-5, 1], [-9, 0]]), BF16)
    states = Matrix.of_values([[1, 1]] * 9, BF16)
    assert winners(matrix, states, BF16).tolist() == [1] * 9
    nothing = Matrix.of_values(np.array([[np.nan, 1], [np.inf, -np.inf]]), BF16)
    assert winners(nothing, states, BF16).tolist() == [NOBODY] * 9


def test_infinite_logits_tie() -> None:
    matrix = Matrix.of_values([[1.0], [60000.0], [50000.0], [np.nan]], F16)
    states = Matrix.of_values([[2.0]], F16)
    assert winners(matrix, states, F16).tolist() == [1]
    h = states.row(0).values
    assert margin(matrix, 1, 2, h, F16) == 0
    assert margin(matrix, 1, 0, h, F16) == np.inf
    assert margin(matrix, 1, 3, h, F16) is None
