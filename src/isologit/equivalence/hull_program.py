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

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.domain import Domain
from isologit.equivalence.hull_certificate import BoundCertificate, HullCertificate, Level
from isologit.numerics.formats import Float64s

TokenIds = npt.NDArray[np.int64]

# Rivals that join at a time, for each dimension.
_JOIN = 2
_MOST_ROUNDS = 40
# A weight below this share of the largest is taken for a rounding of 0.
_NO_WEIGHT = 1e-11
# The margins tried in a ball, as shares of the radius times a typical row.
_MARGINS = (1e-2, 1e-4, 1e-7, 1e-10)


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
    strongest: Callable[[Float64s, int], TokenIds],
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
        Returns, at a u ``[kept]``, so many rivals with the largest logits.
    """
    program = _Ball if domain.shape == "ball" else _Cone
    working = program(domain, token, np.setdiff1d(first, [token]))
    yield from working.rounds(np.setdiff1d(rivals, [token]), strongest)


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


class _Program:
    """A program over some rivals, `ids`."""

    def __init__(self, domain: Domain, token: int, ids: TokenIds) -> None:
        self._domain, self._token = domain, token
        self._own = domain.seen_rows([token])[0]
        self._constants = domain.constants[0]
        self.ids = np.empty(0, dtype=np.int64)
        self.rows = np.empty((0, len(self._own)))
        self.join(ids)

    def join(self, ids: TokenIds) -> None:
        """Take in more rivals."""
        self.ids = np.concatenate([self.ids, ids])
        self.rows = np.vstack([self.rows, self._own - self._domain.seen_rows(ids)])

    @property
    def raised(self) -> Float64s:
        """c_j − c_i of the rivals."""
        return self._constants[self.ids] - self._constants[self._token]

    def rounds(
        self, rivals: TokenIds, strongest: Callable[[Float64s, int], TokenIds]
    ) -> Iterator[Proposal]:
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
                    strong = strongest(direction, _JOIN * len(self._own))
                    joining = np.union1d(joining, np.setdiff1d(strong, [*self.ids, self._token]))
            if not len(joining):
                return
            self.join(joining)

    def solved(self) -> Iterator[Proposal]:
        """Yield what follows from the rivals there are."""
        raise NotImplementedError


class _Cone(_Program):
    """In a space or a plane, where length is free."""

    def solved(self) -> Iterator[Proposal]:
        """Yield a direction if there is one, or means of other rows."""
        domain = self._domain
        biased = domain.bias is not None
        normals = _unit(self.rows)
        scale = 1.0
        if biased:
            # One dimension more, and one rival more: it keeps what stands for 1 above 0.
            scale = float(np.abs(self.rows).max()) / max(float(np.abs(self.raised).max()), 1e-300)
            normals = _unit(np.column_stack([self.rows, -self.raised * scale]))
            down = np.zeros((1, normals.shape[1]))
            down[0, -1] = 1.0
            normals = np.vstack([normals, down])
        found = least_distance(normals, np.ones(len(normals)))
        if found is None:
            return
        point, weights, size = found
        if size < 1e-6:
            for share in (_NO_WEIGHT, 1e-8):
                used = np.flatnonzero(weights > share * weights.max())
                certificate = self._certificate(used, biased=biased)
                if certificate is not None:
                    yield Proposal(certificate=certificate)
        if point is not None and size > 0:
            if biased:
                if not point[-1] > 0:
                    return
                point = point[:-1] / (point[-1] * scale)
            yield Proposal(direction=point)

    def _certificate(self, used: npt.NDArray[np.intp], *, biased: bool) -> HullCertificate | None:
        """Return a certificate whose first level has these rivals."""
        above = biased and len(self.ids) in used
        used = used[used < len(self.ids)]
        if not len(used):
            return None
        spans: list[Float64s] = []
        first = self._level(used, spans, raised=biased, above=above)
        if first is None:
            return None
        level, excess = first
        levels = [level]
        kernel = self._domain.kernel
        width = len(self._own)
        while not biased:
            dimensions = sum(len(each.token_ids) - 1 for each in levels) + (kernel is not None)
            if dimensions >= width:
                break
            used_next = self._beyond(levels)
            if used_next is None:
                break
            spans.append(self._points(levels[-1].token_ids))
            following = self._level(used_next, spans, raised=False, above=False)
            if following is None:
                break
            levels.append(following[0])
        return HullCertificate(tuple(levels), excess)

    def _beyond(self, levels: list[Level]) -> npt.NDArray[np.intp] | None:
        """Return rivals of which a mean is the row up to directions of levels; None: there are
        none."""
        held = [token for level in levels for token in level.token_ids]
        inside = self.rows[np.isin(self.ids, held)]
        basis, triangle = np.linalg.qr(_unit(inside).T)
        basis = basis[:, np.abs(np.diag(triangle)) > 1e-9]
        across = self.rows - (self.rows @ basis) @ basis.T
        lengths = np.linalg.norm(across, axis=1)
        places = np.flatnonzero(lengths > 1e-9 * np.linalg.norm(self.rows, axis=1).max())
        if not len(places):
            return None
        found = least_distance(_unit(across[places]), np.ones(len(places)))
        if found is None or found[2] > 1e-6:
            return None
        return places[found[1] > _NO_WEIGHT * found[1].max()]

    def _points(self, token_ids: tuple[int, ...]) -> Float64s:
        return self._domain.exact_rows(token_ids)

    def _level(
        self, used: npt.NDArray[np.intp], spans: list[Float64s], *, raised: bool, above: bool
    ) -> tuple[Level, float | None] | None:
        """Return rivals with the weights of a mean, as the least squares of the equations have it.

        The equations are those of the row, of the weights' sum, and of what may be added freely.
        """
        ids = tuple(int(token) for token in self.ids[used])
        rows = self._own - self.rows[used]
        left = np.vstack([rows.T, np.ones(len(ids))])
        right = np.append(self._own, 1.0)
        n = left.shape[1]
        for span in spans:
            directions = (span[1:] - span[0]).T
            if self._domain.zero_mean:
                directions = directions - directions.mean(axis=0)
            left = np.hstack([left, np.vstack([directions, np.zeros((1, directions.shape[1]))])])
        raised_by = self.raised[used]
        scales = np.maximum(np.linalg.norm(left, axis=0), 1e-300)
        solution = np.linalg.lstsq(left / scales, right, rcond=None)[0] / scales
        solution += np.linalg.lstsq(left / scales, right - left @ solution, rcond=None)[0] / scales
        weights = solution[:n]
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            return None
        excess = float(weights @ raised_by) if raised and above else None
        if excess is not None and not excess > 0:
            excess = None
        return Level(ids, tuple(weights.tolist())), excess


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
            point, weights, _ = found
            if point is not None and np.linalg.norm(point) < 1:
                yield Proposal(direction=point * radius)
                return
        # The least margin leaves the most between the radius and the mean.
        weights = np.where(weights > _NO_WEIGHT * weights.max(), weights, 0.0)
        used = np.flatnonzero(weights)
        if not len(used):
            return
        weights = weights[used] / weights[used].sum()
        slack = float(weights @ raised[used] - np.linalg.norm(weights @ normals[used]))
        if slack > 0:
            ids = tuple(int(token) for token in self.ids[used])
            yield Proposal(certificate=BoundCertificate(ids, tuple(weights.tolist()), slack))
        elif point is not None:
            yield Proposal(direction=point * radius)


def _unit(rows: Float64s) -> Float64s:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))
