"""Finding clusters of rows without a human: where to look.

A cluster is a set of distinct rows that lie much closer to each other than to nearly any other
row, and than other rows do among themselves. This module finds rows that might be inside one and
grows the cluster around them; `isologit.equivalence.edge` decides, against a null model, whether
its edge is real. It is told no coordinates, token ids or sizes: it reads the rows alone.

The search costs one pass that sketches every distinct row in some 32 numbers, a k-d tree over the
sketches, and a few passes of exact distances. What the sketch misses is not found; what it offers
wrongly is refused by the exact distances, so the rate of false alarms is that of the edge alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.edge import FALSE_ALARM_RATE, FEWEST_ROWS, LEAST_RATIO, Edge, EdgeTest
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import row_classes
from isologit.numerics.blocks import LEAF_POINTS
from isologit.numerics.distances import sketch_rows, square_distances
from isologit.numerics.formats import Float64s
from isologit.numerics.neighbours import isolation
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix

_MOST_CLUSTERS = 32
_MOST_FAILURES = 8
_MOST_ROUNDS = 8
# In nats, among the rows of a leaf. Ordinary rows next to a cluster reach 3 or 4; a row of a
# cluster that can pass has 5 or more unless its own leaf cuts it off from the others.
_LEAST_SCORE = 4.0
_BLOCK_ROWS = 1024

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cluster:
    """A set of tokens whose rows are packed together, apart from the rest.

    Parameters
    ----------
    token_ids
        ``[n]`` int32, ascending. Exact duplicates of a member are members.
    excess
        The evidence in nats: −ln of a bound on the probability that a cloud without clusters
        shows such an edge around one given row.
    gap_ratio
        How many times farther from the centre the edge ends than it begins.
    why
        One sentence: what stood out, by how much, against which threshold of which null model.
    """

    token_ids: npt.NDArray[np.int32]
    excess: float
    gap_ratio: float
    why: str


def find_clusters(matrix: Matrix, rows: Partition | None = None) -> list[Cluster]:
    """Return the clusters that stand out, most prominent first; at most 32, disjoint.

    Zero rows and rows with an infinity or a NaN are set apart. Rows of equal values count as one
    row wherever distances are concerned, so duplicates of an ordinary row are no cluster.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    rows
        The tokens whose rows have equal values (`row_classes`), where that is known already.

    Returns
    -------
    list of Cluster
        The same for any number of threads. Of matrices whose rows are drawn from a cloud as the
        null model has it, at most one in 10^6 gives a cluster (docs/decisions/0003).

    Notes
    -----
    Time: a few passes over W, plus O(V log V). Extra memory: some 60 numbers a row.
    """
    cloud = _Cloud.of(matrix, row_classes(matrix).values if rows is None else rows)
    if len(cloud.rows) < 2 * FEWEST_ROWS:
        return []
    test = EdgeTest(cloud.multiplicities > 1)
    scores, nearest = isolation(cloud.sketch)
    found: list[_Found] = []
    seen = (scores < _LEAST_SCORE) | (LEAST_RATIO * nearest > np.quantile(nearest, 0.75))
    failures = 0
    candidates = np.flatnonzero(~seen)
    for row in candidates[np.argsort(-scores[candidates], kind="stable")]:
        if seen[row]:
            continue
        by_distance, grown = _grow(cloud, test, int(row))
        if grown is None:
            seen[by_distance[:LEAF_POINTS]] = True
        else:
            seen[grown.members] = True
        if grown is not None and _is_dense(grown.members, nearest):
            found.append(grown)
            failures = 0
        else:
            failures += 1
        if failures == _MOST_FAILURES or len(found) == _MOST_CLUSTERS:
            break
    return [cloud.cluster(each) for each in _disjoint(found)]


@dataclass(frozen=True, eq=False)
class _Found:
    members: Rows
    edge: Edge


@dataclass(frozen=True, eq=False)
class _Cloud:
    """The distinct rows of a matrix that have a direction.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    labels
        ``[V]`` the class of each token's row.
    rows
        ``[U]`` the first token of each class that takes part.
    multiplicities
        ``[U]`` how many tokens hold that row.
    sketch
        ``[U, 32]`` (`sketch_rows`).
    """

    matrix: Matrix
    labels: npt.NDArray[np.int32]
    rows: Rows
    multiplicities: npt.NDArray[np.int64]
    sketch: Float64s

    @classmethod
    def of(cls, matrix: Matrix, partition: Partition) -> "_Cloud":
        """Leave out duplicates, zero rows and rows with an infinity or a NaN."""
        first = partition.firsts().astype(np.int64)
        scan = scan_rows(matrix)
        takes_part = (scan.finite & ~scan.zero)[first]
        rows = first[takes_part]
        sizes = partition.sizes()[takes_part]
        return cls(matrix, partition.labels, rows, sizes, sketch_rows(matrix, rows))

    def values(self, members: Rows) -> Float64s:
        """Return the values of some of the distinct rows, ``[n, d]``."""
        return self.matrix.rows(self.rows[members])

    def centre(self, members: Rows) -> Float64s:
        """Return the mean of some of the distinct rows."""
        total = np.zeros(self.matrix.width)
        for start in range(0, len(members), _BLOCK_ROWS):
            total += self.values(members[start : start + _BLOCK_ROWS]).sum(axis=0)
        return total / len(members)

    def square_distances(self, centre: Float64s) -> Float64s:
        """Return each distinct row's squared distance from a point, ``[U]``."""
        return square_distances(self.matrix, self.rows, centre)

    def cluster(self, found: _Found) -> Cluster:
        """Return the tokens of a cluster's rows, and why it is one."""
        is_member = np.zeros(int(self.labels.max()) + 1, dtype=np.bool_)
        is_member[self.labels[self.rows[found.members]]] = True
        token_ids = np.flatnonzero(is_member[self.labels]).astype(np.int32)
        edge = found.edge
        others = f"only {edge.stragglers} more" if edge.stragglers else "no other"
        taken = edge.size - edge.inside
        beside = f" ({taken} of these before the widest gap, and so members)" if taken > 0 else ""
        why = (
            f"{edge.inside:,} distinct rows lie within {edge.near:.3g} of their centre and "
            f"{others} within {edge.far:.3g}{beside}, {edge.ratio:,.1f} times as far; evidence "
            f"{edge.evidence:,.0f} nats, where at most one in {1 / FALSE_ALARM_RATE:,.0f} clouds "
            f"of {len(self.rows):,} rows reaches {edge.threshold:.0f}"
        )
        return Cluster(token_ids, edge.evidence, edge.ratio, why)


