"""Which tensor is W: tied or not, with and without a config, and when it is not clear."""

import numpy as np
import pytest

from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.errors import UnclearHeadError

from .conftest import Write
from .small_llama import EMBED, HEAD, NORM, SAME, D, V, head_of, llama, stored

# Tying


def test_a_tied_model_that_stores_both_with_the_same_bytes_says_so(write: Write) -> None:
    head = head_of(write, {EMBED: SAME, HEAD: SAME}, llama(tie_word_embeddings=True))
    assert (head.tensor, head.tied, head.warnings) == (EMBED, True, ())
    assert head.why == (
        "config.json says tie_word_embeddings: true, and lm_head.weight and "
        "model.embed_tokens.weight are stored with the same bytes"
    )


def test_a_tied_model_that_stores_two_matrices_warns_and_takes_the_embedding(write: Write) -> None:
    other = SAME.copy()
    other[2] += 1
    other[5, 1] += 1
    head = head_of(write, {EMBED: SAME, HEAD: other}, llama(tie_word_embeddings=True))
    assert (head.tensor, head.tied) == (EMBED, True)
    assert head.warnings == (
        "config.json says tie_word_embeddings: true, but lm_head.weight and "
        "model.embed_tokens.weight differ: 2 of 9 rows; model.embed_tokens.weight is used, as "
        "transformers 4 does (5 would use lm_head.weight: --tensor lm_head.weight)",
    )


def test_zeros_of_different_sign_are_different_bytes(write: Write) -> None:
    head = head_of(
        write,
        {EMBED: np.zeros((V, D)), HEAD: -np.zeros((V, D))},
        llama(tie_word_embeddings=True),
    )
    assert "differ: 9 of 9 rows" in head.warnings[0]


def test_a_tied_model_whose_matrices_differ_in_shape_is_not_tied(write: Write) -> None:
    tensors = {EMBED: (V + 1, D), HEAD: (V, D)}
    head = head_of(write, tensors, llama(tie_word_embeddings=True))
    assert (head.tensor, head.tied) == (HEAD, False)
    assert "differ: shapes [9, 4] and [10, 4]; lm_head.weight is used" in head.warnings[0]


def test_a_family_s_default_of_tied_gives_way_to_a_head_of_its_own(write: Write) -> None:
    tensors = {EMBED: (V, D), HEAD: (V, D), NORM: (D,)}
    head = head_of(write, tensors, llama(model_type="cohere"))
    assert (head.tensor, head.tied) == (HEAD, False)
    assert head.warnings == (
        "config.json does not say; cohere models are tied, but lm_head.weight and "
        "model.embed_tokens.weight differ: 9 of 9 rows; lm_head.weight is used",
    )


def test_a_tied_model_may_store_its_matrix_under_the_head_s_name(write: Write) -> None:
    tensors = {HEAD: (V, D), NORM: (D,)}
    for role in ("output", "input"):
        head = head_of(write, tensors, llama(tie_word_embeddings=True), role=role)
        assert (head.tensor, head.tied, head.role) == (HEAD, True, role)
        assert head.norm.source == NORM


def test_an_untied_model_that_stores_no_head_is_not_guessed_at(write: Write) -> None:
    checkpoint = stored(
        write,
        {EMBED: (V, D), NORM: (D,), "model.layers.0.mlp.up_proj.weight": (2 * D, D)},
        llama(tie_word_embeddings=False),
    )
    with pytest.raises(UnclearHeadError) as caught:
        find_head(checkpoint)
    assert str(caught.value) == (
        f"{checkpoint.spec} stores no output matrix, and config.json says tie_word_embeddings: "
        "false; its matrices are: model.embed_tokens.weight [9, 4]. Name one with --tensor."
    )


def test_one_shard_without_the_head_points_to_the_directory(write: Write) -> None:
    directory = write({EMBED: (V, D)}, llama(tie_word_embeddings=False))
    shard = directory / "model-00001-of-00002.safetensors"
    (directory / "model.safetensors").rename(shard)
    with pytest.raises(UnclearHeadError, match="one part of a model by its name: give the direct"):
        find_head(open_checkpoint(shard))


