"""What a worker does with one model: the job's own figures, and every error an outcome."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from census.many_models import write_corrupt, write_enormous
from checkpoints import gaussian, write_matrix
from isologit.audit import audit
from isologit.census import task as module
from isologit.census.columns import BOOKKEEPING, FIGURES, MODELS, TOKENS
from isologit.census.naming import local_version, record_of
from isologit.census.task import Plan, Task, run
from isologit.demo import checkpoint_path
from isologit.near_twins import near_twins
from isologit.numerics.parallel import get_threads, set_threads

GIB = 1 << 30


@pytest.fixture(autouse=True)
def same_threads() -> Any:
    yield
    set_threads(0)


def outcome_of(model: object, *, memory: int = 8 * GIB, **plan: Any) -> Any:
    return run(Task(str(model), Plan(**plan), memory))


def test_a_row_has_the_figures_of_the_job() -> None:
    model = str(checkpoint_path())
    row = outcome_of(model, within_nats=0.1).row
    found, _ = audit(model)
    gap = near_twins(model, within_nats=0.1)
    assert found.tokens is not None
    assert found.cluster is not None
    assert found.tokens.evidence is not None
    expected = {
        "tensor": found.matrix.tensor,
        "sha256": found.matrix.sha256,
        "vocabulary": 4096,
        "distinct_rows": found.rows.distinct,
        "redundant_rows": found.rows.redundant,
        "row_classes": found.rows.classes,
        "rows_in_classes": found.rows.tokens_in_classes,
        "largest_row_class": found.rows.sizes[0],
        "cluster_size": found.cluster.size,
        "distinct_logits": found.logits.distinct,
        "modal_tokens": found.logits.mode.n_tokens,
        "modal_rows": found.class_rows.distinct,
        "top_tokens": found.logits.max_class.n_tokens,
        "single_logits": found.logits.multiplicity["1"],
        "padding": 16,
        "unreachable": found.tokens.unreachable,
        "undertrained_strong": found.tokens.evidence.grades["strong"],
        "gap_pairs": gap.n_pairs,
        "gap_largest_class": gap.classes[0].size,
        "gap_widest_nats": gap.classes[0].widest_nats,
        "gap_tokens": sum(each.size for each in gap.classes),
        "gap_norm_assumed": False,
    }
    assert {name: row[name] for name in expected} == expected
    # Nothing is computed that no column holds, and every column is filled.
    assert set(row) - {"seconds", "worker"} <= set(MODELS.names)
    assert {each.name for each in FIGURES} <= set(row)
    assert set(BOOKKEEPING) - {"error_class", "error_message"} <= set(row)


def test_classes_are_listed_with_their_first_tokens() -> None:
    outcome = outcome_of(checkpoint_path())
    table = outcome.table("classes")
    rows = [row for row in table.to_pylist() if row["relation"] == "row"]
    assert [row["size"] for row in rows] == sorted((row["size"] for row in rows), reverse=True)
    assert sum(row["size"] for row in rows) == outcome.row["rows_in_classes"]
    assert all(len(row["token_ids"]) == row["size"] for row in rows)
    assert all(len(row["first"]) == min(5, row["size"]) for row in rows)
    assert '"<|pad|>"' in {text for row in rows for text in row["first"]}
    near = [row for row in table.to_pylist() if row["relation"] == "gap"]
    assert sum(row["size"] for row in near) == outcome.row["gap_tokens"]
    assert all(row["widest_nats"] is not None for row in near)


def test_what_is_not_asked_for_is_null() -> None:
    row = outcome_of(checkpoint_path(), analyses=()).row
    assert row["redundant_rows"] == 846
    for name in ("distinct_logits", "cluster_size", "state", "padding", "gap_pairs", "modal_rows"):
        assert row[name] is None, name
    assert row["notes"] == ["tokens were not asked for: they are ids"]


def test_tokens_are_rows_where_they_are_asked_for() -> None:
    assert outcome_of(checkpoint_path()).table("tokens") is None
    table = outcome_of(checkpoint_path(), with_tokens=True).table("tokens")
    assert table.schema == TOKENS
    assert table["token_id"].to_pylist() == list(range(4096))
    assert set(table["model"].to_pylist()) == {str(checkpoint_path())}
    bare = outcome_of(checkpoint_path(), with_tokens=True, analyses=()).table("tokens")
    assert bare.schema == TOKENS
    assert bare["text"].null_count == 4096


def test_rows_by_value_are_classes_of_their_own(tmp_path: Path) -> None:
    values = gaussian(20, 4)
    values[3, 0], values[4] = 0.0, values[3]
    values[4, 0] = -0.0
    table = outcome_of(write_matrix(tmp_path / "m", values)).table("classes")
    assert [(row["relation"], row["token_ids"]) for row in table.to_pylist()] == [
        ("row_value", [3, 4])
    ]


def test_where_no_norm_is_known_the_gap_is_null(tmp_path: Path) -> None:
    outcome = outcome_of(write_matrix(tmp_path / "m", gaussian(20, 4)))
    assert outcome.status == "ok"
    assert outcome.row["gap_pairs"] is None


def test_an_error_of_the_model_is_its_outcome(tmp_path: Path) -> None:
    corrupt = write_corrupt(tmp_path / "corrupt")
    outcome = outcome_of(corrupt)
    assert (outcome.status, outcome.row["error_class"]) == ("failed", "TruncatedFileError")
    assert "model.safetensors" in outcome.row["error_message"]
    assert outcome.row["commit"] == local_version(str(corrupt))
    missing = outcome_of(tmp_path / "nothing")
    assert missing.row["error_class"] == "CheckpointNotFoundError"
    assert (missing.row["commit"], missing.classes) == ("", b"")


def test_an_error_of_ours_is_an_outcome_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nnothing")

    monkeypatch.setattr(module, "audit_of", broken)
    row = outcome_of(checkpoint_path()).row
    assert row["error_class"] == "ZeroDivisionError"
    assert row["error_message"].startswith("by nothing (at test_task.py:")
    assert "a bug of isologit" in row["error_message"]


def test_a_version_that_has_a_record_is_not_audited_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = str(checkpoint_path())
    version = local_version(model)
    assert version is not None
    record = record_of(model, version, "model.embed_tokens.weight")
    assert outcome_of(model).record == record
    monkeypatch.setattr(module, "audit_of", None)
    found = run(Task(model, Plan(), 8 * GIB, frozenset({record})))
    assert (found.status, found.classes) == ("unchanged", b"")


def test_what_needs_more_than_was_declared_says_so_before_it_is_read(tmp_path: Path) -> None:
    enormous = write_enormous(tmp_path / "enormous")
    outcome = outcome_of(enormous)
    assert outcome.status == "larger"
    assert outcome.needs > 128 * GIB
    # Where nothing is declared nothing is asked.
    assert run(Task(str(checkpoint_path()), Plan(), 0)).status == "ok"


def test_memory_that_was_not_declared_is_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object, **__: object) -> None:
        np.zeros(8 * GIB, dtype=np.uint8)

    monkeypatch.setattr(module, "audit_of", greedy)
    row = outcome_of(checkpoint_path(), memory=GIB).row
    assert row["error_class"] == "MemoryError"
    assert "more memory than the 1.0 GiB that were declared" in row["error_message"]
    # One that is not held to it may.
    assert outcome_of(checkpoint_path(), memory=GIB, bounded=False).row["error_class"] != (
        "MemoryError"
    )


def test_a_worker_keeps_to_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)

    def looking(*_: object, **__: object) -> None:
        seen["ours"] = get_threads()
        seen["blas"] = {each["num_threads"] for each in threadpool_info()}
        seen["alive"] = threading.active_count()

    monkeypatch.setattr(module, "audit_of", looking)
    outcome_of(checkpoint_path(), threads=1)
    assert (seen["ours"], seen["blas"]) == (1, {1})
    # The tokenizers' pool asks the environment.
    assert os.environ["RAYON_NUM_THREADS"] == "1"
