"""The two Parquet tables: a row per token, and a row per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from isologit.equivalence.partition import Partition, token_mask
from isologit.equivalence.values import TokenValues
from isologit.result_files import PLACES
from isologit.steps import Arrays
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.evidence import GRADES, Evidence
from isologit.tokens.table import TokenTable

# Columns whose values repeat. Of others a dictionary is as long as the column, and making it is
# most of the time that a table takes.
_REPEATING = [
    *(
        "row_class_size",
        "row_value_class_size",
        "norm",
        "logit",
        "logit_class",
        "logit_class_size",
        "meet_class_size",
        "cosine",
    ),
    *("smallest", "largest", "relation"),
    *("type", "category", "cause", "script", "evidence"),
]


def write_tokens(path: Path, columns: pa.Table) -> None:
    """Write a row per row of W, of `token_columns`."""
    _write(path, columns)


def token_columns(arrays: Arrays) -> pa.Table:
    """Return a row per row of W: who its token is, its classes, sizes and figures.

    Classes of equal values stand beside those of equal bits where they are fewer. Of an audit the
    table's metadata say along which axes ``pc1`` to ``pc3`` are.
    """
    n_tokens = arrays.subject.head.matrix.n_tokens
    numbers: dict[str, npt.NDArray[Any]] = {
        "token_id": np.arange(n_tokens, dtype=np.int32),
        **_class_columns("row_class", arrays.rows.bits),
    }
    if coarser(arrays):
        numbers |= _class_columns("row_value_class", arrays.rows.values)
    if arrays.norms is not None:
        numbers["norm"] = arrays.norms
    metadata: dict[bytes, bytes] = {}
    if arrays.with_entries:
        numbers |= arrays.entries()
        places, facts = arrays.placed()
        metadata[PLACES] = msgspec.json.encode(facts)
        if places is not None:
            # A sum of d entries near the largest number of f32 is beyond it: an infinity.
            with np.errstate(over="ignore"):
                stored = places.astype(np.float32)
            numbers |= {f"pc{n}": stored[:, n - 1] for n in (1, 2, 3)}
    if arrays.logits is not None:
        numbers["logit"] = arrays.logits.values
        numbers |= _class_columns("logit_class", arrays.logits.partition)
    if arrays.meet is not None:
        numbers |= _class_columns("meet_class", arrays.meet)
    if arrays.cosines is not None:
        numbers["cosine"] = arrays.cosines.values
    if arrays.cluster_ids is not None:
        numbers["in_cluster"] = token_mask(arrays.cluster_ids, n_tokens)
    if arrays.class_ids is not None:
        numbers["in_modal_class"] = token_mask(arrays.class_ids, n_tokens)
    columns = {name: _column(values) for name, values in numbers.items()}
    if arrays.tokens is not None:
        columns |= _who(arrays.tokens)
    if arrays.evidence is not None:
        columns |= _training(arrays.evidence)
    return pa.table(columns, metadata=metadata)


def _who(tokens: TokenTable) -> dict[str, pa.Array]:
    """Return what the tokenizer tells of each row."""
    known, rows = tokens.tokenizer.vocabulary, range(tokens.n_rows)
    raw = [tokens.raw(i) for i in rows]
    scripts = tokens.scripts
    columns = {
        "text": _strings(
            [
                r if i < len(known) and known.texts[i] is not None else None
                for i, r in enumerate(raw)
            ]
        ),
        "bytes": _strings(raw, pa.binary()),
        "type": _words([tokens.declared(i) for i in rows]),
        "category": _words([CATEGORIES[each] for each in tokens.categories.tolist()]),
        "reserved_name": _column(tokens.reserved),
        "script": _words([scripts.names[c] if c >= 0 else None for c in scripts.codes.tolist()]),
    }
    if tokens.reachability is not None:
        lost = [tokens.lost(i) for i in rows]
        columns |= {
            "survives": _truths(tokens.reachability.survives, tokens.n_rows),
            "reachable": _truths(tokens.reachability.reachable, tokens.n_rows),
            "cause": _words([None if each is None else each.cause for each in lost]),
            "reencoded": _lists([None if each is None else each.reencoded for each in lost]),
        }
    return columns


def _training(evidence: Evidence) -> dict[str, pa.Array]:
    """Return what W says of each row's training."""
    graded = evidence.grades.tolist()
    flagged = np.logical_or.reduce(list(evidence.flags.values()))
    why: list[str | None] = [None] * len(graded)
    for i in np.flatnonzero(flagged).tolist():
        why[i] = "; ".join(evidence.reasons(i)) or None
    return {
        "evidence": _words([GRADES[n] for n in graded]),
        "evidence_why": _words(why),
        **{
            f"evidence_{name}": _column(values)
            for name, values in evidence.indicators.items()
            # A column of its own has it already.
            if name != "norm"
        },
    }


