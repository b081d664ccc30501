"""NumPy files that lie: one error, of its own class, on one line, and no memory taken for them."""

import io
import os
import resource
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.numpy_file import read_npy, read_npz
from isologit.checkpoint.tensors import Container
from isologit.errors import (
    CheckpointError,
    MalformedHeaderError,
    NotACheckpointError,
    TruncatedFileError,
    UnsafePickleError,
    UnsupportedFormatError,
)

MAGIC = b"\x93NUMPY"


def read(path: Path) -> Container:
    source = MappedFile(path)
    return read_npz(source) if path.suffix == ".npz" else read_npy(source)


def refusal(path: Path, raw: bytes | None = None) -> CheckpointError:
    """Read a file and return the error, having checked that it is fit to be shown."""
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(CheckpointError) as caught:
        read(path)
    return shown(caught.value, path)


def shown(error: CheckpointError, path: Path) -> CheckpointError:
    message = str(error)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 700
    assert "allow_pickle" not in message
    return error


def header(
    descr: str = "'<f4'", shape: str = "(3,)", *, order: str = "False", version: int = 1
) -> bytes:
    """Return what stands before an array's numbers."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return as_header(text, version)


def as_header(text: bytes, version: int = 1) -> bytes:
    return (
        MAGIC + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text
    )


def npy(array: Any, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


GOOD = npy(np.arange(3, dtype=np.float32))

BAD: dict[str, tuple[bytes, type[CheckpointError], str]] = {
    "nothing": (b"", TruncatedFileError, "has 0 bytes, fewer than the 8"),
    "half a magic": (MAGIC[:3], TruncatedFileError, "has 3 bytes, fewer than the 8"),
    "another magic": (b"\x93NUMPX\x01\x00", MalformedHeaderError, "begins with b'\\x93NUMPX'"),
    "a pickle": (b"\x80\x02]q\x00.", MalformedHeaderError, "begins with b'\\x80\\x02]q\\x00.'"),
    "no length": (MAGIC + b"\x01\x00\x05", TruncatedFileError, "has 9 bytes, fewer than the 10"),
    "half a header": (GOOD[:50], TruncatedFileError, "has 50 bytes, fewer than the 128"),
    "version 0": (MAGIC + b"\0\0" + GOOD[8:], UnsupportedFormatError, "of version 0.0 of"),
    "version 3": (MAGIC + b"\3\0" + GOOD[8:], UnsupportedFormatError, "of version 3.0 of"),
    "version 1.7": (MAGIC + b"\1\7" + GOOD[8:], UnsupportedFormatError, "of version 1.7 of"),
    "a header of 4 GB": (
        MAGIC + b"\2\0" + b"\xff" * 4 + bytes(100),
        MalformedHeaderError,
        "announces a header of 4,294,967,295 bytes",
    ),
    "a long header": (
        as_header(b"{}" + b" " * 20_000, 2),
        MalformedHeaderError,
        "announces a header of 20,002 bytes; at most 10,000 are read",
    ),
    "not Python": (as_header(b"{not python}"), MalformedHeaderError, "that numpy does not read"),
    "a call": (
        as_header(b"__import__('os').mkdir('made')"),
        MalformedHeaderError,
        "that numpy does not read",
    ),
    "deep": (as_header(b"(" * 9_000), MalformedHeaderError, "that numpy does not read"),
    "deep and closed": (
        as_header(b"[" * 4_000 + b"]" * 4_000),
        MalformedHeaderError,
        "that numpy does not read",
    ),
    "minus minus minus": (as_header(b"-" * 9_000 + b"1"), MalformedHeaderError, "does not read"),
    "a zero byte": (as_header(b"{\0}"), MalformedHeaderError, "that numpy does not read"),
    "not latin-1 but control": (as_header(b"\x1b[31m\n"), MalformedHeaderError, "does not read"),
    "no descr": (as_header(b"{'shape': (3,)}"), MalformedHeaderError, "does not read"),
    "a key too many": (
        as_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}"),
        MalformedHeaderError,
        "does not read",
    ),
    "a descr that is none": (header("'nonsense'"), MalformedHeaderError, "does not read"),
    "a descr that is a list": (header("[('a', 5)]"), MalformedHeaderError, "does not read"),
    "an order that is none": (header(order="3"), MalformedHeaderError, "does not read"),
    "a shape that is a list": (header(shape="[3]"), MalformedHeaderError, "does not read"),
    "a shape of floats": (header(shape="(3.0,)"), MalformedHeaderError, "does not read"),
    "a shape of booleans": (
        header(shape="(True, True)") + bytes(4),
        MalformedHeaderError,
        "is of shape [True, True]; expected non-negative",
    ),
    "a negative size": (
        header(shape="(-3,)") + bytes(12),
        MalformedHeaderError,
        "is of shape [-3]; expected non-negative 64-bit integers, at most 64",
    ),
    "two negative sizes": (
        header(shape="(-3, -1)") + bytes(12),
        MalformedHeaderError,
        "is of shape [-3, -1]",
    ),
    "a size past 64 bits": (header(shape=f"({2**63},)"), MalformedHeaderError, "is of shape [922"),
    "a huge size": (
        header(shape=f"({2**62},)") + bytes(12),
        TruncatedFileError,
        "which takes 18,446,744,073,709,551,616 bytes; there are 12 after its header",
    ),
    "huge sizes": (
        header(shape=f"({2**62}, {2**62}, {2**62})") + bytes(12),
        TruncatedFileError,
        "there are 12 after its header",
    ),
    "very many huge sizes": (
        header(shape=f"({f'{2**62}, ' * 400})", version=2) + bytes(12),
        MalformedHeaderError,
        ", and 392 more]; expected non-negative 64-bit integers, at most 64",
    ),
    "as many huge sizes as there may be": (
        header(shape=f"({f'{2**62}, ' * 64})", version=2) + bytes(12),
        TruncatedFileError,
        " characters) bytes; there are 12 after its header",
    ),
    "huge sizes and a zero": (
        header(shape=f"({2**62}, 0)") + bytes(12),
        MalformedHeaderError,
        "which takes 0 bytes; there are 12 after its header",
    ),
    "a huge item": (header("'|V2147483647'"), TruncatedFileError, "there are 0 after its header"),
    "one byte too few": (GOOD[:-1], TruncatedFileError, "12 bytes; there are 11 after its header"),
    "one byte too many": (GOOD + b"x", MalformedHeaderError, "12 bytes; there are 13 after"),
    "two arrays": (GOOD + GOOD, MalformedHeaderError, "Expected one array and nothing else"),
    "objects": (
        npy(np.array([{}, []], dtype=object), allow_pickle=True),
        UnsafePickleError,
        "is an array of Python objects (|O), which is a pickle",
    ),
    "objects in a record": (
        npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "O")]), allow_pickle=True),
        UnsafePickleError,
        "is an array of Python objects",
    ),
    "8 bits of some kind": (
        npy(np.zeros(2, dtype=ml_dtypes.int4)),
        UnsupportedFormatError,
        "is stored as |V1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_an_array_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    raw, error, says = BAD[name]
    refused = refusal(tmp_path / "w.npy", raw)
    assert type(refused) is error
    assert says in str(refused)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", BAD)
def test_an_archive_with_an_array_that_lies_is_refused(
    tmp_path: Path, name: str, method: int
) -> None:
    raw, error, says = BAD[name]
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("good.npy", GOOD)
        archive.writestr("bad.npy", raw)
    refused = refusal(tmp_path / "a.npz")
    assert type(refused) is error
    assert f"{tmp_path / 'a.npz'}: array bad " in str(refused)
    assert says in str(refused)


class Touches:
    """An object whose making would create a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_pickle_in_an_array_is_not_run(tmp_path: Path, suffix: str) -> None:
    made, path = tmp_path / "made", tmp_path / f"w{suffix}"
    evil = np.array([Touches(made)], dtype=object)
    (np.savez if suffix == ".npz" else np.save)(path, evil, allow_pickle=True)
    assert type(refusal(path)) is UnsafePickleError
    assert not made.exists()
    # Else this would prove nothing.
    if suffix == ".npz":
        with np.load(path, allow_pickle=True) as loaded:
            _ = loaded["arr_0"]
    else:
        np.load(path, allow_pickle=True)
    assert made.exists()


