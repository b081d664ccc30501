"""The tables of docs/outputs.md list exactly the columns that the Parquet writers can write."""

import dataclasses
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chat_models import rows, write_chat_model
from documentation.blocks import REPOSITORY
from isologit.audit import audit
from isologit.classes import classes
from isologit.output.parquet import token_columns, write_classes
from isologit.request import Pole, RandomStates
from isologit.steps import Arrays


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Arrays]:
    """What jobs hand to the writers; together they fill every field that there is."""
    values = rows()
    # Rows of equal values whose bits differ, so that both kinds of row classes are there.
    values[20:30], values[40:44] = values[20], 0.0
    values[40, 0] = -0.0
    spec = str(write_chat_model(tmp_path_factory.mktemp("columns") / "m", values))
    return [
        audit(spec)[1],
        audit(spec, pole=Pole(3.0, 4.0))[1],
        classes(spec, at=RandomStates(5, 0))[1],
    ]


def listed(file: str) -> dict[str, str]:
    """Return the columns of a file and their types, as the page has them."""
    page = (REPOSITORY / "docs" / "outputs.md").read_text(encoding="utf-8")
    section = re.split(rf"^## {re.escape(file)}$", page, flags=re.MULTILINE)[1].split("\n## ")[0]
    found: dict[str, str] = {}
    for names, types in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE):
        columns, kinds = re.findall(r"`(\w+)`", names), types.split(", ")
        if len(kinds) == 1:
            kinds *= len(columns)
        found |= dict(zip(columns, kinds, strict=True))
    return found


def written(schemas: list[pa.Schema]) -> dict[str, str]:
    """Return all columns of some tables and their types, in the words of the page."""
    return {field.name: named(field.type) for schema in schemas for field in schema}


def named(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def _is_nothing(value: object) -> bool:
    return value is None or value is False


def test_the_runs_fill_every_field_that_columns_are_made_of(runs: list[Arrays]) -> None:
    # So that a new column needs a run here, and the run needs a line in the page.
    empty = {
        field.name
        for field in dataclasses.fields(Arrays)
        if all(_is_nothing(getattr(arrays, field.name)) for arrays in runs)
    }
    assert empty == set()


def test_the_columns_of_tokens_are_those_of_the_page(runs: list[Arrays]) -> None:
    found = written([token_columns(arrays).schema for arrays in runs])
    assert found == listed("tokens.parquet")


def test_the_columns_and_relations_of_classes_are_those_of_the_page(
    runs: list[Arrays], tmp_path: Path
) -> None:
    tables = []
    for arrays in runs:
        write_classes(tmp_path / "classes.parquet", arrays)
        tables.append(pq.read_table(tmp_path / "classes.parquet"))
    assert written([table.schema for table in tables]) == listed("classes.parquet")
    relations = {each for table in tables for each in table["relation"].to_pylist()}
    page = (REPOSITORY / "docs" / "outputs.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `relation` \| string \| (.*) \|$", page, re.MULTILINE)
    assert relations == set(re.findall(r"`(\w+)`", row))
