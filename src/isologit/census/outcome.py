"""What became of one model: what a worker returns, and how it is kept until it is a row.

An outcome is kept as one file, whole or not at all: a digest, then MessagePack with the tables as
Arrow streams in it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import pyarrow as pa

from isologit import __version__
from isologit.census.naming import ANALYSIS, record_of, series_of
from isologit.output.json_text import utf8


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One model, done or failed.

    Parameters
    ----------
    status
        ``ok``; ``failed``; ``unchanged``, where the version that it has now has a record already;
        ``larger``, where it needs more memory than was declared for it (`needs`, bytes).
    row
        Its columns of the models table, without those that are null.
    classes, tokens
        Its rows of the other tables as Arrow streams; empty where there are none.
    """

    model: str
    status: Literal["ok", "failed", "unchanged", "larger"]
    row: dict[str, Any] = {}
    classes: bytes = b""
    tokens: bytes = b""
    needs: int = 0

    @property
    def record(self) -> str:
        """The name of its record."""
        return str(self.row["record"])

    def table(self, name: Literal["classes", "tokens"]) -> pa.Table | None:
        """Return its rows of one of the other tables; None where there are none."""
        content = self.classes if name == "classes" else self.tokens
        return pa.ipc.open_stream(content).read_all() if content else None


def done(
    model: str,
    figures: Mapping[str, Any],
    *,
    commit: str,
    tensor: str,
    classes: bytes,
    tokens: bytes,
) -> Outcome:
    """Return the outcome of a model that was audited."""
    row = {**figures, **_bookkeeping(model, "ok", commit, tensor)}
    return Outcome(model=model, status="ok", row=row, classes=classes, tokens=tokens)


def failed(model: str, error_class: str, message: str, *, commit: str, tensor: str) -> Outcome:
    """Return the outcome of a model that failed; its message becomes one line."""
    row = {
        **_bookkeeping(model, "failed", commit, tensor),
        "error_class": error_class,
        "error_message": utf8(" ".join(message.split())),
    }
    return Outcome(model=model, status="failed", row=row)


def _bookkeeping(model: str, status: str, commit: str, tensor: str) -> dict[str, Any]:
    series, step = series_of(model)
    return {
        "model": model,
        "status": status,
        "commit": commit,
        "series": series,
        "step": step,
        "record": record_of(model, commit, tensor),
        "analysis": ANALYSIS,
        "isologit": __version__,
        "finished": datetime.now(UTC),
    }


def stream(table: pa.Table) -> bytes:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def to_bytes(outcome: Outcome) -> bytes:
    """Return an outcome as bytes."""
    return msgspec.msgpack.encode(outcome)


def from_bytes(content: bytes) -> Outcome:
    """Return what `to_bytes` made.

    Raises
    ------
    msgspec.DecodeError
        It is nothing of the kind.
    """
    return msgspec.msgpack.decode(content, type=Outcome)
