"""Where output goes: data to stdout, progress and words to stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, RenderableType

from isologit.findings import Record, to_json
from isologit.output import tables
from isologit.subject import Progress


def show(page: RenderableType) -> None:
    """Print a page to stdout; lines are not folded where nobody reads at a width."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(page)
    else:
        Console(highlight=False, width=max(console.width, 160)).print(page, soft_wrap=True)


def show_json(record: Record) -> None:
    """Print findings as JSON to stdout."""
    sys.stdout.write(to_json(record) + "\n")


def show_written(paths: list[Path]) -> None:
    """Print the list of what was written, to stderr."""
    tables.written(Console(stderr=True, highlight=False), paths)


@contextmanager
def progress(*, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """Yield a function that names the step that begins.

    With `verbose` each step's time is printed; otherwise a terminal shows the step while it runs.
    """
    console = Console(stderr=True, highlight=False, quiet=quiet)
    started: list[tuple[str, float]] = []

    def ended() -> None:
        if started and verbose:
            name, since = started[-1]
            console.print(f"{name}: {time.perf_counter() - since:.2f} s")

    if verbose or quiet or not console.is_terminal:

        def begin(step: str) -> None:
            ended()
            started.append((step, time.perf_counter()))

        yield begin
        ended()
        return
    with console.status("opening") as status:
        yield lambda step: status.update(step)
