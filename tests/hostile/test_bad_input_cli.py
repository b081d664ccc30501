"""Bad input through the command line: one line, of its own class and exit code; nothing written.

Each line says what is wrong, where, and what to do; each class has its own code.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from checkpoints import (
    cluster_tensors,
    gaussian,
    write_cluster,
    write_llama,
    write_matrix,
    write_tensors,
)
from cli.command import isologit
from isologit import errors

V = 12


@dataclass(frozen=True)
class Bad:
    """One bad input: how to make it, and what must be said of it."""

    name: str
    error: type[errors.IsologitError]
    make: Callable[[Path], list[object]]
    says: tuple[str, ...]


CASES: list[Bad] = []


def bad(error: type[errors.IsologitError], *says: str) -> Callable[[Any], Any]:
    """Register a function that makes a bad input and returns the command's arguments."""

    def register(make: Callable[[Path], list[object]]) -> Callable[[Path], list[object]]:
        CASES.append(Bad(make.__name__, error, make, says))
        return make

    return register


def good(folder: Path) -> Path:
    return write_llama(folder / "model", gaussian(V, 4))


def with_cluster(folder: Path, **changes: Any) -> list[object]:
    """Return arguments of a good model and of a cluster file with some tensors changed."""
    tensors = {**cluster_tensors([2, 4], V), **changes}
    return [good(folder), "--members", write_cluster(folder / "c.safetensors", tensors)]


def with_ids(folder: Path, text: str) -> list[object]:
    (folder / "ids.txt").write_text(text)
    return [good(folder), "--members", folder / "ids.txt"]


def with_index(folder: Path, weight_map: dict[str, str]) -> list[object]:
    """Return arguments of a model whose one shard lacks what an index says of it."""
    model = write_tensors(
        folder / "model",
        {"model.embed_tokens.weight": gaussian(V, 4)},
        file="model-00001-of-00002.safetensors",
        config={"model_type": "llama"},
    )
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return [model]


@bad(errors.CheckpointNotFoundError, "nowhere does not exist", "give a file of weights")
def missing_path(folder: Path) -> list[object]:
    return [folder / "nowhere"]


@bad(errors.NotACheckpointError, "holds", "safetensors")
def an_empty_directory(folder: Path) -> list[object]:
    (folder / "empty").mkdir()
    return [folder / "empty"]


@bad(errors.NotACheckpointError, "does not begin as a checkpoint does")
def a_text_file(folder: Path) -> list[object]:
    (folder / "notes.txt").write_text("no weights here")
    return [folder / "notes.txt"]


@bad(errors.UnsupportedFormatError, "HDF5", "safetensors, GGUF, torch pickles")
def a_container_that_is_not_read(folder: Path) -> list[object]:
    (folder / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    return [folder / "model.h5"]


@bad(errors.UnsupportedFormatError, "I32", "F8_E4M3", "are read")
def a_number_format_that_is_not_read(folder: Path) -> list[object]:
    return [write_cluster(folder / "W.safetensors", {"W": np.ones((3, 2), np.int32)})]


@bad(errors.UnsupportedFormatError, "version 1,094,795,585", "versions 2 and 3 are read")
def a_gguf_file_of_no_version(folder: Path) -> list[object]:
    (folder / "model.gguf").write_bytes(b"GGUF" + b"A" * 100)
    return [folder / "model.gguf"]


@bad(errors.UnsafePickleError, "nothing of it was run", "safetensors")
def a_pickle_that_wants_code_to_run(folder: Path) -> list[object]:
    pytest.importorskip("torch")
    (folder / "model.pt").write_bytes(b"\x80\x02cos\nsystem\nU\x04true\x85R.")
    return [folder / "model.pt"]


@bad(errors.TruncatedFileError, "bytes", "missing", "fetch it again")
def a_truncated_file(folder: Path) -> list[object]:
    path = good(folder) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    return [path.parent]


@bad(errors.TruncatedFileError, "announces a header")
def a_file_cut_in_its_header(folder: Path) -> list[object]:
    path = good(folder) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    return [path.parent]


@bad(errors.MalformedHeaderError, "after its last tensor")
def a_file_with_a_tail(folder: Path) -> list[object]:
    path = good(folder) / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"tail")
    return [path.parent]


