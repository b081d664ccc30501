"""The job of ``gap``, on small checkpoints of several families."""

import json
from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_llama, write_matrix, write_tensors
from isologit.claims import BOUND, EXACT
from isologit.demo import checkpoint_path
from isologit.errors import TokenIdError, UnclearHeadError
from isologit.near_twins import near_twins, near_twins_of
from isologit.numerics.formats import F32
from isologit.subject import Settings, open_subject

V, D = 40, 12


def rows(seed: int = 0) -> np.ndarray:
    """Return rows of chance: 30 to 35 are one row, 36 to 38 close to it, 39 close to 0."""
    values = np.random.default_rng(seed).normal(size=(V, D))
    values[30:36] = values[30]
    for n in range(36, 39):
        values[n] = values[30]
        values[n, n - 36] += 2.0**-6
    values[39] = values[0]
    values[39, 5] += 2.0**-6
    return values


def gpt2(directory: Path, *, beta: bool, values: np.ndarray | None = None) -> Path:
    rng = np.random.default_rng(1)
    tensors = {
        "transformer.wte.weight": rows() if values is None else values,
        "transformer.ln_f.weight": np.full(D, 2.0),
    }
    if beta:
        tensors["transformer.ln_f.bias"] = rng.normal(size=D)
    return write_tensors(
        directory,
        tensors,
        "f32",
        config={"model_type": "gpt2", "vocab_size": V, "n_embd": D, "tie_word_embeddings": True},
    )


def test_classes_hold_every_token_of_their_rows(tmp_path: Path) -> None:
    found = near_twins(str(write_llama(tmp_path, rows(), "f32")), within_nats=0.1)
    assert (found.distinct, found.complete) == (35, True)
    largest, second = found.classes
    assert largest.token_ids == list(range(30, 39))
    assert (largest.size, largest.distinct) == (9, 4)
    assert second.token_ids == [0, 39]
    # Two entries of 2^-6, each times √12: the widest is between two of 36, 37 and 38.
    assert largest.widest_nats == pytest.approx(np.sqrt(2 * D) * 2.0**-6)
    assert largest.widest_at_most_nats == largest.widest_nats
    assert {pair.a for pair in found.pairs} | {pair.b for pair in found.pairs} == {
        *(0, 30, 36, 37, 38, 39)
    }
    assert [each.gap_nats for each in found.pairs] == sorted(e.gap_nats for e in found.pairs)
    assert all(each.gap_nats < each.gap_nats_computed for each in found.pairs)
    assert {each.token: each.twin for each in found.nearest} == {
        0: 39,
        39: 0,
        30: 36,
        36: 30,
        37: 30,
        38: 30,
    }


def test_a_class_of_one_row_has_no_width(tmp_path: Path) -> None:
    found = near_twins(str(write_llama(tmp_path, rows(), "f32")), within_nats=0.0)
    (only,) = found.classes
    assert (only.token_ids, only.distinct, only.widest_nats) == (list(range(30, 36)), 1, 0.0)
    assert found.n_pairs == 0


def test_the_limit_is_of_pairs_listed_alone(tmp_path: Path) -> None:
    spec = str(write_llama(tmp_path, rows(), "f32"))
    few, every = (near_twins(spec, within_nats=5.0, limit=limit) for limit in (2, None))
    assert len(few.pairs) == 2
    assert few.pairs == every.pairs[:2]
    assert few.n_pairs == every.n_pairs == len(every.pairs)
    assert few.classes == every.classes
    assert [each.nats for each in few.n_within] == [0.001, 0.01, 0.1, 1.0]
    for each in few.n_within:
        assert each.pairs == sum(pair.gap_nats <= each.nats for pair in every.pairs)


