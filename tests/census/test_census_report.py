"""The page of a census: sentences and figures are counted from the rows, text stays text."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from census.many_models import begin, finished, write_corrupt, write_models
from checkpoints import gaussian, write_llama
from isologit.census import figures as drawn
from isologit.census.dataset import Dataset
from isologit.census.figures import by_model
from isologit.census.outcome import done, failed
from isologit.census.report import census_html
from isologit.census.table import Models
from isologit.errors import ResultsError
from isologit.output import page
from report_pages import HOSTILE, Element, parsed

SETTINGS = {
    "role": "output",
    "tensor": None,
    "dtype": None,
    "tokenizer": None,
    "analyses": ["gap"],
    "within_nats": 1.0,
}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without plotly.js, which is most of what a page takes."""
    monkeypatch.setattr(page, "_scripts", lambda: ("", ""))


def census_of(folder: Path, *rows: tuple[str, dict[str, Any]]) -> Dataset:
    """Return a census of models with these figures; the others are null."""
    dataset = Dataset(folder, SETTINGS)
    for model, figures in rows:
        whole = {"vocabulary": 100, "width": 8, "dtype": "bf16", **figures}
        version = str(figures.pop("commit", "v"))
        dataset.keep(done(model, whole, commit=version, tensor="W", classes=b"", tokens=b""))
    dataset.fold()
    return dataset


def page_of(dataset: Dataset) -> Element:
    return parsed(census_html(dataset))


def words(element: Element) -> str:
    return " ".join(element.text.split())


def test_the_first_screen_says_what_there_is(tmp_path: Path) -> None:
    dataset = census_of(
        tmp_path / "out",
        ("/m/a", {"redundant_rows": 0, "padding": 4, "gap_tokens": 7, "gap_within_nats": 1.0}),
        ("/m/b", {"redundant_rows": 30, "padding": 4, "vocabulary": 200}),
        ("/m/c", {"redundant_rows": 20, "padding": 4}),
    )
    dataset.keep(failed("/m/d", "ConfigError", "no", commit="v", tensor=""))
    dataset.fold()
    verdict = words(page_of(dataset).one("verdict"))
    assert "2 of 3 models have tokens that cannot be told apart at all" in verdict
    # By share, and not by number.
    assert "The most redundant rows: 20 of 100, in c." in verdict
    assert "The most tokens with a near twin: 7 of 100, in a." in verdict
    assert "1 model could not be audited." in verdict
    assert "isologit audit /m/c -o out" in verdict


def test_what_is_one_figure_everywhere_is_said_so(tmp_path: Path) -> None:
    rows = [(f"/m/{n}", {"redundant_rows": 0, "padding": 4}) for n in range(3)]
    verdict = words(page_of(census_of(tmp_path / "out", *rows)).one("verdict"))
    assert "In none of 3 models do two tokens have the same row: every row is distinct." in verdict
    assert "Every model has 4 padding rows of 100 rows." in verdict
    assert "isologit audit" not in verdict


def test_the_newest_row_of_a_model_counts(tmp_path: Path) -> None:
    dataset = census_of(tmp_path / "out", ("/m/a", {"redundant_rows": 5, "commit": "v"}))
    dataset = census_of(tmp_path / "out", ("/m/a", {"redundant_rows": 0, "commit": "w"}))
    assert len(dataset.models()) == 2
    models = Models(dataset.models())
    assert (len(models), models.shares[0].counts.tolist()) == (1, [0])


def test_a_run_is_told_by_its_steps(tmp_path: Path) -> None:
    redundant = {100: 0, 200: 3, 300: 9, 1000: 7}
    rows = [(f"/r/step-{n}", {"redundant_rows": k}) for n, k in redundant.items()]
    whole = page_of(census_of(tmp_path / "out", *rows, ("/r/step-x", {"redundant_rows": 1})))
    steps = words(whole.one("steps"))
    assert "/r/step-*, 4 steps: the first rows that repeat another are there at step 200" in steps
    assert "the most, 9, at step 300" in steps
    figure = json.loads(whole.one("data-steps_redundant").text)
    values = np.frombuffer(base64.b64decode(figure["data"][0]["y"]["bdata"]), np.float64)
    assert values.tolist() == [0, 3, 9, 7]
    # Where steps are most of it they come first.
    sections = [each.attributes["id"] for each in whole.every("section")]
    assert sections == ["verdict", "steps", "across", "models", "method"]


def test_two_steps_are_no_run(tmp_path: Path) -> None:
    rows = [(f"/r/step-{n}", {"redundant_rows": 1}) for n in (1, 2)]
    models = Models(census_of(tmp_path / "out", *rows).models())
    assert models.series == ()


