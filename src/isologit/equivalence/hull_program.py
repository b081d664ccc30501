"""The shortest state at which a token wins, or the weights of a mean of others that forbid it.

Find u of the least length with a_j · u ≥ g_j for every rival j, where a_j = x_i − x_j: a *least
distance program* (Lawson and Hanson, Solving Least Squares Problems, 1974, ch. 23), solved by
non-negative least squares, min ‖E y − f‖ over y ≥ 0 with E = [Aᵀ; gᵀ] and f = (0, …, 0, 1). With
r = E y − f, u = −r_1…n / r_n+1; where r is 0 there is no such u, and the y are the weights of a
mean. The tokens with y > 0 are affinely independent, as a certificate needs them.

In a space without constants g is 1, which any win reaches by scaling. With biases a dimension more
stands for the 1 that a bias is multiplied with. In a ball g_j = c_j − c_i and a little more; a u
longer than the radius is no witness, and its y prove that there is none.

Only some rivals take part: others join while they beat what is found (cutting planes). Everything
here is approximate; `witness` and `hull_certificate` prove what it proposes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.domain import Domain
from isologit.equivalence.hull_certificate import BoundCertificate, HullCertificate, Level
from isologit.numerics.formats import Float64s

TokenIds = npt.NDArray[np.int64]
Strongest = Callable[[Domain, Float64s, int], TokenIds]

# Rivals that join at a time, for each dimension.
_JOIN = 4
_FEWEST_JOIN = 64
_MOST_ROUNDS = 40
# A weight below this share of the largest is taken for a rounding of 0.
_NO_WEIGHT = 1e-11
# A least distance below this is taken for 0, and a certificate is tried.
_NO_DISTANCE = 1e-6
# The margins tried in a ball, as shares of the radius times a typical row.
_MARGINS = (1e-2, 1e-4, 1e-7, 1e-10)
# And how much higher a mean is looked for, as such shares.
_HEIGHTS = (1e-5, 1e-2)


@dataclass(frozen=True, eq=False)
class Proposal:
    """What may decide a token: a direction to check, or a certificate to prove."""

    direction: Float64s | None = None
    certificate: HullCertificate | BoundCertificate | None = None


def proposals(
    domain: Domain,
    token: int,
    rivals: TokenIds,
    first: TokenIds,
    strongest: Strongest,
) -> Iterator[Proposal]:
    """Yield what may decide a token, likeliest first.

    Parameters
    ----------
    domain, token
        i.
    rivals
        ``[m]``.
    first
        The rivals to begin with; those that come close to the token somewhere are best.
    strongest
        Returns, at a u ``[kept]`` of a domain, so many rivals with the largest logits.
    """
    first, rivals = (np.setdiff1d(ids, [token]) for ids in (first, rivals))
    if domain.shape == "ball":
        yield from _Ball(domain, token, first).rounds(rivals, strongest)
        # What wins at no state of R^d wins in no ball: β may do no more than move its centre. The
        # states that are found on the way are of R^d.
        for proposal in _Cone(domain.everywhere, token, first).rounds(rivals, strongest):
            if proposal.certificate is not None:
                yield proposal
    else:
        yield from _Cone(domain, token, first).rounds(rivals, strongest)


def least_distance(
    normals: Float64s, offsets: Float64s
) -> tuple[Float64s | None, Float64s, float] | None:
    """Return the shortest u with ``normals · u ≥ offsets``, the weights y, and ‖E y − f‖.

    u is None where E y is f; all is None where the method does not end.
    """
    from scipy.optimize import nnls

    system = np.vstack([normals.T, offsets])
    scales = np.linalg.norm(system, axis=0)
    scales[scales == 0] = 1.0
    wanted = np.zeros(len(system))
    wanted[-1] = 1.0
    try:
        found, _ = nnls(system / scales, wanted, maxiter=20 * system.shape[1] + 200)
    except RuntimeError:
        return None
    weights = found / scales
    rest = system @ weights - wanted
    size = float(np.linalg.norm(rest))
    point = None if rest[-1] == 0 else -rest[:-1] / rest[-1]
    return point, weights, size


class _Program(ABC):
    """A program over some rivals, `ids`."""

    def __init__(self, domain: Domain, token: int, ids: TokenIds) -> None:
        self._domain, self._token = domain, token
        self._own = domain.exact_rows([token])[0]
        self._constants = domain.constants[0]
        self.ids = np.empty(0, dtype=np.int64)
        self.rows = np.empty((0, len(self._own)))
        self.join(ids)

    def join(self, ids: TokenIds) -> None:
        """Take in more rivals."""
        self.ids = np.concatenate([self.ids, ids])
        rows = self._own - self._domain.exact_rows(ids)
        # After the difference: rows that differ in nothing a state sees differ by exactly 0 then.
        means = rows.mean(axis=1, keepdims=True) if self._domain.zero_mean else 0.0
        self.rows = np.vstack([self.rows, rows - means])

    @property
    def raised(self) -> Float64s:
        """c_j − c_i of the rivals."""
        return np.asarray(self._constants[self.ids] - self._constants[self._token])

    def rounds(self, rivals: TokenIds, strongest: Strongest) -> Iterator[Proposal]:
        """Yield proposals, taking in whoever beats them."""
        for _ in range(_MOST_ROUNDS):
            directions = []
            for proposal in self.solved():
                if proposal.direction is not None:
                    directions.append(proposal.direction)
                yield proposal
            joining = np.empty(0, dtype=np.int64)
            if len(self.ids) < len(rivals):
                for direction in directions:
                    n_joining = max(_JOIN * len(self._own), _FEWEST_JOIN)
                    strong = strongest(self._domain, direction, n_joining)
                    joining = np.union1d(joining, np.setdiff1d(strong, [*self.ids, self._token]))
            if not len(joining):
                return
            self.join(joining)

    @abstractmethod
    def solved(self) -> Iterator[Proposal]:
        """Yield what follows from the rivals there are."""


class _Cone(_Program):
    """In a space or a plane, where length is free.

    With biases, rows have one dimension more, and there is one rival more, the last: downwards. It
    keeps what biases are multiplied with above 0.
    """

    def solved(self) -> Iterator[Proposal]:
        """Yield a direction if there is one, or means of other rows."""
        normals = _unit(self._normals())
        found = least_distance(normals, np.ones(len(normals)))
        if found is None:
            return
        point, weights, size = found
        if size < _NO_DISTANCE:
            for share in (_NO_WEIGHT, 1e-8):
                certificate = self._certificate(np.flatnonzero(weights > share * weights.max()))
                if certificate is not None:
                    yield Proposal(certificate=certificate)
        if point is None or size == 0:
            return
        if self._biased:
            if not point[-1] > 0:
                return
            point = point[:-1] / (point[-1] * self._scale)
        yield Proposal(direction=point)

    @property
    def _biased(self) -> bool:
        return self._domain.bias is not None

    @property
    def _scale(self) -> float:
        """What biases are multiplied with, so that they count about as much as a dimension."""
        return (float(np.abs(self.rows).max(initial=0.0)) or 1.0) / self._highest

    @property
    def _highest(self) -> float:
        """The largest difference of biases: what the rival downwards is lower by."""
        return float(np.abs(self.raised).max(initial=0.0)) or 1.0

    def _normals(self) -> Float64s:
        """Return the row less each rival's, ``[n, kept]``; with biases lifted, and downwards."""
        if not self._biased:
            return self.rows
        lifted = np.column_stack([self.rows, -self.raised * self._scale])
        down = np.zeros((1, lifted.shape[1]))
        down[0, -1] = self._scale * self._highest
        return np.vstack([lifted, down])

    def _certificate(self, used: npt.NDArray[np.intp]) -> HullCertificate | None:
        """Return a certificate whose first level has these rivals."""
        normals = self._normals()
        # About as large as the ones beside them, or least squares takes them for nothing.
        largest = float(np.abs(normals).max(initial=0.0))
        normals = np.ldexp(normals, -int(np.frexp(largest)[1]))
        levels: list[Level] = []
        spans: list[Float64s] = []
        excess = None
        dimensions = int(self._domain.kernel is not None)
        while len(used):
            level = self._level(normals, used, spans)
            if level is None:
                break
            levels.append(level[0])
            excess = level[1]
            spans.append(normals[used])
            dimensions += len(used) - 1
            if excess is not None or dimensions >= normals.shape[1]:
                break
            used = _around(normals, np.vstack(spans))
        return HullCertificate(tuple(levels), excess) if levels else None

    def _level(
        self, normals: Float64s, used: npt.NDArray[np.intp], spans: list[Float64s]
    ) -> tuple[Level, float | None] | None:
        """Return rivals with the weights of a mean, as least squares have them.

        The equations are those of the row, up to directions of earlier levels, and of the weights'
        sum.
        """
        above = bool(self._biased and used[-1] == len(self.ids))
        tokens = used[:-1] if above else used
        if not len(tokens):
            return None
        sums = np.ones(len(used))
        if above:
            sums[-1] = 0.0
        left = np.vstack([normals[used].T, sums])
        right = np.append(np.zeros(normals.shape[1]), 1.0)
        for span in spans:
            directions = span[1:] - span[0]
            left = np.hstack([left, np.vstack([directions.T, np.zeros((1, len(directions)))])])
        scales = np.maximum(np.linalg.norm(left, axis=0), 1e-300)
        solution = np.linalg.lstsq(left / scales, right, rcond=None)[0] / scales
        rest = right - left @ solution
        solution += np.linalg.lstsq(left / scales, rest, rcond=None)[0] / scales
        weights = solution[: len(used)]
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            return None
        ids = tuple(int(token) for token in self.ids[tokens])
        excess = float(weights[-1]) * self._highest if above else None
        return Level(ids, tuple(weights[: len(tokens)].tolist())), excess