def test_tokens_get_their_nearest_however_far(tmp_path: Path) -> None:
    spec = str(write_llama(tmp_path, rows(), "f32"))
    found = near_twins(spec, within_nats=0.0, token_ids=[32, 7])
    twin, far = found.tokens
    assert twin.row_class == list(range(30, 36))
    assert [pair.a for pair in twin.nearest] == [32] * 5
    assert [pair.b for pair in twin.nearest][:3] == [36, 37, 38]
    assert far.row_class == [7]
    w = rows().astype(np.float32).astype(np.float64)
    apart = np.sqrt(D) * np.linalg.norm(w - w[7], axis=1)
    apart[[7, *range(31, 36)]] = np.inf
    assert [pair.b for pair in far.nearest] == np.argsort(apart)[:5].tolist()
    assert [pair.gap_nats for pair in far.nearest] == pytest.approx(np.sort(apart)[:5].tolist())
    with pytest.raises(TokenIdError, match="outside the vocabulary"):
        near_twins(spec, token_ids=[V])


def test_layernorm_takes_off_what_all_entries_share(tmp_path: Path) -> None:
    values = rows()
    values[39] = np.float32(values[0]) + 3.0
    values = values.astype(np.float32)
    values[39] = np.round(values[0] * 256) / 256 + 3
    values[0] = np.round(values[0] * 256) / 256
    spec = gpt2(tmp_path / "plain", beta=False, values=values)
    found = near_twins(str(spec), within_nats=0.001)
    assert found.norm.kind == "layer"
    assert [each.token_ids for each in found.equal_for_all] == [[0, 39]]
    assert [each.token_ids for each in found.classes] == [list(range(30, 36)), [0, 39]]
    assert found.classes[1].widest_nats == 0
    assert (found.pairs[0].a, found.pairs[0].b, found.pairs[0].gap_nats) == (0, 39, 0.0)
    # With a β they are a constant apart.
    beta = near_twins(str(gpt2(tmp_path / "beta", beta=True, values=values)), token_ids=[0])
    assert beta.norm.beta
    assert beta.equal_for_all == []


def test_dimensions_that_gamma_kills_tell_no_tokens_apart(tmp_path: Path) -> None:
    values = rows()
    values[39] = values[0]
    values[39, 3] = 7.0
    gamma = np.ones(D)
    gamma[3] = 0
    spec = write_tensors(
        tmp_path,
        {"model.embed_tokens.weight": values, "model.norm.weight": gamma},
        "bf16",
        config={
            "model_type": "llama",
            "vocab_size": V,
            "hidden_size": D,
            "tie_word_embeddings": True,
        },
    )
    found = near_twins(str(spec), within_nats=0.0)
    (equal,) = found.equal_for_all
    assert (equal.size, equal.distinct, equal.token_ids) == (2, 2, [0, 39])
    assert found.claims["equal_for_all"] == EXACT


def test_where_pairs_are_too_many_it_says_at_least(tmp_path: Path) -> None:
    subject = open_subject(str(write_llama(tmp_path, rows(), "f32")), Settings())
    part = near_twins_of(subject, within_nats=30.0, most_entries=0)
    whole = near_twins_of(subject, within_nats=30.0)
    assert (part.complete, whole.complete) == (False, True)
    assert part.n_pairs <= whole.n_pairs
    assert part.claims["n_pairs"] == f"{BOUND}, from below"
    assert whole.claims["n_pairs"] == EXACT
    for some, every in zip(part.classes, whole.classes, strict=True):
        assert some.token_ids == every.token_ids
        assert some.widest_nats <= every.widest_nats <= some.widest_at_most_nats


def test_an_unknown_norm_is_refused_unless_one_is_assumed(tmp_path: Path) -> None:
    spec = str(write_matrix(tmp_path / "bare", rows()))
    with pytest.raises(UnclearHeadError, match="--norm rms or --norm layer assumes one") as error:
        near_twins(spec)
    assert "is not known" in str(error.value)
    found = near_twins(spec, assume="layer")
    assert (found.norm.kind, found.norm.assumed) == ("layer", True)
    assert any("a LayerNorm with γ = 1 is assumed" in note for note in found.notes)