@bad(errors.MissingShardError, "model-00002-of-00002.safetensors")
def an_index_that_names_an_absent_shard(folder: Path) -> list[object]:
    return with_index(
        folder,
        {
            "model.embed_tokens.weight": "model-00001-of-00002.safetensors",
            "lm_head.weight": "model-00002-of-00002.safetensors",
        },
    )


@bad(errors.MissingShardError, "lm_head.weight", "does not hold it")
def an_index_that_names_an_absent_tensor(folder: Path) -> list[object]:
    return with_index(folder, {"lm_head.weight": "model-00001-of-00002.safetensors"})


@bad(errors.ConfigError, "config.json")
def a_config_that_is_no_json(folder: Path) -> list[object]:
    model = good(folder)
    (model / "config.json").write_text("{")
    return [model]


@bad(errors.TensorShapeError, "[12, 4]", "expected at least 13 rows", "vocab_size")
def fewer_rows_than_the_config_says(folder: Path) -> list[object]:
    model = good(folder)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"vocab_size": V + 1}))
    return [model]


@bad(errors.TensorShapeError, "[12, 4]", "expected 5 columns")
def another_width_than_the_config_says(folder: Path) -> list[object]:
    model = good(folder)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"hidden_size": 5}))
    return [model]


@bad(errors.TensorShapeError, "model.norm.weight is [4]", "expected a matrix [V, d]")
def a_vector_as_the_matrix(folder: Path) -> list[object]:
    return [good(folder), "--tensor", "model.norm.weight"]


@bad(errors.TensorShapeError, "[0, 4]", "at least one row")
def a_matrix_without_rows(folder: Path) -> list[object]:
    return [write_matrix(folder / "model", np.ones((0, 4)))]


@bad(errors.TensorNotFoundError, "no tensor lm_head", "model.embed_tokens.weight [12, 4]")
def a_tensor_that_is_not_there(folder: Path) -> list[object]:
    return [good(folder), "--tensor", "lm_head"]


@bad(errors.UnclearHeadError, "a [12, 4], b [12, 4]", "Name one with --tensor")
def two_matrices_and_no_name(folder: Path) -> list[object]:
    return [write_tensors(folder / "model", {"a": gaussian(V, 4), "b": gaussian(V, 4)})]


@bad(errors.TokenIdError, "token id 12 is outside the vocabulary", "expected 0 to 11")
def an_id_beyond_the_vocabulary(folder: Path) -> list[object]:
    return with_ids(folder, "1 12")


@bad(errors.TokenIdError, "token id -1 is outside the vocabulary", "expected 0 to 11")
def a_negative_id(folder: Path) -> list[object]:
    return with_ids(folder, "-1 3")


@bad(errors.TokenIdError, "--token: token id 12 is outside the vocabulary")
def a_token_beyond_the_vocabulary(folder: Path) -> list[object]:
    return [good(folder), "--token", V]


@bad(errors.EmptyClusterError, "lists no token ids", "expected at least one")
def an_empty_list(folder: Path) -> list[object]:
    return with_ids(folder, "")


@bad(errors.EmptyClusterError, "no token ids", "expected at least one")
def an_empty_cluster_file(folder: Path) -> list[object]:
    return with_cluster(folder, **cluster_tensors([], V))


@bad(errors.ClusterFileError, "is not a file")
def a_missing_cluster_file(folder: Path) -> list[object]:
    return [good(folder), "--members", folder / "nowhere.safetensors"]


@bad(errors.ClusterFileError, "is not a cluster file", "expected safetensors")
def a_cluster_file_of_another_kind(folder: Path) -> list[object]:
    (folder / "c.safetensors").write_text("1 2 3")
    return [good(folder), "--members", folder / "c.safetensors"]


@bad(errors.ClusterFileError, "holds no cluster_token_ids", "it holds W")
def a_checkpoint_as_a_cluster_file(folder: Path) -> list[object]:
    matrix = write_matrix(folder / "other", [[1.0]], "f32") / "W.safetensors"
    return [good(folder), "--members", matrix]