def _around(normals: Float64s, inside: Float64s) -> npt.NDArray[np.intp]:
    """Return rivals of which a mean is the row, up to directions of some normals; none: there are
    none."""
    _, sizes, basis = np.linalg.svd(_unit(inside), full_matrices=False)
    basis = basis[sizes > 1e-9 * sizes[0]]
    across = normals - (normals @ basis.T) @ basis
    lengths = np.linalg.norm(across, axis=1)
    places = np.flatnonzero(lengths > 1e-9 * np.linalg.norm(normals, axis=1))
    if not len(places):
        return places
    found = least_distance(_unit(across[places]), np.ones(len(places)))
    if found is None or found[2] > _NO_DISTANCE:
        return places[:0]
    return np.asarray(places[found[1] > _NO_WEIGHT * found[1].max()])


class _Ball(_Program):
    """In a ball, where length counts."""

    def solved(self) -> Iterator[Proposal]:
        """Yield a u, or weights whose mean is above it everywhere."""
        radius = self._domain.radius
        assert radius is not None
        normals, raised = self.rows * radius, self.raised
        typical = float(np.median(np.linalg.norm(normals, axis=1)))
        for share in _MARGINS:
            found = least_distance(normals, raised + share * typical)
            if found is None:
                return
            point, weights, size = found
            # ‖E y − f‖² is 1 / (1 + ‖u‖²): what is much smaller has no u within the radius.
            if point is not None and size > 0.7 and np.linalg.norm(point) < 1:
                yield Proposal(direction=point * radius)
                return
        # The least margin leaves the most between the radius and the mean.
        certificate = self._certificate(weights)
        if certificate is None and not (point is not None and size > 0.5):
            # A mean that is as high as the token hides one that is higher, unless height is asked
            # for.
            for share in _HEIGHTS:
                found = least_distance(normals, raised - share * typical)
                certificate = None if found is None else self._certificate(found[1])
                if certificate is not None:
                    break
        if certificate is not None:
            yield Proposal(certificate=certificate)
        elif point is not None and size > 0.5:
            yield Proposal(direction=point * radius)

    def _certificate(self, weights: Float64s) -> BoundCertificate | None:
        """Return the rivals with a weight, if their mean is above the token everywhere."""
        used = np.flatnonzero(weights > _NO_WEIGHT * weights.max(initial=0.0))
        if not len(used):
            return None
        weights = weights[used] / weights[used].sum()
        reach = float(np.linalg.norm(weights @ self.rows[used])) * float(self._domain.radius or 0)
        slack = float(weights @ self.raised[used]) - reach
        if not slack > 0:
            return None
        ids = tuple(int(token) for token in self.ids[used])
        return BoundCertificate(ids, tuple(weights.tolist()), slack)


def _unit(rows: Float64s) -> Float64s:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))
