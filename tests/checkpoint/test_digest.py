"""Digests of ranges of files, by a process and by a thread, and what happens when either fails."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path

import pytest

from isologit.checkpoint import digest
from isologit.checkpoint.bytes import MappedFile
from isologit.errors import TruncatedFileError

CONTENT = bytes(range(251)) * 5000


@pytest.fixture
def source(tmp_path: Path) -> MappedFile:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return MappedFile(path)


def result(of: Future[str]) -> str:
    return of.result(timeout=60)


@pytest.mark.parametrize("large", [1, 1 << 40], ids=["process", "thread"])
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, len(CONTENT)), (1, 1), (7, 300_000), (len(CONTENT) - 5, 5), (100, 0)],
)
def test_digests_are_of_the_range_alone(
    source: MappedFile, large: int, offset: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "_LARGE_BYTES", large)
    expected = sha256(CONTENT[offset : offset + length]).hexdigest()
    assert result(digest.digest_beside(source, offset, length)) == expected


def test_a_large_range_has_a_process_of_its_own(
    source: MappedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: object) -> str:
        raise AssertionError("a thread digested what the process should have")

    monkeypatch.setattr(digest, "_LARGE_BYTES", 1)
    monkeypatch.setattr(digest, "_digested", refused)
    assert result(digest.digest_beside(source, 0, 10)) == sha256(CONTENT[:10]).hexdigest()


def no_interpreter(patch: pytest.MonkeyPatch, _folder: Path) -> None:
    patch.setattr(sys, "executable", "")


def no_such_interpreter(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(sys, "executable", str(folder / "nowhere"))


def no_script(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(digest, "_SCRIPT", folder / "nowhere.py")


def a_script_that_fails(patch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "script.py").write_text("import sys; print('0' * 64); sys.exit(3)")
    patch.setattr(digest, "_SCRIPT", folder / "script.py")


def a_script_that_says_something_else(patch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "script.py").write_text("print('nothing')")
    patch.setattr(digest, "_SCRIPT", folder / "script.py")


@pytest.mark.parametrize(
    "break_it",
    [
        no_interpreter,
        no_such_interpreter,
        no_script,
        a_script_that_fails,
        a_script_that_says_something_else,
    ],
)
def test_where_there_is_no_such_process_a_thread_does_it(
    source: MappedFile,
    tmp_path: Path,
    break_it: Callable[[pytest.MonkeyPatch, Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digest, "_LARGE_BYTES", 1)
    break_it(monkeypatch, tmp_path)
    found = result(digest.digest_beside(source, 0, len(CONTENT)))
    assert found == sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("large", [1, 1 << 40], ids=["process", "thread"])
def test_a_file_that_became_shorter_is_an_error_and_no_digest(
    source: MappedFile, tmp_path: Path, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "_LARGE_BYTES", large)
    (tmp_path / "file").write_bytes(CONTENT[:1000])
    with pytest.raises(TruncatedFileError, match=r"had 1,255,000 bytes and now ends at 1,000"):
        result(digest.digest_beside(source, 0, len(CONTENT)))


def test_a_file_that_was_replaced_is_digested_as_it_was_opened(
    source: MappedFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "_LARGE_BYTES", 1)
    (tmp_path / "other").write_bytes(b"\0" * len(CONTENT))
    (tmp_path / "other").rename(tmp_path / "file")
    assert result(digest.digest_beside(source, 0, 100)) == sha256(CONTENT[:100]).hexdigest()
