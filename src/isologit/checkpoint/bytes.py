"""Where a checkpoint's bytes come from: one `read(offset, length)`, and the mapped file behind it.

Formats (safetensors and others) are parsed on top of a `ByteSource`, never on an open file.
"""

import mmap
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from isologit.checkpoint.wording import shown
from isologit.errors import ChangedFileError, NotACheckpointError, TruncatedFileError

# Fits the caches that a core has to itself; between parts their reader waits for the interpreter
# lock, so smaller ones take longer.
_COPIED_BYTES = 4 << 20


class ByteSource(Protocol):
    """Something of a known size that gives out ranges of its bytes."""

    @property
    def name(self) -> str:
        """How messages call it: the path as the user gave it."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def read(self, offset: int, length: int) -> memoryview:
        """Return exactly `length` bytes from `offset`."""


class MappedFile:
    """A file mapped read-only.

    The mapping lives as long as the last view of it, and `descriptor` as long as this object; there
    is nothing to close.

    Parameters
    ----------
    path
        An existing regular file.

    Raises
    ------
    NotACheckpointError
        The file cannot be opened or mapped.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            # Before it is opened: opening a pipe waits for whoever writes to it.
            kind = path.stat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise NotACheckpointError(
                    f"{shown(self.name)} is not a regular file; expected one, which can be mapped. "
                    "Copy what it gives to a file"
                )
            with path.open("rb") as file:
                self._opened = _version(os.fstat(file.fileno()))
                file.seek(0, 2)
                self.size = file.tell()
                # mmap refuses a length of 0; an empty file is an empty view.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
                self.descriptor = os.dup(file.fileno())
        except OSError as error:
            raise NotACheckpointError(
                f"{shown(self.name)} cannot be read: {error.strerror or error}"
            ) from error
        weakref.finalize(self, os.close, self.descriptor)
        self._view = memoryview(mapped)
        self.size = len(self._view)

    def require_unchanged(self) -> None:
        """Check that nobody has written to the file since it was opened.

        Raises
        ------
        ChangedFileError
        """
        if _version(os.fstat(self.descriptor)) != self._opened:
            raise ChangedFileError(
                f"{shown(self.name)} was changed while it was analysed, so the figures may be of "
                "neither version; expected the same bytes from begin to end. Run again on a file "
                "that nobody writes to"
            )

    def view(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes from `offset` as a view of the mapping, without a copy.

        Raises
        ------
        TruncatedFileError
            The range reaches past the end of the file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise TruncatedFileError(
                f"{shown(self.name)} has {self.size:,} bytes; "
                f"bytes {offset:,} to {offset + length:,} were asked for"
            )
        return self._view[offset : offset + length]

    def read(self, offset: int, length: int) -> memoryview:
        """Return what `view` returns: a mapped file never needs to copy."""
        return self.view(offset, length)

    def copies(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield the bytes as copies in a buffer that the next part overwrites.

        Faster than the mapping for whoever goes through many bytes once, and one by one.

        Raises
        ------
        TruncatedFileError
            The range reaches past the end of the file, or the file has become shorter.
        """
        whole = self.view(offset, length)
        if not hasattr(os, "preadv"):  # as on Windows
            for start in range(0, length, _COPIED_BYTES):
                yield whole[start : start + _COPIED_BYTES]
            return
        end = offset + length
        buffer = memoryview(bytearray(min(length, _COPIED_BYTES)))
        while offset < end:
            part = buffer[: min(end - offset, len(buffer))]
            n = os.preadv(self.descriptor, [part], offset)
            if n == 0:
                raise TruncatedFileError(
                    f"{shown(self.name)} had {self.size:,} bytes and now ends at {offset:,}; "
                    "it was changed while it was read"
                )
            offset += n
            yield part[:n]


def _version(status: os.stat_result) -> tuple[int, int]:
    """Return what changes when a file is written to: its size and its time, in nanoseconds."""
    return status.st_size, status.st_mtime_ns
