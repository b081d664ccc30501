"""Paths, indexes and configs that lie: one error, of its own class and exit code, on one line."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ConfigError,
    MalformedHeaderError,
    MissingShardError,
    NotACheckpointError,
    UnsupportedFormatError,
)

W = np.arange(6, dtype=np.float32).reshape(3, 2)


def refusal(path: Path | str) -> CheckpointError:
    """Open a path, look for its head, and return the error, having checked its looks."""
    with pytest.raises(CheckpointError) as caught:
        find_head(open_checkpoint(path))
    assert str(caught.value).isprintable()
    return caught.value


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up the superuser's right to read everything, where the tests have it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# Paths


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("absent.safetensors", ""),
        ("gpt2", " (hf://gpt2 if that is one)"),
        ("nul\0byte", ""),
        ("./a/b", ""),
        ("a/b/c.gguf", " (hf://a/b/c.gguf if that is one)"),
        ("org/name/", " (hf://org/name if that is one)"),
        ("https://hub/org/name", ", without the address before it"),
    ],
)
def test_what_is_no_path_and_no_model_of_the_hub_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refusal(spec)
    assert type(error) is CheckpointNotFoundError
    assert str(error) == (
        spec.replace("\0", r"\x00") + " does not exist; give a file of weights, a model's "
        f"directory, or org/name[@revision] for a model of the hub{hint}"
    )


def test_a_path_into_a_directory_that_is_here_is_no_model_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    error = refusal("models/qwen")
    assert type(error) is CheckpointNotFoundError
    assert str(error).endswith("for a model of the hub (hf://models/qwen if that is one)")


def test_the_empty_path_is_not_the_working_directory() -> None:
    assert str(refusal("")).startswith("'' does not exist; give a file of weights")


def test_a_link_that_leads_nowhere_or_round_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("broken", "loop"):
        assert isinstance(refusal(tmp_path / name), CheckpointError)


def test_a_path_longer_than_the_system_allows_is_one_line() -> None:
    error = refusal("a" * 5000)
    assert isinstance(error, CheckpointNotFoundError | NotACheckpointError)
    assert len(str(error)) < 500


def test_an_empty_directory_holds_nothing(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert type(error) is NotACheckpointError
    assert str(error) == (
        f"{tmp_path} holds no file of weights; safetensors, GGUF, torch pickles, .npy and .npz "
        "are read"
    )


def test_a_hub_cache_s_folder_points_to_its_snapshots(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    assert "give one of the directories in its snapshots/" in str(refusal(tmp_path))


def test_a_device_is_neither_file_nor_directory() -> None:
    error = refusal("/dev/null")
    assert type(error) is NotACheckpointError
    assert str(error) == "/dev/null is neither a file nor a directory"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is neither a file nor a directory" in str(refusal(tmp_path / "pipe"))


def test_a_pipe_inside_a_directory_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    said = str(refusal(tmp_path))
    assert "model.safetensors is not a regular file; expected one, which can be mapped" in said


def test_a_directory_named_as_a_weight_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    error = refusal(tmp_path)
    assert type(error) is NotACheckpointError
    assert str(error) == f"{tmp_path / 'model.safetensors'} cannot be read: Is a directory"


@pytest.mark.parametrize("locked", ["directory", "file"])
def test_what_may_not_be_read_says_so(tmp_path: Path, locked: str) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    save_file({"W": W}, directory / "model.safetensors")
    target = directory if locked == "directory" else directory / "model.safetensors"
    target.chmod(0o000)
    try:
        with as_nobody():
            error = refusal(directory)
    finally:
        target.chmod(0o755)
    assert type(error) is NotACheckpointError
    assert "Permission denied" in str(error)


@pytest.mark.parametrize(
    ("name", "raw", "class_", "expected"),
    [
        ("m.h5", b"\x89HDF\r\n\x1a\n" + b"\0", UnsupportedFormatError, "is an HDF5 file"),
        ("m.onnx", b"whatever it is", UnsupportedFormatError, "is named as a file of ONNX"),
        ("README.md", b"# A model\n", NotACheckpointError, "does not begin as a checkpoint does"),
        ("config.json", b'{"model_type":"x"}', NotACheckpointError, "does not begin as"),
        ("empty", b"", NotACheckpointError, "does not begin as a checkpoint does (0 bytes)"),
        (
            "model.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            NotACheckpointError,
            "is a git-lfs pointer of 63 bytes, not the file that it stands for; run git lfs pull",
        ),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, name: str, raw: bytes, class_: type[CheckpointError], expected: str
) -> None:
    (tmp_path / name).write_bytes(raw)
    error = refusal(tmp_path / name)
    assert type(error) is class_
    assert expected in str(error)


# Indexes


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    save_file({"a.weight": W}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"lm_head.weight": W}, tmp_path / "model-00002-of-00002.safetensors")
    write_index(
        tmp_path,
        {
            "a.weight": "model-00001-of-00002.safetensors",
            "lm_head.weight": "model-00002-of-00002.safetensors",
        },
    )
    return tmp_path


def write_index(directory: Path, weight_map: Any) -> None:
    """Write a shards' index."""
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_read_by_their_index(sharded: Path) -> None:
    checkpoint = open_checkpoint(sharded)
    assert set(checkpoint.tensors) == {"a.weight", "lm_head.weight"}
    assert find_head(checkpoint).tensor == "lm_head.weight"


