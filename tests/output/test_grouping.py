"""Groupings: each token in the group that its columns say, and no group empty."""

from dataclasses import replace

import numpy as np
import pytest

from isologit.output import palette
from isologit.output.grouping import (
    Grouping,
    by_category,
    by_class,
    by_norm,
    by_script,
    by_training,
    colourings,
)
from isologit.output.pictured import Pictured
from isologit.table_words import Words
from isologit.tokens.table import CATEGORY_WORDS
from output.pictures import Get


def names_of(grouping: Grouping) -> list[str]:
    return [grouping.groups[code].name for code in grouping.codes.tolist()]


def test_classes_are_the_cluster_the_common_logit_and_shared_rows(get: Get) -> None:
    audited = get("no cluster")
    cluster, modal = np.zeros((2, 60), np.bool_)
    cluster[:20] = True
    modal[10:30] = True
    sizes = np.ones(60, np.int64)
    sizes[[5, 15, 25, 35, 36]] = 2
    made = replace(audited, in_cluster=cluster, in_modal_class=modal, row_class_sizes=sizes)
    expected = (
        ["cluster, other logits"] * 10
        + ["cluster, most common logit"] * 10
        + ["most common logit, not cluster"] * 10
        + ["others"] * 5
        + ["shares its row, neither"] * 2
        + ["others"] * 23
    )
    assert names_of(by_class(made)) == expected


def test_one_token_with_its_logit_is_no_class(get: Get) -> None:
    audited = get("no cluster")
    alone = np.zeros(60, np.bool_)
    alone[7] = True
    assert set(names_of(by_class(replace(audited, in_modal_class=alone)))) == {"others"}
    # Nor are tokens whose logit is no number.
    nan = replace(audited, logits=np.full(60, np.nan), in_modal_class=np.ones(60, np.bool_))
    assert set(names_of(by_class(nan))) == {"others"}


def test_categories_are_those_of_the_table(get: Get) -> None:
    audited = get("small")
    grouping = by_category(audited)
    assert grouping is not None
    assert audited.categories is not None
    spelt = [audited.categories.names[code] for code in audited.categories.codes.tolist()]
    assert names_of(grouping) == [CATEGORY_WORDS[name] for name in spelt]
    of_demo = by_category(get("demo"))
    assert of_demo is not None
    looks = {group.name: group.colour for group in of_demo.groups}
    assert looks["ordinary"] == palette.REST


def test_the_most_common_scripts_have_a_group_each_and_the_rest_one(get: Get) -> None:
    audited = get("no cluster")
    codes = np.concatenate([np.repeat(np.arange(9), np.arange(10, 1, -1)), [-1] * 6])
    names = tuple(f"Script_{n}" for n in range(9))
    grouping = by_script(replace(audited, scripts=Words(names, codes)))
    assert grouping is not None
    assert [group.name for group in grouping.groups] == [
        *(f"Script {n}" for n in range(7)),
        "2 more scripts",
        "no text alone",
    ]
    assert grouping.sizes == [10, 9, 8, 7, 6, 5, 4, 3 + 2, 6]
    eight = by_script(replace(audited, scripts=Words(names[:8], np.minimum(codes, 7))))
    assert eight is not None
    assert "another script" in [group.name for group in eight.groups]


def test_norms_are_in_bins_that_do_not_overlap_and_are_named_by_what_they_hold(
    audited: Pictured,
) -> None:
    grouping = by_norm(audited)
    norms, last = audited.norms, -np.inf
    for code, group in enumerate(grouping.groups):
        own = norms[grouping.codes == code]
        if group.name == "no number":
            assert not np.isfinite(own).any()
            continue
        low, _, high = group.name.partition(" to ")
        assert (low, high or low) == (f"{own.min():.4g}", f"{own.max():.4g}")
        assert own.min() > last
        last = own.max()
    # From one end of the scale to the other.
    assert grouping.groups[0].colour == palette.SCALE[0]


@pytest.mark.parametrize("norms", [np.full(60, 2.0), np.full(60, np.nan), np.zeros(60)])
def test_of_one_norm_there_is_one_group(norms: np.ndarray, get: Get) -> None:
    grouping = by_norm(replace(get("no cluster"), norms=norms))
    assert len(grouping.groups) == 1
    assert grouping.sizes == [60]


def test_rare_norms_show_beside_the_many(get: Get) -> None:
    norms = np.append(np.linspace(1, 2, 59), 100.0)
    grouping = by_norm(replace(get("no cluster"), norms=norms))
    assert grouping.groups[-1].name == "2 to 100" or grouping.groups[-1].name == "100"
    assert grouping.sizes[-1] <= 2


def test_signs_of_no_training_are_graded_strong_or_likely(get: Get) -> None:
    audited = get("small")
    assert audited.grades is not None
    assert audited.categories is not None
    assert audited.in_cluster is not None
    expected = []
    for n in range(audited.n_tokens):
        grade = audited.grades.names[audited.grades.codes[n]]
        category = audited.categories.names[audited.categories.codes[n]]
        expected.append(
            "cluster"
            if audited.in_cluster[n]
            else "strong or likely, not cluster"
            if grade in ("strong", "likely")
            else "padding, neither"
            if category == "padding"
            else "others"
        )
    assert names_of(by_training(audited)) == expected
    assert len(set(expected)) > 2


def test_every_token_is_in_one_group_of_every_grouping(audited: Pictured) -> None:
    titles = (
        ["class", "norm"] if audited.categories is None else ["class", "category", "script", "norm"]
    )
    assert [each.title for each in colourings(audited)] == titles
    for each in [*colourings(audited), by_training(audited)]:
        assert len(each.codes) == sum(each.sizes) == audited.n_tokens
        assert min(each.sizes) > 0
