"""Mapped files: views, copies, bounds, and what cannot be mapped."""

import os
from pathlib import Path

import pytest

from isologit.checkpoint.bytes import MappedFile
from isologit.errors import NotACheckpointError, TruncatedFileError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(10)))
    return path


def test_a_view_is_the_bytes_of_its_range(file: Path) -> None:
    source = MappedFile(file)
    assert source.size == 10
    assert bytes(source.view(3, 4)) == bytes([3, 4, 5, 6])
    assert bytes(source.read(0, 10)) == bytes(range(10))


def test_reading_copies_nothing(file: Path) -> None:
    source = MappedFile(file)
    assert source.read(2, 4).obj is source.read(5, 1).obj


def test_a_view_outlives_its_source_and_the_file_s_name(file: Path) -> None:
    view = MappedFile(file).view(0, 10)
    file.unlink()
    assert bytes(view) == bytes(range(10))


def test_copies_are_the_range_in_order_however_many_parts_it_takes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    (tmp_path / "large").write_bytes(content)
    source = MappedFile(tmp_path / "large")
    for offset, length in ((0, len(content)), (3, len(content) - 7), (9, 0), (5, 1)):
        copied = b"".join(bytes(part) for part in source.copies(offset, length))
        assert copied == content[offset : offset + length]
    with pytest.raises(TruncatedFileError, match="were asked for"):
        list(source.copies(1, len(content)))


def test_the_file_is_closed_with_its_source(file: Path) -> None:
    source = MappedFile(file)
    descriptor = source.descriptor
    assert os.fstat(descriptor).st_size == 10
    del source
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_view_cannot_be_written_to(file: Path) -> None:
    with pytest.raises(TypeError, match="read-only"):
        MappedFile(file).view(0, 1)[0] = 1


@pytest.mark.parametrize(("offset", "length"), [(8, 3), (11, 0), (-1, 2), (0, -1), (2**70, 1)])
def test_a_range_past_the_end_names_the_file_and_both_ends(
    file: Path, offset: int, length: int
) -> None:
    with pytest.raises(TruncatedFileError, match=r"bytes has 10 bytes; bytes .* were asked for"):
        MappedFile(file).read(offset, length)


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert MappedFile(path).size == 0
    assert bytes(MappedFile(path).read(0, 0)) == b""


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotACheckpointError, match="absent cannot be read: No such file"):
        MappedFile(tmp_path / "absent")