def test_a_silent_config_and_no_head_means_the_embedding_with_a_warning(write: Write) -> None:
    head = head_of(write, {EMBED: (V, D), NORM: (D,)}, llama())
    assert (head.tensor, head.tied) == (EMBED, True)
    assert head.warnings == (
        "config.json does not say; llama models are untied, and no output matrix is stored: "
        "model.embed_tokens.weight is used as if tied",
    )


@pytest.mark.parametrize(("inner", "tensor"), [(True, EMBED), (False, HEAD)])
def test_the_text_config_s_word_on_tying_is_enough(write: Write, inner: bool, tensor: str) -> None:
    config = {"model_type": "llava", "text_config": llama(tie_word_embeddings=inner)}
    head = head_of(write, {EMBED: SAME, HEAD: SAME}, config)
    assert (head.tensor, head.tied) == (tensor, inner)


def test_the_text_config_s_values_go_before_those_outside(write: Write) -> None:
    config = {"model_type": "gemma", "vocab_size": 99, "hidden_size": 7, "text_config": llama()}
    head = head_of(write, {EMBED: (V, D), HEAD: (V, D), NORM: (D,)}, config)
    assert (head.family, head.tensor, head.norm.convention) == ("llama", HEAD, "weight")


def test_levels_that_contradict_each_other_leave_it_to_the_tensors(write: Write) -> None:
    config = {
        "model_type": "llava",
        "tie_word_embeddings": True,
        "text_config": llama(tie_word_embeddings=False),
    }
    head = head_of(write, {EMBED: (V, D), HEAD: (V, D), NORM: (D,)}, config)
    assert (head.tensor, head.tied) == (HEAD, False)
    assert head.warnings == (
        "config.json says tie_word_embeddings both true and false, at different levels; the "
        "tensors decide",
    )
    assert head_of(write, {EMBED: SAME, HEAD: SAME}, config).tied is True


# No config


def test_without_a_config_one_obvious_name_is_the_head(write: Write) -> None:
    head = head_of(write, {EMBED: (V, D), HEAD: (V, D), NORM: (D,)})
    assert (head.tensor, head.tied, head.family) == (HEAD, False, None)
    assert head.why == (
        "there is no config.json, and lm_head.weight is stored with other bytes than "
        "model.embed_tokens.weight"
    )


def test_without_a_config_the_norm_is_unknown_and_says_why(write: Write) -> None:
    norm = head_of(write, {EMBED: (V, D), NORM: (D,)}).norm
    assert (norm.kind, norm.gamma, norm.convention) == ("unknown", None, "unknown")
    assert norm.source == "no config.json names the model's family"


def test_without_a_config_an_embedding_alone_may_be_the_head(write: Write) -> None:
    head = head_of(write, {EMBED: (V, D), "model.layers.0.mlp.weight": (V, D)})
    assert (head.tensor, head.tied) == (EMBED, None)
    assert head.why == (
        "there is no config.json; model.embed_tokens.weight is the only matrix named as one"
    )


def test_without_a_config_a_classifier_is_not_taken_for_the_head(write: Write) -> None:
    assert head_of(write, {EMBED: (V, D), "head.weight": (2, D)}).tensor == EMBED


def test_without_a_config_the_only_matrix_is_the_head(write: Write) -> None:
    head = head_of(write, {"anything": (V, D), "else": (3,)})
    assert (head.tensor, head.why) == ("anything", "anything is the only matrix")


def test_two_names_of_heads_are_both_listed(write: Write) -> None:
    checkpoint = stored(write, {HEAD: (V, D), "embed_out.weight": (V, D)})
    with pytest.raises(UnclearHeadError) as caught:
        find_head(checkpoint)
    assert str(caught.value) == (
        f"{checkpoint.spec} holds 2 matrices that could be the unembedding: embed_out.weight "
        "[9, 4], lm_head.weight [9, 4]. Name one with --tensor."
    )


