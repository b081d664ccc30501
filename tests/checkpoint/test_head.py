"""W once it is chosen: --tensor, roles, shapes, bias, γ, and configs that cannot be."""

from typing import Any

import numpy as np
import pytest

from isologit.checkpoint.head import Role, find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.errors import (
    ConfigError,
    TensorNotFoundError,
    TensorShapeError,
    UnclearHeadError,
    UnsupportedFormatError,
)
from isologit.numerics.formats import F16, F32

from .conftest import Write
from .small_llama import EMBED, HEAD, NORM, SAME, D, V, head_of, llama, stored

# --tensor


def test_a_named_tensor_that_is_the_head_keeps_all_that_is_known(write: Write) -> None:
    tensors = {EMBED: (V, D), HEAD: (V, D), NORM: (D,)}
    config = llama(tie_word_embeddings=False)
    plain, named = (head_of(write, tensors, config, tensor=t) for t in (None, HEAD))
    assert named.why == f"named by --tensor; {plain.why}"
    assert (named.tied, named.norm.source, named.warnings) == (False, NORM, ())


def test_a_named_tensor_that_is_not_the_head_is_used_with_a_warning(write: Write) -> None:
    tensors = {EMBED: (V, D), HEAD: (V, D), NORM: (D,)}
    head = head_of(write, tensors, llama(tie_word_embeddings=False), tensor=EMBED)
    assert (head.tensor, head.tied, head.why) == (EMBED, None, "named by --tensor")
    assert head.warnings == (
        "without --tensor it would be lm_head.weight: config.json says tie_word_embeddings: "
        "false, and lm_head.weight is stored",
    )


def test_a_named_tensor_settles_an_unclear_head(write: Write) -> None:
    head = head_of(write, {"a": (V, D), "b": (V, D)}, tensor="b")
    assert (head.tensor, head.tied, head.why, head.warnings) == ("b", None, "named by --tensor", ())


def test_a_named_tensor_that_is_not_there_is_an_error_before_any_doubt(write: Write) -> None:
    with pytest.raises(TensorNotFoundError, match=r"has no tensor x; its matrices are: a \[9, 4\]"):
        head_of(write, {"a": (V, D), "b": (V, D)}, tensor="x")


def test_a_named_tensor_may_contradict_the_config(write: Write) -> None:
    tensors = {EMBED: (V, D), NORM: (D,), "other": (3, 2)}
    head = head_of(write, tensors, llama(tie_word_embeddings=True), tensor="other")
    assert "other is [3, 2]; expected at least 9 rows" in head.warnings[-1]
    assert head.norm.kind == "unknown"
    assert "model.norm.weight is [4]; expected [2]" in head.norm.source


def test_a_named_tensor_must_be_a_matrix(write: Write) -> None:
    with pytest.raises(TensorShapeError, match=r"model.norm.weight is \[4\]; expected a matrix"):
        head_of(write, {EMBED: (V, D), NORM: (D,)}, llama(), tensor=NORM)


def test_the_bias_beside_a_named_tensor_belongs_to_it(write: Write) -> None:
    head = head_of(write, {"x.weight": (V, D), "x.bias": (V,), "y": (V, D)}, tensor="x.weight")
    assert head.bias_tensor == "x.bias"


def test_the_family_s_bias_does_not_belong_to_another_tensor(write: Write) -> None:
    tensors = {HEAD: (V, D), "lm_head.bias": (V,), NORM: (D,), "other.weight": (3, D)}
    head = head_of(write, tensors, llama(model_type="phi"), tensor="other.weight")
    assert (head.tensor, head.bias) == ("other.weight", None)


# Roles


@pytest.mark.parametrize(
    ("role", "tensor", "norm"), [("output", HEAD, "rms"), ("input", EMBED, "unknown")]
)
def test_an_untied_model_has_two_matrices(write: Write, role: Role, tensor: str, norm: str) -> None:
    tensors = {EMBED: (V, D), HEAD: (V, D), NORM: (D,), "lm_head.bias": (V,)}
    head = head_of(write, tensors, llama(tie_word_embeddings=False), role=role)
    assert (head.tensor, head.role, head.tied, head.norm.kind) == (tensor, role, False, norm)
    assert (head.bias is None) == (role == "input")