def test_an_absent_shard_is_named(sharded: Path) -> None:
    (sharded / "model-00001-of-00002.safetensors").unlink()
    error = refusal(sharded)
    assert type(error) is MissingShardError
    assert str(error) == (
        f"{sharded / 'model.safetensors.index.json'} names 2 files, of which 1 is not there: "
        "model-00001-of-00002.safetensors; fetch the model again"
    )


def test_a_shard_of_an_impossible_name_is_absent(sharded: Path) -> None:
    write_index(sharded, {"a.weight": "a" * 5000})
    assert type(refusal(sharded)) is MissingShardError


def test_a_tensor_that_its_shard_does_not_hold_is_named(sharded: Path) -> None:
    write_index(
        sharded,
        {
            "a.weight": "model-00001-of-00002.safetensors",
            "b.weight": "model-00001-of-00002.safetensors",
            "lm_head.weight": "model-00002-of-00002.safetensors",
        },
    )
    error = refusal(sharded)
    assert type(error) is MissingShardError
    assert "the index places b.weight in " in str(error)
    assert "which does not hold it" in str(error)


def test_a_tensor_in_another_shard_than_the_index_says_is_missing(sharded: Path) -> None:
    write_index(
        sharded,
        {
            "a.weight": "model-00002-of-00002.safetensors",
            "lm_head.weight": "model-00001-of-00002.safetensors",
        },
    )
    assert type(refusal(sharded)) is MissingShardError


def test_of_a_tensor_in_two_shards_the_index_says_which_counts(sharded: Path) -> None:
    save_file(
        {"lm_head.weight": W, "a.weight": W + 1}, sharded / "model-00002-of-00002.safetensors"
    )
    words = open_checkpoint(sharded).matrix("a.weight").words
    np.testing.assert_array_equal(words.view(np.float32), W)


def test_a_tensor_in_two_shards_and_not_in_the_index_is_malformed(sharded: Path) -> None:
    for n, name in ((1, "a.weight"), (2, "lm_head.weight")):
        file = sharded / f"model-0000{n}-of-00002.safetensors"
        save_file({name: W, "forgotten": W}, file)
    error = refusal(sharded)
    assert type(error) is MalformedHeaderError
    assert "the index does not say which counts" in str(error)


def test_a_tensor_that_the_index_forgot_is_still_there(sharded: Path) -> None:
    save_file({"a.weight": W, "forgotten": W}, sharded / "model-00001-of-00002.safetensors")
    assert "forgotten" in open_checkpoint(sharded).tensors


