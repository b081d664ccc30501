"""The directory of a census: three tables of Parquet that grow, and what is not in them yet.

    DIR/
      census.json         what was asked; the same for every run on this directory
      models/             part-00000.parquet, …: a row a model; failed.parquet: those that failed
      classes/, tokens/   part-00000.parquet, …: of the models in the part of the same number
      pending/            a file an outcome, as it came; `fold` makes rows of them

Every file appears whole, by a rename. An outcome is kept as soon as it is there; some time later
many are folded into a part, by one process at a time, and a record that is in a part is never
folded again. So a run that is killed loses what was being computed and nothing else, and no row is
there twice, whoever else runs on the same directory.
"""

import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from isologit.census.columns import CLASSES, MODELS, TABLES, TOKENS, models_table
from isologit.census.naming import ANALYSIS, digest
from isologit.census.outcome import Outcome, from_bytes, to_bytes
from isologit.census.summary import CENSUS_SCHEMA
from isologit.checkpoint.hub.atomic import read_json, read_sealed, write_sealed
from isologit.checkpoint.wording import shown
from isologit.errors import OutputExistsError, OutputWriteError, ResultsError

_ABOUT = "census.json"
_PENDING = "pending"
_FAILED = "failed.parquet"
_PART = re.compile(r"part-(\d{5,})\.parquet")
# A part grows until it has so many rows or bytes: readers want few large files, and every fold
# writes the last of them again.
_MOST_ROWS = 4096
_MOST_BYTES = 16 << 20
# What a process that was killed left half written.
_STALE_SECONDS = 3600.0
# What identifies a row of models.
_KEYS = pa.schema([MODELS.field(name) for name in ("model", "commit", "record", "analysis")])
# Written in places of their own, where the last is what makes a record count.
_ORDER = ("tokens", "classes", "models")


@dataclass(frozen=True)
class Known:
    """What a census has of its models by this analysis.

    Parameters
    ----------
    done
        For each model that has records, the versions they are of, and the records.
    failed
        For each model that failed, the version that did.
    errors
        For each of these, the class of its error.
    """

    done: Mapping[str, Mapping[str, frozenset[str]]]
    failed: Mapping[str, str]
    errors: Mapping[str, str]


