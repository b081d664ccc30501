"""The gap of two tokens, against its definition in rational numbers."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from equivalence.gap_cases import KINDS, Case, Kind, cases
from isologit.checkpoint.head import FinalNorm, Head, LogitScale
from isologit.equivalence.gap import RELATIVE_ERROR, Gap
from isologit.equivalence.norm_range import ComputedNorm, NormRange
from isologit.numerics.formats import BF16, F16, F32, Format, round_to
from isologit.numerics.stored import Matrix, Vector

CASES = list(cases())


def pairs_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.triu_indices(len(case.values), 1)
    return left.astype(np.int64), right.astype(np.int64)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_gap_is_what_its_definition_says(case: Case) -> None:
    left, right = pairs_of(case)
    found, truth = case.gap.nats(left, right), case.all_true
    for a, b, nats in zip(left.tolist(), right.tolist(), found.tolist(), strict=True):
        true = truth[a, b].nats
        assert abs(Decimal(nats) - true) <= Decimal(RELATIVE_ERROR) * true
        assert (nats == 0) == (true == 0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_threshold_is_compared_with_the_real_gap(case: Case) -> None:
    left, right = pairs_of(case)
    gap, truth = case.gap, case.all_true
    nats = gap.nats(left, right)
    for n in range(0, len(left), 11):
        for limit in (nats[n], np.nextafter(nats[n], 0), np.nextafter(nats[n], np.inf)):
            inside, given = gap.within(left, right, limit)
            want = [
                k
                for k, (a, b) in enumerate(zip(left, right, strict=True))
                if truth[int(a), int(b)].at_most(float(limit))
            ]
            assert inside.tolist() == want
            assert np.array_equal(given, nats[inside])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_pairs_number_depends_on_the_pair_alone(case: Case) -> None:
    left, right = pairs_of(case)
    together = case.gap.nats_and_computed(left, right)
    for n in range(0, len(left), 5):
        alone = case.gap.nats_and_computed(right[n : n + 1], left[n : n + 1])
        for whole, part in zip(together, alone, strict=True):
            assert whole[n] == part[0]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_computed_bound_is_no_less_than_the_real_one(case: Case) -> None:
    nats, computed = case.gap.nats_and_computed(*pairs_of(case))
    assert (computed >= nats).all()
    assert (computed[nats > 0] > nats[nats > 0]).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_points_are_never_farther_apart_than_gaps(case: Case) -> None:
    left, right = pairs_of(case)
    points = case.gap.points(np.arange(len(case.values)))
    apart = points.coordinates[left] - points.coordinates[right]
    distances = np.linalg.norm(apart, axis=1)
    slack = points.errors[left] + points.errors[right]
    assert (distances * (1 - 1e-14) <= case.gap.nats(left, right) * (1 + 1e-12) + slack).all()
    # And the errors are nothing beside the rows' own size.
    assert (slack <= 1e-4 * np.linalg.norm(points.coordinates, axis=1).max()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_points_of_rows_a_last_place_apart_are_as_near_as_their_errors_say(kind: Kind) -> None:
    # What the 32 directions leave over is little but rounding, and that far more than these gaps.
    values = np.repeat(np.random.default_rng(3).normal(size=(40, 8)), 3, axis=0)
    values[:, 5] = 2.0**-20 * (1 + np.arange(120) % 3 * 2.0**-23)
    gap = Gap(Matrix.of_values(values, F32), NormRange.assumed(8, kind), BF16)
    points = gap.points(np.arange(120))
    left = np.repeat(np.arange(0, 120, 3), 2)
    right = left + np.tile([1, 2], 40)
    distances = np.linalg.norm(points.coordinates[left] - points.coordinates[right], axis=1)
    slack = points.errors[left] + points.errors[right]
    assert (distances <= gap.nats(left, right) * (1 + 1e-12) + slack).all()
    # The errors are needed, and are nothing beside what binary32 rounds.
    assert kind == "rms" or (distances > gap.nats(left, right)).any()
    assert slack.max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_points_of_wide_rows_keep_the_share_of_a_distance_that_32_directions_have(
    kind: Kind,
) -> None:
    rng = np.random.default_rng(0)
    d = 1600
    matrix = Matrix.of_values(rng.normal(size=(40, d)), BF16)
    gap = Gap(matrix, NormRange.assumed(d, kind), BF16)
    left, right = np.triu_indices(40, 1)
    y = gap.points(np.arange(40)).coordinates
    share = np.linalg.norm(y[left] - y[right], axis=1) / gap.nats(left, right)
    assert 0.8 < share.mean() / np.sqrt(32 / d) < 1.3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_witness_attains_the_gap(case: Case) -> None:
    gap = case.gap
    truth = case.all_true
    rows = gap.matrix.rows(np.arange(len(case.values)))
    rng = np.random.default_rng(4)
    for (a, b), true in list(truth.items())[::9]:

        def apart(h: np.ndarray, a: int = a, b: int = b) -> tuple[float, float]:
            """Return the difference of the logits, and what rounding h may move it by."""
            terms = [
                (Fraction(x) - Fraction(y)) * Fraction(z)
                for x, y, z in zip(rows[a].tolist(), rows[b].tolist(), h.tolist(), strict=True)
            ]
            total = case.scale * sum(terms, Fraction(0))
            if case.biases is not None:
                total += case.bias_scale * (Fraction(case.biases[a]) - Fraction(case.biases[b]))
            rounding = abs(case.scale) * sum(map(abs, terms)) * Fraction(10, 10**16)
            return abs(float(total)), float(rounding)

        norm_range, most = gap.norm_range, float(true.nats)
        h = gap.witness(a, b)
        inner = norm_range.inner(h)
        assert ComputedNorm.of(norm_range, F32).holds_beta(norm_range, h)
        reached, rounding = apart(h)
        assert abs(reached - most) <= 1e-12 * most + rounding
        for size in (1e-3, 0.3):
            other, rounding = apart(norm_range.of_inner(inner + size * rng.normal(size=len(h))))
            assert other <= most * (1 + 1e-12) + rounding


def a_head(scale: LogitScale | None = None, bias: bool = False, norm_format: Format = F32) -> Head:
    rng = np.random.default_rng(9)
    d = 24
    matrix = Matrix.of_values(rng.normal(size=(6, d)), BF16)
    norm = FinalNorm(
        "layer",
        rng.normal(1, 0.1, d),
        round_to(rng.normal(size=d), norm_format),
        1e-5,
        "a test",
        "weight",
    )
    return Head(
        tensor="W",
        role="output",
        tied=False,
        why="",
        logit_format=BF16,
        bias_tensor="b" if bias else None,
        scale=scale,
        softcap=None,
        warnings=(),
        family=None,
        matrix=matrix,
        bias=Vector.of_values(rng.normal(size=6), BF16) if bias else None,
        norm=norm,
    )


@pytest.mark.parametrize("applies_to", ["logits", "state"])
def test_a_scale_of_the_state_leaves_the_biases_alone(applies_to: str) -> None:
    scale = LogitScale(1 / 3, "a test", 3.0, applies_to)  # type: ignore[arg-type]
    head = a_head(scale, bias=True)
    norm_range = NormRange.of(head.norm, 24)
    assert norm_range is not None
    assert head.bias is not None
    gap = Gap.of(head, norm_range)
    state = gap.witness(0, 1)
    dots = head.matrix.rows([0, 1]) @ state
    b = head.bias.values[:2]
    logits = (dots + b) / 3 if applies_to == "logits" else dots / 3 + b
    (nats,) = gap.nats(np.array([0]), np.array([1]))
    assert abs(logits[0] - logits[1]) == pytest.approx(nats, rel=1e-12)


def test_the_formats_bounds_are_in_order() -> None:
    head = a_head()
    norm_range = NormRange.of(head.norm, 24)
    assert norm_range is not None
    pair = np.array([0]), np.array([1])
    bounds = [Gap.of(head, norm_range, f).nats_and_computed(*pair)[1][0] for f in (F32, F16, BF16)]
    assert bounds == sorted(bounds)
