"""What a Python user holds of an audit: the same, fresh or read back; and what a notebook shows."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tokenizers import AddedToken

import isologit
from checkpoints import cluster_tensors, gaussian, write_cluster, write_llama, write_matrix
from cli.command import isologit as command
from isologit import AuditResult, IsologitError, Members, Pole, Settings
from isologit.errors import OutputExistsError, ResultsError
from isologit.output.drawing import Drawing
from isologit.output.pictured import Pictured
from isologit.output.result_html import result_html
from tokens.small_tokenizers import byte_level, save

HOSTILE = "</td><script>\u202e"
FILES = {
    *("summary.json", "tokens.parquet", "classes.parquet"),
    *("cluster_members.safetensors", "cluster_logits.safetensors"),
}
# Which plotly draws for each element of a page.
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with two row classes, one of them of a token with hostile text, and padding."""
    rows = gaussian(300, 16, seed=5)
    rows[[257, 258, 259]] = rows[256]
    rows[1] = rows[0]
    path = write_llama(tmp_path_factory.mktemp("result") / "<b>\u202em", rows)
    more = [AddedToken(text, special=True) for text in (HOSTILE, "<b>", "plain")]
    return save(byte_level(added=more), path)


@pytest.fixture(scope="module")
def fresh(model: Path) -> AuditResult:
    return AuditResult.of(model, members=Members([256, 257, 258, 259], "a test"))


