"""Opening a model for a command: of a hub model its headers first, then its bytes with a bar."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isologit.checkpoint.hub.progress import Arrived, Fetch
from isologit.checkpoint.wording import shown
from isologit.cli.options import Shared
from isologit.subject import LocatedSubject, Subject, load_subject, locate_subject

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def open_model(
    model: str, shared: Shared, first: Callable[[LocatedSubject], None] | None = None
) -> Subject:
    """Open a model, and fetch what is missing of it with a bar on stderr.

    Parameters
    ----------
    model
        What the user wrote.
    shared
        The settings, and whether to be quiet.
    first
        Called with what the headers of a hub model say, before anything else of it is fetched.
    """
    with fetching(quiet=shared.quiet) as arrived:
        with asking(model, quiet=shared.quiet):
            located = locate_subject(model, shared.settings, arrived)
        if first is not None and located.checkpoint.source == "hub":
            first(located)
        return load_subject(located)


@contextmanager
def asking(model: str, *, quiet: bool) -> Iterator[None]:
    """Show on a terminal that a hub is being asked, and headers read, as long as the context lasts.

    Of what lies here nothing is shown: that takes no time.
    """
    if quiet or os.path.lexists(model) or not sys.stderr.isatty():
        yield
        return
    from isologit.cli.terminal import Words

    with Words().status("asking the hub, reading headers"):
        yield


@contextmanager
def fetching(*, quiet: bool) -> Iterator[Arrived]:
    """Yield a function that shows how far a tensor has been fetched.

    A terminal shows a bar with the rate and the time left; elsewhere each tensor gets a line when
    it has been fetched.
    """
    if quiet:
        yield lambda _fetch: None
        return
    bars = _Bars()
    try:
        yield bars.show
    finally:
        bars.stop()


class _Bars:
    """A bar a tensor, made when the first of them has something to fetch: local models have none.

    Until then nothing is imported for it.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, tuple[TaskID, int, float]] = {}
        self._said: set[str] = set()

    def show(self, fetch: Fetch) -> None:
        progress = self._progress or self._started()
        if fetch.name not in self._tasks:
            task = progress.add_task(shown(fetch.name), total=fetch.total, completed=fetch.here)
            self._tasks[fetch.name] = task, fetch.here, time.monotonic()
        task, before, since = self._tasks[fetch.name]
        progress.update(task, completed=fetch.here)
        whole = fetch.here >= fetch.total and fetch.name not in self._said
        if whole and not progress.console.is_terminal:
            self._said.add(fetch.name)
            self._say(fetch, fetch.here - before, time.monotonic() - since)

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _say(self, fetch: Fetch, n_fetched: int, seconds: float) -> None:
        from isologit.output.sentences import n_bytes

        if self._progress is not None and n_fetched > 0:
            rate = n_bytes(round(n_fetched / max(seconds, 1e-6)))
            self._progress.console.print(
                f"fetched {shown(fetch.name)}: {n_bytes(n_fetched)} in {seconds:.1f} s, {rate}/s",
                markup=False,
                soft_wrap=True,
            )

    def _started(self) -> "Progress":
        from isologit.cli.bars import bars
        from isologit.cli.terminal import Words

        self._progress = bars(Words())
        self._progress.start()
        return self._progress
