"""Measurements of whole processes: a job's time, with the interpreter's start, and its memory.

The kernels' cache is warm: each job has run once before, to check what it finds.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import peers
from bench import Bench, write_twin
from checks import check_audit, check_class_files
from isologit.numerics.exact import logits
from isologit.numerics.formats import BF16
from process import peak_private, run_python
from table import Row, size_row, times_row
from turns import take_turns
from twin import Truth, read_truth

_SCRIPT = Path(__file__).with_name("seed_script.py")
_SCRIPT_NAME = "the seed's steps as a torch script"
_MOST_PRIVATE = 400_000_000


def measure_jobs(bench: Bench) -> list[Row]:
    """The seed's job and the audit as processes, beside the seed's steps in torch."""
    own_files, other_file = bench.output("classes"), bench.output("script")
    members = _write_members(bench)
    run_python(*_classes(bench, members, own_files))
    run_python(*_torch_script(bench, members, other_file))
    check_class_files(
        peers.load(own_files / "cluster_logits.safetensors"),
        peers.load(other_file),
        logits(bench.mapped, bench.centroid, BF16),
    )
    audited = bench.output("audit")
    run_python(*_audit(bench.path, audited))
    check_audit(json.loads((audited / "summary.json").read_text()), bench.truth)
    turns = take_turns(
        {
            "classes": lambda: run_python(*_classes(bench, members, bench.output("classes"))),
            "audit": lambda: run_python(*_audit(bench.path, bench.output("audit"))),
            "script": lambda: run_python(*_torch_script(bench, members, bench.output("script"))),
        },
        bench.slow_turns,
    )
    seed = "the seed's job, `isologit classes --members -o`, whole process"
    audit = "`isologit audit -o` of a file without a tokenizer, whole process"
    return [
        times_row(turns, "classes", "script", seed, _SCRIPT_NAME, at_most=0.6),
        times_row(turns, "audit", "script", audit, _SCRIPT_NAME, at_most=1.5),
    ]


def measure_memory(bench: Bench) -> list[Row]:
    """Private memory at its peak, for this matrix, for half its width and half its tokens."""
    all_tokens, full_width = bench.mapped.n_tokens, bench.mapped.width
    n_tokens, width = all_tokens // 2, full_width // 2
    narrow, short = bench.folder / "narrow.safetensors", bench.folder / "short.safetensors"
    write_twin(narrow, all_tokens, width)
    write_twin(short, n_tokens, full_width)
    full = _audit_peak(bench, bench.path, bench.truth)
    half_width = _audit_peak(bench, narrow, read_truth(narrow))
    half_tokens = _audit_peak(bench, short, read_truth(short))
    members = _write_members(bench)
    script = max(
        peak_private(*_torch_script(bench, members, bench.output("script")))
        for _ in range(bench.slow_turns)
    )
    what = "private memory of `isologit audit -o` at its peak"
    matrix_bytes = bench.mapped.words.nbytes
    by_token = (full - half_tokens) / (all_tokens - n_tokens)
    by_dimension = (full - half_width) / (full_width - width)
    return [
        size_row(what, "W", full, matrix_bytes, _MOST_PRIVATE),
        size_row(
            f"… at half the width ({by_dimension:,.0f} bytes less for each dimension less)",
            "at full width",
            half_width,
            full,
        ),
        size_row(
            f"… at half the tokens ({by_token:,.0f} bytes less for each token less)",
            "with all tokens",
            half_tokens,
            full,
        ),
        size_row(what, _SCRIPT_NAME, full, script),
    ]


def _audit_peak(bench: Bench, path: Path, truth: Truth) -> int:
    """Check an audit, then return the most private memory of several."""
    output = bench.output("audit")
    run_python(*_audit(path, output))
    check_audit(json.loads((output / "summary.json").read_text()), truth)
    peaks = [peak_private(*_audit(path, bench.output("audit"))) for _ in range(bench.slow_turns)]
    return max(peaks)


def _write_members(bench: Bench) -> Path:
    """Write the planted cluster under the keys of the seed's 1.4a, which both sides read."""
    path = bench.folder / "members.safetensors"
    ids = bench.truth.cluster
    save_file(
        {
            "cluster_token_ids": ids,
            # As published; neither side computes with it.
            "cluster_cosine": np.array([0.84375], dtype=np.float32),
            "n_cluster_members": np.array([len(ids)], dtype=np.int32),
        },
        path,
    )
    return path


def _classes(bench: Bench, members: Path, output: Path) -> tuple[object, ...]:
    return ("-m", "isologit", "classes", bench.path, "--members", members, "-o", output)


def _audit(path: Path, output: Path) -> tuple[object, ...]:
    return ("-m", "isologit", "audit", path, "-o", output)


def _torch_script(bench: Bench, members: Path, output: Path) -> tuple[object, ...]:
    return (_SCRIPT, bench.path, members, output)
