"""Classes that a coarser relation makes of several classes of a finer one."""

from dataclasses import dataclass

import numpy as np

from isologit.equivalence.partition import Partition, TokenIds


@dataclass(frozen=True, eq=False)
class BornClass:
    """A class that several smaller ones became.

    Parameters
    ----------
    token_ids
        ``[n]`` int32, ascending.
    parts
        How many classes of the finer relation they are, two at least.
    """

    token_ids: TokenIds
    parts: int


def born_classes(before: Partition, after: Partition) -> list[BornClass]:
    """Return the classes of a relation that hold more than one class of another.

    Parameters
    ----------
    before
        The relation that was.
    after
        The relation that is. Where the first refines it, each of these classes is a union of
        classes that were, and the number of classes falls by ``parts − 1`` with each.

    Returns
    -------
    list of BornClass
        The largest first, of equal sizes the one with the smallest id.
    """
    parts = part_counts(before, after)
    sizes = after.sizes()
    labels = np.flatnonzero(parts > 1)
    labels = labels[np.argsort(-sizes[labels], kind="stable")]
    return [BornClass(after.members(int(n)), int(parts[n])) for n in labels]


def part_counts(before: Partition, after: Partition) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return how many classes of one relation each class of another touches, by label."""
    both = before.meet(after)
    return np.bincount(after.labels[both.firsts()], minlength=after.n_classes)
