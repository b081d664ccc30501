"""A census: which of the models are not done, a window of tasks on the workers, outcomes kept.

There is no scheduler here: executors have theirs. What is here is how many tasks they are given at
a time, and what is to be done where a worker dies, or the disk is full.
"""

import errno
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, field, replace

from isologit import __version__
from isologit.census.dataset import Dataset
from isologit.census.naming import local_version
from isologit.census.outcome import Outcome, failed
from isologit.census.parts import Versions
from isologit.census.pools import Workers
from isologit.census.summary import CensusSummary
from isologit.census.task import Plan, Task
from isologit.checkpoint.wording import counted
from isologit.errors import OutputWriteError

# Seconds between two folds: what a reader of the tables may be behind.
FOLD_SECONDS = 30.0
# How long a full disk is waited for.
DISK_PATIENCE = 600.0
_DISK_PAUSE = 1.0
_TICK = 0.5
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
# Times that a model may end its worker while no other was there to do so.
_DEATHS = 2


@dataclass
class Progress:
    """How far a census is; `seconds` since it began.

    `failed_before` are failed ones that are not tried again, part of neither `done` nor `failed`.
    """

    asked: int
    before: int = 0
    failed_before: int = 0
    done: int = 0
    failed: int = 0
    running: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    @property
    def to_do(self) -> int:
        """Models that this run has to do, or has done."""
        return self.asked - self.before - self.failed_before

    @property
    def per_second(self) -> float:
        """Models that became done or failed, a second."""
        return (self.done + self.failed) / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """By the rate so far; None before there is one."""
        ended = self.done + self.failed
        return (self.to_do - ended) / self.per_second if ended else None


Listen = Callable[[Progress], None]
Say = Callable[[str], None]


def census(
    models: Sequence[str],
    dataset: Dataset,
    plan: Plan,
    workers: Workers,
    *,
    retry_failed: bool = False,
    refresh: bool = False,
    listen: Listen = lambda _progress: None,
    say: Say = lambda _text: None,
) -> CensusSummary:
    """Audit what is not done of some models, and keep a record of each.

    Parameters
    ----------
    models
        By the names that they have everywhere (`listing.models_of`).
    dataset
        Where the records are.
    plan
        What is asked; its `threads` and `bounded` are the workers'.
    workers
        Where it runs.
    retry_failed
        Whether those that failed are tried again; a local model whose files have changed is anyway.
    refresh
        Whether hubs and stores are asked again which version a model is that is done. Local files
        are always looked at.
    listen
        Told how far it is, after every model and every half second.
    say
        Told what else happens, in a line.

    Raises
    ------
    OutputWriteError
        The disk refuses, and does so still after ten minutes.
    ResultsError
        A table cannot be read.
    WorkersError
        There are no workers any more.
    """
    run = _Run(models, dataset, plan, workers, listen, say)
    try:
        run.begin(retry_failed=retry_failed, refresh=refresh)
        run.work()
    finally:
        # Whatever ended it: what was kept becomes rows, where the disk allows.
        run.end()
    return run.summary()


