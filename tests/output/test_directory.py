"""The output directory: all of it, or nothing; and nobody else's is replaced."""

import errno
import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from checkpoints import gaussian, write_matrix
from cli.command import finished, isologit, start
from isologit.errors import OutputExistsError, OutputWriteError
from isologit.output import results
from isologit.output.directory import check_target, write_directory

OURS = '{\n  "schema": "isologit.audit/1"\n}\n'


def text(content: str) -> Any:
    """Return a writer of a text file."""
    return lambda path: path.write_text(content, encoding="utf-8")


def refuse(number: int) -> Any:
    """Return a writer that the file system refuses after half a file."""

    def write(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise OSError(number, errno.errorcode[number])

    return write


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return every path below a folder, hidden ones too, and what the files hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


class TestWriting:
    """Atomicity, in this process."""

    def test_all_files_appear_under_the_target(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "deep" / "out"
        paths = write_directory(target, {"a": text("1"), "b": text("2")})
        assert paths == [target / "a", target / "b"]
        assert snapshot(target) == {"a": b"1", "b": b"2"}
        assert [path.name for path in target.parent.iterdir()] == ["out"]

    def test_its_permissions_follow_the_umask(self, tmp_path: Path) -> None:
        beside = tmp_path / "beside"
        beside.mkdir()
        write_directory(tmp_path / "out", {"a": text("1")})
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE(
            beside.stat().st_mode
        )

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
    def test_a_refused_write_leaves_nothing(self, tmp_path: Path, number: int) -> None:
        with pytest.raises(OutputWriteError, match="nothing was left behind") as caught:
            write_directory(tmp_path / "out", {"a": text("1"), "b": refuse(number)})
        assert str(tmp_path / "out") in str(caught.value)
        assert snapshot(tmp_path) == {}

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
    def test_any_other_end_leaves_nothing_either(
        self, tmp_path: Path, error: type[BaseException]
    ) -> None:
        def write(_path: Path) -> None:
            raise error

        with pytest.raises(error):
            write_directory(tmp_path / "out", {"a": text("1"), "b": write})
        assert snapshot(tmp_path) == {}

    def test_a_refused_replacement_leaves_the_old_directory(self, tmp_path: Path) -> None:
        target = tmp_path / "out"
        write_directory(target, {"summary.json": text(OURS)})
        before = snapshot(tmp_path)
        with pytest.raises(OutputWriteError):
            write_directory(target, {"summary.json": refuse(errno.ENOSPC)}, force=True)
        assert snapshot(tmp_path) == before

    def test_a_rename_that_fails_puts_the_old_directory_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "out"
        write_directory(target, {"summary.json": text(OURS)})
        before = snapshot(tmp_path)
        rename = Path.rename

        def fail(path: Path, to: Path) -> Path:
            if Path(to) == target and path.name != "old":
                raise OSError(errno.EIO, "Input/output error")
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(OutputWriteError, match="Input/output error"):
            write_directory(target, {"summary.json": text("new")}, force=True)
        assert snapshot(tmp_path) == before

    def test_an_old_directory_that_cannot_be_put_back_is_kept_and_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "out"
        write_directory(target, {"summary.json": text(OURS)})
        rename = Path.rename

        def fail(path: Path, to: Path) -> Path:
            if Path(to) == target:
                raise OSError(errno.EIO, "Input/output error")
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(OutputWriteError, match="could not be put back and is ") as raised:
            write_directory(target, {"summary.json": text("new")}, force=True)
        kept = Path(str(raised.value).split("put back and is ")[1].split(". Choose")[0])
        assert (kept / "summary.json").read_text() == OURS

    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_between_the_renames_puts_the_old_directory_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
    ) -> None:
        target = tmp_path / "out"
        write_directory(target, {"summary.json": text(OURS)})
        before = snapshot(tmp_path)
        rename = Path.rename

        def fail(path: Path, to: Path) -> Path:
            if Path(to) == target and path.name != "old":
                raise interrupt
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(interrupt):
            write_directory(target, {"summary.json": text("new")}, force=True)
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize("force", [False, True])
    def test_what_appears_while_it_writes_is_not_lost(self, tmp_path: Path, force: bool) -> None:
        target = tmp_path / "out"

        def meanwhile(path: Path) -> None:
            path.write_text("new")
            target.mkdir()
            (target / "precious.txt").write_text("mine")

        with pytest.raises(OutputExistsError, match="exists"):
            write_directory(target, {"summary.json": meanwhile}, force=force)
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
        assert (target / "precious.txt").read_text() == "mine"

    def test_parents_that_were_made_are_taken_back(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        before = snapshot(tmp_path)
        with pytest.raises(OutputWriteError, match="nothing was left behind"):
            write_directory(
                tmp_path / "there" / "a" / "b" / "out", {"summary.json": refuse(errno.ENOSPC)}
            )
        assert snapshot(tmp_path) == before

    def test_a_directory_that_cannot_be_moved_away_leaves_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "out"
        write_directory(target, {"summary.json": text(OURS)})
        before = snapshot(tmp_path)

        def busy(_path: Path, _to: Path) -> Path:
            raise OSError(errno.EBUSY, "Device or resource busy")

        monkeypatch.setattr(Path, "rename", busy)
        with pytest.raises(OutputWriteError, match="busy"):
            write_directory(target, {"summary.json": text("new")}, force=True)
        assert snapshot(tmp_path) == before

    def test_force_replaces_all_of_what_was_there(self, tmp_path: Path) -> None:
        target = tmp_path / "out"
        write_directory(target, {"summary.json": text(OURS), "tokens.parquet": text("old")})
        write_directory(target, {"summary.json": text(OURS)}, force=True)
        assert snapshot(tmp_path) == {"out": None, "out/summary.json": OURS.encode()}


class TestTarget:
    """What may be replaced."""

    def test_a_new_name_is_free(self, tmp_path: Path) -> None:
        check_target(tmp_path / "new", force=False)

    @pytest.mark.parametrize("force", [False, True])
    def test_another_s_directory_is_never_replaced(self, tmp_path: Path, force: bool) -> None:
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(OutputExistsError, match="nothing was touched"):
            check_target(tmp_path, force=force)

    @pytest.mark.parametrize(
        ("files", "why"),
        [
            ({"summary.json": '{"accuracy": 0.9}'}, "holds a summary.json that isologit did not"),
            ({"summary.json": "not JSON"}, "holds a summary.json that isologit did not"),
            ({"summary.json": OURS, "notes.md": "mine"}, "holds notes.md, which isologit did not"),
            ({"notes.md": "mine"}, "holds notes.md, which isologit did not"),
            ({"tokens.parquet": "PAR1"}, "cannot be looked into"),
        ],
    )
    def test_a_directory_that_isologit_did_not_write_is_refused_with_the_reason(
        self, tmp_path: Path, files: dict[str, str], why: str
    ) -> None:
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        before = snapshot(tmp_path)
        with pytest.raises(OutputExistsError, match=why):
            write_directory(tmp_path, {"summary.json": text(OURS)}, force=True)
        assert snapshot(tmp_path) == before

    def test_a_file_and_a_link_are_refused(self, tmp_path: Path) -> None:
        write_directory(tmp_path / "ours", {"summary.json": text(OURS)})
        (tmp_path / "file").write_text("x")
        (tmp_path / "link").symlink_to(tmp_path / "ours")
        (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
        for name in ("file", "link", "dangling"):
            with pytest.raises(OutputExistsError, match="is not a directory"):
                check_target(tmp_path / name, force=True)
            with pytest.raises(OutputExistsError):
                check_target(tmp_path / name, force=False)

    def test_the_current_directory_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(OutputExistsError, match="is the current directory"):
            check_target(Path(), force=True)

    def test_an_empty_directory_may_be_filled_with_force(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        write_directory(tmp_path / "out", {"summary.json": text(OURS)}, force=True)
        assert (tmp_path / "out" / "summary.json").read_text() == OURS


class TestThroughTheCommandLine:
    """The same, as a user meets it."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        (tmp_path / "models").mkdir()
        return write_matrix(tmp_path / "models" / "m", gaussian(400, 8))

    @pytest.mark.parametrize("command", ["audit", "classes"])
    def test_an_existing_directory_is_refused_before_any_work(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        monkeypatch.setattr("isologit.cli.fetching.locate_subject", pytest.fail)
        (tmp_path / "out").mkdir()
        ran = isologit(command, model, "-o", tmp_path / "out")
        assert (ran.code, ran.out) == (OutputExistsError.exit_code, "")
        assert ran.err == (
            f"OutputExistsError: {tmp_path / 'out'} exists; nothing was touched. Choose another "
            "directory, or replace it with --force\n"
        )

    def test_force_replaces_an_earlier_run(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert isologit("audit", model, "-o", out).code == 0
        assert isologit("classes", model, "-o", out).code == OutputExistsError.exit_code
        assert isologit("classes", model, "-o", out, "--force").code == 0
        assert json.loads((out / "summary.json").read_text())["schema"] == "isologit.classes/1"
        assert not (out / "cluster_logits.safetensors").exists()

    @pytest.mark.parametrize("writer", ["write_json", "parquet.write_tokens"])
    def test_a_full_disk_is_one_line_and_leaves_nothing(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
    ) -> None:
        def full(path: Path, *_: object) -> None:
            path.write_text("half", encoding="utf-8")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(f"{results.__name__}.{writer}", full)
        before = snapshot(tmp_path)
        ran = isologit("audit", model, "-o", tmp_path / "out")
        assert (ran.code, ran.out) == (OutputWriteError.exit_code, "")
        assert ran.err == (
            f"OutputWriteError: {tmp_path / 'out'} could not be written: No space left on device; "
            "nothing was left behind. Choose a directory with room and write permission\n"
        )
        assert snapshot(tmp_path) == before

    def test_a_limit_on_file_sizes_is_met_the_same_way(self, model: Path, tmp_path: Path) -> None:
        # The real refusal of a real file system (EFBIG), from inside the Parquet writer.
        program = (
            "import resource, sys\n"
            "from isologit.cli.main import main\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
            "main()\n"
        )
        # So that no kernel has to be written to its cache.
        assert isologit("classes", model).code == 0
        before = snapshot(tmp_path)
        out = tmp_path / "out"
        ran = finished(start("classes", model, "-o", out, program=("-c", program)))
        assert (ran.code, ran.out) == (OutputWriteError.exit_code, "")
        assert ran.err.startswith(f"OutputWriteError: {out} could not be written: ")
        assert ran.err.count("\n") == 1
        assert snapshot(tmp_path) == before

    def test_a_killed_process_leaves_no_target(self, model: Path, tmp_path: Path) -> None:
        # Stopped in the middle of the second file, by a signal that nothing can catch.
        program = (
            "import os, signal\n"
            "from isologit.output import results\n"
            "def write(path, arrays):\n"
            "    path.write_bytes(b'half')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "results.parquet.write_tokens = write\n"
            "from isologit.cli.main import main\n"
            "main()\n"
        )
        out = tmp_path / "results" / "out"
        ran = finished(start("classes", model, "-o", out, program=("-c", program)))
        assert ran.code == -signal.SIGKILL
        assert not out.exists()
        left = [path.name for path in out.parent.iterdir()]
        # What is left is hidden, and cannot be taken for results.
        assert len(left) == 1
        assert left[0].startswith(".out.")

    @pytest.mark.parametrize("place", ["file/out", "file/deep/out", "x" * 300])
    def test_a_place_that_cannot_be_is_one_line(
        self, model: Path, tmp_path: Path, place: str
    ) -> None:
        (tmp_path / "file").write_text("x")
        before = snapshot(tmp_path)
        ran = isologit("classes", model, "-o", tmp_path / place)
        assert (ran.code, ran.out) == (OutputWriteError.exit_code, "")
        assert ran.err.count("\n") == 1
        assert snapshot(tmp_path) == before
