"""Opening: which file of a directory, what it is called, and that nothing is copied."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isologit.checkpoint.directory import select_weights
from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.errors import (
    MissingShardError,
    NotACheckpointError,
    TensorNotFoundError,
    TensorShapeError,
    UnsupportedFormatError,
)
from isologit.numerics.formats import BF16, F16, F32, Format

from .conftest import Write


@pytest.mark.parametrize("format_", [BF16, F16, F32], ids=lambda f: f.name)
def test_the_seed_s_bare_matrix_is_the_head(write: Write, format_: Format) -> None:
    directory = write({"W": (7, 3)}, file="W.safetensors", format_=format_)
    for spec in (directory, directory / "W.safetensors", str(directory)):
        head = find_head(open_checkpoint(spec))
        assert (head.tensor, head.matrix.format, head.tied) == ("W", format_, None)
        assert head.matrix.words.shape == (7, 3)
        assert head.why == "W is the matrix by its name"


def test_the_seed_s_matrix_is_found_beside_the_seed_s_results(write: Write) -> None:
    write({"cluster_token_ids": (3,)}, file="1.4a-cluster.safetensors")
    checkpoint = open_checkpoint(write({"W": (7, 3)}, file="W.safetensors"))
    assert list(checkpoint.tensors) == ["W"]


def test_a_single_file_of_any_name_is_opened(write: Write) -> None:
    checkpoint = open_checkpoint(write({"a": (2, 2)}, file="something.safetensors"))
    assert list(checkpoint.tensors) == ["a"]


def test_model_safetensors_goes_before_all_others(write: Write) -> None:
    write({"other": (2, 2)}, file="other.safetensors")
    write({"W": (2, 2)}, file="W.safetensors")
    assert list(open_checkpoint(write({"model": (2, 2)})).tensors) == ["model"]


def test_several_files_and_no_index_are_listed(write: Write) -> None:
    write({"a": (2, 2)}, file="a.safetensors")
    directory = write({"b": (2, 2)}, file="b.safetensors")
    with pytest.raises(NotACheckpointError) as caught:
        open_checkpoint(directory)
    assert str(caught.value) == (
        f"{directory} holds 2 .safetensors files and no model.safetensors.index.json: "
        "a.safetensors, b.safetensors. Give the path of one, or fetch the index"
    )


def test_a_directory_with_one_shard_of_two_is_not_taken_for_the_model(write: Write) -> None:
    directory = write({"a": (2, 2)}, file="model-00001-of-00002.safetensors")
    with pytest.raises(NotACheckpointError, match=r"1 \.safetensors file and no model\.safetens"):
        open_checkpoint(directory)


def test_an_adapter_is_not_a_model(write: Write) -> None:
    directory = write({"lora_A.weight": (2, 2)}, file="adapter_model.safetensors")
    with pytest.raises(NotACheckpointError, match="holds an adapter"):
        open_checkpoint(directory)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tf_model.h5", "HDF5"),
        ("flax_model.msgpack", "Flax"),
        ("model.onnx", "ONNX"),
    ],
)
def test_a_directory_of_other_containers_names_them(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UnsupportedFormatError) as caught:
        open_checkpoint(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds weights as {kind} alone ({name}); safetensors, GGUF, torch pickles, "
        ".npy and .npz are read"
    )


def test_a_real_sharded_model_is_all_of_its_shards(shared: Path) -> None:
    directory = shared / "checkpoints" / "llama2xs-hf-bf16-untied-sharded"
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    checkpoint = open_checkpoint(directory)
    assert set(checkpoint.tensors) == set(index["weight_map"])
    assert len(checkpoint.containers) == 2
    for name, info in checkpoint.tensors.items():
        assert Path(info.file).name == index["weight_map"][name]


REAL: list[tuple[str, dict[str, Any]]] = [
    (
        "llama2xs-hf-bf16",
        {"tensor": "model.embed_tokens.weight", "tied": True, "family": "llama"},
    ),
    (
        "llama2xs-hf-f32",
        {"tensor": "model.embed_tokens.weight", "tied": True, "family": "llama"},
    ),
    (
        "llama2xs-hf-bf16-untied-sharded",
        {"tensor": "lm_head.weight", "tied": False, "family": "llama"},
    ),
    ("rwkv-4v0-660K-fp16", {"tensor": "head.weight", "tied": False, "family": "rwkv"}),
]


@pytest.mark.parametrize(("name", "expected"), REAL)
def test_the_head_of_a_real_model_is_found(
    shared: Path, name: str, expected: dict[str, Any]
) -> None:
    head = find_head(open_checkpoint(shared / "checkpoints" / name))
    assert {key: getattr(head, key) for key in expected} == expected
    assert head.warnings == ()
    assert head.norm.kind == ("layer" if name.startswith("rwkv") else "rms")
    assert head.norm.gamma is not None
    assert head.norm.gamma.shape == (head.matrix.width,)
    assert (head.norm.beta is not None) == name.startswith("rwkv")


def test_a_float32_norm_beside_a_float16_matrix_is_read(shared: Path) -> None:
    checkpoint = open_checkpoint(shared / "checkpoints" / "rwkv-4v0-660K-fp16")
    head = find_head(checkpoint)
    assert head.matrix.format is F16
    assert checkpoint.vector(head.norm.source).format is F32


def test_the_matrix_is_a_view_of_the_file(write: Write) -> None:
    directory = write({"W": (4096, 256)}, file="W.safetensors")
    tracemalloc.start()
    words = open_checkpoint(directory).matrix("W").words
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not words.flags.owndata
    assert not words.flags.writeable
    assert peak < words.nbytes / 8


def test_the_matrix_outlives_its_checkpoint(write: Write) -> None:
    words = open_checkpoint(write({"W": (5, 3)})).matrix("W").words
    assert int(words.sum()) > 0


def test_a_config_beside_a_file_is_used_and_named(write: Write) -> None:
    directory = write(
        {"model.embed_tokens.weight": (7, 3), "lm_head.weight": (7, 3)},
        {"model_type": "llama", "tie_word_embeddings": False},
    )
    head = find_head(open_checkpoint(directory / "model.safetensors"))
    assert head.tensor == "lm_head.weight"
    assert head.why.startswith("config.json beside the file says tie_word_embeddings: false")


@pytest.mark.parametrize(
    ("path", "file", "name", "revision"),
    [
        ("Qwen3-4B", None, "Qwen3-4B", None),
        ("Qwen3-4B", "W.safetensors", "Qwen3-4B", None),
        ("Qwen3-4B", "model.safetensors", "Qwen3-4B", None),
        ("Qwen3-4B", "step-1000.safetensors", "step-1000", None),
        ("models--Qwen--Qwen3-4B/snapshots/0a1b2c", None, "Qwen/Qwen3-4B", "0a1b2c"),
        ("models--Qwen--Qwen3-4B/snapshots/0a1b2c", "a.safetensors", "Qwen/Qwen3-4B", "0a1b2c"),
    ],
)
def test_the_name_is_short_and_a_hub_cache_gives_the_commit(
    write: Write, tmp_path: Path, path: str, file: str | None, name: str, revision: str | None
) -> None:
    written = write({"W": (2, 2)}, file=file or "model.safetensors")
    directory = tmp_path / path
    directory.parent.mkdir(parents=True, exist_ok=True)
    written.rename(directory)
    checkpoint = open_checkpoint(directory / file if file else directory)
    assert (checkpoint.name, checkpoint.revision) == (name, revision)
    assert checkpoint.source == ("file" if file else "directory")


def test_the_name_of_the_working_directory_is_its_own(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write({"W": (2, 2)}))
    assert open_checkpoint(".").name == "made-up"
    assert open_checkpoint("model.safetensors").name == "made-up"


def test_a_tensor_that_is_not_there_lists_the_matrices(write: Write) -> None:
    directory = write({"a": (5, 3), "b": (5,)})
    with pytest.raises(TensorNotFoundError) as caught:
        open_checkpoint(directory).matrix("lm_head")
    assert str(caught.value) == f"{directory} has no tensor lm_head; its matrices are: a [5, 3]"


@pytest.mark.parametrize("shape", [(), (4,), (2, 2, 2), (0, 3), (3, 0)])
def test_what_is_no_matrix_says_its_shape(write: Write, shape: tuple[int, ...]) -> None:
    directory = write({"a": np.zeros(shape)})
    with pytest.raises(TensorShapeError) as caught:
        open_checkpoint(directory).matrix("a")
    assert str(caught.value) == (
        f"{directory}: a is {list(shape)}; expected a matrix [V, d] with at least one row and "
        "one column"
    )


@pytest.mark.parametrize("shape", [(), (2, 3), (2, 1), (1, 1, 3)])
def test_what_is_no_vector_says_its_shape(write: Write, shape: tuple[int, ...]) -> None:
    directory = write({"a": np.zeros(shape)})
    with pytest.raises(TensorShapeError, match=r"expected a vector \[n\]"):
        open_checkpoint(directory).vector("a")


def test_a_vector_of_one_row_is_a_vector(write: Write) -> None:
    assert open_checkpoint(write({"a": (1, 3)})).vector("a").words.shape == (3,)


def test_opening_reads_headers_alone(write: Write) -> None:
    # 64 MiB of sparse zeros take no time and no memory to open.
    directory = write({"W": (2, 2)})
    path = directory / "model.safetensors"
    header = b'{"W":{"dtype":"F32","shape":[4096,4096],"data_offsets":[0,67108864]}}'
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (1 << 26))
    tracemalloc.start()
    checkpoint = open_checkpoint(directory)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert checkpoint.tensors["W"].shape == (4096, 4096)
    assert peak < 1 << 20


def test_a_projector_beside_a_gguf_model_is_not_taken_for_it(tmp_path: Path) -> None:
    for name in ("mmproj-model-f16.gguf", "model-Q8_0.gguf"):
        (tmp_path / name).touch()
    assert select_weights([p.name for p in tmp_path.iterdir()], "here").files == (
        "model-Q8_0.gguf",
    )
    with pytest.raises(NotACheckpointError, match=r"Give one, as here/a\.gguf"):
        select_weights(["mmproj-a.gguf", "a.gguf", "b.gguf"], "here")


def test_a_gguf_model_with_a_part_missing_says_which(tmp_path: Path) -> None:
    (tmp_path / "m-00001-of-00002.gguf").touch()
    with pytest.raises(MissingShardError, match=r"1 is not there: m-00002-of-00002\.gguf"):
        open_checkpoint(tmp_path)


def test_slices_for_several_devices_are_no_model_each(tmp_path: Path) -> None:
    for n in range(2):
        (tmp_path / f"consolidated.0{n}.pth").touch()
    for spec in (tmp_path, tmp_path / "consolidated.00.pth"):
        with pytest.raises(NotACheckpointError, match=r"a part of every matrix; merge them first"):
            open_checkpoint(spec)


def test_optimizers_beside_a_pickle_are_not_weights() -> None:
    names = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "my_model.bin"]
    assert select_weights(names, "here").files == ("my_model.bin",)


def test_safetensors_go_before_pickles_and_these_before_gguf_and_arrays() -> None:
    names = ["W.npy", "m.gguf", "pytorch_model.bin", "model.safetensors"]
    expected = [("model.safetensors",), ("pytorch_model.bin",), ("m.gguf",), ("W.npy",)]
    for n, files in enumerate(expected):
        assert select_weights(names[: len(names) - n], "here").files == files
    index = select_weights(["pytorch_model.bin.index.json", "x.gguf"], "here").index
    assert index == "pytorch_model.bin.index.json"