@bad(errors.ClusterVocabularyError, "was made for 13 tokens", "12 rows")
def a_cluster_file_of_another_vocabulary(folder: Path) -> list[object]:
    return with_cluster(folder, **cluster_tensors([2, 4], V + 1))


@bad(errors.ClusterCountError, "n_cluster_members says 3", "lists 2 tokens")
def a_count_unlike_the_list(folder: Path) -> list[object]:
    return with_cluster(folder, n_cluster_members=np.array([3], dtype=np.int32))


@bad(errors.DuplicateTokenError, "token id 4 is given 2 times", "list each id once")
def a_duplicate_id_in_a_list(folder: Path) -> list[object]:
    return with_ids(folder, "4 2 4")


@bad(errors.DuplicateTokenError, "token id 4 is given 3 times")
def a_duplicate_id_in_a_cluster_file(folder: Path) -> list[object]:
    return with_cluster(folder, **cluster_tensors([4, 2, 4, 4], V))


@bad(errors.StateError, "is not a file")
def a_missing_state(folder: Path) -> list[object]:
    return [good(folder), "--state", folder / "h.npy"]


@bad(errors.StateError, "a state of 5 values", "has 4")
def a_state_of_another_width(folder: Path) -> list[object]:
    np.save(folder / "h.npy", np.ones(5))
    return [good(folder), "--state", folder / "h.npy"]


@bad(errors.StateError, "int64", "expected float16, float32 or float64")
def a_state_of_integers(folder: Path) -> list[object]:
    np.save(folder / "h.npy", np.ones(4, dtype=np.int64))
    return [good(folder), "--state", folder / "h.npy"]


@bad(errors.StateError, "h.npy: states of 5 values", "hidden state has 4")
def several_states_of_another_width(folder: Path) -> list[object]:
    np.save(folder / "h.npy", np.ones((3, 5)))
    return [good(folder), "--state", folder / "h.npy"]


@bad(errors.StateError, "holds an array of shape [0, 4]", "expected [d] or [K, d]")
def no_states_at_all(folder: Path) -> list[object]:
    save_file({"hidden_states": np.ones((0, 4), dtype=np.float32)}, folder / "h.safetensors")
    return [good(folder), "--state", folder / "h.safetensors"]


@bad(errors.ResultsError, "is not what an earlier run with --resume left", "Name another file")
def a_file_to_go_on_from_that_is_none(folder: Path) -> list[object]:
    (folder / "kept").write_bytes(b"nonsense")
    return [good(folder), "--random", 3, "--resume", folder / "kept"]


@bad(errors.ResultsError, "is not what an earlier run with --resume left")
def a_tensor_file_to_go_on_from(folder: Path) -> list[object]:
    save_file({"labels": np.zeros(V, dtype=np.int32)}, folder / "kept")
    return [good(folder), "--random", 3, "--resume", folder / "kept"]


@bad(errors.StateError, "holds 3 states", "--index 3 is beyond them")
def an_index_beyond_the_states(folder: Path) -> list[object]:
    np.save(folder / "h.npy", np.ones((3, 4)))
    return [good(folder), "--state", folder / "h.npy", "--index", 3]


@bad(errors.StateError, "distance", "must be a positive number")
def a_pole_without_a_distance_to_go(folder: Path) -> list[object]:
    return [good(folder), "--pole", "1,2,0"]


@bad(errors.UndeterminedAxesError, "3 principal axes", "there are only d dimensions")
def a_pole_in_too_few_dimensions(folder: Path) -> list[object]:
    return [write_matrix(folder / "model", gaussian(V, 2)), "--pole", "1,2"]


@bad(errors.UndeterminedAxesError, "no variance")
def a_pole_of_rows_that_are_all_the_same(folder: Path) -> list[object]:
    return [write_matrix(folder / "model", np.ones((V, 4))), "--pole", "1,2"]


@bad(errors.TokenizerNotFoundError, "BERT's word pieces", "not read")
def a_tokenizer_of_a_kind_that_is_not_read(folder: Path) -> list[object]:
    (folder / "vocab.txt").write_text("[PAD]")
    return [good(folder), "--tokenizer", folder / "vocab.txt"]


