"""The main job: its order, its choices, and matrices at the edge of what it is for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import (
    cluster_tensors,
    gaussian,
    write_cluster,
    write_llama,
    write_matrix,
    write_tensors,
)
from isologit.audit import audit
from isologit.errors import DuplicateTokenError
from isologit.findings import Audit
from isologit.numerics import parallel
from isologit.numerics.formats import BF16, F16, F32
from isologit.output.json_text import to_json
from isologit.output.members import read_members
from isologit.output.results import write_results
from isologit.request import Members, Pole
from isologit.subject import Settings

DEGENERATE: dict[str, Any] = {
    "one row": [[1.0, 2.0]],
    "one number": [[0.5]],
    "one zero": [[0.0]],
    "one NaN": [[np.nan]],
    "one column": [[1.0], [2.0], [2.0], [3.0]],
    "zeros": np.zeros((6, 3)),
    "zeros of both signs": [[0.0, 0.0], [-0.0, 0.0], [0.0, -0.0]],
    "one row many times": np.full((6, 3), 0.25),
    "a NaN row": [[1, 2], [np.nan, 1], [3, 4]],
    "NaN rows alone": np.full((4, 3), np.nan),
    "an infinite row": [[1, 2], [np.inf, 1], [3, -4]],
    "infinite rows alone": np.full((4, 3), np.inf),
    "both infinities": [[np.inf, -np.inf], [-np.inf, np.inf], [1, 1]],
    "a zero row": [[1, 2], [0, 0], [3, 4]],
    "subnormal rows": [[2.0**-24, 0], [2.0**-24, 2.0**-24]],
    "huge rows": [[60000.0, 60000.0], [-60000.0, 60000.0], [1, 1]],
    "wide": np.eye(2, 50),
}


def parsed(findings: Audit) -> Any:
    """Return findings as strict JSON gives them back."""

    def refuse(constant: str) -> float:
        raise ValueError(constant)

    return json.loads(to_json(findings), parse_constant=refuse)


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_matrices_run_to_the_end(tmp_path: Path, name: str, dtype: str) -> None:
    values = np.asarray(DEGENERATE[name], dtype=np.float64)
    model = write_llama(tmp_path / "m", values, dtype)
    findings, arrays = audit(str(model))
    found = parsed(findings)
    tokens, width = values.shape
    assert found["matrix"]["shape"] == [tokens, width]
    assert found["cluster"] is None
    assert found["rows"]["nonfinite"] == int((~np.isfinite(values)).any(axis=1).sum())
    assert found["rows"]["zero"] == int((values == 0).all(axis=1).sum())
    assert found["rows"]["distinct_values"] == len({tuple(map(str, row + 0.0)) for row in values})
    # Every token is somewhere: a number of its own or a NaN.
    for part in ("logits", "cosines"):
        of = found[part]
        held = of["multiplicity"]
        assert held["1"] + held["2"] + held["3"] + held["4+"] == of["distinct"]
        assert of["nan"] + (sum(top["n_tokens"] for top in of["top"]) if of["distinct"] else 0) == (
            tokens
        )
    assert found["class_rows"]["n_tokens"] == found["logits"]["mode"]["n_tokens"]
    paths = write_results(tmp_path / "out", findings, arrays)
    assert all(path.stat().st_size for path in paths)


def test_the_state_of_a_matrix_without_a_cluster_is_the_mean_of_finite_rows(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1, 2], [np.nan, 1], [3, 4], [np.inf, 0]])
    findings, arrays = audit(str(model))
    assert arrays.state is not None
    assert arrays.state.vector.values.tolist() == [2, 3]
    assert (findings.state.kind, findings.state.token_ids) == ("mean", [])
    assert findings.reference.kind == "mean"
    assert (findings.comparison, findings.refinement, findings.own_class) == (None, None, None)
    # Norms of the finite rows alone: √5 and 5, in bfloat16.
    assert findings.centroid.member_norm.min == 2.234375
    assert findings.centroid.member_norm.max == 5


def planted(folder: Path) -> Path:
    values = gaussian(400, 16, seed=7)
    values[100:140] = 0.25 + 0.001 * gaussian(40, 16, seed=8)
    return write_matrix(folder / "m", values, "f32")


def test_the_steps_are_named_in_order(tmp_path: Path) -> None:
    steps: list[str] = []
    audit(str(planted(tmp_path)), progress=steps.append)
    expected = ["row classes", "cluster", "logits", "iterated refinement", "tokens", "ties"]
    assert steps == expected
    steps.clear()
    audit(str(planted(tmp_path)), pole=Pole(1.0, 2.0), progress=steps.append)
    assert steps == [
        *("row classes", "principal axes", "cluster", "logits", "iterated refinement", "tokens"),
        "ties",
    ]


def test_found_given_and_polar_clusters_say_which_they_are(tmp_path: Path) -> None:
    model = str(planted(tmp_path))
    found, _ = audit(model)
    assert found.cluster is not None
    assert found.cluster.method == "found"
    assert found.cluster.token_ids == list(range(100, 140))
    assert found.reference.kind == "centroid"
    given, _ = audit(model, members=Members(found.cluster.token_ids, "the same"))
    assert given.cluster is not None
    assert given.cluster.method == "members"
    # The same tokens, the same state, the same figures.
    assert (given.state, given.logits, given.cosines) == (found.state, found.logits, found.cosines)
    polar, _ = audit(model, pole=Pole(10.0, 20.0))
    assert polar.cluster is not None
    assert polar.cluster.method == "pole"
    assert polar.cluster.token_ids == polar.cosines.mode.token_ids
    assert polar.cluster.cosine == polar.cosines.mode.value
    assert (polar.reference.kind, polar.reference.lat_deg) == ("pole", 10)


def test_members_win_over_a_pole_and_the_pole_stays_the_reference(tmp_path: Path) -> None:
    model = str(planted(tmp_path))
    both, _ = audit(model, pole=Pole(10.0, 20.0), members=Members([1, 2, 3], "here"))
    assert both.cluster is not None
    assert (both.cluster.method, both.cluster.token_ids) == ("members", [1, 2, 3])
    assert both.reference.kind == "pole"
    assert both.state.token_ids == [1, 2, 3]


def test_a_wrong_list_costs_no_pass_over_the_matrix(tmp_path: Path) -> None:
    steps: list[str] = []
    with pytest.raises(DuplicateTokenError):
        audit(str(planted(tmp_path)), members=Members([1, 1], "here"), progress=steps.append)
    assert steps == []


@pytest.mark.parametrize("logit_format", [BF16, F16, F32], ids=lambda f: f.name)
def test_the_logit_format_is_the_one_asked_for(tmp_path: Path, logit_format: Any) -> None:
    model = write_matrix(tmp_path / "m", gaussian(50, 8), "f32")
    findings, _ = audit(str(model), Settings(logit_format=logit_format))
    assert findings.arithmetic.logit_dtype == logit_format.name
    assert findings.logits.dtype == findings.cosines.dtype == logit_format.name
    assert findings.matrix.dtype == findings.state.dtype == "f32"


def test_the_comparison_is_of_the_cluster_with_the_modal_class(tmp_path: Path) -> None:
    # Five tokens of one row; three of them and a stranger are given.
    model = write_matrix(tmp_path / "m", [[1, 0]] * 5 + [[2, 1], [0.5, 0.25], [0.25, 0.5]])
    path = write_cluster(tmp_path / "c.safetensors", cluster_tensors([0, 1, 2, 5], 8))
    findings, _ = audit(str(model), members=read_members(path))
    overlap = findings.comparison
    assert overlap is not None
    assert (overlap.a, overlap.b, overlap.both) == (4, 5, 3)
    assert (overlap.only_a, overlap.only_b, overlap.relation) == (1, 2, "partial")
    assert (overlap.share_of_a, overlap.share_of_b) == (0.75, 0.6)


def test_the_mean_is_of_every_finite_row_even_where_its_norm_overflows(tmp_path: Path) -> None:
    # f16 ends at 65,504; these rows are finite and some of their norms are not.
    values = np.full((4, 4), 40_000.0)
    values[3] = 8.0
    model = write_matrix(tmp_path / "m", values, "f16")
    found, arrays = audit(str(model))
    assert found.rows.nonfinite == 0
    assert arrays.state is not None
    # (3 · 40,000 + 8) / 4 = 30,002, and f16 numbers there are 16 apart.
    assert arrays.state.vector.values.tolist() == [30_000.0] * 4


def test_a_head_with_a_bias_says_that_rows_count_with_it(tmp_path: Path) -> None:
    rows = np.ones((6, 3))
    rows[0] = 2
    tensors = {"lm_head.weight": rows, "lm_head.bias": np.arange(6.0)}
    config = {"model_type": "phi", "vocab_size": 6, "hidden_size": 3, "tie_word_embeddings": False}
    model = write_tensors(tmp_path / "m", tensors, "f32", config=config)
    found, _ = audit(str(model))
    assert (found.rows.distinct, found.rows.distinct_without_bias, found.rows.classes) == (6, 2, 0)
    # The logits are the product's, without the bias: their class is made of equal rows.
    assert (found.class_rows.n_tokens, found.class_rows.distinct) == (5, 1)
    assert any("a row counts with its bias, lm_head.bias" in note for note in found.notes)


def test_a_bias_does_not_set_rows_apart_for_the_finder(tmp_path: Path) -> None:
    values = gaussian(400, 16, seed=7)
    values[100:140] = 0.25 + 0.001 * gaussian(40, 16, seed=8)
    values[140:160] = values[100]
    config = {"model_type": "phi", "vocab_size": 400, "hidden_size": 16}
    config["tie_word_embeddings"] = False
    clusters = []
    for n, bias in enumerate((np.zeros(400), np.arange(400.0))):
        tensors = {"lm_head.weight": values, "lm_head.bias": bias}
        model = write_tensors(tmp_path / str(n), tensors, "f32", config=config)
        cluster = audit(str(model))[0].cluster
        assert cluster is not None
        clusters.append((cluster.token_ids, cluster.excess, cluster.why))
    assert clusters[0] == clusters[1]
    assert clusters[0][0] == list(range(100, 160))


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
@pytest.mark.parametrize("at", [None, Pole(1.0, 2.0)], ids=["found", "pole"])
def test_neither_threads_nor_block_sizes_change_a_byte_of_what_is_written(
    tmp_path: Path, at: Pole | None, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = gaussian(400, 37, seed=7)
    values[100:140] = 0.25 + 0.001 * gaussian(40, 37, seed=8)
    values[200:220] = values[200]
    model = str(write_matrix(tmp_path / "m", values, dtype))
    written: set[tuple[bytes, ...]] = set()
    for threads, block_bytes in ((1, 8 << 20), (1, 1), (2, 700), (5, 5000)):
        monkeypatch.setattr(parallel, "_threads", threads)
        monkeypatch.setattr(parallel, "_BLOCK_BYTES", block_bytes)
        findings, arrays = audit(model, pole=at)
        paths = write_results(tmp_path / f"out-{threads}-{block_bytes}", findings, arrays)
        written.add(tuple(path.read_bytes() for path in paths))
    assert len(written) == 1
