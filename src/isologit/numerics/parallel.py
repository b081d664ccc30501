"""Splitting rows among threads, for kernels that release the interpreter lock.

Every kernel treats a row by itself, so results do not depend on the number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
    """Call ``work(start, stop)`` over ``range(n_rows)`` in blocks, on `get_threads` threads."""
    step = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    blocks = [(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
    threads = min(get_threads(), len(blocks))
    if threads <= 1:
        for start, stop in blocks:
            work(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(work, start, stop) for start, stop in blocks]
        try:
            for done in running:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
