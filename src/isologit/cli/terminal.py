"""Where output goes: data to stdout, progress and words to stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, RenderableType

from isologit.cli import interrupts
from isologit.errors import OutputWriteError
from isologit.output import tables
from isologit.output.json_text import listing_to_json, to_json
from isologit.output.single_file import write_file
from isologit.record import Record
from isologit.subject import Progress
from isologit.token_findings import TokenListing

if TYPE_CHECKING:
    from isologit.numerics.compilation import CodeDirectory


def deliver(
    findings: Record,
    page: Callable[[], RenderableType],
    paths: list[Path],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the findings, as a page or as JSON, and the list of what was written."""
    if as_json:
        show_json(findings)
    else:
        show(page())
    if paths and not quiet:
        show_written(paths)


def show(page: RenderableType) -> None:
    """Print a page to stdout; lines are not folded where nobody reads at a width."""
    console = _Console(highlight=False)
    with _to_stdout():
        if console.is_terminal:
            console.print(page)
        else:
            _Console(highlight=False, width=max(console.width, 160)).print(page, soft_wrap=True)


def show_json(record: Record) -> None:
    """Print findings as JSON to stdout."""
    text = listing_to_json(record) if isinstance(record, TokenListing) else to_json(record)
    show_text(text + "\n")


def show_text(text: str) -> None:
    """Print text to stdout as it is."""
    with _to_stdout():
        sys.stdout.write(text)


def say_kept(path: Path, *, quiet: bool) -> None:
    """Say on stderr that what an interrupted run knows is kept, and how to go on from it."""
    if not quiet:
        Words().print(
            f"what is known so far is kept in {path}; the same command goes on from there",
            markup=False,
            soft_wrap=True,
        )


def show_written(paths: list[Path]) -> None:
    """Print the list of what was written, to stderr."""
    tables.written(Words(), paths)


def write_page(
    directory: Path, page: bytes, output: Path | None, *, force: bool, quiet: bool
) -> None:
    """Write a directory's page, where it is wanted or in it, and say where.

    Raises
    ------
    OutputExistsError, OutputWriteError
        See `write_file`; only a page in its directory is replaced unasked.
    """
    target = directory / "report.html" if output is None else output
    path = write_file(target, page, force=force or output is None)
    if not quiet:
        show_written([path])


class _Console(Console):
    """A console that leaves a broken pipe to the entry point, which knows its exit code."""

    def __init__(self, **options: Any) -> None:
        # NO_COLOR: rich itself drops colours and keeps bold; without a system it writes no escapes.
        plain = bool(os.environ.get("NO_COLOR"))
        super().__init__(color_system=None if plain else "auto", **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Words(Console):
    """A console on stderr. That words cannot be written, or are not read, is no reason to stop."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(stderr=True, highlight=False, quiet=quiet)

    def on_broken_pipe(self) -> None:
        """Go on without a reader."""
        _discard(sys.stderr)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print where that is possible."""
        try:
            super().print(*objects, **options)
        except OSError:
            _discard(sys.stderr)


@contextmanager
def _to_stdout() -> Iterator[None]:
    """Write to stdout and be sure of it: a full disk shows when the buffer is flushed."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        # Without its errno: click would take EPIPE for itself and exit with 1.
        raise BrokenPipeError from error
    except OSError as error:
        discard_stdout()
        raise OutputWriteError(
            f"standard output could not be written: {error.strerror or error}; expected room for "
            "the whole of it. Redirect it to another place"
        ) from error


def discard_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter can close stdout in peace."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


@contextmanager
def progress(*, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """Yield a function that names the step that begins, and say so where kernels are compiled.

    With `verbose` each step's time is printed; otherwise a terminal shows the step while it runs.
    """
    from isologit.numerics.compilation import listening

    console = Words(quiet=quiet)
    with (
        listening(lambda directory: _say_compiling(console, directory)) as compiling,
        _steps(console, shown=not (verbose or quiet), timed=verbose) as begin,
    ):

        def next_step(step: str) -> None:
            interrupts.raise_any()
            begin(step)

        yield next_step
    if compiling.not_kept:
        console.print(
            f"what was compiled could not be kept ({compiling.not_kept}): the next run does so "
            "again. NUMBA_CACHE_DIR can name another directory",
            markup=False,
            soft_wrap=True,
        )
    if verbose and compiling.seconds:
        console.print(f"compiling, within these steps: {compiling.seconds:.2f} s")


def _say_compiling(console: Console, directory: "CodeDirectory") -> None:
    kept = (
        f"kept in {directory.path}"
        if directory.lasts
        else "the next run does so again, for want of a directory to keep it in (NUMBA_CACHE_DIR "
        "can name one)"
    )
    # Not folded, and no markup: a path is to be copied as it is. The console that shows the step
    # prints this above it.
    console.print(
        f"compiling what this run is the first to need, for some seconds; {kept}",
        markup=False,
        soft_wrap=True,
    )


@contextmanager
def _steps(console: Console, *, shown: bool, timed: bool) -> Iterator[Progress]:
    started: list[tuple[str, float]] = []

    def ended() -> None:
        if started and timed:
            name, since = started[-1]
            console.print(f"{name}: {time.perf_counter() - since:.2f} s")

    if not shown or not console.is_terminal:

        def begin(step: str) -> None:
            ended()
            started.append((step, time.perf_counter()))

        yield begin
        ended()
        return
    with console.status("opening") as status:
        yield lambda step: status.update(step)
