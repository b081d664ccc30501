"""How far a census is, on stderr: a bar where one is seen, else a line now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isologit.cli.terminal import Words
from isologit.cli.text_bar import duration, text_bar

if TYPE_CHECKING:
    from rich.status import Status

    from isologit.census.running import Progress

# Seconds between two lines where no bar is seen.
_BETWEEN = 30.0


class Shown:
    """What is shown of a census; `status` is None where no bar is seen."""

    def __init__(self, words: Words, status: "Status | None") -> None:
        self._words, self._status = words, status
        self._last = time.monotonic()

    def begin(self, dashboard: str | None) -> None:
        """Say where a cluster shows what it does."""
        if dashboard is not None:
            self.say(f"Dask shows what its workers do at {dashboard}")

    def say(self, text: str) -> None:
        """Say what happened, in a line."""
        self._words.print(text, markup=False, soft_wrap=True)

    def listen(self, progress: "Progress") -> None:
        """Show how far it is."""
        if self._status is not None:
            self._status.update(_line(progress))
        elif time.monotonic() - self._last > _BETWEEN:
            self._last = time.monotonic()
            self.say(_line(progress))


@contextmanager
def showing(*, quiet: bool) -> Iterator[Shown]:
    """Yield what shows a census as long as it lasts."""
    words = Words(quiet=quiet)
    if quiet or not words.is_terminal:
        yield Shown(words, None)
        return
    with words.status("looking at what is there") as status:
        yield Shown(words, status)


def _line(progress: "Progress") -> str:
    """Return ``━━━╌╌╌ 12 of 24: 11 done, 1 failed, 2 running, 840 an hour, 1 min left``."""
    ended = progress.done + progress.failed
    parts = [
        f"{progress.done:,} done",
        f"{progress.failed:,} failed",
        f"{progress.running:,} running",
    ]
    if ended:
        parts.append(f"{progress.per_second * 3600:,.0f} an hour")
    if (left := progress.seconds_left) is not None and left > 0:
        parts.append(f"{duration(left)} left")
    return f"{text_bar(ended, progress.to_do)}: {', '.join(parts)}"
