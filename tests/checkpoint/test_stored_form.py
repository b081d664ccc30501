"""Matrices stored as 8-bit floats with scales, as binary64 and in blocks: what they decode to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from isologit.checkpoint.head import find_head, locate_head
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.stored_form import BLOCKS, FLOAT8
from isologit.errors import TensorShapeError, UnsupportedFormatError
from isologit.numerics.codings import FLOAT8_TYPES
from isologit.numerics.exact import logits
from isologit.numerics.formats import BF16, F32
from isologit.numerics.gguf_blocks import BLOCK_SHAPES
from isologit.numerics.stored import Vector
from isologit.subject import Settings, open_subject

V, D = 300, 200
E4M3 = ml_dtypes.float8_e4m3fn
NAMES = {
    np.dtype(E4M3): "F8_E4M3",
    np.dtype(ml_dtypes.float8_e5m2): "F8_E5M2",
    np.dtype(ml_dtypes.float8_e8m0fnu): "F8_E8M0",
    np.dtype(ml_dtypes.bfloat16): "BF16",
    np.dtype(np.float32): "F32",
    np.dtype(np.float64): "F64",
    np.dtype(np.int8): "I8",
}


def write(folder: Path, tensors: Mapping[str, npt.NDArray[Any]], config: Any = None) -> Path:
    """Write a safetensors file by its specification: its numpy writer has no 8-bit floats."""
    header, data = {}, b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": [len(data), end],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def stored(kind: Any = E4M3) -> npt.NDArray[Any]:
    return np.random.default_rng(0).normal(size=(V, D)).astype(kind)


def scales(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).uniform(0.001, 0.1, shape).astype(np.float32)


def blocks(scale: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    return np.repeat(np.repeat(scale, rows, axis=0), columns, axis=1)[:V, :D]


def decoded(folder: Path, tensor: str = "lm_head.weight") -> npt.NDArray[np.float64]:
    matrix = open_checkpoint(folder).matrix(tensor)
    return matrix.rows(range(matrix.n_tokens))


def test_the_lists_of_what_is_decoded_agree() -> None:
    assert {name.lower() for name in BLOCKS} == set(BLOCK_SHAPES)
    assert {name.lower() for name in FLOAT8} == set(FLOAT8_TYPES)


@pytest.mark.parametrize("kind", [E4M3, ml_dtypes.float8_e5m2])
def test_8_bit_floats_without_a_scale_are_exact_in_bf16(tmp_path: Path, kind: Any) -> None:
    weights = stored(kind)
    head = find_head(open_checkpoint(write(tmp_path, {"lm_head.weight": weights})))
    assert (head.matrix.format, head.logit_format) == (BF16, BF16)
    np.testing.assert_array_equal(head.matrix.rows(range(V)), weights.astype(np.float64))
    assert f"stored as {NAMES[weights.dtype]} without a scale of its own" in " ".join(head.warnings)


@pytest.mark.parametrize("ending", ["_scale", "_scale_inv"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_scale_serves_all(tmp_path: Path, ending: str, shape: tuple[int, ...]) -> None:
    weights, scale = stored(), scales(*shape)
    write(tmp_path, {"lm_head.weight": weights, f"lm_head.weight{ending}": scale})
    expected = weights.astype(np.float32) * scale.reshape(())
    np.testing.assert_array_equal(decoded(tmp_path), expected.astype(np.float64))


@pytest.mark.parametrize("shape", [(V,), (V, 1)])
def test_each_row_has_a_scale(tmp_path: Path, shape: tuple[int, ...]) -> None:
    weights, scale = stored(), scales(*shape)
    write(tmp_path, {"lm_head.weight": weights, "lm_head.weight_scale": scale})
    expected = weights.astype(np.float32) * scale.reshape(V, 1)
    np.testing.assert_array_equal(decoded(tmp_path), expected.astype(np.float64))


@pytest.mark.parametrize(
    ("config", "block"),
    [
        (None, (128, 128)),
        ({"quantization_config": {"weight_block_size": [64, 32]}}, (64, 32)),
        ({"quantization_config": {"weight_block_size": [1, 128]}}, (1, 128)),
    ],
)
def test_each_block_has_a_scale(tmp_path: Path, config: Any, block: tuple[int, int]) -> None:
    weights, scale = stored(), scales(-(-V // block[0]), -(-D // block[1]))
    write(tmp_path, {"lm_head.weight": weights, "lm_head.weight_scale_inv": scale}, config)
    expected = weights.astype(np.float32) * blocks(scale, *block)
    np.testing.assert_array_equal(decoded(tmp_path), expected.astype(np.float64))


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, ml_dtypes.float8_e8m0fnu])
def test_scales_of_fewer_bits_are_read(tmp_path: Path, kind: Any) -> None:
    weights, scale = stored(), scales(3, 2).astype(kind)
    write(tmp_path, {"lm_head.weight": weights, "lm_head.weight_scale_inv": scale})
    expected = weights.astype(np.float32) * blocks(scale.astype(np.float32), 128, 128)
    np.testing.assert_array_equal(decoded(tmp_path), expected.astype(np.float64))


def test_a_scale_of_a_shape_that_serves_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"lm_head.weight": stored(), "lm_head.weight_scale": scales(7, 5)})
    with pytest.raises(TensorShapeError) as caught:
        locate_head(open_checkpoint(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}: lm_head.weight_scale is [7, 5]; expected one scale, one for each row of "
        "lm_head.weight [300, 200], or one for each of its blocks of [128, 128]"
    )


@pytest.mark.parametrize("name", ["lm_head.weight", "lm_head.weight_scale"])
def test_integers_are_no_weights_and_no_scales(tmp_path: Path, name: str) -> None:
    tensors = {"lm_head.weight": stored(), "lm_head.weight_scale": scales(V)}
    write(tmp_path, tensors | {name: np.ones((V, D) if name.endswith("weight") else V, np.int8)})
    with pytest.raises(UnsupportedFormatError, match=f"{name} is stored as I8; .* are read"):
        locate_head(open_checkpoint(tmp_path))


def test_logits_of_scaled_weights_are_in_the_format_that_the_config_names(tmp_path: Path) -> None:
    tensors = {"lm_head.weight": stored(), "lm_head.weight_scale": scales(V)}
    for key, name, expected in (("dtype", "bfloat16", BF16), ("torch_dtype", "float8_e4m3fn", F32)):
        folder = tmp_path / key
        folder.mkdir()
        subject = open_subject(str(write(folder, tensors, {key: name})), Settings())
        assert (subject.head.matrix.format, subject.logit_format) == (F32, expected)


def test_logits_are_of_the_scaled_values(tmp_path: Path) -> None:
    weights, scale = stored(), scales(V)
    write(tmp_path, {"lm_head.weight": weights, "lm_head.weight_scale": scale})
    h = Vector.of_values(np.random.default_rng(2).normal(size=D), F32)
    found = logits(open_checkpoint(tmp_path).matrix("lm_head.weight"), h, F32).values
    values = (weights.astype(np.float32) * scale[:, None]).astype(np.float64)
    # Exact products, one rounding each in a binary64 sum: within a millionth of an f32's ulp.
    np.testing.assert_allclose(found, (values @ h.values).astype(np.float32), rtol=2.0**-23)


def test_rows_of_equal_words_and_other_scales_are_distinct(tmp_path: Path) -> None:
    from isologit.equivalence.rows import row_classes

    weights, scale = stored(), np.ones(V, np.float32)
    weights[10:14] = weights[10]
    scale[12:14] = 0.5
    # Other words and another scale, the same values.
    weights[20] = (weights[10].astype(np.float32) * 2).astype(E4M3)
    scale[20] = 0.5
    write(tmp_path, {"lm_head.weight": weights, "lm_head.weight_scale": scale})
    rows = row_classes(open_checkpoint(tmp_path).matrix("lm_head.weight"))
    assert [group.tolist() for group in rows.rows.groups()] == [[10, 11], [12, 13]]
    assert [g.tolist() for g in rows.row_values.groups()] == [[10, 11, 20], [12, 13]]


def test_a_norm_of_binary64_is_rounded_to_f32(tmp_path: Path) -> None:
    gamma = np.random.default_rng(3).normal(size=D)
    write(
        tmp_path,
        {"model.embed_tokens.weight": stored(np.float64), "model.norm.weight": gamma},
        {"model_type": "llama", "tie_word_embeddings": True, "rms_norm_eps": 1e-6},
    )
    head = find_head(open_checkpoint(tmp_path))
    assert head.norm.gamma is not None
    np.testing.assert_array_equal(head.norm.gamma, gamma.astype(np.float32))
    np.testing.assert_array_equal(head.matrix.rows(range(V)), stored(np.float64).astype(np.float32))
