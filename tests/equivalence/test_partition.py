"""The laws of partitions, and how classes overlap."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.equivalence.partition import Overlap, Partition
from isologit.numerics import exact
from isologit.numerics.formats import BF16, F16, F32, Format
from isologit.numerics.stored import Matrix, Vector

keys = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@st.composite
def same_size(draw: st.DrawFn, count: int) -> list[Partition]:
    size = draw(st.integers(1, 25))
    one = st.lists(st.integers(0, 4), min_size=size, max_size=size)
    return [Partition.of_keys(draw(one)) for _ in range(count)]


@st.composite
def small_matrices(draw: st.DrawFn) -> tuple[Matrix, Vector]:
    format_ = draw(st.sampled_from([BF16, F16, F32]))
    n_tokens, width = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    entry = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1.0078125, 3.0, 1e-6, -1e-6, 1000.0])
    values = draw(st.lists(entry, min_size=n_tokens * width, max_size=n_tokens * width))
    state = draw(st.lists(entry, min_size=width, max_size=width))
    matrix = Matrix.of_values(np.reshape(values, (n_tokens, width)), format_)
    return matrix, Vector.of_values(state, format_)


def brute_force(classes: list[int]) -> list[int]:
    """Number classes by first appearance, the obvious way."""
    seen: dict[int, int] = {}
    return [seen.setdefault(key, len(seen)) for key in classes]


@given(keys)
def test_others_are_those_with_the_same_key(classes: list[int]) -> None:
    expected = [sum(other == key for other in classes) - 1 for key in classes]
    assert Partition.of_keys(classes).n_others().tolist() == expected


@given(keys)
def test_labels_number_classes_by_their_smallest_token(classes: list[int]) -> None:
    assert Partition.of_keys(classes).labels.tolist() == brute_force(classes)


@given(keys, st.permutations(range(6)))
def test_renaming_the_keys_changes_nothing(classes: list[int], names: list[int]) -> None:
    renamed = [names[key] for key in classes]
    assert Partition.of_keys(renamed) == Partition.of_keys(classes)
    assert hash(Partition.of_keys(renamed)) == hash(Partition.of_keys(classes))


@given(keys, st.randoms())
def test_relabelling_tokens_relabels_classes(classes: list[int], random: object) -> None:
    order = np.random.default_rng(len(classes)).permutation(len(classes))
    there = Partition.of_keys(np.array(classes)[order])
    assert there == Partition.of_keys(Partition.of_keys(classes).labels[order])


@given(same_size(3))
def test_meet_is_associative_commutative_and_idempotent(three: list[Partition]) -> None:
    a, b, c = three
    assert a.meet(b).meet(c) == a.meet(b.meet(c))
    assert a.meet(b) == b.meet(a)
    assert a.meet(a) == a


@given(same_size(2))
def test_meet_joins_exactly_the_pairs_that_both_join(two: list[Partition]) -> None:
    a, b = two
    meet = a.meet(b)
    for i, j in itertools.combinations(range(a.n_tokens), 2):
        together = a.labels[i] == a.labels[j] and b.labels[i] == b.labels[j]
        assert (meet.labels[i] == meet.labels[j]) == together


@given(same_size(2))
def test_meet_is_the_coarsest_common_refinement(two: list[Partition]) -> None:
    a, b = two
    assert a.meet(b).refines(a)
    assert a.meet(b).refines(b)
    assert a.refines(b) == (a.meet(b) == a)


@given(small_matrices())
def test_rows_refine_logits_at_every_state(drawn: tuple[Matrix, Vector]) -> None:
    matrix, state = drawn
    for format_ in (BF16, F16, F32):
        assert Partition.of_rows(matrix).refines(Partition.of_logits(matrix, state, format_))


@given(small_matrices())
def test_rows_refine_cosines_at_every_direction(drawn: tuple[Matrix, Vector]) -> None:
    matrix, reference = drawn
    assert Partition.of_rows(matrix).refines(Partition.of_cosines(matrix, reference))


@given(small_matrices())
def test_logit_classes_are_those_of_the_exact_logits(drawn: tuple[Matrix, Vector]) -> None:
    matrix, state = drawn
    logits = exact.logits(matrix, state, matrix.format).values.tolist()
    expected = brute_force([sorted(set(logits)).index(x) for x in logits])
    assert Partition.of_logits(matrix, state).labels.tolist() == expected


@given(keys)
def test_sizes_members_and_groups_agree(classes: list[int]) -> None:
    partition = Partition.of_keys(classes)
    assert sum(partition.sizes()) == partition.n_tokens == len(classes)
    for label in range(partition.n_classes):
        members = partition.members(label)
        assert len(members) == partition.sizes()[label]
        assert members.tolist() == [i for i, x in enumerate(partition.labels) if x == label]
    groups = partition.groups()
    assert [len(g) for g in groups] == sorted((s for s in partition.sizes() if s > 1), reverse=True)
    firsts = [(-len(g), int(g[0])) for g in groups]
    assert firsts == sorted(firsts)


def test_the_mode_of_equal_sizes_is_the_class_of_the_smaller_token() -> None:
    assert Partition.of_keys([7, 7, 3, 3, 1]).mode() == 0
    assert Partition.of_keys([7, 3, 3, 1, 1]).mode() == 1


def test_zeros_of_both_signs_are_one_value_and_all_nans_are_one_class() -> None:
    other_nan = np.array([0xFFF8000000000001], dtype=np.uint64).view(np.float64)[0]
    values = [0.0, -0.0, np.nan, other_nan, 1.0]
    assert Partition.of_values(values).labels.tolist() == [0, 0, 1, 1, 2]


def test_labels_cannot_be_written_to() -> None:
    partition = Partition.of_keys([0, 1])
    with pytest.raises(ValueError, match="read-only"):
        partition.labels[0] = 1


@pytest.mark.parametrize("labels", [[1, 0], [0, 2], [0, -1]])
def test_labels_that_are_not_canonical_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="canonical"):
        Partition(np.array(labels, dtype=np.int32))


def test_partitions_of_different_vocabularies_do_not_meet() -> None:
    with pytest.raises(ValueError, match="partitions of 2 and of 3 tokens"):
        Partition.of_keys([0, 1]).meet(Partition.of_keys([0, 1, 2]))


@pytest.mark.parametrize(
    ("left", "right", "relation", "both", "only_a", "only_b"),
    [
        ([1, 2], [1, 2], "identical", 2, 0, 0),
        ([1, 2, 3], [1, 2], "contains", 2, 1, 0),
        ([1, 2], [1, 2, 3, 4], "contained", 2, 0, 2),
        ([1, 2, 5], [1, 2, 3, 4], "partial", 2, 1, 2),
        ([1, 2], [3], "disjoint", 0, 2, 1),
    ],
)
def test_every_relation_of_two_sets_is_named(
    left: list[int], right: list[int], relation: str, both: int, only_a: int, only_b: int
) -> None:
    overlap = Overlap.of(left, right)
    assert overlap.relation == relation
    assert (overlap.both, overlap.only_a, overlap.only_b) == (both, only_a, only_b)
    assert overlap.share_of_a == both / len(left)
    assert overlap.share_of_b == both / len(right)


def test_classes_of_two_partitions_compare_by_their_members() -> None:
    a = Partition.of_keys([0, 0, 0, 1])
    b = Partition.of_keys([0, 0, 1, 1])
    overlap = a.compare(b, 0, 0)
    assert (overlap.both, overlap.only_a, overlap.only_b, overlap.relation) == (2, 1, 0, "contains")


@pytest.mark.parametrize("format_", [BF16, F16, F32])
def test_a_logit_format_coarser_than_the_weights_merges_classes(format_: Format) -> None:
    matrix = Matrix.of_values([[1.0], [1 + 2.0**-9], [1 + 2.0**-20]], F32)
    one = Vector.of_values([1.0], F32)
    expected = {BF16: 1, F16: 2, F32: 3}[format_]
    assert Partition.of_logits(matrix, one, format_).n_classes == expected


class TestShown:
    """What a partition says of itself, however many tokens it has."""

    def test_it_says_how_many_tokens_and_classes_and_the_largest(self) -> None:
        partition = Partition.of_keys([2, 2, 7, 7, 7, *range(100, 109)])
        assert repr(partition) == (
            "<Partition of 14 tokens: 11 classes, 2 of two or more, "
            "the largest 3, 2, 1, 1, 1, 1, 1, 1, …>"
        )
        html = partition._repr_html_()
        for figure in ("14", "11", "2", "3, 2, 1, 1, 1, 1, 1, 1, …"):
            assert f">{figure}</td>" in html

    def test_of_classes_of_one_it_says_no_sizes(self) -> None:
        assert repr(Partition.of_keys([1, 2])) == (
            "<Partition of 2 tokens: 2 classes, 0 of two or more>"
        )

    def test_of_no_tokens_it_says_so(self) -> None:
        empty = Partition(np.array([], dtype=np.int32))
        assert repr(empty) == "<Partition of 0 tokens: 0 classes, 0 of two or more>"
        assert "<td" in empty._repr_html_()
