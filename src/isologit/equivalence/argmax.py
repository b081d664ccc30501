"""Which tokens can be the one argmax at some state: the statuses, and the collapse of equal rows.

A token *wins* at a state where its logit, as a real number, is strictly larger than every other's.
Tokens that differ in nothing the domain sees always tie, so one of them stands for all.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from isologit.equivalence.domain import Domain
from isologit.equivalence.hull_certificate import BoundCertificate, HullCertificate
from isologit.equivalence.rows import row_classes
from isologit.numerics.formats import Float64s
from isologit.numerics.parallel import for_blocks
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix

TokenIds = npt.NDArray[np.int64]


class Status(IntEnum):
    """What is known of a token."""

    UNDECIDED = 0
    #: A state is known at which it is the one argmax.
    WON = 1
    #: It is below the maximum at every state, but for those at which all tokens tie. Proved.
    INTERIOR = 2
    #: It is nowhere the one argmax; whether it ties for it somewhere is not excluded. Proved.
    BOUNDARY = 3
    #: Another token has the same row, and a larger bias or a lower id.
    SHADOWED = 4
    #: Its row or its bias holds an infinity or a NaN: it is no part of what is claimed.
    LEFT_OUT = 5


class Witness(IntEnum):
    """Where a witness state comes from."""

    NONE = 0
    #: Along the token's own row, less the mean of all.
    OWN = 1
    #: Along Σ⁻¹ (w_i − μ), of the rows' mean μ and covariance Σ.
    WHITENED = 2
    #: The shortest state at which the token wins by a margin.
    SHORTEST = 3


@dataclass(eq=False)
class Standing:
    """What is known of every token so far; it grows as tokens are decided.

    Parameters
    ----------
    status
        ``[V]`` int8, of `Status`.
    kind
        ``[V]`` int8, of `Witness`; of tokens that are won.
    shadowed_by
        ``[V]`` int64: the token that stands for each; its own id where it stands for itself.
    tried
        ``[V]`` int8: bit k says that candidate k of `Witness` did not decide the token.
    states
        Witnesses ``[kept]`` that are not made again from the token's row, by token, as binary32.
    certificates
        By token.
    """

    status: npt.NDArray[np.int8]
    kind: npt.NDArray[np.int8]
    shadowed_by: TokenIds
    tried: npt.NDArray[np.int8]
    states: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    certificates: dict[int, HullCertificate | BoundCertificate] = field(default_factory=dict)

    @property
    def rivals(self) -> TokenIds:
        """The tokens that stand for themselves, ascending: all that anything is compared with."""
        return np.flatnonzero((self.status != Status.SHADOWED) & (self.status != Status.LEFT_OUT))

    def ids(self, status: Status) -> TokenIds:
        """Return the tokens of a status, ascending."""
        return np.flatnonzero(self.status == status)

    def left(self, kind: Witness) -> TokenIds:
        """Return the undecided tokens that a candidate has not been tried for, ascending."""
        untried = self.tried & (1 << kind) == 0
        return np.flatnonzero((self.status == Status.UNDECIDED) & untried)

    def fail(self, token_ids: TokenIds, kind: Witness) -> None:
        """Record that a candidate does not decide some tokens."""
        self.tried[token_ids] |= 1 << kind

    def win(self, token: int, kind: Witness, state: Float64s | None = None) -> None:
        """Record that a token is won."""
        # The status last: whoever is interrupted before it has decided nothing.
        if state is not None:
            self.states[token] = state.astype(np.float32)
        self.kind[token] = kind
        self.status[token] = Status.WON

    def exclude(
        self, token: int, status: Status, certificate: HullCertificate | BoundCertificate
    ) -> None:
        """Record that a token is proved to win nowhere."""
        self.certificates[token] = certificate
        self.status[token] = status


def collapse(domain: Domain) -> Standing:
    """Find the tokens that others stand for: equal rows, and the largest constant or the lowest id.

    Rows are equal if their values are, −0 being +0, in the dimensions that the domain keeps. Exact.
    """
    matrix, kept = domain.matrix, domain.kept
    n = matrix.n_tokens
    left_out = ~scan_rows(matrix).finite
    if domain.bias is not None:
        left_out |= ~np.isfinite(domain.bias.values)
    seen = domain.gamma != 0
    classes = row_classes(matrix if (kept & seen).all() else _masked(matrix, kept & seen))
    stands = np.arange(n)
    status = np.zeros(n, dtype=np.int8)
    for group in classes.row_values.groups():
        members = group[~left_out[group]]
        if len(members) < 2:
            continue
        first = int(members[0])
        if domain.has_constants:
            constants = domain.exact_constants(members)
            first = int(members[constants.index(max(constants))])
        stands[members] = first
        status[members[members != first]] = Status.SHADOWED
    status[left_out] = Status.LEFT_OUT
    return Standing(status, np.zeros(n, dtype=np.int8), stands, np.zeros(n, dtype=np.int8))


def _masked(matrix: Matrix, kept: npt.NDArray[np.bool_]) -> Matrix:
    """Return a copy of a matrix with zeros in the dimensions that are not kept."""
    words = np.empty((matrix.n_tokens, matrix.width), dtype=matrix.format.word_dtype)

    def fill(start: int, stop: int) -> None:
        np.multiply(matrix.block(start, stop), kept, out=words[start:stop])

    for_blocks(fill, matrix.n_tokens, matrix.row_bytes)
    return Matrix(words, matrix.format)
