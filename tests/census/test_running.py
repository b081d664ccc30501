"""The run: windows, workers that die, models that are too large, full disks, other runs."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from census.many_models import VOCABULARY, check_planted, dying, rows, write_models
from checkpoints import gaussian, write_llama
from isologit.census import running
from isologit.census.dataset import Dataset
from isologit.census.naming import local_version
from isologit.census.outcome import Outcome, done, failed
from isologit.census.pools import ExecutorWorkers, LocalWorkers, shares
from isologit.census.running import Progress, census
from isologit.census.task import Plan, Task
from isologit.errors import OutputWriteError, WorkersError

PLAN = Plan(analyses=())


class Scripted:
    """Workers that do what a function says, at once and in this process."""

    threads, bounded, dashboard = 1, False, None

    def __init__(
        self, act: Callable[[Task], Outcome], *, n_slots: int = 2, share: int = 0, most: int = 0
    ) -> None:
        self._act = act
        self.n_slots, self.share, self.most = n_slots, share, most
        self.begun: list[Task] = []
        self.restarts = 0

    def submit(self, task: Task) -> "Future[Outcome]":
        self.begun.append(task)
        future: Future[Outcome] = Future()
        try:
            future.set_result(self._act(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def restart(self) -> None:
        self.restarts += 1


def fine(task: Task) -> Outcome:
    version = local_version(task.model) or "v"
    return done(task.model, {}, commit=version, tensor="W", classes=b"", tokens=b"")


def new(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "out", PLAN.settings)


def models_in(tmp_path: Path) -> list[str]:
    return [str(each.path) for each in write_models(tmp_path / "models", 5)]


def test_any_executor_will_do(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 20)
    with ThreadPoolExecutor(2) as executor:
        workers = ExecutorWorkers(executor, n_slots=2, threads=1)
        summary = census([str(each.path) for each in planted], new(tmp_path), PLAN, workers)
    assert (summary.done, summary.failed, summary.left) == (20, 0, 0)
    check_planted(tmp_path / "out", planted)


def test_no_more_are_under_way_than_keep_the_workers_busy(tmp_path: Path) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def slow(task: Task) -> Outcome:
        time.sleep(0.002)
        return fine(task)

    class Counting(Scripted):
        def submit(self, task: Task) -> "Future[Outcome]":
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
            future = pool.submit(slow, task)
            future.add_done_callback(ended)
            return future

    def ended(_: object) -> None:
        nonlocal under_way
        with lock:
            under_way -= 1

    with ThreadPoolExecutor(3) as pool:
        census([f"/{n}" for n in range(60)], new(tmp_path), PLAN, Counting(fine, n_slots=3))
    # The one more waits where the workers find it.
    assert 3 <= most <= 4


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    models = models_in(tmp_path)
    with ThreadPoolExecutor(1) as executor:
        workers = ExecutorWorkers(executor, n_slots=1, threads=1)
        census(models[:3], new(tmp_path), PLAN, workers)
        again = Scripted(fine)
        summary = census(models, new(tmp_path), PLAN, again)
    assert [task.model for task in again.begun] == models[3:]
    assert (summary.before, summary.done) == (3, 2)


def test_a_local_model_that_has_changed_is_done_again(tmp_path: Path) -> None:
    (model,) = (str(each.path) for each in write_models(tmp_path / "models", 1))
    with ThreadPoolExecutor(1) as executor:
        workers = ExecutorWorkers(executor, n_slots=1, threads=1)
        census([model], new(tmp_path), PLAN, workers)
        values = gaussian(VOCABULARY, 8, seed=9)
        values[1] = values[0]
        write_llama(Path(model), values)
        summary = census([model], new(tmp_path), PLAN, workers)
    assert summary.done == 1
    found = rows(tmp_path / "out")
    assert [row["redundant_rows"] for row in found] == [0, 1]
    assert len({row["commit"] for row in found}) == 2


def test_failures_are_tried_again_when_asked_or_when_the_files_change(tmp_path: Path) -> None:
    models = models_in(tmp_path)

    def bad(task: Task) -> Outcome:
        version = local_version(task.model) or ""
        return failed(task.model, "ConfigError", "no", commit=version, tensor="")

    summary = census(models, new(tmp_path), PLAN, Scripted(bad))
    assert (summary.failed, summary.errors) == (5, {"ConfigError": 5})
    idle = Scripted(fine)
    summary = census(models, new(tmp_path), PLAN, idle)
    assert (summary.failed, summary.errors, idle.begun) == (5, {"ConfigError": 5}, [])
    (Path(models[2]) / "config.json").write_text("{}")
    some = Scripted(fine)
    summary = census(models, new(tmp_path), PLAN, some)
    assert [task.model for task in some.begun] == [models[2]]
    assert (summary.done, summary.failed) == (1, 4)
    rest = Scripted(fine)
    summary = census(models, new(tmp_path), PLAN, rest, retry_failed=True)
    assert (summary.before, summary.done, summary.failed) == (1, 4, 0)
    assert {row["status"] for row in rows(tmp_path / "out")} == {"ok"}


def test_a_remote_model_is_asked_again_only_to_refresh(tmp_path: Path) -> None:
    model = "hf://org/name"
    first = census([model], new(tmp_path), PLAN, Scripted(fine))
    assert first.done == 1
    idle = Scripted(fine)
    assert census([model], new(tmp_path), PLAN, idle).before == 1
    assert idle.begun == []

    def unchanged(task: Task) -> Outcome:
        # It is told which records there are.
        assert task.records == {fine(task).record}
        return Outcome(model=task.model, status="unchanged")

    summary = census([model], new(tmp_path), PLAN, Scripted(unchanged), refresh=True)
    assert (summary.before, summary.done) == (1, 0)


def test_a_model_that_needs_more_waits_until_there_is_room(tmp_path: Path) -> None:
    needs = {"/large": 60, "/larger": 90, "/huge": 101}

    def act(task: Task) -> Outcome:
        need = needs.get(task.model, 0)
        if need > task.memory:
            return Outcome(model=task.model, status="larger", needs=need)
        return fine(task)

    workers = Scripted(act, share=50, most=100)
    models = ["/huge", "/large", "/a", "/larger", "/b"]
    summary = census(models, new(tmp_path), PLAN, workers)
    assert (summary.done, summary.failed) == (4, 1)
    assert [(task.model, task.memory) for task in workers.begun] == [
        *((model, 50) for model in models),
        *(("/large", 60), ("/larger", 90)),
    ]
    (row,) = (row for row in rows(tmp_path / "out") if row["status"] == "failed")
    assert (row["model"], row["error_class"]) == ("/huge", "MemoryError")
    assert "Give more with --memory" in row["error_message"]


def test_large_models_run_beside_each_other_where_they_fit(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=30)

    def act(task: Task) -> Outcome:
        if task.memory == 40:
            return Outcome(model=task.model, status="larger", needs=int(task.model[1:]))
        both.wait()
        return fine(task)

    class Pooled(Scripted):
        def submit(self, task: Task) -> "Future[Outcome]":
            return pool.submit(act, task)

    with ThreadPoolExecutor(2) as pool:
        workers = Pooled(fine, share=40, most=100)
        summary = census(["/51", "/49"], new(tmp_path), PLAN, workers)
    assert summary.done == 2


def test_large_models_that_do_not_fit_together_do_not_run_together(tmp_path: Path) -> None:
    taken, most, lock = 0, 0, threading.Lock()

    def act(task: Task) -> Outcome:
        nonlocal taken, most
        if task.memory == 40:
            return Outcome(model=task.model, status="larger", needs=int(task.model[1:]))
        with lock:
            taken += task.memory
            most = max(most, taken)
        time.sleep(0.05)
        with lock:
            taken -= task.memory
        return fine(task)

    class Pooled(Scripted):
        def submit(self, task: Task) -> "Future[Outcome]":
            return pool.submit(act, task)

    with ThreadPoolExecutor(4) as pool:
        workers = Pooled(fine, n_slots=4, share=40, most=100)
        summary = census(["/60", "/61", "/45", "/46", "/47"], new(tmp_path), PLAN, workers)
    assert summary.done == 5
    assert 90 <= most <= 100


def test_a_worker_s_death_beside_others_is_held_against_nobody(tmp_path: Path) -> None:
    left = {"/a": 2, "/b": 1, "/c": 1}

    def act(task: Task) -> Outcome:
        if left.get(task.model, 0):
            left[task.model] -= 1
            raise BrokenExecutor
        return fine(task)

    # All three were under way at the first death; at the second one of them was alone.
    workers = Scripted(act, n_slots=2)
    summary = census(["/a", "/b", "/c", "/d"], new(tmp_path), PLAN, workers)
    assert (summary.done, summary.failed) == (4, 0)
    assert workers.restarts == 2


def test_what_may_have_ended_a_worker_runs_alone(tmp_path: Path) -> None:
    under_way: set[str] = set()
    beside: dict[str, set[str]] = {}
    broken, lock = set[str](), threading.Lock()

    def slow(task: Task) -> Outcome:
        with lock:
            beside[task.model] = set(under_way)
            under_way.add(task.model)
        time.sleep(0.02)
        with lock:
            for model in under_way - {task.model}:
                beside[model].add(task.model)
            under_way.discard(task.model)
        return fine(task)

    class Pooled(Scripted):
        def submit(self, task: Task) -> "Future[Outcome]":
            if task.model in ("/0", "/1", "/2") and task.model not in broken:
                broken.add(task.model)
                future: Future[Outcome] = Future()
                future.set_exception(BrokenExecutor())
                return future
            return pool.submit(slow, task)

    with ThreadPoolExecutor(4) as pool:
        models = [f"/{n}" for n in range(10)]
        summary = census(models, new(tmp_path), PLAN, Pooled(fine, n_slots=2))
    assert summary.done == 10
    assert [beside[model] for model in ("/0", "/1", "/2")] == [set(), set(), set()]
    assert any(beside[model] for model in models[3:])


class Dying(LocalWorkers):
    """Processes that run `dying`."""

    def submit(self, task: Task) -> "Future[Outcome]":
        return self._executor.submit(dying, task)

    def _begin(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.n_slots, mp_context=get_context("spawn"))


def test_a_model_that_ends_its_worker_is_found_and_harms_no_other(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 12)
    said: list[str] = []
    workers = Dying(2, 1, 8 << 30)
    try:
        summary = census(
            [str(each.path) for each in planted], new(tmp_path), PLAN, workers, say=said.append
        )
    finally:
        workers.close()
    assert (summary.done, summary.failed, summary.errors) == (11, 1, {"WorkerDied": 1})
    check_planted(tmp_path / "out", [*planted[:3], *planted[4:]])
    (row,) = (row for row in rows(tmp_path / "out") if row["status"] == "failed")
    assert row["model"] == str(planted[3].path)
    assert "its worker died 2 times, with no other model there" in row["error_message"]
    assert any(line.startswith("a worker died; ") for line in said)


def test_an_executor_that_breaks_for_good_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "models", 6)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:

        class Fragile(ExecutorWorkers):
            def submit(self, task: Task) -> "Future[Outcome]":
                return executor.submit(dying, task)

        workers = Fragile(executor, n_slots=1, threads=1)
        with pytest.raises(WorkersError, match="What was done is kept: run again"):
            census([str(each.path) for each in planted], new(tmp_path), PLAN, workers)
    check_planted(tmp_path / "out", planted[: len(rows(tmp_path / "out"))])


def test_what_a_cluster_says_of_a_task_is_its_outcome(tmp_path: Path) -> None:
    class KilledWorker(Exception):  # noqa: N818 - as Dask calls it
        """As distributed's."""

    def killed(task: Task) -> Outcome:
        if task.model == "/b":
            raise KilledWorker("task marked as failed\nbecause 4 workers died")
        return fine(task)

    summary = census(["/a", "/b", "/c"], new(tmp_path), PLAN, Scripted(killed))
    assert (summary.done, summary.errors) == (2, {"WorkerDied": 1})
    (row,) = (row for row in rows(tmp_path / "out") if row["status"] == "failed")
    assert "KilledWorker: task marked as failed because 4 workers died" in row["error_message"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "DISK_PATIENCE", 0.3)
    monkeypatch.setattr(running, "_DISK_PAUSE", 0.01)


