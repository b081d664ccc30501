"""States: how they are made, checked, and whether a norm could output them."""

from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pytest

from isologit.checkpoint.head import FinalNorm
from isologit.equivalence.states import (
    centroid_state,
    file_state,
    looks_like_pre_norm,
    mean_state,
    reachability,
    spherical_state,
    token_id_list,
    token_state,
)
from isologit.errors import (
    DuplicateTokenError,
    EmptyClusterError,
    IsologitError,
    StateError,
    TokenIdError,
)
from isologit.numerics.arithmetic import Exact
from isologit.numerics.formats import BF16, F16, F32, Float64s, Format, round_to
from isologit.numerics.stored import Matrix, Vector

MATRIX = Matrix.of_values([[1.0, 2.0], [3.0, 6.0], [-1.0, 0.5]], BF16)


def norm(kind: str, gamma: Float64s | None = None, beta: Float64s | None = None) -> FinalNorm:
    return FinalNorm(
        kind=kind,  # type: ignore[arg-type]
        gamma=gamma,
        beta=beta,
        eps=1e-6,
        source="a test",
        convention="weight",
    )


def of(values: list[float]) -> Vector:
    return Vector.of_values(values, F32)


def test_a_centroid_is_the_mean_row_rounded_once() -> None:
    state = centroid_state(MATRIX, np.array([0, 1], dtype=np.int32), Exact())
    assert state.vector.values.tolist() == [2.0, 4.0]
    assert state.vector.format is BF16
    assert state.token_ids.tolist() == [0, 1]


def test_the_mean_state_leaves_out_rows_that_are_not_finite() -> None:
    matrix = Matrix.of_values([[1.0], [np.nan], [3.0]], F32)
    finite = np.array([True, False, True])
    assert mean_state(matrix, finite, Exact()).vector.values.tolist() == [2.0]
    none = np.array([False, False, False])
    assert np.isnan(mean_state(matrix, none, Exact()).vector.values).all()


def test_a_token_state_is_the_row_bit_for_bit() -> None:
    state = token_state(MATRIX, 2)
    assert state.vector.words.tolist() == MATRIX.words[2].tolist()
    assert state.sha256 == sha256(MATRIX.words[2].tobytes()).hexdigest()


def test_a_spherical_state_is_rounded_once_after_scaling() -> None:
    direction = np.array([0.6, 0.8])
    state = spherical_state(direction, 1.005, BF16)
    assert state.vector.values.tolist() == Vector.of_values(direction * 1.005, BF16).values.tolist()


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_distance_must_be_a_positive_number(distance: float) -> None:
    with pytest.raises(StateError, match="positive number"):
        spherical_state(np.array([1.0, 0.0]), distance, BF16)


def test_a_state_of_another_width_is_refused_with_both_widths() -> None:
    with pytest.raises(StateError, match=r"h\.npy: a state of 3 values; .* has 2"):
        file_state(np.zeros(3), 2, BF16, "h.npy")


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([], EmptyClusterError, "at least one"),
        ([0, 7], TokenIdError, r"token id 7 is outside .* 0 to 4"),
        ([-1], TokenIdError, "token id -1"),
        ([0.5], TokenIdError, "float64"),
        ([[1, 2]], TokenIdError, r"\(1, 2\)"),
        ([3, 1, 3], DuplicateTokenError, "token id 3 is given 2 times"),
    ],
)
def test_bad_ids_are_named(ids: npt.ArrayLike, error: type[IsologitError], words: str) -> None:
    with pytest.raises(error, match=words):
        token_id_list(ids, 5, "a list")


def test_good_ids_come_back_sorted() -> None:
    assert token_id_list([4, 0, 2], 5, "a list").tolist() == [0, 2, 4]


def reach(kind: str, h: list[float], **weights: Float64s) -> tuple[object, object]:
    state = file_state(np.array(h), len(h), F32, "a test")
    found = reachability(state, norm(kind, **weights))
    return found.reachable, found.norm_ratio


def test_an_unknown_norm_gives_no_answer() -> None:
    assert reach("unknown", [1.0, 1.0]) == (None, None)
    assert reach("none", [1.0, 1.0]) == (None, None)


def test_an_rms_norm_outputs_only_vectors_shorter_than_the_root_of_d() -> None:
    assert reach("rms", [0.6, 0.8, 0.0, 0.0]) == (True, pytest.approx(0.5))
    assert reach("rms", [3.0, 0.0, 0.0, 0.0]) == (False, pytest.approx(1.5))
    # What a norm computes may lie a few roundings outside of what it could in real arithmetic.
    assert reach("rms", [2.0, 0.0, 0.0, 0.0])[0] is True
    # In binary32: 4 for the mean square's, half of its 8; 5 for the root; 6 for what comes after.
    assert reach("rms", [2 * (1 + 14 * 2.0**-24), 0.0, 0.0, 0.0])[0] is True
    assert reach("rms", [2 * (1 + 16 * 2.0**-24), 0.0, 0.0, 0.0])[0] is False


def test_without_epsilon_an_rms_norm_outputs_one_length_alone() -> None:
    state = file_state(np.array([0.5, 0.5]), 2, F32, "a test")
    sphere = FinalNorm("rms", None, None, 0.0, "a test", "weight")
    assert reachability(state, sphere).reachable is False
    on_it = file_state(np.array([1.0, -1.0]), 2, F32, "a test")
    assert reachability(on_it, sphere).reachable is True


