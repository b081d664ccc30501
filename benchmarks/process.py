"""Python programs as child processes: how long a whole process takes, and what memory it holds."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import isologit

# Where this process has the package from, installed or not: its children take the same.
_SOURCE = Path(isologit.__file__).resolve().parents[1]
# Between two looks at a child's memory. A peak that comes and goes in between is not seen.
_LOOK_SECONDS = 0.002


class ChildFailedError(RuntimeError):
    """A child ended with another code than 0."""


@dataclass(frozen=True)
class Finished:
    """What a child left.

    Parameters
    ----------
    stdout
        What it printed.
    seconds
        From before the interpreter's start to after its end.
    major_faults, bytes_read
        Pages that it had to wait for, and what was read from a disk on its behalf.
    """

    stdout: str
    seconds: float
    major_faults: int
    bytes_read: int


def run_python(*arguments: object, through: Sequence[str] = ()) -> Finished:
    """Run ``python ARGUMENTS`` to its end, started by the command `through` where one is given.

    Raises
    ------
    ChildFailedError
        It ended with another code than 0.
    """
    command = [*through, sys.executable, *map(str, arguments)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    child = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    _check(child.returncode, command, child.stderr)
    return Finished(
        stdout=child.stdout,
        seconds=seconds,
        major_faults=after.ru_majflt - before.ru_majflt,
        # getrusage counts in blocks of 512 bytes.
        bytes_read=512 * (after.ru_inblock - before.ru_inblock),
    )


def peak_private(*arguments: object) -> int:
    """Return the most private memory, in bytes, that ``python ARGUMENTS`` was seen to hold.

    Private is what /proc calls RssAnon: heap, stacks and written copies, without mapped files.

    Raises
    ------
    ChildFailedError
        It ended with another code than 0.
    """
    command = [sys.executable, *map(str, arguments)]
    peak = 0
    with subprocess.Popen(
        command,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        status = Path(f"/proc/{child.pid}/status")
        try:
            while child.poll() is None:
                peak = max(peak, _rss_anon(status))
                time.sleep(_LOOK_SECONDS)
        finally:
            child.kill()
        errors = child.stderr.read() if child.stderr else ""
    _check(child.returncode, command, errors)
    return peak


def _rss_anon(status: Path) -> int:
    for line in status.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    # Between its end and our next look a process has no memory to speak of.
    return 0


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path}


def _check(code: int, command: Sequence[str], errors: str) -> None:
    if code == 0:
        return
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    last = errors.strip().splitlines()[-1:] or ["nothing on stderr"]
    raise ChildFailedError(f"{' '.join(command)}: {how}; {last[0]}")
