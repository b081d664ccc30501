"""Norms by signs of no training, and categories by row class: counts are the table's."""

from dataclasses import replace

import numpy as np
import pytest

from isologit.output import palette
from isologit.output.figures import categories_by_class, norms
from isologit.output.grouping import by_training
from isologit.output.pictured import Pictured
from output.pictures import Get, number, traces


def test_the_norms_of_all_groups_sum_to_the_rows_that_have_one(audited: Pictured) -> None:
    drawing = norms(audited)
    assert sum(sum(trace.y) for trace in traces(drawing)) == np.isfinite(audited.norms).sum()
    groups = by_training(audited)
    assert [row[0] for row in drawing.rows] == [group.name for group in groups.groups]
    assert [number(row[1]) for row in drawing.rows] == groups.sizes


def test_norms_mark_where_gaussian_rows_would_be(get: Get) -> None:
    audited = get("small")
    assert audited.in_cluster is not None
    drawing = norms(audited)
    own = audited.norms[audited.in_cluster]
    first = drawing.figure.layout.shapes[0]
    reach = 3 * own.mean() / np.sqrt(2 * 12)
    assert (first.x0, first.x1) == pytest.approx((own.mean() - reach, own.mean() + reach))
    assert first.fillcolor == palette.CLUSTER
    assert f"{own.std(ddof=1) / own.mean():.2%}" in drawing.alt
    assert f"{1 / np.sqrt(24):.2%}" in drawing.caption
    assert norms(get("f32")).figure.layout.shapes == ()


def test_a_reference_set_about_the_origin_is_a_shell_of_norms(get: Get) -> None:
    audited = get("no cluster")
    radii = audited.norms
    mean, deviation = 0.25, 0.01
    shell = replace(audited, distances=radii * 1.001, offsets=(radii * 1.001 - mean) / deviation)
    drawing = norms(shell)
    assert drawing.rows[-1][0] == "reference set"
    assert drawing.rows[-1][3] == "0.25"
    assert drawing.rows[-1][5] == "4.00%"
    reach = 3 * mean / np.sqrt(2 * 5)
    last = drawing.figure.layout.shapes[-1]
    assert (last.x0, last.x1) == pytest.approx((mean - reach, mean + reach))
    # Distances from elsewhere are no norms.
    apart = replace(audited, distances=radii + 1, offsets=(radii + 1 - mean) / deviation)
    assert norms(apart).rows[-1][0] != "reference set"


def test_categories_by_class_are_the_table_s(get: Get) -> None:
    audited = get("small")
    drawing = categories_by_class(audited)
    assert audited.categories is not None
    names = [row[0] for row in drawing.rows]
    sizes = [number(row[1]) for row in drawing.rows]
    assert sum(sizes) == audited.n_tokens
    labels, counts = np.unique(audited.row_classes, return_counts=True)
    largest = labels[np.argsort(-counts, kind="stable")][:3].tolist()
    assert names[:3] == [f"row class {label}" for label in largest]
    assert sizes[:3] == sorted(counts.tolist(), reverse=True)[:3]
    own = audited.categories.codes[audited.row_classes == largest[0]]
    spelt = [audited.categories.names[code] for code in own.tolist()]
    kinds = [head.replace("partial UTF-8", "partial_utf8") for head in drawing.heads[2:]]
    assert [int(n) for n in drawing.rows[0][2:]] == [spelt.count(kind) for kind in kinds]
    for bar in range(len(names)):
        assert sum(trace.x[bar] for trace in traces(drawing)) == pytest.approx(100)
