"""Connected components against a search by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isologit.numerics.components import Components


def by_search(n: int, edges: list[tuple[int, int]]) -> list[int]:
    labels = list(range(n))
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = min(labels[a], labels[b])
            changed |= labels[a] != low or labels[b] != low
            labels[a] = labels[b] = low
    return labels


@given(st.integers(1, 30), st.data())
def test_each_node_has_its_components_smallest_node(n: int, data: st.DataObject) -> None:
    node = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=40))
    found = Components(n)
    half = len(edges) // 2
    for part in (edges[:half], edges[half:]):
        left, right = np.array(part, dtype=np.int64).reshape(-1, 2).T
        found.join(left, right)
        found.labels()
    assert found.labels().tolist() == by_search(n, edges)
