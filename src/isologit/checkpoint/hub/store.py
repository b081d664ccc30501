"""The bytes of one tensor, or one header, in the cache: found, fetched under a lock, kept.

Everything is addressed by what it is: the repository, the file's own hash (its commit where the
hub lists none), and the range of bytes. A branch that moves therefore never finds what was another
file's.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from isologit.checkpoint.hub.atomic import read_sealed, write_json, write_sealed
from isologit.checkpoint.hub.cache import (
    ABOUT,
    HEADER,
    LOCK,
    PART,
    WHOLE,
    make_room,
    mark_used,
    repo_folder,
)
from isologit.checkpoint.hub.part import Part, cannot_write, journaled_bytes
from isologit.checkpoint.wording import shown
from isologit.errors import OutputWriteError

# After so long without a byte, whoever holds a lock is not waited for any more.
STALLED_SECONDS = 60.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Key:
    """What some bytes of a hub's file are.

    Parameters
    ----------
    repo_id, commit, file
        Where they were found.
    content
        The file's hash as the hub lists it; None where it does not.
    tensor
        Their name, for people; empty for a header.
    offset, length
        The bytes.
    """

    repo_id: str
    commit: str
    file: str
    content: str | None
    tensor: str
    offset: int
    length: int

    @property
    def digest(self) -> str:
        """A name that is safe on every file system and differs where the bytes may."""
        of_file = f"content {self.content}" if self.content else f"commit {self.commit}"
        what = (self.repo_id, of_file, self.file, str(self.offset), str(self.length))
        return sha256("\0".join(what).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def find_tensor(key: Key) -> Path | None:
    """Return the file that holds a tensor's bytes, and mark it as used; None where it is not here.

    It is not removed as long as this process lives.
    """
    path = _path(key, WHOLE)
    try:
        if path.stat().st_size != key.length:
            return None
    except OSError:
        return None
    mark_used(path)
    return path


def bytes_here(key: Key) -> int:
    """Return how many bytes of a tensor are here, without checking those of an incomplete one."""
    whole = _path(key, WHOLE)
    with suppress(OSError):
        if whole.stat().st_size == key.length:
            return key.length
    return min(journaled_bytes(_path(key, PART)), key.length)


def find_header(key: Key) -> bytes:
    """Return the first bytes of a file, as many as were fetched; none where there are none."""
    path = _path(key, HEADER)
    found = read_sealed(path)
    if found is None:
        return b""
    mark_used(path)
    return found


def keep_header(key: Key, content: bytes) -> None:
    """Keep the first bytes of a file, where the disk allows it: they are quickly fetched again."""
    with suppress(OSError):
        write_json(_path(key, ABOUT), _about(key))
        write_sealed(_path(key, HEADER), content)
        mark_used(_path(key, HEADER))


@contextmanager
def claim(key: Key, told: Callable[[], None]) -> Iterator[Part | None]:
    """Hold the right to fetch a tensor, and give what is here of it.

    Gives None where another process has completed it meanwhile. Older entries are removed to make
    room first. Whoever completes the part calls `keep`.

    Parameters
    ----------
    key
        The tensor.
    told
        Called while another process is waited for.

    Raises
    ------
    OutputWriteError
        The disk is full or refuses.
    """
    path = _path(key, PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(_path(key, ABOUT), _about(key))
        lock = _lock(_path(key, LOCK), path, lambda: find_tensor(key) is not None, told)
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    try:
        if find_tensor(key) is not None:
            yield None
            return
        if lock is None:
            path = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}{PART}")
        make_room(key.length, path)
        _require_room(key, path)
        part = Part(path, key.length)
        try:
            yield part
        finally:
            part.close()
            if lock is None:
                part.discard()
    finally:
        if lock is not None:
            lock.release()


def keep(key: Key, part: Part) -> Path:
    """Put a complete part in its place, and return that.

    Raises
    ------
    OutputWriteError
        The disk refuses.
    """
    target = _path(key, WHOLE)
    part.finish(target)
    mark_used(target)
    return target


def _path(key: Key, suffix: str) -> Path:
    return repo_folder(key.repo_id) / f"{key.digest}{suffix}"


def _about(key: Key) -> dict[str, Any]:
    return {
        "repo_id": key.repo_id,
        "commit": key.commit,
        "file": key.file,
        "content": key.content,
        "tensor": key.tensor,
        "offset": key.offset,
        "length": key.length,
    }


def _lock(
    lock_path: Path, part: Path, is_complete: Callable[[], bool], told: Callable[[], None]
) -> Any:
    """Return the lock, or None where it is not to be had; wait for others as long as they work."""
    from filelock import FileLock, Timeout

    lock = FileLock(lock_path)
    state, since = None, time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0)
            return lock
        except Timeout:
            pass
        except NotImplementedError:
            return None  # a file system without locks
        if is_complete():
            return None
        now = journaled_bytes(part)
        if now != state:
            state, since = now, time.monotonic()
        if time.monotonic() - since > STALLED_SECONDS:
            return None
        told()
        time.sleep(_POLL_SECONDS)


def _require_room(key: Key, part: Path) -> None:
    """Check that the disk has room for what a tensor lacks.

    Raises
    ------
    OutputWriteError
    """
    missing = key.length - journaled_bytes(part)
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise OutputWriteError(
            f"{shown(key.tensor)} takes {missing:,} more bytes and {shown(str(part.parent))} has "
            f"room for {free:,}; make room (isologit cache rm), or move the cache with "
            "XDG_CACHE_HOME"
        )
