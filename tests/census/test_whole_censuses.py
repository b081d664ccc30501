"""Whole censuses, as processes: workers killed, runs killed, disks full, models of every kind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from census.many_models import (
    begin,
    check_planted,
    finished,
    rows,
    write_corrupt,
    write_enormous,
    write_models,
)

pytest.importorskip("distributed")

WAYS = [["--workers", "2"], ["--dask", "--workers", "2"]]


def workers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return the processes that run tasks: those that have the kernels' compiler loaded."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if any("llvmlite" in each.path for each in child.memory_maps()):
                found.append(child)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that in time"
        time.sleep(0.01)


def n_kept(directory: Path) -> int:
    pending = directory / "pending"
    return len(list(pending.iterdir())) if pending.is_dir() else 0


def of(folder: Path, *options: str) -> list[str | Path]:
    """Return the arguments of a census of the models in a folder."""
    return [str(folder / "models" / "*"), "-o", folder / "out", *options]


@pytest.mark.parametrize("way", WAYS, ids=["processes", "dask"])
def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path, way: list[str]) -> None:
    planted = write_models(tmp_path / "models", 200)
    corrupt = write_corrupt(tmp_path / "models" / "corrupt")
    enormous = write_enormous(tmp_path / "models" / "enormous")
    process = begin(*of(tmp_path, *way))
    wait_until(lambda: n_kept(tmp_path / "out") > 20)
    workers_of(process)[0].kill()
    code, out, err = finished(process)
    assert (code, "202 models: 200 done, 2 failed" in out) == (47, True), err
    check_planted(tmp_path / "out", planted)
    failed = {row["model"]: row for row in rows(tmp_path / "out") if row["status"] == "failed"}
    assert {model: row["error_class"] for model, row in failed.items()} == {
        str(corrupt): "TruncatedFileError",
        str(enormous): "MemoryError",
    }
    assert "give more with --memory" in failed[str(enormous)]["error_message"].lower()
    # Nothing is left to do.
    before = rows(tmp_path / "out")
    code, out, _ = finished(begin(*of(tmp_path)))
    assert (code, "\n0 done by this run" in out) == (47, True)
    assert rows(tmp_path / "out") == before


@pytest.mark.parametrize("way", WAYS, ids=["processes", "dask"])
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path, way: list[str]) -> None:
    planted = write_models(tmp_path / "models", 200)
    arguments = of(tmp_path, *way)
    process = begin(*arguments)
    wait_until(lambda: n_kept(tmp_path / "out") > 20)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    finished(process)
    # Nobody is left behind.
    psutil.wait_procs(workers, timeout=30)
    assert [each for each in workers if each.is_running()] == []
    kept = n_kept(tmp_path / "out")
    code, out, err = finished(begin(*arguments))
    assert code == 0, err
    done = int(out.split(" done by this run")[0].split()[-1])
    assert done == 200 - kept
    check_planted(tmp_path / "out", planted)


@pytest.mark.parametrize("way", WAYS, ids=["processes", "dask"])
def test_ctrl_c_keeps_what_is_done_and_leaves_nobody_behind(tmp_path: Path, way: list[str]) -> None:
    planted = write_models(tmp_path / "models", 100)
    arguments = of(tmp_path, *way)
    process = begin(*arguments)
    wait_until(lambda: n_kept(tmp_path / "out") > 5)
    workers = psutil.Process(process.pid).children(recursive=True)
    # To all of them, as a terminal does.
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finished(process)
    words = [line for line in err.splitlines() if line and not line.startswith("Dask shows")]
    assert (code, words) == (130, ["interrupted"])
    psutil.wait_procs(workers, timeout=30)
    assert [each for each in workers if each.is_running()] == []
    n_done = len(rows(tmp_path / "out"))
    assert n_kept(tmp_path / "out") == 0
    code, out, err = finished(begin(*arguments))
    assert (code, f"\n{100 - n_done} done by this run" in out) == (0, True), err
    check_planted(tmp_path / "out", planted)


def test_ctrl_c_is_the_parent_s_business(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 60)
    process = begin(*of(tmp_path, "--workers", "2"))
    wait_until(lambda: n_kept(tmp_path / "out") > 5)
    for worker in workers_of(process):
        worker.send_signal(signal.SIGINT)
    code, out, err = finished(process)
    assert (code, "60 done, 0 failed" in out, err) == (0, True, "")
    check_planted(tmp_path / "out", planted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("way", WAYS, ids=["processes", "dask"])
def test_a_disk_that_is_full_for_a_while_costs_nothing(
    tmp_path: Path, small_disk: Path, way: list[str]
) -> None:
    planted = write_models(tmp_path / "models", 200)
    out = small_disk / "out"
    process = begin(str(tmp_path / "models" / "*"), "-o", out, *way)
    wait_until(lambda: n_kept(out) > 5)
    fill(small_disk / "filler")
    # It stands still, and says so.
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    line = next(line for line in lines if not line.startswith("Dask shows"))
    assert "No space left on device" in line
    assert "until there is room" in line
    time.sleep(2)
    assert process.poll() is None
    (small_disk / "filler").unlink()
    code, said, err = finished(process)
    assert (code, "\n200 done by this run" in said) == (0, True), err
    check_planted(out, planted)


def fill(path: Path) -> None:
    """Fill a disk to its last byte."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_two_censuses_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 60)
    arguments: list[str | Path] = [
        str(tmp_path / "models" / "*"),
        "-o",
        tmp_path / "out",
        "--workers",
        "1",
    ]
    both = [begin(*arguments), begin(*arguments)]
    for each in both:
        code, _, err = finished(each)
        assert code == 0, err
    check_planted(tmp_path / "out", planted)
    assert len(rows(tmp_path / "out")) == 60
