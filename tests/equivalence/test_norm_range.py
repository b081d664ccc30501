"""What a norm outputs, and how far its roundings carry it."""

from hashlib import sha256

import numpy as np
import pytest

from isologit.checkpoint.families import NormKind
from isologit.checkpoint.head import FinalNorm
from isologit.equivalence.norm_range import ComputedNorm, NormRange
from isologit.numerics.formats import BF16, F16, F32, Float64s, Format, round_to

D = 96


def a_range(kind: NormKind, *, beta: bool = True, seed: int = 3) -> NormRange:
    rng = np.random.default_rng(seed)
    gamma = round_to(rng.normal(1.5, 1.0, D), BF16)
    added = round_to(rng.normal(0.0, 0.3, D), BF16) if beta else None
    found = NormRange.of(FinalNorm(kind, gamma, added, 1e-6, "a test", "weight"), D)
    assert found is not None
    return found


def test_no_range_is_told_of_a_norm_that_is_not_known() -> None:
    kinds: list[NormKind] = ["none", "unknown"]
    for kind in kinds:
        norm = FinalNorm(kind, None, None, None, "a test", "unknown")
        assert NormRange.of(norm, D) is None
    broken = FinalNorm("rms", np.array([1.0, np.nan]), None, 1e-6, "a test", "weight")
    assert NormRange.of(broken, 2) is None


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_random_states_lie_on_the_rim(kind: NormKind) -> None:
    found = a_range(kind)
    states = found.random_states(0, 20, seed=1, format_=F32)
    for h in states.rows(np.arange(20)):
        inner = found.inner(h)
        assert ComputedNorm.of(found, F32).holds_beta(found, h)
        assert inner @ inner == pytest.approx(D, rel=1e-5)
        assert abs(inner.mean()) < (1e-4 if kind == "layer" else np.inf)


def test_in_one_dimension_a_layer_norm_outputs_beta_alone() -> None:
    found = NormRange("layer", np.ones(1), np.array([0.5]), 1e-5)
    assert found.random_states(0, 3, seed=0, format_=F32).rows([0, 1, 2]).tolist() == [[0.5]] * 3


def test_a_random_state_depends_on_its_seed_and_number_alone() -> None:
    found = a_range("rms")
    together = found.random_states(0, 8, seed=5, format_=BF16).words
    parts = [found.random_states(k, k + 1, seed=5, format_=BF16).words for k in range(8)]
    assert np.array_equal(together, np.concatenate(parts))
    assert not np.array_equal(together, found.random_states(0, 8, seed=6, format_=BF16).words)
    assert len({row.tobytes() for row in together}) == 8


def test_random_states_are_the_same_bits_everywhere() -> None:
    plain = NormRange.assumed(64).random_states(0, 4, seed=0, format_=F32)
    assert sha256(plain.words.tobytes()).hexdigest()[:16] == "cfef846ab72a6ac2"


def test_random_directions_favour_no_dimension_and_no_sign() -> None:
    states = NormRange.assumed(32).random_states(0, 2000, seed=2, format_=F32)
    values = states.rows(np.arange(2000))
    # Means of 2,000 numbers of variance 1; and their squares', whose variance is below 2.
    assert np.abs(values.mean(axis=0)).max() < 5 / np.sqrt(2000)
    assert np.abs((values**2).mean(axis=0) - 1).max() < 5 * np.sqrt(2 / 2000)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_no_state_goes_farther_than_the_farthest(kind: NormKind) -> None:
    found, rng = a_range(kind), np.random.default_rng(0)
    direction = rng.normal(size=D)
    limit = found.radius * np.linalg.norm(found.seen(direction)) + found.constant(direction)
    assert direction @ found.farthest(direction) == pytest.approx(limit, rel=1e-12)
    others = [found.of_inner(rng.normal(size=D)) for _ in range(200)]
    # Near the farthest it is closest to fail.
    best = found.inner(found.farthest(direction))
    others += [found.of_inner(best + 0.01 * rng.normal(size=D)) for _ in range(200)]
    assert max(direction @ h for h in others) < limit