def test_where_the_family_is_known_and_gamma_is_not_stored_it_is_1_and_said(
    tmp_path: Path,
) -> None:
    config = {"model_type": "llama", "vocab_size": V, "hidden_size": D, "tie_word_embeddings": True}
    spec = write_tensors(tmp_path / "a", {"model.embed_tokens.weight": rows()}, config=config)
    found = near_twins(str(spec))
    assert (found.norm.kind, found.norm.assumed) == ("rms", True)
    assert found.norm.why == "the family's norm is known, but norm.weight is not stored"
    assert found.pairs == near_twins(str(write_llama(tmp_path / "b", rows()))).pairs


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    gamma = np.ones(D)
    gamma[2] = np.nan
    spec = write_tensors(
        tmp_path,
        {"model.embed_tokens.weight": rows(), "model.norm.weight": gamma},
        config={
            "model_type": "llama",
            "vocab_size": V,
            "hidden_size": D,
            "tie_word_embeddings": True,
        },
    )
    with pytest.raises(UnclearHeadError, match="weights that are not finite"):
        near_twins(str(spec))


def test_rows_that_are_no_numbers_are_left_out_and_said(tmp_path: Path) -> None:
    values = rows()
    values[3, 4] = np.nan
    values[30, 1] = np.inf
    found = near_twins(str(write_llama(tmp_path, values, "f32")), token_ids=[3])
    assert "2 tokens with an infinity or a NaN left out: 3, 30" in found.notes
    assert all(not {3, 30} & set(each.token_ids) for each in found.classes)
    assert found.tokens[0].why == "its row has an infinity or a NaN"
    assert found.tokens[0].nearest == []


def test_a_softcap_is_said_to_leave_gaps_bounds(tmp_path: Path) -> None:
    spec = write_tensors(
        tmp_path,
        {"model.embed_tokens.weight": rows(), "model.norm.weight": np.zeros(D)},
        config={"model_type": "gemma2", "vocab_size": V, "hidden_size": D},
    )
    found = near_twins(str(spec))
    assert found.head.softcap == 30.0
    assert any("no longer attained" in note for note in found.notes)
    # γ is stored less 1 there.
    assert found.norm.convention == "1 + weight"
    assert found.classes[0].token_ids == list(range(30, 39))


def test_the_format_that_the_norm_is_computed_in_is_an_option(tmp_path: Path) -> None:
    spec = str(write_llama(tmp_path, rows()))
    coarse = near_twins(spec)
    fine = near_twins(spec, Settings(logit_format=F32))
    assert (coarse.norm.compute_dtype, fine.norm.compute_dtype) == ("bf16", "f32")
    for a, b in zip(coarse.pairs, fine.pairs, strict=True):
        assert a.gap_nats == b.gap_nats
        assert b.gap_nats_computed < a.gap_nats_computed
    (told,) = [line for line in fine.assumptions if "rounded to" in line]
    assert "rounded to f32" in told


def test_900_tokens_of_the_demo_are_never_a_ninth_of_a_nat_apart() -> None:
    found = near_twins(str(checkpoint_path()), within_nats=0.1)
    (only,) = found.classes
    assert (only.size, only.distinct) == (900, 54)
    assert 0.11 < only.widest_nats < 1 / 8.8
    # Padding is among them, and is shown as a tokenizer has it.
    assert found.texts["1"] == '"<|pad|>"'
    assert only.tokens is not None
    assert sum(only.tokens.mix.values()) == 900


def test_real_checkpoints_are_searched(shared: Path) -> None:
    llama = near_twins(str(shared / "checkpoints" / "llama2xs-hf-bf16"), within_nats=1.0)
    (only,) = llama.classes
    assert (only.size, only.distinct) == (257, 257)
    rwkv = near_twins(str(shared / "checkpoints" / "rwkv-4v0-660K-fp16"), within_nats=0.01)
    assert (rwkv.norm.kind, rwkv.norm.beta) == ("layer", True)
    assert rwkv.n_pairs == 38
    q8 = near_twins(str(shared / "checkpoints" / "llama2xs-Q8_0.gguf"), within_nats=1.0)
    assert q8.norm.kind == "rms"
    assert q8.n_pairs > 20_000


def test_every_figure_says_what_it_claims(tmp_path: Path) -> None:
    found = near_twins(str(write_llama(tmp_path, rows())))
    assert set(found.claims.values()) == {BOUND, EXACT}
    assert found.claims["pairs.gap_nats"] == BOUND
    assert json.loads(json.dumps(found.claims)) == found.claims
