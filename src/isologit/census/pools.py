"""Where workers come from: processes of this machine, or a Dask cluster.

A pool gives `concurrent.futures` executors and says how many tasks it runs at a time; everything
else is theirs. `Workers` is all that the census knows of them.
"""

import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from importlib import metadata
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import Any, Protocol

from isologit import __version__
from isologit.census.memory import SMALL
from isologit.census.outcome import Outcome
from isologit.census.task import Task, run
from isologit.errors import MissingExtraError, WorkersError
from isologit.numerics.parallel import available_cores

# The resource of Dask's workers that stands for memory of their own.
MEMORY = "memory"
_GIVEN_UP_AFTER = 10.0


class Workers(Protocol):
    """Workers that run tasks."""

    @property
    def n_slots(self) -> int:
        """Tasks that run at a time; on a cluster that changes."""

    @property
    def threads(self) -> int:
        """Threads of each task."""

    @property
    def share(self) -> int:
        """Bytes of memory that are declared for a task; 0 where none are."""

    @property
    def most(self) -> int:
        """Bytes that one task may have that needs more than its share."""

    @property
    def bounded(self) -> bool:
        """Whether a task has its process to itself, and can be held to what was declared."""

    @property
    def dashboard(self) -> str | None:
        """The address of a page that shows them, if there is one."""

    def submit(self, task: Task) -> "Future[Outcome]":
        """Begin a task."""

    def restart(self) -> None:
        """Have workers again, where their executor broke."""


class LocalWorkers:
    """Processes of this machine.

    A worker that dies breaks the executor of the standard library, with all that it was given;
    `restart` makes a new one.
    """

    bounded = True
    dashboard = None

    def __init__(self, n_workers: int, threads: int, memory: int) -> None:
        self.n_slots, self.threads = n_workers, threads
        self.share, self.most = memory // n_workers, memory
        self._executor = self._begin()

    def submit(self, task: Task) -> "Future[Outcome]":
        """Begin a task."""
        return self._executor.submit(run, task)

    def restart(self) -> None:
        """End what is left of the workers, and begin others."""
        self.close()
        self._executor = self._begin()

    def close(self) -> None:
        """End the workers, whatever they do."""
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join(_GIVEN_UP_AFTER)

    def _begin(self) -> ProcessPoolExecutor:
        # Not forked: the threads of this process would leave locks behind that nobody opens.
        return ProcessPoolExecutor(
            self.n_slots, mp_context=get_context("spawn"), initializer=_begin_worker
        )


class ExecutorWorkers:
    """Any executor, as a program hands it over; it stays that program's to close.

    No memory is declared: whose processes they are, and how many share one, is not known here.
    """

    share = most = 0
    bounded = False
    dashboard = None

    def __init__(self, executor: Executor, n_slots: int, threads: int) -> None:
        self.n_slots, self.threads = n_slots, threads
        self._executor = executor

    def submit(self, task: Task) -> "Future[Outcome]":
        """Begin a task."""
        return self._executor.submit(run, task)

    def restart(self) -> None:
        """Say that this is not to be had.

        Raises
        ------
        WorkersError
        """
        raise WorkersError(
            f"the executor {type(self._executor).__name__} broke: a worker died; expected one that "
            "goes on. What was done is kept: run again"
        )


class DaskWorkers:
    """The workers of a Dask cluster; the scheduler gives a task of a dead worker to another one.

    Where workers declare the resource ``memory``, as those of `local_cluster` do, each task takes
    what the one that declares least has.
    """

    def __init__(self, client: Any, threads: int, memory: int) -> None:
        self._client, self.threads = client, threads
        self.share = self.most = memory
        self.bounded = max(client.nthreads().values(), default=1) == 1
        self.dashboard = client.dashboard_link
        self._executor = client.get_executor(
            pure=False, resources={MEMORY: memory} if memory else None
        )

    @property
    def n_slots(self) -> int:
        """How many there are now: workers come and go."""
        n_threads: int = sum(self._client.nthreads().values())
        return max(1, n_threads)

    def submit(self, task: Task) -> "Future[Outcome]":
        """Begin a task."""
        future: Future[Outcome] = self._executor.submit(run, task)
        return future

    def restart(self) -> None:
        """Do nothing: the cluster does."""


