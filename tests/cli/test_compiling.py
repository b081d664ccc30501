"""The first run says that it compiles and where to; what it made, the next run finds."""

import os
import pty
import re
import shutil
from pathlib import Path

import pytest

from checkpoints import gaussian, write_llama
from cli.command import SOURCE, read_terminal, start

BEGUN = "compiling what this run is the first to need, for some seconds; "
NOTICE = BEGUN + "kept in {}\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_llama(tmp_path / "m", gaussian(30, 4))


@pytest.fixture
def sealed(tmp_path: Path) -> dict[str, str]:
    """Environment with a copy of the package beside which nothing can be kept.

    A file lies where a directory would have to be made: that stops root too.
    """
    package = tmp_path / "installed" / "isologit"
    shutil.copytree(SOURCE / "isologit", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "numerics" / "__pycache__").touch()
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir(mode=0o700)
    return {
        "PYTHONPATH": str(package.parent),
        "NUMBA_CACHE_DIR": "",
        "HOME": str(tmp_path / "file"),
        "XDG_CACHE_HOME": str(tmp_path / "file"),
        "TMPDIR": str(tmp_path / "tmp"),
    }


def told(model: Path, *options: str, environment: dict[str, str]) -> str:
    """Return all that a command writes to stderr, of compiling too."""
    process = start("classes", model, "--json", *options, environment=environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith(b"{")
    return err.decode()


def test_the_first_run_says_so_and_the_second_has_no_reason_to(model: Path, tmp_path: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "kept [red]")}
    first = told(model, environment=environment)
    (where,) = (tmp_path / "kept [red]").iterdir()
    assert first == NOTICE.format(where)
    assert told(model, environment=environment) == ""


def test_quiet_says_nothing_and_verbose_how_long_it_took(model: Path, tmp_path: Path) -> None:
    assert told(model, "-q", environment={"NUMBA_CACHE_DIR": str(tmp_path / "one")}) == ""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "two")}
    notice, step, tokens, took = told(model, "-v", environment=environment).splitlines()
    assert notice.startswith(f"{BEGUN}kept in ")
    assert re.fullmatch(r"row classes: \d+\.\d\d s", step)
    assert re.fullmatch(r"tokens: \d+\.\d\d s", tokens)
    assert re.fullmatch(r"compiling, within these steps: \d+\.\d\d s", took)
    step, _ = told(model, "-v", environment=environment).splitlines()
    assert step.startswith("row classes: ")


@pytest.mark.parametrize(
    ("place", "settings"),
    [
        ("cache/numba", {"XDG_CACHE_HOME": "cache"}),
        (f"tmp/isologit-kernels-{getattr(os, 'geteuid', int)()}", {}),
    ],
    ids=["the user's cache", "the user's own among temporary files"],
)
def test_a_read_only_installation_keeps_its_code_elsewhere(
    model: Path, tmp_path: Path, sealed: dict[str, str], place: str, settings: dict[str, str]
) -> None:
    environment = sealed | {name: str(tmp_path / path) for name, path in settings.items()}
    first = told(model, environment=environment)
    assert first.startswith(f"{BEGUN}kept in {tmp_path / place}")
    assert list((tmp_path / place).glob("*/*.nbc"))
    assert told(model, environment=environment) == ""


@pytest.mark.parametrize("open_to_all", ["tmp", "."], ids=["the place", "the one above it"])
def test_where_nothing_can_be_kept_every_run_says_so(
    model: Path, tmp_path: Path, sealed: dict[str, str], open_to_all: str
) -> None:
    (tmp_path / open_to_all).chmod(0o777)
    for _ in range(2):
        err = told(model, environment=sealed)
        assert err.startswith(f"{BEGUN}the next run does so again")
        assert list((tmp_path / "tmp").iterdir()) == []


def test_code_made_with_other_sources_is_not_run(
    model: Path, tmp_path: Path, sealed: dict[str, str]
) -> None:
    # A kernel's own file is as it was; one that it is made with has changed.
    environment = sealed | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    assert told(model, environment=environment).startswith("compiling")
    with (tmp_path / "installed" / "isologit" / "numerics" / "lanes.py").open("a") as file:
        file.write("# another version\n")
    assert told(model, environment=environment).startswith("compiling")
    assert told(model, environment=environment) == ""
    # Nor is code that nothing vouches for, as after a crash in the middle of writing.
    (stamp,) = (tmp_path / "kept").glob("*/isologit-kernels.sha256")
    stamp.write_bytes(b"\xff\x00")
    assert told(model, environment=environment).startswith("compiling")


def test_other_packages_code_in_the_same_cache_is_left_alone(model: Path, tmp_path: Path) -> None:
    others = tmp_path / "kept" / "theirs_0123"
    others.mkdir(parents=True)
    (others / "kernel.nbi").touch()
    (tmp_path / "kept" / "kernel.nbc").touch()
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    assert told(model, environment=environment).startswith("compiling")
    assert (others / "kernel.nbi").exists()
    assert (tmp_path / "kept" / "kernel.nbc").exists()


def test_as_a_library_nothing_is_said(model: Path, tmp_path: Path) -> None:
    program = "import sys\nfrom isologit.classes import classes\nclasses(sys.argv[1])\n"
    kept = tmp_path / "kept"
    process = start(model, program=("-c", program), environment={"NUMBA_CACHE_DIR": str(kept)})
    assert process.communicate(timeout=120) == (b"", b"")
    assert list(kept.glob("*/*.nbc"))


def test_a_terminal_gets_it_whole_above_the_step(model: Path, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    kept = tmp_path / ("long" * 30)
    process = start(
        "classes",
        model,
        stderr=follower,
        environment={
            "TERM": "xterm-256color",
            "COLUMNS": "60",
            "NUMBA_CACHE_DIR": str(kept),
        },
    )
    os.close(follower)
    read = read_terminal(leader)
    assert process.communicate(timeout=60)[0].startswith(b"No two of 30 tokens")
    (where,) = kept.iterdir()
    assert NOTICE.format(where).strip().encode() in read
    assert b"row classes" in read
