"""Time a census: two workers beside one, what it adds to its audits, how fast it sees what is done.

    python benchmarks/census.py [--models N] [--turns N] [--twin FILE]

Models are copies of one of 32,000 × 512, so that an audit takes some tenths of a second. Whole
processes, in turns; every row is held against the model's own audit, and a wrong one ends this with
exit code 1, a long time never does. Prints the table of docs/census.md.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from isologit.audit import audit, audit_of
from isologit.census.columns import CLASSES
from isologit.census.dataset import Dataset
from isologit.census.naming import local_version
from isologit.census.outcome import Outcome, done, stream
from isologit.census.task import Plan, Task, run
from isologit.near_twins import near_twins_of
from isologit.subject import Settings, open_subject
from machine import describe_machine
from turns import Seconds, take_turns

_VOCABULARY, _WIDTH, _REDUNDANT = 32_000, 512, 700
_RECORDS = 10_000
_FEW = 4
_CONFIG = (
    '{"model_type": "llama", "vocab_size": 32000, "hidden_size": 512, '
    '"tie_word_embeddings": true, "rms_norm_eps": 1e-5}'
)
_PEAK = Path(__file__).with_name("own_memory.py")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--twin", type=Path, help="a large model whose memory is measured too")
    options = parser.parse_args()
    print(describe_machine() + "\n")
    print("| what | measured |\n|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = _models(folder / "models", options.models)
        _workers(models, folder, options.turns)
        _overhead(models, folder, options.turns)
        _records(folder)
        _local_versions(folder)
        _memory(models[0])
        if options.twin is not None:
            _memory(options.twin)


def _say(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def _models(folder: Path, n: int) -> list[Path]:
    import ml_dtypes

    rows = np.random.default_rng(0).normal(size=(_VOCABULARY, _WIDTH)) * 0.02
    rows[1 : 1 + _REDUNDANT] = rows[0]
    first = folder / "step-0"
    first.mkdir(parents=True)
    tensors = {
        "model.embed_tokens.weight": rows.astype(ml_dtypes.bfloat16),
        "model.norm.weight": np.ones(_WIDTH, ml_dtypes.bfloat16),
    }
    save_file(tensors, first / "model.safetensors")
    (first / "config.json").write_text(_CONFIG)
    for k in range(1, n):
        shutil.copytree(first, folder / f"step-{k}")
    return [folder / f"step-{k}" for k in range(n)]


def _census(models: list[Path], folder: Path, *options: str) -> tuple[float, float]:
    """Run one and hold its rows against the truth; return its seconds, and those of its rows."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "out"
    listed = "\n".join(map(str, models))
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "isologit", "census", "-", "-o", out, "-q", *options],
        input=listed,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    rows = pq.ParquetFile(out / "models" / "part-00000.parquet").read()
    if (
        ran.returncode
        or len(rows) != len(models)
        or set(rows["redundant_rows"].to_pylist()) != {_REDUNDANT}
    ):
        sys.exit(f"a wrong census: {ran.stdout}{ran.stderr}")
    shutil.rmtree(out)
    return seconds, sum(rows["seconds"].to_pylist())


def _steady(models: list[Path], folder: Path, *options: str) -> Seconds:
    """Return what a census takes beyond one of the first few models alone.

    So what the processes take to start, and the first model of each, is in neither.
    """
    whole, _ = _census(models, folder, *options)
    few, _ = _census(models[:_FEW], folder, *options)
    return Seconds(whole - few)


def _workers(models: list[Path], folder: Path, turns: int) -> None:
    """Two single-thread workers beside one."""
    n = len(models) - _FEW
    for name, way in (("processes", ()), ("Dask", ("--dask",))):
        one, two = (
            partial(_steady, models, folder, "--workers", k, "--threads", "1", *way) for k in "12"
        )
        one()
        took = take_turns({"one": one, "two": two}, turns)
        ratios = took.ratios("one", "two")
        rates = [n / took.median(each) * 3600 for each in ("one", "two")]
        _say(
            f"{name}: two workers of one thread beside one, models an hour",
            f"{rates[1]:,.0f} beside {rates[0]:,.0f}: {statistics.median(ratios):.2f} × "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
        )


