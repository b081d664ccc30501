"""The directory: every record once, whatever dies between two writes, whoever else writes."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from isologit.census import parts
from isologit.census.columns import CLASSES, MODELS, TOKENS
from isologit.census.dataset import Dataset
from isologit.census.outcome import Outcome, done, failed, stream
from isologit.census.parts import Parts
from isologit.errors import OutputExistsError, OutputWriteError, ResultsError

SETTINGS = {"role": "output", "analyses": ["gap"]}


def new(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "out", SETTINGS)


def ok(name: str, commit: str = "v", *, n_classes: int = 1, tokens: bool = False) -> Outcome:
    """Return an outcome with as many classes as is said."""
    outcome = done(name, {"redundant_rows": 7}, commit=commit, tensor="W", classes=b"", tokens=b"")
    whose = {"record": outcome.record, "model": name}
    rows = [{**whose, "relation": "row", "label": n, "size": 2} for n in range(n_classes)]
    table = pa.Table.from_pylist(rows, schema=CLASSES)
    ids = pa.Table.from_pylist([{**whose, "token_id": 0}], schema=TOKENS)
    return msgspec.structs.replace(
        outcome, classes=stream(table), tokens=stream(ids) if tokens else b""
    )


def bad(name: str, commit: str = "v", why: str = "why") -> Outcome:
    return failed(name, "TruncatedFileError", why, commit=commit, tensor="")


def later(outcome: Outcome, seconds: float = 60) -> Outcome:
    finished = outcome.row["finished"] + timedelta(seconds=seconds)
    return msgspec.structs.replace(outcome, row=outcome.row | {"finished": finished})


def put(dataset: Dataset, *outcomes: Outcome) -> None:
    for each in outcomes:
        dataset.keep(each)
    dataset.fold()


def statuses(dataset: Dataset) -> list[tuple[str, str, str]]:
    table = dataset.models()
    columns = (table[name].to_pylist() for name in ("model", "commit", "status"))
    return sorted(zip(*columns, strict=True))


def check_whole(dataset: Dataset) -> None:
    """Every record once, and of each the classes that it came with."""
    records = dataset.models()["record"].to_pylist()
    assert len(records) == len(set(records))
    classes = dataset.classes()
    pairs = list(zip(classes["record"].to_pylist(), classes["label"].to_pylist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert {record for record, _ in pairs} <= set(records)


def test_what_is_kept_becomes_rows(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    put(dataset, ok("/a"), ok("/b", n_classes=3), bad("/c"))
    assert statuses(dataset) == [("/a", "v", "ok"), ("/b", "v", "ok"), ("/c", "v", "failed")]
    assert sorted(dataset.classes()["model"].to_pylist()) == ["/a", "/b", "/b", "/b"]
    assert list((tmp_path / "out" / "pending").iterdir()) == []
    known = dataset.known()
    assert set(known.done) == {"/a", "/b"}
    assert known.failed == {"/c": "v"}
    assert known.errors == {"/c": "TruncatedFileError"}


def test_duckdb_polars_and_pandas_read_it(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    put(dataset, ok("/a", tokens=True), ok("/b", tokens=True), bad("/c"))
    out = tmp_path / "out"
    with duckdb.connect() as connection:
        query = f"SELECT count(*), sum(redundant_rows) FROM '{out}/models/*.parquet'"
        assert connection.execute(query).fetchall() == [(3, 14)]
        query = f"SELECT count(*) FROM '{out}/tokens/*.parquet'"
        assert connection.execute(query).fetchall() == [(2,)]
    models = pl.read_parquet(out / "models" / "*.parquet")
    assert models.schema["finished"] == pl.Datetime("ms", "UTC")
    assert models["model"].sort().to_list() == ["/a", "/b", "/c"]
    frame = pd.read_parquet(out / "models")
    assert frame["redundant_rows"].sum() == 14
    assert list(frame.columns) == MODELS.names


def test_a_record_that_comes_twice_is_one_row(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    put(dataset, ok("/a"), ok("/a"))
    put(dataset, ok("/a"), ok("/b"))
    put(dataset, ok("/a"))
    assert statuses(dataset) == [("/a", "v", "ok"), ("/b", "v", "ok")]
    check_whole(dataset)


def test_a_new_version_is_a_row_beside_the_old_one(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    put(dataset, ok("/a", "v"))
    put(dataset, ok("/a", "w"))
    assert statuses(dataset) == [("/a", "v", "ok"), ("/a", "w", "ok")]
    assert set(dataset.known().done["/a"]) == {"v", "w"}


def test_a_failure_goes_when_its_model_is_done(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    put(dataset, bad("/a"), bad("/b"), bad("/c", ""))
    put(dataset, later(bad("/a", why="again")))
    assert statuses(dataset)[0] == ("/a", "v", "failed")
    assert "again" in dataset.models()["error_message"].to_pylist()
    put(dataset, later(ok("/a", "w"), 120), later(ok("/c"), 60))
    assert statuses(dataset) == [("/a", "w", "ok"), ("/b", "v", "failed"), ("/c", "v", "ok")]


def test_a_failure_of_a_version_that_was_done_is_none(tmp_path: Path) -> None:
    # Of two runs one did it, and the other ran out of memory.
    dataset = new(tmp_path)
    put(dataset, ok("/a"))
    put(dataset, later(bad("/a")))
    assert statuses(dataset) == [("/a", "v", "ok")]
    put(dataset, later(bad("/a", "w")))
    assert statuses(dataset) == [("/a", "v", "ok"), ("/a", "w", "failed")]


def test_parts_grow_until_they_are_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_MOST_ROWS", 10)
    dataset = new(tmp_path)
    for n in range(7):
        put(dataset, *(ok(f"/{n}-{k}") for k in range(4)))
    names = sorted(path.name for path in (tmp_path / "out" / "models").iterdir())
    assert names == [f"part-{n:05d}.parquet" for n in range(4)]
    assert len(statuses(dataset)) == 28
    check_whole(dataset)
    put(dataset, *(ok(f"/x-{k}") for k in range(25)))
    assert len(statuses(dataset)) == 53
    check_whole(dataset)


def test_large_parts_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_MOST_BYTES", 20_000)
    dataset = new(tmp_path)
    put(dataset, *(ok(f"/a-{k}", n_classes=50) for k in range(40)))
    put(dataset, ok("/b"))
    assert len(list((tmp_path / "out" / "models").iterdir())) > 1
    check_whole(dataset)


@contextmanager
def dying_at(n: int) -> Iterator[list[str]]:
    """Die at the n-th rename or removal; yields what was done up to then."""
    done_: list[str] = []

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(self: Path, *arguments: Any, **options: Any) -> Any:
            if not self.name.startswith(".census"):
                if len(done_) == n:
                    raise KeyboardInterrupt
                done_.append(self.name)
            return real(self, *arguments, **options)

        return act

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        yield done_


def test_wherever_a_fold_dies_every_record_is_there_once_afterwards(tmp_path: Path) -> None:
    n = 0
    while True:
        dataset = Dataset(tmp_path / str(n), SETTINGS)
        put(dataset, ok("/a", tokens=True), bad("/b"), bad("/x"))
        for each in (later(ok("/b")), ok("/c", n_classes=2, tokens=True), bad("/d")):
            dataset.keep(each)
        died = False
        with dying_at(n) as acts:
            try:
                dataset.fold()
            except KeyboardInterrupt:
                died = True
        # At no moment is a model there as both, or twice.
        seen = [model for model, _, _ in statuses(dataset)]
        assert len(seen) == len(set(seen)), acts
        fresh = Dataset(tmp_path / str(n), SETTINGS)
        fresh.fold()
        assert statuses(fresh) == [
            *(("/a", "v", "ok"), ("/b", "v", "ok"), ("/c", "v", "ok")),
            *(("/d", "v", "failed"), ("/x", "v", "failed")),
        ]
        check_whole(fresh)
        for table, expected in (("classes", ["/a", "/b", "/c", "/c"]), ("tokens", ["/a", "/c"])):
            rows = pl.read_parquet(tmp_path / str(n) / table / "*.parquet")
            assert sorted(rows["model"].to_list()) == expected
        assert list((tmp_path / str(n)).rglob("*.tmp")) == []
        if not died:
            break
        n += 1
    assert n > 10


def test_rows_of_a_part_that_never_came_are_taken_out(tmp_path: Path) -> None:
    # A run died between the classes and the models, and its outcome is lost too.
    dataset = new(tmp_path)
    put(dataset, ok("/a"))
    dataset.keep(ok("/b"))
    with pytest.MonkeyPatch.context() as patch:
        real = Parts.put

        def dying(self: Parts, table: str, name: str, content: pa.Table) -> None:
            if table == "models":
                raise KeyboardInterrupt
            real(self, table, name, content)

        patch.setattr(Parts, "put", dying)
        with pytest.raises(KeyboardInterrupt):
            dataset.fold()
    for path in (tmp_path / "out" / "pending").iterdir():
        path.unlink()
    assert "/b" in dataset.classes()["model"].to_pylist()
    dataset.fold()
    assert dataset.classes()["model"].to_pylist() == ["/a"]
    # And a part of classes without one of models.
    path = tmp_path / "out" / "classes" / "part-00000.parquet"
    path.with_name("part-00001.parquet").write_bytes(path.read_bytes())
    dataset.fold()
    check_whole(dataset)
    assert len(dataset.classes()) == 1


def test_an_outcome_that_was_damaged_is_not_believed(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    dataset.keep(ok("/a"))
    (path,) = (tmp_path / "out" / "pending").iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    dataset.keep(ok("/b"))
    dataset.fold()
    assert statuses(dataset) == [("/b", "v", "ok")]


def test_many_who_write_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    new(tmp_path)

    def work(k: int) -> None:
        dataset = new(tmp_path)
        for n in range(12):
            dataset.keep(ok(f"/{n}"))
            dataset.keep(ok(f"/{k}-{n}"))
            dataset.fold()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    dataset = new(tmp_path)
    assert len(statuses(dataset)) == 12 + 48
    check_whole(dataset)


def test_another_s_half_written_file_is_left_and_an_old_one_is_not(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    pending = tmp_path / "out" / "pending"
    fresh, old = pending / "a.1-x.tmp", pending / "b.1-x.tmp"
    for path in (fresh, old):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    dataset.fold()
    assert fresh.exists()
    assert not old.exists()


def test_a_disk_that_refuses_leaves_every_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = new(tmp_path)
    put(dataset, ok("/a"))
    dataset.keep(ok("/b"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(OutputWriteError, match=r"No space left on device; .* as it was"):
            dataset.fold()
    assert statuses(dataset) == [("/a", "v", "ok")]
    dataset.fold()
    assert statuses(dataset) == [("/a", "v", "ok"), ("/b", "v", "ok")]


def test_a_directory_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExistsError, match="is no directory"):
        Dataset(tmp_path / "file", SETTINGS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputExistsError, match=r"holds thesis\.tex and no census; nothing was"):
        Dataset(tmp_path / "mine", SETTINGS)
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    Dataset(tmp_path / "empty", SETTINGS)


def test_other_options_are_another_census(tmp_path: Path) -> None:
    new(tmp_path)
    with pytest.raises(ResultsError, match="was begun with role 'output', and now 'input'"):
        Dataset(tmp_path / "out", SETTINGS | {"role": "input"})
    with pytest.raises(ResultsError, match="begun with new None, and now 1"):
        Dataset(tmp_path / "out", SETTINGS | {"new": 1})


def test_what_is_no_census_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"holds no census\.json"):
        Dataset(tmp_path, None)
    (tmp_path / "out").mkdir()
    about = {"schema": "isologit.census/9", "settings": {}}
    (tmp_path / "out" / "census.json").write_text(json.dumps(about))
    with pytest.raises(ResultsError, match=r"is of isologit\.census/9; expected isologit\.census/"):
        Dataset(tmp_path / "out", None)


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    put(dataset, ok("/a"))
    (tmp_path / "out" / "models" / "part-00000.parquet").write_bytes(b"PAR1xxPAR1")
    with pytest.raises(ResultsError, match=r"part-00000\.parquet cannot be read: .* Remove it"):
        dataset.known()


def test_rows_of_an_earlier_analysis_stay_and_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("naming", "outcome", "dataset", "parts"):
        monkeypatch.setattr(f"isologit.census.{name}.ANALYSIS", 0)
    put(new(tmp_path), ok("/a"))
    monkeypatch.undo()
    dataset = new(tmp_path)
    assert dataset.known().done == {}
    put(dataset, ok("/a"))
    assert dataset.models()["analysis"].to_pylist() == [0, 1]


def test_news_is_what_was_added_since_and_of_this_analysis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("naming", "outcome", "dataset", "parts"):
        monkeypatch.setattr(f"isologit.census.{name}.ANALYSIS", 0)
    put(new(tmp_path), ok("/old"))
    monkeypatch.undo()
    mine, other = new(tmp_path), new(tmp_path)
    assert mine.news() == {}
    put(other, ok("/a"))
    assert mine.news() == {"/a": {"v": {ok("/a").record}}}
    assert mine.news() == {}


def test_a_row_is_what_its_columns_say(tmp_path: Path) -> None:
    dataset = new(tmp_path)
    before = datetime.now(UTC)
    put(dataset, done("/run/step-9", {}, commit="v", tensor="W", classes=b"", tokens=b""))
    (row,) = dataset.models().to_pylist()
    assert (row["series"], row["step"], row["analysis"]) == ("/run/step-*", 9, 1)
    assert before - timedelta(seconds=1) < row["finished"] < datetime.now(UTC)
