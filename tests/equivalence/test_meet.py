"""The meet that grows state by state is that of the whole partitions."""

import numpy as np
import pytest

from isologit.equivalence.meet import LogitMeet
from isologit.equivalence.partition import Partition


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_meet_of_all_partitions_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 6, (7, 60)).astype(np.float64)
    logits[:, 50:] = logits[:, 40:50]
    logits[2, 7] = np.nan
    logits[3, 9] = -0.0
    whole = Partition(np.zeros(60, dtype=np.int32))
    meet = LogitMeet.of_no_state(60)
    for state in logits:
        whole = whole.meet(Partition.of_values(state))
        meet.add(state[meet.tokens])
        assert np.array_equal(meet.partition().labels, whole.labels)
        assert meet.n_classes == whole.n_classes
        assert meet.n_shared == len(whole.groups())
        assert meet.tokens.tolist() == np.flatnonzero(whole.n_others()).tolist()
    backwards = LogitMeet.of_no_state(60)
    for state in logits[::-1]:
        backwards.add(state[backwards.tokens])
    assert np.array_equal(backwards.partition().labels, whole.labels)


def test_it_goes_on_from_the_labels_that_it_had() -> None:
    rng = np.random.default_rng(9)
    logits = rng.integers(0, 4, (6, 40)).astype(np.float64)
    meet = LogitMeet.of_no_state(40)
    for state in logits:
        meet.add(state[meet.tokens])
        meet = LogitMeet(meet.partition().labels)
    whole = LogitMeet.of_no_state(40)
    for state in logits:
        whole.add(state[whole.tokens])
    assert np.array_equal(meet.partition().labels, whole.partition().labels)
    assert meet.n_classes == whole.n_classes


def test_where_every_token_is_alone_nothing_is_asked_for() -> None:
    meet = LogitMeet.of_no_state(3)
    meet.add([3.0, 1.0, 2.0])
    assert (meet.tokens.tolist(), meet.n_classes, meet.n_shared) == ([], 3, 0)
    meet.add([])
    assert meet.n_classes == 3


def test_labels_that_are_no_partition_s_are_refused() -> None:
    with pytest.raises(ValueError, match="not canonical"):
        LogitMeet(np.array([1, 0], dtype=np.int32))
