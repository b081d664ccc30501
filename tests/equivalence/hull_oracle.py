"""Which points are vertices, inside or on the boundary of a hull: a simplex method in fractions.

Slow and obvious; shares nothing with what it is to judge.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Rows = Sequence[Sequence[Fraction]]


def maximum(costs: Sequence[Fraction], columns: Rows, right: Sequence[Fraction]) -> Fraction | None:
    """Return the largest ``costs · x`` with ``Σ x_k columns_k = right``, x ≥ 0; None: no such x.

    Bounded by the caller. Two phases, with Bland's rule, so that it ends.
    """
    m, n = len(right), len(columns)
    signs = [1 if value >= 0 else -1 for value in right]
    table = [
        [signs[r] * columns[k][r] for k in range(n)]
        + [Fraction(int(r == a)) for a in range(m)]
        + [signs[r] * right[r]]
        for r in range(m)
    ]
    basis = list(range(n, n + m))
    phase_one = [Fraction(0)] * n + [Fraction(-1)] * m
    if _run(table, basis, phase_one, n + m) < 0:
        return None
    for r in range(m):
        # An artificial column left at 0 goes out where another can come in.
        entering = next((k for k in range(n) if table[r][k] != 0), None)
        if basis[r] >= n and entering is not None:
            _pivot(table, basis, r, entering)
    return _run(table, basis, list(costs) + [Fraction(0)] * m, n)


def _run(
    table: list[list[Fraction]], basis: list[int], costs: Sequence[Fraction], n: int
) -> Fraction:
    while True:
        prices = [costs[k] for k in basis]
        entering = next(
            (
                k
                for k in range(n)
                if k not in basis
                and costs[k] > sum(p * row[k] for p, row in zip(prices, table, strict=True))
            ),
            None,
        )
        if entering is None:
            return sum((p * row[-1] for p, row in zip(prices, table, strict=True)), Fraction(0))
        ratios = [
            (row[-1] / row[entering], basis[r], r)
            for r, row in enumerate(table)
            if row[entering] > 0
        ]
        _pivot(table, basis, min(ratios)[2], entering)


def _pivot(table: list[list[Fraction]], basis: list[int], r: int, k: int) -> None:
    table[r] = [value / table[r][k] for value in table[r]]
    for other, row in enumerate(table):
        if other != r and row[k] != 0:
            table[other] = [a - row[k] * b for a, b in zip(row, table[r], strict=True)]
    basis[r] = k


def statuses(values: npt.ArrayLike, biases: Sequence[float] | None = None) -> list[str]:
    """Return for each of some distinct rows ``won``, ``interior`` or ``boundary``."""
    rows = [[Fraction(float(x)) for x in row] for row in np.asarray(values)]
    return [_status(rows, i, biases) for i in range(len(rows))]


def _status(rows: list[list[Fraction]], i: int, biases: Sequence[float] | None) -> str:
    columns = [[*row, Fraction(1)] for j, row in enumerate(rows) if j != i]
    right = [*rows[i], Fraction(1)]
    if biases is not None:
        heights = [Fraction(b) for j, b in enumerate(biases) if j != i]
        highest = maximum(heights, columns, right)
        if highest is None or highest < biases[i]:
            return "won"
        return "interior" if highest > biases[i] else "boundary"
    # Weights α_j = s_j + t: in the relative interior of the hull if t can be positive.
    together = [sum(column) for column in zip(*columns, strict=True)]
    costs = [Fraction(0)] * len(columns) + [Fraction(1)]
    least = maximum(costs, [*columns, together], right)
    if least is None:
        return "won"
    return "interior" if least > 0 else "boundary"
