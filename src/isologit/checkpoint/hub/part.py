"""A file that arrives in pieces, in any order, and the journal that lets a later run go on.

The journal is a line for each run of bytes that has been written, with its CRC-32. A run counts
only if the bytes in the file still have that sum: a crash may have kept the one and lost the other.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from zlib import crc32

from isologit.checkpoint.wording import shown
from isologit.errors import OutputWriteError

# What a crash may cost, of each connection.
RUN_BYTES = 1 << 20
_LINE = re.compile(r"(\d{1,19}) (\d{1,19}) ([0-9a-f]{8})", re.ASCII)
_ETAG = "etag "


class Outdated(Exception):  # noqa: N818 - no error of the user's
    """What an earlier run has left is of another version of the file."""


@dataclass
class _Run:
    """Bytes that were written one after the other and are not in the journal yet."""

    start: int
    stop: int
    sum: int


class Part:
    """An incomplete file of a known length; several threads may write to it.

    What an earlier run left is checked and kept. Nobody else may have it open.

    Parameters
    ----------
    path
        Where the bytes are collected; the journal lies beside it.
    length
        Bytes, when complete.

    Raises
    ------
    OutputWriteError
        The file cannot be made.
    """

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        self.length = length
        self._lock = Lock()
        self._closed = False
        self._runs: dict[int, _Run] = {}
        self._etag: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            journal = journal_of(path)
            self._journal = journal.open("a+b", buffering=0)
            self._done = self._recover(journal)
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        # An earlier line may have been cut.
        self._note("")

    @property
    def here(self) -> int:
        """Bytes that are here."""
        return self.length - sum(stop - start for start, stop in self.gaps())

    def gaps(self) -> list[tuple[int, int]]:
        """Return the ranges that are not here, in order: begin and end."""
        with self._lock:
            here = [*self._done, *((run.start, run.stop) for run in self._runs.values())]
            found, at = [], 0
            for start, stop in sorted(here):
                if start > at:
                    found.append((at, start))
                at = max(at, stop)
            return [*found, (at, self.length)] if at < self.length else found

    def belongs_to(self, etag: str | None) -> None:
        """Check that what was here before is of the version that a server has now.

        Raises
        ------
        Outdated
            It is of another one; `clear` makes room for this.
        """
        said = f"{_ETAG}{etag}"
        if self._etag == said:
            return
        with self._lock:
            if self._etag is None and not self._done:
                self._etag = said
                self._note(said)
            elif self._etag != said:
                raise Outdated

    def write(self, start: int, content: bytes) -> None:
        """Write bytes at their place; nothing any more once it is closed.

        Bytes that follow the ones written last, by the same thread, make one run of the journal.

        Raises
        ------
        OutputWriteError
            The disk refuses.
        """
        with self._lock:
            if self._closed:
                return
            try:
                self._file.seek(start)
                view = memoryview(content)
                while view:
                    view = view[self._file.write(view) :]
                run = self._runs.pop(start, _Run(start, start, 0))
                run.stop, run.sum = start + len(content), crc32(content, run.sum)
                self._runs[run.stop] = run
                if run.stop - run.start >= RUN_BYTES:
                    self._settle(run)
            except OSError as error:
                raise cannot_write(self.path.parent, error) from error

    def clear(self) -> None:
        """Forget everything that is here.

        Raises
        ------
        OutputWriteError
            The disk refuses.
        """
        with self._lock:
            self._runs.clear()
            self._done.clear()
            self._etag = None
            try:
                self._journal.truncate(0)
                self._file.truncate(0)
            except OSError as error:
                raise cannot_write(self.path.parent, error) from error

    def close(self) -> None:
        """Write down what is here, for a later run; nothing is written after that."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                for run in list(self._runs.values()):
                    self._settle(run)
            except OSError:
                pass  # the next run fetches a little more
            finally:
                self._file.close()
                self._journal.close()

    def finish(self, target: Path) -> None:
        """Move the complete file to its place, once all of it is on the disk.

        Raises
        ------
        OutputWriteError
            The disk refuses.
        """
        assert not self.gaps()
        try:
            os.fsync(self._file.fileno())
            self.close()
            self.path.replace(target)
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error
        with suppress(OSError):
            journal_of(self.path).unlink()

    def discard(self) -> None:
        """Remove the file and its journal."""
        self.close()
        for path in (self.path, journal_of(self.path)):
            with suppress(OSError):
                path.unlink()

    def _settle(self, run: _Run) -> None:
        self._note(f"{run.start} {run.stop} {run.sum:08x}")
        del self._runs[run.stop]
        self._done.append((run.start, run.stop))

    def _note(self, line: str) -> None:
        # One call, so that a line is there or not, whatever happens to this process.
        self._journal.write(f"{line}\n".encode())

    def _recover(self, journal: Path) -> list[tuple[int, int]]:
        """Return the runs of the journal whose bytes are here."""
        found = []
        for line in journal.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(_ETAG):
                self._etag = line
            elif match := _LINE.fullmatch(line):
                start, stop = int(match[1]), int(match[2])
                if 0 <= start < stop <= self.length and self._sum(start, stop) == int(match[3], 16):
                    found.append((start, stop))
        if not found:
            self._etag = None
        return found

    def _sum(self, start: int, stop: int) -> int | None:
        """Return the CRC-32 of some bytes of the file, or None where it ends before them."""
        self._file.seek(start)
        running = 0
        while start < stop:
            content = self._file.read(min(stop - start, RUN_BYTES))
            if not content:
                return None
            running = crc32(content, running)
            start += len(content)
        return running


def journal_of(path: Path) -> Path:
    """Return where the journal of an incomplete file lies."""
    return path.with_suffix(".journal")


def journaled_bytes(path: Path) -> int:
    """Return how many bytes of an incomplete file are here by its journal, without checking."""
    try:
        text = journal_of(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    lines = filter(None, map(_LINE.fullmatch, text.splitlines()))
    return sum(max(0, int(match[2]) - int(match[1])) for match in lines)


def cannot_write(folder: Path, error: OSError) -> OutputWriteError:
    """Return the error of a cache that the disk refuses."""
    return OutputWriteError(
        f"fetched tensors cannot be kept in {shown(str(folder))}: {error.strerror or error}; make "
        "room (isologit cache rm) or give write permission, or move the cache with XDG_CACHE_HOME"
    )
