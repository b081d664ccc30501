"""Where candidates crowd, by their distances from one point: in a ball about it, or in a shell.

Null model: candidates are like everybody else. A ball or a shell that a share q of the others lies
in then holds n or more of K candidates with probability at most exp(−K·KL(n/K ‖ q)) (Chernoff):
the *evidence* is minus its logarithm, in nats.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s
from isologit.tokens.shells import FEWEST, widest_spread

# As of a cluster's edge: nearer to each other than to the others, by the triangle inequality.
LEAST_RATIO = 3.0
# Of the others, which have to be outside a ball: what most rows do is the cloud.
LEAST_OUTSIDE = 0.25


@dataclass(frozen=True, eq=False)
class Group:
    """Candidates in a ball or a shell.

    Parameters
    ----------
    inside
        ``[K]`` bool: those to begin with, of a ball its inner half.
    evidence
        In nats.
    windows
        How many balls or shells were compared.
    """

    inside: npt.NDArray[np.bool_]
    evidence: float
    windows: int


def fullest_ball(radii: Float64s, around: Float64s, ratio: float) -> Group | None:
    """Return the ball with the most evidence, among those that stand apart, or None.

    Parameters
    ----------
    radii
        ``[K]`` distances of the candidates.
    around
        ``[m]`` distances of others, ascending.
    ratio
        How many times its radius the median of the others outside has to be away.
    """
    order = np.argsort(radii, kind="stable")
    sizes = np.arange(FEWEST, len(radii) + 1)
    ends = radii[order][sizes - 1]
    held = np.searchsorted(around, ends, side="right")
    middle = around[np.minimum((held + len(around)) // 2, len(around) - 1)]
    apart = len(around) - held >= LEAST_OUTSIDE * len(around)
    nats = surprise(sizes, len(radii), held, len(around))
    nats = np.where(apart & (ratio * ends <= middle), nats, 0.0)
    best = int(np.argmax(nats))
    if nats[best] <= 0:
        return None
    inside = np.zeros(len(radii), dtype=np.bool_)
    inside[order[: max((int(sizes[best]) + 1) // 2, FEWEST)]] = True
    return Group(inside, float(nats[best]), len(sizes))


def fullest_shell(radii: Float64s, around: Float64s, width: int) -> Group | None:
    """Return the thin shell with the most evidence, or None.

    Windows of K candidates are tried, of three quarters as many, and so on. What spreads more than
    iid Gaussian rows of d numbers (`width`) is not thin.
    """
    order = np.argsort(radii, kind="stable")
    ranked = radii[order]
    sums, squares = (np.concatenate([[0.0], np.cumsum(ranked**power)]) for power in (1, 2))
    best, most, windows = slice(0, 0), 0.0, 0
    size = len(radii)
    while size >= FEWEST:
        first = np.arange(len(radii) - size + 1)
        mean = (sums[first + size] - sums[first]) / size
        variance = (squares[first + size] - squares[first]) / size - mean**2
        begin = np.searchsorted(around, ranked[first], side="left")
        held = np.searchsorted(around, ranked[first + size - 1], side="right") - begin
        thin = variance <= (widest_spread(size, width) * mean) ** 2
        nats = surprise(np.full(len(first), size), len(radii), held, len(around))
        nats = np.where(thin, nats, 0.0)
        n = int(np.argmax(nats))
        if nats[n] > most:
            best, most = slice(n, n + size), float(nats[n])
        windows += len(first)
        size = size * 3 // 4
    if most <= 0:
        return None
    inside = np.zeros(len(radii), dtype=np.bool_)
    inside[order[best]] = True
    return Group(inside, most, windows)


def surprise(
    hits: npt.NDArray[np.int64], total: int, held: npt.NDArray[np.int64], others: int
) -> Float64s:
    """Return −ln of Chernoff's bound on so many of `total` candidates inside by chance.

    The chance is the share of the others that is held, counted with one more inside and one more
    outside.
    """
    share, chance = hits / total, (held + 1) / (others + 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        misses = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - chance)), 0.0)
        nats = total * (share * np.log(share / chance) + misses)
    return np.where(share > chance, nats, 0.0)
