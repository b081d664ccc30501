"""Measurements within this process: what isologit computes beside the memory floor and torch."""

from hashlib import sha256
from pathlib import Path

import numpy as np

import isologit
import peers
from bench import Bench
from checks import check_axes, check_logits, check_rows, check_scan, require
from floor import memory_pass
from isologit.equivalence.axes import principal_axes
from isologit.equivalence.rows import row_classes
from isologit.numerics.exact import logits
from isologit.numerics.formats import BF16
from isologit.numerics.many_states import logits_at_states
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, Vector
from process import run_python
from table import Row, faster_row, times_row
from turns import Seconds, take_turns

_FLOOR = "the memory floor"
_FIRST_CALL = Path(__file__).with_name("first_call.py")
_STATES = 1024
_SINGLE_PASSES = 9
_AXES = 3


def measure_logits(bench: Bench) -> list[Row]:
    """Certified logits at the cluster's centroid; torch's product for information."""
    h = bench.centroid
    other_h = peers.bf16_vectors(h.words)
    memory_pass(bench.mapped)
    own = logits(bench.fresh(), h, BF16)
    norms = np.sqrt(bench.figures["squares"])
    check_logits(bench.mapped, h, own, peers.logits(bench.tensor, other_h), norms)
    turns = take_turns(
        {
            "floor": lambda: memory_pass(bench.mapped),
            "own": lambda: logits(bench.fresh(), h, BF16),
            "torch": lambda: peers.logits(bench.tensor, other_h),
        },
        bench.turns,
    )
    what = f"certified logits at a state ({own.refined} took the exact step)"
    return [
        times_row(turns, "own", "floor", what, _FLOOR, at_most=1.8),
        times_row(turns, "own", "torch", what, "torch, bf16 `W @ h`"),
    ]


def measure_rows(bench: Bench) -> list[Row]:
    """Row classes of the whole vocabulary."""
    memory_pass(bench.mapped)
    check_rows(row_classes(bench.fresh()), peers.classes_of_rows(bench.tensor), bench.truth)
    turns = take_turns(
        {
            "floor": lambda: memory_pass(bench.mapped),
            "own": lambda: row_classes(bench.fresh()),
            "torch": lambda: peers.unique_rows(bench.tensor),
        },
        # torch's time depends on where its memory comes from, and varies.
        bench.turns,
    )
    first = take_turns(
        {
            "own": lambda: _first_call("isologit", bench),
            "torch": lambda: _first_call("torch", bench),
        },
        bench.slow_turns,
    )
    what, peer = "row classes, verified byte for byte", "`torch.unique(W, dim=0)`"
    return [
        times_row(turns, "own", "floor", what, _FLOOR, at_most=2.0),
        faster_row(turns, "own", "torch", what, f"{peer}, again and again", at_least=60),
        faster_row(first, "own", "torch", f"{what}, first call of a process", peer),
    ]


def _first_call(which: str, bench: Bench) -> Seconds:
    return Seconds(float(run_python(_FIRST_CALL, which, bench.path).stdout))


def measure_scan(bench: Bench) -> list[Row]:
    """What rows say by themselves."""

    def census() -> tuple[object, ...]:
        scan = scan_rows(bench.fresh())
        kinds = [int(mask.sum()) for mask in (scan.zero, scan.subnormal, ~scan.finite)]
        return np.sqrt(scan.squares), scan.sums, scan.smallest, scan.largest, kinds

    memory_pass(bench.mapped)
    census()
    check_scan(scan_rows(bench.fresh()), bench.figures)
    turns = take_turns({"floor": lambda: memory_pass(bench.mapped), "own": census}, bench.turns)
    what = "norms, sums, extremes, and the census of zero, subnormal and non-finite rows"
    return [times_row(turns, "own", "floor", what, _FLOOR, at_most=1.5)]


def measure_axes(bench: Bench) -> list[Row]:
    """Leading principal axes."""
    own = principal_axes(bench.fresh(), _AXES, tolerance=1e-6)
    check_axes(own.axes, own.sine_bounds, peers.leading_axes(bench.tensor, _AXES))
    turns = take_turns(
        {
            "own": lambda: principal_axes(bench.fresh(), _AXES, tolerance=1e-6),
            "torch": lambda: peers.leading_axes(bench.tensor, _AXES),
        },
        bench.slow_turns,
    )
    what = f"leading {_AXES} principal axes, sine of the angle ≤ 1e-6"
    beside = "torch, float32 covariance and `torch.linalg.eigh`"
    return [faster_row(turns, "own", "torch", what, beside, at_least=10)]


def measure_states(bench: Bench) -> list[Row]:
    """Certified logits at 1,024 states in one call, beside as many calls for one state."""
    rng = np.random.Generator(np.random.PCG64(0))
    drawn = rng.standard_normal((_STATES, bench.mapped.width))
    states = Matrix.of_values(drawn, BF16)
    chosen = np.linspace(0, _STATES - 1, _SINGLE_PASSES).astype(int)
    vectors = [Vector(states.words[n], states.format) for n in chosen]
    # What is kept with a matrix serves all single passes, as it does in a loop over states.
    kept = bench.fresh()
    together = logits_at_states(bench.fresh(), states, BF16)
    for n, vector in zip(chosen, vectors, strict=True):
        alone = logits(kept, vector, BF16)
        require(
            np.array_equal(together.values[n], alone.values),
            f"the logits at state {n} are the same alone and with the others",
        )
    del together
    turns = take_turns(
        {
            "one by one": lambda: [logits(kept, vector, BF16).refined for vector in vectors],
            "together": lambda: logits_at_states(bench.fresh(), states, BF16),
        },
        bench.slow_turns,
    )
    what = f"certified logits at {_STATES:,} states at once"
    beside = f"one state at a time ({_SINGLE_PASSES} passes, times {_STATES:,}/{_SINGLE_PASSES})"
    scale = _STATES / _SINGLE_PASSES
    return [faster_row(turns, "together", "one by one", what, beside, at_least=3, scale=scale)]


def measure_finder(bench: Bench) -> list[Row]:
    """The finder of clusters, given the row classes."""
    rows = bench.classes.row_values
    found = isologit.find_clusters(bench.fresh(), rows)
    require(len(found) == 1, f"one cluster is found, not {len(found)}")
    members, planted = set(found[0].token_ids.tolist()), set(bench.truth.cluster.tolist())
    require(len(members & planted) >= 0.99 * len(members | planted), "it is the planted one")
    memory_pass(bench.mapped)
    turns = take_turns(
        {
            "floor": lambda: memory_pass(bench.mapped),
            "own": lambda: isologit.find_clusters(bench.fresh(), rows),
        },
        bench.slow_turns,
    )
    return [times_row(turns, "own", "floor", "clusters, given the row classes", _FLOOR)]


def measure_digest(bench: Bench) -> list[Row]:
    """The sha256 of W, which every audit computes beside its passes."""
    data = bench.mapped.words.view(np.uint8).data
    memory_pass(bench.mapped)
    turns = take_turns(
        {
            "floor": lambda: memory_pass(bench.mapped),
            "own": lambda: sha256(data).hexdigest(),
        },
        bench.slow_turns,
    )
    return [times_row(turns, "own", "floor", "sha256 of W, on one thread", _FLOOR)]
