"""What an export is made of: a table of tokens and what it is about, read back from a directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from isologit.checkpoint.config import Settings, read_config
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.wording import shown
from isologit.errors import ConfigError
from isologit.findings import MatrixFacts, RowFacts
from isologit.record import Model, Record
from isologit.result_files import read_summary, read_table
from isologit.token_findings import TokensFacts

# The columns that exports use beside those that are always there, and their types.
_COLUMNS: dict[str, pa.DataType] = {
    "text": pa.string(),
    "bytes": pa.binary(),
    "type": pa.string(),
    "category": pa.string(),
    "reserved_name": pa.bool_(),
    "reachable": pa.bool_(),
    "evidence": pa.string(),
    "evidence_why": pa.string(),
}
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
    summary = read_summary(directory, _Summary)
    return Exportable(
        columns=read_table(directory, summary.matrix, _COLUMNS),
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
