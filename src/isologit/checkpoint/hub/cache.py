"""What was fetched and is kept: where, how much of it, and what goes first to make room.

The bytes of a tensor are complete if and only if they lie under their final name; `store` puts
them there.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from isologit.checkpoint.hub.atomic import read_json
from isologit.checkpoint.hub.part import cannot_write, journal_of, journaled_bytes
from isologit.checkpoint.wording import shown
from isologit.errors import CacheBoundError, OutputWriteError

DEFAULT_BOUND = 20 << 30
_BOUND_VARIABLE = "ISOLOGIT_CACHE_BYTES"
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)
# A tensor's files have one name and these suffixes: its description, its bytes, its bytes so far
# (with their journal), the lock of whoever fetches it. A header has a description and its bytes.
ABOUT, WHOLE, PART, HEADER, LOCK = ".json", ".tensor", ".part", ".header", ".lock"
_KINDS = (WHOLE, PART, HEADER)
_FOLDER = "models--"
# What this process has handed out, which is not removed to make room.
_in_use: set[Path] = set()


@dataclass(frozen=True)
class CacheEntry:
    """A tensor, or a header, in the cache.

    Parameters
    ----------
    repo_id, commit, file
        Where it comes from; the commit is the one at which it was fetched.
    tensor
        Its name; empty for a header.
    bytes
        How many of it are here.
    complete
        Whether that is all of it.
    last_used
        Seconds since the epoch.
    path
        The file that holds the bytes.
    """

    repo_id: str
    commit: str
    file: str
    tensor: str
    bytes: int
    complete: bool
    last_used: float
    path: Path


def cache_folder() -> Path:
    """Return where fetched tensors are kept: ``$XDG_CACHE_HOME/isologit/tensors`` or its like.

    Raises
    ------
    OutputWriteError
        There is no home directory.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.name == "nt" and not given:
        given = os.environ.get("LOCALAPPDATA", "")
    # The XDG specification has relative paths ignored.
    if given and Path(given).is_absolute():
        return Path(given) / "isologit" / "tensors"
    try:
        return Path.home() / ".cache" / "isologit" / "tensors"
    except RuntimeError as error:
        raise OutputWriteError(
            "there is no home directory to keep fetched tensors in; set XDG_CACHE_HOME"
        ) from error


def cache_bound() -> int:
    """Return how many bytes the cache may hold: ISOLOGIT_CACHE_BYTES, or 20 GiB.

    Raises
    ------
    CacheBoundError
        The variable is not a size.
    """
    given = os.environ.get(_BOUND_VARIABLE, "").strip()
    if not given:
        return DEFAULT_BOUND
    size = parse_size(given)
    if size is None:
        raise CacheBoundError(
            f"{_BOUND_VARIABLE} is {shown(given)}; expected a number of bytes, such as 5GiB, "
            "500MB or 0"
        )
    return size