def test_a_figure_that_is_missing_at_a_step_is_a_gap(tmp_path: Path) -> None:
    rows = [(f"/r/step-{n}", {"row_classes": None if n == 2 else n}) for n in (1, 2, 3)]
    (run,) = Models(census_of(tmp_path / "out", *rows).models()).series
    assert np.array_equal(run.figure("row_classes"), [1, np.nan, 3], equal_nan=True)


def test_what_is_drawn_is_reduced_and_what_is_counted_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn, "_MOST_MARKS", 20)
    monkeypatch.setattr(drawn, "_AT_THE_TOP", 5)
    rows = [(f"/m/{n:03}", {"redundant_rows": n}) for n in range(100)]
    (share, *_) = Models(census_of(tmp_path / "out", *rows).models()).shares
    figure = by_model(share, "#000000")
    marks = figure.figure.data[0]
    assert len(marks.x) == 20
    assert marks.x[:6].tolist() == [1, 2, 3, 4, 5, 6]
    assert (marks.y[0], marks.x[-1], marks.y[-1]) == (99, 100, 0)
    assert "99 of 100 models have some, the median model 49.5 %." in figure.caption
    assert "Drawn are the first 5" in figure.caption


def test_models_are_drawn_by_their_share(tmp_path: Path) -> None:
    rows = [
        ("/m/a", {"redundant_rows": 30, "vocabulary": 300}),
        ("/m/b", {"redundant_rows": 20, "vocabulary": 100}),
        ("/m/c", {"redundant_rows": 30, "vocabulary": 200}),
    ]
    (share, *_) = Models(census_of(tmp_path / "out", *rows).models()).shares
    figure = by_model(share, "#000000")
    assert figure.figure.data[0].y.tolist() == [20, 15, 10]
    assert [row[0] for row in figure.rows] == ["b", "c", "a"]


def test_what_no_model_has_is_not_drawn_and_said(tmp_path: Path) -> None:
    whole = page_of(census_of(tmp_path / "out", ("/m/a", {"redundant_rows": 0, "padding": None})))
    across = words(whole.one("across"))
    assert "None of 1 model has redundant rows." in across
    assert "No model says how many padding rows it has." in across
    assert list(whole.every("figure")) == []


def test_models_are_listed_by_their_share_and_the_rest_counted(tmp_path: Path) -> None:
    rows = [(f"/m/{n:03}", {"redundant_rows": n % 50}) for n in range(230)]
    section = page_of(census_of(tmp_path / "out", *rows)).one("models")
    table = next(section.every("table"))
    assert [words(next(row.every("th"))) for row in list(table.every("tr"))[1:4]] == [
        "049",
        "099",
        "149",
    ]
    assert "180 more models" in words(section)
    assert "And 30 more models: models/ has them all." in words(section)


def test_names_and_messages_stay_text(tmp_path: Path) -> None:
    rows = [(f"/m/{text}", {"redundant_rows": 1}) for text in HOSTILE]
    dataset = census_of(tmp_path / "out", *rows)
    for n, text in enumerate(HOSTILE):
        dataset.keep(failed(f"/f/{n}", "ConfigError", text, commit="v", tensor=""))
    dataset.fold()
    whole = page_of(dataset)
    assert {each.name for each in whole.every()} & {"img", "b"} == set()
    plain_page = page_of(census_of(tmp_path / "plain", ("/m/a", {"redundant_rows": 1})))
    assert len(list(whole.every("script"))) == len(list(plain_page.every("script")))
    assert "<b>bold</b>" in words(whole.one("models"))


def test_a_census_without_a_row_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"has no row yet; .* Run isologit census first"):
        census_html(Dataset(tmp_path / "out", SETTINGS))


def test_where_everything_failed_the_page_says_so(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path / "out", SETTINGS)
    dataset.keep(failed("/m/a", "ConfigError", "no", commit="v", tensor=""))
    dataset.fold()
    verdict = words(page_of(dataset).one("verdict"))
    assert "None of 1 model could be audited." in verdict


def test_the_page_of_a_real_census(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_models(tmp_path / "models", 8)
    write_corrupt(tmp_path / "models" / "corrupt")
    values = gaussian(30, 8)
    values[10:20] = values[0]
    write_llama(tmp_path / "models" / "other", values)
    code, _, err = finished(
        begin(str(tmp_path / "models" / "*"), "-o", tmp_path / "out", "--workers", "1")
    )
    assert code == 47, err
    whole = page_of(Dataset(tmp_path / "out", None))
    text = words(whole)
    assert "7 of 9 models have tokens that cannot be told apart" in text
    assert "The most redundant rows: 10 of 30, in other." in text
    assert "1 × TruncatedFileError" in text
