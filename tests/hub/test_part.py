"""An incomplete file and its journal: what counts as here, and what does not."""

from pathlib import Path

import pytest

from isologit.checkpoint.hub.part import RUN_BYTES, Outdated, Part, journal_of, journaled_bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a part of 3,000,000 bytes is."""
    return tmp_path / "folder" / "a.part"


LENGTH = 3_000_000


def gaps(path: Path) -> list[tuple[int, int]]:
    """Return what another run would fetch."""
    part = Part(path, LENGTH)
    part.close()
    return part.gaps()


def test_what_was_written_is_here_and_the_rest_is_a_gap(path: Path) -> None:
    part = Part(path, LENGTH)
    assert (part.here, part.gaps()) == (0, [(0, LENGTH)])
    part.write(100, b"a" * 50)
    part.write(150, b"b" * 50)
    part.write(1_000_000, b"c" * 10)
    assert part.here == 110
    assert part.gaps() == [(0, 100), (200, 1_000_000), (1_000_010, LENGTH)]
    part.close()


def test_a_later_run_finds_it(path: Path) -> None:
    part = Part(path, LENGTH)
    part.write(100, b"a" * 50)
    part.write(150, b"b" * 50)
    part.close()
    again = Part(path, LENGTH)
    assert again.gaps() == [(0, 100), (200, LENGTH)]
    again.write(0, b"d" * 100)
    again.write(200, b"e" * (LENGTH - 200))
    again.finish(path.with_name("whole"))
    expected = b"d" * 100 + b"a" * 50 + b"b" * 50 + b"e" * (LENGTH - 200)
    assert path.with_name("whole").read_bytes() == expected
    assert [p.name for p in path.parent.iterdir()] == ["whole"]


def test_the_journal_says_so_at_least_every_megabyte(path: Path) -> None:
    # Without an orderly end: what a killed process leaves.
    part = Part(path, LENGTH)
    for start in range(0, 2_500_000, 50_000):
        part.write(start, bytes(50_000))
        assert start + 50_000 - journaled_bytes(path) < RUN_BYTES + 50_000
    assert gaps(path)[0][0] >= RUN_BYTES
    part.close()


def test_nothing_is_written_once_it_is_closed(path: Path) -> None:
    part = Part(path, LENGTH)
    part.write(0, b"a")
    part.close()
    before = path.read_bytes(), journal_of(path).read_bytes()
    part.write(1, b"late")
    part.close()
    assert (path.read_bytes(), journal_of(path).read_bytes()) == before


@pytest.mark.parametrize("torn", [b"1 2", b"0 99", b"etag x", b"\xff\x00"])
def test_a_line_that_a_crash_has_cut_spoils_no_other(path: Path, torn: bytes) -> None:
    part = Part(path, LENGTH)
    part.write(0, b"a" * 10)
    part.close()
    with journal_of(path).open("ab") as journal:
        journal.write(torn)
    again = Part(path, LENGTH)
    again.write(10, b"b" * 10)
    again.close()
    assert gaps(path) == [(20, LENGTH)]


def test_what_is_of_another_version_is_told_apart(path: Path) -> None:
    part = Part(path, LENGTH)
    part.belongs_to('"one"')
    part.belongs_to('"one"')
    part.write(0, b"a")
    with pytest.raises(Outdated):
        part.belongs_to('"two"')
    part.close()
    again = Part(path, LENGTH)
    again.belongs_to('"one"')
    for other in ('"two"', None):
        with pytest.raises(Outdated):
            again.belongs_to(other)
    again.clear()
    assert again.gaps() == [(0, LENGTH)]
    again.belongs_to('"two"')
    again.close()


def test_a_server_without_etags_is_of_one_version_too(path: Path) -> None:
    part = Part(path, LENGTH)
    part.belongs_to(None)
    part.write(0, b"a")
    part.close()
    again = Part(path, LENGTH)
    again.belongs_to(None)
    with pytest.raises(Outdated):
        again.belongs_to('"one"')
    again.close()


def test_an_empty_part_belongs_to_whatever_comes(path: Path) -> None:
    part = Part(path, LENGTH)
    part.belongs_to('"one"')
    part.close()
    again = Part(path, LENGTH)
    again.belongs_to('"two"')
    again.close()


def test_one_that_is_discarded_leaves_nothing(path: Path) -> None:
    part = Part(path, LENGTH)
    part.write(0, b"a")
    part.discard()
    part.write(1, b"late")
    assert list(path.parent.iterdir()) == []
