"""The search: three candidates for a witness, cheapest first, and a proof where there can be none.

1. *own*: h = w_i − μ; by `own_direction`, where nothing but products counts.
2. *whitened*: h = Σ⁻¹ (w_i − μ), which is the best of all where rows are normally distributed.
3. *shortest*: the least distance program, which ends in a state or in a certificate; one by one.

It stops when it is told to, between two blocks, and what is decided by then stays decided.
"""

from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from isologit.equivalence.argmax import Standing, Status, Witness
from isologit.equivalence.domain import Domain
from isologit.equivalence.hull_certificate import (
    BoundCertificate,
    HullCertificate,
    Proof,
    bound_proof,
    hull_proof,
)
from isologit.equivalence.hull_program import proposals
from isologit.equivalence.own_direction import OwnDirections
from isologit.equivalence.witness import check_states
from isologit.numerics import exact
from isologit.numerics.dots import dots_double
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import get_threads

TokenIds = npt.NDArray[np.int64]

_OWN_BLOCK = 2048
# States of one product with all rows in binary64.
_CHECKED_BLOCK = 256
# Rows that the covariance is taken of, for each dimension; and what is added to its diagonal, as a
# share of the mean variance.
_ROWS_PER_DIMENSION = 8
_RIDGE = 1e-6
# Up to this many numbers, every rival takes part in a program from the start.
_ALL_AT_ONCE = 1 << 22
_FIRST_RIVALS = 4
# Seconds of a least distance program over the cube of its dimensions, until one has been timed.
_PROGRAM_SECONDS = 4e-9
# And those of the smallest.
_LEAST_SECONDS = 0.01
# How much higher than the spread of constants a candidate's margin is made.
_ABOVE_CONSTANTS = 4.0


class Watch(Protocol):
    """Who is told how far the search is, and says how long it may go on."""

    def planned(
        self, kind: Witness, n_tokens: int, least_seconds: float | None, most_seconds: float | None
    ) -> None:
        """Hear that a candidate is about to be tried for so many tokens, and how long it takes.

        None where that is not known before the first token.
        """

    def advanced(self, n_tokens: int) -> None:
        """Hear that so many more tokens have been tried; what is known may be saved now."""

    def going_on(self, needed_seconds: float = 0.0) -> bool:
        """Say whether there is time for what takes so long."""


def search(domain: Domain, standing: Standing, wanted: TokenIds | None, watch: Watch) -> None:
    """Decide as many tokens as there is time for, and record them in the standing.

    Parameters
    ----------
    domain, standing
        What `collapse` made of the domain, or what an earlier search left.
    wanted
        The tokens that are asked about; None stands for all.
    watch
        See `Watch`.
    """
    rivals = standing.rivals
    if len(rivals) == 1:
        only = int(rivals[0])
        if standing.status[only] == Status.UNDECIDED:
            standing.win(only, Witness.OWN)
        return
    if not len(rivals):
        return
    with threadpool_limits(get_threads(), user_api="blas"):
        _Search(domain, standing, wanted, watch, rivals).run()


def own_states(domain: Domain, centre: Float64s, token_ids: TokenIds) -> Float64s:
    """Return the first candidate's states of some tokens, ``[n, kept]``: the same at every call.

    Parameters
    ----------
    centre
        ``[kept]``, what `centre_of` returned.
    """
    x = domain.seen_rows(token_ids) - centre
    return domain.stored(_scaled(domain, x, x))


def centre_of(domain: Domain, rivals: TokenIds) -> Float64s:
    """Return the mean x of the rivals, ``[kept]``: of the exact mean row in W's format."""
    mean = exact.mean_row(domain.matrix, rivals)[0].values
    seen = (mean if domain.of_hidden_states else mean * domain.gamma)[domain.kept]
    return seen - seen.mean() if domain.zero_mean else seen


