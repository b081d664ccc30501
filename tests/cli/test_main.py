"""The entry point: exit codes, streams, signals, escapes, and what is not imported."""

import io
import json
import os
import pty
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from cli.command import finished, isologit, read_terminal, start
from isologit import __version__
from isologit.cli import main
from isologit.cli.main import COMMANDS
from isologit.errors import UnclearHeadError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_llama(tmp_path / "m", gaussian(30, 4))


class TestUsage:
    """Exit code 2, words on stderr."""

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("audit",), "Missing argument 'MODEL'"),
            (("audits", "MODEL"), "No such command 'audits'"),
            (("audit", "MODEL", "--nonsense"), "No such option"),
            (("audit", "MODEL", "--dtype", "f64"), "'f64' is not one of 'bf16', 'f16', 'f32'"),
            (("audit", "MODEL", "--role", "both"), "'both' is not one of 'output', 'input'"),
            (("audit", "MODEL", "--threads", "-1"), "--threads"),
            (("audit", "MODEL", "--arithmetic", "numpy"), "expected exact, torch, torch:cpu"),
            (("audit", "MODEL", "--arithmetic", "torch:tpu"), "'torch:tpu' is not known"),
            (("audit", "MODEL", "--pole", "1"), "expected 2 or 3 numbers"),
            (("audit", "MODEL", "--pole", "1,2,3,4"), "expected 2 or 3 numbers"),
            (("audit", "MODEL", "--pole", "north"), "expected 2 or 3 numbers"),
            (("audit", "MODEL", "--pole", "nan,2"), "expected 2 or 3 numbers"),
            (("audit", "MODEL", "--pole", "91,2"), "latitude 91 is outside -90 to 90"),
            (("audit", "MODEL", "--pole", "1,2", "--axes", "1,2"), "expected 3 numbers"),
            (("audit", "MODEL", "--pole", "1,2", "--axes", "1,2,-2"), "three different axes"),
            (("audit", "MODEL", "--pole", "1,2", "--axes", "0,1,2"), "three different axes"),
            (("classes", "MODEL", "--token", "1", "--pole", "1,2"), "give at most one of"),
            (("classes", "MODEL", "--index", "1"), "--index chooses among the states"),
            (("classes", "MODEL", "--token", "one"), "'one' is not a valid integer"),
        ],
    )
    def test_misuse_is_told_on_stderr(
        self, model: Path, arguments: tuple[str, ...], told: str
    ) -> None:
        ran = isologit(*(str(model) if a == "MODEL" else a for a in arguments))
        assert (ran.code, ran.out) == (2, "")
        assert told in ran.err
        assert ran.err.startswith("Usage: isologit")

    def test_no_command_shows_the_help(self) -> None:
        ran = isologit()
        assert ran.code == 2
        assert "Commands:" in ran.err

    def test_help_lists_every_command_with_what_it_does(self) -> None:
        ran = isologit("--help")
        assert (ran.code, ran.err) == (0, "")
        for name, what in COMMANDS.items():
            assert f"  {name}" in ran.out
            assert what in ran.out
            help_page = isologit(name, "-h")
            assert (help_page.code, help_page.err) == (0, "")
            assert help_page.out.startswith(f"Usage: isologit {name}")

    def test_the_version_is_the_package_s(self) -> None:
        assert isologit("--version").out == f"isologit, version {__version__}\n"


def test_inspect_lists_the_tensors_of_a_model_whose_head_is_not_clear(tmp_path: Path) -> None:
    tensors = {"a.weight": np.ones((9, 3)), "b.weight": np.ones((9, 3)), "c": np.ones(3)}
    folder = write_tensors(tmp_path / "m", tensors)
    ran = isologit("inspect", folder)
    assert ran.code == UnclearHeadError.exit_code
    assert [line.split()[0] for line in ran.out.splitlines()[3:]] == ["a.weight", "b.weight", "c"]
    assert ran.err.startswith("UnclearHeadError: ")
    found = isologit("inspect", folder, "--json")
    assert found.code == UnclearHeadError.exit_code
    assert found.json["matrix"] is found.json["head"] is found.json["to_fetch"] is None
    assert [tensor["name"] for tensor in found.json["tensors"]] == ["a.weight", "b.weight", "c"]
    assert found.json["notes"] == [ran.err.removeprefix("UnclearHeadError: ").rstrip("\n")]


