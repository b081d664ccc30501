"""Measure isologit beside the memory floor and beside torch, and print one table of ratios.

    python benchmarks/speed.py [--matrix FILE] [--only NAME]... [--write PAGE]

Makes the twin of the main job, or takes one that `twin.py` made. What is compared takes turns, and
each ratio is the median of the ratios within a turn, so that what else the machine does slows both
sides. Every result is checked before it is timed. Exits 1 if one is wrong, and never for a time.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import Bench, write_twin
from checks import WrongResultError
from jobs import measure_jobs, measure_memory
from machine import describe_machine
from passes import (
    measure_axes,
    measure_digest,
    measure_finder,
    measure_logits,
    measure_rows,
    measure_scan,
    measure_states,
)
from process import ChildFailedError
from table import Row, as_markdown, write_into
from twin import N_TOKENS, WIDTH

_TURNS = 9
_SLOW_TURNS = 5

MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "logits": measure_logits,
    "rows": measure_rows,
    "scan": measure_scan,
    "axes": measure_axes,
    "jobs": measure_jobs,
    "states": measure_states,
    "memory": measure_memory,
    "finder": measure_finder,
    "digest": measure_digest,
}


def main() -> None:
    """Measure, print, and write the page where one is named."""
    options = _options()
    names = options.only or list(MEASUREMENTS)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = options.matrix or Path(folder) / "twin.safetensors"
        bench = Bench(path, Path(folder), options.turns or _TURNS, options.turns or _SLOW_TURNS)
        if options.matrix is None:
            _say("making the twin")
            write_twin(path, N_TOKENS, WIDTH)
        machine = describe_machine()
        rows, wrong = _measure(bench, names)
    text = f"{machine}.\n\n{as_markdown(rows)}"
    print(text)
    _say(f"{time.perf_counter() - begin:.0f} s in all")
    for each in wrong:
        _say(f"WRONG: {each}")
    if wrong:
        sys.exit(1)
    if options.write is not None:
        write_into(options.write, text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--matrix", type=Path, metavar="FILE", help="a full-size twin, instead of making one"
    )
    parser.add_argument(
        "--only", action="append", choices=list(MEASUREMENTS), help="may be repeated"
    )
    parser.add_argument(
        "--turns",
        type=int,
        metavar="N",
        help=f"default: {_TURNS}, and {_SLOW_TURNS} for what takes seconds",
    )
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="put the table between the page's markers"
    )
    options = parser.parse_args()
    if options.matrix and not options.matrix.with_suffix(".truth.json").is_file():
        parser.error(f"{options.matrix} has no .truth.json beside it; expected a file of twin.py")
    return options


def _measure(bench: Bench, names: Sequence[str]) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    wrong: list[str] = []
    for name in names:
        begin = time.perf_counter()
        try:
            rows += MEASUREMENTS[name](bench)
        except (WrongResultError, ChildFailedError) as error:
            wrong.append(f"{name}: {error}")
        _say(f"{name}: {time.perf_counter() - begin:.0f} s")
    return rows, wrong


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
