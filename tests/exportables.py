"""A small vocabulary to export from, in memory and as the directory that an audit writes.

70 rows: every category, a row class with a token of each, ids that are no multiple of 32.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isologit.exportable import Exportable
from isologit.findings import MatrixFacts, RowFacts, SizedClass
from isologit.record import Model
from isologit.token_findings import TokenizerSource, TokensFacts

V = 70
PADDING = list(range(64, 70))
EOS, RESERVED_SPECIAL, LETTER, DEAD_BYTE, PART, RESERVED, LOST, WORD = 1, 2, 3, 4, 5, 6, 7, 9
# One row of W, and what has it: a token of every category but `byte` that text needs.
CLASS = [RESERVED_SPECIAL, DEAD_BYTE, PART, RESERVED, LOST, WORD, *PADDING]

HOSTILE = "`|<script>\x1b[31m\u202e\n[x](http://x)"


def columns(**changed: list[Any]) -> pa.Table:
    """Return the columns of the vocabulary, some of them changed."""
    category = ["special"] * 3 + ["byte"] * 2 + ["partial_utf8", "reserved", "unreachable"]
    category += ["ordinary"] * (64 - len(category)) + ["padding"] * len(PADDING)
    raw: list[bytes | None] = [f"w{i}".encode() for i in range(64)] + [None] * len(PADDING)
    raw[RESERVED_SPECIAL], raw[PART], raw[WORD] = b"<|reserved_7|>", b"\xe0\xb8", HOSTILE.encode()
    reachable: list[bool | None] = [True] * 64 + [None] * len(PADDING)
    reachable[DEAD_BYTE], reachable[LOST], reachable[PART] = False, False, None
    labels = np.arange(V)
    labels[CLASS] = CLASS[0]
    labels = np.unique(labels, return_inverse=True)[1]
    evidence = ["none"] * V
    for i in CLASS:
        evidence[i] = "strong"
    evidence[LETTER], evidence[LOST], evidence[10] = "likely", "likely", "weak"
    found: dict[str, pa.Array] = {
        "token_id": pa.array(range(V), pa.int32()),
        "row_class": pa.array(labels, pa.int32()),
        "row_class_size": pa.array(np.bincount(labels)[labels], pa.int32()),
        "text": pa.array([_text(each) for each in raw], pa.string()),
        "bytes": pa.array(raw, pa.binary()),
        "type": pa.array(["control"] * 3 + ["normal"] * 61 + [None] * len(PADDING), pa.string()),
        "category": pa.array(category, pa.string()),
        "reserved_name": pa.array(
            [i in (RESERVED_SPECIAL, RESERVED) for i in range(V)], pa.bool_()
        ),
        "reachable": pa.array(reachable, pa.bool_()),
        "evidence": pa.array(evidence, pa.string()),
        "evidence_why": pa.array([None] * V, pa.string()),
    }
    for name, values in changed.items():
        found[name] = pa.array(values, found[name].type)
    return pa.table(found)


def small(table: pa.Table | None = None, **model: Any) -> Exportable:
    """Return the vocabulary as an audit would have found it."""
    table = columns() if table is None else table
    facts = {"spec": "org/tiny", "source": "hub", "revision": "0" * 40, "name": "org/tiny"}
    counts = dict.fromkeys(("special", "byte", "partial_utf8", "reserved", "unreachable"), 1)
    return Exportable(
        columns=table,
        model=Model(**(facts | model)),
        matrix=MatrixFacts(
            tensor="lm_head.weight",
            role="output",
            tied=False,
            shape=[V, 8],
            dtype="bf16",
            values_dtype="bf16",
            sha256="f" * 64,
            why="it is there",
        ),
        rows=RowFacts(
            distinct=V - len(CLASS) + 1,
            distinct_without_bias=None,
            distinct_values=V - len(CLASS) + 1,
            classes=1,
            tokens_in_classes=len(CLASS),
            redundant=len(CLASS) - 1,
            sizes=[len(CLASS)],
            by_value=None,
            zero=0,
            subnormal=0,
            nonfinite=0,
            largest=[SizedClass(label=min(CLASS), size=len(CLASS), token_ids=sorted(CLASS))],
        ),
        tokens=TokensFacts(
            rows=V,
            in_tokenizer=64,
            padding=6,
            beyond_rows=0,
            tokenizer=TokenizerSource(source="tokenizer.json", kind="byte-level BPE", named=None),
            categories=counts | {"special": 3, "byte": 2, "ordinary": 56, "padding": 6},
            unreachable=2,
            causes={},
            scripts={},
            in_classes=None,
            special_in_classes=None,
            classes=[],
            cluster=None,
            modal_class=None,
            evidence=None,
        )
        if "category" in table.column_names
        else None,
        version="0.1.0",
    )


def write_results(directory: Path, of: Exportable, **changed: Any) -> Path:
    """Write the two files of a result directory, keys of the summary changed, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    summary: Mapping[str, Any] = {
        "schema": "isologit.audit/1",
        "isologit": of.version,
        **{
            name: msgspec.to_builtins(getattr(of, name))
            for name in ("model", "matrix", "rows", "tokens")
        },
        "notes": [],
    }
    (directory / "summary.json").write_text(json.dumps({**summary, **changed}), encoding="utf-8")
    pq.write_table(of.columns, directory / "tokens.parquet")
    return directory


def _text(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None
