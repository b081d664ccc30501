"""Reading back what ``audit -o DIR`` and ``classes -o DIR`` wrote: the summary, and the tokens.

A result directory may come from anywhere: nothing in it is believed before it has been checked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import ResultsError
from isologit.findings import AUDIT_SCHEMA, MatrixFacts
from isologit.record import Record
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.evidence import GRADES

SUMMARY, TABLE = "summary.json", "tokens.parquet"
# Where the table's metadata say along which axes its places are.
PLACES = b"isologit.places"

# The columns that every table has.
_ALWAYS = {"token_id": pa.int32(), "row_class": pa.int32(), "row_class_size": pa.int32()}
_NEVER_NULL = (
    *(*_ALWAYS, "row_value_class", "category", "reserved_name"),
    *("norm", "sum", "smallest", "largest"),
    *("logit", "cosine", "in_cluster", "in_modal_class", "pc1", "pc2", "pc3"),
)
_WORDS = {"category": CATEGORIES, "evidence": GRADES}

# More than the summary of any audit has, and than the columns of a million tokens need.
_LARGEST_SUMMARY = 256 << 20
_LARGEST_TABLE = 1 << 30

_T = TypeVar("_T")


class _Schema(Record, frozen=True, kw_only=True):
    """What every document of isologit says of itself."""

    schema: str


def is_results(path: Path) -> bool:
    """Whether a path is a directory with the two files that are read; a model has neither."""
    return (path / SUMMARY).is_file() and (path / TABLE).is_file()


def read_summary(directory: Path, kind: type[_T], schemas: Sequence[str] = (AUDIT_SCHEMA,)) -> _T:
    """Read a directory's ``summary.json``.

    Parameters
    ----------
    directory
        The result directory.
    kind
        A record of the keys that are used.
    schemas
        What the document may be.

    Raises
    ------
    ResultsError
        The file cannot be read, or is not such a document.
    """
    path = directory / SUMMARY
    try:
        if path.stat().st_size > _LARGEST_SUMMARY:
            raise damaged(path, "larger than any summary", f"up to {_LARGEST_SUMMARY:,} bytes")
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        schema = msgspec.json.decode(raw, type=_Schema).schema
    except msgspec.MsgspecError:
        raise damaged(path, "no document of isologit", "JSON with a schema") from None
    except RecursionError:
        raise damaged(path, "nested too deep", "a summary") from None
    if schema not in schemas:
        raise damaged(path, f"schema {shown(schema)}", " or ".join(schemas))
    try:
        # Not strict, since "nan", "inf" and "-inf" stand for numbers that JSON has not.
        return msgspec.json.decode(raw, type=kind, strict=False)
    except msgspec.MsgspecError as error:
        raise damaged(path, shown(str(error)), f"the keys of {schema}") from None


def read_table(
    directory: Path,
    matrix: MatrixFacts,
    columns: Mapping[str, pa.DataType],
    *,
    whole: bool = False,
) -> pa.Table:
    """Read columns of a directory's ``tokens.parquet``: those of them that it has, and three more.

    ``token_id``, ``row_class`` and ``row_class_size`` are always there.

    Parameters
    ----------
    directory
        The result directory.
    matrix
        What its summary says of W.
    columns
        Names and types.
    whole
        Read every other column too, whatever it is.

    Raises
    ------
    ResultsError
        W has no shape, or the file cannot be read, has another number of rows, or is not such a
        table.
    """
    shape = matrix.shape
    if len(shape) != 2 or not all(0 < n < 1 << 31 for n in shape):
        raise damaged(directory / SUMMARY, f"W is {shown_shape(shape)}", "[V, d]")
    path, expected = directory / TABLE, {**_ALWAYS, **columns}
    try:
        file = pq.ParquetFile(path)
        facts = file.metadata
        if facts.num_rows != shape[0]:
            raise damaged(path, f"{facts.num_rows:,} rows", f"{shape[0]:,}, as {SUMMARY} has them")
        groups = (facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
        if sum(groups) > _LARGEST_TABLE:
            raise damaged(path, "larger than any table", f"up to {_LARGEST_TABLE:,} bytes")
        known = file.schema_arrow
        for name in _ALWAYS:
            if name not in known.names:
                raise damaged(path, f"no column {name}", "those of docs/outputs.md")
        wanted = [name for name in expected if name in known.names]
        for name in wanted:
            if known.field(name).type != expected[name]:
                raise damaged(
                    path, f"{name} of {shown(str(known.field(name).type))}", str(expected[name])
                )
        table = file.read(columns=None if whole else wanted)
        table.validate(full=True)
    except OSError as error:
        raise unreadable(path, error) from error
    except (pa.ArrowException, ValueError) as error:
        raise damaged(path, shown(str(error)), "a Parquet file") from None
    _check(path, table)
    return table


def damaged(path: Path, got: str, expected: str) -> ResultsError:
    """Return the error of a file that is not what isologit writes."""
    return ResultsError(
        f"{shown(str(path))} is not what isologit audit writes: {got}; expected {expected}. "
        "Audit the model again with -o DIR"
    )


def unreadable(path: Path, error: OSError) -> ResultsError:
    """Return the error of a file or a directory that cannot be read."""
    return ResultsError(
        f"{shown(str(path))} cannot be read: {error.strerror or shown(str(error))}; expected what "
        "isologit audit writes. Audit the model again with -o DIR"
    )


def _check(path: Path, columns: pa.Table) -> None:
    """Check that the values of a table are such as an audit writes."""
    present = set(columns.column_names)
    if "category" in present and "reserved_name" not in present:
        raise damaged(path, "category without reserved_name", "both or neither")
    for name in _NEVER_NULL:
        if name in present and columns[name].null_count:
            raise damaged(path, f"{name} with nulls", "a value a token")
    for name, words in _WORDS.items():
        for value in columns[name].unique().to_pylist() if name in present else ():
            if value is not None and value not in words:
                raise damaged(path, f"{name} {shown(value)}", ", ".join(words))
    ids, labels, sizes = (columns[name].to_numpy() for name in _ALWAYS)
    if not np.array_equal(ids, np.arange(len(ids))):
        raise damaged(path, "token_id out of order", "0, 1, 2, …")
    if labels.min() < 0 or labels.max() >= len(labels):
        raise damaged(path, "row_class beyond the number of rows", "labels from 0")
    if not np.array_equal(sizes, np.bincount(labels)[labels]):
        raise damaged(path, "row_class_size unlike the classes", "how many tokens each has")
