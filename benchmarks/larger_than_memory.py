"""Audit a matrix that is larger than the memory allowed, and find the same figures.

    python benchmarks/larger_than_memory.py [--matrix FILE] [--limit MB]

The audit runs twice as a process of its own: free, then inside a memory cgroup, whose limit counts
the page cache too. What the file has in the page cache is dropped before, so that the limited
process is charged for every page of W that it reads. Exits 1 if the figures differ or the limit was
never met, and 2 if no memory cgroup can be made here or the file cannot leave the page cache.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from memory_cgroup import MemoryCgroup, NoMemoryCgroupError, memory_cgroup
from process import ChildFailedError, Finished, run_python
from twin import make_twin

_LIMIT_MB = 512


class InMemoryFileError(Exception):
    """A file's pages do not leave memory: they are all there is of it (tmpfs), or in use."""


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrix", type=Path, help="a checkpoint, instead of a twin made here")
    parser.add_argument(
        "--limit", type=int, default=_LIMIT_MB, metavar="MB", help="default: %(default)s"
    )
    options = parser.parse_args()
    if options.matrix and not options.matrix.is_file():
        parser.error(f"{options.matrix} is not a file")
    limit = options.limit * 10**6
    try:
        with tempfile.TemporaryDirectory() as folder, memory_cgroup(limit) as cgroup:
            path = options.matrix
            if path is None:
                path = Path(folder) / "twin.safetensors"
                make_twin(path)
            wrong = _compare(path, limit, cgroup)
    except NoMemoryCgroupError as error:
        print(f"no memory cgroup can be made here: {error}", file=sys.stderr)
        sys.exit(2)
    except InMemoryFileError as error:
        print(f"no memory cgroup is charged for this file: {error}", file=sys.stderr)
        sys.exit(2)
    except ChildFailedError as error:
        wrong = [str(error)]
    for each in wrong:
        print(f"WRONG: {each}")
    sys.exit(1 if wrong else 0)


def _compare(path: Path, limit: int, cgroup: MemoryCgroup) -> list[str]:
    size = path.stat().st_size
    if size <= limit:
        return [f"{path} has {_mb(size)} and the limit is {_mb(limit)}; give a lower --limit"]
    job = ("-m", "isologit", "audit", path, "--json", "-q")
    free = run_python(*job)
    _drop_from_page_cache(path)
    limited = run_python(*job, through=cgroup.through)
    if not cgroup.times_at_limit and limited.bytes_read < size // 2:
        raise InMemoryFileError(f"{path} does not leave memory; put it on a disk")
    unknown = "not counted by this kernel"
    peak = unknown if cgroup.peak is None else _mb(cgroup.peak)
    again = cgroup.pages_read_again
    print(f"file: {_mb(size)}; limit: {_mb(limit)} for all memory of the process, page cache too")
    print(f"  peak use: {peak}; the limit was met {cgroup.times_at_limit:,} times")
    print(f"  pages reclaimed and read again: {unknown if again is None else f'{again:,}'}")
    print(f"  free:    {_figures(free)}")
    print(f"  limited: {_figures(limited)}")
    wrong = []
    if json.loads(free.stdout) != json.loads(limited.stdout):
        wrong.append("the figures of the limited audit differ from those of the free one")
    else:
        print("  the summaries are the same, figure for figure")
    if not cgroup.times_at_limit:
        wrong.append("the limit was never met, so nothing was shown")
    return wrong


def _figures(run: Finished) -> str:
    read = _mb(run.bytes_read)
    return f"{run.seconds:.1f} s, {run.major_faults:,} major faults, {read} read from disk"


def _drop_from_page_cache(path: Path) -> None:
    """Drop a file's pages, which stay charged to whoever touched them first."""
    with path.open("rb") as file:
        # Only clean pages can be dropped.
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


if __name__ == "__main__":
    main()
