"""``isologit report``, and the page that ``audit -o`` writes: made, made again, or refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from checkpoints import gaussian, write_llama
from cli.command import isologit


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    model = write_llama(folder / "m", gaussian(60, 8, seed=1))
    assert isologit("audit", model, "-o", folder / "out", "-q").code == 0
    return folder / "out"


@pytest.fixture
def copy(out: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(out, tmp_path / "out"))


def test_the_page_is_written_again_over_itself(copy: Path) -> None:
    page = copy / "report.html"
    before = page.read_bytes()
    page.write_text("old")
    ran = isologit("report", copy)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.split() == ["Saved:", "✓", str(page)]
    assert page.read_bytes() == before
    page.unlink()
    assert isologit("report", copy, "-q").err == ""
    assert page.read_bytes() == before


def test_another_file_is_replaced_only_with_force(copy: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert isologit("report", copy, "-o", target).code == 0
    target.write_text("mine")
    ran = isologit("report", copy, "-o", target)
    assert ran.code == 22
    assert target.read_text() == "mine"
    assert isologit("report", copy, "-o", target, "--force").code == 0
    assert target.read_bytes() == (copy / "report.html").read_bytes()


def test_an_audit_can_leave_the_page_out(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", gaussian(60, 8, seed=1))
    assert isologit("audit", model, "-o", tmp_path / "out", "--no-report", "-q").code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "summary.json" in names
    assert "report.html" not in names
    assert isologit("report", tmp_path / "out", "-q").code == 0
    # And the directory is still one that isologit wrote.
    assert isologit("audit", model, "-o", tmp_path / "out", "--force", "-q").code == 0


def refused(directory: Path) -> str:
    """Return what is said of a directory that no page can be made of, in one line."""
    ran = isologit("report", directory)
    assert ran.code == 40
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.count("\n") == 1
    return ran.err


def test_what_no_audit_wrote_is_refused(tmp_path: Path, copy: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "cannot be read" in refused(tmp_path / "empty")
    assert "cannot be read" in refused(copy / "summary.json")
    (copy / "tokens.parquet").unlink()
    assert "tokens.parquet cannot be read" in refused(copy)


def test_the_directory_of_classes_is_refused(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", gaussian(60, 8, seed=1))
    assert isologit("classes", model, "-o", tmp_path / "out", "-q").code == 0
    said = refused(tmp_path / "out")
    assert "schema isologit.classes/1; expected isologit.audit/1" in said


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_damaged_summary_is_refused(copy: Path, content: bytes) -> None:
    (copy / "summary.json").write_bytes(content)
    assert "is not what isologit audit writes" in refused(copy)


@pytest.mark.parametrize("keep", [0, 4, 100, -8])
def test_a_damaged_table_is_refused(copy: Path, keep: int) -> None:
    table = copy / "tokens.parquet"
    table.write_bytes(table.read_bytes()[:keep])
    assert "is not what isologit audit writes" in refused(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["rows"].update(distinct=59), "other row classes than the table's"),
        (lambda found: found["rows"].update(redundant=3), "3 redundant rows"),
        (lambda found: found["logits"]["mode"].update(n_tokens=-1), "n_tokens below zero"),
        (lambda found: found["logits"]["mode"]["token_ids"].pop(), "other tokens in_modal_class"),
        (lambda found: found["logits"]["multiplicity"].pop("1"), "other multiplicities"),
        (lambda found: found["logits"].update(max=1e300), "a number that no format"),
        (lambda found: found["claims"].update(rows="proved"), "a claim called proved"),
        (lambda found: found["arithmetic"].update(logit_dtype="f8"), "a format called f8"),
        (lambda found: found["greedy"]["shares"].pop(), "a greedy certificate of other states"),
        (lambda found: found["ties"].update(claims={}), "ties without claims"),
        (lambda found: found["state"].update(kind="\u202e"), "a state called \\u202e"),
        (lambda found: found["matrix"].update(shape=[60]), "W is [60]"),
    ],
)
def test_a_summary_that_contradicts_the_table_or_itself_is_refused(
    copy: Path, change: Any, said: str
) -> None:
    path = copy / "summary.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    assert said in refused(copy)
