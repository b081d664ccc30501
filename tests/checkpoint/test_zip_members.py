"""Members of zip archives: where they lie, beside the standard library's own reading of them."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.checkpoint import zip_members
from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.zip_members import (
    DEFLATED,
    LOCAL_MAGIC,
    STORED,
    Member,
    read_members,
    unpack,
    unpack_start,
)
from isologit.errors import MalformedHeaderError, UnsupportedFormatError

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


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from([0, 1, 7]), st.integers(0, 20_000)), max_size=4),
    st.integers(0, 9),
)
def test_members_of_many_parts_are_put_together(
    tmp_path_factory: pytest.TempPathFactory,
    part_bytes: int,
    runs: list[tuple[int, int]],
    level: int,
) -> None:
    path = tmp_path_factory.mktemp("parts") / "a.zip"
    rng = np.random.default_rng(0)
    content = b"".join(rng.integers(0, most + 1, n, np.uint8).tobytes() for most, n in runs)
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("one", content, zipfile.ZIP_DEFLATED, level)
    source = MappedFile(path)
    member = read_members(source)["one"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip_members, "_PART_BYTES", part_bytes**5)
        assert unpack(source, member) == content
        assert unpack_start(source, member, 999) == content[:999]
        assert unpack(source, member).readonly


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


def test_sizes_of_64_bits_are_found_behind_other_extra_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    info = zipfile.ZipInfo("one")
    content = b"11"
    info.extra = struct.pack("<2H3s", 0xCAFE, 3, b"abc") + struct.pack("<2H2Q", 1, 16, 2, 2)
    with zipfile.ZipFile(path, "w") as written:
        written.writestr(info, content)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<2L", raw, raw.index(b"PK\x01\x02") + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    path.write_bytes(raw)
    source = MappedFile(path)
    assert bytes(unpack(source, read_members(source)["one"])) == content


def test_a_locator_that_leads_astray_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as written:
        for i in range(65_600):
            written.writestr(str(i), b"")
    raw = path.read_bytes()
    locator = len(raw) - 22 - 20
    assert raw[locator:].startswith(b"PK\x06\x07")
    for at in (0, locator, len(raw), 2**63):
        patched = bytearray(raw)
        struct.pack_into("<Q", patched, locator + 8, at)
        path.write_bytes(patched)
        with pytest.raises(MalformedHeaderError, match="no directory where the locator"):
            read_members(MappedFile(path))
    patched = bytearray(raw)
    struct.pack_into("<L", patched, locator + 16, 2)
    path.write_bytes(patched)
    with pytest.raises(UnsupportedFormatError, match="one of several volumes"):
        read_members(MappedFile(path))


def test_a_directory_too_large_is_not_gone_through(tmp_path: Path) -> None:
    # Sparse, and of entries that would be refused one by one.
    path, length = tmp_path / "a.zip", 100_000_001
    with path.open("wb") as file:
        file.write(LOCAL_MAGIC)
        file.seek(4 + length)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, length, 4, 0))
    with pytest.raises(MalformedHeaderError, match="announces a directory of 100,000,001 bytes"):
        read_members(MappedFile(path))


def test_an_entry_that_goes_beyond_the_directory_is_refused(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.zip")
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    # The length of the comment of the last entry.
    struct.pack_into("<H", raw, raw.rindex(b"PK\x01\x02") + 32, 5)
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(MalformedHeaderError, match="an entry in its directory that is none"):
        read_members(MappedFile(Path(source.name)))


@pytest.mark.parametrize("name", [b"o\0e", b"\xff\xfe\xfd"])
def test_a_name_that_readers_would_take_differently_is_refused(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "a.zip"
    info = zipfile.ZipInfo("one")
    info.flag_bits |= 1 << 11
    with zipfile.ZipFile(path, "w") as written:
        written.writestr(info, b"1")
    raw = path.read_bytes()
    flagged = bytearray(raw.replace(b"one", name))
    struct.pack_into("<H", flagged, raw.index(b"PK\x01\x02") + 8, 1 << 11)
    path.write_bytes(flagged)
    with pytest.raises(MalformedHeaderError, match="holds a member whose name is") as caught:
        read_members(MappedFile(path))
    assert str(caught.value).isprintable()


def test_an_empty_archive_has_no_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    assert read_members(MappedFile(tmp_path / "a.zip")) == {}


def test_methods_have_their_numbers() -> None:
    assert (STORED, DEFLATED) == (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    assert Member("a", STORED, 0, 0, 0, 0).method == 0
