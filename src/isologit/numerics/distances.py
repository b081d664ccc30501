"""Loops for finding near rows: short sketches of rows, distances, and neighbours among sketches.

Compiled by numba like `kernels`, and like it without a copy of a matrix. Everything here is
binary64 and each row is treated by itself, so results do not depend on the number of threads.
"""

import numba
import numpy as np

from isologit.numerics.kernels import widen

SKETCH_WIDTH = 32

_REASSOCIATE = {"reassoc", "contract"}


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def sketch_rows(words, rows, weights, start, stop, sketch):  # type: ignore[no-untyped-def]
    """Fill ``sketch[n, j]`` with the weighted sum of columns j, j + 32, j + 64, … of a row.

    The row is ``words[rows[n]]``; ``sketch`` has 32 columns, or d where d is less.
    """
    width = words.shape[1]
    whole = width - width % SKETCH_WIDTH
    sums = np.empty(SKETCH_WIDTH)
    for n in range(start, stop):
        row = words[rows[n]]
        for j in range(SKETCH_WIDTH):
            sums[j] = 0.0
        for first in range(0, whole, SKETCH_WIDTH):
            # Slices of a constant length: the inner loop then runs in registers.
            part = row[first : first + SKETCH_WIDTH]
            part_weights = weights[first : first + SKETCH_WIDTH]
            for j in range(SKETCH_WIDTH):
                sums[j] += widen(part[j]) * part_weights[j]
        for k in range(whole, width):
            sums[k - whole] += widen(row[k]) * weights[k]
        for j in range(sketch.shape[1]):
            sketch[n, j] = sums[j]


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def square_distances(words, rows, centre, start, stop, squares):  # type: ignore[no-untyped-def]
    """Fill ``squares[n]`` with the squared distance of ``words[rows[n]]`` from a point."""
    for n in range(start, stop):
        row = rows[n]
        total = 0.0
        for k in range(words.shape[1]):
            difference = widen(words[row, k]) - centre[k]
            total += difference * difference
        squares[n] = total


@numba.njit(nogil=True, cache=True)
def halve(sketch, columns, order, leaf_rows):  # type: ignore[no-untyped-def]
    """Sort ``order`` into the leaves of a k-d tree over the rows of a sketch that it names.

    Nodes are halved at the median of one column, the columns taken in turn by depth, until none
    holds more than ``leaf_rows``. Returns the first position of each leaf, and the end.
    """
    bounds = [0, len(order)]
    depth = 0
    while (len(order) + (1 << depth) - 1) >> depth > leaf_rows:
        column = columns[depth % len(columns)]
        finer = [0]
        for leaf in range(len(bounds) - 1):
            node = order[bounds[leaf] : bounds[leaf + 1]]
            half = len(node) // 2
            values = sketch[node, column]
            pivot = np.partition(values, half)[half]
            # Ties at the pivot fill the left half in their order, so the halves are equal.
            ties = half - np.sum(values < pivot)
            left = 0
            right = half
            ordered = np.empty_like(node)
            for n in range(len(node)):
                goes_left = values[n] < pivot
                if values[n] == pivot and ties > 0:
                    ties -= 1
                    goes_left = True
                if goes_left:
                    ordered[left] = node[n]
                    left += 1
                else:
                    ordered[right] = node[n]
                    right += 1
            node[:] = ordered
            finer.append(bounds[leaf] + half)
            finer.append(bounds[leaf + 1])
        bounds = finer
        depth += 1
    return np.array(bounds)


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def isolation(sketch, order, bounds, first_leaf, last_leaf, scores, nearest):  # type: ignore[no-untyped-def]
    """Score how sharply the near neighbours of each row end, among the rows of its leaf.

    ``scores[row]`` becomes the largest over n and s of (n + s)·KL(n/(n + s) ‖ D_n/D_{n+s+1}) if
    that is larger than what it holds: D_n is the distance of the n-th neighbour, and s ≤ n/8
    neighbours may lie in the gap (`isologit.equivalence.edge` has the meaning). On either side of
    the gap there must be at least 3 rows. ``nearest[row]`` becomes D_1² if that is smaller.
    """
    for leaf in range(first_leaf, last_leaf):
        node = order[bounds[leaf] : bounds[leaf + 1]]
        size = len(node)
        points = sketch[node]
        squares = np.empty(size)
        for a in range(size):
            for b in range(size):
                total = 0.0
                for j in range(points.shape[1]):
                    difference = points[a, j] - points[b, j]
                    total += difference * difference
                squares[b] = total
            squares.sort()
            if size > 1:
                nearest[node[a]] = min(nearest[node[a]], squares[1])
            best = scores[node[a]]
            for n in range(3, size - 3):
                stragglers = 0
                while 8 * stragglers <= n and n + stragglers + 1 < size - 2:
                    inside = squares[n]
                    outside = squares[n + stragglers + 1]
                    # Ratios below 1.5 are everywhere, and the logarithm is what costs here.
                    if outside > 2.25 * inside and inside > 0:
                        rows = min(n, size - 2 - n - stragglers)
                        total_rows = rows + stragglers
                        log_share = 0.5 * np.log(inside / outside)
                        share = rows / total_rows
                        score = rows * (np.log(share) - log_share)
                        if stragglers:
                            score += stragglers * np.log((1 - share) / (1 - np.exp(log_share)))
                        # The bound holds only where more rows are inside than their share.
                        if np.log(share) > log_share:
                            best = max(best, score)
                    stragglers = 1 if stragglers == 0 else 2 * stragglers
            scores[node[a]] = best
