"""The search, against a simplex method in fractions and against random states."""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints import gaussian
from equivalence.hull_oracle import statuses
from equivalence.watching import Counting
from isologit.equivalence import argmax_search, witness
from isologit.equivalence.argmax import Standing, Status, Witness, collapse
from isologit.equivalence.argmax_search import centre_of, own_states, proof_of, search
from isologit.equivalence.domain import Domain, all_states, reachable_states
from isologit.equivalence.hull_certificate import (
    BoundCertificate,
    HullCertificate,
    Level,
    Proof,
)
from isologit.equivalence.norm_range import NormRange
from isologit.numerics.formats import BF16, F32, Format
from isologit.numerics.stored import Matrix, Vector

Array = npt.NDArray[np.float64]


def decided(domain: Domain) -> Standing:
    standing = collapse(domain)
    search(domain, standing, None, Counting())
    return standing


def names(standing: Standing) -> list[str]:
    return [Status(int(status)).name.lower() for status in standing.status]


def of_integers(values: npt.ArrayLike, biases: npt.ArrayLike | None = None) -> Domain:
    bias = None if biases is None else Vector.of_values(np.asarray(biases, float), F32)
    return all_states(Matrix.of_values(np.asarray(values, dtype=float), BF16), bias)


def state_of(domain: Domain, standing: Standing, token: int) -> Array:
    if token in standing.states:
        return np.asarray(standing.states[token], dtype=np.float64)
    states = own_states(domain, centre_of(domain, standing.rivals), np.array([token]))
    return np.asarray(states[0])


def real_logits(domain: Domain, inner: Array) -> list[Fraction]:
    """Return the logits at a state, from the definition alone."""
    full = np.zeros(domain.matrix.width)
    full[domain.kept] = inner
    logits = []
    for token in range(domain.matrix.n_tokens):
        total = Fraction(0)
        for k, w in enumerate(domain.matrix.rows([token])[0]):
            h = Fraction(domain.gamma[k]) * Fraction(full[k])
            h += Fraction(0 if domain.beta is None else domain.beta[k])
            total += Fraction(w) * h
        if domain.bias is not None:
            total += Fraction(domain.bias.values[token]) * domain.bias_factor
        logits.append(total)
    return logits


def hold_witnesses(domain: Domain, standing: Standing) -> None:
    """Hold every witness to the definition: strictly above all, shadowed tokens apart."""
    for token in standing.ids(Status.WON).tolist():
        inner = state_of(domain, standing, token)
        assert domain.holds(inner)
        logits = real_logits(domain, inner)
        others = [logits[j] for j in standing.rivals.tolist() if j != token]
        assert all(logits[token] > other for other in others)
        stood_for = np.flatnonzero(standing.shadowed_by == token)
        assert all(logits[j] <= logits[token] for j in stood_for)


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_points_of_a_grid_are_what_the_simplex_method_says(width: int, seed: int) -> None:
    # On a coarse grid most are inside, many on faces, and some on lines between others.
    random = np.random.default_rng([seed, width])
    values = np.unique(random.integers(-3, 4, (24, width)), axis=0).astype(float)
    domain = of_integers(values)
    standing = decided(domain)
    assert names(standing) == statuses(values)
    hold_witnesses(domain, standing)
    for token, certificate in standing.certificates.items():
        assert proof_of(domain, token, certificate) is not Proof.NOTHING