@pytest.mark.parametrize(
    "file",
    [
        "../model.safetensors",
        "../../etc/x.safetensors",
        "a/../../b.safetensors",
        "/etc/passwd",
        "C:\\weights.safetensors",
        "..\\weights.safetensors",
        "C:weights.safetensors",
        "a\nb.safetensors",
        "a\0b.safetensors",
        "",
        ".",
        7,
        None,
    ],
)
def test_an_index_may_not_lead_out_of_its_directory(sharded: Path, file: Any) -> None:
    save_file({"a.weight": W}, sharded.parent / "model.safetensors")
    write_index(sharded, {"a.weight": file})
    error = refusal(sharded)
    assert type(error) is MalformedHeaderError
    assert "expected the name of a file inside the directory" in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is not JSON"),
        (b"[]", "holds a list; expected a JSON object"),
        (b"null", "holds null; expected a JSON object"),
        (b"{}", "has no weight_map"),
        (b'{"weight_map":[]}', "has no weight_map"),
        (b'{"weight_map":{}}', "has no weight_map"),
        (b'{"weight_map":{"a":"x","a":"y"}}', "key a is given twice, with different values"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_an_index_that_is_none_is_malformed(sharded: Path, text: bytes, expected: str) -> None:
    (sharded / "model.safetensors.index.json").write_bytes(text)
    error = refusal(sharded)
    assert type(error) is MalformedHeaderError
    assert expected in str(error)


# Configs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b"{,}", "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON: Unexpected UTF-8 BOM"),
        (b"\x80", "is not UTF-8: byte 0 is 0x80"),
        (b'"text"', "holds a string; expected a JSON object"),
        (b"1e400", "holds a number; expected"),
        (b"true", "holds a boolean; expected"),
        (b"[" * 100_000, "is nested too deep to be read"),
        (b'{"a":' + b"1" * 5000 + b"}", "is not usable"),
        (b'{"vocab_size":1,"vocab_size":2}', "key vocab_size is given twice, with different"),
    ],
)
def test_a_broken_config_is_a_config_error(tmp_path: Path, text: bytes, expected: str) -> None:
    save_file({"lm_head.weight": W}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(text)
    error = refusal(tmp_path)
    assert type(error) is ConfigError
    assert str(error).startswith(f"{tmp_path / 'config.json'} ")
    assert expected in str(error)


def test_a_config_of_hundreds_of_megabytes_is_not_parsed(tmp_path: Path) -> None:
    save_file({"lm_head.weight": W}, tmp_path / "model.safetensors")
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 29)
    assert "has 536,870,912 bytes; at most 4,194,304 are read" in str(refusal(tmp_path))


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": 7},
        {"model_type": "llama\x1b[2J\n"},
        {"text_config": []},
        {"text_config": {"text_config": {"text_config": {}}}},
        {"text_config": None, "thinker_config": "x"},
        {"unused": float("nan")},
    ],
)
def test_a_strange_config_that_contradicts_nothing_does_no_harm(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    save_file({"lm_head.weight": W}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    head = find_head(open_checkpoint(tmp_path))
    assert head.tensor == "lm_head.weight"
    assert head.norm.kind == "unknown"
    assert head.norm.source.isprintable()
    assert all(warning.isprintable() for warning in head.warnings)


def test_names_with_escapes_reach_no_message_as_they_are(tmp_path: Path) -> None:
    save_file({"\x1b[31mred": W, "line\nfeed": W}, tmp_path / "model.safetensors")
    message = str(refusal(tmp_path))
    assert r"\x1b[31mred [3, 2]" in message
    assert r"line\nfeed [3, 2]" in message


def test_every_class_of_error_here_has_an_exit_code_of_its_own() -> None:
    classes = (
        CheckpointNotFoundError,
        ConfigError,
        MalformedHeaderError,
        MissingShardError,
        NotACheckpointError,
        UnsupportedFormatError,
    )
    codes = {class_.exit_code for class_ in classes}
    assert len(codes) == len(classes)
    assert not codes & {0, 1, 2, 70}
