"""The page of an audit: what stands where, what is text for good, and what it is made again of."""

import base64
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from checkpoints import gaussian, write_matrix
from cli.command import isologit
from isologit.audit_tables import AuditTables, read_audit
from isologit.claims import ESTIMATED
from isologit.demo import checkpoint_path
from isologit.errors import IsologitError, ResultsError
from isologit.output import citation, embedded, report
from isologit.output.drawing import Drawing
from isologit.output.pictured import Pictured
from isologit.output.report_classes import FIRST, ClassCards, Tokens
from isologit.output.sentences import FORMAT_NAMES
from report_pages import HOSTILE, PADDING, Element, hostile_audit, parsed

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = Path(report.__file__).parent / "templates"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_audit(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    assert isologit("audit", checkpoint_path(), "-o", out, "-q").code == 0
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without classes, a cluster or a tokenizer."""
    folder = tmp_path_factory.mktemp("plain")
    model = write_matrix(folder / "m", gaussian(60, 6, seed=3), "f32")
    assert isologit("audit", model, "-o", folder / "out", "-q").code == 0
    return folder / "out"


def html(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(params=["hostile", "demo", "plain"])
def page(request: pytest.FixtureRequest) -> Element:
    """Each page in turn."""
    return parsed(html(request.getfixturevalue(request.param)))


def drawing(**changed: Any) -> Drawing:
    return Drawing(
        **{
            "key": "made_up",
            "title": "Made up <i>",
            "claim": "exact",
            "figure": go.Figure(
                go.Scatter(y=np.array([1, np.nan]), text=["</script>", "\u2028\udcff"])
            ),
            "alt": 'Two points, "one" missing',
            "caption": "See <b>",
            "heads": ("name", "n"),
            "rows": (("<tr>", "1"),),
            **changed,
        }
    )


# What stands where


def test_headings_go_down_one_level_at_a_time(page: Element) -> None:
    levels = [int(each.name[1]) for each in page.every("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(b - a for a, b in itertools.pairwise(levels)) == 1
    assert all(each.text.strip() for each in page.every("h1", "h2", "h3"))


def test_a_link_leads_to_a_place_in_the_page_and_an_id_is_one_place(page: Element) -> None:
    ids = [each.attributes["id"] for each in page.every() if "id" in each.attributes]
    assert len(set(ids)) == len(ids)
    links = [each.attributes["href"] for each in page.every("a")]
    assert len(links) > 10
    assert {link.removeprefix("#") for link in links} <= set(ids)
    named = [each.attributes.get("aria-labelledby") for each in page.every("section", "article")]
    assert set(named) <= set(ids)


def test_a_table_has_a_caption_and_a_head_for_each_column_and_row(page: Element) -> None:
    tables = list(page.every("table"))
    assert len(tables) >= 4
    for table in tables:
        (caption,) = table.every("caption")
        assert caption.text
        head, *rows = table.every("tr")
        assert {cell.attributes["scope"] for cell in head.every("th")} == {"col"}
        assert rows
        for row in rows:
            assert len(list(row.every("th", "td"))) == len(list(head.every("th")))
            assert [cell.attributes["scope"] for cell in row.every("th")] == ["row"]


def test_the_language_is_said_and_who_tabs_can_skip_to_the_verdict(page: Element) -> None:
    (root,) = page.every("html")
    assert root.attributes["lang"] == "en"
    first = next(page.every("a", "button", "input"))
    assert (first.attributes["href"], first.attributes["class"]) == ("#verdict", "skip")
    assert len(list(page.every("main"))) == 1


def test_a_field_has_a_label(demo: Path) -> None:
    form = parsed(html(demo)).one("filter")
    fields = list(form.every("input", "select"))
    assert len(fields) == 2
    assert [list(label.every("input", "select")) for label in form.every("label")] == [
        [each] for each in fields
    ]
    assert form.one("filter-count").attributes["aria-live"] == "polite"


def test_the_first_screen_has_the_model_a_verdict_five_numbers_and_what_to_do(
    demo: Path,
) -> None:
    found = json.loads((demo / "summary.json").read_text())
    page = parsed(html(demo))
    (name,) = page.every("h1")
    assert name.text == found["model"]["name"]
    verdict = page.one("verdict")
    assert "882 of its 4,096 tokens" in page.one("verdict-h").text
    assert [each.text for each in verdict.every("dd")] == ["882", "36", "888", "16", "172"]
    claims = [each.text for each in verdict.every("span") if _class(each) == "claim"]
    assert claims == ["exact", "exact", "observed", "observed", "observed"]
    commands = [each.text for each in verdict.every("code")]
    assert [command.split()[:2] for command in commands] == [
        ["isologit", name] for name in ("export", "tokens", "tokens", "check")
    ]
    assert str(checkpoint_path()) in commands[0]
    assert f"--class {found['rows']['largest'][0]['label']}" in commands[1]


def test_every_row_class_is_there_with_its_tokens(demo: Path) -> None:
    found = json.loads((demo / "summary.json").read_text())
    cards = list(parsed(html(demo)).one("classes").every("article"))
    assert len(cards) == found["rows"]["classes"]
    for card, group in zip(cards, found["rows"]["largest"], strict=False):
        ids = [int(each.text) for each in card.every("span") if _class(each) == "id"]
        assert ids == group["token_ids"]
        assert f"class {group['label']}" in card.text
    # The first tokens are seen at once, the others behind "more".
    (more,) = cards[0].every("details")
    assert len(list(more.every("li"))) == found["rows"]["sizes"][0] - FIRST


def test_a_class_is_the_mix_that_the_summary_says(demo: Path) -> None:
    audit = read_audit(demo)
    tokens = audit.findings.tokens
    assert tokens is not None
    cards = Tokens(Pictured.of(audit)).classes().cards
    for card, facts in zip(cards, tokens.classes, strict=False):
        assert {part.name: part.n_tokens for part in card.tokens.mix} == facts.mix


def classes_of(sizes: list[int]) -> ClassCards:
    """Return what a page has of classes of so many tokens."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pictured = object.__new__(Pictured)
    for name in Pictured.__dataclass_fields__:
        object.__setattr__(pictured, name, None)
    object.__setattr__(pictured, "row_classes", labels)
    object.__setattr__(pictured, "row_class_sizes", np.array(sizes)[labels])
    return Tokens(pictured).classes()


def test_of_very_many_classes_and_tokens_the_rest_is_counted() -> None:
    many = classes_of([1_200, *[2] * 150])
    assert [card.tokens.hidden for card in many.cards] == [200, *[0] * 99]
    assert (many.hidden_classes, many.hidden_tokens) == (51, 102)
    assert many.listed_tokens == 1_000 + 2 * 99
    large = classes_of([1_000] * 12)
    assert large.listed_tokens == 8_000 + 4 * FIRST
    assert [card.tokens.hidden for card in large.cards] == [0] * 8 + [1_000 - FIRST] * 4


def test_without_a_class_the_page_says_what_that_means(plain: Path) -> None:
    page = parsed(html(plain))
    assert "There is no class of two tokens or more" in page.one("rows").text
    assert not list(page.one("rows").every("article", "form", "table"))
    assert "no tokenizer" in page.one("tokens").text
    assert "None: no group of distinct rows stands out" in page.one("cluster").text


def test_what_is_said_carries_the_kind_of_claim_it_is(demo: Path) -> None:
    found = json.loads((demo / "summary.json").read_text())["claims"]
    page = parsed(html(demo))
    for section, claim in [
        ("rows", "rows"),
        ("cluster", "cluster"),
        ("state", "logits"),
        ("ties", "ties"),
        ("greedy", "greedy"),
        ("tokens", "tokens"),
    ]:
        badges = [each.text for each in page.one(f"{section}-h").every("span")]
        assert badges == [found[claim]]
    for figure in page.every("figure"):
        (head,) = figure.every("h3")
        assert next(each.text for each in head.every("span")) in {*found.values(), ESTIMATED}


def test_a_figure_has_its_words_beside_it(demo: Path) -> None:
    audit = Pictured.of(read_audit(demo))
    page = parsed(report.page(audit, [drawing(), drawing(key="two", rows=())], ["No map: why"]))
    figures = page.one("figures")
    one, two = figures.every("figure")
    (plot,) = [each for each in one.every("div") if _class(each) == "plot"]
    assert (plot.attributes["role"], plot.attributes["data-figure"]) == ("img", "made_up")
    assert plot.attributes["aria-label"] == 'Two points, "one" missing'
    assert "See <b>" in one.text
    (table,) = one.every("table")
    assert [cell.text for cell in table.every("td", "th")] == ["name", "n", "<tr>", "1"]
    assert not list(two.every("details"))
    assert "No map: why" in figures.text
    data = json.loads(one.one("data-made_up").text)
    assert data["data"][0]["text"] == ["</script>", "\u2028\udcff"]
    assert data["data"][0]["y"]["dtype"] == "f8"


def test_the_hashes_the_versions_and_the_command_are_there(demo: Path) -> None:
    audit = read_audit(demo)
    method = parsed(html(demo)).one("method").text
    for text in (
        audit.findings.matrix.sha256,
        audit.findings.state.sha256,
        f"isologit {audit.findings.isologit}",
        "plotly.js ",
        report.FORMAT,
        f"isologit audit {checkpoint_path()} -o DIR",
        citation.plain(audit.findings.isologit),
        citation.bibtex(audit.findings.isologit),
    ):
        assert text in method


def test_it_is_cited_as_the_repository_says() -> None:
    cff = (ROOT / "CITATION.cff").read_text()
    version = re.search(r"^version: (.+)$", cff, re.MULTILINE)
    assert version is not None
    assert f'title: "{citation.TITLE}"' in cff
    assert f"name: {citation.AUTHORS}" in cff
    from isologit import __version__

    assert version[1] == __version__


# What it may load and run


def test_the_policy_names_the_two_scripts_and_allows_nothing_from_elsewhere(page: Element) -> None:
    (head,) = page.every("head")
    metas = [each.attributes for each in head.every("meta")]
    assert metas[1]["http-equiv"] == "Content-Security-Policy"
    policy = dict(each.split(" ", 1) for each in metas[1]["content"].split("; "))
    scripts = [each for each in page.every("script") if not each.attributes]
    assert len(scripts) == 2
    hashes = [base64.b64encode(hashlib.sha256(s.text.encode()).digest()).decode() for s in scripts]
    assert policy == {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{each}'" for each in hashes),
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert {"name": "referrer", "content": "no-referrer"} in metas


def test_nothing_is_loaded_and_nothing_but_the_scripts_runs(page: Element) -> None:
    for each in page.every():
        assert not any(name.startswith("on") for name in each.attributes), each
        assert each.name not in {"iframe", "object", "embed", "base", "img", "video", "audio"}
        for name in ("src", "srcset", "action", "data", "poster"):
            assert name not in each.attributes
        if each.name == "link":
            assert each.attributes["href"] == "data:,"
        if each.name == "script" and each.attributes:
            assert each.attributes["type"] == "application/json"
        assert "url(" not in each.attributes.get("style", "")
    styles = [each.text for each in page.every("style")]
    assert not any("url(" in style or "@import" in style for style in styles)


def test_a_script_s_end_and_a_comment_are_not_taken_for_markup() -> None:
    assert (
        embedded.script("a='</script>'//<!--\r\n</SCRIPT") == "a='<\\/script>'//<\\!--\n<\\/SCRIPT"
    )
    assert embedded.data({"a": "</script>\u2028<!--"}) == '{"a":"\\u003c/script>\\u2028\\u003c!--"}'


def test_hostile_tokens_stay_text(hostile: Path, demo: Path) -> None:
    page, other = parsed(html(hostile)), parsed(html(demo))
    assert {each.name for each in page.every()} <= {each.name for each in other.every()}
    chips = [each.text for each in page.one("classes").every("bdi")]
    for text in HOSTILE[:8]:
        # As in JSON: the quotes are part of what is shown.
        shown = '"' + text[:24].replace('"', '\\"')
        assert any(chip.startswith(shown) for chip in chips), text
    assert '"\\u202eabc\\u202c\\u2066"' in chips
    assert chips.count("no token") == PADDING
    for character in "\u202e\u2066\u2028\x00\x1b":
        assert character not in html(hostile)
    (title,) = page.every("title")
    assert title.text.startswith("<b>m&m")


def test_a_name_that_no_text_can_hold_is_escaped(demo: Path) -> None:
    audit = read_audit(demo)
    model = msgspec.structs.replace(audit.findings.model, name="\udcff\u202e", spec="\udcff")
    findings = msgspec.structs.replace(audit.findings, model=model)
    page = parsed(report.page(Pictured.of(AuditTables(findings, audit.tokens)), [], []))
    assert next(page.every("h1")).text == "\\udcff\\u202e"
    assert "isologit audit MODEL -o DIR" in page.one("method").text


# What is seen


def test_text_is_told_from_its_ground_in_both_themes() -> None:
    css = (TEMPLATES / "theme.css").read_text() + (TEMPLATES / "report.css").read_text()
    named = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", css)
    assert len(named) == css.count("light-dark(")
    # No colour is said elsewhere.
    assert len(re.findall(r"#[0-9a-f]{6}\b", css)) == 2 * len(named)
    for theme in (0, 1):
        colours = {name: _luminance(both[theme]) for name, *both in named}
        for ground in ("ground", "surface"):
            for text in ("ink", "muted", "accent"):
                assert _contrast(colours[text], colours[ground]) >= 4.5, (theme, text, ground)
        # Of what is no text WCAG asks for 3.
        for mark in ("edge", "warm", "cx", *(f"c{n}" for n in range(7))):
            assert _contrast(colours[mark], colours["ground"]) >= 3, (theme, mark)


def _contrast(a: float, b: float) -> float:
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def _luminance(colour: str) -> float:
    """Return a colour's relative luminance, as WCAG 2.2 defines it."""
    parts = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


# What it is made again of


def test_the_page_made_again_is_the_page(demo: Path) -> None:
    assert report.report_html(read_audit(demo)) == html(demo)


def test_the_table_of_an_earlier_version_will_do(demo: Path, tmp_path: Path) -> None:
    shutil.copy(demo / "summary.json", tmp_path)
    table = pq.read_table(demo / "tokens.parquet").drop_columns(["pc1", "pc2", "pc3"])
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "tokens.parquet")
    page = parsed(report.report_html(read_audit(tmp_path)))
    assert page.one("verdict-h").text == parsed(html(demo)).one("verdict-h").text


@pytest.fixture(scope="module")
def fast() -> Iterator[None]:
    """Pages without plotly.js, which is most of what a page takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isologit.output.page._scripts", lambda: ("", ""))
        yield


def mutations(value: Any) -> list[Any]:
    """Return values of the same type, or none, that a summary could hold instead."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [-1, 0, 2**40]
    if isinstance(value, float):
        return ["nan", "-inf", 1e300]
    if isinstance(value, str):
        return ["", "<script>alert(1)</script>\u202e\n"]
    if isinstance(value, list):
        return [[], value[:-1], None]
    if isinstance(value, dict):
        return [{}, None, *({k: v for k, v in value.items() if k != gone} for gone in value)]
    return [{}, [], 0, "x"]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place of a document; of a list the last item stands for all."""
    if at:
        yield at
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*at, key))
    elif isinstance(value, list) and value:
        yield from places(value[-1], (*at, len(value) - 1))


def test_whatever_passes_the_checks_makes_a_page(hostile: Path, tmp_path: Path, fast: None) -> None:
    shutil.copy(hostile / "tokens.parquet", tmp_path)
    original = (hostile / "summary.json").read_text()
    passed = refused = 0
    for at in places(json.loads(original)):
        found = json.loads(original)
        parent = found
        for key in at[:-1]:
            parent = parent[key]
        for other in mutations(parent[at[-1]]):
            parent[at[-1]] = other
            (tmp_path / "summary.json").write_text(json.dumps(found))
            try:
                audit = Pictured.of(read_audit(tmp_path))
            except IsologitError:
                refused += 1
                continue
            passed += 1
            made = report.page(audit, [], [])
            assert "<script>alert" not in made, at
            assert "\u202e" not in made, at
    assert passed > 200
    assert refused > 200


def with_numbers(hostile: Path, tmp_path: Path, value: float) -> Path:
    """Return a directory whose table has this number wherever pages show one."""
    shutil.copy(hostile / "summary.json", tmp_path)
    table = pq.read_table(hostile / "tokens.parquet")
    for name in ("norm", "logit", "cosine", "pc1", "pc2", "pc3"):
        at = table.column_names.index(name)
        kind = table.schema.field(name).type
        with np.errstate(over="ignore"):
            column = pa.array(np.full(len(table), value).astype(kind.to_pandas_dtype()))
        table = table.set_column(at, name, column)
    pq.write_table(table, tmp_path / "tokens.parquet")
    return tmp_path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e38, -0.0])
def test_numbers_of_the_table_that_are_none_make_a_page(
    hostile: Path, tmp_path: Path, fast: None, value: float
) -> None:
    directory = with_numbers(hostile, tmp_path, value)
    with pytest.raises(ResultsError, match="as the table has it"):
        read_audit(directory)
    # Nor would a page fail on them: an audit of such rows has them too.
    table = pq.read_table(directory / "tokens.parquet")
    assert report.report_html(AuditTables(read_audit(hostile).findings, table))


def test_numbers_that_no_format_has_are_refused(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="a norm that no format has"):
        read_audit(with_numbers(hostile, tmp_path, 1e300))


def test_every_format_has_a_name() -> None:
    from isologit.numerics.formats import FORMATS

    assert FORMAT_NAMES.keys() == {each.name for each in FORMATS}


def _class(element: Element) -> str:
    return element.attributes.get("class", "")
