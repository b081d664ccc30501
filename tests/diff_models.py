"""Two small checkpoints for `diff`, and what became of each of their rows, known beforehand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from checkpoints import gaussian, write_llama
from cli.command import isologit

V, D = 60, 16

#: Row classes before: of 4, 3, 3, 2 and 2 tokens.
SPLITS, STAYS, GROWS, JOINS, ENDS = [0, 1, 2, 3], [10, 11, 12], [20, 21, 22], [30, 31], [40, 41]
#: Rows that are the same in both, beside class STAYS and the first three of GROWS.
FROZEN = [50, 51, 52, 53]
ZERO, SIGNED = 54, 55

Rows = npt.NDArray[Any]


def before() -> Rows:
    """Return rows ``[V, d]`` whose entries bf16 holds exactly, with five classes."""
    values = np.round(gaussian(V, D, seed=3) * 64) / 64 + np.arange(V)[:, None] * 0.25
    for ids in (SPLITS, STAYS, GROWS, JOINS, ENDS):
        values[ids] = values[ids[0]]
    values[ZERO] = 0
    values[SIGNED] = [0, *([1] * (D - 1))]
    return values


def after() -> Rows:
    """Return the rows of `before` some time later.

    Two tokens of SPLITS are a class with JOINS and 42, one is with 44, one is single; GROWS has 25
    beside it; ENDS are single; 5 and 6 are a class.
    """
    values = before()
    kept = [*STAYS, *GROWS, *FROZEN, ZERO, SIGNED]
    moved = [i for i in range(V) if i not in kept]
    values[moved] *= 2
    values[SPLITS[:2]] = values[[*JOINS, 42]] = 7.5
    values[SPLITS[2]] = values[44] = 8.5
    values[SPLITS[3]] = 9.5
    values[25] = values[GROWS[0]]
    values[ENDS[1]] = 3.25
    values[[5, 6]] = 6.25
    values[SIGNED, 0] = -0.0
    return values


def two(
    directory: Path, change: Callable[[Rows], Rows] | None = None, dtype: str = "bf16"
) -> tuple[Path, Path]:
    """Write both as checkpoints, and return their directories."""
    later = after() if change is None else change(after())
    return (
        write_llama(directory / "before", before(), dtype),
        write_llama(directory / "after", later, dtype),
    )


def results_of(model: Path, command: str = "audit") -> Path:
    """Write the result directory of a model beside it, and return it."""
    target = model.with_name(f"{model.name}-{command}")
    ran = isologit(command, model, "-o", target, "-q", "--force")
    assert ran.code == 0, ran.err
    return target
