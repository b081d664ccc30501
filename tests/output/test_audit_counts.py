"""A summary and its table say one thing: every number that the table has too is held against it."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from checkpoints import gaussian, write_llama, write_tensors
from cli.command import isologit
from isologit.audit_tables import read_audit
from isologit.errors import ResultsError
from tokens.small_tokenizers import byte_level, save

V, D = 300, 12

# What takes W, a hidden state or the tokenizer to be known.
_NOT_IN_THE_TABLE = re.compile(
    r"matrix\.shape|head\.norm\.eps|arithmetic\.refined|rows\.subnormal"
    r"|cluster\.excess|state\.(norm|h_dot_h|norm_ratio)|centroid\.(norm|member_norm\.mean)"
    r"|pairwise\.(exactly_one|distinct|min|without)|refinement\..*"
    r"|greedy\.shares\.(tied_by_identical_rows|certain_if_truncated)"
    r"|greedy\.states\.(state|top|runner_up|margin_nats|formats\..*\.(margin_ulp|top_ids))"
    r"|greedy\.states\.formats\.f32\.n_top"
    r"|ties\.(top|maximum|modal)\.(ulp|distinct_(reals|logits|f32)|without_real|.*_ulp)"
    r"|ties\.(top|maximum|modal)\.(causes|ties)\..*"
    r"|tokens\.evidence\.(reference\..*|core)"
)


def odd_rows() -> Any:
    """Return a cloud with a row class, a cluster, a zero and a −0."""
    values = gaussian(V, D, seed=21)
    values[40:70] = 0.25 + 0.03 * gaussian(30, D, seed=22)
    values[100:103] = values[7]
    values[110:112] = 0
    values[111] = -0.0
    return values


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    model = write_llama(tmp_path / "m", odd_rows())
    save(byte_level(["the"]), model)
    assert isologit("audit", model, "-o", tmp_path / "out", "--no-report").code == 0
    return tmp_path / "out"


def numbers(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all numbers of a document; of a list those of the ends."""
    if isinstance(value, dict):
        for key in value:
            yield from numbers(value[key], (*at, key))
    elif isinstance(value, list):
        for n in sorted({0, len(value) - 1}) if value else ():
            yield from numbers(value[n], (*at, n))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


