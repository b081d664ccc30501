"""Columns of a table of tokens that hold one of a few words for each, as codes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Words:
    """One of a few words for each row: ``codes`` ``[V]`` index into ``names``; −1 is none."""

    names: tuple[str, ...]
    codes: Codes


def words_in(table: pa.Table, name: str, names: tuple[str, ...] | None) -> Words | None:
    """Return a column of a few words as codes; without `names` by how common they are."""
    if name not in table.column_names:
        return None
    encoded = table[name].combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    if names is None:
        counts = np.bincount(codes[codes >= 0], minlength=len(found))
        order = np.argsort(-counts, kind="stable").tolist()
        names = tuple(found[i] for i in order)
    place = {word: n for n, word in enumerate(names)}
    ranks = np.array([place[word] for word in found] + [-1], dtype=np.int64)
    return Words(names, ranks[codes])
