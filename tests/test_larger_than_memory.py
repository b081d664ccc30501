"""A matrix larger than the memory allowed is audited, and to the same figures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from cli.command import SOURCE

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "larger_than_memory.py"
N_TOKENS, WIDTH = 65_536, 2_048
LIMIT_MB = 240
CANNOT = 2


def write_matrix(path: Path) -> None:
    """Write 268 MB of bf16: magnitudes from 2^-7 to 2^-5, and some rows that are the same."""
    rng = np.random.Generator(np.random.PCG64(5))
    words = rng.integers(0, 1 << 16, (N_TOKENS, WIDTH), dtype=np.uint16)
    # The sign, the significand and the last bit of the exponent stay as drawn.
    words &= 0x80FF
    words |= 0x3C00
    words[1000:1300] = words[1000]
    words[-1] = words[0]
    save_file({"W": words.view(ml_dtypes.bfloat16)}, path)


def test_a_matrix_larger_than_its_memory_is_audited_to_the_same_figures(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    write_matrix(path)
    assert path.stat().st_size > LIMIT_MB * 10**6
    ran = subprocess.run(
        [sys.executable, SCRIPT, "--matrix", path, "--limit", str(LIMIT_MB)],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # pytest keeps the directories of its last runs.
    path.unlink()
    if ran.returncode == CANNOT:
        assert ran.stderr.startswith("no memory cgroup"), ran.stderr
        pytest.skip(ran.stderr.strip())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "the summaries are the same" in ran.stdout
    peak = re.search(r"peak use: (\d+) MB", ran.stdout)
    assert peak is None or int(peak[1]) <= LIMIT_MB
    met = re.search(r"the limit was met ([\d,]+) times", ran.stdout)
    assert met is not None
    assert met[1] != "0"
