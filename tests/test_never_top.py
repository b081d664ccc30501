"""The job of never-top: documents, and evidence that can be checked again."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from isologit.demo import checkpoint_path
from isologit.equivalence.argmax import Status
from isologit.equivalence.hull_certificate import Proof
from isologit.errors import ConfigError, TokenIdError
from isologit.never_top import answered, asked, never_top, proved, ranges, witness_states
from isologit.never_top_findings import CertificateFacts, LevelFacts, NeverTopFindings
from isologit.subject import Settings, open_subject

SQUARE = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0], [0.5, 0.25], [1, 0], [0.5, 0.5]])


def test_each_token_has_one_status_and_never_has_evidence(tmp_path: Path) -> None:
    spec = str(write_matrix(tmp_path, SQUARE))
    found = never_top(spec)
    assert found.n_won == 4
    assert [(each.token, each.by) for each in found.shadowed] == [(6, 0)]
    assert [each.token for each in found.interior] == [4, 5]
    assert [each.token for each in found.boundary] == [7]
    assert found.undecided == ""
    assert found.search.ended
    assert found.n_asked == len(SQUARE)
    question = asked(open_subject(spec, Settings()), "all")
    for each in found.interior:
        assert proved(question, each.token, each.certificate) is Proof.NEVER
    for each in found.boundary:
        assert proved(question, each.token, each.certificate) is Proof.NEVER_ALONE


def test_evidence_survives_its_json_and_not_an_altered_weight(tmp_path: Path) -> None:
    spec = str(write_matrix(tmp_path, SQUARE))
    text = msgspec.json.encode(never_top(spec))
    found = msgspec.json.decode(text, type=NeverTopFindings)
    question = asked(open_subject(spec, Settings()), "all")
    for each in (*found.interior, *found.boundary):
        assert proved(question, each.token, each.certificate) is not Proof.NOTHING
        for level in range(len(each.certificate.levels)):
            altered = msgspec.to_builtins(each.certificate)
            altered["levels"][level]["weights"][0] *= 1.0001
            facts = msgspec.convert(altered, type=CertificateFacts)
            assert proved(question, each.token, facts) is Proof.NOTHING


@pytest.mark.parametrize("levels", [0, 2])
def test_a_bound_of_other_than_one_level_proves_nothing(tmp_path: Path, levels: int) -> None:
    question = asked(open_subject(str(write_matrix(tmp_path, SQUARE)), Settings()), "reachable")
    half = LevelFacts(token_ids=[0], weights=[0.5])
    facts = CertificateFacts(kind="bound", levels=[half] * levels, excess=None, slack=1.0)
    assert proved(question, 4, facts) is Proof.NOTHING


def test_witnesses_win_as_they_are_written(tmp_path: Path) -> None:
    spec = str(write_llama(tmp_path, gaussian(60, 3)))
    question = asked(open_subject(spec, Settings()), "reachable")
    found = answered(question)
    states = witness_states(question)
    assert len(states.token_ids) == found.n_won > 10
    assert not states.inner
    rows = question.domain.matrix.rows(np.arange(60))
    logits = states.states.astype(np.float64) @ rows.T
    assert np.array_equal(logits.argmax(axis=1), states.token_ids)
    # Inside of the range of a norm with γ = 1.
    lengths = np.linalg.norm(states.states, axis=1)
    assert (lengths < np.sqrt(3)).all()
    assert (lengths > 0.1).all()


def test_without_time_only_the_shadowed_are_known(tmp_path: Path) -> None:
    found = never_top(str(write_matrix(tmp_path, SQUARE)), time_limit=0)
    assert (found.n_shadowed, found.n_undecided, found.n_won) == (1, 7, 0)
    assert found.undecided == "0-5,7"
    assert not found.search.ended
    assert any("7 tokens not decided" in note for note in found.notes)


def test_counts_are_of_the_tokens_asked_about(tmp_path: Path) -> None:
    found = never_top(str(write_matrix(tmp_path, SQUARE)), tokens=[0, 4, 6])
    assert (found.n_asked, found.n_won, found.n_shadowed, found.n_interior) == (3, 1, 1, 1)
    with pytest.raises(TokenIdError, match="outside"):
        never_top(str(write_matrix(tmp_path / "b", SQUARE)), tokens=[99])


def test_ranges_are_what_the_command_line_takes() -> None:
    assert ranges(np.array([], dtype=np.int64)) == ""
    assert ranges(np.array([0, 1, 2, 5, 7, 8])) == "0-2,5,7-8"


def test_a_layer_norms_beta_can_keep_a_token_from_the_top(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(20, 4)) * 0.1
    beta = np.array([8.0, -8.0, 4.0, -1.0])
    config = {"model_type": "gpt2", "vocab_size": 20, "n_embd": 4, "layer_norm_epsilon": 1e-5}
    tensors = {"wte.weight": matrix, "ln_f.weight": np.ones(4), "ln_f.bias": beta}
    spec = str(write_tensors(tmp_path, tensors, config=config))
    everywhere, reachable = never_top(spec), never_top(spec, domain="reachable")
    assert reachable.domain.shape == "ball"
    assert reachable.n_undecided == 0
    assert reachable.n_interior > everywhere.n_interior
    # At no reachable state is one of these on top.
    u = random.normal(size=(5000, 4))
    u -= u.mean(axis=1, keepdims=True)
    u *= 2 / np.linalg.norm(u, axis=1, keepdims=True)
    rows = open_subject(spec, Settings()).head.matrix.rows(np.arange(20))
    tops = set(((u + beta) @ rows.T).argmax(axis=1).tolist())
    assert tops.isdisjoint(each.token for each in reachable.interior)


def test_a_head_that_multiplies_by_a_negative_number_is_refused(tmp_path: Path) -> None:
    config = {"model_type": "cohere", "logit_scale": -0.5, "hidden_size": 2, "vocab_size": 8}
    tensors = {"model.embed_tokens.weight": SQUARE, "model.norm.weight": np.ones(2)}
    with pytest.raises(ConfigError, match="lowest product"):
        never_top(str(write_tensors(tmp_path, tensors, config=config)))


def test_small_real_models_are_decided_whole(shared: Path) -> None:
    model = str(shared / "checkpoints" / "rwkv-4v0-660K-fp16")
    everywhere, reachable = never_top(model), never_top(model, domain="reachable")
    assert (everywhere.n_won, everywhere.n_undecided) == (256, 0)
    assert (reachable.n_won, reachable.n_interior, reachable.n_undecided) == (149, 107, 0)


def test_rows_of_the_demo_model_that_are_means_of_two_others_are_found() -> None:
    found = never_top(str(checkpoint_path()), tokens=[2, 3, 4, 137], time_limit=float("inf"))
    assert [each.token for each in found.boundary] == [2, 3, 4]
    assert [(each.token, each.by) for each in found.shadowed] == [(137, 2)]
    question = asked(open_subject(str(checkpoint_path()), Settings()), "all")
    assert len(question.standing.ids(Status.SHADOWED)) == 846
