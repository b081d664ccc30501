"""Certificates: what holds is proved, and what is altered in any part proves nothing."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from isologit.equivalence.hull_certificate import (
    BoundCertificate,
    HullCertificate,
    Level,
    Proof,
    bound_proof,
    hull_proof,
)

Array = npt.NDArray[np.float64]


def barycentric(points: Array, point: Array) -> list[float]:
    """Return the weights of a simplex's corners, as binary64 solves for them."""
    matrix = np.vstack([points.T, np.ones(len(points))])
    weights: list[float] = np.linalg.solve(matrix, np.append(point, 1.0)).tolist()
    return weights


def simplex(width: int, seed: int = 0) -> tuple[Array, HullCertificate]:
    """Return corners around a last row, inside of them, and its certificate."""
    random = np.random.default_rng(seed)
    corners = random.normal(size=(width + 1, width)).astype(np.float32).astype(np.float64)
    shares = random.random(width + 1) + 0.2
    inside = (shares / shares.sum() @ corners).astype(np.float32).astype(np.float64)
    rows = np.vstack([corners, inside])
    ids = tuple(range(width + 1))
    return rows, HullCertificate((Level(ids, tuple(barycentric(corners, inside))),))


def prove(rows: Array, certificate: HullCertificate, **options: Array) -> Proof:
    heights = options.get("heights")
    return hull_proof(
        certificate,
        len(rows) - 1,
        lambda ids: rows[list(ids)],
        heights=None if heights is None else lambda ids: heights[list(ids)],
        kernel=options.get("kernel"),
    )


# The larger ones are beyond what is solved in integers.
@pytest.mark.parametrize("width", [1, 2, 3, 8, 40, 96, 200])
def test_a_row_inside_a_simplex_is_never_on_top(width: int) -> None:
    rows, certificate = simplex(width)
    assert prove(rows, certificate) is Proof.NEVER


@pytest.mark.parametrize("width", [2, 8, 96])
def test_any_weight_altered_by_a_millionth_or_more_proves_nothing(width: int) -> None:
    rows, certificate = simplex(width)
    (level,) = certificate.levels
    for n in {0, width // 2, width}:
        for factor in (1 + 2e-6, 1 - 2e-6, 2.0, -1.0, 0.0, np.nan, np.inf):
            weights = list(level.weights)
            weights[n] *= factor
            altered = HullCertificate((Level(level.token_ids, tuple(weights)),))
            assert prove(rows, altered) is Proof.NOTHING, (n, factor)


def test_a_row_outside_of_the_simplex_is_not_proved_whatever_is_stated() -> None:
    rows, certificate = simplex(3)
    rows[-1] = rows[0] + (rows[0] - rows[1]) * 0.01
    (level,) = certificate.levels
    honest = HullCertificate((Level(level.token_ids, tuple(barycentric(rows[:-1], rows[-1]))),))
    assert prove(rows, honest) is Proof.NOTHING
    assert prove(rows, certificate) is Proof.NOTHING


@pytest.mark.parametrize("ids", [(0, 1, 2, 4), (0, 1, 2, 2), (0, 1, 2), ()])
def test_other_tokens_prove_nothing(ids: tuple[int, ...]) -> None:
    rows, certificate = simplex(3)
    (level,) = certificate.levels
    weights = level.weights[: len(ids)]
    assert prove(rows, HullCertificate((Level(ids, weights),))) is Proof.NOTHING
    assert prove(rows, HullCertificate(())) is Proof.NOTHING


@pytest.mark.parametrize("weight", [0.0, -0.0, 1e-300, 2.0**-60])
def test_a_corner_without_weight_proves_nothing(weight: float) -> None:
    # On the edge of the triangle: it ties for the maximum at h = (0, −1).
    rows = np.array([[1.0, 0], [-1, 0], [0, 1], [0, 0]])
    certificate = HullCertificate((Level((0, 1, 2), (0.5, 0.5, weight)),))
    assert prove(rows, certificate) is Proof.NOTHING
    assert prove(rows, HullCertificate((Level((0, 1), (0.5, 0.5)),))) is Proof.NEVER_ALONE


def test_weights_that_are_not_the_only_ones_prove_nothing() -> None:
    # The centre of a square is a mean of its corners in many ways.
    square = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])
    certificate = HullCertificate((Level((0, 1, 2, 3), (0.25,) * 4),))
    assert prove(square, certificate) is Proof.NOTHING


def test_a_mean_of_two_says_nothing_of_ties_and_with_the_rest_around_it_does() -> None:
    square = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])
    first, second = Level((0, 1), (0.5, 0.5)), Level((2, 3), (0.5, 0.5))
    assert prove(square, HullCertificate((first,))) is Proof.NEVER_ALONE
    assert prove(square, HullCertificate((first, second))) is Proof.NEVER


def test_a_second_level_is_a_mean_up_to_directions_of_the_first() -> None:
    # The triangle's base passes beside the row, along the first level's line.
    rows = np.array([[1.0, 0, 0], [-1, 0, 0], [5, 1, 0], [5, -1, 1], [5, -1, -1], [0, 0, 0]])
    first = Level((0, 1), (0.5, 0.5))
    second = Level((2, 3, 4), (0.5, 0.25, 0.25))
    assert prove(rows, HullCertificate((first, second))) is Proof.NEVER
    assert prove(rows, HullCertificate((second,))) is Proof.NOTHING
    wrong = Level((2, 3, 4), (0.5, 0.25 * 1.00001, 0.25))
    assert prove(rows, HullCertificate((first, wrong))) is Proof.NOTHING


