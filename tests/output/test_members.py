"""Reading what a user calls a cluster: the seed's file, or a list of ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import cluster_tensors, write_cluster
from isologit.errors import ClusterCountError, ClusterFileError, EmptyClusterError
from isologit.output.members import read_members


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.txt", "3\n1\n2\n"),
        ("ids.txt", "3, 1, 2"),
        ("ids.txt", " 3 1,2 \r\n"),
        ("ids.json", "[3, 1, 2]"),
    ],
)
def test_lists_are_read_in_the_file_s_order(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    members = read_members(tmp_path / name)
    assert np.asarray(members.token_ids).tolist() == [3, 1, 2]
    assert (members.cosine, members.vocabulary) == (None, None)
    assert members.where == str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.json", '{"ids": [1]}'),
        ("ids.json", "[1.5]"),
        ("ids.json", "[true]"),
        ("ids.json", "[[1]]"),
        ("ids.json", "[1e400]"),
        ("ids.json", f"[{10**30}]"),
        ("ids.json", "["),
        ("ids.json", "[" * 100_000),
        ("ids.txt", "one two"),
        ("ids.txt", "1.5"),
        ("ids.txt", str(10**30)),
        ("ids.safetensors", "no safetensors at all"),
        ("ids", ""),
    ],
)
def test_what_is_no_list_of_integers_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ClusterFileError) as caught:
        read_members(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe1\x002\x00")
    with pytest.raises(ClusterFileError):
        read_members(tmp_path / "ids.txt")


@pytest.mark.parametrize(("name", "content"), [("ids.txt", " \n"), ("ids.json", "[]")])
def test_an_empty_list_is_refused_as_empty(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(EmptyClusterError):
        read_members(tmp_path / name)


def cluster(folder: Path, **changes: Any) -> Path:
    """Write the seed's file for tokens 2 and 4 of 6, with changes; None takes a tensor out."""
    tensors = {**cluster_tensors([2, 4], 6, 0.84375), **changes}
    kept = {name: value for name, value in tensors.items() if value is not None}
    return write_cluster(folder / "1.4a_cluster_members.safetensors", kept)


def test_the_seed_s_file_says_its_cosine_and_its_vocabulary(tmp_path: Path) -> None:
    members = read_members(cluster(tmp_path))
    assert np.asarray(members.token_ids).tolist() == [2, 4]
    assert (members.cosine, members.vocabulary) == (0.84375, 6)


def test_only_the_ids_are_needed(tmp_path: Path) -> None:
    path = cluster(tmp_path, cluster_mask=None, cluster_cosine=None, n_cluster_members=None)
    members = read_members(path)
    assert np.asarray(members.token_ids).tolist() == [2, 4]
    assert (members.cosine, members.vocabulary) == (None, None)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.int16, np.uint8, np.uint32])
def test_ids_of_any_integer_type_are_taken(tmp_path: Path, dtype: Any) -> None:
    path = cluster(tmp_path, cluster_token_ids=np.array([2, 4], dtype=dtype))
    assert np.asarray(read_members(path).token_ids).tolist() == [2, 4]


@pytest.mark.parametrize(
    "ids", [np.array([2.0, 4.0]), np.array([[2, 4]]), np.array(2)], ids=["floats", "2-d", "0-d"]
)
def test_ids_that_are_no_list_of_integers_are_refused(tmp_path: Path, ids: Any) -> None:
    with pytest.raises(ClusterFileError, match="expected a list of integers"):
        read_members(cluster(tmp_path, cluster_token_ids=ids))


@pytest.mark.parametrize("count", [[3], [1], [2, 2], []])
def test_a_count_unlike_the_list_is_refused(tmp_path: Path, count: list[int]) -> None:
    with pytest.raises(ClusterCountError, match="cluster_token_ids lists 2 tokens"):
        read_members(cluster(tmp_path, n_cluster_members=np.array(count, dtype=np.int32)))


@pytest.mark.parametrize("marked", [[2], [2, 3], [2, 3, 4], []])
def test_a_mask_of_other_tokens_is_refused(tmp_path: Path, marked: list[int]) -> None:
    mask = np.zeros(6, dtype=np.uint8)
    mask[marked] = 1
    with pytest.raises(ClusterFileError, match="cluster_mask marks"):
        read_members(cluster(tmp_path, cluster_mask=mask))


def test_a_file_without_ids_names_what_it_holds_harmlessly(tmp_path: Path) -> None:
    path = write_cluster(tmp_path / "c.safetensors", {"a\x1b[31m\n": np.zeros(1)})
    with pytest.raises(ClusterFileError, match="holds no cluster_token_ids") as caught:
        read_members(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["nowhere.txt", ".", "x" * 300])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClusterFileError, match="is not a file"):
        read_members(tmp_path / name)
