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
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from isologit.census.columns import TABLES, models_table
from isologit.census.naming import ANALYSIS, digest
from isologit.census.outcome import Outcome, from_bytes, to_bytes
from isologit.census.parts import Parts, Versions, read_table, versions_of
from isologit.census.summary import CENSUS_SCHEMA
from isologit.checkpoint.hub.atomic import read_json, read_sealed, write_sealed
from isologit.checkpoint.wording import shown
from isologit.errors import OutputExistsError, OutputWriteError, ResultsError

_ABOUT = "census.json"
_PENDING = "pending"
_FAILED = "failed.parquet"
# What a process that was killed left half written.
_STALE_SECONDS = 3600.0


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

    done: Versions
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
        self._parts = Parts(directory)

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
            self._parts.add(ok)
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
            versions_of(self._parts.keys()),
            {row["model"]: row["commit"] for row in failed},
            {row["model"]: row["error_class"] for row in failed},
        )

    def news(self) -> Versions:
        """Return the records, as `Known.done`, that others or we have added since this was asked.

        Raises
        ------
        ResultsError
            A table cannot be read.
        """
        return self._parts.news()

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
        paths = self._parts.paths(name)
        if (failed := self.directory / name / _FAILED).exists():
            paths.append(failed)
        tables = [read_table(path) for path in paths]
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
        for path in (self.directory / _PENDING).glob("*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
        self._parts.mend()

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
        there = pc.is_in(
            records, self._parts.keys(every=True)["record"].combine_chunks()
        ).to_pylist()
        return (
            [each for each, is_there in zip(ok, there, strict=True) if not is_there],
            [each for each in outcomes if each.status == "failed"],
        )

    def _failed_rows(self) -> list[dict[str, Any]]:
        path = self.directory / "models" / _FAILED
        if not path.exists():
            return []
        table = read_table(path)
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
        keys = self._parts.keys()
        own = keys.filter(pc.is_in(keys["model"], pa.array(list(rows), pa.string())))
        done = set(zip(own["model"].to_pylist(), own["commit"].to_pylist(), strict=True))
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
            self._parts.put("models", _FAILED, models_table(left))
