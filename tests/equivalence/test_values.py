"""The figures of one rounded number a token, against plain counting."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.equivalence.values import TokenValues
from isologit.numerics.arithmetic import Exact
from isologit.numerics.formats import BF16, F32


def token_values(values: list[float]) -> TokenValues:
    return TokenValues.of(np.array(values, dtype=np.float64), BF16, 0, Exact())


@given(st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=40))
def test_every_figure_equals_plain_counting(values: list[float]) -> None:
    figures = token_values(values)
    counts = Counter(values)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert [(c.value, c.n_tokens) for c in figures.top(10)] == ranked[:10]
    assert (figures.mode.value, figures.mode.n_tokens) == ranked[0]
    assert (figures.min, figures.max.value) == (min(values), max(values))
    assert figures.max.n_tokens == counts[max(values)]
    assert figures.n_distinct == len(counts)
    assert figures.median == sorted(values)[(len(values) - 1) // 2]
    mode = figures.mode.value
    assert figures.tokens_with(mode).tolist() == [i for i, v in enumerate(values) if v == mode]


def test_of_equal_counts_the_smaller_value_is_the_mode() -> None:
    assert token_values([5.0, 5.0, -1.0, -1.0, 2.0]).mode.value == -1.0


def test_multiplicities_count_values_and_not_tokens() -> None:
    values = [1.0] + [2.0] * 2 + [3.0] * 3 + [4.0] * 4 + [5.0] * 100 + [6.0] * 1000 + [7.0]
    assert token_values(values).multiplicity() == {
        "1": 2,
        "2": 1,
        "3": 1,
        "4+": 3,
        "100+": 2,
        "1000+": 1,
    }


def test_zeros_of_both_signs_are_one_value() -> None:
    figures = token_values([0.0, -0.0, 1.0])
    assert figures.n_distinct == 2
    assert figures.mode.n_tokens == 2
    assert figures.tokens_with(0.0).tolist() == [0, 1]


def test_tokens_without_a_number_are_counted_and_left_out() -> None:
    figures = token_values([1.0, np.nan, 3.0, np.nan, np.nan])
    assert (figures.n_nan, figures.n_distinct, figures.mode.value) == (3, 2, 1.0)
    assert (figures.min, figures.max.value, figures.mean, figures.median) == (1.0, 3.0, 2.0, 1.0)
    assert figures.tokens_with(float("nan")).tolist() == [1, 3, 4]


def test_nothing_but_nan_is_said_to_be_nan() -> None:
    figures = token_values([np.nan, np.nan])
    assert np.isnan([figures.min, figures.max.value, figures.mean, figures.median]).all()
    assert np.isnan(figures.mode.value)
    assert figures.mode.n_tokens == 2
    assert figures.n_distinct == 0


def test_infinities_are_numbers_with_a_place() -> None:
    figures = token_values([np.inf, 1.0, -np.inf])
    assert (figures.min, figures.max.value, figures.median) == (-np.inf, np.inf, 1.0)
    assert np.isnan(figures.mean)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_table_is_no_longer_than_the_values(k: int) -> None:
    assert len(token_values([1.0, 2.0]).top(k)) == min(k, 2)


def test_the_mean_is_exact_and_rounded_once_to_the_format() -> None:
    # 1 + 2^-8 lies halfway between two bf16 numbers; the term below it decides.
    values = np.array([1.0, 1.0 + 2.0**-7, 2.0**-130])
    figures = TokenValues.of(values[:2], BF16, 0, Exact())
    assert figures.mean == 1.0
    assert TokenValues.of(values[:2], F32, 0, Exact()).mean == 1 + 2.0**-8
