"""The two Parquet tables: a row per token, and a row per class."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from isologit.equivalence.partition import Partition, token_mask
from isologit.equivalence.values import TokenValues
from isologit.steps import Arrays

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
        "cosine",
    ),
    *("smallest", "largest", "relation"),
]


def write_tokens(path: Path, arrays: Arrays) -> None:
    """Write a row per row of W: its classes, sizes and figures.

    Classes of equal values are written beside those of equal bits where they are fewer.
    """
    n_tokens = arrays.subject.head.matrix.n_tokens
    columns: dict[str, npt.NDArray[Any]] = {
        "token_id": np.arange(n_tokens, dtype=np.int32),
        **_class_columns("row_class", arrays.rows.bits),
    }
    if _coarser(arrays):
        columns |= _class_columns("row_value_class", arrays.rows.values)
    if arrays.norms is not None:
        columns["norm"] = arrays.norms
    if arrays.with_entries:
        columns |= arrays.entries()
    if arrays.logits is not None:
        columns["logit"] = arrays.logits.values
        columns |= _class_columns("logit_class", arrays.logits.partition)
    if arrays.cosines is not None:
        columns["cosine"] = arrays.cosines.values
    if arrays.cluster_ids is not None:
        columns["in_cluster"] = token_mask(arrays.cluster_ids, n_tokens)
    if arrays.class_ids is not None:
        columns["in_modal_class"] = token_mask(arrays.class_ids, n_tokens)
    _write(path, pa.table({name: _column(values) for name, values in columns.items()}))


def write_classes(path: Path, arrays: Arrays) -> None:
    """Write a row per class of two tokens or more: row classes, then logit classes at the state."""
    table = pa.concat_tables(
        [
            _class_table("row", arrays.rows.bits, None),
            *([_class_table("row_value", arrays.rows.values, None)] if _coarser(arrays) else []),
            *(
                [_class_table("logit", arrays.logits.partition, arrays.logits)]
                if arrays.logits is not None
                else []
            ),
        ]
    )
    _write(path, table)


def _coarser(arrays: Arrays) -> bool:
    return arrays.rows.values.n_classes < arrays.rows.bits.n_classes


def _write(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", use_dictionary=_REPEATING)


def _column(values: npt.NDArray[Any]) -> pa.Array:
    """Return a column over an array, without `pyarrow.array`: that imports pandas if it can."""
    kind = pa.from_numpy_dtype(values.dtype)
    stored = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
    buffer = pa.py_buffer(np.ascontiguousarray(stored))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


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


def _class_table(relation: str, partition: Partition, values: TokenValues | None) -> pa.Table:
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
