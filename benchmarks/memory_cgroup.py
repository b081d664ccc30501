"""A memory cgroup of our own: a limit on all the memory of a process, page cache included.

A limit on the address space would not do: it would forbid the mapping of a large file, not make
the kernel reclaim its pages. Both versions of cgroups are known.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_REMOVAL_SECONDS = 10.0


class NoMemoryCgroupError(Exception):
    """This process cannot make a memory cgroup here."""


@dataclass(frozen=True)
class MemoryCgroup:
    """A cgroup and its files; `version` is 1 or 2."""

    path: Path
    version: int

    @property
    def through(self) -> tuple[str, ...]:
        """The start of a command line that enters the cgroup, then becomes what follows it."""
        script = 'echo $$ > "$0" && exec "$@"'
        return ("/bin/sh", "-c", script, str(self.path / "cgroup.procs"))

    @property
    def peak(self) -> int | None:
        """The most bytes charged to it at once, or None where the kernel does not count them."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        file = self.path / name
        return int(file.read_text()) if file.exists() else None

    @property
    def times_at_limit(self) -> int:
        """How often a charge met the limit, so that pages had to be reclaimed first."""
        if self.version == 1:
            return int((self.path / "memory.failcnt").read_text())
        return _table(self.path / "memory.events")["max"]

    @property
    def pages_read_again(self) -> int | None:
        """Pages of files that had been reclaimed and were wanted again, where that is counted."""
        return _table(self.path / "memory.stat").get("workingset_refault_file")


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[MemoryCgroup]:
    """Make a cgroup that holds at most `limit` bytes, without swap, and remove it at the end.

    Raises
    ------
    NoMemoryCgroupError
        There is no memory controller here, or this process may not use it.
    """
    version, parent = _parent()
    path = parent / f"isologit-{uuid.uuid4().hex[:12]}"
    try:
        path.mkdir()
    except OSError as error:
        raise NoMemoryCgroupError(f"{parent}: {error.strerror}") from error
    try:
        try:
            _limit(path, version, limit)
        except OSError as error:
            raise NoMemoryCgroupError(f"{path}: {error.strerror}") from error
        yield MemoryCgroup(path, version)
    finally:
        _remove(path)


def _limit(path: Path, version: int, limit: int) -> None:
    limits, swap = "memory.limit_in_bytes", "memory.swappiness"
    if version == 2:
        limits, swap = "memory.max", "memory.swap.max"
    (path / limits).write_text(str(limit))
    # Kernels that do not account for swap lack this file.
    if (path / swap).exists():
        (path / swap).write_text("0")


def _remove(path: Path) -> None:
    # What is cached for it stays charged until it is let go, and an ended process leaves late.
    with contextlib.suppress(OSError):
        (path / "memory.force_empty").write_text("0")
    end = time.monotonic() + _REMOVAL_SECONDS
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _parent() -> tuple[int, Path]:
    """Return the version, and the nearest cgroup above us that may have children of its own."""
    own = _own_cgroups()
    mounts = list(_mounts())
    for kind, root, point, controllers in mounts:
        if kind == "cgroup" and "memory" in controllers and "memory" in own:
            return 1, _below(point, root, own["memory"])
    for kind, root, point, _ in mounts:
        if kind != "cgroup2" or "" not in own:
            continue
        place = _below(point, root, own[""])
        # A cgroup that holds processes cannot hand its controllers on; one above it may.
        for candidate in (place, *place.parents):
            if "memory" in _words(candidate / "cgroup.subtree_control"):
                return 2, candidate
            if candidate == point:
                break
    raise NoMemoryCgroupError("no cgroup hierarchy here hands on its memory controller")


def _own_cgroups() -> dict[str, str]:
    """Return this process's cgroup by controller; version 2 has none in its name."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _mounts() -> Iterator[tuple[str, str, Path, list[str]]]:
    """Yield the file system, the root in it, the mount point and the options of each mount."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            mount, _, system = line.partition(" - ")
            _, _, _, root, point, *_ = mount.split()
            kind, _, options = system.split(" ", 2)
            yield kind, root, Path(point), options.split(",")


def _below(point: Path, root: str, path: str) -> Path:
    """Return where a cgroup's path lies under a mount of the hierarchy, or of a part of it."""
    with contextlib.suppress(ValueError):
        return point / Path(path).relative_to(root)
    return point


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _table(file: Path) -> dict[str, int]:
    return {name: int(number) for name, number in map(str.split, file.read_text().splitlines())}
