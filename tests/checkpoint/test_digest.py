"""Digests of ranges of files, by a process and by a thread, and what happens when either fails."""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path

import pytest

from cli.command import finished, start
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


# What the programs below begin with: a digest by a process, or by a thread alone.
BESIDE = """
import sys, threading
from pathlib import Path
from isologit.checkpoint import digest
from isologit.checkpoint.bytes import MappedFile
digest._LARGE_BYTES = int(sys.argv[2])
source = MappedFile(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("large", [1, 1 << 60], ids=["process", "thread"])
def test_a_thread_that_outlives_the_main_one_gets_its_digest(tmp_path: Path, large: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    program = BESIDE + (
        "def job():\n"
        "    threading.main_thread().join()\n"
        "    print(digest.digest_beside(source, 0, source.size).result())\n"
        "threading.Thread(target=job).start()\n"
    )
    ran = finished(start(path, large, program=("-c", program)))
    assert (ran.code, ran.out, ran.err) == (0, sha256(CONTENT).hexdigest() + "\n", "")


@pytest.mark.skipif(os.name != "posix", reason="files here may have no holes")
@pytest.mark.parametrize("large", [1, 1 << 60], ids=["process", "thread"])
def test_a_program_that_ends_does_not_wait_for_its_digest(tmp_path: Path, large: int) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 38)  # a hole, whose digest would take minutes
    program = BESIDE + (
        "begin = digest._process\n"
        "def watched(*given):\n"
        "    process = begin(*given)\n"
        "    print(process.pid, flush=True)\n"
        "    return process\n"
        "digest._process = watched\n"
        "digest.digest_beside(source, 0, source.size)\n"
        "sys.exit(3)\n"
    )
    ran = finished(start(path, large, program=("-c", program)))
    assert (ran.code, ran.err) == (3, "")
    if large == 1:
        assert ends(int(ran.out))
    else:
        assert ran.out == ""


def ends(process: int) -> bool:
    """Return whether a process that is no child of ours has ended within a minute."""
    for _ in range(600):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
