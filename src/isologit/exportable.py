"""What an export is made of: a table of tokens and what it is about, read back from a directory.

A result directory may come from anywhere: nothing in it is believed before it has been checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isologit.checkpoint.config import Settings, read_config
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import ConfigError, ResultsError
from isologit.findings import AUDIT_SCHEMA, MatrixFacts, RowFacts
from isologit.record import Model, Record
from isologit.token_findings import TokensFacts
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.evidence import GRADES

SUMMARY, TABLE = "summary.json", "tokens.parquet"

# The columns that exports use, and their types; the first three are always there.
_COLUMNS: dict[str, pa.DataType] = {
    "token_id": pa.int32(),
    "row_class": pa.int32(),
    "row_class_size": pa.int32(),
    "text": pa.string(),
    "bytes": pa.binary(),
    "type": pa.string(),
    "category": pa.string(),
    "reserved_name": pa.bool_(),
    "reachable": pa.bool_(),
    "evidence": pa.string(),
    "evidence_why": pa.string(),
}
_ALWAYS = ("token_id", "row_class", "row_class_size")
_NEVER_NULL = (*_ALWAYS, "category", "reserved_name")
_WORDS = {"category": CATEGORIES, "evidence": GRADES}

# More than the summary of any audit has, and than the columns of a million tokens need.
_LARGEST_SUMMARY = 256 << 20
_LARGEST_TABLE = 1 << 30

# The ids of config.json that generation needs, and that a generation_config.json of its own hides.
_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@dataclass(frozen=True, eq=False)
class Exportable:
    """The tokens of a model as an audit found them, and what was audited.

    Parameters
    ----------
    columns
        The columns of ``tokens.parquet``, V rows. Those that the tokenizer tells, from ``text`` to
        ``reachable``, are absent where there was none; ``evidence`` where it was not looked for.
    model
        Which checkpoint.
    matrix
        Which tensor W is, its shape and digest.
    rows
        Its row classes.
    tokens
        Who the rows are, in numbers; None without a tokenizer.
    version
        The isologit that found it.
    notes
        What a reader has to know.
    """

    columns: pa.Table
    model: Model
    matrix: MatrixFacts
    rows: RowFacts
    tokens: TokensFacts | None
    version: str
    notes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows of W, V."""
        return self.matrix.shape[0]


class _Summary(Record, frozen=True, kw_only=True):
    """What is used of ``summary.json``."""

    isologit: str
    model: Model
    matrix: MatrixFacts
    rows: RowFacts
    tokens: TokensFacts | None = None
    notes: list[str] = msgspec.field(default_factory=list)


class _Schema(Record, frozen=True, kw_only=True):
    """What every document of isologit says of itself."""

    schema: str


def is_results(path: Path) -> bool:
    """Whether a path is a directory with the two files that are read; a model has neither."""
    return (path / SUMMARY).is_file() and (path / TABLE).is_file()


def read_results(directory: Path) -> Exportable:
    """Read the directory that ``audit -o`` wrote.

    Parameters
    ----------
    directory
        With its ``summary.json`` and ``tokens.parquet``.

    Raises
    ------
    ResultsError
        A file cannot be read, is not what an audit writes, or the two do not go together.
    """
    summary = _summary(directory / SUMMARY)
    shape = summary.matrix.shape
    if len(shape) != 2 or not all(0 < n < 1 << 31 for n in shape):
        raise _damaged(directory / SUMMARY, f"W is {shown_shape(shape)}", "[V, d]")
    return Exportable(
        columns=_table(directory / TABLE, shape[0]),
        model=summary.model,
        matrix=summary.matrix,
        rows=summary.rows,
        tokens=summary.tokens,
        version=summary.isologit,
        notes=tuple(summary.notes),
    )


