"""States put where the final norm could output them: same direction, ratio 1, and said so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import (
    cluster_tensors,
    gaussian,
    write_cluster,
    write_llama,
    write_matrix,
    write_tensors,
)
from cli.command import isologit
from isologit.errors import StateError
from isologit.numerics.formats import BF16, round_to

V, D = 60, 12


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model with an RMSNorm, or with a LayerNorm that adds something."""
    rng = np.random.default_rng(2)
    gamma, beta = rng.normal(1.5, 0.5, D), rng.normal(0, 0.4, D)
    if request.param == "llama":
        names, config = ("model.embed_tokens", "model.norm"), {"rms_norm_eps": 1e-5}
    else:
        names, config = ("wte", "ln_f"), {"layer_norm_epsilon": 1e-5}
    tensors = {f"{names[0]}.weight": gaussian(V, D, seed=3), f"{names[1]}.weight": gamma}
    if request.param == "gpt2":
        tensors[f"{names[1]}.bias"] = beta
    config |= {"model_type": request.param, "tie_word_embeddings": True}
    return write_tensors(tmp_path / "m", tensors, config=config)


def printed(*arguments: object) -> Any:
    ran = isologit(*arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    return ran.json


def arguments(kind: str, folder: Path) -> list[object]:
    if kind == "members":
        return ["--members", write_cluster(folder / "c.safetensors", cluster_tensors([3, 4], V))]
    if kind == "state":
        np.save(folder / "h.npy", 0.01 * gaussian(1, D, seed=8)[0])
        return ["--state", folder / "h.npy"]
    return ["--token", 5] if kind == "token" else ["--pole", "10,20"]


@pytest.mark.parametrize("kind", ["token", "members", "state", "pole"])
def test_every_kind_of_state_is_rescaled_and_says_from_what(
    model: Path, tmp_path: Path, kind: str
) -> None:
    given = arguments(kind, tmp_path)
    plain = printed("classes", model, *given)
    here = printed("classes", model, *given, "--reachable")
    before, after = plain["state"], here["state"]
    assert before["rescaled_from"] is None
    assert after["rescaled_from"] == before["norm_ratio"]
    assert (after["kind"], after["token_ids"]) == (before["kind"], before["token_ids"])
    assert after["reachable"] is True
    assert after["norm_ratio"] == pytest.approx(1, abs=1e-2)
    assert after["sha256"] != before["sha256"]
    # Whose centroid it was stays what it was; and no row has the rescaled state's own logit.
    assert here["centroid"] == plain["centroid"]
    assert here["own_class"] is None
    said = f"rescaled to where the final norm can output it (from {before['norm_ratio']:.4g})"
    assert said in isologit("classes", model, *given, "--reachable").out
    assert not [note for note in here["notes"] if "pre-norm" in note]


def test_under_an_rms_norm_without_weights_it_is_the_state_made_longer(tmp_path: Path) -> None:
    values = gaussian(V, D, seed=3)
    model = write_llama(tmp_path / "m", values)
    np.save(tmp_path / "h.npy", values[7])
    here = printed("classes", model, "--token", 7, "--reachable", "--dtype", "f32")
    row = round_to(values[7], BF16)
    expected = round_to(row * np.sqrt(D) / np.linalg.norm(row), BF16)
    np.save(tmp_path / "h.npy", expected)
    same = printed("classes", model, "--state", tmp_path / "h.npy", "--dtype", "f32")
    assert here["state"]["sha256"] == same["state"]["sha256"]
    assert here["logits"] == same["logits"]


def test_the_audit_takes_its_logits_there_and_its_cosines_where_they_were(model: Path) -> None:
    plain, here = printed("audit", model), printed("audit", model, "--reachable")
    assert here["state"]["rescaled_from"] == plain["state"]["norm_ratio"]
    assert here["state"]["norm_ratio"] == pytest.approx(1, abs=1e-2)
    assert (here["cosines"], here["centroid"]) == (plain["cosines"], plain["centroid"])
    assert here["logits"] != plain["logits"]


def test_without_a_known_norm_gamma_is_taken_for_one_and_that_is_said(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", gaussian(V, D, seed=3))
    here = printed("classes", model, "--token", 3, "--reachable")
    assert here["state"]["norm"] == pytest.approx(np.sqrt(D), rel=1e-2)
    assert here["state"]["rescaled_from"] == "nan"
    said = "the final norm is not known: the state was rescaled for an RMSNorm with γ = 1"
    assert said in here["notes"]


def test_a_state_that_is_not_finite_is_refused(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "h.npy", np.full(D, np.inf))
    ran = isologit("classes", model, "--state", tmp_path / "h.npy", "--reachable")
    assert ran.code == StateError.exit_code
    assert "Leave out --reachable" in ran.err


@pytest.mark.parametrize(
    ("factor", "warned"), [(1.0, False), (0.9, False), (0.7, True), (1.4, True)]
)
def test_a_captured_state_of_no_norm_s_length_is_warned_of(
    model: Path, tmp_path: Path, factor: float, warned: bool
) -> None:
    at = arguments("token", tmp_path)
    rim = printed("classes", model, *at, "--reachable")["state"]
    assert rim["reachable"]
    from isologit.equivalence.norm_range import NormRange
    from isologit.subject import Settings, open_subject

    head = open_subject(str(model), Settings()).head
    norm_range = NormRange.of(head.norm, D)
    assert norm_range is not None
    u = norm_range.inner(norm_range.rescaled(head.matrix.rows([5])[0]))
    beta = 0 if norm_range.beta is None else norm_range.beta
    np.save(tmp_path / "h.npy", factor * u * norm_range.gamma + beta)
    notes = printed("classes", model, "--state", tmp_path / "h.npy")["notes"]
    assert any("the state looks like a pre-norm state" in note for note in notes) == warned


def test_what_the_head_of_a_model_that_scales_the_state_gets_is_not_called_pre_norm(
    tmp_path: Path,
) -> None:
    """MiniCPM divides the norm's output by hidden_size / dim_model_base before the head."""
    tensors = {"model.embed_tokens.weight": gaussian(V, D), "model.norm.weight": np.ones(D)}
    config = {"model_type": "minicpm", "tie_word_embeddings": True, "rms_norm_eps": 1e-5}
    config |= {"hidden_size": D, "dim_model_base": 2}
    model = write_tensors(tmp_path / "m", tensors, config=config)
    rim = np.sqrt(D) * np.linalg.qr(gaussian(D, D, seed=1))[0][:3]
    for factor, warned in ((1 / 6, False), (1.0, False), (1 / 3, True)):
        for states in (factor * rim, factor * rim[0]):
            np.save(tmp_path / "h.npy", states)
            notes = printed("classes", model, "--state", tmp_path / "h.npy")["notes"]
            assert any("pre-norm" in note for note in notes) == warned
            assert any("multiplies the norm's output" in note for note in notes)
    # Random ones are what the norm outputs; the head gets them scaled and rounded once more.
    notes = printed("classes", model, "--random", 3)["notes"]
    assert any("the random states are outputs of the norm: the model scales" in n for n in notes)


def test_random_states_are_never_called_pre_norm(tmp_path: Path) -> None:
    gamma = np.ones(D)
    gamma[1:] = 0
    tensors = {"model.embed_tokens.weight": gaussian(V, D), "model.norm.weight": gamma}
    config = {"model_type": "llama", "tie_word_embeddings": True, "rms_norm_eps": 1e-5}
    found = printed("classes", write_tensors(tmp_path / "m", tensors, config=config), "--random", 9)
    assert found["states"]["pre_norm"] == found["states"]["unreachable"] == 0