@bad(errors.TokenizerNotFoundError, "no tokenizer", "looked for tokenizer.json")
def a_directory_without_a_tokenizer(folder: Path) -> list[object]:
    (folder / "empty").mkdir()
    return [good(folder), "--tokenizer", folder / "empty"]


@bad(errors.TokenizerFileError, "tokenizer.json", "with AutoTokenizer")
def a_tokenizer_that_is_cut(folder: Path) -> list[object]:
    (folder / "tokenizer.json").write_text('{"model": {"type": "BPE", "vo\n')
    return [good(folder), "--tokenizer", folder / "tokenizer.json"]


@bad(errors.TokenizerFileError, "cannot be read")
def a_tokenizer_that_is_no_utf8(folder: Path) -> list[object]:
    (folder / "tokenizer.json").write_bytes(b'{"\xff')
    return [good(folder), "--tokenizer", folder / "tokenizer.json"]


def files(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("option", [(), ("--json",)], ids=["page", "json"])
def test_bad_input_is_one_line_of_its_own_class(
    tmp_path: Path, case: Bad, option: tuple[str, ...]
) -> None:
    arguments = case.make(tmp_path)
    before = files(tmp_path)
    ran = isologit("classes", *arguments, "-o", tmp_path / "out", *option)
    assert ran.code == case.error.exit_code
    assert ran.out == ""
    assert ran.err.endswith("\n")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith(f"{case.error.__name__}: ")
    for words in case.says:
        assert words in ran.err
    assert ran.err.rstrip("\n").isprintable()
    assert files(tmp_path) == before


SHARED_WITH_AUDIT = [
    case
    for case in CASES
    if not case.name.startswith(
        ("a_token_", "a_state", "a_missing_state", "several_", "no_states", "an_index_b")
    )
    and case.name != "a_pole_without_a_distance_to_go"
    and "--resume" not in " ".join(case.says)
]


@pytest.mark.parametrize("case", SHARED_WITH_AUDIT, ids=lambda case: case.name)
def test_audit_says_the_same(tmp_path: Path, case: Bad) -> None:
    arguments = case.make(tmp_path)
    told = [isologit(command, *arguments) for command in ("audit", "classes")]
    assert told[0] == told[1]
    assert told[0].code == case.error.exit_code


def test_every_error_class_of_a_user_s_making_is_tried() -> None:
    user_made = (errors.CheckpointError, errors.TokenizerError, errors.InputError)
    classes = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, user_made) and cls not in user_made
    }
    # tests/test_reproduce.py tries the one, with the command that it is of; tests/cli/test_main.py
    # the other, which needs a file that changes meanwhile; tests/hub those that need a hub; and
    # tests/cli/test_check.py and test_export.py those of their commands, and tests/explorer that of
    # a page, tests/census those of lists, and tests/checkpoint that of stores.
    elsewhere = {errors.PublishedFiguresError, errors.ChangedFileError, errors.CacheBoundError}
    elsewhere |= {errors.PolicyError, errors.SelectionError, errors.PointError}
    elsewhere |= {errors.ListFileError, errors.EmptyListError, errors.StoreError}
    elsewhere |= {cls for cls in classes if issubclass(cls, errors.HubError)}
    assert {case.error for case in CASES} == classes - elsewhere


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ([[1, 2], [np.nan, 0], [3, 4]], ["1 row with an infinity or a NaN"]),
        ([[1, 2], [np.inf, 0], [3, 4]], ["1 row with an infinity or a NaN"]),
        ([[1, 2], [0, 0], [3, 4]], []),
        ([[1, 2]], []),
        ([[1], [2], [2]], []),
    ],
    ids=["NaN", "Inf", "zero", "one row", "d = 1"],
)
def test_odd_matrices_give_a_stated_result(
    tmp_path: Path, values: list[list[float]], notes: list[str]
) -> None:
    ran = isologit("audit", write_matrix(tmp_path / "m", values), "--json", "-o", tmp_path / "out")
    assert ran.code == 0
    found = ran.json
    rows = found["rows"]
    assert rows["nonfinite"] == sum(not np.isfinite(row).all() for row in values)
    assert rows["zero"] == sum(not np.any(row) for row in values)
    assert [note for note in found["notes"] if "infinity" in note] == notes
    assert found["matrix"]["shape"] == list(np.shape(values))
