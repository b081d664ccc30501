"""What a user asks about: a pole, a cluster of their own, a state of their own, a range of ids."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s

# ASCII's digits alone: int would take those of any script.
_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
# More rows than any vocabulary has.
_MOST_IDS = 1 << 24


def id_range(text: str) -> range:
    """Return the ids that ``124`` or ``180-187`` stands for.

    Raises
    ------
    ValueError
        It is neither, or more ids than any vocabulary has.
    """
    bounds = _RANGE.fullmatch(text)
    if bounds is None:
        raise ValueError(f"{text!r}: expected ids like 124 or 180-187")
    first, last = int(bounds[1]), int(bounds[2] or bounds[1])
    if last < first:
        raise ValueError(f"{text!r} runs backwards: expected ids like 180-187")
    if last - first >= _MOST_IDS:
        raise ValueError(f"{text!r} is more than {_MOST_IDS:,} ids")
    return range(first, last + 1)


@dataclass(frozen=True)
class Pole:
    """A direction on the sphere of three principal axes.

    Parameters
    ----------
    lat_deg, lon_deg
        Degrees.
    distance
        Length of the state there; None stands for the mean norm of the fullest cosine class.
    axes
        1-based numbers of the axes at north, meridian and equinox; a negative one is flipped.
    """

    lat_deg: float
    lon_deg: float
    distance: float | None = None
    axes: tuple[int, int, int] = (2, 1, 3)


@dataclass(frozen=True, eq=False)
class Members:
    """A cluster that the user brings.

    Parameters
    ----------
    token_ids
        Integers, in any order.
    where
        Where they come from, for messages.
    cosine
        The cosine that they share, if known.
    vocabulary
        How many tokens the list was made for, if known.
    matrix_sha256
        Digest of the matrix that the list was made from, if known.
    """

    token_ids: Sequence[int] | npt.NDArray[np.integer]
    where: str
    cosine: float | None = None
    vocabulary: int | None = None
    matrix_sha256: str | None = None


@dataclass(frozen=True, eq=False)
class FileState:
    """A hidden state that the user brings: ``[d]`` values, and where they come from."""

    values: Float64s
    where: str


@dataclass(frozen=True)
class RandomStates:
    """Reachable hidden states of chance, and the seed that they are drawn from."""

    n_states: int
    seed: int
