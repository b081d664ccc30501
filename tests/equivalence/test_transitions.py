"""The kinds of classes against the definitions, read literally, and the laws that they keep."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isologit.equivalence.partition import Partition
from isologit.equivalence.transitions import (
    OF_AFTER,
    OF_BEFORE,
    OF_BOTH,
    Transitions,
    parts_of,
    transitions,
)

MIRROR = {
    "born": "dissolved",
    "merged": "split",
    "fragment": "absorbed",
    "grown": "shrunk",
    "persistent": "persistent",
    "exchanged": "exchanged",
}
MIRROR |= {there: here for here, there in MIRROR.items()}

Sets = frozenset[int]


@st.composite
def two_partitions(draw: st.DrawFn) -> tuple[Partition, Partition]:
    size = draw(st.integers(1, 14))
    # Few names make large classes, many make single tokens.
    names = st.integers(0, draw(st.integers(0, 12)))
    one = st.lists(names, min_size=size, max_size=size)
    return Partition.of_keys(draw(one)), Partition.of_keys(draw(one))


def sets_of(partition: Partition) -> set[Sets]:
    return {frozenset(group.tolist()) for group in partition.groups()}


def brute_force(before: Partition, after: Partition) -> dict[str, set[object]]:
    """Return the kinds as sets of token ids, by the definitions alone."""
    old, new = sets_of(before), sets_of(after)

    def met(one: Sets, others: set[Sets]) -> list[Sets]:
        return [other for other in others if one & other]

    found: dict[str, set[object]] = {name: set() for name in MIRROR}
    for c in old:
        there = met(c, new)
        if not there:
            found["dissolved"].add(c)
        elif len(there) > 1:
            found["split"].add(c)
        elif len(met(there[0], old)) > 1:
            found["absorbed"].add(c)
        elif c == there[0]:
            found["persistent"].add((c, there[0]))
        elif c < there[0]:
            found["grown"].add((c, there[0]))
        elif c > there[0]:
            found["shrunk"].add((c, there[0]))
        else:
            found["exchanged"].add((c, there[0]))
    for d in new:
        there = met(d, old)
        if not there:
            found["born"].add(d)
        elif len(there) > 1:
            found["merged"].add(d)
        elif len(met(there[0], new)) > 1:
            found["fragment"].add(d)
    return found


def as_sets(found: Transitions) -> dict[str, set[object]]:
    def old(label: int) -> Sets:
        return frozenset(found.before.members(label).tolist())

    def new(label: int) -> Sets:
        return frozenset(found.after.members(label).tolist())

    return {
        **{name: {old(label) for label in getattr(found, name)} for name in OF_BEFORE},
        **{name: {new(label) for label in getattr(found, name)} for name in OF_AFTER},
        **{name: {(old(c), new(d)) for c, d in getattr(found, name)} for name in OF_BOTH},
    }


@given(two_partitions())
@example((Partition.of_keys([0, 0, 1, 1]), Partition.of_keys([0, 1, 0, 1])))
@example((Partition.of_keys([0, 0, 1, 2]), Partition.of_keys([0, 1, 1, 2])))
def test_the_kinds_are_those_of_the_definitions(two: tuple[Partition, Partition]) -> None:
    assert as_sets(transitions(*two)) == brute_force(*two)


@given(two_partitions())
def test_every_class_is_of_exactly_one_kind_a_side(two: tuple[Partition, Partition]) -> None:
    found = transitions(*two)
    old = Counter(label for name in OF_BEFORE for label in getattr(found, name))
    new = Counter(label for name in OF_AFTER for label in getattr(found, name))
    old += Counter(pair[0] for name in OF_BOTH for pair in getattr(found, name))
    new += Counter(pair[1] for name in OF_BOTH for pair in getattr(found, name))
    for partition, counts in zip(two, (old, new), strict=True):
        classes = np.flatnonzero(partition.sizes() >= 2).tolist()
        assert counts == Counter(classes)


@given(two_partitions(), st.randoms(use_true_random=False))
def test_relabelling_tokens_commutes(two: tuple[Partition, Partition], random: object) -> None:
    n = two[0].n_tokens
    # Token i of the relabelled vocabulary is token order[i] of the first.
    order = list(range(n))
    random.shuffle(order)  # type: ignore[attr-defined]
    there = transitions(*(Partition.of_keys(each.labels[order]) for each in two))
    renamed = {
        name: {
            tuple(frozenset(order[i] for i in part) for part in each)
            if isinstance(each, tuple)
            else frozenset(order[i] for i in each)  # type: ignore[attr-defined]
            for each in kinds
        }
        for name, kinds in as_sets(there).items()
    }
    assert renamed == as_sets(transitions(*two))


@given(two_partitions())
def test_of_one_partition_twice_all_classes_persist(two: tuple[Partition, Partition]) -> None:
    found = transitions(two[0], two[0])
    assert [pair[0] for pair in found.persistent] == [
        int(two[0].labels[group[0]]) for group in two[0].groups()
    ]
    for name in (*OF_BEFORE, *OF_AFTER, *OF_BOTH[1:]):
        assert getattr(found, name) == ()
    assert found.n_changed() == 0


@given(two_partitions())
def test_the_way_back_mirrors_the_way_there(two: tuple[Partition, Partition]) -> None:
    there, back = as_sets(transitions(*two)), as_sets(transitions(*reversed(two)))
    for name, mirrored in MIRROR.items():
        expected = {
            tuple(reversed(each)) if isinstance(each, tuple) else each for each in there[name]
        }
        assert back[mirrored] == expected


@given(two_partitions())
def test_the_largest_come_first(two: tuple[Partition, Partition]) -> None:
    found = transitions(*two)
    before, after = (each.sizes().tolist() for each in two)
    for name in OF_BEFORE:
        keys = [(-before[label], label) for label in getattr(found, name)]
        assert keys == sorted(keys)
    for name in OF_AFTER:
        keys = [(-after[label], label) for label in getattr(found, name)]
        assert keys == sorted(keys)
    for name in OF_BOTH:
        keys = [(-max(before[c], after[d]), c) for c, d in getattr(found, name)]
        assert keys == sorted(keys)


@given(two_partitions())
def test_a_token_has_changed_where_its_fellows_have(two: tuple[Partition, Partition]) -> None:
    expected = 0
    for i in range(two[0].n_tokens):
        mine, others = (set(each.members(each.labels[i]).tolist()) for each in two)
        expected += mine != others
    assert transitions(*two).n_changed() == expected


@given(two_partitions())
def test_the_parts_of_a_class_are_all_of_it(two: tuple[Partition, Partition]) -> None:
    before, after = two
    for group in before.groups():
        parts = parts_of(group, after)
        whole = [i for _, shared in parts.shared for i in shared.tolist()] + parts.single.tolist()
        assert sorted(whole) == group.tolist()
        for label, shared in parts.shared:
            assert after.sizes()[label] >= 2
            assert set(shared.tolist()) == set(group.tolist()) & set(after.members(label).tolist())
        assert all(after.n_others()[i] == 0 for i in parts.single)
        lengths = [len(shared) for _, shared in parts.shared]
        assert lengths == sorted(lengths, reverse=True)


def test_each_kind_in_one_example() -> None:
    # Tokens 0 … 19; equal letters are one class, dots are single tokens.
    before = ".." + "bb" + "cc" + "dd" + "ssss" + "ppp" + "gg" + ".hh.ee"
    after_ = "aa" + ".." + "mm" + "mm" + "uuvv" + "ppp" + "xx" + "xhheze"
    named = [
        Partition.of_keys([ord(c) if c != "." else 1000 + i for i, c in enumerate(text)])
        for text in (before, after_.replace("z", "."))
    ]
    found = transitions(*named)
    sizes = {field.name for field in dataclasses.fields(found)} - {"before", "after"}
    counts = {name: len(getattr(found, name)) for name in sizes}
    assert counts == {
        "born": 1,
        "dissolved": 1,
        "merged": 1,
        "split": 1,
        "absorbed": 2,
        "fragment": 2,
        "persistent": 2,
        "grown": 1,
        "shrunk": 0,
        "exchanged": 1,
    }


def test_partitions_of_different_vocabularies_are_refused() -> None:
    with pytest.raises(ValueError, match="partitions of 2 and of 3 tokens"):
        transitions(Partition.of_keys([0, 0]), Partition.of_keys([0, 0, 0]))


def test_all_pairs_of_partitions_of_five_tokens() -> None:
    every = {Partition.of_keys(keys) for keys in itertools.product(range(5), repeat=5)}
    assert len(every) == 52  # the fifth Bell number
    for before, after in itertools.product(every, repeat=2):
        assert as_sets(transitions(before, after)) == brute_force(before, after)