@pytest.mark.parametrize("dtype", [BF16, F16, F32])
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_what_a_norm_outputs_is_reachable_in_every_format(kind: str, dtype: Format) -> None:
    """Real outputs with the radius at 1, each step rounded to the format as a model does."""
    rng = np.random.default_rng(4)
    for _ in range(50):
        gamma, beta = round_to(rng.normal(2, 1, 64), dtype), round_to(rng.normal(0, 1, 64), dtype)
        x = rng.normal(0, 100, 64)
        x = x - x.mean() if kind == "layer" else x
        u = round_to(x / np.sqrt(np.mean(x * x)), dtype)
        h = round_to(round_to(gamma * u, dtype) + beta, dtype)
        state = file_state(h, 64, dtype, "a test")
        found = reachability(state, norm(kind, gamma, beta))
        assert found.reachable is True, found.why


def test_under_a_layer_norm_killed_dimensions_make_up_for_the_mean() -> None:
    gamma = np.array([1.0, 1.0, 1.0, 0.0])
    # Mean zero forces −3.3 on the fourth dimension: 3 · 1.1² + 3.3² = 14.52 > d.
    reachable, ratio = reach("layer", [1.1, 1.1, 1.1, 0.0], gamma=gamma)
    assert (reachable, ratio) == (False, pytest.approx(np.sqrt(14.52 / 4), rel=1e-6))
    assert reach("layer", [0.5, 0.5, 0.5, 0.0], gamma=gamma)[0] is True


def test_gamma_is_divided_out_and_beta_taken_off() -> None:
    gamma = np.array([10.0, 1.0])
    assert reach("rms", [5.0, 0.5], gamma=gamma) == (True, pytest.approx(0.5))
    assert reach("rms", [5.0, 0.5], gamma=gamma, beta=np.array([5.0, 0.0]))[1] == pytest.approx(
        0.5 / np.sqrt(2)
    )


def test_a_dimension_that_gamma_kills_must_hold_beta() -> None:
    gamma = np.array([0.0, 1.0])
    assert reach("rms", [0.1, 0.5], gamma=gamma)[0] is False
    assert reach("rms", [0.0, 0.5], gamma=gamma)[0] is True
    assert (
        reach("rms", [0.1, 0.5], gamma=gamma, beta=np.array([float(np.float32(0.1)), 0.0]))[0]
        is True
    )


def test_a_layer_norm_outputs_mean_zero_alone() -> None:
    assert reach("layer", [0.5, -0.5])[0] is True
    assert reach("layer", [0.5, 0.5])[0] is False
    # Mean zero up to the rounding of the stored state is mean zero.
    assert reach("layer", [0.1, 0.2, -0.3])[0] is True


def test_a_state_that_is_not_finite_is_not_reachable() -> None:
    assert reach("rms", [float("inf"), 0.0]) == (False, None)


def test_the_digest_is_of_the_stored_words() -> None:
    assert of([1.0]).words.tobytes() == b"\x00\x00\x80?"
    state = file_state(np.array([1.0]), 1, F32, "a test")
    assert state.sha256 == sha256(b"\x00\x00\x80?").hexdigest()


@pytest.mark.parametrize("stored", [BF16, F16])
def test_a_coarse_capture_is_reachable_whatever_the_format_of_the_matrix(stored: Format) -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        x = rng.normal(0, 1, 64)
        h = round_to(x / np.sqrt(np.mean(x * x)), stored)
        assert reach("rms", h.tolist())[0] is True


def test_a_mean_that_float32_could_not_take_off_is_reachable() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(30, 1, 768).astype(np.float32)
    centred = x - x.mean(dtype=np.float32)
    h = centred / np.sqrt(np.mean(centred * centred, dtype=np.float32))
    assert reach("layer", h.tolist())[0] is True
    assert reach("layer", (h * np.float32(0.9) + np.float32(0.1)).tolist())[0] is False


def test_what_gamma_kills_may_hold_beta_as_the_format_rounds_it() -> None:
    layer = norm("layer", np.array([0.0, 1.0, 1.0]), np.array([0.3, 0.0, 0.0]))
    for h, expected in (([0.3, 1.0, -1.0], True), ([0.3125, 1.0, -1.0], False)):
        state = file_state(np.array(h), 3, BF16, "a test")
        assert reachability(state, layer).reachable is expected


def pre_norm(h: Float64s, form: Format = F32, factor: float = 1.0, **weights: Float64s) -> bool:
    state = file_state(h, len(h), form, "a test")
    return looks_like_pre_norm(reachability(state, norm("rms", **weights)), factor)


def test_a_state_is_not_called_short_for_what_gamma_kills() -> None:
    gamma, h = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.0, 0.0])
    assert not pre_norm(h, gamma=gamma)
    assert pre_norm(h)
    assert pre_norm(6 * h, gamma=gamma)
    # LayerNorm's mean says what one killed entry is.
    one = np.array([0.5, 0.5, 0.5, 0.0])
    layer = norm("layer", np.array([1.0, 1.0, 1.0, 0.0]))
    assert not looks_like_pre_norm(reachability(file_state(one, 4, F32, "a test"), layer))
    assert looks_like_pre_norm(reachability(file_state(one / 2, 4, F32, "a test"), layer))


def test_a_state_is_not_called_long_or_short_for_what_its_format_lost() -> None:
    gamma = np.full(4, 2.0**-24)
    # Anything from 0.7 to 2.1 rounds to this.
    assert not pre_norm(np.full(4, 2.0**-24), F16, gamma=0.7 * gamma)
    assert not pre_norm(np.zeros(4), F16, gamma=gamma / 4)
    assert pre_norm(np.full(4, 2.0**-20), F16, gamma=gamma)


def test_what_the_model_multiplies_with_before_the_head_is_allowed_for() -> None:
    h = np.array([1.0, -1.0, 1.0, -1.0])
    assert not pre_norm(h / 9, factor=1 / 9)
    assert not pre_norm(h, factor=1 / 9)
    assert pre_norm(h / 9)
    assert pre_norm(h / 3, factor=1 / 9)
