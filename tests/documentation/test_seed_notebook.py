"""The seed's notebook, cell by cell: it runs, and what is stored in it is what it gives.

Its outputs and pictures are made by ``python docs/make_notebook.py docs/seed-notebook.ipynb``.
"""

import base64
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.command import isologit
from isologit.demo import checkpoint_path

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOK = DOCS / "seed-notebook.ipynb"
# Places follow from principal axes, which are computed to a stated accuracy and no bit further.
_PLACES = 1e-4


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    """What docs/make_notebook.py defines."""
    return runpy.run_path(str(DOCS / "make_notebook.py"))


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def ran(
    stored: Any, maker: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The cells after a run in a fresh kernel and an empty folder, by their ids."""
    notebook = maker["executed"](stored, tmp_path_factory.mktemp("run"))
    return {cell.id: cell for cell in notebook.cells}


@pytest.fixture(scope="module")
def summary() -> Any:
    """What the command says of the same model."""
    return isologit("audit", checkpoint_path(), "--json").json


def codes(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in codes(notebook) for output in cell.outputs]


def test_a_fresh_run_prints_what_is_stored(
    stored: Any, ran: dict[str, Any], maker: dict[str, Any]
) -> None:
    cells = codes(stored)
    assert len(cells) > 15
    for cell in cells:
        assert maker["texts"](ran[cell.id]) == maker["texts"](cell), (
            f"{cell.id}: run the maker again"
        )


def test_a_fresh_run_draws_what_is_stored(
    stored: Any, ran: dict[str, Any], maker: dict[str, Any]
) -> None:
    drawn = 0
    for cell in codes(stored):
        figures = [maker["numbers"](output) for output in cell.outputs]
        again = [maker["numbers"](output) for output in ran[cell.id].outputs]
        assert len(figures) == len(again)
        for kept, fresh in zip(figures, again, strict=True):
            assert (kept is None) == (fresh is None)
            if kept is None:
                continue
            drawn += 1
            assert len(kept) == len(fresh) > 0
            for before, now in zip(kept, fresh, strict=True):
                assert before.keys() == now.keys()
                for name in before:
                    assert same(before[name], now[name]), f"{cell.id}, {name}: run the maker again"
    assert drawn >= 5


def same(before: Any, now: Any) -> bool:
    """Say whether two fields of a trace are alike: words, or numbers near enough."""
    if isinstance(before, str):
        return bool(before == now)
    a, b = values_of(before), values_of(now)
    if a.dtype.kind not in "fiu":
        return bool(a.tolist() == b.tolist())
    return a.shape == b.shape and np.allclose(a, b, rtol=_PLACES, atol=_PLACES, equal_nan=True)


def values_of(field: Any) -> Any:
    """Return a list, or the array that plotly writes as base64, as an array."""
    if isinstance(field, dict):
        return np.frombuffer(base64.b64decode(field["bdata"]), np.dtype(field["dtype"]))
    return np.array(field)


def test_every_figure_is_a_picture_that_says_what_it_shows(
    stored: Any, maker: dict[str, Any]
) -> None:
    pictures = 0
    for cell in codes(stored):
        for output in cell.outputs:
            if maker["numbers"](output) is None:
                continue
            pictures += 1
            assert set(output.data) == {"image/png", "text/plain"}
            assert base64.b64decode(output.data["image/png"]).startswith(b"\x89PNG")
            alt = output.data["text/plain"]
            assert len(alt) > 40
            assert output.metadata["image/png"]["alt"] == alt
            assert cell.metadata["mystnb"]["image"]["alt"] == alt
    assert pictures >= 5


def test_what_is_stored_is_small_and_has_nothing_of_the_run_that_made_it(stored: Any) -> None:
    assert NOTEBOOK.stat().st_size < 1_500_000
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert str(checkpoint_path()) not in text
    assert "<script" not in text
    assert stored.metadata.language_info == {"name": "python"}
    assert all(cell.execution_count is None for cell in codes(stored))
    assert all(set(cell.metadata) <= {"mystnb"} for cell in stored.cells)
    assert all(output.get("execution_count") is None for output in outputs(stored))
    assert all(output.get("name") != "stderr" for output in outputs(stored))


def test_its_sections_are_the_seeds_in_the_seeds_order(stored: Any) -> None:
    marks = [cell.source for cell in stored.cells if cell.cell_type == "markdown"]
    titles = re.findall(r"^## (.+)$", "\n".join(marks), re.MULTILINE)
    topics = (
        *("question", "approach", "parameters", "imports", "device", "load w", "cosine cluster"),
        *("centroid", "dot products", "equivalence class", "comparison", "duplicates"),
        *("distribution", "save", "summary"),
    )
    places = [
        next(n for n, title in enumerate(titles) if topic in title.lower()) for topic in topics
    ]
    assert places == sorted(places)


def test_its_prose_has_no_figures_that_could_go_stale(stored: Any) -> None:
    for cell in stored.cells:
        if cell.cell_type == "markdown":
            assert re.findall(r"\b\d[\d,]*\d\d\b", cell.source) == []


def test_its_figures_are_those_of_the_command(
    stored: Any, summary: Any, maker: dict[str, Any]
) -> None:
    printed = {cell.id: unfolded(" ".join(maker["texts"](cell))) for cell in codes(stored)}
    logits, cluster, overlap = summary["logits"], summary["cluster"], summary["comparison"]
    n_tokens, width = summary["matrix"]["shape"]
    mode, rows, centroid = logits["mode"], summary["class_rows"], summary["centroid"]
    norm, every = centroid["member_norm"], summary["rows"]
    expected = {
        "load-code": [
            f"Loaded {summary['matrix']['tensor']}\n  why: {summary['matrix']['why']}\n",
            f"Shape: [{n_tokens}, {width}]",
        ],
        "cluster-code": [
            f"Cluster size: {cluster['size']:,} tokens\n  why: {cluster['why']}\n",
            f"Shared cosine: {cluster['cosine']:.8f}",
            f"{cluster['token_ids'][:10]}",
        ],
        "centroid-code": [
            f"Norm: {centroid['norm']:.6f}",
            f"Min: {norm['min']:.6f}   Max: {norm['max']:.6f}   Mean: {norm['mean']:.6f}",
        ],
        "dots-code": [
            f"{n_tokens:,} tokens ({summary['arithmetic']['refined']:,} took",
            f"Range: [{logits['min']:.8f}, {logits['max']:.8f}]",
            f"Mean: {logits['mean']:.8f}\n  Median: {logits['median']:.8f}",
        ],
        "class-code": [
            f"{mode['n_tokens']:,} tokens with dot product = {mode['value']:.8f}",
            f"({mode['n_tokens'] / n_tokens:.2%} of vocabulary)",
            f"{mode['token_ids'][:20]}",
            f"{logits['max']:.8f} ({logits['max_class']['n_tokens']:,} tokens)",
        ],
        "comparison-code": [
            f"Cluster: {overlap['a']:,} tokens\nLogit class: {overlap['b']:,} tokens\n",
            f"Both: {overlap['both']:,}   Cluster-only: {overlap['only_a']:,}   "
            f"Logit-only: {overlap['only_b']:,}\n",
            f": {overlap['relation']}\n",
            f"logit class: {overlap['share_of_a']:.1%}",
            f"cluster: {overlap['share_of_b']:.1%}",
        ],
        "duplicates-code": [
            f"Unique embeddings: {rows['distinct']:,}\n{rows['redundant']:,} tokens share",
            f"degeneracy: {rows['mean_multiplicity']:.1f} tokens",
            f"{every['distinct']:,} classes, {every['classes']:,} of two or more",
        ],
        "distribution-code": [
            f"{logits['distinct']:,} ({logits['share_of_vocabulary']:.2%} of vocabulary)",
            *(
                f"{n:3}. {each['value']:.8f}: {each['n_tokens']:,} tokens"
                for n, each in enumerate(logits["top"], start=1)
            ),
        ],
        "save-code": [
            f"{name}\n"
            for name in (
                "summary.json",
                "cluster_members.safetensors",
                "cluster_logits.safetensors",
            )
        ],
    }
    for where, lines in expected.items():
        for line in lines:
            assert unfolded(line) in printed[where], f"{where} does not print {line!r}"


def unfolded(text: str) -> str:
    """Return text with single spaces in place of line ends and indents."""
    return " ".join(text.split())