@pytest.mark.parametrize("seed", range(6))
def test_with_biases_too(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.unique(random.integers(-3, 4, (20, 2)), axis=0).astype(float)
    biases = random.integers(-4, 5, len(values)).astype(float)
    domain = of_integers(values, biases)
    standing = decided(domain)
    assert names(standing) == statuses(values, biases.tolist())
    hold_witnesses(domain, standing)


@pytest.mark.parametrize("seed", range(3))
def test_points_of_a_cloud_are_what_other_libraries_say(seed: int) -> None:
    spatial = pytest.importorskip("scipy.spatial")
    values = np.random.default_rng(seed).normal(size=(300, 3))
    matrix = Matrix.of_values(values, F32)
    standing = decided(all_states(matrix))
    vertices = spatial.ConvexHull(matrix.rows(np.arange(300))).vertices
    assert standing.ids(Status.WON).tolist() == sorted(vertices.tolist())
    assert len(standing.ids(Status.INTERIOR)) == 300 - len(vertices)


def test_points_of_a_cloud_are_what_the_whole_linear_program_says() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    random = np.random.default_rng(5)
    values = random.normal(size=(250, 8)) * random.uniform(0.3, 1.5, (250, 1))
    matrix = Matrix.of_values(values, BF16)
    rows = matrix.rows(np.arange(250))
    standing = decided(all_states(matrix))
    for token in range(0, 250, 4):
        others = np.delete(rows, token, axis=0)
        program = optimize.linprog(
            np.zeros(249),
            A_eq=np.vstack([others.T, np.ones(249)]),
            b_eq=np.append(rows[token], 1.0),
            bounds=(0, None),
            method="highs",
        )
        assert program.status in (0, 2)
        assert (standing.status[token] == Status.WON) == (program.status == 2)
        assert standing.status[token] in (Status.WON, Status.INTERIOR)


def test_every_token_is_won_where_rows_are_fewer_than_dimensions() -> None:
    standing = decided(all_states(Matrix.of_values(gaussian(40, 64), BF16)))
    assert set(names(standing)) == {"won"}


@given(st.data())
@settings(max_examples=15)
def test_the_order_of_tokens_does_not_matter(data: Any) -> None:
    seed = data.draw(st.integers(0, 1000))
    random = np.random.default_rng(seed)
    values = random.integers(-2, 3, (14, 2)).astype(float)
    order = random.permutation(len(values))
    here = decided(of_integers(values))
    there = decided(of_integers(values[order]))

    def won_or_not(standing: Standing, rows: Array) -> dict[tuple[float, ...], int]:
        # Of equal rows one stands for all, whichever it is.
        return {
            tuple(rows[i]): int(standing.status[standing.shadowed_by[i]]) for i in range(len(rows))
        }

    assert won_or_not(here, values) == won_or_not(there, values[order])
    assert (here.status == Status.SHADOWED).sum() == (there.status == Status.SHADOWED).sum()


class TestReachable:
    """States that a norm can output."""

    def norm(
        self,
        width: int,
        *,
        kind: Any = "rms",
        gamma: npt.ArrayLike | None = None,
        beta: npt.ArrayLike | None = None,
        eps: float | None = 1e-6,
    ) -> NormRange:
        ones = np.ones(width)
        return NormRange(
            kind,
            ones if gamma is None else np.asarray(gamma, float),
            None if beta is None else np.asarray(beta, float),
            eps,
        )

    def test_an_rms_norm_without_constants_leaves_every_answer_as_it_is(self) -> None:
        values = np.unique(np.random.default_rng(1).integers(-3, 4, (24, 2)), axis=0).astype(float)
        matrix = Matrix.of_values(values, BF16)
        domain = reachable_states(matrix, self.norm(2, gamma=[0.5, -3.0]))
        assert domain.shape == "space"
        assert names(decided(domain)) == statuses(values)
        hold_witnesses(domain, decided(domain))

    def test_a_dimension_that_gamma_kills_is_not_there(self) -> None:
        values = np.array([[1.0, 5], [1, -5], [-1, 0], [0, 100], [2, 0]])
        matrix = Matrix.of_values(values, BF16)
        domain = reachable_states(matrix, self.norm(2, gamma=[1.0, 0.0]))
        standing = decided(domain)
        assert names(standing) == ["interior", "shadowed", "won", "interior", "won"]
        assert standing.shadowed_by.tolist() == [0, 0, 2, 3, 4]
        hold_witnesses(domain, standing)

    def test_all_tokens_but_one_are_shadowed_where_gamma_kills_everything(self) -> None:
        matrix = Matrix.of_values(gaussian(5, 3), BF16)
        standing = decided(reachable_states(matrix, self.norm(3, gamma=np.zeros(3))))
        assert names(standing) == ["won", *["shadowed"] * 4]

    def test_a_layer_norm_sees_rows_less_their_mean(self) -> None:
        random = np.random.default_rng(2)
        values = random.integers(-3, 4, (20, 3)).astype(float)
        values += random.integers(-9, 9, (20, 1))  # of which LayerNorm sees nothing
        matrix = Matrix.of_values(values, F32)
        domain = reachable_states(matrix, self.norm(3, kind="layer"))
        assert domain.shape == "plane"
        standing = decided(domain)
        seen = np.column_stack([values[:, 0] - values[:, 2], values[:, 1] - values[:, 2]])
        distinct, first, inverse = np.unique(seen, axis=0, return_index=True, return_inverse=True)
        del first
        of_distinct = statuses(distinct)
        counts = np.bincount(inverse.ravel())
        for token, status in enumerate(names(standing)):
            place = int(inverse.ravel()[token])
            if status == "shadowed":
                continue
            # Rows that differ by a multiple of ones alone tie everywhere.
            expected = of_distinct[place]
            if counts[place] > 1 and expected == "won":
                expected = "boundary"
            if status == "boundary" and counts[place] > 1:
                continue
            assert status == expected, token
        hold_witnesses(domain, standing)

    def test_rows_that_differ_by_what_no_state_sees_are_both_on_the_boundary(self) -> None:
        # The first two differ by ones: a third of which binary64 does not hold.
        values = [[0, 0, -1], [1, 1, 0], [0, -1, -1], [1, -1, -1], [0, 0, 0]]
        norm = NormRange("layer", np.ones(3), None, 1e-5)
        domain = reachable_states(Matrix.of_values(np.array(values, float), BF16), norm)
        standing = decided(domain)
        assert names(standing) == ["boundary", "boundary", "boundary", "won", "won"]

    def test_without_an_epsilon_a_witness_wins_up_to_the_sphere(self) -> None:
        # Of one dimension the sphere is ±1, where the first is below the second.
        matrix = Matrix.of_values(np.array([[0.0], [1]]), BF16)
        bias = Vector.of_values(np.array([0.9999, 0]), F32)
        for eps, wins in ((1e-6, True), (0.0, False), (None, False)):
            norm = NormRange("rms", np.ones(1), None, eps)
            domain = reachable_states(matrix, norm, bias)
            state = domain.stored(np.ones((1, 1)))
            ids = np.arange(2)
            assert witness.check_states(domain, ids[:1], state, ids).wins.tolist() == [wins]

    def test_a_mean_as_high_does_not_hide_one_that_is_higher(self) -> None:
        # What LayerNorm's states see of these rows is 0, 0, −1, 0, 0: the fifth has the most.
        values = [[0, 0], [-1, 1], [-1, -1], [1, -1], [2, -2]]
        norm = NormRange("layer", np.array([1.0, -1.0]), None, 1e-5)
        bias = Vector.of_values(np.array([0.0, 0, 1, 0, 2]), F32)
        domain = reachable_states(Matrix.of_values(np.array(values, float), BF16), norm, bias)
        standing = decided(domain)
        assert names(standing) == ["interior", "interior", "won", "interior", "won"]

    def test_gamma_of_a_layer_norm_weighs_rows_before_their_mean(self) -> None:
        gamma = np.array([2.0, 0.5, -1.0])
        values = np.random.default_rng(4).integers(-3, 4, (18, 3)).astype(float)
        domain = reachable_states(
            Matrix.of_values(values, F32), self.norm(3, kind="layer", gamma=gamma)
        )
        standing = decided(domain)
        x = values * gamma
        seen = np.column_stack([x[:, 0] - x[:, 2], x[:, 1] - x[:, 2]])
        if len(np.unique(seen, axis=0)) == len(np.unique(values, axis=0)):
            alone = standing.rivals
            assert [names(standing)[i] for i in alone] == statuses(seen[alone])
        hold_witnesses(domain, standing)

    @pytest.mark.parametrize("seed", range(8))
    def test_one_dimension_with_constants_is_decided_by_its_intervals(self, seed: int) -> None:
        # |u| < √1: each token wins on an interval, whose ends are fractions.
        random = np.random.default_rng(seed)
        values = random.integers(-8, 9, (9, 1)) / 4
        biases = random.integers(-8, 9, 9) / 8
        beta, gamma = random.integers(-2, 3, 1) / 4, random.integers(1, 9, 1) / 4
        domain = reachable_states(
            Matrix.of_values(values, F32),
            self.norm(1, gamma=gamma, beta=beta),
            Vector.of_values(biases, F32),
        )
        standing = decided(domain)
        slopes = [Fraction(float(v * gamma[0])) for v in values[:, 0]]
        constants = [
            Fraction(float(v * beta[0])) + Fraction(b)
            for v, b in zip(values[:, 0].tolist(), biases.tolist(), strict=True)
        ]
        for token in standing.rivals.tolist():
            low, high, ever = Fraction(-1), Fraction(1), True
            for other in standing.rivals.tolist():
                rise = slopes[token] - slopes[other]
                lead = constants[token] - constants[other]
                if rise == 0:
                    ever &= other == token or lead > 0
                elif rise > 0:
                    low = max(low, -lead / rise)
                else:
                    high = min(high, -lead / rise)
            status = names(standing)[token]
            if ever and low < high:
                assert status == "won" or high - low < Fraction(1, 100), token
            elif not ever or low > high:
                assert status == "interior" or low - high < Fraction(1, 100), token
            else:
                assert status in ("undecided", "interior")
            if status == "interior":
                assert not (ever and low <= high)
        hold_witnesses(domain, standing)

    @pytest.mark.parametrize("kind", ["rms", "layer"])
    @pytest.mark.parametrize("eps", [1e-6, 0.0, None])
    def test_no_random_state_has_a_token_on_top_that_is_said_to_be_never_there(
        self, kind: Any, eps: float | None
    ) -> None:
        random = np.random.default_rng(7)
        width = 4
        norm = self.norm(
            width,
            kind=kind,
            gamma=random.uniform(-1.5, 1.5, width).astype(np.float32),
            beta=random.normal(size=width).astype(np.float32),
            eps=eps,
        )
        matrix = Matrix.of_values(random.normal(size=(60, width)), BF16)
        bias = Vector.of_values(random.normal(size=60), F32)
        domain = reachable_states(matrix, norm, bias)
        assert domain.shape == "ball"
        standing = decided(domain)
        assert len(standing.ids(Status.INTERIOR)) > 10
        hold_witnesses(domain, standing)
        u = random.normal(size=(20_000, width))
        if kind == "layer":
            u -= u.mean(axis=1, keepdims=True)
        u *= 2 / np.linalg.norm(u, axis=1, keepdims=True)
        if eps:
            u *= random.random((20_000, 1)) ** 0.25
        assert norm.beta is not None
        logits = (u * norm.gamma + norm.beta) @ matrix.rows(np.arange(60)).T + bias.values
        tops = np.unique(logits.argmax(axis=1))
        assert set(tops.tolist()).isdisjoint(standing.ids(Status.INTERIOR).tolist())
        # And what is often on top is won.
        assert len(np.intersect1d(tops, standing.ids(Status.WON))) >= 0.8 * len(tops)

    def test_a_scale_of_the_state_weighs_biases_the_other_way(self) -> None:
        # W (u/8) + b: within |u| < 1 token 0 leads by 1/2 − |u|/8·2 at least.
        matrix = Matrix.of_values([[1.0], [-1.0], [2.0]], F32)
        bias = Vector.of_values([0.5, 0.0, -4.0], F32)
        near = reachable_states(matrix, self.norm(1), bias, Fraction(8))
        assert names(decided(near)) == ["won", "interior", "interior"]
        far = reachable_states(matrix, self.norm(1), bias, Fraction(1))
        assert names(decided(far)) == ["won", "won", "interior"]


def test_a_witness_is_checked_in_exact_arithmetic() -> None:
    # At h = (1, 2⁻²⁰) the second row is ahead by less than binary64 shows beside 2⁴⁰.
    matrix = Matrix.of_values([[2.0**40, 0.0], [2.0**40, 2.0**-10]], F32)
    domain = all_states(matrix)
    ids, states = np.array([1, 0]), np.array([[1.0, 2.0**-20], [1.0, 2.0**-20]])
    checked = witness.check_states(domain, ids, states, np.arange(2))
    assert checked.wins.tolist() == [True, False]
    assert checked.refined == 2
    tied = witness.check_states(domain, np.array([0]), np.array([[1.0, 0.0]]), np.arange(2))
    assert tied.wins.tolist() == [False]


@pytest.mark.parametrize("format_", [BF16, F32])
def test_duplicates_are_shadowed_and_their_first_still_wins(format_: Format) -> None:
    # On these the search of andreasgrv/unargmaxable fails: no token beats its own copy.
    rows = gaussian(30, 8)
    values = np.vstack([rows, rows[:10], rows[:5]])
    standing = decided(all_states(Matrix.of_values(values, format_)))
    assert names(standing) == ["won"] * 30 + ["shadowed"] * 15
    assert standing.shadowed_by[30:].tolist() == [*range(10), *range(5)]


def test_of_equal_rows_the_largest_bias_wins_and_zeros_have_no_sign() -> None:
    values = np.array([[1.0, 0.0], [1.0, -0.0], [1.0, 0.0], [-1.0, 0.5]])
    domain = of_integers(values, [0.5, 2.0, 2.0, 0.0])
    standing = decided(domain)
    assert names(standing) == ["shadowed", "won", "shadowed", "won"]
    assert standing.shadowed_by.tolist() == [1, 1, 1, 3]


def test_a_bias_can_make_a_row_inside_win_and_a_vertex_lose() -> None:
    values = np.array([[1.0], [-1.0], [0.0], [0.5]])
    assert names(decided(of_integers(values))) == ["won", "won", "interior", "interior"]
    standing = decided(of_integers(values, [0.0, 0.0, 1.0, 0.0]))
    assert names(standing) == ["won", "won", "won", "interior"]


def test_a_zero_row_wins_only_as_a_vertex() -> None:
    values = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    assert names(decided(of_integers(values)))[0] == "won"
    values[3] = [-1, -1]
    assert names(decided(of_integers(values)))[0] == "interior"


def test_rows_on_a_line_of_a_plane_are_on_its_boundary() -> None:
    # Inside of a segment; the space is wider than the hull, so nothing is in its interior.
    values = np.array([[0.0, 0], [1, 1], [2, 2], [3, 3]])
    assert names(decided(of_integers(values))) == ["won", "boundary", "boundary", "won"]


def test_rows_without_numbers_are_left_out() -> None:
    values = np.array([[1.0, 0], [np.nan, 0], [-1, 0], [0, np.inf], [0, 0]])
    standing = decided(of_integers(values))
    assert names(standing) == ["won", "left_out", "won", "left_out", "boundary"]
    standing = decided(of_integers([[1.0], [2.0], [3.0]], [0.0, -np.inf, 0.0]))
    assert names(standing)[1] == "left_out"


def test_what_binary64_rounds_the_other_way_is_no_witness() -> None:
    # Two rows nearly at right angles to the state, which differ where it is nearly 0.
    random = np.random.default_rng(0)
    state = random.normal(size=64).astype(np.float32).astype(np.float64)
    state[0] = 2.0**-60
    values = np.repeat(random.normal(size=(100, 64)), 2, axis=0)
    values -= np.outer(values @ state / (state @ state), state)
    values[:, 0] = random.integers(0, 9, 200)
    domain = all_states(Matrix.of_values(values, F32))
    for first in range(0, 200, 2):
        pair = np.array([first, first + 1])
        found = witness.check_states(domain, pair, np.stack([state, state]), pair).wins
        ahead = values[first, 0] - values[first + 1, 0]
        assert found.tolist() == [ahead > 0, ahead < 0]


def test_constants_that_binary64_rounds_the_other_way_make_no_witness() -> None:
    # β · w all but cancels, in three steps of 24 bits: what is left is far below what binary64
    # loses on the way. The state is 0, so that constants alone decide.
    random = np.random.default_rng(1)
    beta = random.normal(size=64).astype(np.float32).astype(np.float64)
    beta[61:] = [2.0**-10, 2.0**-34, 2.0**-58]
    values = random.normal(size=(60, 64)).astype(np.float32).astype(np.float64)
    values[:, 61:] = 0
    for row in values:
        for k in (61, 62, 63):
            left = sum(Fraction(b) * Fraction(w) for b, w in zip(beta, row, strict=True))
            row[k] = np.float32(float(-left / Fraction(beta[k])))
    domain = reachable_states(
        Matrix.of_values(values, F32), NormRange("rms", np.ones(64), beta, 1e-5)
    )
    exact = domain.exact_constants(np.arange(60))
    rounded, errors = domain.constants
    off = [abs(Fraction(float(c)) - e) for c, e in zip(rounded, exact, strict=True)]
    assert all(o <= Fraction(float(b)) for o, b in zip(off, errors, strict=True))
    assert sum(o > abs(e) for o, e in zip(off, exact, strict=True)) > 30
    for first in range(0, 60, 2):
        pair = np.array([first, first + 1])
        found = witness.check_states(domain, pair, np.zeros((2, 64)), pair).wins
        ahead = exact[first] - exact[first + 1]
        assert found.tolist() == [ahead > 0, ahead < 0]


@pytest.mark.parametrize("ids", [(1, 2, 9), (1, 2, -1), (1, 2, 2**70), (1, 2, 4), (1, 2, 5)])
@pytest.mark.parametrize("kind", ["hull", "bound"])
def test_tokens_that_are_not_there_or_have_no_numbers_prove_nothing(
    ids: tuple[int, ...], kind: str
) -> None:
    values = [[0.0, 0], [1, 0], [-1, 1], [-1, -1], [np.nan, 0], [3, 3]]
    matrix = Matrix.of_values(np.array(values), BF16)
    bias = Vector.of_values(np.array([0.0, 1, 1, 1, 1, np.nan]), F32)
    weights = (0.5, 0.25, 0.25)
    good: HullCertificate | BoundCertificate
    bad: HullCertificate | BoundCertificate
    if kind == "hull":
        domain, slack = all_states(matrix, bias), 1.0
        good = HullCertificate((Level((1, 2, 3), weights),), slack)
        bad = HullCertificate((Level(ids, weights),), slack)
    else:
        norm = NormRange("rms", np.ones(2), None, 1e-5)
        domain, slack = reachable_states(matrix, norm, bias), 1.0 - 2.0**-48
        good = BoundCertificate((1, 2, 3), weights, slack)
        bad = BoundCertificate(ids, weights, slack)
    assert proof_of(domain, 0, good) is Proof.NEVER
    assert proof_of(domain, 0, bad) is Proof.NOTHING
    assert proof_of(domain, 4, good) is proof_of(domain, -1, good) is Proof.NOTHING


@pytest.mark.parametrize("exponent", [-100, -60, 60, 100])
@pytest.mark.parametrize("biased", [False, True])
def test_the_scale_of_all_numbers_does_not_matter(exponent: int, biased: bool) -> None:
    random = np.random.default_rng(2)
    values = np.unique(random.integers(-3, 4, (20, 2)), axis=0).astype(float)
    biases = random.integers(-4, 5, len(values)).astype(float) if biased else None
    scaled = None if biases is None else np.ldexp(biases, exponent)
    standing = decided(of_integers(np.ldexp(values, exponent), scaled))
    assert names(standing) == names(decided(of_integers(values, biases)))
    assert {"won", "interior"} <= set(names(standing))


def test_states_beyond_binary32_are_no_witnesses() -> None:
    # Rows make up for constants at 10^60 and beyond alone. Any warning would be an error here.
    biases = [1e30, 2e30, 3e30, 4e30, 5e30]
    domain = of_integers(gaussian(5, 2) * 1e-30, biases)
    found = names(decided(domain))
    real = statuses(domain.matrix.rows(np.arange(5)), biases)
    assert all(said in (truth, "undecided") for said, truth in zip(found, real, strict=True))


def test_one_token_is_on_top() -> None:
    assert names(decided(of_integers([[0.0, 0.0]]))) == ["won"]
    assert names(decided(of_integers([[1.0], [1.0]]))) == ["won", "shadowed"]


def test_only_the_tokens_asked_about_are_decided() -> None:
    domain = all_states(Matrix.of_values(gaussian(50, 3), F32))
    standing = collapse(domain)
    search(domain, standing, np.array([3, 7, 20]), Counting())
    assert np.flatnonzero(standing.status).tolist() == [3, 7, 20]
    whole = decided(domain)
    assert (whole.status[[3, 7, 20]] == standing.status[[3, 7, 20]]).all()


@pytest.mark.parametrize("answers", range(0, 12, 2))
def test_a_search_that_was_stopped_goes_on_to_the_same_end(answers: int) -> None:
    domain = all_states(Matrix.of_values(gaussian(60, 3), F32))
    standing = collapse(domain)
    search(domain, standing, None, Counting(answers))
    assert answers > 0 or not standing.ids(Status.WON).size
    search(domain, standing, None, Counting())
    assert (standing.status == decided(domain).status).all()


def test_a_candidate_that_failed_is_not_tried_again() -> None:
    domain = all_states(Matrix.of_values(gaussian(60, 3), F32))
    standing = collapse(domain)
    first = Counting(3)
    search(domain, standing, None, first)
    second = Counting()
    search(domain, standing, None, second)
    assert first.plans[0][0] is Witness.OWN
    assert Witness.OWN not in [kind for kind, _ in second.plans]


@pytest.mark.parametrize("shape", ["space", "ball"])
def test_rivals_join_a_program_until_nobody_beats_it(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = gaussian(150, 4)
    matrix = Matrix.of_values(rows, BF16)
    domain = all_states(matrix)
    if shape == "ball":
        norm = NormRange("rms", np.ones(4), np.full(4, 0.25), 1e-6)
        domain = reachable_states(matrix, norm)
    whole = decided(domain)
    monkeypatch.setattr(argmax_search, "_ALL_AT_ONCE", 0)
    few = decided(domain)
    assert len(whole.ids(Status.INTERIOR)) > 40
    assert (few.status == whole.status).mean() > 0.98
    both = (few.status != Status.UNDECIDED) & (whole.status != Status.UNDECIDED)
    assert (few.status[both] == whole.status[both]).all()