@pytest.fixture(scope="module")
def directory(fresh: AuditResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "out"
    fresh.save(path, report=False)
    return path


class Page(HTMLParser):
    """The elements and the text of a piece of HTML; every element has to be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.text = ""
        self._opened: list[str] = []
        self.feed(html)
        self.close()
        assert self._opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; the only attributes are those of tables."""
        assert {name for name, _ in attrs} <= {"style", "scope"}
        self._opened.append(tag)
        self.elements.add(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self._opened.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += f"{data} "


class TestReadBack:
    """What was saved is what was found."""

    def test_its_findings_and_its_whole_table_are_the_same(
        self, fresh: AuditResult, directory: Path
    ) -> None:
        back = AuditResult.read(directory)
        assert back.findings == fresh.findings
        assert back.tokens.schema.equals(fresh.tokens.schema)
        # As text, in which one NaN is like another.
        assert str(back.tokens.to_pydict()) == str(fresh.tokens.to_pydict())
        assert back.tokens.schema.metadata == fresh.tokens.schema.metadata
        assert "evidence_why" in back.tokens.column_names

    def test_its_figures_are_the_same(self, fresh: AuditResult, directory: Path) -> None:
        back = AuditResult.read(str(directory))
        assert list(back.figures) == list(fresh.figures)
        for key, drawing in fresh.figures.items():
            other = back.figures[key]
            assert other.figure.to_json() == drawing.figure.to_json()
            for name in ("title", "claim", "alt", "caption", "heads", "rows"):
                assert getattr(other, name) == getattr(drawing, name)

    def test_saving_it_elsewhere_copies_the_files(self, directory: Path, tmp_path: Path) -> None:
        held = tmp_path / "held"
        AuditResult.read(directory).save(held, report=True)
        (held / "notes.txt").write_text("not isologit's")
        paths = AuditResult.read(held).save(tmp_path / "copy", report=False)
        assert {path.name for path in paths} == FILES
        for path in paths:
            assert path.read_bytes() == (directory / path.name).read_bytes()

    def test_what_is_no_audit_is_refused(self, directory: Path, tmp_path: Path) -> None:
        with pytest.raises(ResultsError):
            AuditResult.read(tmp_path)
        AuditResult.read(directory).save(tmp_path / "gone", report=False)
        back = AuditResult.read(tmp_path / "gone")
        (tmp_path / "gone").rename(tmp_path / "elsewhere")
        with pytest.raises(ResultsError, match="gone cannot be read"):
            back.save(tmp_path / "again")


class TestFiles:
    """The same files as the command writes."""

    def test_they_are_those_of_the_command(
        self, model: Path, fresh: AuditResult, directory: Path, tmp_path: Path
    ) -> None:
        ids = tmp_path / "ids.json"
        ids.write_text(json.dumps([256, 257, 258, 259]))
        assert command("audit", model, "--members", ids, "-o", tmp_path / "out").code == 0
        assert {path.name for path in directory.iterdir()} == FILES
        assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"report.html"}
        for name in FILES - {"summary.json"}:
            assert (tmp_path / "out" / name).read_bytes() == (directory / name).read_bytes()
        # Where the cluster is from is told apart, and nothing else.
        ours, theirs = (
            json.loads((each / "summary.json").read_text())
            for each in (directory, tmp_path / "out")
        )
        assert ours["cluster"].pop("why") == "given by a test"
        assert theirs["cluster"].pop("why") == f"given by {ids}"
        assert ours == theirs

    @pytest.mark.parametrize("read", [False, True])
    def test_a_report_is_the_page_that_the_directory_gets(
        self, read: bool, fresh: AuditResult, directory: Path, tmp_path: Path
    ) -> None:
        result = AuditResult.read(directory) if read else fresh
        result.save(tmp_path / "out")
        page = result.report(tmp_path / "page.html")
        assert page == tmp_path / "page.html"
        pages = (path.read_text() for path in (page, tmp_path / "out" / "report.html"))
        assert len({_UUID.sub("", text) for text in pages}) == 1

    @pytest.mark.parametrize("read", [False, True])
    def test_nothing_is_replaced_unasked(
        self, read: bool, fresh: AuditResult, directory: Path, tmp_path: Path
    ) -> None:
        result = AuditResult.read(directory) if read else fresh
        result.save(tmp_path / "out", report=False)
        with pytest.raises(OutputExistsError):
            result.save(tmp_path / "out")
        result.save(tmp_path / "out", force=True)
        assert (tmp_path / "out" / "report.html").is_file()
        with pytest.raises(OutputExistsError):
            result.report(tmp_path / "out" / "report.html")
        result.report(tmp_path / "out" / "report.html", force=True)


class TestOptions:
    """What is asked for reaches the audit."""

    def test_a_cluster_may_come_from_a_file(self, model: Path, tmp_path: Path) -> None:
        file = write_cluster(tmp_path / "1.4a.safetensors", cluster_tensors([0, 1], 300))
        for given in (file, str(file)):
            cluster = AuditResult.of(str(model), members=given).findings.cluster
            assert cluster is not None
            assert cluster.token_ids == [0, 1]

    def test_a_pole_settings_a_reachable_state_and_progress_do_too(self, model: Path) -> None:
        steps: list[str] = []
        findings = AuditResult.of(
            model,
            Settings(role="input"),
            pole=Pole(10.0, 20.0),
            reachable=True,
            progress=steps.append,
        ).findings
        assert findings.reference.kind == "pole"
        assert findings.matrix.role == "input"
        assert findings.state.rescaled_from is not None
        assert "principal axes" in steps

    def test_what_cannot_be_audited_is_an_error_of_isologits(self, tmp_path: Path) -> None:
        with pytest.raises(IsologitError):
            AuditResult.of(tmp_path / "nothing")


class TestFigures:
    """By name, as attributes and as keys."""

    def test_a_figure_is_had_by_its_name(self, fresh: AuditResult) -> None:
        figures = fresh.figures
        assert len(figures) == len(list(figures)) > 0
        for key in figures:
            assert figures[key] is getattr(figures, key)
            assert figures[key].key == key
            assert key in dir(figures)
            assert f"<code>{key}</code>" in figures._repr_html_()
            assert key in repr(figures)

    def test_what_is_not_there_is_said_with_what_is(self, fresh: AuditResult) -> None:
        with pytest.raises(AttributeError, match=r"no figure 'nonsense'; it has logit_ranks"):
            _ = fresh.figures.nonsense
        with pytest.raises(KeyError, match=r"no figure 'nonsense'; it has logit_ranks"):
            fresh.figures["nonsense"]
        assert "nonsense" not in fresh.figures
        assert not hasattr(fresh.figures, "_nonsense")

    def test_why_one_is_left_out_is_said(self, tmp_path: Path) -> None:
        figures = AuditResult.of(write_matrix(tmp_path / "m", gaussian(40, 8))).figures
        assert "categories_by_class" not in figures
        with pytest.raises(AttributeError, match=r"Categories by row class is left out: .*tokeni"):
            _ = figures.categories_by_class
        assert "Categories by row class is left out" in figures._repr_html_()

    def test_none_is_made_before_one_is_asked_for(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Pictured] = []

        def drawings(audit: Pictured) -> list[Drawing]:
            asked.append(audit)
            return []

        monkeypatch.setattr("isologit.output.figures.drawings", drawings)
        figures = AuditResult.read(directory).figures
        # As a notebook asks, of whatever it is to show.
        assert not hasattr(figures, "_repr_png_")
        assert not asked
        assert len(figures) == len(figures) == 0
        assert len(asked) == 1


class TestShown:
    """In a notebook."""

    def test_it_says_what_was_found_in_a_few_figures(self, fresh: AuditResult) -> None:
        page = Page(fresh._repr_html_())
        assert "6 tokens of 300 share their row with another token" in page.text
        assert repr(fresh).startswith("<AuditResult of <b>\\u202em: 6 tokens of 300 share")
        assert "row classes [exact]" in page.text
        assert "2 classes of two tokens or more, 6 tokens in all; 296 distinct rows" in page.text
        assert "[256, 257, 258, 259]" in page.text
        assert "41 padding rows" in page.text

    def test_text_from_the_files_stays_text(self, fresh: AuditResult) -> None:
        page = Page(fresh._repr_html_())
        assert page.elements <= {
            *("div", "p", "b", "code", "details", "summary", "ul", "li"),
            *("table", "caption", "thead", "tbody", "tr", "th", "td"),
        }
        assert "<script>" in page.text
        assert page.text.isprintable()
        assert "<b>\\u202em" in page.text

    def test_it_runs_nothing_loads_nothing_and_has_no_colours(self, fresh: AuditResult) -> None:
        html = fresh._repr_html_().replace("&lt;script&gt;", "")
        for word in ("script", "color", "background", "http", "src", "<style", " id="):
            assert word not in html

    def test_what_is_missing_is_not_shown(self, tmp_path: Path) -> None:
        rows = gaussian(40, 8)
        rows[3, 2] = np.nan
        result = AuditResult.of(write_matrix(tmp_path / "m", rows))
        page = Page(result._repr_html_())
        assert "none stands out" in page.text
        assert "mean of all rows" in page.text
        assert "tokenizer" not in page.text.partition("note")[0]
        assert "The largest row classes" not in page.text
        assert "without a number (NaN)" in page.text

    def test_a_summary_that_says_less_is_shown_as_far_as_it_goes(self, fresh: AuditResult) -> None:
        assert fresh.findings.tokens is not None
        tokens = replace(fresh.findings.tokens, classes=[], evidence=None)
        html = result_html(replace(fresh.findings, claims={}, tokens=tokens))
        assert "[exact]" not in Page(html).text
        assert "[256, 257, 258, 259]" in Page(html).text

    def test_of_many_classes_the_largest_are_shown_and_the_rest_counted(
        self, tmp_path: Path
    ) -> None:
        rows = np.repeat(gaussian(7, 8), 2, axis=0)
        page = Page(AuditResult.of(write_matrix(tmp_path / "m", rows))._repr_html_())
        assert "… and 2 more classes" in page.text


def test_the_package_says_its_names_and_no_others() -> None:
    assert dir(isologit) == sorted(isologit.__all__)
    assert isologit.AuditResult is AuditResult