def test_the_input_embedding_of_a_tied_model_has_the_head_s_norm_and_scale(write: Write) -> None:
    tensors = {EMBED: (V, D), NORM: (D,)}
    head = head_of(write, tensors, llama(model_type="cohere"), role="input")
    assert (head.tied, head.norm.source) == (True, NORM)
    assert head.scale is not None


def test_an_input_embedding_is_found_where_the_head_is_unclear(write: Write) -> None:
    head = head_of(write, {EMBED: (V, D)}, llama(tie_word_embeddings=False), role="input")
    assert (head.tensor, head.tied) == (EMBED, None)


def test_the_only_matrix_of_a_file_has_either_role(write: Write) -> None:
    head = head_of(write, {"W": (V, D)}, role="input")
    assert (head.tensor, head.role, head.norm.kind) == ("W", "input", "unknown")


def test_an_untied_model_without_an_input_embedding_says_so(write: Write) -> None:
    with pytest.raises(UnclearHeadError, match="no tensor with the name of an input embedding"):
        head_of(write, {HEAD: (V, D)}, llama(tie_word_embeddings=False), role="input")


# Shapes


def test_a_transposed_matrix_is_refused_with_the_reason(write: Write) -> None:
    checkpoint = stored(write, {HEAD: (D, V)}, llama())
    with pytest.raises(TensorShapeError) as caught:
        find_head(checkpoint)
    assert str(caught.value) == (
        f"{checkpoint.spec}: lm_head.weight is [4, 9], which is [d, V] by config.json (vocab_size "
        "9, hidden_size 4); expected [V, d]. Store it transposed, or name another with --tensor."
    )


def test_fewer_rows_than_tokens_is_refused(write: Write) -> None:
    with pytest.raises(TensorShapeError, match=r"is \[8, 4\]; expected at least 9 rows, the vocab"):
        head_of(write, {HEAD: (V - 1, D)}, llama())


def test_more_rows_than_tokens_is_padding_and_said(write: Write) -> None:
    head = head_of(write, {HEAD: (V + 3, D), NORM: (D,)}, llama(tie_word_embeddings=False))
    assert head.matrix.n_tokens == V + 3
    assert head.warnings == (
        "lm_head.weight has 12 rows and config.json a vocab_size of 9: the last 3 have no token "
        "by it",
    )


def test_other_columns_than_the_config_s_are_refused(write: Write) -> None:
    with pytest.raises(
        TensorShapeError, match=r"is \[9, 5\]; expected 4 columns, the hidden_size in config.json"
    ):
        head_of(write, {HEAD: (V, D + 1)}, llama())


def test_a_norm_of_another_size_is_refused(write: Write) -> None:
    with pytest.raises(
        TensorShapeError, match=r"model.norm.weight is \[5\]; expected \[4\], as W has 4 columns"
    ):
        head_of(write, {EMBED: (V, D), HEAD: (V, D), NORM: (D + 1,)}, llama())


def test_a_bias_of_another_size_is_refused(write: Write) -> None:
    with pytest.raises(
        TensorShapeError, match=r"lm_head.bias has 8 entries; expected 9, a row of lm_head.weight"
    ):
        head_of(write, {HEAD: (V, D), "lm_head.bias": (V - 1,)}, llama())


def test_a_head_that_is_no_matrix_is_refused(write: Write) -> None:
    with pytest.raises(TensorShapeError, match=r"lm_head.weight is \[9\]; expected a matrix"):
        head_of(write, {HEAD: (V,)}, llama())


def test_a_norm_that_is_not_stored_is_unknown(write: Write) -> None:
    norm = head_of(write, {HEAD: (V, D)}, llama()).norm
    assert (norm.kind, norm.source) == ("unknown", "norm.weight is not stored")


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("columns", [1, 2])
def test_the_smallest_matrices_are_matrices(write: Write, rows: int, columns: int) -> None:
    config = llama(vocab_size=rows, hidden_size=columns)
    head = head_of(write, {HEAD: (rows, columns), NORM: (columns,)}, config)
    assert head.matrix.words.shape == (rows, columns)
    assert head.norm.gamma is not None


@pytest.mark.parametrize("format_", [F16, F32], ids=lambda f: f.name)
def test_gamma_is_exact_in_every_format(write: Write, format_: Any) -> None:
    gamma = np.array([1.0, 2.0**-10, -0.5, 3.0])
    directory = write({HEAD: (V, D), NORM: gamma}, llama(), format_=format_)
    found = find_head(open_checkpoint(directory)).norm.gamma
    assert found is not None
    np.testing.assert_array_equal(found, gamma)


