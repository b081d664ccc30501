"""Which tokens an export is about, by name; special tokens and those of ordinary text are safe.

A server that is told never to produce a token that text needs, or that ends the text, is broken in
a way that nobody sees at once. So such tokens are selected only where their category is named, or
their ids are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isologit.checkpoint.wording import counted, shown
from isologit.errors import SelectionError, TokenIdError
from isologit.request import id_range
from isologit.tokens.categories import CATEGORIES

TokenIds = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

DEFAULT = ("padding",)
GROUPS = ("untrained", "duplicates")
# How the names are listed where one is not known.
NAMES = (*CATEGORIES, *GROUPS, "class:K", "id:1,5-9")

_LABEL = re.compile(r"class:([0-9]{1,10})")
# Categories whose tokens make up letters together, unless they are known to be in none.
_OF_TEXT = ("byte", "partial_utf8")


@dataclass(frozen=True, eq=False)
class Selection:
    """The tokens that were selected, and those that no name was strong enough for.

    Parameters
    ----------
    names
        What was asked for, one name each.
    token_ids
        ``[n]``, ascending.
    n_rows
        Rows of W.
    special, of_text
        What the names take in and is left out all the same, ascending: special tokens; tokens that
        text is encoded with.
    """

    names: tuple[str, ...]
    token_ids: TokenIds
    n_rows: int
    special: TokenIds
    of_text: TokenIds

    @property
    def allowed(self) -> Mask:
        """Which rows were not selected, ``[V]``."""
        allowed = np.ones(self.n_rows, dtype=np.bool_)
        allowed[self.token_ids] = False
        return allowed


def parse_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names in some texts, each of which may hold several between commas.

    The commas inside of ``id:1,5-9`` belong to it.

    Raises
    ------
    ValueError
        A name is not known; the message lists those that are.
    """
    names: list[str] = []
    for text in texts:
        in_ids = False
        for part in (part.strip() for part in text.split(",")):
            if in_ids and _is_name(f"id:{part}"):
                names[-1] += f",{part}"
                continue
            in_ids = part.startswith("id:")
            if not _is_name(part):
                raise ValueError(f"{shown(part)}: expected one of {', '.join(NAMES)}")
            names.append(part)
    return tuple(dict.fromkeys(names))


def select(columns: pa.Table, names: Sequence[str]) -> Selection:
    """Select tokens by name.

    A category's name takes its tokens. ``reserved`` takes special tokens with a reserved name too:
    Llama 3's are. ``untrained`` takes tokens whose evidence of no training is likely or strong,
    ``duplicates`` every token that shares its row with another, ``class:K`` those of a row class,
    ``id:1,5-9`` those named.

    Of what ``untrained``, ``duplicates`` and ``class:K`` take, special tokens and ordinary ones are
    left out, and bytes that some text may need, unless another name is their category's or holds
    their ids.

    Parameters
    ----------
    columns
        As in ``tokens.parquet``, V rows.
    names
        See `parse_names`.

    Raises
    ------
    ValueError
        A name is not known.
    TokenIdError
        An id is no row of W.
    SelectionError
        Nothing is selected, or everything; there is no such row class; or what the names need
        cannot be told from the columns.
    """
    names = parse_names(names)
    n_rows = columns.num_rows
    taken = np.zeros(n_rows, dtype=np.bool_)
    named = np.zeros(n_rows, dtype=np.bool_)
    for name in names:
        found = _found(columns, name)
        taken |= found
        if name in CATEGORIES or name.startswith("id:"):
            named |= found
    special, of_text = (
        (taken & ~named & mask for mask in _needed(columns))
        if (taken & ~named).any()
        else (np.zeros(n_rows, dtype=np.bool_),) * 2
    )
    chosen = taken & ~special & ~of_text
    if not chosen.any():
        raise SelectionError(_nothing(columns, names, int(special.sum()), int(of_text.sum())))
    if chosen.all():
        raise SelectionError(
            f"{', '.join(names)} takes all {counted(n_rows, 'row')}, and a mask has to leave one "
            "token allowed. Select fewer"
        )
    ids, *left_out = (np.flatnonzero(mask).astype(np.int32) for mask in (chosen, special, of_text))
    return Selection(names, ids, n_rows, *left_out)


def _is_name(part: str) -> bool:
    if part.startswith("id:"):
        try:
            id_range(part.removeprefix("id:"))
        except ValueError:
            return False
        return True
    return part in (*CATEGORIES, *GROUPS) or _LABEL.fullmatch(part) is not None


