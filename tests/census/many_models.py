"""Many small checkpoints with a truth of their own, and a census of them as a process."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from checkpoints import gaussian, write_llama
from isologit.census.outcome import Outcome
from isologit.census.task import Task, run

VOCABULARY, WIDTH = 40, 8


@dataclass(frozen=True)
class Planted:
    """A model whose first rows are one row, so often as its number says."""

    path: Path
    redundant: int


def write_models(folder: Path, n: int) -> list[Planted]:
    """Write ``step-0``, ``step-1``, …; number i has i mod 7 rows that repeat row 0."""
    planted = []
    for i in range(n):
        values = gaussian(VOCABULARY, WIDTH, seed=i)
        values[1 : 1 + i % 7] = values[0]
        planted.append(Planted(write_llama(folder / f"step-{i}", values), i % 7))
    return planted


def write_corrupt(folder: Path) -> Path:
    """Write a model whose header promises more bytes than there are."""
    path = write_llama(folder, gaussian(VOCABULARY, WIDTH)) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    return folder


def write_enormous(folder: Path) -> Path:
    """Write a model of 1 TiB of rows, in a file that is all hole."""
    folder.mkdir(parents=True)
    shape = [1 << 27, 1 << 12]
    n_bytes = 2 * shape[0] * shape[1]
    entry = {"dtype": "BF16", "shape": shape, "data_offsets": [0, n_bytes]}
    header = json.dumps({"lm_head.weight": entry}).encode()
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + n_bytes)
    return folder


def begin(*arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
    """Begin ``isologit census``, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "isologit", "census", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def finished(process: "subprocess.Popen[str]", timeout: float = 240) -> tuple[int, str, str]:
    """Return the exit code, what is on stdout, and what is on stderr."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def rows(directory: Path) -> list[dict[str, Any]]:
    """Return every row of the models table, as any reader of Parquet has it."""
    tables = [pq.read_table(path) for path in sorted((directory / "models").glob("*.parquet"))]
    found: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return found


def check_planted(directory: Path, planted: list[Planted]) -> None:
    """Hold what is in a census against what was planted: every model once, and right."""
    found = {row["model"]: row for row in rows(directory) if row["status"] == "ok"}
    assert Counter(row["model"] for row in rows(directory)).most_common(1)[0][1] == 1
    classes = [
        pq.read_table(path).to_pylist() for path in (directory / "classes").glob("*.parquet")
    ]
    largest = {
        row["model"]: row["token_ids"]
        for each in classes
        for row in each
        if row["relation"] == "row"
    }
    n_classes = Counter(
        row["model"] for each in classes for row in each if row["relation"] == "row"
    )
    for each in planted:
        row = found[str(each.path)]
        assert row["redundant_rows"] == each.redundant
        assert row["distinct_rows"] == VOCABULARY - each.redundant
        expected = list(range(each.redundant + 1)) if each.redundant else None
        assert largest.get(str(each.path)) == expected
        assert n_classes[str(each.path)] == (1 if each.redundant else 0)


def dying(task: Task) -> Outcome:
    """End the worker for one model; for another once; and be slow, so that others are hit."""
    name = Path(task.model).name
    if name == "step-3":
        os._exit(9)
    mark = Path(task.model) / "died"
    if name == "step-5" and not mark.exists():
        mark.touch()
        os._exit(9)
    time.sleep(0.05)
    return run(task)