class TestFailure:
    """Errors that are not the user's."""

    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("two\nlines")

        monkeypatch.setattr("isologit.checkpoint.open.open_checkpoint", fail)

    @pytest.mark.usefixtures("broken")
    def test_a_fault_is_one_line_that_asks_for_a_report(self, model: Path) -> None:
        ran = isologit("inspect", model)
        assert (ran.code, ran.out) == (70, "")
        assert ran.err == (
            "RuntimeError: two lines; this is a fault in isologit, please report it with "
            "ISOLOGIT_DEBUG=1\n"
        )

    @pytest.mark.usefixtures("broken")
    def test_debug_shows_where_it_came_from(
        self, model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ISOLOGIT_DEBUG", "1")
        assert main.run(["inspect", str(model)]) == 70
        assert main.run(["inspect", "nowhere"]) == 70
        told = capfd.readouterr().err
        assert told.count("Traceback (most recent call last)") == 2
        assert "in fail" in told

    def test_debug_shows_an_expected_error_s_traceback_too(
        self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ISOLOGIT_DEBUG", "1")
        assert main.run(["inspect", "nowhere"]) == 3
        told = capfd.readouterr().err
        assert "Traceback (most recent call last)" in told
        assert told.splitlines()[-1].startswith("CheckpointNotFoundError: nowhere does not exist")

    def test_an_interrupt_is_130_and_one_word(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("isologit.checkpoint.open.open_checkpoint", interrupt)
        ran = isologit("inspect", model)
        assert (ran.code, ran.out, ran.err.strip()) == (130, "", "interrupted")

    def test_ctrl_c_while_it_works_leaves_nothing(self, model: Path, tmp_path: Path) -> None:
        program = (
            "import signal, sys, time\n"
            # A shell that runs this in the background has its children ignore the signal.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from isologit.output import results\n"
            "def write(path, arrays):\n"
            "    print('writing', file=sys.stderr, flush=True)\n"
            "    time.sleep(60)\n"
            "results.parquet.write_tokens = write\n"
            "from isologit.cli.main import main\n"
            "main()\n"
        )
        out = tmp_path / "results" / "out"
        process = start("classes", model, "-q", "-o", out, program=("-c", program))
        assert process.stderr is not None
        assert process.stderr.readline() == b"writing\n"
        process.send_signal(signal.SIGINT)
        ran = finished(process)
        assert (ran.code, ran.out, ran.err.strip()) == (130, "", "interrupted")
        assert not out.parent.exists()


class TestStreams:
    """stdout is for data; whoever reads it may leave, and a disk may be full."""

    @pytest.mark.parametrize("option", [(), ("--json",)])
    def test_a_reader_who_leaves_is_no_error(self, model: Path, option: tuple[str, ...]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = start("inspect", model, *option, stdout=writing)
        os.close(writing)
        ran = finished(process)
        assert (ran.code, ran.err) == (141, "")

    def test_words_that_nobody_reads_are_no_reason_to_stop(
        self, model: Path, tmp_path: Path
    ) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = start("classes", model, "-v", "--json", "-o", tmp_path / "out", stderr=writing)
        os.close(writing)
        ran = finished(process)
        assert ran.code == 0
        assert ran.json["matrix"]["shape"] == [30, 4]
        assert (tmp_path / "out" / "summary.json").exists()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
    @pytest.mark.parametrize("option", [(), ("--json",)])
    def test_a_full_disk_under_stdout_is_one_line(
        self, model: Path, option: tuple[str, ...]
    ) -> None:
        with Path("/dev/full").open("wb") as full:
            ran = finished(start("inspect", model, *option, stdout=full))
        assert ran.code == 23
        assert ran.err == (
            "OutputWriteError: standard output could not be written: No space left on device; "
            "expected room for the whole of it. Redirect it to another place\n"
        )

    def test_the_module_runs_as_a_command(self, model: Path) -> None:
        ran = finished(start("audit", model, "--json"))
        assert (ran.code, ran.err) == (0, "")
        assert ran.json["matrix"]["shape"] == [30, 4]
        assert ran.out == isologit("audit", model, "--json").out

    def test_verbose_times_the_steps_on_stderr(self, model: Path, tmp_path: Path) -> None:
        ran = isologit("audit", model, "-v", "--json", "-o", tmp_path / "out")
        steps = [line.split(":")[0] for line in ran.err.splitlines() if line.endswith(" s")]
        assert steps == ["row classes", "cluster", "logits", "tokens", "ties", "writing"]
        assert ran.json["matrix"]["shape"] == [30, 4]

    def test_a_terminal_that_cannot_show_a_sign_gets_an_escape(
        self, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = io.TextIOWrapper(io.BytesIO(), "ascii")
        monkeypatch.setattr(sys, "stdout", out)
        assert main.run(["classes", str(model), "--token", "1"]) == 0
        out.flush()
        assert b"\\u2713 Found " in out.buffer.getvalue()


class TestEscapes:
    """No escape codes where nobody asked for them; never the checkpoint's own."""

    def on_a_terminal(self, model: Path, **environment: str) -> bytes:
        """Return what a command writes to a terminal of 80 columns."""
        leader, follower = pty.openpty()
        process = start(
            "inspect",
            model,
            stdout=follower,
            environment={"TERM": "xterm-256color", "COLUMNS": "80", **environment},
        )
        os.close(follower)
        read = read_terminal(leader)
        ran = finished(process)
        assert (ran.code, ran.err) == (0, "")
        return read

    def test_a_terminal_gets_colour_unless_no_color(self, model: Path) -> None:
        assert b"\x1b[" in self.on_a_terminal(model)
        plain = self.on_a_terminal(model, NO_COLOR="1")
        assert b"\x1b" not in plain
        assert b"Final norm: RMSNorm" in plain

    @pytest.mark.parametrize("command", ["audit", "classes", "inspect"])
    def test_what_is_no_terminal_gets_none(self, model: Path, command: str) -> None:
        ran = isologit(command, model, *(("--token", "1") if command == "classes" else ()))
        assert ran.code == 0
        assert "\x1b" not in ran.out + ran.err

    def test_a_line_is_not_folded_where_nobody_reads_at_a_width(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", np.ones((1000, 1)))
        out = isologit("classes", model, "--token", 1).out
        assert max(map(len, out.splitlines())) > 100
        assert "bit for bit: 1 row class, the largest of 1,000 tokens." in out

    def test_a_tensor_s_name_cannot_command_the_terminal(self, tmp_path: Path) -> None:
        name = "w\x1b[2J\x1b]0;title\x07[bold]\n[/]"
        model = write_tensors(tmp_path / "m", {name: np.ones((3, 2))})
        for command in ("inspect", "classes", "audit"):
            ran = isologit(command, model)
            assert ran.code == 0, ran.err
            assert "\x1b" not in ran.out
            assert "\x07" not in ran.out
            # Nor is it read as markup.
            assert r"w\x1b[2J\x1b]0;title\x07[bold]\n[/]" in ran.out

    def test_a_number_format_s_name_is_no_markup(self, tmp_path: Path) -> None:
        model = write_matrix(tmp_path / "m", [[1]])
        path = model / "W.safetensors"
        header = json.dumps(
            {
                "W": {"dtype": "BF16", "shape": [1, 1], "data_offsets": [0, 2]},
                "x": {"dtype": "[/F9]\x1b", "shape": [1], "data_offsets": [2, 3]},
            }
        ).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(3))
        ran = isologit("inspect", model, "-v")
        assert ran.code == 0
        assert r"[/F9]\x1b" in ran.out


# Also what sets these up, and what only a job or its output needs.
HEAVY = ("numba", "llvmlite", "pyarrow", "pandas", "plotly", "torch", "scipy")


def test_what_reads_headers_alone_imports_nothing_heavy(model: Path) -> None:
    """In one process: what any of them imports is there to the end."""
    commands = [
        ["--help"],
        ["--version"],
        *([name, "--help"] for name in COMMANDS),
        *(["inspect", str(model), *options] for options in ([], ["--json"], ["-v"])),
    ]
    program = (
        "import sys, json\n"
        "from isologit.cli.main import run\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    assert run(arguments) == 0, arguments\n"
        f"    found = [m for m in {HEAVY} if m in sys.modules]\n"
        "    print(json.dumps([arguments, found]), file=sys.stderr)\n"
    )
    ran = finished(start(json.dumps(commands), program=("-c", program)))
    assert ran.code == 0, ran.err
    assert [json.loads(line) for line in ran.err.splitlines()] == [[each, []] for each in commands]


def test_w_is_being_digested_before_the_compiler_is_imported(model: Path) -> None:
    program = (
        "import sys\n"
        "from isologit.checkpoint import tensors as home\n"
        "digest = home.digest_beside\n"
        "def watched(*given):\n"
        f"    early = [m for m in {HEAVY} if m in sys.modules]\n"
        "    print(early, file=sys.stderr)\n"
        "    return digest(*given)\n"
        "home.digest_beside = watched\n"
        "from isologit.cli.main import main\n"
        "main()\n"
    )
    members = model.parent / "ids.json"
    members.write_text("[1, 2, 3]")
    for command in ("audit", "classes"):
        ran = finished(start(command, model, "--members", members, program=("-c", program)))
        assert (ran.code, ran.err) == (0, "[]\n")


def test_a_job_without_a_directory_does_without_pyarrow(model: Path) -> None:
    program = (
        "import sys\nsys.modules['pyarrow'] = None\nfrom isologit.cli.main import main\nmain()\n"
    )
    ran = finished(start("audit", model, program=("-c", program)))
    assert (ran.code, ran.err) == (0, "")


def test_the_compiler_is_started_without_the_blas_that_no_kernel_calls(model: Path) -> None:
    program = (
        "import sys\n"
        "from isologit.cli.main import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "print([m for m in ('numba', 'scipy.linalg') if m in sys.modules], file=sys.stderr)\n"
    )
    ran = finished(start("audit", model, "--json", program=("-c", program)))
    assert (ran.code, ran.err) == (0, "['numba']\n")


def test_the_audit_in_exact_arithmetic_does_without_torch(model: Path) -> None:
    program = (
        "import sys\nsys.modules['torch'] = None\nfrom isologit.cli.main import main\nmain()\n"
    )
    ran = finished(start("audit", model, program=("-c", program)))
    assert (ran.code, ran.err) == (0, "")


def test_an_interrupt_that_python_loses_ends_the_job_at_its_next_step(
    model: Path, tmp_path: Path
) -> None:
    """One that comes inside a callback from C is printed there and forgotten."""
    program = (
        "import ctypes, os, signal\n"
        "from isologit.equivalence import rows\n"
        "scan = rows.scan_rows\n"
        "@ctypes.CFUNCTYPE(None)\n"
        "def callback():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    [None for _ in range(1000)]\n"
        "def interrupted(matrix):\n"
        "    callback()\n"
        "    return scan(matrix)\n"
        "rows.scan_rows = interrupted\n"
        "from isologit.cli.main import main\n"
        "main()\n"
    )
    ran = finished(start("audit", model, "-o", tmp_path / "out", program=("-c", program)))
    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "interrupted")
    assert not (tmp_path / "out").exists()


def test_an_interrupt_that_is_ignored_by_whoever_started_it_stays_ignored(model: Path) -> None:
    program = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from isologit.equivalence import rows\n"
        "scan = rows.scan_rows\n"
        "rows.scan_rows = lambda matrix: (os.kill(os.getpid(), signal.SIGINT), scan(matrix))[1]\n"
        "from isologit.cli.main import main\n"
        "main()\n"
    )
    ran = finished(start("audit", model, program=("-c", program)))
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_words_that_cannot_be_written_do_not_end_a_job(model: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        told = finished(start("audit", model, "-v", "-o", tmp_path / "out", stderr=full))
        failed = finished(start("audit", tmp_path / "nowhere", stderr=full))
    assert told.code == 0
    assert told.out == isologit("audit", model).out
    assert (tmp_path / "out" / "summary.json").is_file()
    assert failed.code == 3


def test_a_file_that_is_written_to_meanwhile_gives_no_figures(model: Path, tmp_path: Path) -> None:
    weights = next(model.rglob("*.safetensors")) if model.is_dir() else model
    program = (
        "from pathlib import Path\n"
        "from isologit.equivalence import rows\n"
        "scan = rows.scan_rows\n"
        "def disturbed(matrix):\n"
        f"    path = Path({str(weights)!r})\n"
        "    with path.open('r+b') as file:\n"
        "        file.seek(-1, 2)\n"
        "        file.write(b'?')\n"
        "    return scan(matrix)\n"
        "rows.scan_rows = disturbed\n"
        "from isologit.cli.main import main\n"
        "main()\n"
    )
    for command in (("audit",), ("classes", "--token", "1")):
        ran = finished(start(*command, model, "-o", tmp_path / "out", program=("-c", program)))
        assert (ran.code, ran.out) == (28, "")
        assert ran.err.startswith("ChangedFileError: ")
        assert "was changed while it was analysed" in ran.err
        assert not (tmp_path / "out").exists()