def proof_of(domain: Domain, token: int, certificate: HullCertificate | BoundCertificate) -> Proof:
    """Return what a certificate, from anywhere, proves of a token in a domain."""
    if not _all_known(domain, token, certificate):
        return Proof.NOTHING
    if isinstance(certificate, BoundCertificate):
        if domain.shape != "ball" or domain.radius is None:
            return Proof.NOTHING
        return bound_proof(
            certificate,
            token,
            domain.matrix.rows,
            heights=domain.exact_constants,
            gamma=domain.gamma,
            zero_mean=domain.zero_mean,
            radius=domain.radius,
        )
    if domain.shape == "ball":
        domain = domain.everywhere
    bias = domain.bias
    heights = None if bias is None else (lambda ids: bias.values[list(ids)])
    return hull_proof(certificate, token, domain.exact_rows, heights=heights, kernel=domain.kernel)


def _all_known(domain: Domain, token: int, certificate: HullCertificate | BoundCertificate) -> bool:
    """Return whether a certificate names tokens that there are, of numbers alone."""
    if isinstance(certificate, BoundCertificate):
        named = list(certificate.token_ids)
    else:
        named = [each for level in certificate.levels for each in level.token_ids]
    ids = [token, *named]
    if not all(0 <= each < domain.matrix.n_tokens for each in ids):
        return False
    if domain.bias is not None and not np.isfinite(domain.bias.values[ids]).all():
        return False
    return bool(np.isfinite(domain.matrix.rows(ids)).all())


def _scaled(domain: Domain, directions: Float64s, x: Float64s) -> Float64s:
    """Return directions so long that constants matter little, where there are any."""
    if not domain.has_constants:
        return directions
    constants = domain.constants[0]
    finite = constants[np.isfinite(constants)]
    strength = np.einsum("nk,nk->n", directions, x)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = _ABOVE_CONSTANTS * float(np.ptp(finite)) / strength
    factors = np.where(np.isfinite(factors) & (factors > 0), factors, 1.0)
    return np.asarray(directions * factors[:, None])


