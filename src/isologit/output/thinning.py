"""Thinning: fewer marks than points, each standing for points of one group; nothing is dropped."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s

#: Marks of a figure: as many as a browser draws and redraws at once in SVG.
MOST_MARKS = 4_000
# Rows of the finest grid: a cell of it is about a pixel.
_FINEST = 512
# A picture is wider than it is high.
_COLUMNS_A_ROW = 2

Codes = npt.NDArray[np.int64]
_Number = TypeVar("_Number", np.float64, np.int64)


@dataclass(frozen=True, eq=False)
class Marks:
    """Points, put together where they lie close: each of m marks stands for one or more of them.

    Parameters
    ----------
    x, y
        ``[m]`` the place of a mark's first point. Means would put the marks of several groups in a
        cell on top of each other.
    groups
        ``[m]`` the group of all of a mark's points.
    members
        ``[n]`` the points by mark, ascending within one.
    starts
        ``[m + 1]`` where each mark's points begin in `members`.
    left_out
        How many points have no finite place.
    merged
        Whether points at different places share a mark.
    """

    x: Float64s
    y: Float64s
    groups: Codes
    members: Codes
    starts: Codes
    left_out: int
    merged: bool

    def __len__(self) -> int:
        return len(self.x)

    @property
    def counts(self) -> Codes:
        """How many points each mark stands for, ``[m]``."""
        return np.diff(self.starts)

    def of(self, mark: int) -> Codes:
        """Return a mark's points, ascending."""
        return self.members[self.starts[mark] : self.starts[mark + 1]]

    def least(self, values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """Return the least of each mark's values, ``[m]``; NaN only where all are."""
        return np.asarray(np.fmin.reduceat(values[self.members], self.starts[:-1]))

    def most(self, values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """Return the largest of each mark's values, ``[m]``; NaN only where all are."""
        return np.asarray(np.fmax.reduceat(values[self.members], self.starts[:-1]))


def thinned(x: Float64s, y: Float64s, groups: Codes, *, at_most: int = MOST_MARKS) -> Marks:
    """Put points together until there are few enough marks.

    Points of one group at one and the same place always share a mark. If those are too many, a
    grid is laid over all points and the points of one group in a cell share one: the finest grid
    with few enough marks that bisection finds, among those of up to 512 rows.

    Parameters
    ----------
    x, y
        ``[n]``; a point without a finite place is left out and counted.
    groups
        ``[n]``, from 0 up.
    at_most
        How many marks; where there are more groups than that, there is one a group.

    Returns
    -------
    Marks
        By group, and in a group by place. The same for the same points.
    """
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    across, up, group = x[placed], y[placed], groups[placed]
    if not len(placed):
        return Marks(across, up, group, placed, np.zeros(1, np.int64), len(x), merged=False)
    grid = _Grid.over(across, up, group)
    rows = grid.finest_that_fits(at_most)
    merged = rows < _FINEST
    # There are no more occupied cells than places: few places let the finest grid pass.
    if not merged:
        order, first = _runs([across, up, group])
        merged = len(first) > at_most
    if merged:
        order, first = _runs([grid.cells(rows)])
    leading = order[first]
    return Marks(
        x=across[leading],
        y=up[leading],
        groups=group[leading],
        members=placed[order],
        starts=np.append(first, len(placed)),
        left_out=len(x) - len(placed),
        merged=merged,
    )


def _runs(keys: list[npt.NDArray[Any]]) -> tuple[Codes, Codes]:
    """Return an order that brings equal keys together, the last key first, and where runs begin."""
    order = np.argsort(keys[0], kind="stable") if len(keys) == 1 else np.lexsort(keys)
    changes = np.zeros(len(order), dtype=np.bool_)
    changes[:1] = True
    for key in keys:
        ordered = key[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(changes)


@dataclass(frozen=True, eq=False)
class _Grid:
    """Points in the unit square, of a few groups."""

    across: Float64s
    up: Float64s
    groups: Codes
    n_groups: int

    @classmethod
    def over(cls, x: Float64s, y: Float64s, groups: Codes) -> "_Grid":
        """Lay a grid over points, one or more."""
        return cls(_in_unit(x), _in_unit(y), groups, int(groups.max()) + 1)

    def cells(self, rows: int) -> Codes:
        """Return each point's cell, counted by group, of a grid with so many rows.

        Every other row is moved by half a cell, as in a wall, so that the eye sees no columns.
        """
        if rows == 0:
            return self.groups
        columns = rows * _COLUMNS_A_ROW
        row = np.minimum((self.up * rows).astype(np.int64), rows - 1)
        column = (self.across * columns + row % 2 / 2).astype(np.int64)
        return np.asarray((self.groups * rows + row) * (columns + 1) + column)

    def finest_that_fits(self, at_most: int) -> int:
        """Return the rows of the finest grid, by bisection, with few enough occupied cells.

        0 stands for no grid at all: a mark a group.
        """
        fits, too_fine = 0, _FINEST + 1
        while too_fine - fits > 1:
            tried = (fits + too_fine) // 2
            cells = self.cells(tried)
            occupied = np.zeros(int(cells.max()) + 1, dtype=np.bool_)
            occupied[cells] = True
            if np.count_nonzero(occupied) <= at_most:
                fits = tried
            else:
                too_fine = tried
        return fits


def _in_unit(values: Float64s) -> Float64s:
    """Return where values lie between their least, 0, and their largest, 1."""
    low, high = values.min(), values.max()
    # Halves, since the difference of two numbers may be none.
    span = high / 2 - low / 2
    return (values / 2 - low / 2) / span if span > 0 else np.zeros(len(values))
