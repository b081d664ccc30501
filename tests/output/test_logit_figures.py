"""Figures of logits: ranks, ids, bars and multiplicities are those of the table."""

import re
from dataclasses import replace

import numpy as np
import pytest

from isologit.output.figures import logit_histogram, logit_ranks, logits_by_id, multiplicities
from isologit.output.pictured import Pictured
from output.pictures import Get, counted_by, found, named, number, traces


def test_ranks_are_those_of_the_sorted_logits(audited: Pictured) -> None:
    drawing = logit_ranks(audited)
    logits = np.sort(audited.logits[np.isfinite(audited.logits)])[::-1]
    line = traces(drawing)[0]
    ranks = np.asarray(line.x)
    assert ranks[0] == 1
    assert ranks[-1] == len(logits)
    # At each rank that is drawn the line is at the logit of that rank.
    assert np.array_equal(logits[ranks - 1], line.y)
    distinct = len(np.unique(logits))
    if distinct <= 4_000:
        assert line.line.shape == "hv"
        assert len(ranks) == distinct + 1
        assert "are drawn" not in drawing.caption
    else:
        assert line.line.shape == "linear"
        assert len(ranks) < distinct
        assert f"{len(ranks) - 1:,} of {distinct:,} distinct logits are drawn" in drawing.caption
    if (common := audited.findings.logits.mode).n_tokens > 1:
        level = named(drawing, "most common logit")
        assert level.x[1] - level.x[0] + 1 == common.n_tokens
        assert set(level.y) == {common.value}
        assert set(logits[level.x[0] - 1 : level.x[1]]) == {common.value}
    else:
        assert not [trace for trace in traces(drawing) if trace.name.startswith("most common")]
        assert "No two logits are equal." in drawing.alt


@pytest.mark.parametrize("name", ["small", "demo"])
def test_the_cluster_and_the_maximum_are_marked_among_the_ranks(name: str, get: Get) -> None:
    audited = get(name)
    drawing = logit_ranks(audited)
    assert audited.in_cluster is not None
    cluster = named(drawing, "cluster")
    assert cluster.name == f"cluster ({audited.in_cluster.sum()} tokens)"
    assert set(cluster.y) == set(audited.logits[audited.in_cluster])
    said = [int(found(r"^(\d+) tokens? of the cluster", text)) for text in cluster.hovertext]
    assert sum(said) == audited.in_cluster.sum()
    top = named(drawing, "maximum")
    assert top.y[0] == np.nanmax(audited.logits)
    who = np.flatnonzero(audited.logits == top.y[0])
    assert str(who[0]) in top.hovertext[0]
    for drawing in (
        logit_ranks(get("no cluster")),
        logits_by_id(get("no cluster")),
    ):
        assert not [trace for trace in traces(drawing) if trace.name.startswith("cluster")]


def test_logits_by_id_draws_every_token_with_a_logit(audited: Pictured) -> None:
    drawing = logits_by_id(audited)
    *groups, top = traces(drawing)
    finite = np.isfinite(audited.logits)
    assert sum(sum(counted_by(trace)) for trace in groups) == finite.sum()
    assert f"{finite.sum():,} tokens" in drawing.caption
    assert top.x[0] == np.flatnonzero(audited.logits == np.nanmax(audited.logits))[0]
    # Where a mark is one token, it is where that token is.
    for trace in groups:
        for x, y, n in zip(trace.x, trace.y, counted_by(trace), strict=True):
            if n == 1:
                assert np.float32(audited.logits[int(x)]) == y


def test_the_bars_of_the_histogram_sum_to_the_logits_that_are_numbers(audited: Pictured) -> None:
    drawing = logit_histogram(audited)
    every = traces(drawing)[0]
    numbers = audited.logits[np.isfinite(audited.logits)]
    assert sum(every.y) == len(numbers)
    for begin, count in zip(every.x, every.y, strict=True):
        assert ((numbers >= begin) & (numbers < begin + every.width)).sum() == count
    if (common := audited.findings.logits.mode).n_tokens > 1:
        assert sum(named(drawing, "most common logit").y) == common.n_tokens
        (note,) = drawing.figure.layout.annotations
        assert note.text.startswith(f"{common.n_tokens} tokens at ")
        assert note.x == common.value
    if audited.in_cluster is not None:
        assert sum(named(drawing, "cluster").y) == audited.in_cluster.sum()


def test_multiplicities_are_those_of_the_summary(audited: Pictured) -> None:
    drawing = multiplicities(audited)
    held = audited.findings.logits.multiplicity
    assert [number(row[1]) for row in drawing.rows] == list(held.values())
    # A mark of one value is at its count, and those of several are of all values.
    values, counts = np.unique(audited.logits[np.isfinite(audited.logits)], return_counts=True)
    count_of = dict(zip(values.astype(np.float32).tolist(), counts.tolist(), strict=True))
    drawn = 0
    for trace in traces(drawing):
        for x, y, text in zip(trace.x, trace.y, trace.hovertext, strict=True):
            several = re.match(r"([0-9,]+) logits", text)
            drawn += number(several[1]) if several else 1
            assert round(y) == count_of[float(x)]
    assert drawn == len(values) == audited.findings.logits.distinct


def test_logits_that_are_no_finite_numbers_are_counted_and_not_drawn(get: Get) -> None:
    audited = get("no cluster")
    logits = audited.logits.copy()
    logits[[3, 4]] = np.nan
    logits[5] = np.inf
    some = replace(audited, logits=logits)
    for draw in (logit_ranks, logits_by_id, logit_histogram):
        said = draw(some).caption
        assert "2 logits without a number (NaN) and 1 infinite logit" in said
    # The infinite one is first of all.
    assert traces(logit_ranks(some))[0].x[0] == 2


def test_one_distinct_logit_is_one_step_one_bar_one_mark(get: Get) -> None:
    audited = get("no cluster")
    one = replace(
        audited,
        logits=np.full(60, 0.5),
        in_modal_class=np.ones(60, np.bool_),
    )
    ranks, histogram, held = (draw(one) for draw in (logit_ranks, logit_histogram, multiplicities))
    assert traces(ranks)[0].x.tolist() == [1, 60]
    assert traces(histogram)[0].y.tolist() == [60]
    low, high = histogram.figure.layout.xaxis.range
    # One bar is no wall.
    assert high - low > 5 * traces(histogram)[0].width
    assert [len(trace.x) for trace in traces(held)] == [1]


def test_zero_is_one_logit_whatever_its_sign(get: Get) -> None:
    audited = get("no cluster")
    logits = np.array([-0.0, 0.0] * 30)
    drawing = multiplicities(replace(audited, logits=logits))
    (trace,) = traces(drawing)
    assert trace.hovertext.tolist() == ["logit 0.00000000: 60 tokens"]
    lone = multiplicities(replace(audited, logits=np.full(60, -0.0)))
    assert "-0" not in lone.page_json()