def test_tiny_and_huge_directions_have_a_farthest_state_too() -> None:
    found = a_range("rms", beta=False)
    for size in (1e-300, 1e300):
        h = found.farthest(np.full(D, size) / np.abs(found.gamma).max())
        assert np.linalg.norm(found.inner(h)) == pytest.approx(found.radius)
    plain = a_range("rms")
    assert plain.beta is not None
    assert np.array_equal(plain.farthest(np.zeros(D)), plain.beta)


def test_rescaling_keeps_the_direction_and_reaches_the_rim() -> None:
    found, rng = a_range("rms"), np.random.default_rng(1)
    h = found.of_inner(rng.normal(size=D))
    assert found.beta is not None
    far = found.beta + 37.0 * (h - found.beta)
    assert np.allclose(found.rescaled(far), h, rtol=1e-12, atol=1e-12)
    layered = a_range("layer")
    inner = layered.inner(layered.rescaled(rng.normal(size=D)))
    assert inner.mean() == pytest.approx(0, abs=1e-12)
    assert inner @ inner == pytest.approx(D)


def computed(found: NormRange, x: Float64s, format_: Format) -> Float64s:
    """Return what a norm computes of an input: statistics in binary32, each step rounded."""
    single = x.astype(np.float32)
    mean = single.mean(dtype=np.float32) if found.kind == "layer" else np.float32(0)
    centred = single - mean
    square = np.mean(centred * centred, dtype=np.float32) + np.float32(1e-6)
    u = round_to((centred * (np.float32(1) / np.sqrt(square))).astype(np.float64), format_)
    h = round_to(u * found.gamma, format_)
    return h if found.beta is None else round_to(h + found.beta, format_)


def real(found: NormRange, x: Float64s) -> Float64s:
    centred = x - x.mean() if found.kind == "layer" else x
    u = centred / np.sqrt(np.mean(centred * centred) + 1e-6)
    h: Float64s = found.gamma * u
    return h if found.beta is None else h + found.beta


@pytest.mark.parametrize("format_", [BF16, F16, F32])
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_what_is_computed_lies_within_the_proved_bound_of_what_is_real(
    kind: NormKind, format_: Format
) -> None:
    found, rng = a_range(kind), np.random.default_rng(7)
    bound = ComputedNorm.of(found, format_)
    beta = np.zeros(D) if found.beta is None else np.abs(found.beta)
    worst = 0.0
    for scale in 10.0 ** np.arange(-3, 4):
        for offset in (0.0, 4.0, 14.0):
            x = round_to(scale * (rng.normal(size=D) + offset), format_)
            h = real(found, x)
            off = np.abs(computed(found, x, format_) - h)
            gamma, u = np.abs(found.gamma), np.abs(found.inner(h))
            allowed = gamma * (bound.relative * u + bound.shift) + bound.of_beta * beta
            allowed += bound.lost * (1 + gamma)
            assert (off <= allowed).all()
            worst = max(worst, float((off / allowed).max()))
    # The bound is not far above what is reached: half a unit of the last place twice.
    assert kind == "layer" or format_ is F32 or worst > 0.5


def test_the_bound_on_products_sums_up_that_of_the_entries() -> None:
    found, rng = a_range("layer"), np.random.default_rng(8)
    bound = ComputedNorm.of(found, BF16)
    for _ in range(50):
        delta = rng.normal(size=D)
        x = round_to(rng.normal(size=D) + 3.0, BF16)
        off = abs(delta @ (computed(found, x, BF16) - real(found, x)))
        assert off <= bound.of_products(found, delta)


def test_the_widest_rows_that_a_bound_covers_are_told() -> None:
    for kind, widest in (("layer", 123_355), ("rms", 8_388_603)):
        for d, covered in ((widest, True), (widest + 1, False)):
            wide = NormRange(kind, np.broadcast_to(1.0, d), None, 1e-5)  # type: ignore[arg-type]
            assert ComputedNorm.covers(wide) is covered
    with pytest.raises(ValueError, match="8388604"):
        ComputedNorm.of(wide, F32)
