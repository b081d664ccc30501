"""Which tokens win along their own rows: a blocked product in binary32 that stops early, proved.

At h = w_i − m, m any vector, the differences (w_i − w_j) · h are those of x = w − m, and
x_j · h ≤ ‖x_j‖·‖h‖ (Cauchy–Schwarz): only rows about as long as x_i can beat it, and rows are
sorted by length. The same bound on the last columns alone, beside a product of the first, decides
most of the pairs at an eighth of the cost.

What is wanted is a proof that a token wins, and not its logits: binary32 is enough, with a bound on
its error that holds for any order of summation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt

from isologit.equivalence.domain import Domain
from isologit.numerics.centred import centred_rows, squares_beyond
from isologit.numerics.formats import Float64s
from isologit.numerics.ieee_mode import require_ieee_mode
from isologit.numerics.lanes import ROOM, U_SINGLE

TokenIds = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

_OWN_ROWS = 2048
_RIVAL_ROWS = 4096
# The columns that are multiplied before a bound is tried, as parts of all.
_PARTS = (8, 2, 1)
# More than all that may be lost below binary32's range, of rows of length at most 1.
_LOST = 2.0**-100


@dataclass(frozen=True)
class Estimate:
    """How long the tokens that are left take, by a product that was timed.

    Parameters
    ----------
    least_seconds, most_seconds
        If the first columns decide every pair; if none is decided before the last.
    """

    least_seconds: float
    most_seconds: float


class OwnDirections:
    """The rivals sorted by length, ready to be multiplied.

    Parameters
    ----------
    domain
        A space without constants.
    rivals
        ``[m]``.
    centre
        ``[kept]``, m above.
    """

    def __init__(self, domain: Domain, rivals: TokenIds, centre: Float64s) -> None:
        require_ieee_mode()
        self._domain = domain
        width = domain.matrix.width
        self._centre, self._factors = np.zeros(width), domain.kept.astype(np.float64)
        self._centre[domain.kept] = centre
        self._cuts = sorted({-(-width // part) for part in _PARTS})
        # Of each cut, what is beyond it; last of all, the whole row.
        squares = squares_beyond(
            domain.matrix, rivals, self._centre, self._factors, [0, *self._cuts[:-1]]
        )
        squares = np.roll(squares, -1, axis=1)
        largest = float(squares[:, -1].max(initial=0.0))
        self._exponent = int(np.frexp(np.sqrt(largest))[1]) + 1
        lengths = np.sqrt(squares) * ROOM * 2.0**-self._exponent
        order = np.argsort(-lengths[:, -1], kind="stable")
        self._rivals, self._lengths = rivals[order], lengths[order]
        self._place = np.full(domain.matrix.n_tokens, -1, dtype=np.int64)
        self._place[self._rivals] = np.arange(len(rivals))

    def sorted(self, token_ids: TokenIds) -> TokenIds:
        """Return tokens with the longest rows first: those that the fewest rivals can beat."""
        return token_ids[np.argsort(self._place[token_ids], kind="stable")]

    def estimate(self, token_ids: TokenIds) -> Estimate:
        """Time products of a block, and say how long all tokens take at this rate."""
        some = self._rivals[: min(_OWN_ROWS, len(token_ids))]
        rows = min(_RIVAL_ROWS, len(self._rivals))
        seconds = []
        states = self._states(some)
        # A first call may have to compile, or to read W from a disk.
        self._product(states, 0, rows, self._cuts[-1])
        for cut in (self._cuts[0], self._cuts[-1]):
            since = perf_counter()
            self._product(states, 0, rows, cut)
            seconds.append(perf_counter() - since)
        pairs = int((self._place[token_ids] + 1).sum())
        blocks = pairs / (max(len(some), 1) * rows)
        return Estimate(seconds[0] * blocks, (seconds[0] + seconds[-1]) * blocks)

    def decide(
        self, token_ids: TokenIds, going_on: Callable[[], bool]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None:
        """Say which of at most `_OWN_ROWS` tokens win along their own rows, and which may.

        Parameters
        ----------
        token_ids
            ``[n]``, sorted by `sorted`.
        going_on
            Asked between blocks; None is returned once it says no.

        Returns
        -------
        wins, open
            ``[n]`` each. The first is proved; the second was decided by no bound. The rest is
            beaten by some rival.
        """
        states = self._states(token_ids)
        for start in range(0, len(self._rivals), _RIVAL_ROWS):
            if not going_on():
                return None
            stop = min(start + _RIVAL_ROWS, len(self._rivals))
            # No row from here on is long enough to beat one of those left.
            if not (states.beaten | states.open).all() and self._lengths[start, -1] < states.reach:
                break
            self._compare(states, start, stop)
        return ~states.beaten & ~states.open, states.open & ~states.beaten

    def _compare(self, states: "_States", start: int, stop: int) -> None:
        left = np.flatnonzero(~states.beaten & ~states.open)
        longest = float(self._lengths[start, -1])
        error = states.unit * states.lengths[:, -1] * longest + _LOST
        for cut in self._cuts:
            if not len(left):
                return
            above = self._product(states, start, stop, cut, left)
            inside = (states.places[left] >= start) & (states.places[left] < stop)
            above[np.flatnonzero(inside), states.places[left][inside] - start] = -np.inf
            highest = above.max(axis=1).astype(np.float64)
            high_enough = highest + error[left] >= states.own[left]
            if cut == self._cuts[-1]:
                beaten = highest - error[left] > states.own[left] * ROOM
                states.beaten[left[beaten]] = True
                states.open[left[high_enough & ~beaten]] = True
                return
            left = left[high_enough]

    def _states(self, token_ids: TokenIds) -> "_States":
        x = (self._domain.matrix.rows(token_ids) - self._centre) * self._factors
        kept = self._domain.kept
        exact = np.zeros_like(x)
        exact[:, kept] = self._domain.stored(x[:, kept])
        # Both have the same signs, so the sum of products is off by a tiny share of itself alone.
        own = np.einsum("nd,nd->n", x, exact) * 2.0**-self._exponent
        bounds = [0, *self._cuts[:-1]]
        parts = np.add.reduceat(exact * exact, bounds, axis=1)
        squares = np.roll(np.cumsum(parts[:, ::-1], axis=1)[:, ::-1], -1, axis=1)
        return _States(
            exact.astype(np.float32),
            np.sqrt(squares) * ROOM,
            own / ROOM,
            self._place[token_ids],
            unit=(len(self._centre) + 8) * U_SINGLE * (1 + 2.0**-10),
        )

    def _product(
        self,
        states: "_States",
        start: int,
        stop: int,
        cut: int,
        left: npt.NDArray[np.int64] | None = None,
    ) -> Float32s:
        """Return bounds on ``h · x_j``, but for the error of binary32: products of the first
        columns, and lengths of the rest."""
        some = slice(None) if left is None else left
        level = self._cuts.index(cut)
        singles = centred_rows(
            self._domain.matrix,
            self._rivals[start:stop],
            self._centre,
            self._factors * 2.0**-self._exponent,
            cut,
        )
        h = states.values[some, :cut]
        if cut < len(self._centre):
            # One column more adds the product of the lengths; rounded, so lengthened again.
            rest = (self._lengths[start:stop, level] * ROOM).astype(np.float32)
            singles = np.column_stack([singles, rest])
            own = (states.lengths[some, level] * ROOM).astype(np.float32)
            h = np.column_stack([h, own])
        return h @ singles.T


class _States:
    """The states of a block of tokens, and what is known of them so far."""

    def __init__(
        self,
        values: Float32s,
        lengths: Float64s,
        own: Float64s,
        places: npt.NDArray[np.int64],
        *,
        unit: float,
    ) -> None:
        self.values, self.lengths, self.own, self.places, self.unit = (
            values,
            lengths,
            own,
            places,
            unit,
        )
        self.beaten = np.zeros(len(own), dtype=np.bool_)
        # A row that is the mean itself has no direction.
        self.open = own <= 0

    @property
    def reach(self) -> float:
        """The length below which no row can beat one of those left."""
        left = ~self.beaten & ~self.open
        shares = self.own[left] / self.lengths[left, -1]
        return float(shares.min()) * (1 - 2.0**-20)