def test_matrices_of_no_known_name_are_all_listed(write: Write) -> None:
    checkpoint = stored(write, {"a": (32, 4), "b": (32, 4), "c": (4, 4), "bias": (32,)})
    with pytest.raises(UnclearHeadError) as caught:
        find_head(checkpoint)
    assert str(caught.value) == (
        f"{checkpoint.spec} holds 3 matrices, none by a name of an unembedding: a [32, 4], "
        "b [32, 4], c [4, 4]. Name one with --tensor."
    )


def test_two_matrices_of_the_vocabulary_s_rows_are_the_candidates(write: Write) -> None:
    checkpoint = stored(
        write, {"a": (V, D), "b": (V, D), "c": (D, D)}, llama(tie_word_embeddings=False)
    )
    with pytest.raises(UnclearHeadError) as caught:
        find_head(checkpoint)
    assert str(caught.value) == (
        f"{checkpoint.spec} holds 2 matrices of 9 rows: a [9, 4], b [9, 4]. Name one with --tensor."
    )


def test_the_only_other_matrix_of_the_embedding_s_rows_is_the_head(write: Write) -> None:
    tensors = {EMBED: (V, D), "unembed": (V, D), "model.layers.0.mlp.weight": (V, D)}
    head = head_of(write, tensors, llama(tie_word_embeddings=False))
    assert (head.tensor, head.tied) == ("unembed", False)
    assert head.why == (
        "config.json says tie_word_embeddings: false, and unembed is the only other matrix of 9 "
        "rows"
    )


def test_a_file_without_matrices_says_so(write: Write) -> None:
    checkpoint = stored(write, {"a": (3,), "b": (2, 2, 2)})
    with pytest.raises(UnclearHeadError, match=r"holds 2 tensors and no matrix \[V, d\]\.$"):
        find_head(checkpoint)


def test_of_two_names_the_one_of_the_shorter_prefix_is_the_head(write: Write) -> None:
    tensors = {"aux.head.lm_head.weight": (V, D), HEAD: (V, D)}
    assert head_of(write, tensors, llama()).tensor == HEAD


def test_equally_near_names_are_listed_and_not_chosen_among(write: Write) -> None:
    checkpoint = stored(write, {"a.lm_head.weight": (V, D), "b.lm_head.weight": (V, D)}, llama())
    with pytest.raises(UnclearHeadError) as caught:
        find_head(checkpoint)
    assert str(caught.value) == (
        f"{checkpoint.spec} holds 2 tensors that could be lm_head.weight: a.lm_head.weight [9, 4], "
        "b.lm_head.weight [9, 4]. Name one with --tensor."
    )


# Heads of another width, and quantised ones


@pytest.mark.parametrize(
    ("embedding", "head"),
    [((V, D), (V, 2 * D)), ((V, D), (V // 2, 2 * D))],
    ids=["factorised", "slices of several devices"],
)
def test_a_head_of_other_columns_than_the_embedding_is_not_passed_over(
    write: Write, embedding: tuple[int, int], head: tuple[int, int]
) -> None:
    with pytest.raises(UnclearHeadError) as caught:
        head_of(write, {EMBED: embedding, HEAD: head, NORM: (2 * D,)}, None)
    assert "holds 2 matrices that could be the unembedding" in str(caught.value)
    assert EMBED in str(caught.value)
    assert HEAD in str(caught.value)


def test_a_classifier_is_no_head(write: Write) -> None:
    head = head_of(write, {EMBED: (V, D), "head.weight": (2, D)}, None)
    assert head.tensor == EMBED


@pytest.mark.parametrize(
    "parts", [("qweight", "qzeros", "scales"), ("weight_packed", "weight_scale")]
)
def test_a_quantised_head_is_called_one(write: Write, parts: tuple[str, ...]) -> None:
    tensors = {EMBED: (V, D)} | {f"lm_head.{part}": (D, 3) for part in parts}
    with pytest.raises(UnclearHeadError, match="in a quantised form that is not read: lm_head"):
        head_of(write, tensors, llama(tie_word_embeddings=False))