def generation_config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Return the settings of generation that a model has now.

    They are those of its ``generation_config.json``. Where there is none, transformers takes the
    ids of ``config.json`` instead, and no longer does once there is one: so they are returned then.

    Raises
    ------
    ConfigError
        The file cannot be read, or its ``suppress_tokens`` are no list of ids.
    HubError
        It could not be fetched.
    """
    path = checkpoint.folder.find("generation_config.json")
    if path is None:
        config = Settings.of(checkpoint.config, checkpoint.config_name, "config.json")
        # A multimodal model's own value goes before its language model's, as in transformers.
        given = {name: config.given(name)[-1:] for name in _SPECIAL_IDS}
        return {name: values[0] for name, values in given.items() if values and _is_ids(values[0])}
    found = read_config(path)
    suppressed = found.get("suppress_tokens")
    if suppressed is not None and not (isinstance(suppressed, list) and _is_ids(suppressed)):
        raise ConfigError(
            f"{shown(str(path))}: suppress_tokens is no list of token ids, to which those selected "
            "could be added; correct it first"
        )
    return found


def _is_ids(value: object) -> bool:
    return type(value) is int or (
        isinstance(value, list) and all(type(token_id) is int for token_id in value)
    )


def _summary(path: Path) -> _Summary:
    try:
        if path.stat().st_size > _LARGEST_SUMMARY:
            raise _damaged(path, "larger than any summary", f"up to {_LARGEST_SUMMARY:,} bytes")
        raw = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        schema = msgspec.json.decode(raw, type=_Schema).schema
    except msgspec.MsgspecError:
        raise _damaged(path, "no document of isologit", "JSON with a schema") from None
    except RecursionError:
        raise _damaged(path, "nested too deep", "a summary") from None
    if schema != AUDIT_SCHEMA:
        raise _damaged(path, f"schema {shown(schema)}", AUDIT_SCHEMA)
    try:
        return msgspec.json.decode(raw, type=_Summary)
    except msgspec.MsgspecError as error:
        raise _damaged(path, shown(str(error)), f"the keys of {AUDIT_SCHEMA}") from None


def _table(path: Path, n_rows: int) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        facts = file.metadata
        if facts.num_rows != n_rows:
            raise _damaged(path, f"{facts.num_rows:,} rows", f"{n_rows:,}, as {SUMMARY} has them")
        groups = (facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
        if sum(groups) > _LARGEST_TABLE:
            raise _damaged(path, "larger than any table", f"up to {_LARGEST_TABLE:,} bytes")
        known = file.schema_arrow
        for name in _ALWAYS:
            if name not in known.names:
                raise _damaged(path, f"no column {name}", "those of docs/outputs.md")
        wanted = [name for name in _COLUMNS if name in known.names]
        for name in wanted:
            if known.field(name).type != _COLUMNS[name]:
                raise _damaged(
                    path, f"{name} of {shown(str(known.field(name).type))}", str(_COLUMNS[name])
                )
        columns = file.read(columns=wanted)
        columns.validate(full=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (pa.ArrowException, ValueError) as error:
        raise _damaged(path, shown(str(error)), "a Parquet file") from None
    _check(path, columns)
    return columns


def _check(path: Path, columns: pa.Table) -> None:
    """Check that the values of a table are such as an audit writes."""
    present = set(columns.column_names)
    if "category" in present and "reserved_name" not in present:
        raise _damaged(path, "category without reserved_name", "both or neither")
    for name in _NEVER_NULL:
        if name in present and columns[name].null_count:
            raise _damaged(path, f"{name} with nulls", "a value a token")
    for name, words in _WORDS.items():
        for value in columns[name].unique().to_pylist() if name in present else ():
            if value is not None and value not in words:
                raise _damaged(path, f"{name} {shown(value)}", ", ".join(words))
    ids, labels, sizes = (columns[name].to_numpy() for name in _ALWAYS)
    if not np.array_equal(ids, np.arange(len(ids))):
        raise _damaged(path, "token_id out of order", "0, 1, 2, …")
    if labels.min() < 0 or labels.max() >= len(labels):
        raise _damaged(path, "row_class beyond the number of rows", "labels from 0")
    if not np.array_equal(sizes, np.bincount(labels)[labels]):
        raise _damaged(path, "row_class_size unlike the classes", "how many tokens each has")


def _damaged(path: Path, got: str, expected: str) -> ResultsError:
    return ResultsError(
        f"{shown(str(path))} is not what isologit audit writes: {got}; expected {expected}. "
        "Audit the model again with -o DIR"
    )


def _unreadable(path: Path, error: OSError) -> ResultsError:
    return ResultsError(
        f"{shown(str(path))} cannot be read: {error.strerror or shown(str(error))}; expected what "
        "isologit audit writes. Audit the model again with -o DIR"
    )
