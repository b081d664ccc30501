"""Figures: what they count is what the table holds, and what is in them stays text."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from checkpoints import gaussian
from isologit.claims import ESTIMATED, EXACT, OBSERVED
from isologit.output import figures, palette
from isologit.output.grouping import Grouping, by_training, colourings
from isologit.output.pictured import Pictured
from isologit.table_words import Words
from isologit.tokens.text import visible_token
from output.pictures import (
    Get,
    counted_by,
    every_colouring,
    pictured,
    pictured_matrix,
    read_back,
    texts_of,
    traces,
    untagged,
)

KEYS = [
    *("logit_ranks", "logits_by_id", "logit_histogram", "multiplicities", "norms"),
    *("vocabulary_map", "sphere", "categories_by_class"),
]
# What figures themselves write for plotly to read.
_OURS = re.compile(r"<br>|<extra></extra>|%\{(hovertext|customdata\[[01]\]:\.1f)\}")


def test_every_figure_is_drawn_in_the_order_of_the_report(get: Get) -> None:
    assert [each.key for each in figures.drawings(get("demo"))] == KEYS
    assert figures.left_out(get("demo")) == []
    assert [each.key for each in figures.drawings(get("f32"))] == KEYS[:-1]
    assert figures.left_out(get("f32")) == [
        "Categories by row class is left out: there is no tokenizer."
    ]


def test_every_figure_says_what_it_shows(audited: Pictured) -> None:
    for drawing in figures.drawings(audited):
        assert drawing.title
        of_places = drawing.key in ("vocabulary_map", "sphere")
        assert drawing.claim in ((ESTIMATED,) if of_places else (EXACT, OBSERVED))
        assert re.search(r"\d", drawing.alt), drawing.key
        assert drawing.alt.endswith("."), drawing.key
        assert drawing.caption.endswith((".", "%")), drawing.key
        assert drawing.rows, drawing.key
        assert {len(row) for row in drawing.rows} == {len(drawing.heads)}, drawing.key
        assert all(isinstance(cell, str) for row in drawing.rows for cell in row)
        read_back(drawing)


def made_hostile(audited: Pictured, scripts: bool = True) -> tuple[Pictured, list[bytes]]:
    tokens = [
        *("</script><img src=x onerror=alert(1)>", "<b>bold</b>", "<br>", "&lt;i&gt;", "$x$ $y$"),
        *("<a href='javascript:alert(1)'>x</a>", "a\u202eb\u2066c", "\x00\x1b[31m", "x" * 10_000),
        *("%{customdata}", "<extra>e</extra>", "שלום", "\u2028", "e\u0301\u0301", "\\", '"'),
    ]
    raw = [each.encode() for each in tokens] + [b"\xed\xa0\x80", b"\xff"]
    column: list[bytes | None] = [*raw, None]
    repeated = [column[n % len(column)] for n in range(audited.n_tokens)]
    found = replace(audited, token_bytes=pa.chunked_array([pa.array(repeated, pa.binary())]))
    if scripts and audited.scripts is not None:
        names = tuple(
            f"{text}\u202e%{{x}}</script>" for text in map(str, range(len(audited.scripts.names)))
        )
        found = replace(found, scripts=Words(names, audited.scripts.codes))
    return found, raw


def test_what_tokens_say_stays_text(get: Get) -> None:
    hostile, raw = made_hostile(get("small"))
    shown = set()
    for drawing in figures.drawings(hostile):
        page = drawing.page_json()
        assert not set("<>&\u2028\u2029") & set(page)
        for text in texts_of(drawing):
            rest = re.sub(
                r"<br>|<extra></extra>|%\{(hovertext|customdata\[[01]\]:\.1f)\}", "", text
            )
            assert not set("<>$") & set(rest), text
            assert "%{" not in rest, text
            assert not re.search(r"&(?!amp;|lt;|gt;|#36;|#37;)", rest), text
            assert not [
                c for c in untagged(text) if not c.isprintable() and c not in "\n\u2068\u2069"
            ]
            assert len(text) < 600, text
            shown.add(untagged(text))
        json.loads(page)
    everything = "\n".join(shown).replace("\u2068", "").replace("\u2069", "")
    for each in raw:
        assert visible_token(each, 16) in everything, each


def test_text_from_right_to_left_is_set_apart(get: Get) -> None:
    hostile, _ = made_hostile(get("small"))
    texts = [t for t in texts_of(figures.vocabulary_map(hostile)) if "שלום" in t]
    assert texts
    assert all('\u2068"שלום"\u2069' in text for text in texts)


def test_alternative_texts_captions_and_numbers_hold_no_token(get: Get) -> None:
    # A page escapes them, and no token has to be in them.
    hostile, _ = made_hostile(get("small"), scripts=False)
    plain = {each.key: each for each in figures.drawings(get("small"))}
    for drawing in figures.drawings(hostile):
        own = plain[drawing.key]
        assert (drawing.alt, drawing.caption) == (own.alt, own.caption)
        assert drawing.rows == own.rows


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        pytest.param(np.ones((1, 4)), "bf16", id="one token"),
        pytest.param(np.array([[1.0, 2, 3], [3, 2, 1]]), "f32", id="two tokens"),
        pytest.param(np.ones((20, 6)), "bf16", id="all rows equal"),
        pytest.param(np.zeros((9, 5)), "f16", id="zero rows"),
        pytest.param(np.full((8, 4), np.nan), "bf16", id="no row a number"),
        pytest.param(gaussian(30, 2, seed=5), "bf16", id="two dimensions"),
        pytest.param(gaussian(30, 1, seed=5), "bf16", id="one dimension"),
        pytest.param(gaussian(40, 6, seed=6) * 1e38, "bf16", id="the largest numbers"),
        pytest.param(gaussian(40, 6, seed=6) * 1e-40, "f32", id="the smallest numbers"),
        pytest.param(
            np.vstack([gaussian(30, 6, seed=7), np.full((2, 6), np.inf), np.full((2, 6), -np.inf)]),
            "bf16",
            id="infinite rows",
        ),
    ],
)
def test_whatever_the_rows_are_figures_are_drawn_or_left_out_with_a_reason(
    values: Any, dtype: str, tmp_path: Path
) -> None:
    audited = pictured_matrix(tmp_path / "m", values, dtype)
    drawn, left_out = figures.drawings(audited), figures.left_out(audited)
    by_key = {each.key: each for each in drawn}
    for drawing in drawn:
        read_back(drawing)
        assert "nan" not in drawing.alt.lower()
        assert {len(row) for row in drawing.rows} == {len(drawing.heads)}
    finite = np.isfinite(audited.logits)
    assert ("logit_ranks" in by_key) == finite.any()
    if finite.any():
        assert sum(traces(by_key["logit_histogram"])[0].y) == finite.sum()
    without = {"logit_ranks": "figures of logits", "norms": "histogram of norms"}
    without |= {"vocabulary_map": "vocabulary map", "categories_by_class": "Categories"}
    for key, words in without.items():
        assert (key in by_key) != any(words in sentence for sentence in left_out), key
    assert all(sentence.endswith(".") for sentence in left_out)


@pytest.mark.parametrize("key", KEYS)
def test_a_figure_that_cannot_be_drawn_says_why(key: str, get: Get) -> None:
    audited = get("no cluster")
    nothing = np.full(audited.n_tokens, np.nan)
    bare = replace(audited, logits=nothing, norms=nothing, places=None, places_facts=None)
    with pytest.raises(ValueError, match=r"finite number|audit the model again|no tokenizer"):
        getattr(figures, key)(bare)


# ---- Colours


def luminance(colour: str) -> float:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


COLOURS = {
    *(palette.CLUSTER, palette.MODAL, palette.REST, palette.SHARED),
    *palette.FEW,
    *palette.SCALE,
}


@pytest.mark.parametrize("ground", ["#ffffff", "#e5ecf6", "#16181d", "#000000"])
def test_every_colour_reads_on_a_light_ground_and_on_a_dark_one(ground: str) -> None:
    # White, plotly's own, near-black and black: 3 to 1 is what graphics need (WCAG 2, 1.4.11).
    assert {each for each in COLOURS if contrast(each, ground) < 3} == set()


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_groups_of_a_picture_differ_in_colour_and_in_symbol(audited: Pictured) -> None:
    groupings: list[Grouping] = [*colourings(audited), by_training(audited)]
    for each in groupings:
        looks = [(group.colour, group.symbol) for group in each.groups]
        assert len({symbol for _, symbol in looks}) == len(looks), each.title
        accents = [colour for colour, _ in looks if colour != palette.CLUSTER]
        assert len(set(accents)) == len(accents) or each.title == "script", each.title
        assert {group.colour for group in each.groups} <= COLOURS
        assert sum(each.sizes) == audited.n_tokens
        assert 0 not in each.sizes


def test_accents_are_the_same_in_every_figure(get: Get) -> None:
    used: dict[str, set[str]] = {"cluster": set(), "most common logit": set()}
    for drawing in figures.drawings(get("small")):
        for trace in drawing.figure.data:
            for name, colours in used.items():
                if trace.name is not None and trace.name.startswith(name):
                    colours.add(trace.marker.color)
    assert used == {"cluster": {palette.CLUSTER}, "most common logit": {palette.MODAL}}


def test_figures_have_no_colours_of_ground_and_text(get: Get) -> None:
    for drawing in figures.drawings(get("small")):
        layout = drawing.figure.to_dict()["layout"]
        layout.pop("template")
        # These bring their own ground and their own text.
        layout.pop("updatemenus", None)
        label = layout.pop("hoverlabel")
        assert contrast(label["bgcolor"], label["font"]["color"]) > 7
        written = json.dumps(layout, default=str)
        for name in ("paper_bgcolor", "plot_bgcolor", "gridcolor", "tickcolor", "bgcolor"):
            assert name not in written, (drawing.key, name)
        assert '"font": {"color' not in written
        bare = read_back(drawing)["layout"]
        assert "template" not in bare
        assert bare["paper_bgcolor"] == bare["plot_bgcolor"] == "rgba(0,0,0,0)"


def test_figures_are_drawn_without_webgl(get: Get) -> None:
    kinds = {trace.type for each in figures.drawings(get("demo")) for trace in each.figure.data}
    assert kinds == {"scatter", "bar"}


def test_the_same_audit_gives_the_same_figures(get: Get) -> None:
    once, again = (figures.drawings(get("small")) for _ in range(2))
    assert [each.page_json() for each in once] == [each.page_json() for each in again]


def test_a_notebook_shows_the_figure_under_its_title_and_says_what_it_shows(
    get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plotly.io

    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")
    drawing = figures.logit_ranks(get("small"))
    bundle = drawing._repr_mimebundle_(include=None, exclude=None)
    assert bundle.pop("text/plain") == f"{drawing.title}. {drawing.alt}"
    (shown,) = bundle.values()
    assert shown["layout"]["title"]["text"] == drawing.title
    assert shown["layout"]["height"] > drawing.figure.layout.height
    # The page's own has none: there the heading stands above.
    assert drawing.figure.layout.title.text is None
    assert repr(drawing) == f"<Drawing logit_ranks: {drawing.alt}>"


def test_real_checkpoints_are_drawn_in_full(shared: Path) -> None:
    for name in ("llama2xs-hf-bf16", "llama2xs-hf-f32", "rwkv-4v0-660K-fp16"):
        audited = pictured(shared / "checkpoints" / name)
        drawn = figures.drawings(audited)
        assert [each.key for each in drawn] == KEYS[: 7 if name.startswith("rwkv") else 8]
        assert sum(traces(drawn[2])[0].y) == audited.n_tokens
        for shown in every_colouring(drawn[5]):
            assert sum(sum(counted_by(trace)) for trace in shown) == audited.n_tokens
