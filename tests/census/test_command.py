"""The command line of a census: what it takes, what it says, how it ends."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from census.many_models import begin, check_planted, finished, rows, write_corrupt, write_models
from checkpoints import gaussian, write_llama
from cli.command import isologit

ONE = ("--workers", "1")


def test_a_census_from_stdin_and_its_page(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 4)
    process = subprocess.run(
        [sys.executable, "-m", "isologit", "census", "-", "-o", tmp_path / "out", *ONE, "-q"],
        input="\n".join(str(each.path) for each in planted),
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stderr == ""
    assert process.stdout.startswith("4 models: 4 done, 0 failed\n4 done by this run, in ")
    check_planted(tmp_path / "out", planted)
    ran = isologit("census", "report", tmp_path / "out")
    assert (ran.code, ran.out) == (0, "")
    assert (tmp_path / "out" / "report.html").stat().st_size > 1 << 20


def test_the_summary_is_json_where_that_is_asked(tmp_path: Path) -> None:
    write_models(tmp_path / "models", 2)
    write_corrupt(tmp_path / "models" / "corrupt")
    pattern = str(tmp_path / "models" / "*")
    ran = isologit("census", pattern, "-o", tmp_path / "out", *ONE, "--json")
    assert ran.code == 47
    found = json.loads(ran.out)
    assert found.pop("seconds") > 0
    assert found == {
        "schema": "isologit.census/1",
        "isologit": "0.1.0",
        "directory": str(tmp_path / "out"),
        "asked": 3,
        "before": 0,
        "done": 2,
        "failed": 1,
        "left": 0,
        "errors": {"TruncatedFileError": 1},
    }
    assert ran.err.startswith("FailedModelsError: 1 of 3 models failed (1 TruncatedFileError); ")
    assert ran.err.count("\n") == 1


def test_what_is_asked_is_what_is_computed(tmp_path: Path) -> None:
    write_models(tmp_path / "models", 2)
    asked = ("--analyses", "rows,gap", "--within", "0.5", "--role", "input", "--dtype", "f32")
    pattern = str(tmp_path / "models" / "*")
    ran = isologit("census", pattern, "-o", tmp_path / "out", *ONE, *asked, "--tokens")
    assert ran.code == 0, ran.err
    for row in rows(tmp_path / "out"):
        assert (row["role"], row["gap_within_nats"]) == ("input", 0.5)
        assert (row["distinct_logits"], row["logit_dtype"]) == (None, "f32")
    assert len(list((tmp_path / "out" / "tokens").iterdir())) == 1
    # Another question is another census.
    ran = isologit("census", pattern, "-o", tmp_path / "out", *ONE)
    assert ran.code == 40
    assert "was begun with analyses ['gap'], and now ['logits', 'tokens', 'gap']" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--analyses", "rows,magic"), "'magic': expected some of rows, logits, tokens, gap"),
        (("--memory", "much"), "'much': expected bytes, such as 16GiB"),
        (("--memory", "0"), "'0': expected bytes"),
        (("--dask=host:1",), "'host:1': expected an address like tcp://host:8786, or none"),
        (("--dask", "tcp://host:1", "--workers", "2"), "has its workers and its memory already"),
        (("--within", "-1"), "--within"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    write_models(tmp_path / "models", 1)
    pattern = str(tmp_path / "models" / "*")
    ran = isologit("census", pattern, "-o", tmp_path / "out", *arguments)
    assert ran.code == 2
    assert says in ran.err
    assert not (tmp_path / "out").exists()


def test_a_list_that_is_none_leaves_nothing_behind(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", gaussian(8, 4))
    for asked, code in ((model, 45), (tmp_path / "*.gguf", 46)):
        ran = isologit("census", asked, "-o", tmp_path / "out")
        assert (ran.code, ran.err.count("\n")) == (code, 1)
        assert not (tmp_path / "out").exists()


def test_help_is_of_both_commands() -> None:
    group = isologit("census", "--help")
    assert group.code == 0
    assert "census report DIR" in group.out
    assert "--retry-failed" in isologit("census", "run", "--help").out
    assert isologit("census").code == 2


def test_a_page_of_what_is_no_census_is_refused(tmp_path: Path) -> None:
    ran = isologit("census", "report", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (40, 1)
    assert "holds no census.json" in ran.err


def test_dask_s_list_is_not_taken_for_its_address(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 3)
    (tmp_path / "list").write_text("\n".join(str(each.path) for each in planted))
    code, out, err = finished(
        begin("--dask", tmp_path / "list", "-o", tmp_path / "out", "--workers", "1")
    )
    assert (code, "\n3 done by this run" in out) == (0, True), err
    assert "Dask shows what its workers do at http://127.0.0.1:" in err
    check_planted(tmp_path / "out", planted)


@contextmanager
def cluster(*worker: str) -> Iterator[str]:
    """A scheduler and a worker, started as they are on other machines."""
    begun: list[subprocess.Popen[bytes]] = []
    address = Path("/tmp") / f"isologit-scheduler-{time.monotonic_ns()}.json"

    def start(*command: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        begun.append(process)

    try:
        here = ("--host", "127.0.0.1", "--no-dashboard")
        start("scheduler", *here, "--port", "0", "--scheduler-file", str(address))
        until = time.monotonic() + 60
        while not address.exists() or not address.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        url = json.loads(address.read_text())["address"]
        if worker:
            start("worker", url, *here, "--nthreads", "2", "--memory-limit", "0", *worker)
            there = "import sys, distributed as d; d.Client(sys.argv[1]).wait_for_workers(1, 90)"
            subprocess.run([sys.executable, "-c", there, url], check=True, capture_output=True)
        yield url
    finally:
        for process in begun:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
        address.unlink(missing_ok=True)


def test_a_cluster_that_runs_is_used(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 10)
    with cluster("--no-nanny") as url:
        code, out, err = finished(
            begin(str(tmp_path / "models" / "*"), "-o", tmp_path / "out", "--dask", url)
        )
    assert (code, "\n10 done by this run" in out) == (0, True), err
    check_planted(tmp_path / "out", planted)


def test_a_cluster_without_workers_is_refused(tmp_path: Path) -> None:
    write_models(tmp_path / "models", 1)
    pattern = str(tmp_path / "models" / "*")
    with cluster() as url:
        code, _, err = finished(begin(pattern, "-o", tmp_path / "out", "--dask", url))
    assert code == 48
    assert f"the Dask cluster at {url}: it has no workers; expected workers with isologit" in err


def test_a_scheduler_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_models(tmp_path / "models", 1)
    pattern = str(tmp_path / "models" / "*")
    code, _, err = finished(
        begin(pattern, "-o", tmp_path / "out", "--dask", "tcp://127.0.0.1:9", "-q")
    )
    assert code == 48
    assert err.startswith("WorkersError: no Dask scheduler answers at tcp://127.0.0.1:9")
    assert err.count("\n") == 1