class _Run:
    """One run of a census; `census` says what its parts are."""

    def __init__(
        self,
        models: Sequence[str],
        dataset: Dataset,
        plan: Plan,
        workers: Workers,
        listen: Listen,
        say: Say,
    ) -> None:
        self._models, self._dataset, self._workers = models, dataset, workers
        self._plan = replace(plan, threads=workers.threads, bounded=workers.bounded)
        self._listen, self._say = listen, say
        self._progress = Progress(asked=len(models))
        self._queue: deque[Task] = deque()
        # Those that need more than a share, for when the others are done.
        self._larger: deque[Task] = deque()
        # Those that may have ended a worker, to be run alone.
        self._suspects: deque[Task] = deque()
        self._running: dict[Future[Outcome], Task] = {}
        self._deaths: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._folded = time.monotonic()

    def begin(self, *, retry_failed: bool, refresh: bool) -> None:
        """Find out what is to be done."""
        self._patiently(self._dataset.fold)
        known = self._dataset.known()
        self._dataset.news()  # what is known already is none
        for model in self._models:
            records = known.done.get(model, {})
            version = local_version(model)
            if _is_done(version, records, refresh=refresh):
                self._progress.before += 1
            elif model in known.failed and not (
                retry_failed or (version is not None and version != known.failed[model])
            ):
                self._progress.failed_before += 1
                self._errors[known.errors[model]] += 1
            else:
                every = frozenset().union(*records.values())
                self._queue.append(Task(model, self._plan, self._workers.share, every))
        self._listen(self._progress)

    def work(self) -> None:
        """Keep the workers busy until everything is done."""
        while self._queue or self._larger or self._suspects or self._running:
            self._submit()
            ended, _ = wait(self._running, timeout=_TICK, return_when=FIRST_COMPLETED)
            for future in ended:
                # Unless it broke with another one, and is to be run again already.
                if future in self._running:
                    self._ended(future)
            if time.monotonic() - self._folded > FOLD_SECONDS:
                self._fold()
            self._progress.running = min(len(self._running), self._workers.n_slots)
            self._listen(self._progress)

    def end(self) -> None:
        """Make rows of what is kept."""
        for future in self._running:
            future.cancel()
        self._patiently(self._dataset.fold)

    def summary(self) -> CensusSummary:
        """Return what it came to."""
        told = self._progress
        failed = told.failed + told.failed_before
        return CensusSummary(
            isologit=__version__,
            directory=str(self._dataset.directory),
            asked=told.asked,
            before=told.before,
            done=told.done,
            failed=failed,
            left=told.asked - told.before - told.done - failed,
            errors=dict(sorted(self._errors.items())),
            seconds=told.seconds,
        )

    def _submit(self) -> None:
        for task in self._next():
            try:
                future = self._workers.submit(task)
            except BrokenExecutor:
                # It broke meanwhile: those that it was given say so next.
                self._suspects.appendleft(task)
                if not self._running:
                    self._workers.restart()
                return
            self._running[future] = task

    def _next(self) -> Iterator[Task]:
        """Yield the tasks that may begin now; each is submitted before the next is asked for."""
        if self._suspects:
            if not self._running:
                yield self._suspects.popleft()
            return
        # One more than run at a time, so that no worker waits for this process.
        while self._queue and len(self._running) <= self._workers.n_slots:
            yield self._queue.popleft()
        if self._queue:
            return
        while self._larger:
            taken = sum(each.memory for each in self._running.values())
            if taken + self._larger[0].memory > self._workers.most:
                return
            yield self._larger.popleft()

    def _ended(self, future: "Future[Outcome]") -> None:
        task = self._running.pop(future)
        try:
            outcome = future.result()
        except BrokenExecutor:
            self._broke(task)
            return
        except (CancelledError, Exception) as error:
            # What a cluster says where workers died of a task, or its result could not be sent.
            self._keep(_lost(task, f"{type(error).__name__}: {error}"))
            return
        if outcome.status == "larger":
            self._is_larger(task, outcome.needs)
        elif outcome.status == "unchanged":
            self._progress.before += 1
        else:
            self._keep(outcome)

    def _broke(self, task: Task) -> None:
        """Run again, alone, what was under way as a worker died; fail what does so alone."""
        for future in [each for each in self._running if _has_result(each)]:
            self._ended(future)
        others = list(self._running.values())
        self._running.clear()
        if not others:
            self._deaths[task.model] += 1
        if self._deaths[task.model] >= _DEATHS:
            self._keep(_lost(task, f"its worker died {_DEATHS} times, with no other model there"))
        else:
            self._suspects.append(task)
        self._suspects.extend(others)
        self._say(
            f"a worker died; {counted(len(self._suspects), 'model')} that may have been the cause "
            "will be run again, each alone"
        )
        self._workers.restart()

    def _is_larger(self, task: Task, needs: int) -> None:
        most = self._workers.most
        if needs <= most:
            self._larger.append(replace(task, memory=needs))
            return
        self._keep(
            _failure(
                task,
                "MemoryError",
                f"{task.model} needs some {needs / 2**30:.1f} GiB of memory, and one task may have "
                f"{most / 2**30:.1f}; expected a model that fits. Give more with --memory, or a "
                "larger machine",
            )
        )

    def _keep(self, outcome: Outcome) -> None:
        self._patiently(lambda: self._dataset.keep(outcome))
        if outcome.status == "ok":
            self._progress.done += 1
        else:
            self._progress.failed += 1
            self._errors[outcome.row["error_class"]] += 1

    def _fold(self) -> None:
        """Make rows of what is kept, and leave out what another census has done meanwhile."""
        self._patiently(self._dataset.fold)
        news = self._dataset.news()
        left = [each for each in self._queue if not _done_meanwhile(each, news)]
        self._progress.before += len(self._queue) - len(left)
        self._queue = deque(left)
        self._folded = time.monotonic()

    def _patiently(self, write: Callable[[], object]) -> None:
        """Write; where the disk is full, wait until it is not, for a while."""
        until = time.monotonic() + DISK_PATIENCE
        said = False
        while True:
            try:
                write()
                return
            except OutputWriteError as error:
                if time.monotonic() > until or not _may_pass(error):
                    raise
                if not said:
                    self._say(f"{error}. Nothing more is begun until there is room")
                    said = True
                time.sleep(_DISK_PAUSE)
                self._listen(self._progress)


def _has_result(future: "Future[Outcome]") -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _is_done(version: str | None, records: Mapping[str, frozenset[str]], *, refresh: bool) -> bool:
    """Whether a model has a record of the version that it has, as far as that can be told here."""
    if version is not None:
        return version in records
    return bool(records) and not refresh


def _done_meanwhile(task: Task, done: Versions) -> bool:
    records = done.get(task.model, {})
    return any(not each <= task.records for each in records.values())


def _may_pass(error: OutputWriteError) -> bool:
    """Whether a disk that refuses may not do so a minute later."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _MAY_PASS


def _lost(task: Task, why: str) -> Outcome:
    return _failure(
        task,
        "WorkerDied",
        f"{task.model}: {' '.join(why.split())}; the system may have ended it for want of memory. "
        "Try it with isologit audit, or with fewer --workers and --retry-failed",
    )


def _failure(task: Task, error_class: str, message: str) -> Outcome:
    return failed(
        task.model,
        error_class,
        message,
        commit=local_version(task.model) or "",
        tensor=task.plan.tensor or "",
    )
