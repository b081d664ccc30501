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
from isologit.numerics import distances, kernels
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix

_LEAF_ROWS = 32
# A subsample keeps one row in four of the one before it, so that a cluster of any size fills some
# half of a leaf in one of them.
_THINNING = 4
_MOST_CLUSTERS = 32
_MOST_FAILURES = 8
_MOST_ROUNDS = 8
# In nats, among the rows of a leaf. Ordinary rows next to a cluster reach 3 or 4; a row of a
# cluster that can pass has 5 or more unless its own leaf cuts it off from the others.
_LEAST_SCORE = 4.0
_SEED = 20_250_701
_BLOCK_ROWS = 1024
# What a leaf costs, in bytes of a matrix pass: 32² sketched distances and as many sorted numbers.
_LEAF_BYTES = 1 << 17

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
    scores, nearest = _isolation(cloud.sketch)
    found: list[_Found] = []
    seen = (scores < _LEAST_SCORE) | (LEAST_RATIO * nearest > np.quantile(nearest, 0.75))
    failures = 0
    for row in np.argsort(-scores, kind="stable"):
        if seen[row]:
            continue
        by_distance, grown = _grow(cloud, test, int(row))
        if grown is None:
            seen[by_distance[:_LEAF_ROWS]] = True
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
        ``[U, k]`` each row in k ≤ 32 numbers.
    """

    matrix: Matrix
    labels: npt.NDArray[np.int32]
    rows: Rows
    multiplicities: npt.NDArray[np.int64]
    sketch: Float64s

    @classmethod
    def of(cls, matrix: Matrix, partition: Partition) -> "_Cloud":
        """Leave out duplicates, zero rows and rows with an infinity or a NaN."""
        sizes = partition.sizes()
        first = partition.firsts().astype(np.int64)
        sketch = _sketch(matrix, first)
        takes_part = np.asarray(np.isfinite(sketch).all(axis=1))
        for n in np.flatnonzero(~sketch.any(axis=1)):
            takes_part[n] = matrix.rows(first[n]).any()
        if takes_part.all():
            return cls(matrix, partition.labels, first, sizes, sketch)
        first, sizes, sketch = first[takes_part], sizes[takes_part], sketch[takes_part]
        return cls(matrix, partition.labels, first, sizes, sketch)

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
        squares = np.empty(len(self.rows))
        words = kernels.typed(self.matrix.words, self.matrix.format)
        for_blocks(
            lambda start, stop: distances.square_distances(
                words, self.rows, centre, start, stop, squares
            ),
            len(self.rows),
            self.matrix.width * self.matrix.format.itemsize,
        )
        return squares

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


def _sketch(matrix: Matrix, rows: Rows) -> Float64s:
    """Return some rows in at most 32 numbers each, ``[n, k]``, all distances shrunk much alike.

    Each number is a sum over every 32nd column with fixed random signs and sizes. The sizes keep
    rows of small integers apart, whose differences would often cancel under signs alone.
    """
    # The raw stream of PCG64 is the same in every version of numpy.
    random = np.random.PCG64(_SEED).random_raw(matrix.width)
    sizes = 0.75 + (random >> np.uint64(11)) * 2.0**-54
    weights = np.where(random & np.uint64(1), -sizes, sizes)
    sketch = np.empty((len(rows), min(distances.SKETCH_WIDTH, matrix.width)))
    words = kernels.typed(matrix.words, matrix.format)
    for_blocks(
        lambda start, stop: distances.sketch_rows(words, rows, weights, start, stop, sketch),
        len(rows),
        matrix.width * matrix.format.itemsize,
    )
    return sketch


def _isolation(sketch: Float64s) -> tuple[Float64s, Float64s]:
    """Return how sharply the near neighbours of each row end, and its nearest one's distance.

    Both are of sketches, and among the few rows that share a leaf of a tree with it.
    """
    n_rows = len(sketch)
    scores = np.zeros(n_rows)
    nearest = np.full(n_rows, np.inf)
    order = np.argsort(np.random.PCG64(_SEED).random_raw(n_rows), kind="stable")
    columns = _split_columns(sketch[order[:4096]])
    n_kept = n_rows
    while n_kept >= 2 * FEWEST_ROWS:
        # Two trees that halve in other columns: what one cuts in two the other keeps whole.
        for first in (0, len(columns) // 2):
            kept = order[:n_kept].copy()
            _search_leaves(sketch, np.roll(columns, -first), kept, scores, nearest)
        if n_kept <= _LEAF_ROWS:
            break
        n_kept //= _THINNING
    return scores, np.sqrt(nearest)


def _search_leaves(
    sketch: Float64s, columns: Rows, kept: Rows, scores: Float64s, nearest: Float64s
) -> None:
    bounds = distances.halve(sketch, columns, kept, _LEAF_ROWS)
    for_blocks(
        lambda start, stop: distances.isolation(sketch, kept, bounds, start, stop, scores, nearest),
        len(bounds) - 1,
        _LEAF_BYTES,
    )


def _is_dense(members: Rows, nearest: Float64s) -> bool:
    """Return whether a group's rows lie closer together than other rows do among themselves.

    So the parts of a cloud that is merely in several pieces are no clusters. Upper quartiles are
    compared, so that most of the others may be in clusters of their own.
    """
    among = np.quantile(nearest[members], 0.75)
    return bool(LEAST_RATIO * among <= np.quantile(np.delete(nearest, members), 0.75))


def _split_columns(sample: Float64s) -> npt.NDArray[np.int64]:
    """Return the columns in which rows differ most, widest first."""
    low, high = np.quantile(sample, [0.05, 0.95], axis=0)
    spread = high - low
    widest = np.argsort(-spread, kind="stable")
    columns: Rows = widest[spread[widest] >= spread.max() / 4]
    return columns


def _grow(cloud: _Cloud, test: EdgeTest, row: int) -> tuple[Rows, _Found | None]:
    """Look for an edge around a row, then around the centre of what it encloses, and so on.

    Returns all rows by distance from that row, and the cluster at the fixed point.
    """
    squares = cloud.square_distances(cloud.values(np.array([row]))[0])
    order = from_row = np.argsort(squares, kind="stable")
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
        order = np.argsort(squares, kind="stable")
        edge = test.edge(squares, order)
    return from_row, _Found(members, edge) if edge is not None else None


def _disjoint(found: list[_Found]) -> list[_Found]:
    """Return clusters by prominence, without those that share a row with a more prominent one."""
    kept: list[_Found] = []
    for each in sorted(found, key=lambda one: -one.edge.prominence):
        if not any(np.isin(each.members, other.members).any() for other in kept):
            kept.append(each)
    return kept