class Dataset:
    """The directory of a census.

    Parameters
    ----------
    directory
        Where; it is made if it is not there.
    settings
        What is asked of every model. None opens what is there, whatever was asked.

    Raises
    ------
    OutputExistsError
        The directory holds something else.
    ResultsError
        It holds a census that was asked something else, or none where there should be one.
    OutputWriteError
        The disk refuses.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any] | None) -> None:
        self.directory = directory
        about = read_json(directory / _ABOUT)
        if about is None and settings is None:
            raise ResultsError(
                f"{shown(str(directory))} holds no {_ABOUT}; expected the directory that isologit "
                "census wrote with -o"
            )
        if about is None and settings is not None:
            self._require_free()
            with self._writing():
                for name in (_PENDING, *TABLES):
                    (directory / name).mkdir(parents=True, exist_ok=True)
                about = self._begin({"schema": CENSUS_SCHEMA, "settings": dict(settings)})
        assert about is not None  # read or written above
        self._require_same(about, settings)
        self.settings: Mapping[str, Any] = about["settings"]
        # What the parts hold, each with the time at which it was written, and which were told of.
        self._read_parts: dict[Path, tuple[int, pa.Table]] = {}
        self._told: dict[Path, int] = {}

    def keep(self, outcome: Outcome) -> None:
        """Keep an outcome, whole or not at all; it replaces one of the same record.

        Raises
        ------
        OutputWriteError
            The disk refuses; nothing was left behind.
        """
        name = outcome.record if outcome.status == "ok" else f"failed-{digest(outcome.model)}"
        with self._writing():
            write_sealed(self.directory / _PENDING / name, to_bytes(outcome))

    def fold(self) -> int:
        """Make rows of the outcomes that are kept, and return how many there were.

        Raises
        ------
        OutputWriteError
            The disk refuses; every outcome is in a table or kept still.
        """
        with self._writing(), self._alone():
            self._sweep()
            kept = list(self._pending())
            ok, failed = self._sorted_out([outcome for _, outcome in kept])
            self._write_failed(failed, ok)
            for batch in _batches(ok):
                self._grow(batch)
            for path, _ in kept:
                path.unlink(missing_ok=True)
        return len(kept)

    def known(self) -> Known:
        """Return which models have a record, or failed, by this analysis.

        Raises
        ------
        ResultsError
            A table cannot be read.
        """
        failed = self._failed_rows()
        return Known(
            _versions(self._keys()),
            {row["model"]: row["commit"] for row in failed},
            {row["model"]: row["error_class"] for row in failed},
        )

    def news(self) -> Mapping[str, Mapping[str, frozenset[str]]]:
        """Return the records, as `Known.done`, of parts that have changed since this was asked.

        Raises
        ------
        ResultsError
            A table cannot be read.
        """
        before = dict(self._told)
        self._keys()
        self._told = {path: changed for path, (changed, _) in self._read_parts.items()}
        fresh = [
            table
            for path, (changed, table) in self._read_parts.items()
            if before.get(path) != changed
        ]
        return _versions(pa.concat_tables([_KEYS.empty_table(), *fresh]))

    def models(self) -> pa.Table:
        """Return every row of the models table.

        Raises
        ------
        ResultsError
            A file cannot be read.
        """
        return self._whole("models")

    def classes(self) -> pa.Table:
        """Return every row of the classes table.

        Raises
        ------
        ResultsError
            A file cannot be read.
        """
        return self._whole("classes")

    def _whole(self, name: str) -> pa.Table:
        paths = self._parts(name)
        if (failed := self.directory / name / _FAILED).exists():
            paths.append(failed)
        tables = [_read(path) for path in paths]
        return pa.concat_tables([TABLES[name].empty_table(), *tables], promote_options="default")

    # How a directory begins

    def _require_free(self) -> None:
        """Check that a census may be begun here: in a new directory, or an empty one."""
        with self._writing():
            if not os.path.lexists(self.directory):
                return
            there = sorted(self.directory.iterdir()) if self.directory.is_dir() else None
        # Another run may be making the same directory at this moment.
        strangers = [each for each in there or () if each.name not in (_PENDING, *TABLES)]
        strangers = [each for each in strangers if not each.name.startswith(f".{_ABOUT}")]
        if there is None or [each for each in strangers if each.name != _ABOUT]:
            what = "is no directory" if there is None else f"holds {shown(strangers[0].name)}"
            raise OutputExistsError(
                f"{shown(str(self.directory))} {what} and no census; nothing was touched. Choose "
                "another directory"
            )

    def _begin(self, about: Mapping[str, Any]) -> dict[str, Any] | None:
        """Write what is asked, unless another run has begun this directory meanwhile."""
        path = self.directory / _ABOUT
        temporary = self.directory / f".{_ABOUT}.{secrets.token_hex(8)}"
        try:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1))
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return read_json(path)

    def _require_same(self, about: Mapping[str, Any], settings: Mapping[str, Any] | None) -> None:
        where = shown(str(self.directory / _ABOUT))
        asked = about.get("settings")
        if about.get("schema") != CENSUS_SCHEMA or not isinstance(asked, dict):
            raise ResultsError(
                f"{where} is of {shown(str(about.get('schema')))}; expected {CENSUS_SCHEMA}, as "
                "this version of isologit census writes it. Choose another directory"
            )
        if settings is None:
            return
        others = [
            f"{name} {asked.get(name)!r}, and now {settings.get(name)!r}"
            for name in sorted({*asked, *settings})
            if asked.get(name) != settings.get(name)
        ]
        if others:
            raise ResultsError(
                f"{where} was begun with {shown('; '.join(others))}: rows of both would not "
                "compare. Give the same options, or another directory"
            )

    # Folding

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputWriteError(
                f"{shown(str(self.directory))} could not be written: {error.strerror or error}; "
                "what was there before is as it was. Make room, or choose a directory that may be "
                "written to, and run the same command again"
            ) from error

    def _alone(self) -> FileLock:
        return FileLock(self.directory / ".lock")

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for name in TABLES:
            # The lock is held, so that nobody else writes here.
            for path in (self.directory / name).glob(".*.tmp"):
                path.unlink(missing_ok=True)
        for path in (self.directory / _PENDING).glob("*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
        self._mend()

    def _mend(self) -> None:
        """Take out of the other tables what was written there for a models' part that never came.

        The models' part is written last, so these are as old as it, or such a run was killed.
        """
        parts = {path.name: path for path in self._parts("models")}
        for table in ("classes", "tokens"):
            for path in self._parts(table)[-2:]:
                if path.name not in parts:
                    path.unlink()
                elif path.stat().st_mtime_ns > parts[path.name].stat().st_mtime_ns:
                    records = _read(parts[path.name], ["record"])["record"].combine_chunks()
                    rows = _read(path)
                    self._put(table, path.name, rows.filter(pc.is_in(rows["record"], records)))

    def _pending(self) -> Iterator[tuple[Path, Outcome]]:
        for path in sorted((self.directory / _PENDING).iterdir()):
            if path.suffix == ".tmp":
                continue
            content = read_sealed(path)
            try:
                yield path, from_bytes(content if content is not None else b"")
            except msgspec.DecodeError:
                # Damaged by a crash of the system: its model is simply not done.
                path.unlink(missing_ok=True)

    def _sorted_out(self, outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
        """Return the outcomes whose record no part has yet, and those that failed."""
        ok = [each for each in outcomes if each.status == "ok"]
        records = pa.array([each.record for each in ok], pa.string())
        there = pc.is_in(records, self._keys(every=True)["record"].combine_chunks()).to_pylist()
        return (
            [each for each, is_there in zip(ok, there, strict=True) if not is_there],
            [each for each in outcomes if each.status == "failed"],
        )

    def _keys(self, *, every: bool = False) -> pa.Table:
        """Return model, version and record of what the parts hold: of this analysis, or of every.

        Parts that have not changed are not read again.
        """
        parts = self._parts("models")
        for path in parts:
            changed = path.stat().st_mtime_ns
            if self._read_parts.get(path, (None,))[0] != changed:
                self._read_parts[path] = changed, _read(path, _KEYS.names).cast(_KEYS)
        tables = [self._read_parts[path][1] for path in parts]
        found = pa.concat_tables([_KEYS.empty_table(), *tables])
        return found if every else found.filter(pc.equal(found["analysis"], ANALYSIS))

    def _failed_rows(self) -> list[dict[str, Any]]:
        path = self.directory / "models" / _FAILED
        if not path.exists():
            return []
        table = _read(path)
        rows: list[dict[str, Any]] = table.filter(pc.equal(table["analysis"], ANALYSIS)).to_pylist()
        return rows

    def _write_failed(self, failed: Sequence[Outcome], ok: Sequence[Outcome]) -> None:
        """Write which models failed, and have no record of the version that did.

        Before the parts: so no model is there as both, at any moment.
        """
        before = self._failed_rows()
        rows = {row["model"]: row for row in before}
        rows |= {each.model: models_table([each.row]).to_pylist()[0] for each in failed}
        if not rows:
            return
        done = {
            (model, commit) for model, versions in self.known().done.items() for commit in versions
        }
        done |= {(each.model, each.row["commit"]) for each in ok}
        since = {each.model: each.row["finished"] for each in ok}
        left = [
            row
            for model, row in rows.items()
            # It was done by another run; or it was mended, whatever version had failed.
            if (model, row["commit"]) not in done
            and not (model in since and row["finished"] <= since[model])
        ]
        if left != before:
            self._put("models", _FAILED, models_table(left))

    def _grow(self, batch: Sequence[Outcome]) -> None:
        """Write outcomes into the last part, or into a new one where that is full."""
        parts = self._parts("models")
        last = parts[-1] if parts else None
        number = int(_number(last)) if last is not None else 0
        if last is not None and not self._has_room(last, len(batch)):
            last, number = None, number + 1
        name = f"part-{number:05d}.parquet"
        for table in _ORDER:
            new = _rows(table, batch)
            path = self.directory / table / name
            if last is not None and path.exists():
                new = pa.concat_tables([_read(path), new], promote_options="default")
            if len(new):
                self._put(table, name, new)

    def _has_room(self, part: Path, n_rows: int) -> bool:
        paths = [self.directory / table / part.name for table in TABLES]
        n_bytes = sum(path.stat().st_size for path in paths if path.exists())
        return pq.read_metadata(part).num_rows + n_rows <= _MOST_ROWS and n_bytes < _MOST_BYTES

    def _parts(self, table: str) -> list[Path]:
        try:
            paths = list((self.directory / table).iterdir())
        except OSError as error:
            raise ResultsError(
                f"{shown(str(self.directory / table))} cannot be listed: "
                f"{error.strerror or error}; expected the directory of a census"
            ) from error
        return sorted((p for p in paths if _PART.fullmatch(p.name)), key=lambda p: int(_number(p)))

    def _put(self, table: str, name: str, content: pa.Table) -> None:
        path = self.directory / table / name
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


def _versions(keys: pa.Table) -> dict[str, dict[str, frozenset[str]]]:
    """Return the records of each version of each model."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    columns = (keys[name].to_pylist() for name in ("model", "commit", "record"))
    for model, commit, record in zip(*columns, strict=True):
        versions = found.setdefault(model, {})
        versions[commit] = versions.get(commit, frozenset()) | {record}
    return found


def _number(part: Path) -> str:
    match = _PART.fullmatch(part.name)
    assert match is not None  # as `_parts` lists them
    return match[1]


def _rows(table: str, batch: Sequence[Outcome]) -> pa.Table:
    if table == "models":
        return models_table([each.row for each in batch])
    schema = CLASSES if table == "classes" else TOKENS
    found = [each.table("classes" if table == "classes" else "tokens") for each in batch]
    return pa.concat_tables([schema.empty_table(), *(each for each in found if each is not None)])


def _batches(outcomes: Sequence[Outcome]) -> Iterable[list[Outcome]]:
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


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        # Not as a dataset, which would take the names of folders for columns.
        return pq.ParquetFile(path).read(columns)
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(
            f"{shown(str(path))} cannot be read: {' '.join(str(error).split())[:200]}; expected a "
            "table that isologit census wrote. Remove it, and what it held is done again"
        ) from error