class _Search:
    """One search over one domain."""

    def __init__(
        self,
        domain: Domain,
        standing: Standing,
        wanted: TokenIds | None,
        watch: Watch,
        rivals: TokenIds,
    ) -> None:
        self._domain, self._standing, self._watch = domain, standing, watch
        self._rivals, self._wanted = rivals, wanted
        self._centre = centre_of(domain, rivals)
        self._inverse: Float64s | None = None

    def run(self) -> None:
        """Try one candidate after the other."""
        ended = self._own_fast() if self._plain else self._batches(Witness.OWN)
        if ended and self._batches(Witness.WHITENED):
            self._shortest()

    @property
    def _plain(self) -> bool:
        return self._domain.shape == "space" and not self._domain.has_constants

    def _left(self, kind: Witness) -> TokenIds:
        left = self._standing.left(kind)
        return left if self._wanted is None else np.intersect1d(left, self._wanted)

    def _own_fast(self) -> bool:
        left = self._left(Witness.OWN)
        if not len(left):
            return True
        prepared = OwnDirections(self._domain, self._rivals, self._centre)
        left = prepared.sorted(left)
        estimate = prepared.estimate(left)
        self._watch.planned(Witness.OWN, len(left), estimate.least_seconds, estimate.most_seconds)
        for start in range(0, len(left), _OWN_BLOCK):
            ids = left[start : start + _OWN_BLOCK]
            found = prepared.decide(ids, self._watch.going_on)
            if found is None:
                return False
            wins, open_ = found
            for token in ids[wins].tolist():
                self._standing.win(token, Witness.OWN)
            if open_.any():
                self._check(
                    Witness.OWN, ids[open_], own_states(self._domain, self._centre, ids[open_])
                )
            self._standing.fail(ids[~wins], Witness.OWN)
            self._watch.advanced(len(ids))
        return True

    def _batches(self, kind: Witness) -> bool:
        left = self._left(kind)
        if not len(left):
            return True
        seconds: float | None = None
        for start in range(0, len(left), _CHECKED_BLOCK):
            ids = left[start : start + _CHECKED_BLOCK]
            if not self._watch.going_on(seconds or 0.0):
                return False
            if kind is Witness.WHITENED and self._inverse is None:
                self._inverse = self._whitening()
            since = perf_counter()
            self._check(kind, ids, self._states(kind, ids))
            self._standing.fail(ids, kind)
            seconds = perf_counter() - since
            if start == 0:
                # The first block is done by now; it is the measure of the others.
                whole = seconds * len(left) / len(ids)
                self._watch.planned(kind, len(left), whole, whole)
            self._watch.advanced(len(ids))
        return True

    def _states(self, kind: Witness, ids: TokenIds) -> Float64s:
        if kind is Witness.OWN:
            return own_states(self._domain, self._centre, ids)
        x = self._domain.seen_rows(ids) - self._centre
        assert self._inverse is not None
        return self._domain.stored(_scaled(self._domain, x @ self._inverse, x))

    def _check(self, kind: Witness, ids: TokenIds, states: Float64s) -> None:
        checked = check_states(self._domain, ids, states, self._rivals)
        for n in np.flatnonzero(checked.wins).tolist():
            # Of a plain space the first candidate can be made again, bit for bit.
            again = kind is Witness.OWN and self._plain
            kept = None if again else states[n]
            self._standing.win(int(ids[n]), kind, kept)

    def _whitening(self) -> Float64s:
        """Return the inverse of the rows' covariance, regularised, ``[kept, kept]``."""
        width = len(self._centre)
        step = max(1, len(self._rivals) // (_ROWS_PER_DIMENSION * width + 1))
        x = self._domain.seen_rows(self._rivals[::step]) - self._centre
        covariance = x.T @ x / len(x)
        ridge = _RIDGE * float(np.trace(covariance)) / width
        if not ridge > 0:
            return np.eye(width)
        return np.asarray(np.linalg.inv(covariance + ridge * np.eye(width)), dtype=np.float64)

    def _shortest(self) -> None:
        left = self._left(Witness.SHORTEST)
        width = len(self._centre)
        needed = _PROGRAM_SECONDS * width**3 + _LEAST_SECONDS
        if not len(left):
            return
        self._watch.planned(Witness.SHORTEST, len(left), None, needed * len(left))
        for token in left.tolist():
            if not self._watch.going_on(needed):
                return
            since = perf_counter()
            self._decide(token)
            needed = max(needed / 2, perf_counter() - since)
            self._watch.advanced(1)

    def _decide(self, token: int) -> None:
        """Try what the program proposes; the token stays undecided if nothing of it is proved."""
        standing, ids = self._standing, np.array([token])
        best: HullCertificate | BoundCertificate | None = None
        for proposal in proposals(
            self._domain, token, self._rivals, self._first(token), self._strongest
        ):
            if proposal.direction is not None and np.isfinite(proposal.direction).all():
                state = self._domain.stored(proposal.direction[None, :])
                self._check(Witness.SHORTEST, ids, state)
                if standing.status[token] == Status.WON:
                    return
            if proposal.certificate is not None:
                proof = proof_of(self._domain, token, proposal.certificate)
                if proof is Proof.NEVER:
                    standing.exclude(token, Status.INTERIOR, proposal.certificate)
                    return
                if proof is Proof.NEVER_ALONE and best is None:
                    best = proposal.certificate
                    break
        if best is not None:
            standing.exclude(token, Status.BOUNDARY, best)
            return
        standing.fail(ids, Witness.SHORTEST)

    def _first(self, token: int) -> TokenIds:
        """Return the rivals that a program begins with."""
        width = len(self._centre)
        if len(self._rivals) * (width + 1) <= _ALL_AT_ONCE:
            return self._rivals
        ids = np.array([token])
        kinds = [Witness.OWN] + [Witness.WHITENED] * (self._inverse is not None)
        strong = [
            self._strongest(self._domain, self._states(kind, ids)[0], _FIRST_RIVALS * (width + 1))
            for kind in kinds
        ]
        return np.unique(np.concatenate(strong))

    def _strongest(self, domain: Domain, inner: Float64s, n: int) -> TokenIds:
        """Return the n rivals with the largest logits at a state, as binary64 has them."""
        products = domain.products(inner)
        dots = dots_double(domain.matrix, self._rivals, products).values
        logits = dots + domain.constants[0][self._rivals]
        n = min(n, len(logits))
        return self._rivals[np.argpartition(-logits, n - 1)[:n]]
