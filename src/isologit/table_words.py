"""Columns of a table of tokens that hold one of a few words each, as codes; what tokens are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isologit.tokens.categories import CATEGORIES, ORDINARY, UNREACHABLE
from isologit.tokens.table import CATEGORY_WORDS

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


def kinds_of(categories: Words, scripts: Words | None) -> Words:
    """Return what each token is: its script where it is text, else its category, as words for both.

    Parameters
    ----------
    categories
        Of the column of this name, with codes of `CATEGORIES`.
    scripts
        Of the column of this name.
    """
    names = [CATEGORY_WORDS[name] for name in CATEGORIES]
    codes = categories.codes.copy()
    if scripts is not None:
        of_script = np.isin(codes, (UNREACHABLE, ORDINARY)) & (scripts.codes >= 0)
        codes[of_script] = len(names) + scripts.codes[of_script]
        names += [name.replace("_", " ") for name in scripts.names]
    return Words(tuple(names), codes)
