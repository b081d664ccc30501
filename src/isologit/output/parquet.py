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


def write_tokens(path: Path, arrays: Arrays) -> None:
    """Write a row per row of W: its classes, sizes and figures."""
    n_tokens = arrays.subject.head.matrix.n_tokens
    columns: dict[str, Any] = {
        "token_id": np.arange(n_tokens, dtype=np.int32),
        **_class_columns("row_class", arrays.rows.bits),
    }
    if arrays.norms is not None:
        columns["norm"] = arrays.norms
    if arrays.logits is not None:
        columns["logit"] = arrays.logits.values
        columns |= _class_columns("logit_class", arrays.logits.partition)
    if arrays.cosines is not None:
        columns["cosine"] = arrays.cosines.values
    if arrays.cluster_ids is not None:
        columns["in_cluster"] = token_mask(arrays.cluster_ids, n_tokens)
    if arrays.class_ids is not None:
        columns["in_modal_class"] = token_mask(arrays.class_ids, n_tokens)
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_classes(path: Path, arrays: Arrays) -> None:
    """Write a row per class of two tokens or more: row classes, then logit classes at the state."""
    table = pa.concat_tables(
        [
            _class_table("row", arrays.rows.bits, None),
            *(
                [_class_table("logit", arrays.logits.partition, arrays.logits)]
                if arrays.logits is not None
                else []
            ),
        ]
    )
    pq.write_table(table, path, compression="zstd")


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
    logits = np.full(len(groups), np.nan) if values is None else values.values[firsts]
    return pa.table(
        {
            "relation": pa.array([relation] * len(groups), pa.string()),
            "label": pa.array(partition.labels[firsts], pa.int32()),
            "size": pa.array(np.diff(offsets), pa.int32()),
            "token_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids, pa.int32())),
            "logit": pa.array(logits, pa.float64(), mask=np.full(len(groups), values is None)),
        }
    )
