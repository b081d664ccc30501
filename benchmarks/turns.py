"""Timing in turns: on a machine that others use, what slows one subject slows its neighbours."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Threads of a library that wait in a loop for more work have given up after this.
_PAUSE_SECONDS = 0.05


class Seconds(float):
    """What a subject returns that has timed itself, in a process of its own."""


@dataclass(frozen=True)
class Turns:
    """The seconds that each subject took, turn by turn."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Return a subject's median time."""
        return statistics.median(self.seconds[name])

    def ratios(self, name: str, beside: str) -> list[float]:
        """Return one subject's time over another's, turn by turn."""
        return [a / b for a, b in zip(self.seconds[name], self.seconds[beside], strict=True)]


def take_turns(subjects: Mapping[str, Callable[[], object]], turns: int) -> Turns:
    """Time each subject once a turn; the caller has run each before."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(turns):
        for name, work in subjects.items():
            time.sleep(_PAUSE_SECONDS)
            begin = time.perf_counter()
            result = work()
            elapsed = time.perf_counter() - begin
            seconds[name].append(result if isinstance(result, Seconds) else elapsed)
            # Giving memory back is not what is timed.
            del result
    return Turns(seconds)
