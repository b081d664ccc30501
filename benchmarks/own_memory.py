"""Print the most memory of its own that a census's worker takes for a model, and what is declared.

    python benchmarks/own_memory.py MODEL

Bytes, two numbers. Pages of mapped files are not counted. Linux alone.
"""

import sys
import threading
import time
from pathlib import Path

from isologit.census.memory import needed_bytes
from isologit.census.task import Plan, Task, run
from isologit.subject import Settings, locate_subject

_PAUSE = 0.002


def main(model: str) -> None:
    """Audit a model, and look at this process all the while."""
    peak = 0

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, _own())
            time.sleep(_PAUSE)

    threading.Thread(target=watch, daemon=True).start()
    outcome = run(Task(model, Plan(threads=2), 0))
    if outcome.status != "ok":
        sys.exit(str(outcome.row))
    print(peak, needed_bytes(locate_subject(model, Settings())))


def _own() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    counted = [line for line in lines if line.startswith(("RssAnon", "RssShmem"))]
    return sum(int(line.split()[1]) for line in counted) << 10


if __name__ == "__main__":
    main(sys.argv[1])