class FullDisk:
    """A disk that refuses so many writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: float, errno: int = 28) -> None:
        self.left, self.n_refused = n, 0
        real = Dataset.keep

        def keep(dataset: Dataset, outcome: Outcome) -> None:
            if self.left > 0:
                self.left -= 1
                self.n_refused += 1
                raise OutputWriteError("full") from OSError(errno, os.strerror(errno))
            real(dataset, outcome)

        monkeypatch.setattr(Dataset, "keep", keep)


@pytest.mark.usefixtures("impatient")
def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch, 5)
    said: list[str] = []
    summary = census(["/a", "/b"], new(tmp_path), PLAN, Scripted(fine), say=said.append)
    assert (summary.done, disk.n_refused) == (2, 5)
    assert said == ["full. Nothing more is begun until there is room"]


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_stays_full_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, float("inf"))
    with pytest.raises(OutputWriteError, match="full"):
        census(["/a", "/b"], new(tmp_path), PLAN, Scripted(fine))
    assert disk.n_refused > 3


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_may_not_be_written_to_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, float("inf"), errno=13)
    with pytest.raises(OutputWriteError):
        census(["/a", "/b"], new(tmp_path), PLAN, Scripted(fine))
    assert disk.n_refused == 1


def test_what_another_run_does_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "FOLD_SECONDS", 0.0)
    other = new(tmp_path)

    def act(task: Task) -> Outcome:
        if task.model == "/0":
            for n in range(10, 20):
                other.keep(fine(Task(f"/{n}", PLAN, 0)))
        return fine(task)

    workers = Scripted(act)
    summary = census([f"/{n}" for n in range(20)], new(tmp_path), PLAN, workers)
    assert (summary.done + summary.before, summary.failed) == (20, 0)
    assert summary.before >= 7
    assert len(rows(tmp_path / "out")) == 20


def test_how_far_it_is_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int, int, int]] = []

    def listen(progress: Progress) -> None:
        told.append((progress.to_do, progress.done, progress.failed, progress.running))

    census([f"/{n}" for n in range(5)], new(tmp_path), PLAN, Scripted(fine), listen=listen)
    assert told[0] == (5, 0, 0, 0)
    assert told[-1] == (5, 5, 0, 0)
    assert [each[1] for each in told] == sorted(each[1] for each in told)


def test_the_time_left_follows_from_the_rate() -> None:
    progress = Progress(asked=30, before=10, started=time.monotonic() - 10)
    assert progress.seconds_left is None
    progress.done, progress.failed = 3, 1
    assert progress.seconds_left == pytest.approx(40, rel=0.01)
    assert progress.per_second == pytest.approx(0.4, rel=0.01)


@pytest.mark.parametrize(
    ("workers", "threads", "models", "gib", "expected"),
    [
        (None, None, 100, 16, (8, 1)),
        (None, None, 3, 16, (3, 2)),
        (None, None, 100, 2, (4, 2)),
        (None, None, 100, 0, (1, 8)),
        (None, 4, 100, 16, (2, 4)),
        (2, None, 100, 16, (2, 4)),
        (3, 1, 100, 16, (3, 1)),
        (16, None, 100, 1, (16, 1)),
    ],
)
def test_workers_times_threads_is_cores(
    workers: int | None,
    threads: int | None,
    models: int,
    gib: int,
    expected: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("isologit.census.pools.available_cores", lambda: 8)
    assert shares(workers, threads, models, gib << 30) == expected


def test_an_interrupt_keeps_what_is_done(tmp_path: Path) -> None:
    def act(task: Task) -> Outcome:
        if task.model == "/3":
            raise KeyboardInterrupt
        return fine(task)

    with pytest.raises(KeyboardInterrupt):
        census([f"/{n}" for n in range(9)], new(tmp_path), PLAN, Scripted(act, n_slots=1))
    assert {row["model"] for row in rows(tmp_path / "out")} <= {"/0", "/1", "/2"}
    assert rows(tmp_path / "out") != []
