"""A file of the hub, read by ranges: its first bytes for whoever parses it, its tensors kept.

The first bytes are fetched once in a growing piece and kept, so that a header costs its size and
no request the next time. Tensors are fetched into the cache and mapped from there.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.digest import digest_beside, digest_of_view
from isologit.checkpoint.hub import client
from isologit.checkpoint.hub.address import Address
from isologit.checkpoint.hub.failures import Subject, offline
from isologit.checkpoint.hub.patience import patiently
from isologit.checkpoint.hub.progress import Arrived, Fetch
from isologit.checkpoint.hub.quiet import quiet
from isologit.checkpoint.hub.store import (
    Key,
    bytes_here,
    claim,
    find_header,
    find_tensor,
    keep,
    keep_header,
)
from isologit.checkpoint.hub.transfer import transfer
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import shown
from isologit.errors import NotACheckpointError, TruncatedFileError

FIRST_BYTES = 64 << 10
# A parser that steps through a header of unknown length is given twice as much each time, up to
# this: what is fetched in vain has to stay below a megabyte.
_LARGEST_STEP = 512 << 10
# Whoever asks for so much at once knows how much there is.
_EXACT_BYTES = 32 << 10


class RemoteSource:
    """A file of the hub as a `ByteSource`, for headers; it is not downloaded whole.

    Parameters
    ----------
    name
        How messages call it.
    address
        Where it is.
    key
        Of its first bytes in the cache.
    arrived
        Told how far the fetch of a tensor is.
    """

    def __init__(self, name: str, address: Address, key: Key, arrived: Arrived) -> None:
        self.name = name
        self.subject: Subject = address.subject
        self._address = address
        self._key = key
        self._arrived = arrived
        self._lock = Lock()
        self._go_on = Event()  # never set: Ctrl-C interrupts the thread that reads
        self._first = bytearray(find_header(key))
        self._step = FIRST_BYTES

    @property
    def size(self) -> int:
        """Bytes in all.

        Raises
        ------
        HubError
            The hub's list does not say, and it could not be asked.
        """
        return self._address.size(self._go_on)

    def read(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes from `offset`, fetching those that are not here.

        What follows the bytes that are here already is kept with them; any other range is fetched
        for the occasion.

        Raises
        ------
        TruncatedFileError
            The range reaches past the end of the file.
        HubError
            It could not be fetched.
        """
        end = offset + length
        with self._lock:
            if 0 <= offset <= end <= len(self._first):
                return memoryview(bytes(self._first[offset:end]))
            if offset < 0 or length < 0 or end > self.size:
                raise TruncatedFileError(
                    f"{shown(self.name)} has {self.size:,} bytes; bytes {offset:,} to {end:,} were "
                    "asked for"
                )
            if offset > len(self._first) + _LARGEST_STEP:
                return memoryview(self._fetch(offset, end))
            here = len(self._first)
            enough = here + self._step if length < _EXACT_BYTES or not here else end
            self._first += self._fetch(here, min(max(end, enough), self.size))
            self._step = min(2 * self._step, _LARGEST_STEP)
            keep_header(self._key, bytes(self._first))
            return memoryview(bytes(self._first[offset:end]))

    def missing(self, info: TensorInfo) -> int:
        """Return how many bytes of a tensor are not here."""
        return info.length - bytes_here(self._key_of(info)) if info.length else 0

    def mapped(self, info: TensorInfo) -> MappedFile:
        """Return the file of the cache that holds a tensor's bytes, fetching them if need be.

        Raises
        ------
        HubError
            They could not be fetched.
        OutputWriteError
            They could not be kept.
        """
        key = self._key_of(info)
        while True:
            path = find_tensor(key) or self._fetched(info, key)
            # Another process may complete it, and a third remove it again to make room.
            if path is None:
                continue
            try:
                return MappedFile(path)
            except NotACheckpointError:
                if path.exists():
                    raise

    def _fetched(self, info: TensorInfo, key: Key) -> Path | None:
        """Fetch a tensor and return its file; None where another process has done so meanwhile."""
        if client.is_offline():
            raise offline(self.subject, f"{shown(info.name)} ({info.length:,} bytes)")
        here = bytes_here(key)
        with claim(key, lambda: self._arrived(Fetch(info.name, here, info.length))) as part:
            if part is None:
                return None
            transfer(
                self._address,
                info.offset,
                part,
                lambda: self._arrived(Fetch(info.name, part.here, info.length)),
            )
            return keep(key, part)

    def _fetch(self, start: int, stop: int) -> bytes:
        """Fetch a range into memory, going on where a connection breaks."""
        content = bytearray()

        def rest() -> bytes:
            for part, _ in self._address.read(start + len(content), stop, self._go_on):
                content.extend(part)
            return bytes(content)

        if client.is_offline():
            raise offline(self.subject, "its header" if start < FIRST_BYTES else "")
        with quiet():
            return patiently(rest, self.subject, self._address.patience, self._go_on)

    def _key_of(self, info: TensorInfo) -> Key:
        return Key(
            self._key.repo_id,
            self._key.commit,
            self._key.file,
            self._key.content,
            info.name,
            info.offset,
            info.length,
        )


@dataclass(frozen=True, eq=False)
class RemoteTensors:
    """A container whose tensors are fetched when they are read, each by itself.

    Parameters
    ----------
    source
        The file.
    tensors
        As its header tells them.
    """

    source: RemoteSource
    tensors: Mapping[str, TensorInfo]
    _mapped: dict[tuple[int, int], MappedFile] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def name(self) -> str:
        """The file as ``hf://org/name@commit/file``."""
        return self.source.name

    def read(self, info: TensorInfo) -> memoryview:
        """Return a view of the mapped file that the bytes are kept in, fetching them first.

        Raises
        ------
        HubError
            They could not be fetched.
        OutputWriteError
            They could not be kept.
        """
        return self._kept(info).view(0, info.length) if info.length else memoryview(b"")

    def missing(self, info: TensorInfo) -> int:
        """Return how many bytes are not in the cache."""
        return self.source.missing(info)

    def digest(self, info: TensorInfo) -> "Future[str]":
        """Begin to digest the bytes that are kept, fetching them first.

        Raises
        ------
        HubError
            They could not be fetched.
        OutputWriteError
            They could not be kept.
        """
        if not info.length:
            return digest_of_view(memoryview(b""))
        return digest_beside(self._kept(info), 0, info.length)

    def require_unchanged(self) -> None:
        """Check that nobody has written to what is kept; see `MappedFile.require_unchanged`."""
        for mapped in list(self._mapped.values()):
            mapped.require_unchanged()

    def _kept(self, info: TensorInfo) -> MappedFile:
        place = (info.offset, info.length)
        with self._lock:
            if place not in self._mapped:
                self._mapped[place] = self.source.mapped(info)
            return self._mapped[place]
