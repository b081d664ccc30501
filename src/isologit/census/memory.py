"""How much memory an audit needs, what there is, and how a worker is held to what was declared.

What is counted is memory of the process's own: pages of mapped files are the system's, which drops
them when it needs room, and a checkpoint of any size may be mapped.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isologit.checkpoint.hub.remote import RemoteTensors
from isologit.checkpoint.tensors import MappedTensors
from isologit.subject import LocatedSubject

# Measured, and rounded up by half or more (benchmarks/census.py): the interpreter with its
# libraries and compiled kernels; for each token, with all that its tokenizer tells; for each entry
# of a d × d matrix, of the principal axes; for each byte of W that does not lie in a file as it is.
_BASE = 256 << 20
_A_TOKEN = 4 << 10
_A_SQUARE = 24
_A_COPIED_BYTE = 2
# Address space that libraries reserve and do not use, which RLIMIT_DATA counts: Arrow's allocator
# takes 1 GiB when it is first asked, and each thread its stack and its arena.
_RESERVED = 2 << 30
_CGROUP = Path("/sys/fs/cgroup")
#: What a small model needs.
SMALL = 2 * _BASE
# Of what is free: the rest is for the system's own, the cache of files above all.
_SHARE = 0.8


def needed_bytes(located: LocatedSubject) -> int:
    """Return a bound on what an audit of a model takes, by its headers alone."""
    form = located.head.form
    n_tokens, width = form.info.shape
    container = located.checkpoint.containers[form.info.file]
    mapped = isinstance(container, MappedTensors | RemoteTensors)
    copied = 0 if mapped else form.info.length
    return _BASE + n_tokens * _A_TOKEN + width * width * _A_SQUARE + copied * _A_COPIED_BYTE


def available_bytes() -> int:
    """Return how much memory workers may have together: four fifths of what is free now.

    The bounds of a control group count; without ``/proc``, half of what the machine has.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        return pages * os.sysconf("SC_PAGE_SIZE") // 2 if pages else 4 << 30
    return int(_SHARE * min([free, *_left_in_group()]))


def _left_in_group() -> list[int]:
    """Return what this process's control group may still take; nothing where it has no bound."""
    try:
        line = next(
            each for each in Path("/proc/self/cgroup").read_text().splitlines() if "::" in each
        )
        group = _CGROUP / line.split("::", 1)[1].strip("/")
        most = (group / "memory.max").read_text().strip()
        if most == "max":
            return []
        # The cache of files is taken back when there is need.
        stat = dict(each.split() for each in (group / "memory.stat").read_text().splitlines())
        return [int(most) - int(stat["anon"])]
    except (OSError, ValueError, KeyError, StopIteration):
        return []


@contextmanager
def held_to(n_bytes: int) -> Iterator[None]:
    """Let this process take so much more memory of its own, and little more, while this lasts.

    Whoever asks for more gets a MemoryError. Pages of mapped files are not counted (RLIMIT_DATA);
    address space that is reserved is, so that there is room for what libraries never use of it.
    Where the system knows no such bound there is none.
    """
    if sys.platform != "linux" or n_bytes <= 0:
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _own_bytes() + n_bytes + _RESERVED
    hard = before[1]
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _own_bytes() -> int:
    """Return what RLIMIT_DATA counts of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