def test_a_good_array_cut_anywhere_is_truncated(tmp_path: Path) -> None:
    for n in range(len(GOOD)):
        assert isinstance(refusal(tmp_path / "w.npy", GOOD[:n]), TruncatedFileError), n


def archive_of(compressed: bool) -> bytes:
    file = io.BytesIO()
    write = np.savez_compressed if compressed else np.savez
    write(file, W=np.arange(600, dtype=np.float32).reshape(200, 3), b=np.ones(2, np.float16))
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_good_archive_cut_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    raw = archive_of(compressed)
    for n in range(0, len(raw), 5):
        error = refusal(tmp_path / "a.npz", raw[:n])
        assert isinstance(error, TruncatedFileError | NotACheckpointError), n


def patched(raw: bytes, at: int, fields: str, *values: int) -> bytes:
    """Return some bytes with numbers at a place written over."""
    result = bytearray(raw)
    struct.pack_into("<" + fields, result, at, *values)
    return bytes(result)


def entry_at(raw: bytes, index: int = 0) -> int:
    """Return where an entry of the directory begins."""
    at = raw.index(b"PK\x01\x02")
    for _ in range(index):
        at = raw.index(b"PK\x01\x02", at + 1)
    return at


STORED, PACKED = archive_of(False), archive_of(True)
END = -22

