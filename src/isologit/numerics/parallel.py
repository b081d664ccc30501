"""Splitting rows among threads, for kernels that release the interpreter lock.

Every kernel treats a row by itself, so results do not depend on the number of threads.
"""

import os
from collections.abc import Callable
from threading import Lock, Thread

# Small enough that the threads end together, large enough that a call costs nothing beside it.
_BLOCK_BYTES = 8 << 20

_threads = 0


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(threads: int) -> None:
    """Use this many threads from now on; 0 stands for every core this process may use."""
    global _threads  # a process-wide setting, as torch.set_num_threads is
    if threads < 0:
        raise ValueError(f"threads must be 0 or more, got {threads}")
    _threads = threads


def get_threads() -> int:
    """Return how many threads are used."""
    return _threads or available_cores()


def for_blocks(work: Callable[[int, int], object], n_rows: int, row_bytes: int) -> None:
    """Call ``work(start, stop)`` over ``range(n_rows)`` in blocks, on `get_threads` threads.

    The caller's thread is one of them. After an error no further block is begun, and the first
    error is raised once all threads are done.
    """
    step = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    starts = range(0, n_rows, step)
    # Whoever is free takes the next block; handing each to a pool costs as much as a small pass.
    turn = iter(starts)
    lock = Lock()
    errors: list[BaseException] = []

    def drain() -> None:
        while not errors:
            with lock:
                start = next(turn, None)
            if start is None:
                return
            try:
                work(start, min(start + step, n_rows))
            except BaseException as error:  # an interrupt, too, has to stop the others
                errors.append(error)

    helpers = [Thread(target=drain) for _ in range(min(get_threads(), len(starts)) - 1)]
    try:
        for helper in helpers:
            helper.start()
        drain()
    except BaseException as error:  # an interrupt between two blocks, or no thread to be had
        errors.append(error)
    for helper in helpers:
        # Whatever arrives meanwhile: the caller's arrays are not to be written to after this.
        while helper.is_alive():
            try:
                helper.join()
            except BaseException as error:
                errors.append(error)
    if errors:
        raise errors[0]


def for_each(work: Callable[[int], object], n: int) -> None:
    """Call ``work(k)`` for each of ``range(n)``, one at a time, on `get_threads` threads."""
    for_blocks(lambda k, _: work(k), n, _BLOCK_BYTES)
