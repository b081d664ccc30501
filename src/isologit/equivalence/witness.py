"""Checking states: is a token's logit there, as a real number, the one largest?

All products are first taken in binary64, by BLAS, with a bound that holds for any order of
summation; what the bound leaves open is decided in exact rationals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.domain import Domain
from isologit.numerics.dyadic import fraction
from isologit.numerics.formats import Float64s
from isologit.numerics.ieee_mode import require_ieee_mode
from isologit.numerics.lanes import ROOM, U_DOUBLE

TokenIds = npt.NDArray[np.int64]

# Rows of W that are widened at a time: 4096 of 2,560 numbers are 80 MB.
_BLOCK_NUMBERS = 10_000_000
# More pairs than this a state that no bound decides are not worth deciding: it is no witness.
_MOST_CLOSE = 64


@dataclass(frozen=True, eq=False)
class Checked:
    """Which of n states are witnesses, and who beats the others.

    Parameters
    ----------
    wins
        ``[n]``: the token's logit is strictly larger than every rival's. Exact.
    rivals
        ``[n]``, of each the rival whose logit is the largest, in binary64.
    refined
        How many comparisons took the exact step.
    """

    wins: npt.NDArray[np.bool_]
    rivals: TokenIds
    refined: int


def check_states(domain: Domain, token_ids: TokenIds, inner: Float64s, rivals: TokenIds) -> Checked:
    """Say at which states ``u`` of a domain tokens win, each at its own.

    Parameters
    ----------
    domain
        Where the states are from.
    token_ids
        ``[n]``.
    inner
        ``[n, kept]``, made by `Domain.stored`.
    rivals
        ``[m]``: the tokens that are compared with, those of `token_ids` among them.
    """
    require_ieee_mode()
    wins = np.array([domain.holds(u) for u in inner], dtype=np.bool_)
    # Infinities and NaNs are held by none, and would only make products of no meaning.
    inner = np.where(wins[:, None], inner, 0.0)
    nearest = np.full(len(token_ids), -1, dtype=np.int64)
    refined = 0
    for factor in domain.spread:
        products = domain.products(inner * factor)
        found = _check(domain, token_ids, products, rivals)
        wins &= found.wins
        nearest = found.rivals if factor == 1.0 else nearest
        refined += found.refined
    return Checked(wins, nearest, refined)


def _check(domain: Domain, token_ids: TokenIds, products: Float64s, rivals: TokenIds) -> Checked:
    matrix, n = domain.matrix, len(token_ids)
    constants, constant_errors = domain.constants
    lengths = np.linalg.norm(products, axis=1)
    share = (matrix.width + 4) * U_DOUBLE * ROOM
    own_rows = matrix.rows(token_ids)
    dots = np.einsum("nd,nd->n", own_rows, products)
    own = dots + constants[token_ids]
    own_errors = share * np.linalg.norm(own_rows, axis=1) * lengths
    own_errors += constant_errors[token_ids] + 4 * U_DOUBLE * (np.abs(dots) + np.abs(own))
    best = np.full(n, -np.inf)
    nearest = np.full(n, -1, dtype=np.int64)
    beaten = np.zeros(n, dtype=np.bool_)
    close: list[npt.NDArray[np.int64]] = []
    step = max(1, _BLOCK_NUMBERS // matrix.width)
    for start in range(0, len(rivals), step):
        some = rivals[start : start + step]
        rows = matrix.rows(some)
        errors = np.linalg.norm(rows, axis=1)
        above = rows @ products.T
        # ‖w‖·‖z‖ and |c| bound every term, so they bound the roundings of sums too.
        bound = np.outer(errors, lengths)
        bound *= share
        bound += (constant_errors[some] + 4 * U_DOUBLE * np.abs(constants[some]))[:, None]
        bound += own_errors
        above += constants[some][:, None]
        above -= own
        bound += 4 * U_DOUBLE * np.abs(above)
        itself = some[:, None] == token_ids
        above[itself] = -np.inf
        top = above.argmax(axis=0)
        highest = above[top, np.arange(n)]
        nearest = np.where(highest > best, some[top], nearest)
        best = np.maximum(best, highest)
        beaten |= (above > bound).any(axis=0)
        open_ = ~(above < -bound) & ~itself & ~beaten
        if open_.any():
            places = np.argwhere(open_)
            close.append(np.column_stack([places[:, 1], some[places[:, 0]]]))
    wins = ~beaten
    refined = 0
    pairs = np.concatenate(close) if close else np.empty((0, 2), dtype=np.int64)
    for k in np.unique(pairs[:, 0]).tolist():
        others = pairs[pairs[:, 0] == k, 1]
        if not wins[k] or len(others) > _MOST_CLOSE:
            wins[k] = False
            continue
        for other in others.tolist():
            refined += 1
            if not exceeds(domain, int(token_ids[k]), other, products[k]):
                wins[k] = False
                break
    return Checked(wins, nearest, refined)


def exceeds(domain: Domain, token: int, other: int, products: Float64s) -> bool:
    """Return whether a token's logit is larger than another's, given γ ⊙ u ``[d]``. Exact."""
    rows = domain.matrix.rows([token, other])
    margin = fraction(rows[0], products) - fraction(rows[1], products)
    if domain.has_constants:
        constants = domain.exact_constants([token, other])
        margin += constants[0] - constants[1]
    return margin > 0
