"""The head of GGUF files, written by gguf's own writer: tying, norms, scales, softcaps, parts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from isologit.checkpoint.head import Head, find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.errors import ConfigError, MissingShardError, TensorShapeError, UnclearHeadError
from isologit.inspection import inspect
from isologit.numerics.formats import F16, F32

V, D = 40, 32
RNG = np.random.default_rng(0)
EMBED, HEAD = (RNG.normal(size=(V, D)).astype(np.float32) for _ in range(2))
GAMMA, BETA = (RNG.normal(size=D).astype(np.float32) for _ in range(2))
NORM = {"output_norm.weight": GAMMA}


def write(
    path: Path,
    tensors: Mapping[str, npt.NDArray[Any]],
    arch: str = "llama",
    *,
    rms: float | None = 1e-5,
    layer: float | None = None,
    tokens: int | None = None,
    extra: Mapping[str, float] | None = None,
) -> Path:
    """Write a GGUF file and return its path."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_embedding_length(D)
    if rms is not None:
        writer.add_layer_norm_rms_eps(rms)
    if layer is not None:
        writer.add_layer_norm_eps(layer)
    if tokens is not None:
        writer.add_token_list([f"t{n}" for n in range(tokens)])
    for key, value in (extra or {}).items():
        writer.add_float32(key, value)
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def head_of(path: Path, **options: Any) -> Head:
    return find_head(open_checkpoint(path), **options)


def test_a_file_without_an_output_matrix_is_tied(tmp_path: Path) -> None:
    head = head_of(write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}))
    assert (head.tensor, head.tied, head.family) == ("token_embd.weight", True, "llama")
    assert head.why == (
        "a GGUF file without output.weight is tied, and only token_embd.weight is stored"
    )
    assert head.norm.gamma is not None
    np.testing.assert_array_equal(head.norm.gamma, GAMMA)
    assert (head.norm.kind, head.norm.convention) == ("rms", "weight")
    assert head.norm.eps == pytest.approx(1e-5, rel=1e-7)


def test_a_file_with_an_output_matrix_is_untied(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf",
        {"token_embd.weight": EMBED, "output.weight": HEAD.astype(np.float16), **NORM},
    )
    head = head_of(path)
    assert (head.tensor, head.tied, head.matrix.format) == ("output.weight", False, F16)
    assert head.why == "a GGUF file with output.weight is untied, and output.weight is stored"
    embedding = head_of(path, role="input")
    assert (embedding.tensor, embedding.matrix.format) == ("token_embd.weight", F32)
    assert head_of(path, tensor="token_embd.weight").tensor == "token_embd.weight"


def test_a_gemma_s_1_plus_gamma_has_been_added_already(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf",
        {"token_embd.weight": EMBED, **NORM},
        "gemma2",
        extra={"gemma2.final_logit_softcapping": 30.0},
    )
    head = head_of(path)
    assert head.norm.gamma is not None
    np.testing.assert_array_equal(head.norm.gamma, GAMMA)
    assert head.softcap == 30.0


def test_a_layer_norm_is_told_by_its_epsilon(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf",
        {"token_embd.weight": EMBED, **NORM, "output_norm.bias": BETA, "output.bias": HEAD[:, 0]},
        "gpt2",
        rms=None,
        layer=1e-6,
    )
    head = head_of(path)
    assert head.norm.kind == "layer"
    assert head.norm.eps == pytest.approx(1e-6, rel=1e-6)
    assert head.norm.beta is not None
    assert head.bias is not None
    np.testing.assert_array_equal(head.norm.beta, BETA)
    np.testing.assert_array_equal(head.bias.values, HEAD[:, 0])


@pytest.mark.parametrize(
    ("rms", "layer", "said"),
    [
        (1e-5, 1e-5, "the header gives the ε of an RMSNorm and of a LayerNorm"),
        (None, None, "the header gives no norm's ε"),
    ],
)
def test_a_norm_of_no_or_two_kinds_is_unknown(
    tmp_path: Path, rms: float | None, layer: float | None, said: str
) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, rms=rms, layer=layer)
    norm = head_of(path).norm
    assert (norm.kind, norm.gamma) == ("unknown", None)
    assert norm.source == said


def test_a_norm_without_parameters_is_one_of_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED}, "olmo", rms=None, layer=1e-5)
    norm = head_of(path).norm
    assert norm.convention == "no parameters"
    assert norm.gamma is not None
    assert set(norm.gamma.tolist()) == {1.0}


@pytest.mark.parametrize(
    ("arch", "multiply", "divisor"),
    [("command-r", 0.0625, None), ("cohere2", 0.0625, None), ("granite", 16.0, 0.0625)],
)
def test_a_logit_scale_multiplies_or_divides_by_architecture(
    tmp_path: Path, arch: str, multiply: float, divisor: float | None
) -> None:
    path = write(
        tmp_path / "m.gguf",
        {"token_embd.weight": EMBED, **NORM},
        arch,
        extra={f"{arch}.logit_scale": 0.0625},
    )
    scale = head_of(path).scale
    assert scale is not None
    assert (scale.multiply, scale.divisor) == (multiply, divisor)
    assert scale.source == f"{arch}.logit_scale"


