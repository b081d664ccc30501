"""Rows are split into blocks that cover each once, on as many threads as asked."""

import threading
import time
from collections.abc import Iterator

import pytest

from isologit.numerics import parallel
from isologit.numerics.parallel import available_cores, for_blocks, get_threads, set_threads


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = parallel._threads
    yield
    set_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n_rows", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("row_bytes", [0, 1, 30, 100, 1000])
def test_blocks_cover_every_row_once(
    threads: int, n_rows: int, row_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 100)
    set_threads(threads)
    blocks: list[tuple[int, int]] = []
    for_blocks(lambda start, stop: blocks.append((start, stop)), n_rows, row_bytes)
    covered = [row for start, stop in sorted(blocks) for row in range(start, stop)]
    assert covered == list(range(n_rows))
    largest = max(1, 100 // max(row_bytes, 1))
    assert all(0 < stop - start <= largest for start, stop in blocks)


def test_one_thread_works_in_the_callers_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 1)
    set_threads(1)
    seen: list[tuple[int, int]] = []
    for_blocks(lambda start, _: seen.append((start, threading.get_ident())), 5, 1)
    assert seen == [(row, threading.get_ident()) for row in range(5)]


def test_two_threads_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 1)
    set_threads(2)
    both = threading.Barrier(2)
    for_blocks(lambda _start, _stop: both.wait(timeout=30), 2, 1)
    assert not both.broken


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_block_reaches_the_caller(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 1)
    set_threads(threads)

    def work(start: int, _stop: int) -> None:
        if start == 4:
            raise ZeroDivisionError("block 4")

    with pytest.raises(ZeroDivisionError, match=r"^block 4$"):
        for_blocks(work, 9, 1)


def test_after_an_error_no_further_block_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 1)
    set_threads(1)
    begun: list[int] = []

    def work(start: int, _stop: int) -> None:
        begun.append(start)
        if start == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        for_blocks(work, 1000, 1)
    assert begun == [0, 1, 2, 3]


def test_a_thread_that_cannot_be_started_leaves_none_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 1)
    set_threads(3)
    started: list[threading.Thread] = []

    class Scarce(threading.Thread):
        def start(self) -> None:
            if started:
                raise RuntimeError("can't start new thread")
            super().start()
            started.append(self)

    monkeypatch.setattr(parallel, "Thread", Scarce)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        for_blocks(lambda _start, _stop: time.sleep(0.001), 10_000, 1)
    assert not started[0].is_alive()


def test_an_interrupt_while_waiting_stops_the_other_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_BLOCK_BYTES", 1)
    set_threads(2)
    helpers: list[threading.Thread] = []
    busy, waited_for = threading.Event(), threading.Event()

    class Interrupted(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            if self not in helpers:
                helpers.append(self)
                waited_for.set()
                raise KeyboardInterrupt
            super().join(timeout)

    def work(_start: int, _stop: int) -> None:
        # The other thread is at work before the caller's ends, and until that waits for it.
        if isinstance(threading.current_thread(), Interrupted):
            busy.set()
            assert waited_for.wait(timeout=30)
        else:
            assert busy.wait(timeout=30)

    monkeypatch.setattr(parallel, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        for_blocks(work, 50, 1)
    assert helpers
    assert not helpers[0].is_alive()


def test_zero_threads_stand_for_every_core() -> None:
    set_threads(0)
    assert get_threads() == available_cores() >= 1
    set_threads(3)
    assert get_threads() == 3


def test_a_negative_number_of_threads_is_refused_and_changes_nothing() -> None:
    set_threads(2)
    with pytest.raises(ValueError, match=r"^threads must be 0 or more, got -1$"):
        set_threads(-1)
    assert get_threads() == 2