@contextmanager
def local_workers(n_workers: int, threads: int, memory: int) -> Iterator[LocalWorkers]:
    """Yield processes of this machine, and end them."""
    workers = LocalWorkers(n_workers, threads, memory)
    try:
        yield workers
    finally:
        workers.close()


@contextmanager
def local_cluster(n_workers: int, threads: int, memory: int) -> Iterator[DaskWorkers]:
    """Yield the workers of a Dask cluster that is started here, and ends with this.

    Raises
    ------
    MissingExtraError
        Dask is not installed.
    """
    distributed = _distributed()
    with (
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            # Dask would count mapped pages as use, and end the worker for them.
            memory_limit=0,
            resources={MEMORY: memory // n_workers},
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.register_plugin(_deaf_to_ctrl_c(distributed))
        yield DaskWorkers(client, threads, memory // n_workers)


@contextmanager
def cluster_at(address: str, threads: int) -> Iterator[DaskWorkers]:
    """Yield the workers of a Dask cluster that runs.

    Raises
    ------
    MissingExtraError
        Dask is not installed.
    WorkersError
        Nobody answers there, or workers have another isologit, or none.
    """
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=_GIVEN_UP_AFTER)
    except (OSError, ValueError) as error:
        raise WorkersError(
            f"no Dask scheduler answers at {address} ({error}); expected one, with workers. Start "
            "it with dask scheduler and dask worker, or leave out the address"
        ) from error
    with client:
        _require_same(client, address)
        declared = [
            each["resources"].get(MEMORY, 0)
            for each in client.scheduler_info(n_workers=-1)["workers"].values()
        ]
        # Of workers that declare none nothing can be taken; the task would wait for ever.
        yield DaskWorkers(client, threads, int(min(declared, default=0)))


def shares(
    n_workers: int | None, threads: int | None, n_models: int, memory: int
) -> tuple[int, int]:
    """Return how many workers there are and how many threads each has: W × T = cores.

    Where neither is said, as many workers as cores, no more than models, and no more than have
    room for a small one each.
    """
    cores = available_cores()
    if n_workers is None:
        n_workers = max(1, min(cores // (threads or 1), n_models, memory // SMALL))
    return n_workers, threads or max(1, cores // n_workers)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(
            "--dask needs Dask, which is not installed; run pip install 'isologit[census]'"
        ) from error
    return distributed


def _deaf_to_ctrl_c(distributed: Any) -> Any:
    """Return what makes a worker leave Ctrl-C to its parent, as `_begin_worker` does."""

    class DeafToCtrlC(distributed.WorkerPlugin):  # type: ignore[misc]
        """A plugin, which workers that are restarted get too."""

        name = "deaf-to-ctrl-c"

        def setup(self, worker: Any) -> None:
            """Ignore SIGINT; a worker's event loop is on its main thread."""
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return DeafToCtrlC()


def _require_same(client: Any, address: str) -> None:
    """Check that every worker has this isologit."""
    found = client.run(metadata.version, "isologit", on_error="return")
    others = {
        worker: version if isinstance(version, str) else type(version).__name__
        for worker, version in found.items()
        if version != __version__
    }
    if not found or others:
        worker, version = next(iter(others.items()), ("", ""))
        what = f"{worker} has {version}" if found else "it has no workers"
        raise WorkersError(
            f"the Dask cluster at {address}: {what}; expected workers with isologit {__version__}. "
            "Install it where they run, and start them again"
        )


def _begin_worker() -> None:
    """Make a process a worker: Ctrl-C is for its parent, and it ends when that does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    # A parent that was killed closes nothing: its workers would wait for tasks for ever.
    with suppress(OSError):
        connection.wait([sentinel])
    os._exit(1)
