"""Observed logits beside exact ones: counts, the farthest, and what is split."""

import numpy as np

from isologit.equivalence.deviations import deviations, differing, split_classes, tokens_in
from isologit.equivalence.partition import Partition
from isologit.numerics.formats import BF16

EXACT = np.array([1.0, 1.0, 2.0, 0.0, np.nan, np.inf, -8.0])


def test_equal_logits_do_not_differ_and_nan_equals_nan() -> None:
    found = deviations(EXACT.copy(), EXACT, BF16)
    assert (len(found.token_ids), found.largest_token, found.largest_ulp) == (0, None, None)


def test_the_farthest_is_counted_in_units_of_its_exact_logit() -> None:
    observed = EXACT.copy()
    observed[0] += 3 * 2.0**-7  # three units at 1
    observed[2] += 3 * 2.0**-7  # one and a half at 2
    observed[6] -= 2.0**-3  # two at 8
    found = deviations(observed, EXACT, BF16)
    assert found.token_ids.tolist() == [0, 2, 6]
    assert (found.largest_token, found.largest_ulp) == (0, 3.0)


def test_the_unit_is_the_exact_logits_even_where_the_observed_one_is_in_another_binade() -> None:
    # A unit is 2^-6 at 2 and half of that below it.
    found = deviations(np.array([2.0 - 2.0**-7]), np.array([2.0]), BF16)
    assert found.largest_ulp == 0.5


def test_what_is_infinite_or_no_number_differs_without_a_distance() -> None:
    observed = EXACT.copy()
    observed[0], observed[4], observed[5] = np.nan, 1.0, 3.0
    found = deviations(observed, EXACT, BF16)
    assert found.token_ids.tolist() == [0, 4, 5]
    assert (found.largest_token, found.largest_ulp) == (None, None)
    assert differing(observed, EXACT).tolist() == [True, False, False, False, True, True, False]


def test_a_distance_counts_beside_what_has_none() -> None:
    observed = EXACT.copy()
    observed[0], observed[1], observed[6] = np.inf, np.nan, -8.0 - 2.0**-4
    found = deviations(observed, EXACT, BF16)
    assert (found.largest_token, found.largest_ulp) == (6, 1.0)


def test_classes_whose_tokens_differ_are_split() -> None:
    classes = Partition.of_keys(np.array([0, 0, 1, 1, 1, 2, 3, 3]))
    observed = np.array([5.0, 5.0, 1.0, 2.0, 3.0, 9.0, 0.0, 7.0])
    assert split_classes(classes, observed) == [(1, 3), (3, 2)]
    assert tokens_in(classes, split_classes(classes, observed)) == 5
    assert split_classes(classes, classes.labels.astype(float)) == []
    assert tokens_in(classes, []) == 0
    # −0 is +0, and NaN is one class.
    assert split_classes(classes, np.array([0.0, -0.0, np.nan, np.nan, np.nan, 1, 2, 2])) == []