def _is_dense(members: Rows, nearest: Float64s) -> bool:
    """Return whether a group's rows lie closer together than other rows do among themselves.

    So the parts of a cloud that is merely in several pieces are no clusters. Upper quartiles are
    compared, so that most of the others may be in clusters of their own.
    """
    among = np.quantile(nearest[members], 0.75)
    return bool(LEAST_RATIO * among <= np.quantile(np.delete(nearest, members), 0.75))


def _grow(cloud: _Cloud, test: EdgeTest, row: int) -> tuple[Rows, _Found | None]:
    """Look for an edge around a row, then around the centre of what it encloses, and so on.

    Returns all rows by distance from that row, and the cluster at the fixed point.
    """
    squares = cloud.square_distances(cloud.values(np.array([row]))[0])
    order = from_row = _by_size(squares)
    edge = test.likely_edge(squares, order)
    members: Rows = np.empty(0, dtype=np.int64)
    for _ in range(_MOST_ROUNDS):
        if edge is None:
            return from_row, None
        grown = np.sort(order[: edge.size])
        if np.array_equal(grown, members):
            break
        members = grown
        squares = cloud.square_distances(cloud.centre(members))
        order = _by_size(squares)
        edge = test.edge(squares, order)
    return from_row, _Found(members, edge) if edge is not None else None


def _by_size(squares: Float64s) -> Rows:
    """Return the stable order of numbers; three times as fast where no two are equal."""
    order = np.argsort(squares)
    ordered = squares[order]
    if (ordered[1:] == ordered[:-1]).any():
        return np.argsort(squares, kind="stable")
    return order


def _disjoint(found: list[_Found]) -> list[_Found]:
    """Return clusters by prominence, without those that share a row with a more prominent one."""
    kept: list[_Found] = []
    for each in sorted(found, key=lambda one: -one.edge.prominence):
        if not any(np.isin(each.members, other.members).any() for other in kept):
            kept.append(each)
    return kept