def parse_size(text: str) -> int | None:
    """Return the bytes that ``5GiB``, ``500MB`` or ``0`` stand for; None where it is no size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    power = " kmgt".index(match[2].lower() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def repo_folder(repo_id: str) -> Path:
    """Return the folder of what belongs to one model."""
    return cache_folder() / f"{_FOLDER}{repo_id.replace('/', '--')}"


def mark_used(path: Path) -> None:
    """Note that a file of the cache is used now, and by this process until `release`."""
    _in_use.add(path)
    # The description's time says when; that of the bytes must not change, for that is how it is
    # noticed that somebody has written to them.
    with suppress(OSError):
        os.utime(path.with_suffix(ABOUT))


def release() -> None:
    """Let what this process was handed so far go to make room, for it has done with it."""
    _in_use.clear()


def entries() -> list[CacheEntry]:
    """Return what is kept, the least recently used first."""
    found = [entry for folder in _folders() for entry in _entries_in(folder)]
    return sorted(found, key=lambda entry: (entry.last_used, entry.path))


def remove(patterns: Iterable[str] | None = None) -> int:
    """Remove what is kept of some models, and return how many bytes that frees.

    What another process is fetching stays.

    Parameters
    ----------
    patterns
        ``org/name``, ``org/name@commit`` (its first digits will do) or ``org/name@commit/file``,
        with ``*`` and ``?``, and with or without ``hf://``. None stands for everything.

    Raises
    ------
    OutputWriteError
        The disk refuses.
    """
    wanted = None if patterns is None else [p.removeprefix("hf://") for p in patterns]
    freed = 0
    folders = set(_folders()) if wanted is None else set()
    for entry in entries():
        if wanted is None or any(_matches(entry, pattern) for pattern in wanted):
            freed += _remove_entry(entry)
            folders.add(entry.path.parent)
    for folder in folders:
        _remove_if_bare(folder)
    return freed


def make_room(length: int, path: Path) -> None:
    """Remove the least recently used entries until one more does not exceed the bound.

    What this process uses stays, and so may the cache exceed it.

    Parameters
    ----------
    length
        Bytes of the new one.
    path
        Where it is collected; what is there already stays.
    """
    others = [entry for entry in entries() if entry.path != path]
    excess = sum(entry.bytes for entry in others) + length - cache_bound()
    # Whole ones first: somebody may still go on with the others.
    for entry in sorted(others, key=lambda entry: not entry.complete):
        if excess <= 0:
            return
        if entry.path not in _in_use:
            with suppress(OutputWriteError):
                excess -= _remove_entry(entry)


def _folders() -> list[Path]:
    try:
        return sorted(path for path in cache_folder().iterdir() if path.name.startswith(_FOLDER))
    except OSError:
        return []


def _entries_in(folder: Path) -> Iterator[CacheEntry]:
    with suppress(OSError):
        for path in folder.iterdir():
            if path.suffix in _KINDS:
                # Passed over where it is removed meanwhile.
                with suppress(OSError):
                    yield _entry(path)


def _entry(path: Path) -> CacheEntry:
    about = _about_of(path)
    told = read_json(about) or {}
    commit, file, tensor = (str(told.get(name, "")) for name in ("commit", "file", "tensor"))
    return CacheEntry(
        repo_id=path.parent.name.removeprefix(_FOLDER).replace("--", "/"),
        commit=commit,
        file=file,
        tensor=tensor,
        bytes=journaled_bytes(path) if path.suffix == PART else path.stat().st_size,
        complete=path.suffix != PART,
        last_used=(about if told else path).stat().st_mtime,
        path=path,
    )


def _about_of(path: Path) -> Path:
    # Parts of processes that had no lock have a longer name.
    return path.with_name(f"{path.name.partition('.')[0]}{ABOUT}")


def _files_of(about: Path) -> list[Path]:
    """Return the files with the bytes of which there is a description."""
    return [path for path in about.parent.glob(f"{about.stem}.*") if path.suffix in _KINDS]


def _matches(entry: CacheEntry, pattern: str) -> bool:
    commit = f"{entry.repo_id}@{entry.commit}"
    if "@" in pattern and "/" not in pattern.partition("@")[2]:
        pattern += "*"
    return any(fnmatchcase(n, pattern) for n in (entry.repo_id, commit, f"{commit}/{entry.file}"))


def _remove_entry(entry: CacheEntry) -> int:
    """Remove an entry's files, and return the bytes freed: 0 where somebody is fetching it.

    Raises
    ------
    OutputWriteError
        The disk refuses.
    """
    about = _about_of(entry.path)
    try:
        with _held(about.with_suffix(LOCK)) as held:
            if not held:
                return 0
            for path in (entry.path, journal_of(entry.path)):
                path.unlink(missing_ok=True)
            if not _files_of(about):
                about.unlink(missing_ok=True)
    except PermissionError as error:
        if os.name == "nt":
            return 0  # somebody has it mapped
        raise cannot_write(about.parent, error) from error
    except OSError as error:
        raise cannot_write(about.parent, error) from error
    return entry.bytes


def _remove_if_bare(folder: Path) -> None:
    """Remove what is known of a model of which no bytes are left, and its folder."""
    with suppress(OSError):
        left = list(folder.iterdir())
        if any(path.suffix in _KINDS for path in left):
            return
        for path in left:
            # A lock's file may go only while it is held: whoever takes it next looks for that.
            with _held(path) if path.suffix == LOCK else nullcontext(True) as held:
                if held:
                    path.unlink(missing_ok=True)
        folder.rmdir()


@contextmanager
def _held(lock_path: Path) -> Iterator[bool]:
    """Hold a lock if nobody does, and tell whether."""
    from filelock import FileLock, Timeout

    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except NotImplementedError:  # a file system without locks
        yield True
        return
    try:
        yield True
    finally:
        lock.release()
