"""Models in object stores: the same findings as of the files, by ranges, and errors in words.

A real S3 client against a server on loopback; and fsspec's memory for what a store can do wrong.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from census.many_models import begin, finished, rows, write_models
from checkpoints import gaussian, write_llama, write_tensors
from cli.command import isologit
from isologit.audit import audit
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.store import is_store_url, matching
from isologit.demo import checkpoint_path
from isologit.errors import (
    ChangedFileError,
    CheckpointNotFoundError,
    ConfigError,
    MissingExtraError,
    MissingShardError,
    NotACheckpointError,
    StoreError,
    TruncatedFileError,
    UnsupportedFormatError,
)


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """A store in memory, empty before and afterwards."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()


def put(store: Any, folder: Path, where: str) -> str:
    """Copy a folder's files into a store, and return its address."""
    for path in folder.iterdir():
        store.pipe(f"{where}/{path.name}", path.read_bytes())
    return str(store.unstrip_protocol(where)).replace("memory:///", "memory://")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    """A bucket of S3 on loopback, and the environment that leads to it."""
    s3fs = pytest.importorskip("s3fs")
    server_class = pytest.importorskip("moto.server").ThreadedMotoServer
    server = server_class(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        client = s3fs.S3FileSystem()
        client.mkdir("bucket")
        yield client, environment
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def same_findings(one: Any, other: Any) -> bool:
    parts = ("rows", "cluster", "state", "logits", "cosines", "greedy", "head")
    tokens = [each.tokens and each.tokens.categories for each in (one, other)]
    return all(getattr(one, part) == getattr(other, part) for part in parts) and (
        (one.matrix.sha256, tokens[0]) == (other.matrix.sha256, tokens[1])
    )


def test_a_model_in_s3_is_the_model(s3: tuple[Any, dict[str, str]]) -> None:
    client, _ = s3
    url = put(client, checkpoint_path(), "bucket/run/step-1")
    found, _ = audit(url)
    here, _ = audit(str(checkpoint_path()))
    assert (url, found.model.source) == ("s3://bucket/run/step-1", "store")
    assert same_findings(found, here)
    # A version is what the store says of one.
    assert found.model.revision == open_checkpoint(url).revision
    config = (checkpoint_path() / "config.json").read_bytes()
    client.pipe("bucket/run/step-1/config.json", config)
    client.invalidate_cache()
    assert found.model.revision == open_checkpoint(url).revision
    client.pipe("bucket/run/step-1/config.json", config + b" ")
    client.invalidate_cache()
    assert found.model.revision != open_checkpoint(url).revision


def test_a_file_that_another_changes_meanwhile_is_found(
    tmp_path: Path, s3: tuple[Any, dict[str, str]]
) -> None:
    client, _ = s3
    url = put(client, write_llama(tmp_path / "m", gaussian(8, 4)), "bucket/changing")
    client.invalidate_cache()
    checkpoint = open_checkpoint(url)
    checkpoint.require_unchanged()
    # A client of its own, of which the first one's list of files knows nothing.
    other = type(client)(skip_instance_cache=True)
    content = (write_llama(tmp_path / "n", gaussian(9, 4)) / "model.safetensors").read_bytes()
    other.pipe("bucket/changing/model.safetensors", content)
    with pytest.raises(ChangedFileError):
        checkpoint.require_unchanged()


def test_a_census_of_a_bucket(tmp_path: Path, s3: tuple[Any, dict[str, str]]) -> None:
    client, environment = s3
    planted = write_models(tmp_path / "models", 6)
    for each in planted:
        put(client, each.path, f"bucket/many/{each.path.name}")
    client.pipe("bucket/many/notes/readme.txt", b"no model")
    client.invalidate_cache()
    pattern = "s3://bucket/many/*"
    names = [f"s3://bucket/many/{each.path.name}" for each in planted]
    assert matching(pattern) == sorted(names)
    code, _, err = finished(begin(pattern, "-o", tmp_path / "out", "--workers", "2", **environment))
    assert code == 0, err
    for row in rows(tmp_path / "out"):
        assert (row["source"], row["series"]) == ("store", "s3://bucket/many/step-*")
        assert row["redundant_rows"] == row["step"] % 7
    # It is not asked again.
    code, out, err = finished(
        begin(pattern, "-o", tmp_path / "out", "--workers", "2", **environment)
    )
    assert (code, "\n0 done by this run" in out) == (0, True), err


def test_a_sharded_model_and_a_single_file(memory: MemoryFileSystem, shared: Path) -> None:
    folder = shared / "checkpoints" / "llama2xs-hf-bf16-untied-sharded"
    found, _ = audit(put(memory, folder, "/models/sharded"))
    here, _ = audit(str(folder))
    assert same_findings(found, here)
    gguf = shared / "checkpoints" / "llama2xs-Q8_0.gguf"
    memory.pipe("/models/one.gguf", gguf.read_bytes())
    found, _ = audit("memory://models/one.gguf")
    here, _ = audit(str(gguf))
    assert same_findings(found, here)
    assert found.tokens is not None


def test_headers_and_what_is_asked_for_are_read_and_nothing_else(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tensors(
        tmp_path / "m",
        {
            "model.layers.0.weight": gaussian(2000, 2000),
            "lm_head.weight": gaussian(400, 16),
            "model.norm.weight": gaussian(1, 16)[0],
        },
    )
    url = put(memory, model, "/m")
    read = 0
    real = MemoryFileSystem.cat_ranges

    def counting(self: Any, paths: Any, starts: Any, ends: Any, **options: Any) -> Any:
        nonlocal read
        read += sum(end - start for start, end in zip(starts, ends, strict=True))
        return real(self, paths, starts, ends, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", counting)
    found, _ = audit(url)
    assert found.matrix.tensor == "lm_head.weight"
    assert read < 200_000


def test_a_large_tensor_is_read_in_ranges(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isologit.checkpoint.store._RANGE_BYTES", 1000)
    model = write_llama(tmp_path / "m", gaussian(500, 16))
    found, _ = audit(put(memory, model, "/m"))
    here, _ = audit(str(model))
    assert same_findings(found, here)


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        ("memory://none", CheckpointNotFoundError, "does not exist"),
        ("memory://none/x.safetensors", CheckpointNotFoundError, "does not exist"),
        ("nothing://a/b", CheckpointNotFoundError, "is no address that fsspec knows"),
        ("gs://bucket/model", MissingExtraError, "gs://bucket/model: .*Install it, or give"),
        ("memory://folder/notes.txt", UnsupportedFormatError, "cannot be read by ranges"),
        ("memory://folder", NotACheckpointError, "memory://folder"),
        ("memory://folder/x.pt", UnsupportedFormatError, "fetch it and give the path"),
        ("memory://broken", TruncatedFileError, "model.safetensors"),
        ("memory://config", ConfigError, "config.json"),
        ("memory://parts", MissingShardError, "m-00002-of-00002.gguf"),
    ],
)
def test_what_is_wrong_is_said(
    memory: MemoryFileSystem, tmp_path: Path, url: str, error: type[Exception], says: str
) -> None:
    memory.pipe("/folder/notes.txt", b"hello")
    memory.pipe("/folder/x.pt", b"PK\x03\x04")
    memory.rm("/folder/x.pt") if url == "memory://folder" else None
    model = write_llama(tmp_path / "m", gaussian(8, 4))
    weights = (model / "model.safetensors").read_bytes()
    memory.pipe("/broken/model.safetensors", weights[:-9])
    memory.pipe("/config/model.safetensors", weights)
    memory.pipe("/config/config.json", b"{")
    memory.pipe("/parts/m-00001-of-00002.gguf", weights)
    with pytest.raises(error, match=says):
        audit(url)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("method", ["info", "ls", "cat_ranges"])
def test_a_store_that_refuses_is_said_in_one_line(
    memory: MemoryFileSystem, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(memory, write_llama(tmp_path / "m", gaussian(8, 4)), "/m")
    error = PermissionError("Access\nDenied")
    monkeypatch.setattr(MemoryFileSystem, method, failing(error))
    ran = isologit("audit", url)
    assert (ran.code, ran.out, ran.err.count("\n")) == (44, "", 1)
    assert "the store answered PermissionError: Access Denied; expected" in ran.err
    with pytest.raises(StoreError):
        open_checkpoint(url)


def test_a_store_that_gives_too_little_is_not_believed(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(memory, write_llama(tmp_path / "m", gaussian(8, 4)), "/m")
    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", lambda *_, **__: [b"x"])
    with pytest.raises(TruncatedFileError, match="gave 1 bytes for a range of"):
        audit(url)


def test_a_file_that_changes_meanwhile_is_found(
    memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(memory, write_llama(tmp_path / "m", gaussian(8, 4)), "/m")
    other = write_llama(tmp_path / "n", gaussian(9, 4)) / "model.safetensors"
    checkpoint = open_checkpoint(url)
    checkpoint.require_unchanged()
    memory.pipe("/m/model.safetensors", other.read_bytes())
    with pytest.raises(ChangedFileError, match=r"memory://.*was changed while it was analysed"):
        checkpoint.require_unchanged()
    memory.rm("/m/model.safetensors")
    with pytest.raises(ChangedFileError):
        checkpoint.require_unchanged()


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("s3://bucket/x", True),
        ("GS://bucket/x", True),
        ("abfs+ssl://x", True),
        ("hf://org/name", False),
        ("https://host/org/name", False),
        ("org/name", False),
        ("C://x", True),
        ("/s3://x", False),
        ("", False),
    ],
)
def test_an_address_is_told_from_a_path(text: str, is_one: bool) -> None:
    assert is_store_url(text) is is_one


def test_what_was_fetched_for_the_occasion_goes_again(memory: MemoryFileSystem) -> None:
    checkpoint = open_checkpoint(put(memory, checkpoint_path(), "/m"))
    path = checkpoint.folder.find("tokenizer.json")
    assert path is not None
    assert path.read_bytes() == (checkpoint_path() / "tokenizer.json").read_bytes()
    assert checkpoint.folder.find("none.json") is None
    del checkpoint
    assert not path.exists()
