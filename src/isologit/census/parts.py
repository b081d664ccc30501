"""The parts of a census's tables: files of Parquet that grow until they are full.

A part of ``classes`` or ``tokens`` belongs to that of ``models`` with its number, which is written
last and makes a record count. Whoever writes holds the lock of the directory.
"""

import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isologit.census.columns import CLASSES, MODELS, TABLES, TOKENS, models_table
from isologit.census.naming import ANALYSIS
from isologit.census.outcome import Outcome
from isologit.checkpoint.wording import shown
from isologit.errors import ResultsError

_PART = re.compile(r"part-(\d{5,})\.parquet")
# A part grows until it has so many rows or bytes: readers want few large files, and every fold
# writes the last of them again.
_MOST_ROWS = 4096
_MOST_BYTES = 16 << 20
# What identifies a row of models.
_KEYS = pa.schema([MODELS.field(name) for name in ("model", "commit", "record", "analysis")])
_ORDER = ("tokens", "classes", "models")

Versions = Mapping[str, Mapping[str, frozenset[str]]]


class Parts:
    """The parts of the tables in a directory; what they hold is read once, as long as it lasts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # What the parts hold, each with the time at which it was written, and which were told of.
        self._seen: dict[Path, tuple[int, pa.Table]] = {}
        self._told: dict[Path, int] = {}

    def keys(self, *, every: bool = False) -> pa.Table:
        """Return model, version and record of what the parts hold: of this analysis, or of every.

        Parts that have not changed are not read again.

        Raises
        ------
        ResultsError
            One cannot be read.
        """
        parts = self.paths("models")
        for path in parts:
            changed = path.stat().st_mtime_ns
            if self._seen.get(path, (None,))[0] != changed:
                self._seen[path] = changed, read_table(path, _KEYS.names).cast(_KEYS)
        tables = [self._seen[path][1] for path in parts]
        found = pa.concat_tables([_KEYS.empty_table(), *tables])
        return found if every else _of_this_analysis(found)

    def news(self) -> Versions:
        """Return the records of parts that have changed since this was asked, as `versions_of`.

        Raises
        ------
        ResultsError
            One cannot be read.
        """
        before = dict(self._told)
        self.keys()
        self._told = {path: changed for path, (changed, _) in self._seen.items()}
        fresh = [
            table for path, (changed, table) in self._seen.items() if before.get(path) != changed
        ]
        return versions_of(_of_this_analysis(pa.concat_tables([_KEYS.empty_table(), *fresh])))

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes into the last part, and into new ones where that is full.

        Raises
        ------
        OSError
            The disk refuses; what is in no part by then is to be added again.
        """
        for batch in _batches(outcomes):
            self._grow(batch)

    def _grow(self, batch: Sequence[Outcome]) -> None:
        parts = self.paths("models")
        last = parts[-1] if parts else None
        number = int(_number(last)) if last is not None else 0
        if last is not None and not self._has_room(last, len(batch)):
            last, number = None, number + 1
        name = f"part-{number:05d}.parquet"
        for table in _ORDER:
            new = _rows(table, batch)
            path = self._directory / table / name
            if last is not None and path.exists():
                new = pa.concat_tables([read_table(path), new], promote_options="default")
            if len(new):
                self.put(table, name, new)

    def _has_room(self, part: Path, n_rows: int) -> bool:
        paths = [self._directory / table / part.name for table in TABLES]
        n_bytes = sum(path.stat().st_size for path in paths if path.exists())
        return pq.read_metadata(part).num_rows + n_rows <= _MOST_ROWS and n_bytes < _MOST_BYTES

    def paths(self, table: str) -> list[Path]:
        """Return the parts of a table, in their order.

        Raises
        ------
        ResultsError
            The table's folder cannot be listed.
        """
        try:
            paths = list((self._directory / table).iterdir())
        except OSError as error:
            raise ResultsError(
                f"{shown(str(self._directory / table))} cannot be listed: "
                f"{error.strerror or error}; expected the directory of a census"
            ) from error
        return sorted((p for p in paths if _PART.fullmatch(p.name)), key=lambda p: int(_number(p)))

    def put(self, table: str, name: str, content: pa.Table) -> None:
        """Write a file of a table, in the place of one that is there; whole or not at all.

        Raises
        ------
        OSError
        """
        path = self._directory / table / name
        temporary = path.with_name(f".{name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:
                pq.write_table(content, file, compression="zstd")
                file.flush()
                # The outcomes are removed next: after a crash of the system one of both is there.
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def mend(self) -> None:
        """Take out of the other tables what was written there for a models' part that never came.

        The models' part is written last, so these are as old as it, or such a run was killed. And
        remove what such a run left half written.

        Raises
        ------
        OSError
        """
        for name in TABLES:
            for path in (self._directory / name).glob(".*.tmp"):
                path.unlink(missing_ok=True)
        parts = {path.name: path for path in self.paths("models")}
        for table in ("classes", "tokens"):
            for path in self.paths(table)[-2:]:
                if path.name not in parts:
                    path.unlink()
                elif path.stat().st_mtime_ns > parts[path.name].stat().st_mtime_ns:
                    records = read_table(parts[path.name], ["record"])["record"].combine_chunks()
                    rows = read_table(path)
                    self.put(table, path.name, rows.filter(pc.is_in(rows["record"], records)))


def versions_of(keys: pa.Table) -> dict[str, dict[str, frozenset[str]]]:
    """Return the records of each version of each model."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    columns = (keys[name].to_pylist() for name in ("model", "commit", "record"))
    for model, commit, record in zip(*columns, strict=True):
        versions = found.setdefault(model, {})
        versions[commit] = versions.get(commit, frozenset()) | {record}
    return found


def _of_this_analysis(keys: pa.Table) -> pa.Table:
    return keys.filter(pc.equal(keys["analysis"], ANALYSIS))


def _number(part: Path) -> str:
    match = _PART.fullmatch(part.name)
    assert match is not None  # as `paths` lists them
    return match[1]


def _rows(table: str, batch: Sequence[Outcome]) -> pa.Table:
    if table == "models":
        return models_table([each.row for each in batch])
    schema = CLASSES if table == "classes" else TOKENS
    found = [each.table("classes" if table == "classes" else "tokens") for each in batch]
    return pa.concat_tables([schema.empty_table(), *(each for each in found if each is not None)])


def _batches(outcomes: Sequence[Outcome]) -> Iterator[list[Outcome]]:
    """Yield outcomes in batches that a part may have."""
    batch: list[Outcome] = []
    n_bytes = 0
    for each in outcomes:
        if batch and (len(batch) == _MOST_ROWS or n_bytes > _MOST_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(each)
        n_bytes += len(each.classes) + len(each.tokens)
    if batch:
        yield batch


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a file of a table, or some columns of it.

    Raises
    ------
    ResultsError
        It cannot be read as one.
    """
    try:
        # Not as a dataset, which would take the names of folders for columns.
        return pq.ParquetFile(path).read(columns)
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(
            f"{shown(str(path))} cannot be read: {' '.join(str(error).split())[:200]}; expected a "
            "table that isologit census wrote. Remove it, and what it held is done again"
        ) from error