def test_one_plus_gamma_is_rounded_as_float32_adds(write: Write) -> None:
    # 1 + 2**-30 is 1 in float32, though not in binary64.
    gamma = np.array([2.0**-30, 2.0**-23, 0.5, -1.0])
    config = llama(model_type="gemma", hidden_size=4)
    found = head_of(write, {EMBED: (V, D), NORM: gamma}, config).norm.gamma
    assert found is not None
    np.testing.assert_array_equal(found, [1.0, 1 + 2.0**-23, 1.5, 0.0])


# Configs that say what cannot be


def test_a_scale_that_the_family_has_not_is_pointed_out_whatever_it_is(write: Write) -> None:
    config = llama(model_type="mpt", logit_scale="inv_sqrt_d_model")
    head = head_of(write, {"transformer.wte.weight": (V, D)}, config)
    assert head.scale is None
    assert "config.json has logit_scale, and what model_type mpt does with it" in head.warnings[0]


def test_a_scale_of_one_is_none(write: Write) -> None:
    config = llama(logits_scaling=1.0)
    assert head_of(write, {HEAD: (V, D), NORM: (D,)}, config).warnings == ()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("vocab_size", "9", "vocab_size is '9'; expected a positive integer"),
        ("vocab_size", 0, "vocab_size is 0; expected a positive integer"),
        ("vocab_size", True, "vocab_size is True; expected a positive integer"),
        ("hidden_size", -4, "hidden_size is -4; expected a positive integer"),
        ("hidden_size", 4.0, "hidden_size is 4.0; expected a positive integer"),
        ("tie_word_embeddings", "yes", "tie_word_embeddings is 'yes'; expected true or false"),
        ("rms_norm_eps", "1e-5", "rms_norm_eps is '1e-5'; expected a finite number"),
        ("rms_norm_eps", float("nan"), "rms_norm_eps is nan; expected a finite number"),
        ("rms_norm_eps", 10**400, "expected a finite number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_config_error(
    write: Write, key: str, value: Any, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        head_of(write, {HEAD: (V, D), EMBED: (V, D), NORM: (D,)}, llama(**{key: value}))
    assert expected in str(caught.value)
    assert "config.json: " in str(caught.value)


@pytest.mark.parametrize(
    ("model_type", "key", "value"),
    [
        ("granite", "logits_scaling", 0),
        ("cohere", "logit_scale", 0.0),
        ("gemma2", "final_logit_softcapping", 0.0),
        ("gemma2", "final_logit_softcapping", -30),
    ],
)
def test_a_scale_or_cap_that_leaves_no_logits_is_a_config_error(
    write: Write, model_type: str, key: str, value: float
) -> None:
    config = llama(model_type=model_type, tie_word_embeddings=True) | {key: value}
    with pytest.raises(ConfigError, match=key):
        head_of(write, {EMBED: (V, D), NORM: (D,)}, config)


def test_a_head_in_a_format_that_is_not_read_is_refused(write: Write) -> None:
    directory = write({HEAD: (V, D)}, llama())
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"BF16"', b'"I16" '))
    with pytest.raises(UnsupportedFormatError, match=r"head\.weight is stored as I16; BF16, F16"):
        find_head(open_checkpoint(directory))


def test_a_norm_in_a_format_that_is_not_read_is_unknown(write: Write) -> None:
    directory = write({HEAD: (V, D), NORM: (D,)}, llama())
    path = directory / "model.safetensors"
    raw = path.read_bytes()
    entry = raw.index(NORM.encode())
    path.write_bytes(raw[:entry] + raw[entry:].replace(b'"BF16"', b'"I16" ', 1))
    norm = find_head(open_checkpoint(directory)).norm
    assert norm.kind == "unknown"
    assert "model.norm.weight is stored as I16" in norm.source


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 0.0])
def test_rows_of_any_values_are_opened_as_they_are(write: Write, special: float) -> None:
    values = SAME.copy()
    values[3] = special
    head = head_of(write, {HEAD: values}, llama())
    np.testing.assert_array_equal(head.matrix.rows([3])[0], np.full(D, special))
