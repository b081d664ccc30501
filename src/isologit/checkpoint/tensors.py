"""Tensors as a checkpoint's files hold them: where each lies, and how its bytes are had.

A container is one file of named tensors, whatever its format. `MappedTensors` is one whose bytes
lie in a local file as they are; `TensorsInMemory` one whose bytes had to be unpacked.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.digest import digest_beside, digest_of_view


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies and what it is, without its values.

    Parameters
    ----------
    name
        Its name in the file.
    dtype
        The number format's name in the header, such as ``BF16``; it may be one that is not read.
    shape
        Sizes, slowest first.
    file
        Name of the container that holds it.
    offset
        First byte, from the beginning of the file. Two tensors of one container with equal offsets
        and lengths are the same bytes.
    length
        Bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    offset: int
    length: int


class Container(Protocol):
    """One file of a checkpoint: the tensors that it says it holds, and their bytes."""

    @property
    def name(self) -> str:
        """How messages call it: the path as the user gave it."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """By name, in the order of the file."""

    def read(self, info: TensorInfo) -> memoryview:
        """Return all bytes of one of its tensors, as stored; they may have to be fetched first."""

    def missing(self, info: TensorInfo) -> int:
        """Return how many bytes `read` would have to fetch."""

    def digest(self, info: TensorInfo) -> "Future[str]":
        """Begin to compute the sha256 of a tensor's bytes as stored, in hexadecimal."""

    def require_unchanged(self) -> None:
        """Check that nobody has written to the file since it was opened.

        Raises
        ------
        ChangedFileError
        """


@dataclass(frozen=True, eq=False)
class MappedTensors:
    """A container whose tensors lie in a local file, one after the other or not."""

    source: MappedFile
    tensors: Mapping[str, TensorInfo]

    @property
    def name(self) -> str:
        """The file's path as the user gave it."""
        return self.source.name

    def read(self, info: TensorInfo) -> memoryview:
        """Return a view of the mapping."""
        return self.source.read(info.offset, info.length)

    def missing(self, info: TensorInfo) -> int:
        """Return 0: everything is here."""
        return 0

    def digest(self, info: TensorInfo) -> "Future[str]":
        """Begin to digest the file's bytes, in a process of its own where they are many."""
        return digest_beside(self.source, info.offset, info.length)

    def require_unchanged(self) -> None:
        """Check the file; see `MappedFile.require_unchanged`."""
        self.source.require_unchanged()


@dataclass(frozen=True, eq=False)
class TensorsInMemory:
    """A container whose tensors' bytes are not in the file as they are.

    Parameters
    ----------
    source
        The file that they come from.
    tensors
        Their offsets tell them apart and mean nothing else.
    contents
        The bytes of each, by name.
    """

    source: MappedFile
    tensors: Mapping[str, TensorInfo]
    contents: Mapping[str, memoryview] = field(repr=False)

    @property
    def name(self) -> str:
        """The file's path as the user gave it."""
        return self.source.name

    def read(self, info: TensorInfo) -> memoryview:
        """Return the bytes in memory."""
        return self.contents[info.name]

    def missing(self, info: TensorInfo) -> int:
        """Return 0: everything is here."""
        return 0

    def digest(self, info: TensorInfo) -> "Future[str]":
        """Begin to digest the bytes on a thread."""
        return digest_of_view(self.contents[info.name])

    def require_unchanged(self) -> None:
        """Check the file; see `MappedFile.require_unchanged`."""
        self.source.require_unchanged()
