"""The null model of a cloud without clusters, and the test of a cluster's edge against it.

Sort the distances of all rows from a centre: D_1 ≤ D_2 ≤ … An *edge* after n rows is a window of
the distances, from D_n to D_{n+s+1}, with few rows in it: s *stragglers* beside n rows inside.

Null model: the rows are drawn one by one from a cloud in which the share of rows within a distance
t of a row grows at least like t^κ, κ ≤ 1, across the window. Given the row at the far end of the
window, the n + s nearer rows are then independent draws from the ball that it bounds, and each lies
within the near end with probability at most q = ρ^-κ, ρ the ratio of the two distances. At least n
of n + s do so with probability at most exp(-(n + s)·KL(n/(n+s) ‖ q)) (Chernoff): the *evidence* is
minus its logarithm, n·κ·ln ρ where s = 0. The rows outside are tested in the same way, with the
tail's exponent; the weaker of the two counts.

κ is 1, which is the slowest growth of any cloud that fills a curve, a sheet or a space, or what is
measured on the same side of the window if that is less: ln 2 over the logarithm of the ratio
between the side's window end and its median distance. A window counts for nothing if it is
narrower, in the ratio, than the inside's spread, or than that of as many rows just beyond it. So
clouds whose scales spread evenly over many powers of ten, and heavy tails, raise no alarm.

The derivation, the false-alarm rates measured, and what the test cannot see are in
docs/decisions/0003-cluster-null-model.md.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s

# The share of cloud-like matrices in which any edge at all may pass.
FALSE_ALARM_RATE = 1e-6
# At this ratio the triangle inequality has any two members nearer to each other than either is to
# any row beyond the window.
LEAST_RATIO = 3.0
# Below this a group's distances say little, whatever their ratio.
FEWEST_ROWS = 4
# What more than three quarters of the rows do is the cloud, and the others are its outliers.
_LARGEST_SHARE = 0.75
_ROWS_PER_STRAGGLER = 8


@dataclass(frozen=True)
class Edge:
    """A cluster's edge, seen from a centre.

    Parameters
    ----------
    size
        How many distinct rows lie inside, up to the widest single gap of the window.
    inside, stragglers
        Distinct rows up to the near end of the window, and between its ends.
    near, far
        The distances that the window begins and ends with.
    evidence
        In nats.
    threshold
        The evidence that an edge in a cloud of this many rows must have.
    """

    size: int
    inside: int
    stragglers: int
    near: float
    far: float
    evidence: float
    threshold: float

    @property
    def ratio(self) -> float:
        """How many times farther away the window ends than it begins."""
        return self.far / self.near

    @property
    def prominence(self) -> float:
        """The edge's rectangle in a plot of ln rank over ln distance: it ranks edges that pass."""
        contrast = self.evidence / (self.inside + self.stragglers)
        return contrast * float(np.log(self.inside))


