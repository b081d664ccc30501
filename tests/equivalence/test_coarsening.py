"""Classes that several classes became, against sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isologit.equivalence.coarsening import born_classes, part_counts
from isologit.equivalence.partition import Partition

keys = st.lists(st.integers(0, 6), min_size=1, max_size=40)


@given(keys, st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_a_born_class_is_a_union_of_several_that_were(fine: list[int], into: list[int]) -> None:
    before = Partition.of_keys(np.array(fine))
    after = Partition.of_keys(np.array([into[key] for key in fine]))
    found = born_classes(before, after)
    expected = {}
    for label in set(into):
        tokens = [i for i, key in enumerate(fine) if into[key] == label]
        parts = {fine[i] for i in tokens}
        if len(parts) > 1:
            expected[tuple(tokens)] = len(parts)
    assert {tuple(each.token_ids.tolist()): each.parts for each in found} == expected
    sizes = [(-len(each.token_ids), each.token_ids[0]) for each in found]
    assert sizes == sorted(sizes)
    assert sum(each.parts - 1 for each in found) == before.n_classes - after.n_classes


@given(keys, st.data())
def test_parts_are_the_classes_that_a_class_touches(left: list[int], data: st.DataObject) -> None:
    right = data.draw(st.lists(st.integers(0, 4), min_size=len(left), max_size=len(left)))
    before, after = Partition.of_keys(np.array(left)), Partition.of_keys(np.array(right))
    for label, parts in enumerate(part_counts(before, after).tolist()):
        assert parts == len({left[i] for i in after.members(label)})


def test_nothing_is_born_where_nothing_changes() -> None:
    same = Partition.of_keys(np.array([0, 1, 0, 2]))
    assert born_classes(same, same) == []
