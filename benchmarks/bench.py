"""What the measurements share: a twin with its truth, mapped for isologit and for torch."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

import isologit
import peers
from isologit.equivalence.rows import RowClasses, row_classes
from isologit.numerics.exact import mean_row
from isologit.numerics.stored import Matrix, Vector
from twin import Truth, make_twin, read_truth


@dataclass(frozen=True)
class Bench:
    """A full-size twin, and how often each thing is timed.

    Parameters
    ----------
    path
        The twin's safetensors file, its truth beside it.
    folder
        For whatever a measurement writes.
    turns, slow_turns
        For what takes milliseconds, and for what takes seconds.
    """

    path: Path
    folder: Path
    turns: int
    slow_turns: int

    @cached_property
    def truth(self) -> Truth:
        """What was planted."""
        return read_truth(self.path)

    @cached_property
    def mapped(self) -> Matrix:
        """W, whose results may be kept with it."""
        return isologit.open_checkpoint(self.path).matrix("W")

    def fresh(self) -> Matrix:
        """Return W as an object of its own, for which nothing has been computed yet."""
        return Matrix(self.mapped.words, self.mapped.format)

    @cached_property
    def tensor(self) -> peers.Tensor:
        """W for torch, mapped too."""
        return peers.load(self.path)["W"]

    @cached_property
    def centroid(self) -> Vector:
        """The main job's state: the mean of the planted cluster."""
        return mean_row(self.mapped, self.truth.cluster)[0]

    @cached_property
    def classes(self) -> RowClasses:
        """The row classes."""
        return row_classes(self.mapped)

    @cached_property
    def figures(self) -> dict[str, npt.NDArray[np.float64]]:
        """Figures of each row by torch in float64."""
        return peers.row_figures(self.tensor)

    def output(self, name: str) -> Path:
        """Return a path that nothing has been written to yet."""
        taken = len(list(self.folder.glob(f"{name}-*")))
        return self.folder / f"{name}-{taken}"


def write_twin(path: Path, n_tokens: int, width: int) -> None:
    """Write a twin, and wait for the disk, so that writing it does not slow what follows."""
    make_twin(path, n_tokens=n_tokens, width=width)
    with path.open("rb") as file:
        os.fsync(file.fileno())