ARCHIVES: dict[str, tuple[bytes, type[CheckpointError], str]] = {
    "nothing": (b"", NotACheckpointError, "is not a zip archive (0 bytes)"),
    "an array": (GOOD, NotACheckpointError, "is not a zip archive"),
    "no members": (b"PK\x05\x06" + bytes(18), NotACheckpointError, "of 0 members, none of them"),
    "a comment": (
        patched(STORED, len(STORED) - 2, "H", 1),
        MalformedHeaderError,
        "a directory that does not reach to its end record",
    ),
    "bytes after the end": (STORED + b"x", TruncatedFileError, "does not end as one"),
    "bytes before the beginning": (
        b"PK\x03\x04" + STORED,
        MalformedHeaderError,
        "a directory that does not reach to its end record",
    ),
    "several volumes": (
        patched(STORED, len(STORED) + END + 4, "2H", 1, 1),
        UnsupportedFormatError,
        "one of several volumes",
    ),
    "more entries than there are": (
        patched(STORED, len(STORED) + END + 8, "2H", 3, 3),
        MalformedHeaderError,
        "has fewer entries in its directory than it says",
    ),
    "fewer entries than there are": (
        patched(STORED, len(STORED) + END + 8, "2H", 1, 1),
        MalformedHeaderError,
        "after the last entry of its directory",
    ),
    "an entry that is none": (
        patched(STORED, entry_at(STORED), "B", 0),
        MalformedHeaderError,
        "has an entry in its directory that is none",
    ),
    "encrypted": (
        patched(STORED, entry_at(STORED) + 8, "H", 1),
        UnsupportedFormatError,
        "member W.npy is encrypted",
    ),
    "compressed otherwise": (
        patched(patched(STORED, entry_at(STORED) + 10, "H", 12), 8, "H", 12),
        UnsupportedFormatError,
        "member W.npy is compressed by method 12",
    ),
    "two methods": (
        patched(STORED, entry_at(STORED) + 10, "H", 8),
        MalformedHeaderError,
        "member W.npy is not where the directory says",
    ),
    "another place": (
        patched(STORED, entry_at(STORED) + 42, "L", 1),
        MalformedHeaderError,
        "member W.npy is not where the directory says",
    ),
    "a place outside": (
        patched(STORED, entry_at(STORED) + 42, "L", 2**32 - 2),
        MalformedHeaderError,
        "member W.npy begins outside of the file",
    ),
    "a place of 64 bits that is not given": (
        patched(STORED, entry_at(STORED) + 42, "L", 2**32 - 1),
        MalformedHeaderError,
        "member W.npy begins outside of the file",
    ),
    "larger than the file": (
        patched(STORED, entry_at(STORED) + 20, "2L", 2**31, 2**31),
        MalformedHeaderError,
        "member W.npy reaches out of the file",
    ),
    "into the next one": (
        patched(STORED, entry_at(STORED) + 20, "2L", 2600, 2600),
        MalformedHeaderError,
        "member b.npy overlaps the one before it",
    ),
    "into the directory": (
        patched(STORED, entry_at(STORED, 1) + 20, "2L", 200, 200),
        MalformedHeaderError,
        "has members that reach into its directory",
    ),
    "two sizes of one": (
        patched(STORED, entry_at(STORED) + 24, "L", 9),
        MalformedHeaderError,
        "member W.npy announces 9 bytes out of 2,528, which method 0 cannot give",
    ),
    "a bomb": (
        patched(PACKED, entry_at(PACKED) + 24, "L", 2**31),
        MalformedHeaderError,
        "member W.npy announces 2,147,483,648 bytes out of",
    ),
    "more than the array takes": (
        patched(PACKED, entry_at(PACKED) + 24, "L", 2529),
        MalformedHeaderError,
        "array W is <f4 [200, 3], which takes 2,400 bytes; there are 2,401",
    ),
    "less than the array takes": (
        patched(PACKED, entry_at(PACKED) + 24, "L", 2527),
        TruncatedFileError,
        "array W is <f4 [200, 3], which takes 2,400 bytes; there are 2,399",
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_lies_is_refused(tmp_path: Path, name: str) -> None:
    raw, error, says = ARCHIVES[name]
    refused = refusal(tmp_path / "a.npz", raw)
    assert type(refused) is error
    assert says in str(refused)


def written(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    error = refusal(written(tmp_path / "a.npz", ("W.npy", GOOD), ("W.npy", GOOD)))
    assert type(error) is MalformedHeaderError
    assert "member W.npy is there twice" in str(error)


def test_two_entries_of_one_member_are_refused(tmp_path: Path) -> None:
    # As a bomb that unpacks the same bytes again and again has them.
    raw = written(tmp_path / "a.npz", ("W.npy", GOOD), ("V.npy", GOOD)).read_bytes()
    doubled = patched(raw, entry_at(raw, 1) + 42, "L", 0)
    doubled = doubled.replace(b"V.npy", b"W.npy").replace(b"W.npy", b"U.npy", 1)
    assert type(refusal(tmp_path / "a.npz", doubled)) is MalformedHeaderError


def test_what_is_not_an_array_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npz", ("readme.txt", b"text"), ("W.npy", GOOD), ("dir/", b""))
    assert list(read(path).tensors) == ["W"]


def test_an_archive_without_arrays_is_no_checkpoint(tmp_path: Path) -> None:
    error = refusal(written(tmp_path / "a.npz", ("readme.txt", b"text")))
    assert type(error) is NotACheckpointError
    assert "a zip archive of 1 member, none of them an array (.npy)" in str(error)


def test_a_name_that_is_not_fit_to_be_shown_is_escaped(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npz", ("\x1b[31mred\n" + "n" * 5000 + ".npy", b"x"))
    assert r"array \x1b[31mred\n" in str(refusal(path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw, at: patched(raw, at + 60, "B", raw[at + 60] ^ 255), "member W.npy "),
        (lambda raw, at: patched(raw, entry_at(raw) + 16, "L", 5), "does not have the CRC-32"),
    ],
)
def test_what_does_not_unpack_is_refused_when_it_is_read(
    tmp_path: Path, change: Callable[[bytes, int], bytes], says: str
) -> None:
    path = tmp_path / "a.npz"
    rng = np.random.default_rng(0)
    np.savez_compressed(path, W=rng.integers(0, 4, 60_000, dtype=np.uint8))
    path.write_bytes(change(path.read_bytes(), 5_000))
    container = read(path)
    with pytest.raises(MalformedHeaderError) as caught:
        container.read(container.tensors["W"])
    assert says in str(shown(caught.value, path))


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    # The header fits what the directory says; the data go on.
    path = tmp_path / "a.npz"
    array = header(shape="(100, 100)") + bytes(40_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W.npy", array + bytes(1_000_000))
    raw = path.read_bytes()
    path.write_bytes(patched(raw, entry_at(raw) + 24, "L", len(array)))
    container = read(path)
    with pytest.raises(MalformedHeaderError, match=r"unpacks to more than the 40,\d+ bytes"):
        container.read(container.tensors["W"])


def test_a_member_that_unpacks_to_less_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    start = header(shape="(100, 100)")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W.npy", start + bytes(39_000))
    raw = path.read_bytes()
    path.write_bytes(patched(raw, entry_at(raw) + 24, "L", len(start) + 40_000))
    container = read(path)
    with pytest.raises(MalformedHeaderError, match=r"unpacks to 39,\d+ bytes; the directory says"):
        container.read(container.tensors["W"])


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is the system's")
def test_refusals_take_no_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i in range(20):
            with archive.open(f"{i}.npy", "w") as member:
                for _ in range(100):
                    member.write(bytes(1 << 20))
    assert type(refusal(bomb)) is MalformedHeaderError
    for raw, _, _ in BAD.values():
        refusal(tmp_path / "a.npy", raw)
    for raw, _, _ in ARCHIVES.values():
        refusal(tmp_path / "a.npz", raw)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50_000


def check_outcome(path: Path, raw: bytes) -> None:
    """Read some bytes, and all of their tensors if they are an array or an archive after all."""
    path.write_bytes(raw)
    message = ""
    try:
        container = read(path)
        for info in container.tensors.values():
            assert len(container.read(info)) == info.length
    except CheckpointError as error:
        message = str(error)
    assert message.isprintable()


SUFFIXED = {"w.npy": GOOD, "stored.npz": STORED, "packed.npz": PACKED}


@settings(max_examples=300)
@given(
    st.sampled_from(list(SUFFIXED)),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_bytes_changed_anywhere_raise_nothing_but_checkpoint_errors(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[int, int]]
) -> None:
    raw = bytearray(SUFFIXED[name])
    for at, byte in changes:
        raw[at % len(raw)] = byte
    check_outcome(tmp_path_factory.mktemp("changed") / name, bytes(raw))


@settings(max_examples=200)
@given(st.sampled_from(["a.npy", "a.npz"]), st.binary(max_size=200), st.booleans())
def test_any_bytes_raise_nothing_but_checkpoint_errors(
    tmp_path_factory: pytest.TempPathFactory, name: str, raw: bytes, headed: bool
) -> None:
    start = (MAGIC + b"\1\0" if name == "a.npy" else b"PK\x03\x04") if headed else b""
    check_outcome(tmp_path_factory.mktemp("any") / name, start + raw)


@settings(max_examples=200)
@given(st.text("{}'()<>=|fFVOiu248, \ndescrshapotnTF:-L", max_size=80))
def test_any_header_raises_nothing_but_checkpoint_errors(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("header") / "a.npy"
    check_outcome(path, as_header(text.encode()) + bytes(12))
    check_outcome(path, header(repr(text)) + bytes(12))
