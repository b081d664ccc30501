"""Time what is asked over every state beside an audit, as whole processes on the twin, in turns.

    python benchmarks/every_state.py [--keep DIR] [--turns N]

Each command runs once before it is timed, and what it finds is held against what was planted; a
wrong result ends this with exit code 1, a long time never does. Prints the table of
docs/speed.md's second part.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from process import run_python
from table import Row, as_markdown, times_row
from turns import take_turns
from twin import Truth, make_twin, read_truth

Command = tuple[object, ...]

_BEHIND_WORDS = 2  # bytes of a bf16 entry
_MOVED_ROW = 1_000


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="a directory for the two twins, kept")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        twin, other = place / "twin", place / "moved"
        if not twin.exists():
            make_twin(twin)
        truth = read_truth(twin)
        if not other.exists():
            _write_moved(twin, other)
        members = place / "members.safetensors"
        save_file({"cluster_token_ids": truth.cluster}, members)
        commands = _commands(twin, other, members)
        for name, (command, _) in commands.items():
            _check(name, json.loads(run_python(*_whole(command), "--json").stdout), truth)
        turns = take_turns(
            {
                name: partial(run_python, *_whole(command))
                for name, (command, _) in commands.items()
            },
            options.turns,
        )
    rows: list[Row] = [
        times_row(turns, name, "audit", what, "`isologit audit`")
        for name, (_, what) in commands.items()
        if name != "audit"
    ]
    print(as_markdown(rows))


def _whole(command: Command) -> Command:
    return ("-m", "isologit", *command, "-q")


def _commands(twin: Path, other: Path, members: Path) -> dict[str, tuple[Command, str]]:
    """Return what is timed, and how the table calls it."""
    at = ("classes", twin, "--members", members)
    states = ("classes", twin, "--random", 1000)
    return {
        "audit": (("audit", twin), ""),
        "gap": (("gap", twin, "--within", 1), "`gap --within 1`"),
        "explain": ((*at, "--explain"), "`classes --members --explain`"),
        "meet": ((*states, "--no-greedy"), "`classes --random 1000 --no-greedy`"),
        "cast": (("cast", twin, "--to", "q8_0"), "`cast --to q8_0`, with 100 random states"),
        "diff": (("diff", twin, other), "`diff` with another twin"),
    }


def _write_moved(twin: Path, other: Path) -> None:
    """Write a copy of a twin with the last bit of one entry of one row changed."""
    other.mkdir()
    for path in twin.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    weights = other / "model.safetensors"
    with weights.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        info = header["model.embed_tokens.weight"]
        start = 8 + size + info["data_offsets"][0]
        file.seek(start + _MOVED_ROW * info["shape"][1] * _BEHIND_WORDS)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def _check(name: str, found: Any, truth: Truth) -> None:
    cluster = truth.cluster.tolist()
    n_rows = truth.n_tokens - sum(len(each) - 1 for each in truth.populations)
    match name:
        case "audit":
            right = found["cluster"]["token_ids"] == cluster
        case "gap":
            right = [each["token_ids"] for each in found["classes"]] == [cluster]
        case "explain":
            ties = sum(cause["ties"] for cause in found["ties"]["modal"]["causes"])
            right = ties == found["logits"]["mode"]["n_tokens"] - 1
        case "meet":
            right = found["meet"]["told_apart_all"] and found["meet"]["distinct"] == n_rows
        case "cast":
            right = found["before"]["distinct"] == n_rows
        case _:
            moved = [each["token_id"] for each in found["moved"]["most"]]
            right = found["frozen_rows"] == truth.n_tokens - 1 and moved == [_MOVED_ROW]
    if not right:
        raise SystemExit(f"WRONG: what {name} finds is not what was planted")


if __name__ == "__main__":
    main()