class EdgeTest:
    """The test of edges in one cloud of distinct rows.

    Parameters
    ----------
    duplicated
        ``[U]`` bool: which distinct rows are held by two tokens or more.
    """

    def __init__(self, duplicated: npt.NDArray[np.bool_]) -> None:
        self._duplicated = duplicated
        self._duplicated_share = float(duplicated.mean())
        self._stragglers = np.array(_straggler_ladder(len(duplicated)))

    def edge(self, squares: Float64s, order: npt.NDArray[np.int64]) -> Edge | None:
        """Return the most prominent edge that passes, or None.

        Parameters
        ----------
        squares
            ``[U]`` squared distances from a centre.
        order
            ``[U]`` the rows by that distance.
        """
        return self._edge(squares, order, LEAST_RATIO, 1.0)

    def likely_edge(self, squares: Float64s, order: npt.NDArray[np.int64]) -> Edge | None:
        """Return an edge worth another look from a better centre, or None.

        In many dimensions a member sees the others √2 times as far away as their centre does, so
        half of the ratio and a quarter of the evidence are enough here.
        """
        return self._edge(squares, order, LEAST_RATIO / 2, 0.25)

    def _edge(
        self,
        squares: Float64s,
        order: npt.NDArray[np.int64],
        least_ratio: float,
        share_of_threshold: float,
    ) -> Edge | None:
        n_rows = len(order)
        sorted_squares = squares[order]
        duplicated = np.cumsum(self._duplicated[order], dtype=np.int64)
        largest = min(int(_LARGEST_SHARE * n_rows), n_rows - FEWEST_ROWS)
        least_far = np.where(sorted_squares > 0, least_ratio**2 * sorted_squares, np.inf)
        best: Edge | None = None
        for stragglers in self._stragglers.tolist():
            first = max(FEWEST_ROWS - 1, _ROWS_PER_STRAGGLER * stragglers)
            stop = max(largest - stragglers, first)
            beyond = sorted_squares[first + stragglers + 1 : stop + stragglers + 1]
            # The rows inside are 0 … n; one of them stands for the centre, so n count.
            ends = first + np.flatnonzero(beyond >= least_far[first:stop])
            if not len(ends):
                continue
            near, far = sorted_squares[ends], sorted_squares[ends + stragglers + 1]
            thresholds = self._thresholds(ends)
            evidence = self._evidence(sorted_squares, ends, stragglers)
            evidence += self._evidence_of_duplicates(duplicated, ends, thresholds)
            contrast = evidence / (ends + 1 + stragglers)
            passes = evidence >= share_of_threshold * thresholds
            rank = np.where(passes, contrast * np.log(ends + 1), 0.0)
            n = int(np.argmax(rank))
            if rank[n] == 0:
                continue
            end = int(ends[n])
            window = sorted_squares[end : end + stragglers + 2]
            edge = Edge(
                size=end + 1 + int(np.argmax(window[1:] / window[:-1])),
                inside=end + 1,
                stragglers=stragglers,
                near=float(np.sqrt(near[n])),
                far=float(np.sqrt(far[n])),
                evidence=float(evidence[n]),
                threshold=float(thresholds[n]),
            )
            if best is None or edge.prominence > best.prominence:
                best = edge
        return best

    def _thresholds(self, ends: npt.NDArray[np.int64]) -> Float64s:
        """Return the evidence that an edge after this many rows must have.

        The rate of false alarms is shared out (Bonferroni): equally among centres, as 1/(n(n + 1))
        among ranks n, and equally among the numbers of stragglers that go with a rank.
        """
        choices = np.searchsorted(self._stragglers * _ROWS_PER_STRAGGLER, ends, side="right")
        tests = len(self._duplicated) * ends * (ends + 1.0) * choices
        if self._duplicated_share > 0:
            tests *= 2  # with duplicates counted, and without
        thresholds: Float64s = np.log(tests / FALSE_ALARM_RATE)
        return thresholds

    def _evidence(
        self, squares: Float64s, ends: npt.NDArray[np.int64], stragglers: int
    ) -> Float64s:
        begins = ends + stragglers + 1
        outside = len(squares) - begins
        near, far = squares[ends], squares[begins]
        log_ratio = np.log(far / near) / 2
        # A median at the centre itself is infinitely far from the window, in the ratio.
        with np.errstate(divide="ignore"):
            spread_inside = np.log(near / squares[ends // 2 + 1]) / 2
        spread_outside = np.log(squares[begins + outside // 2] / far) / 2
        within = _surprise(ends, stragglers, _exponent(spread_inside) * log_ratio)
        beyond = _surprise(outside - 1, stragglers, _exponent(spread_outside) * log_ratio)
        evidence: Float64s = np.minimum(within, beyond)
        next_rows = begins + np.minimum(ends, outside // 2)
        spread_of_next = np.log(squares[next_rows] / far) / 2
        evidence[np.maximum(spread_inside, spread_of_next) > log_ratio] = 0.0
        return evidence

    def _evidence_of_duplicates(
        self,
        duplicated: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        thresholds: Float64s,
    ) -> Float64s:
        """Return what the duplicated rows among those inside add, net of the price of counting it.

        In the null model, which rows are duplicated says nothing of where they lie: a group of few
        distinct rows, each held by many tokens, stands out by that too. The product of two bounds
        is at most e^-t with probability (1 + t)·e^-t, hence the price.
        """
        if self._duplicated_share == 0:
            return np.zeros(len(ends))
        held = duplicated[ends]
        nats = _surprise(held, ends + 1 - held, -np.log(self._duplicated_share))
        return np.maximum(nats - np.log1p(2 * thresholds), 0.0)


def _straggler_ladder(n_rows: int) -> list[int]:
    """Return 0, 1, 2, 3, 4, 6, 8, 12, … up to one straggler for eight of all rows."""
    powers = [2**k for k in range(2, 64) if 2**k * _ROWS_PER_STRAGGLER <= n_rows]
    return [0, 1, 2, 3, *sorted(powers + [3 * p // 2 for p in powers])]


def _exponent(spread: Float64s) -> Float64s:
    """Return the exponent of growth over a side whose half spans this many nats of distance."""
    exponent: Float64s = np.log(2) / np.maximum(spread, np.log(2))
    return exponent


def _surprise(
    hits: npt.NDArray[np.int64], misses: npt.ArrayLike, minus_log_chance: npt.ArrayLike
) -> Float64s:
    """Return −ln of Chernoff's bound on at least this many hits, each of the given chance."""
    misses = np.asarray(misses)
    total = hits + misses
    share = hits / np.maximum(total, 1)
    log_chance = -np.asarray(minus_log_chance)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_miss = np.log((1 - share) / -np.expm1(log_chance))
        nats = hits * (np.log(share) - log_chance) + np.where(misses > 0, misses * log_miss, 0.0)
    return np.where(share > np.exp(log_chance), nats, 0.0)