def write_classes(path: Path, arrays: Arrays) -> None:
    """Write a row per class of two tokens or more: row classes, then logit classes at the state, or
    those of the meet of many."""
    table = pa.concat_tables(
        [
            class_table("row", arrays.rows.bits),
            *([class_table("row_value", arrays.rows.values)] if coarser(arrays) else []),
            *(
                [class_table("logit", arrays.logits.partition, arrays.logits)]
                if arrays.logits is not None
                else []
            ),
            *([class_table("meet", arrays.meet)] if arrays.meet is not None else []),
        ]
    )
    _write(path, table)


def coarser(arrays: Arrays) -> bool:
    """Whether fewer rows differ by value than by stored bits."""
    return arrays.rows.values.n_classes < arrays.rows.bits.n_classes


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", use_dictionary=_REPEATING)


def _column(values: npt.NDArray[Any]) -> pa.Array:
    """Return a column over an array, without `pyarrow.array`: that imports pandas if it can."""
    kind = pa.from_numpy_dtype(values.dtype)
    stored = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
    buffer = pa.py_buffer(np.ascontiguousarray(stored))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def _words(values: Sequence[str | None]) -> pa.Array:
    return _strings([None if each is None else each.encode() for each in values])


def _strings(values: Sequence[bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    """Return a column of UTF-8 or of bytes, null where there is None."""
    lengths = np.fromiter((len(each or b"") for each in values), dtype=np.int64, count=len(values))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise OverflowError("a column of text has more than 2 GiB")
    buffers = [
        _present([each is not None for each in values]),
        pa.py_buffer(offsets.astype(np.int32)),
        pa.py_buffer(b"".join(each or b"" for each in values)),
    ]
    return pa.Array.from_buffers(kind or pa.string(), len(values), buffers)


def _lists(values: Sequence[Sequence[int] | None]) -> pa.Array:
    """Return a column of lists of ids, null where there is None."""
    lengths = [len(each or ()) for each in values]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = np.array([i for each in values for i in each or ()], dtype=np.int32)
    buffers = [_present([each is not None for each in values]), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(
        pa.list_(pa.int32()), len(values), buffers, children=[_column(ids)]
    )


def _truths(codes: npt.NDArray[np.int8], n_rows: int) -> pa.Array:
    """Return a column of truth values, null where the code is negative and beyond the codes."""
    padded = np.full(n_rows, -1, dtype=np.int8)
    padded[: len(codes)] = codes[:n_rows]
    bits = pa.py_buffer(np.packbits(padded > 0, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), n_rows, [_present(padded >= 0), bits])


def _present(flags: npt.ArrayLike) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.asarray(flags, dtype=np.bool_), bitorder="little"))


def _same_text(text: str, n_rows: int) -> pa.Array:
    data = text.encode()
    offsets = np.arange(n_rows + 1, dtype=np.int32) * np.int32(len(data))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data * n_rows)]
    return pa.Array.from_buffers(pa.string(), n_rows, buffers)


def _class_columns(name: str, partition: Partition) -> dict[str, npt.NDArray[np.int32]]:
    return {
        name: partition.labels,
        f"{name}_size": partition.sizes()[partition.labels].astype(np.int32),
    }


def class_table(relation: str, partition: Partition, values: TokenValues | None = None) -> pa.Table:
    """Return a row per class of two tokens or more: its label, size and tokens, largest first.

    `relation` says of what; `values` are the logits, where the classes are of these.
    """
    groups = partition.groups()
    offsets = np.concatenate([[0], np.cumsum([len(group) for group in groups])]).astype(np.int32)
    ids = np.concatenate(groups) if groups else np.empty(0, dtype=np.int32)
    firsts = ids[offsets[:-1]]
    logits = None if values is None else _column(values.values[firsts])
    return pa.table(
        {
            "relation": _same_text(relation, len(groups)),
            "label": _column(partition.labels[firsts]),
            "size": _column(np.diff(offsets)),
            "token_ids": pa.ListArray.from_arrays(_column(offsets), _column(ids)),
            "logit": pa.nulls(len(groups), pa.float64()) if logits is None else logits,
        }
    )