def test_a_logit_scale_of_an_unknown_architecture_is_pointed_out(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf",
        {"token_embd.weight": EMBED, **NORM},
        extra={"llama.logit_scale": 0.5},
    )
    head = head_of(path)
    assert head.scale is None
    assert head.warnings == (
        "the header has llama.logit_scale, and what llama does with it is not known here: logits "
        "are taken without it",
    )


@pytest.mark.parametrize("value", [0.0, float("inf"), float("nan")])
def test_a_logit_scale_that_is_no_scale_is_refused(tmp_path: Path, value: float) -> None:
    path = write(
        tmp_path / "m.gguf",
        {"token_embd.weight": EMBED, **NORM},
        "granite",
        extra={"granite.logit_scale": value},
    )
    with pytest.raises(ConfigError, match=r"granite\.logit_scale is .*; expected a number"):
        head_of(path)


def test_rows_beyond_the_tokenizer_are_pointed_out(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, tokens=V - 3)
    assert head_of(path).warnings == (
        "token_embd.weight has 40 rows and the GGUF header a vocab_size of 37: the last 3 have no "
        "token by it",
    )


def test_the_header_s_own_tokenizer_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, tokens=V)
    found = inspect(str(path)).tokenizer
    assert found is not None
    assert found.tokens == V
    assert inspect(str(write(tmp_path / "n.gguf", {"token_embd.weight": EMBED}))).tokenizer is None


def test_a_matrix_of_fewer_rows_than_tokens_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, tokens=V + 1)
    with pytest.raises(TensorShapeError, match="expected at least 41 rows, the vocab_size in the"):
        head_of(path)


def test_a_file_without_either_matrix_lists_what_it_has(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"blk.0.attn_q.weight": EMBED, "v.patch.weight": HEAD})
    with pytest.raises(UnclearHeadError, match=r"v\.patch\.weight \[40, 32\]"):
        head_of(path)


def test_all_parts_of_a_split_model_are_opened(tmp_path: Path) -> None:
    first = write(tmp_path / "m-00001-of-00002.gguf", {"token_embd.weight": EMBED})
    second = write(tmp_path / "m-00002-of-00002.gguf", {"output.weight": HEAD, **NORM})
    for spec in (first, second, tmp_path):
        head = head_of(spec)
        assert (head.tensor, head.tied) == ("output.weight", False)
        assert head.norm.kind == "rms"
    first.unlink()
    with pytest.raises(MissingShardError, match=r"1 is not there: m-00001-of-00002\.gguf"):
        open_checkpoint(second)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.vocab_size", [1, 2, 3]),
        ("llama.vocab_size", "many"),
        ("llama.embedding_length", -1.5),
        ("llama.attention.layer_norm_rms_epsilon", "small"),
        ("granite.logit_scale", "\x1b[31mred"),
        ("granite.logit_scale", [[1.5] * 9] * 999),
        ("granite.logit_scale", 1e-320),
        ("granite.final_logit_softcapping", [1.0]),
    ],
)
def test_metadata_of_another_type_are_refused_on_one_line(
    tmp_path: Path, key: str, value: Any
) -> None:
    arch = key.partition(".")[0]
    checkpoint = replace(
        open_checkpoint(write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, arch)),
        gguf={"general.architecture": arch, f"{arch}.attention.layer_norm_rms_epsilon": 1e-5}
        | {key: np.array(value) if isinstance(value, list) and len(value) == 3 else value},
    )
    with pytest.raises(ConfigError) as caught:
        find_head(checkpoint)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert "m.gguf" in str(caught.value)


@pytest.mark.parametrize("tokens", ["t" * 70, 7, [1, 2]])
def test_tokens_that_are_no_list_of_strings_are_no_tokenizer(tmp_path: Path, tokens: Any) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM})
    checkpoint = open_checkpoint(path)
    assert checkpoint.gguf is not None
    odd = replace(checkpoint, gguf={**checkpoint.gguf, "tokenizer.ggml.tokens": tokens})
    assert find_head(odd).warnings == ()


def test_an_integer_scales_too(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(
        write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, "granite")
    )
    assert checkpoint.gguf is not None
    whole = replace(checkpoint, gguf={**checkpoint.gguf, "granite.logit_scale": 8})
    scale = find_head(whole).scale
    assert scale is not None
    assert scale.multiply == 0.125


@pytest.mark.parametrize(("arch", "cap"), [("gemma2", 30.0), ("gemma3", None), ("llama", None)])
def test_a_cap_that_is_in_the_code_needs_no_key(
    tmp_path: Path, arch: str, cap: float | None
) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, arch)
    assert head_of(path).softcap == cap


def test_a_scale_that_is_in_the_code_is_pointed_out(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, "minicpm3")
    assert head_of(path).warnings == (
        "minicpm3 scales logits, and the header does not say by how much: they are taken without "
        "it",
    )


def test_the_vocabulary_s_own_key_goes_before_the_tokens(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": EMBED, **NORM}, tokens=V)
    checkpoint = open_checkpoint(path)
    assert checkpoint.gguf is not None
    fewer = replace(checkpoint, gguf={**checkpoint.gguf, "llama.vocab_size": V - 1})
    assert "a vocab_size of 39: the last 1 have no token" in find_head(fewer).warnings[0]
