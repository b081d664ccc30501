"""The search for a core: candidates that agree with each other and stand apart from the others.

They agree in one of two ways:

- *packed*: they lie in a ball about their own centre, and the others outside it are at least three
  times as far from there, in the median;
- as a *shell*: their norms spread no more than those of untouched Gaussian rows would, whether or
  not these share a drift (`isologit.tokens.shells`).

They stand apart if they fill that ball or shell more than the others do
(`isologit.tokens.windows`): one false core in 10^6 matrices is allowed for, shared out equally
(Bonferroni) among all centres and windows that are looked at. Where most of the vocabulary is
untouched no few candidates can show that; then it is enough that at least half of the core lies in
one cluster, whose edge was tested against a null model of its own (docs/decisions/0003).

That centre and window are then fitted to the core is outside the derivation; a candidate's distance
is measured from the centre of the others, so that it has no advantage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.numerics.distances import square_distances
from isologit.numerics.formats import Float64s
from isologit.numerics.stored import Matrix
from isologit.tokens.shells import FEWEST, Band, Shell, fit_ball, fit_shell, rounding_distance
from isologit.tokens.windows import (
    LEAST_OUTSIDE,
    LEAST_RATIO,
    fullest_ball,
    fullest_shell,
    surprise,
)

FALSE_ALARM_RATE = 1e-6
# For the search; what it finds is judged by all rows.
_CANDIDATES, _OTHERS = 1024, 512
_MEDIAN_OF = 256
_MEMBERS_TRIED = 12
_FINALISTS = 3
_MOST_ROUNDS = 4
_BLOCK_ROWS = 1024
_PEAK = 4
# Of the others; as of a ball, what most rows do is the cloud.
_MOST_IN_SHELL = 0.75

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]
Kind = Literal["packed", "shell"]


@dataclass(frozen=True, eq=False)
class Core:
    """A group of rows, its centre (None is the origin) and its band."""

    members: Ids
    centre: Float64s | None
    band: Band
    distances: Float64s
    kind: Kind
    evidence: float
    threshold: float
    in_cluster: bool


class CoreSearch:
    """The search for a core among candidates.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    norms
        ``[V]``.
    others
        The tokens that are no candidates, with rows that have a direction.
    clusters
        The clusters that were found.
    """

    def __init__(
        self,
        matrix: Matrix,
        norms: Float64s,
        others: Ids,
        clusters: Sequence[npt.NDArray[np.int32]],
    ) -> None:
        self.norms = norms
        self._matrix = matrix
        self._others = others
        self._sample = _evenly(others, _OTHERS)
        self._clusters = [cluster.astype(np.int64) for cluster in clusters]

    def core(self, sources: Sequence[Ids]) -> Core | None:
        """Return the core that passes, of the most evidence in the search, packed ones first.

        Among rows that are packed about a point there are always some that are equally far from it;
        so a shell is looked for where nothing is packed.
        """
        sources = [ids for ids in sources if min(len(ids), len(self._others)) >= FEWEST]
        seeds: dict[Kind, list[tuple[Ids, Float64s | None]]] = {
            "packed": [(ids, at) for ids in sources for at in self._centres(ids)],
            # A centre of their own can be fitted to any few rows so that they are equally far away.
            "shell": [(ids, None) for ids in sources],
        }
        n_seeds = sum(len(each) for each in seeds.values())
        for kind, starts in seeds.items():
            tried: dict[bytes, tuple[Core, Ids]] = {}
            for ids, at in starts:
                guess = self._grown(ids, at, kind, n_seeds)
                if guess is not None:
                    # Most seeds end in the same few cores; each is judged once.
                    same = tried.setdefault(guess.members.tobytes(), (guess, ids))
                    if guess.evidence > same[0].evidence:
                        tried[guess.members.tobytes()] = guess, ids
            finalists = sorted(tried.values(), key=lambda pair: -pair[0].evidence)[:_FINALISTS]
            for guess, ids in finalists:
                judged = self._judged(guess, ids)
                if judged is not None:
                    return judged
        return None

    def cluster(self, members: Ids) -> Core | None:
        """Return a cluster as a core; its edge has passed a test of its own."""
        centre = self._own_centre(members, "packed")
        distances = self._distances(np.arange(len(self.norms)), centre)
        radii = from_the_others(distances[members], centre is not None)
        distances[members] = radii
        band = self._band(radii, radii <= np.median(radii), centre, "packed")
        if band is None:
            return None
        return Core(members, centre, band, distances, "packed", float("inf"), 0.0, True)

    def _centres(self, candidates: Ids) -> Iterator[Float64s | None]:
        """Yield where to look: the origin, the median, some candidates, and their clusters."""
        yield None
        yield self._median(candidates)
        yield from self._matrix.rows(_evenly(candidates, _MEMBERS_TRIED))
        for cluster in self._clusters[:_FINALISTS]:
            members = candidates[np.isin(candidates, cluster)]
            if len(members) >= FEWEST:
                yield mean_of(self._matrix, members)

    def _median(self, candidates: Ids) -> Float64s:
        """Return the median of each coordinate: half of the candidates may be anywhere."""
        return np.asarray(np.median(self._matrix.rows(_evenly(candidates, _MEDIAN_OF)), axis=0))

    def _grown(
        self, candidates: Ids, centre: Float64s | None, kind: Kind, n_seeds: int
    ) -> Core | None:
        """Look for a group about a centre, then about its own centre, and so on."""
        candidates = _evenly(candidates, _CANDIDATES)
        best: Core | None = None
        # In many dimensions a member sees the others √2 times as far away as their centre does.
        ratio = LEAST_RATIO / 2
        members: Ids = np.empty(0, dtype=np.int64)
        for _ in range(_MOST_ROUNDS):
            radii = self._distances(candidates, centre)
            own = np.isin(candidates, members)
            radii[own] = from_the_others(radii[own], centre is not None)
            around = np.sort(self._distances(self._sample, centre))
            if kind == "packed":
                group = fullest_ball(radii, around, ratio)
            else:
                group = fullest_shell(radii, around, self._matrix.width)
            if group is None:
                break
            band = self._band(radii, group.inside, centre, kind)
            if band is None:
                break
            threshold = float(np.log(n_seeds * group.windows / FALSE_ALARM_RATE))
            grown = candidates[band.holds(radii)]
            best = Core(grown, centre, band, radii, kind, group.evidence, threshold, False)
            if np.array_equal(grown, members):
                break
            members, centre = grown, self._own_centre(grown, kind)
            ratio = LEAST_RATIO
        return best

    def _judged(self, guess: Core, candidates: Ids) -> Core | None:
        """Return a core as all rows show it, if it agrees and stands apart."""
        centre = self._own_centre(guess.members, guess.kind)
        distances = self._distances(np.arange(len(self.norms)), centre)
        distances[guess.members] = from_the_others(distances[guess.members], centre is not None)
        started = np.isin(candidates, guess.members)
        band = self._band(distances[candidates], started, centre, guess.kind)
        if band is None:
            return None
        members = candidates[band.holds(distances[candidates])]
        if len(members) < FEWEST:
            return None
        others = distances[self._others]
        outside = others[others > band.high]
        n_inside = int(band.holds(others).sum())
        if guess.kind == "packed":
            enough = len(outside) >= LEAST_OUTSIDE * len(others)
            apart = enough and bool(LEAST_RATIO * band.high <= np.median(outside))
        else:
            shell = Shell.of(distances[members], self._matrix.width, 0.0)
            peaked = _is_peak(distances[candidates], band)
            apart = shell.is_thin and peaked and n_inside <= _MOST_IN_SHELL * len(others)
        hits, held = np.array([len(members)]), np.array([n_inside])
        evidence = float(surprise(hits, len(candidates), held, len(others))[0])
        in_cluster = any(
            2 * np.isin(members, each).sum() >= len(members) for each in self._clusters
        )
        if not apart or not (in_cluster or evidence >= guess.threshold):
            return None
        return Core(
            members, centre, band, distances, guess.kind, evidence, guess.threshold, in_cluster
        )

    def _band(
        self, radii: Float64s, inside: Mask, centre: Float64s | None, kind: Kind
    ) -> Band | None:
        if kind == "shell":
            return fit_shell(radii, inside, self._matrix.width)
        rounding = 0.0 if centre is None else rounding_distance(centre, self._matrix.format)
        return fit_ball(radii, inside, self._matrix.width, rounding)

    def _distances(self, rows: Ids, centre: Float64s | None) -> Float64s:
        if centre is None:
            return self.norms[rows]
        with np.errstate(invalid="ignore"):
            return np.sqrt(square_distances(self._matrix, rows, centre))

    def _own_centre(self, rows: Ids, kind: Kind) -> Float64s | None:
        return None if kind == "shell" else drift(self._matrix, self.norms, rows)


def _is_peak(radii: Float64s, band: Band) -> bool:
    """Return whether a shell holds four times as many candidates as its neighbourhood does.

    The neighbourhood is as wide, half of it on either side. Trained tokens that are named for being
    rare have lower norms than others; a slice of those is thin, and no shell.
    """
    half = (band.high - band.low) / 2
    inside = np.count_nonzero(band.holds(radii))
    around = np.count_nonzero((radii >= band.low - half) & (radii <= band.high + half)) - inside
    return bool(inside >= _PEAK * around)


def mean_of(matrix: Matrix, rows: Ids) -> Float64s:
    """Return the mean ``[d]`` of some rows, in binary64."""
    total = np.zeros(matrix.width)
    for start in range(0, len(rows), _BLOCK_ROWS):
        total += matrix.rows(rows[start : start + _BLOCK_ROWS]).sum(axis=0)
    return total / len(rows)


def drift(matrix: Matrix, norms: Float64s, rows: Ids) -> Float64s | None:
    """Return the mean of some rows, or None where it cannot be told from the origin.

    Of n iid rows about the origin, of root mean square r, the mean's squared length is r²/n, with a
    relative standard deviation of √(2/d); four of these are allowed for.
    """
    mean = mean_of(matrix, rows)
    square = float(mean @ mean)
    spread = max(float((norms[rows] ** 2).mean()) - square, 0.0) / max(len(rows) - 1, 1)
    return None if square <= spread * (1 + 4 * np.sqrt(2 / matrix.width)) else mean


def _evenly(ids: Ids, most: int) -> Ids:
    """Return at most so many of some ids, evenly spaced."""
    step = -(-len(ids) // most)
    return ids[:: max(step, 1)]


def from_the_others(radii: Float64s, fitted: bool) -> Float64s:
    """Turn n rows' distances from their mean into each one's distance from the others' mean."""
    return radii * (len(radii) / (len(radii) - 1)) if fitted and len(radii) > 1 else radii
