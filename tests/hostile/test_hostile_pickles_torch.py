"""Torch pickles that want to run something, or lie: one error, on one line; nothing is run."""

import io
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as safetensors

from checkpoint.torch_archives import repacked
from isologit.checkpoint import pickle_globals
from isologit.checkpoint.pickle_globals import wants
from isologit.checkpoint.torch_pickle import read_torch
from isologit.errors import (
    ChangedFileError,
    CheckpointError,
    MalformedHeaderError,
    NotACheckpointError,
    TruncatedFileError,
    UnsafePickleError,
    UnsupportedFormatError,
)

torch = pytest.importorskip("torch")

ADVICE = ("weights_only", "allowlist", "safe_globals", "\033", "pytorch.org", "file an issue")


def refusal(path: Path) -> CheckpointError:
    """Read a file and return the error, having checked that it is fit to be shown."""
    with pytest.raises(CheckpointError) as caught:
        read_torch(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 700
    assert not [words for words in ADVICE if words in message]
    return caught.value


class Touches:
    """An object whose making would create a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._path),)


MKDIR = f"{os.mkdir.__module__}.mkdir"


def saved(path: Path, content: Any, *, as_zip: bool = True, protocol: int = 2) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=as_zip, pickle_protocol=protocol)
    return path


def dumped(path: Path, content: Any, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def zipped(path: Path, content: Any, protocol: int = 2) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol))
    return path


CODE: dict[str, Callable[[Path, Any], Path]] = {
    "torch zip": lambda path, evil: saved(path, {"W": torch.ones(2), "x": evil}),
    "torch legacy": lambda path, evil: saved(path, {"W": torch.ones(2), "x": evil}, as_zip=False),
    "torch zip, protocol 4": lambda path, evil: saved(path, {"x": evil}, protocol=4),
    "torch legacy, protocol 4": lambda p, evil: saved(p, {"x": evil}, as_zip=False, protocol=4),
    "nested": lambda path, evil: saved(path, {"model": {"W": torch.ones(2), "x": [[evil]]}}),
    "key": lambda path, evil: saved(path, {"model": {evil: 1}}),
    "zip of its own": zipped,
    **{
        f"plain pickle, protocol {n}": lambda path, evil, n=n: dumped(path, [evil], n)  # type: ignore[misc]
        for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_code_is_named_and_not_run(tmp_path: Path, name: str, suffix: str) -> None:
    made = tmp_path / "made"
    path = CODE[name](tmp_path / f"model{suffix}", Touches(made))
    error = refusal(path)
    assert type(error) is UnsafePickleError
    assert f"asks for {MKDIR}" in str(error)
    assert "safetensors" in str(error)
    assert not made.exists()


def test_the_same_pickle_would_run_elsewhere(tmp_path: Path) -> None:
    # Else the tests above would prove nothing.
    path = saved(tmp_path / "model.pt", Touches(tmp_path / "made"))
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").is_dir()


def test_code_is_refused_before_torch_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "model.pt", {"x": Touches(tmp_path / "made")})
    monkeypatch.setitem(sys.modules, "torch", None)
    assert type(refusal(path)) is UnsafePickleError


def test_torch_s_own_switch_for_code_is_not_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = saved(tmp_path / "model.pt", {"x": Touches(tmp_path / "made")})
    assert type(refusal(path)) is UnsafePickleError
    assert not (tmp_path / "made").exists()


def test_code_that_we_do_not_know_is_torch_s_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second wall, with the first one taken down."""
    monkeypatch.setattr(pickle_globals, "_note", lambda *_: None)
    for name in ("torch zip", "torch legacy", "plain pickle, protocol 2"):
        path = CODE[name](tmp_path / "model.pt", Touches(tmp_path / "made"))
        error = refusal(path)
        assert not (tmp_path / "made").exists()
        if name.startswith("torch"):
            assert type(error) is UnsafePickleError
            assert MKDIR in str(error)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"W": np.ones(2)}, "_reconstruct"),
        ({"loss": np.float64(1)}, "multiarray.scalar"),
        ({"args": zipfile.ZipInfo("a")}, "zipfile.ZipInfo"),
        ({"path": Path("a")}, "pathlib"),
    ],
)
def test_objects_of_other_libraries_are_code(tmp_path: Path, content: Any, names: str) -> None:
    error = refusal(saved(tmp_path / "model.pt", content))
    assert type(error) is UnsafePickleError
    assert names in str(error)