def _found(columns: pa.Table, name: str) -> Mask:
    """Return which tokens a name takes, ``[V]``."""
    if name.startswith("id:"):
        return _of_ids(name, columns.num_rows)
    if label := _LABEL.fullmatch(name):
        return _of_class(columns, int(label[1]))
    if name == "duplicates":
        return _numbers(columns, "row_class_size") > 1
    if name == "untrained":
        _require(columns, "evidence", name)
        return _is_one_of(columns, "evidence", ("likely", "strong"))
    _require(columns, "category", name)
    found = _is_one_of(columns, "category", (name,))
    if name == "reserved":
        found |= _is_one_of(columns, "category", ("special",)) & _flags(columns, "reserved_name")
    return found


def _needed(columns: pa.Table) -> tuple[Mask, Mask]:
    """Return the special tokens, and those that text is encoded with, ``[V]`` each."""
    _require(columns, "category", "which of them are special, or needed for text")
    of_text = _is_one_of(columns, "category", ("ordinary",))
    # Where it is not decided, what stands around a byte decides: letters are spelled with it.
    of_text |= _is_one_of(columns, "category", _OF_TEXT) & ~_is_false(columns, "reachable")
    return _is_one_of(columns, "category", ("special",)), of_text


def _of_ids(name: str, n_rows: int) -> Mask:
    found = np.zeros(n_rows, dtype=np.bool_)
    for part in name.removeprefix("id:").split(","):
        ids = id_range(part)
        if ids[-1] >= n_rows:
            raise TokenIdError(
                f"id:{part} is beyond the last row of W; expected ids from 0 to {n_rows - 1}"
            )
        found[ids.start : ids.stop] = True
    return found


def _of_class(columns: pa.Table, label: int) -> Mask:
    found: Mask = _numbers(columns, "row_class") == label
    if not found.any():
        last = int(_numbers(columns, "row_class").max())
        raise SelectionError(
            f"there is no row class {label}: labels go from 0 to {last}. They are in the column "
            "row_class of tokens.parquet"
        )
    return found


def _require(columns: pa.Table, column: str, what: str) -> None:
    if column in columns.column_names:
        return
    if column == "evidence":
        raise SelectionError(
            f"{what} cannot be told: there is no column evidence in what was audited. Audit the "
            "model again with its tokenizer, or select id:…"
        )
    raise SelectionError(
        f"{what} cannot be told without the model's tokenizer, and none was found. Name one with "
        "--tokenizer when the model is audited or exported, or select id:…"
    )


def _nothing(columns: pa.Table, names: Sequence[str], special: int, of_text: int) -> str:
    """Return why nothing was selected, and what may be done."""
    if special or of_text:
        left_out = [
            *([counted(special, "special token")] if special else []),
            *([counted(of_text, "token of text", "tokens of text")] if of_text else []),
        ]
        return (
            f"{', '.join(names)} takes nothing but {' and '.join(left_out)}, which are left out "
            "unless their category or their ids are named. Name them, if that is what you mean"
        )
    there = _categories(columns)
    instead = f"; the rows are {there}" if there else ""
    hint = "select another of " + ", ".join(NAMES)
    if tuple(names) == DEFAULT:
        hint += " (a GGUF file has tokens of its own in place of padding, which are reserved)"
    return f"{', '.join(names)} takes no token{instead}. To export others, {hint}"


def _categories(columns: pa.Table) -> str:
    if "category" not in columns.column_names:
        return ""
    counts: dict[str, int] = {
        str(each["values"]): each["counts"]
        for each in columns["category"].value_counts().to_pylist()
    }
    return ", ".join(f"{counts[name]:,} {name}" for name in CATEGORIES if name in counts)


def _numbers(columns: pa.Table, name: str) -> npt.NDArray[np.int32]:
    numbers: npt.NDArray[np.int32] = columns[name].to_numpy()
    return numbers


def _flags(columns: pa.Table, name: str) -> Mask:
    """Return a column of booleans, null as false; of one that is absent, none is true."""
    if name not in columns.column_names:
        return np.zeros(columns.num_rows, dtype=np.bool_)
    flags: Mask = pc.fill_null(columns[name], False).to_numpy()
    return flags


def _is_false(columns: pa.Table, name: str) -> Mask:
    """Return where a column of booleans is false, and not null; nowhere if it is absent."""
    if name not in columns.column_names:
        return np.zeros(columns.num_rows, dtype=np.bool_)
    found: Mask = pc.fill_null(pc.invert(columns[name]), False).to_numpy()
    return found


def _is_one_of(columns: pa.Table, name: str, words: Sequence[str]) -> Mask:
    found: Mask = pc.is_in(columns[name], value_set=pa.array(words)).to_numpy()
    return found
