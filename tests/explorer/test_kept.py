"""What is kept: computed once, whoever asks, and no more of it than there is room for."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from isologit.explorer.kept import Kept


def test_the_last_that_were_asked_for_are_kept() -> None:
    kept: Kept[int, int] = Kept(2)
    made = []

    def value(n: int) -> int:
        return kept.get(n, lambda: made.append(n) or n * 10)  # type: ignore[func-returns-value]

    assert [value(n) for n in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    # 2 made room for 3, as 1 had been asked for since.
    assert made == [1, 2, 3, 2]
    assert len(kept) == 2


def test_two_threads_that_ask_at_once_compute_once() -> None:
    kept: Kept[str, int] = Kept(4)
    begun, made = Event(), []
    both = Barrier(2)

    def compute() -> int:
        made.append(1)
        begun.wait(5)
        return 7

    def ask() -> int:
        both.wait(5)
        return kept.get("a", compute)

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask) for _ in range(2)]
        begun.set()
        assert [each.result(10) for each in asked] == [7, 7]
    assert len(made) == 1


def test_what_fails_is_not_kept_and_blocks_nobody() -> None:
    kept: Kept[str, int] = Kept(4)

    def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            kept.get("a", fail)
    assert kept.get("a", lambda: 1) == 1