def larger(document: Any, at: tuple[Any, ...]) -> Any:
    """Return a document with a larger number at a place."""
    value = document
    for key in at:
        value = value[key]
    return changed(document, at, value + 1 if isinstance(value, int) else 1.5 * value + 1)


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a document with another value at a place."""
    found = copy.deepcopy(document)
    inner = found
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return found


def refusal(directory: Path, document: Any) -> str | None:
    """Return why a summary is not taken beside its table; None where it is."""
    (directory / "summary.json").write_text(json.dumps(document))
    try:
        read_audit(directory)
    except ResultsError as error:
        return str(error)
    return None


def test_no_number_that_the_table_has_can_be_another(audited: Path) -> None:
    document = json.loads((audited / "summary.json").read_text())
    assert refusal(audited, document) is None
    taken: set[str] = set()
    refused: set[str] = set()
    for at in numbers(document):
        name = ".".join(key for key in at if isinstance(key, str))
        why = refusal(audited, larger(document, at))
        (taken if why is None else refused).add(name)
        if why is not None:
            assert "summary.json" in why
    assert len(refused) > 90
    # Of W's shape the table has V, and not d.
    assert {name for name in refused if _NOT_IN_THE_TABLE.fullmatch(name)} == {"matrix.shape"}
    assert {name for name in taken if not _NOT_IN_THE_TABLE.fullmatch(name)} == set()


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (("tokens", "padding"), 5, "tokens.in_tokenizer"),
        (("tokens", "unreachable"), None, "tokens.unreachable"),
        (("tokens", "scripts"), {"Latin": 3}, "tokens.scripts"),
        (("tokens", "in_classes"), {}, "tokens.in_classes"),
        (("tokens", "special_in_classes"), ["7 x"], "tokens.special_in_classes"),
        (("tokens", "classes", 0, "mix"), {"Latin": 4}, "tokens.classes[0].mix"),
        (("tokens", "cluster"), None, "tokens.cluster"),
        (("comparison", "relation"), "disjoint", "comparison.relation"),
        (("rows", "by_value"), None, "equal values in one of the two"),
        (("logits", "mode", "hex"), "0x1p+0", "logits.mode"),
        (("ties", "modal", "token_ids"), [1, 2], "ties.modal.token_ids"),
    ],
)
def test_what_is_no_number_is_held_too(
    audited: Path, at: tuple[Any, ...], value: Any, why: str
) -> None:
    document = json.loads((audited / "summary.json").read_text())
    said = refusal(audited, changed(document, at, value))
    assert said is not None
    assert why in said


def test_edits_that_agree_with_each_other_are_refused_too(audited: Path) -> None:
    document = json.loads((audited / "summary.json").read_text())
    logits, tokens, ties = (document[key] for key in ("logits", "tokens", "ties"))
    rows = document["class_rows"]
    assert ties["maximum"]["value"] != ties["modal"]["value"]
    edits: list[tuple[str, dict[str, Any]]] = [
        ("logits.median", _value("median", logits["min"])),
        ("logits.mean", _value("mean", 2 * logits["max"])),
        (
            "class_rows.n_tokens",
            {"class_rows": _class_rows(rows["n_tokens"] + 1, rows["distinct"])},
        ),
        ("class_rows.distinct", {"class_rows": _class_rows(rows["n_tokens"], 1)}),
        ("ties.modal.value", {"ties": {**ties, "modal": ties["maximum"]}}),
        ("ties.maximum.value", {"ties": {**ties, "maximum": ties["modal"]}}),
    ]
    more = {"rows": tokens["rows"] + 1, "in_tokenizer": tokens["in_tokenizer"] + 1}
    edits.append(("tokens.rows", {"tokens": {**tokens, **more}}))
    more = {"padding": tokens["padding"] + 1, "in_tokenizer": tokens["in_tokenizer"] - 1}
    edits.append(("tokens.padding", {"tokens": {**tokens, **more}}))
    for why, edit in edits:
        found = copy.deepcopy(document)
        for key, value in edit.items():
            found[key] = {**found[key], **value}
            if "hex" in value:
                found[key]["hex"] = {**document[key]["hex"], **value["hex"]}
        said = refusal(audited, found)
        assert said is not None, why
        assert why in said


def _value(name: str, value: float) -> dict[str, Any]:
    return {"logits": {name: value, "hex": {name: value.hex()}}}


def _class_rows(n_tokens: int, distinct: int) -> dict[str, Any]:
    counts = {"n_tokens": n_tokens, "distinct": distinct, "redundant": n_tokens - distinct}
    return {**counts, "mean_multiplicity": n_tokens / distinct}


def test_columns_that_are_gone_leave_no_figure_behind(audited: Path) -> None:
    document = json.loads((audited / "summary.json").read_text())
    table = pq.read_table(audited / "tokens.parquet")
    pq.write_table(table.drop_columns(["survives", "cause"]), audited / "tokens.parquet")
    assert "tokens.unreachable in the summary alone" in str(refusal(audited, document))
    gone = ["row_value_class", "row_value_class_size"]
    pq.write_table(table.drop_columns(gone), audited / "tokens.parquet")
    assert "equal values in one of the two" in str(refusal(audited, document))
    document["rows"]["by_value"] = None
    assert "rows.distinct_values" in str(refusal(audited, document))


@pytest.mark.parametrize("odd", ["bias", "nan", "inf"])
@pytest.mark.parametrize("options", [("--pole=10,20",), ("--dtype", "f32"), ("--reachable",), ()])
def test_what_an_audit_writes_is_taken_whatever_was_asked(
    tmp_path: Path, options: tuple[str, ...], odd: str
) -> None:
    tensors = {"lm_head.weight": odd_rows(), "model.norm.weight": np.ones(D)}
    if odd == "bias":
        tensors["lm_head.bias"] = np.arange(V) == 101
    else:
        tensors["lm_head.weight"][120, 3] = float(odd)
    config = {"model_type": "llama", "tie_word_embeddings": False}
    model = write_tensors(tmp_path / "m", tensors, config=config)
    assert isologit("audit", model, *options, "-o", tmp_path / "out", "--no-report").code == 0
    found = read_audit(tmp_path / "out").findings
    assert (found.head.bias is not None) == (odd == "bias")
    assert found.rows.nonfinite == (0 if odd == "bias" else 1)
