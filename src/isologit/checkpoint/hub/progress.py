"""What a fetch tells whoever waits for it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fetch:
    """How far the fetch of a tensor is.

    Parameters
    ----------
    name
        The tensor.
    here
        Bytes of it that are here, those of an earlier run among them.
    total
        Bytes of it.
    """

    name: str
    here: int
    total: int


# Called by the thread that asked for the tensor: at the beginning, some ten times a second, and
# at the end. Not called for a tensor that is here already.
Arrived = Callable[[Fetch], None]


def nothing(fetch: Fetch) -> None:
    """Do nothing with it."""