def test_a_name_that_is_not_fit_to_be_shown_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x80\x02c\x1b[31mos\nsystem" + b"m" * 10_000 + b"\n.")
    error = refusal(path)
    assert type(error) is UnsafePickleError
    assert r"\x1b[31mos.system" in str(error)


def test_a_hundred_names_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x80\x02" + b"".join(b"cos\nf%d\n" % i for i in range(100)) + b".")
    assert "asks for os.f0, os.f1, and 98 more" in str(refusal(path))


STATE = {"model": OrderedDict(W=torch.arange(12.0).reshape(4, 3), n=3, b=torch.ones(2))}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return saved(tmp_path / "good.pt", STATE)


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    return saved(tmp_path / "legacy.pt", STATE, as_zip=False)


def raw_file(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


OTHER_FILES: dict[str, tuple[bytes, type[CheckpointError], str]] = {
    "nothing": (b"", NotACheckpointError, "neither a zip archive nor a pickle"),
    "text": (b"hello world, this is text", NotACheckpointError, "neither a zip archive nor"),
    "a list": (pickle.dumps([1, 2], 2), NotACheckpointError, "not one that torch.save writes"),
    "an integer": (pickle.dumps(5, 4), NotACheckpointError, "not one that torch.save writes"),
    "a deep list": (
        b"\x80\x02" + b"](" * 200_000 + b"e" * 200_000 + b".",
        NotACheckpointError,
        "not one that torch.save writes",
    ),
    "no end": (b"\x80\x02" + b"]" * 100_000, NotACheckpointError, "nor a pickle of torch's"),
    "a string of 2 GB": (b"\x80\x02X\xff\xff\xff\x7fabc", NotACheckpointError, "nor a pickle"),
    "safetensors": (
        safetensors({"W": np.ones(3)}),
        UnsupportedFormatError,
        "is safetensors by its first bytes, whatever its name",
    ),
    "GGUF": (b"GGUF" + bytes(100), UnsupportedFormatError, "is gguf by its first bytes"),
    "git-lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
        NotACheckpointError,
        "git-lfs pointer",
    ),
    "a zip's first four bytes": (b"PK\x03\x04", TruncatedFileError, "does not end as one"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str) -> None:
    raw, error, says = OTHER_FILES[name]
    refused = refusal(raw_file(tmp_path / "model.bin", raw))
    assert type(refused) is error
    assert says in str(refused)


def test_a_deep_pickle_in_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.pt"
    with zipfile.ZipFile(path, "w") as archive:
        deep = b"\x80\x02" + b"}X\x01\0\0\0a" * 100_000 + b"}" + b"s" * 100_000 + b"."
        archive.writestr("archive/data.pkl", deep)
        archive.writestr("archive/version", b"3\n")
    assert type(refusal(path)) is NotACheckpointError


def test_a_pickle_too_large_to_look_through_is_refused(good: Path, tmp_path: Path) -> None:
    path = repacked(good, tmp_path / "a.pt", data_pkl=lambda _: b"\x80\x02U\xff" * 4_100_000)
    error = refusal(path)
    assert type(error) is MalformedHeaderError
    assert "pickle of more than 16,000,000 bytes" in str(error)


def test_a_pickle_too_large_is_refused_though_it_ends(good: Path, tmp_path: Path) -> None:
    key = b"X" + struct.pack("<L", 17_000_000) + b"a" * 17_000_000
    path = repacked(good, tmp_path / "a.pt", data_pkl=lambda raw: b"\x80\x02}" + key + b"Ns.")
    assert type(refusal(path)) is MalformedHeaderError


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_newer_protocol_is_named(tmp_path: Path, as_zip: bool) -> None:
    path = saved(tmp_path / "a.pt", {"W": torch.ones(2)}, as_zip=as_zip, protocol=4)
    error = refusal(path)
    assert type(error) is UnsupportedFormatError
    assert "is of pickle protocol 4; torch reads weights of protocol 2" in str(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), path)
    error = refusal(path)
    assert type(error) is UnsupportedFormatError
    assert "is a TorchScript archive" in str(error)


def test_torchscript_in_disguise_is_named(good: Path, tmp_path: Path) -> None:
    for name in ("constants.pkl", "code/__torch__.py"):
        path = repacked(good, tmp_path / "model.pt", adding={name: b""})
        assert "TorchScript" in str(refusal(path))


def test_an_archive_without_a_pickle_is_no_checkpoint(good: Path, tmp_path: Path) -> None:
    error = refusal(repacked(good, tmp_path / "a.pt", without=("data.pkl",)))
    assert type(error) is NotACheckpointError
    assert "without a data.pkl" in str(error)


def test_a_compressed_archive_is_refused_and_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    error = refusal(path)
    assert type(error) is UnsupportedFormatError
    assert "is compressed (" in str(error)
    assert "10,000,000" in str(error)


def test_names_that_differ_in_case_alone_are_refused(good: Path, tmp_path: Path) -> None:
    # Torch finds members without regard to case, and might take the one for the other.
    evil = pickle.dumps(Touches(tmp_path / "made"), 2)
    path = repacked(good, tmp_path / "a.pt", adding={"DATA.PKL": evil})
    error = refusal(path)
    assert type(error) is MalformedHeaderError
    assert "differ in case alone" in str(error)
    assert not (tmp_path / "made").exists()


def test_a_pickle_in_another_folder_is_not_looked_for(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("first/version", b"3\n")
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert type(refusal(path)) is NotACheckpointError


def test_a_tar_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    error = refusal(path)
    assert type(error) is UnsupportedFormatError
    assert "tar archive" in str(error)


def test_a_tar_archive_that_begins_as_a_pickle_is_refused(legacy: Path, tmp_path: Path) -> None:
    # Its name is what a pickle of torch's begins with, so that both readers would take it.
    header = tarfile.TarInfo(legacy.read_bytes()[:60].decode("latin-1"))
    raw = header.tobuf(tarfile.USTAR_FORMAT, "latin-1", "strict") + bytes(1024)
    assert raw.startswith(b"\x80\x02\x8a")
    assert "tar archive" in str(refusal(raw_file(tmp_path / "a.pt", raw)))


def test_records_must_be_as_long_as_the_pickle_says(good: Path, tmp_path: Path) -> None:
    for change in (lambda raw: raw[:-4], lambda raw: raw + bytes(4)):
        error = refusal(repacked(good, tmp_path / "a.pt", data_0=change))
        assert type(error) is MalformedHeaderError
        assert "the pickle takes 48 bytes for" in str(error)


def test_a_record_that_is_not_there_is_missed(good: Path, tmp_path: Path) -> None:
    error = refusal(repacked(good, tmp_path / "a.pt", without=("data/1",)))
    assert type(error) is MalformedHeaderError


def pickled_numbers(old: int, new: int) -> Callable[[bytes], bytes]:
    """Return a change of the number of elements that a storage has in the pickle."""

    def change(raw: bytes) -> bytes:
        before = b"K%c" % old
        assert before in raw
        return raw.replace(before, b"\x8a\x08" + struct.pack("<q", new))

    return change


@pytest.mark.parametrize("n", [-1, 2**20, 2**40, 2**61, 2**62, 2**63 - 1, -(2**63)])
def test_sizes_that_the_file_cannot_hold_are_refused(good: Path, tmp_path: Path, n: int) -> None:
    path = repacked(good, tmp_path / "a.pt", data_pkl=pickled_numbers(12, n))
    assert type(refusal(path)) is MalformedHeaderError


@pytest.mark.parametrize("n", [2**20, 2**40])
def test_a_legacy_file_cannot_ask_for_more_memory_than_it_has_bytes(
    legacy: Path, tmp_path: Path, n: int
) -> None:
    path = raw_file(tmp_path / "a.pt", pickled_numbers(12, n)(legacy.read_bytes()))
    error = refusal(path)
    # Malformed where the system does not even promise as much.
    assert type(error) is TruncatedFileError or (n > 2**20 and type(error) is MalformedHeaderError)
    assert n > 2**20 or "after its pickle, which promises at least 4,194,304" in str(error)


def test_a_legacy_file_without_the_data_of_a_storage_is_refused(
    legacy: Path, tmp_path: Path
) -> None:
    raw = legacy.read_bytes()
    start = raw.rindex(b"\x80\x02]q\x00(")
    keys = io.BytesIO(raw[start:])
    listed = pickle.load(keys)
    assert len(listed) == 2
    path = raw_file(tmp_path / "a.pt", raw[:start] + pickle.dumps(listed[:1], 2) + keys.read())
    error = refusal(path)
    assert type(error) is MalformedHeaderError
    assert "in 2 storages and the data of 1" in str(error)


def test_a_view_that_repeats_itself_beyond_the_file_is_listed_and_not_unpacked(
    tmp_path: Path,
) -> None:
    repeated = torch.ones(1).expand(1 << 20, 1 << 20)
    path = saved(tmp_path / "a.pt", {"huge": repeated, "W": torch.ones(3)})
    container = read_torch(path)
    info = container.tensors["huge"]
    assert info.length == 4 << 40
    with pytest.raises(UnsupportedFormatError) as caught:
        container.read(info)
    assert "as a view that repeats its values" in str(caught.value)
    assert len(container.read(container.tensors["W"])) == 12


def test_memory_that_the_file_did_not_fill_is_not_read(good: Path, tmp_path: Path) -> None:
    """torch.Tensor(1000) in a pickle is a tensor of whatever was in memory."""

    def change(raw: bytes) -> bytes:
        # Another entry of the mapping, before its end.
        assert raw.endswith(b"s.")
        made = b"X\x04\0\0\0leakctorch\nTensor\nM\xe8\x03\x85R"
        return raw[:-1] + made + b"s."

    container = read_torch(
        repacked(
            saved(tmp_path / "flat.pt", {"W": torch.ones(3)}), tmp_path / "a.pt", data_pkl=change
        )
    )
    leak = container.tensors["leak"]
    assert (leak.dtype, leak.shape, len(container.read(leak))) == ("computed", (1000,), 0)
    assert bytes(container.read(container.tensors["W"])) == np.ones(3, np.float32).tobytes()


def test_an_attribute_of_a_pickle_does_not_stand_in_for_a_method(
    good: Path, tmp_path: Path
) -> None:
    def change(raw: bytes) -> bytes:
        # The OrderedDict is built with items = OrderedDict, which is a call without tensors.
        assert raw.endswith(b"s.")
        return raw[:-2] + b"}X\x05\0\0\0itemsccollections\nOrderedDict\nsbs."

    path = repacked(good, tmp_path / "a.pt", data_pkl=change)
    assert list(read_torch(path).tensors) == ["W", "b"]


def test_a_good_archive_cut_anywhere_is_truncated(good: Path, tmp_path: Path) -> None:
    raw = good.read_bytes()
    for n in range(4, len(raw), 7):
        error = refusal(raw_file(tmp_path / "cut.pt", raw[:n]))
        assert isinstance(error, TruncatedFileError), n


def test_a_good_legacy_file_cut_anywhere_is_refused(legacy: Path, tmp_path: Path) -> None:
    raw = legacy.read_bytes()
    for n in range(0, len(raw), 7):
        refused = refusal(raw_file(tmp_path / "cut.pt", raw[:n]))
        assert isinstance(
            refused, NotACheckpointError | TruncatedFileError | MalformedHeaderError
        ), n


@pytest.mark.parametrize("n_pickles", range(1, 5))
def test_a_legacy_file_cut_between_its_pickles_is_truncated(
    legacy: Path, tmp_path: Path, n_pickles: int
) -> None:
    raw = legacy.read_bytes()
    end = 0
    for _ in range(n_pickles):
        end += wants(memoryview(raw)[end:]).end
    error = refusal(raw_file(tmp_path / "a.pt", raw[:end]))
    assert type(error) is TruncatedFileError
    assert f"ends after {n_pickles} of the 5 pickles" in str(error)


def check_outcome(path: Path) -> None:
    """Read a file, and all of its tensors if it is one after all."""
    message = ""
    try:
        container = read_torch(path)
        for info in container.tensors.values():
            assert len(container.read(info)) == info.length
    except CheckpointError as error:
        message = str(error)
    assert message.isprintable()
    assert not [words for words in ADVICE if words in message]


CHANGES = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=4)


def changed(raw: bytes, changes: list[tuple[int, int]]) -> bytes:
    result = bytearray(raw)
    for at, byte in changes:
        result[at % len(result)] = byte
    return bytes(result)


@settings(max_examples=200)
@given(st.booleans(), CHANGES)
def test_bytes_changed_anywhere_raise_nothing_but_checkpoint_errors(
    tmp_path_factory: pytest.TempPathFactory, as_zip: bool, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("changed") / "a.pt"
    check_outcome(raw_file(path, changed(saved(path, STATE, as_zip=as_zip).read_bytes(), changes)))


@settings(max_examples=200)
@given(CHANGES)
def test_bytes_changed_in_the_pickle_raise_nothing_but_checkpoint_errors(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    good = saved(folder / "good.pt", STATE)
    check_outcome(repacked(good, folder / "a.pt", data_pkl=lambda raw: changed(raw, changes)))


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04"]))
def test_any_bytes_raise_nothing_but_checkpoint_errors(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, start: bytes
) -> None:
    check_outcome(raw_file(tmp_path_factory.mktemp("any") / "a.pt", start + raw))


@pytest.mark.parametrize(("number", "name"), [(99, "W"), (777, "b")])
def test_a_file_that_is_replaced_meanwhile_is_not_taken_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    """Torch opens the file a second time; what it maps is compared with ours at either end."""
    path = saved(tmp_path / "a.pt", {"W": torch.arange(100.0), "b": torch.full((2,), 777.0)})
    raw = path.read_bytes()
    old = np.float32(number).tobytes()
    other = raw.replace(old, np.float32(-1).tobytes())
    assert raw.count(old) == (1 if name == "W" else 2)
    load = torch.load

    def replacing(*arguments: Any, **options: Any) -> Any:
        path.unlink()
        path.write_bytes(other)
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", replacing)
    container = read_torch(path)
    assert bytes(container.read(container.tensors[name]))[-4:] == np.float32(-1).tobytes()


def test_a_file_that_is_written_to_meanwhile_is_noticed(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = torch.load

    def writing(*arguments: Any, **options: Any) -> Any:
        content = load(*arguments, **options)
        with good.open("ab") as file:
            file.write(b"x")
        return content

    monkeypatch.setattr(torch, "load", writing)
    assert type(refusal(good)) is ChangedFileError
