"""Connected components of a graph whose edges arrive in parts: a forest, joined edge by edge."""

import numpy as np
import numpy.typing as npt

from isologit.numerics.compilation import kernel

Ids = npt.NDArray[np.int64]


class Components:
    """The connected components of n nodes, at first each its own."""

    def __init__(self, n_nodes: int) -> None:
        self._parents: Ids = np.arange(n_nodes)

    def join(self, left: Ids, right: Ids) -> None:
        """Add edges, ``[m]`` nodes at either end."""
        _join(self._parents, np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64))

    def labels(self) -> Ids:
        """Return each node's component by its smallest node, ``[n]``."""
        _flatten(self._parents)
        return self._parents.copy()


@kernel()
def _root(parents, node):  # type: ignore[no-untyped-def]
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@kernel()
def _join(parents, left, right):  # type: ignore[no-untyped-def]
    for n in range(left.shape[0]):
        a, b = _root(parents, left[n]), _root(parents, right[n])
        # The smaller node stays the root, so that a component's label depends on its nodes alone.
        if a < b:
            parents[b] = a
        else:
            parents[a] = b


@kernel()
def _flatten(parents):  # type: ignore[no-untyped-def]
    for n in range(parents.shape[0]):
        parents[n] = _root(parents, n)