def _overhead(models: list[Path], folder: Path, turns: int) -> None:
    """What a census adds to each model beyond its audit, and how much of that is a worker's."""
    task = Task(str(models[0]), Plan(), 0)
    run(task)

    def bare() -> Seconds:
        began = time.perf_counter()
        for each in models:
            run(Task(str(each), Plan(), 0))
        return Seconds((time.perf_counter() - began) / len(models))

    def alone() -> Seconds:
        began = time.perf_counter()
        with threadpool_limits(1):
            for each in models:
                subject = open_subject(str(each), Settings())
                audit_of(subject)
                near_twins_of(subject, within_nats=1.0, limit=1)
        return Seconds((time.perf_counter() - began) / len(models))

    alone()
    took = take_turns({"alone": alone, "bare": bare}, turns)
    pairs = zip(took.seconds["alone"], took.seconds["bare"], strict=True)
    added = [1000 * (bare - alone) for alone, bare in pairs]
    _say(
        "what a worker adds to a model's audit and near twins",
        f"{statistics.median(added):.1f} ms ({min(added):.1f} to {max(added):.1f}), of "
        f"{1000 * took.median('bare'):.0f} ms",
    )
    others = []
    for _ in range(turns):
        whole, few = (
            _census(each, folder, "--workers", "1", "--threads", "1")
            for each in (models, models[:_FEW])
        )
        rest = (whole[0] - whole[1]) - (few[0] - few[1])
        others.append(1000 * rest / (len(models) - _FEW))
    _say(
        "what a census adds to each model beyond its worker",
        f"{statistics.median(others):.1f} ms ({min(others):.1f} to {max(others):.1f})",
    )
    found, _ = audit(str(models[0]))
    if found.rows.redundant != _REDUNDANT:
        sys.exit("a wrong audit")


def _records(folder: Path) -> None:
    dataset = Dataset(folder / "records", {})
    for n in range(_RECORDS):
        dataset.keep(_outcome(n))
    began = time.perf_counter()
    dataset.fold()
    folded = time.perf_counter() - began
    code = (
        "import sys, time; from pathlib import Path\n"
        "from isologit.census.dataset import Dataset\n"
        "began = time.perf_counter()\n"
        "known = Dataset(Path(sys.argv[1]), None).known()\n"
        "print(time.perf_counter() - began, len(known.done))"
    )
    times = []
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, "-c", code, str(folder / "records")],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, known = ran.stdout.split()
        if int(known) != _RECORDS:
            sys.exit("records were lost")
        times.append(float(seconds))
    _say(
        f"{_RECORDS:,} records scanned for what is done",
        f"{1000 * statistics.median(times):.0f} ms; folding them took {folded:.1f} s",
    )


def _outcome(n: int) -> Outcome:
    model = f"/models/run-{n % 100}/step-{n}"
    outcome = done(
        model, {"redundant_rows": n}, commit=f"{n:032x}", tensor="W", classes=b"", tokens=b""
    )
    row = {"record": outcome.record, "model": model, "relation": "row", "label": 0, "size": 2}
    table = pa.Table.from_pylist([row], schema=CLASSES)
    return Outcome(model=model, status="ok", row=outcome.row, classes=stream(table))


def _local_versions(folder: Path) -> None:
    places = [folder / "many" / str(n) for n in range(_RECORDS)]
    for place in places:
        place.mkdir(parents=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (place / name).touch()
    began = time.perf_counter()
    for place in places:
        local_version(str(place))
    seconds = time.perf_counter() - began
    _say(f"{_RECORDS:,} local models looked at for changed files", f"{1000 * seconds:.0f} ms")


def _memory(model: Path) -> None:
    ran = subprocess.run([sys.executable, _PEAK, model], capture_output=True, text=True, check=True)
    peak, needed = map(int, ran.stdout.split())
    _say(
        f"memory of a worker's own, {model.name}",
        f"{peak / 2**20:,.0f} MiB at most, and {needed / 2**20:,.0f} declared",
    )


if __name__ == "__main__":
    main()
