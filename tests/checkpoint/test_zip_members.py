"""Members of zip archives: where they lie, beside the standard library's own reading of them."""

import io
import zipfile
from pathlib import Path

import pytest

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.zip_members import (
    DEFLATED,
    STORED,
    Member,
    read_members,
    unpack,
    unpack_start,
)

CONTENTS = {"a/one": b"1" * 1000, "a/two": bytes(range(256)), "a/none": b"", "ü": b"\0\1"}


def archive(
    path: Path, method: int = zipfile.ZIP_STORED, *, force_zip64: bool = False
) -> MappedFile:
    """Write `CONTENTS` by the standard library and return the file."""
    with zipfile.ZipFile(path, "w", method) as written:
        for name, content in CONTENTS.items():
            with written.open(name, "w", force_zip64=force_zip64) as member:
                member.write(content)
    return MappedFile(path)


class Unseekable(io.RawIOBase):
    """A file that cannot be wound back, so that sizes are written behind the data."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self._file.write(data)  # type: ignore[arg-type]

    def close(self) -> None:
        self._file.close()
        super().close()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("force_zip64", [False, True])
def test_members_are_those_of_the_standard_library(
    tmp_path: Path, method: int, force_zip64: bool
) -> None:
    source = archive(tmp_path / "a.zip", method, force_zip64=force_zip64)
    members = read_members(source)
    assert list(members) == list(CONTENTS)
    with zipfile.ZipFile(source.name) as oracle:
        for info in oracle.infolist():
            member = members[info.filename]
            assert (member.method, member.packed, member.size, member.crc) == (
                info.compress_type,
                info.compress_size,
                info.file_size,
                info.CRC,
            )
            assert bytes(unpack(source, member)) == CONTENTS[info.filename]
            assert bytes(unpack_start(source, member, 7)) == CONTENTS[info.filename][:7]


def test_a_stored_member_is_a_view_of_the_file(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.zip")
    member = read_members(source)["a/two"]
    raw = (tmp_path / "a.zip").read_bytes()
    assert raw[member.offset : member.offset + member.packed] == CONTENTS["a/two"]
    # The same memory, not an equal copy.
    assert unpack(source, member).obj is source.read(0, 1).obj


def test_sizes_behind_the_data_are_taken_from_the_directory(tmp_path: Path) -> None:
    with Unseekable(tmp_path / "a.zip") as file, zipfile.ZipFile(file, "w") as written:
        written.writestr("one", b"11")
        written.writestr("two", b"222")
    source = MappedFile(tmp_path / "a.zip")
    assert {n: bytes(unpack(source, m)) for n, m in read_members(source).items()} == {
        "one": b"11",
        "two": b"222",
    }


def test_a_directory_of_64_bits_is_read(tmp_path: Path) -> None:
    # More members than 16 bits count.
    n = 65_600
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as written:
        for i in range(n):
            written.writestr(str(i), b"")
        written.writestr("last", b"x")
    source = MappedFile(tmp_path / "a.zip")
    members = read_members(source)
    assert len(members) == n + 1
    assert bytes(unpack(source, members["last"])) == b"x"


def test_a_member_beyond_four_gigabytes_is_found(tmp_path: Path) -> None:
    # A hole in a sparse file takes no space; that its CRC-32 is not the data's is not looked at.
    path, hole = tmp_path / "a.zip", (1 << 32) + 5
    with path.open("wb") as file:
        file.truncate(hole)
        file.seek(hole)
        with zipfile.ZipFile(file, "w", allowZip64=True) as written:
            written.writestr("far", b"away")
    source = MappedFile(path)
    member = read_members(source)["far"]
    assert member.offset > 1 << 32
    assert bytes(unpack(source, member)) == b"away"


def test_an_empty_archive_has_no_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    assert read_members(MappedFile(tmp_path / "a.zip")) == {}


def test_methods_have_their_numbers() -> None:
    assert (STORED, DEFLATED) == (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    assert Member("a", STORED, 0, 0, 0, 0).method == 0