def test_a_tiny_way_off_the_line_is_no_mean() -> None:
    rows = np.array([[1.0, 0], [-1, 0], [0, 0]])
    certificate = HullCertificate((Level((0, 1), (0.5, 0.5)),))
    assert prove(rows, certificate) is Proof.NEVER_ALONE
    rows[2, 1] = 2.0**-60
    assert prove(rows, certificate) is Proof.NOTHING


def test_biases_decide_whether_a_mean_is_above() -> None:
    rows = np.array([[1.0], [-1.0], [0.0]])
    level = Level((0, 1), (0.5, 0.5))
    above, level_with, below = (np.array([0.0, 1.0, b]) for b in (0.25, 0.5, 0.75))
    certificate = HullCertificate((level,), 0.25)
    assert prove(rows, certificate, heights=above) is Proof.NEVER
    assert prove(rows, HullCertificate((level,)), heights=level_with) is Proof.NEVER_ALONE
    assert prove(rows, HullCertificate((level,)), heights=above) is Proof.NOTHING
    for biases in (level_with, below):
        assert prove(rows, certificate, heights=biases) is Proof.NOTHING
    assert prove(rows, replace(certificate, excess=0.2501), heights=above) is Proof.NOTHING
    assert prove(rows, certificate) is Proof.NOTHING


def test_a_direction_that_no_state_has_is_free() -> None:
    rows = np.array([[1.0, 0, 3], [-1, 0, -7], [0.5, 0.5, 1]])
    level = Level((0, 1), (0.5, 0.5))
    # Their mean is (0, 0, −2), and the row is beyond it by (1, 1, 6)/2, no multiple of ones.
    assert prove(rows, HullCertificate((level,)), kernel=np.ones(3)) is Proof.NOTHING
    rows[2] = [0.5, 0.5, -1.5]
    assert prove(rows, HullCertificate((level,)), kernel=np.ones(3)) is Proof.NEVER_ALONE
    assert prove(rows, HullCertificate((level,))) is Proof.NOTHING


def test_a_negative_id_is_no_token() -> None:
    # Of an array −1 is the last row, which is the token's own: it is a mean of itself.
    rows = np.array([[1.0, 0], [-1, 0], [0, 1]])
    assert prove(rows, HullCertificate((Level((-1,), (1.0,)),))) is Proof.NOTHING
    rows[2] = [0, 0]
    assert prove(rows, HullCertificate((Level((0, 1), (0.5, 0.5)),))) is Proof.NEVER_ALONE
    assert prove(rows, HullCertificate((Level((-3, -2), (0.5, 0.5)),))) is Proof.NOTHING


class TestBound:
    """The mean of others' logits, above a token's all over a ball."""

    rows = np.array([[1.0, 2.0], [-1.0, -1.0], [0.125, 0.25]])
    constants = (1.0, 1.0, 0.5)

    def prove(self, certificate: BoundCertificate, *, zero_mean: bool = False) -> Proof:
        return bound_proof(
            certificate,
            2,
            lambda ids: self.rows[list(ids)],
            heights=lambda ids: [Fraction(self.constants[i]) for i in ids],
            gamma=np.array([1.0, 0.5]),
            zero_mean=zero_mean,
            radius=2**0.5,
        )

    def slack(self, weights: tuple[float, float], *, zero_mean: bool = False) -> float:
        mean = np.array(weights) @ self.rows[:2] - self.rows[2]
        seen = mean * [1.0, 0.5]
        if zero_mean:
            seen = seen - seen.mean()
        return float(0.5 - 2**0.5 * np.linalg.norm(seen))

    @pytest.mark.parametrize("zero_mean", [False, True])
    def test_what_is_above_by_more_than_the_reach_is_proved(self, zero_mean: bool) -> None:
        weights = (0.5, 0.5)
        slack = self.slack(weights, zero_mean=zero_mean)
        assert slack > 0
        certificate = BoundCertificate((0, 1), weights, slack)
        assert self.prove(certificate, zero_mean=zero_mean) is Proof.NEVER
        for factor in (1.00001, 0.99999, -1.0, np.nan):
            altered = replace(certificate, slack=slack * factor)
            assert self.prove(altered, zero_mean=zero_mean) is Proof.NOTHING

    def test_an_altered_weight_proves_nothing(self) -> None:
        certificate = BoundCertificate((0, 1), (0.5, 0.5), self.slack((0.5, 0.5)))
        for weights in ((0.5, 0.500001), (0.5, -0.5), (np.nan, 0.5), (0.51, 0.49)):
            assert self.prove(replace(certificate, weights=weights)) is Proof.NOTHING

    def test_what_is_above_by_less_than_the_reach_is_not(self) -> None:
        weights = (1.0, 0.0)
        assert self.slack(weights) < 0
        assert self.prove(BoundCertificate((0, 1), weights, 0.1)) is Proof.NOTHING

    def test_the_token_itself_proves_nothing(self) -> None:
        assert self.prove(BoundCertificate((0, 2), (0.5, 0.5), 0.1)) is Proof.NOTHING

    def test_a_negative_id_or_an_infinite_slack_proves_nothing(self) -> None:
        slack = self.slack((0.5, 0.5))
        assert self.prove(BoundCertificate((-3, -2), (0.5, 0.5), slack)) is Proof.NOTHING
        assert self.prove(BoundCertificate((0, 1), (0.5, 0.5), np.inf)) is Proof.NOTHING
