"""The pages that follow from the code are what it says now, and documents are what they promise."""

import copy
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

import isologit as package
from chat_models import rows, write_chat_model
from checkpoints import cluster_tensors, gaussian, write_cluster, write_llama
from cli.command import isologit
from documentation.blocks import REPOSITORY
from hub.loopback import only_hub
from isologit.explorer.opened import open_explored
from isologit.explorer.points import parse_point
from isologit.explorer.view import Views
from isologit.output.json_text import to_json
from isologit.subject import Settings, open_subject

DOCS = REPOSITORY / "docs"
SCHEMAS = {path.stem: json.loads(path.read_text("utf-8")) for path in DOCS.glob("schemas/*.json")}


@pytest.fixture(scope="module")
def make() -> dict[str, Any]:
    """What docs/make_reference.py defines."""
    return runpy.run_path(str(DOCS / "make_reference.py"))


def test_the_reference_is_what_the_code_says(make: dict[str, Any]) -> None:
    made: dict[Path, str] = make["pages"]()
    stale = [path.name for path, text in made.items() if path.read_text("utf-8") != text]
    assert stale == [], "run python docs/make_reference.py"
    assert set(DOCS.glob("schemas/*.json")) == {path for path in made if path.suffix == ".json"}


def test_every_public_name_and_job_is_on_the_page_for_programs() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    for name in set(package.__all__) - {"__version__"}:
        assert f":: isologit.{name}\n" in page
    for job in ("isologit.audit.audit", "isologit.checking.check"):
        assert f"autofunction:: {job}\n" in page
    for record in ("isologit.findings.Audit", "isologit.findings.Classes"):
        assert f"autoclass:: {record}\n" in page


def closed(schema: Any) -> Any:
    """Return a schema that allows no keys but those that it names."""
    if isinstance(schema, dict):
        kept = {key: closed(value) for key, value in schema.items()}
        return kept | ({"additionalProperties": False} if "properties" in kept else {})
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def faults(document: Any) -> list[str]:
    """Return what is wrong with a document by the schema that it names."""
    name = document["schema"].removeprefix("isologit.").partition("/")[0]
    validator = Draft202012Validator(closed(SCHEMAS[name]))
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(document)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with a tokenizer, one of them with a row without numbers, and what goes along."""
    folder = tmp_path_factory.mktemp("documents")
    values = rows()
    values[20:30] = values[20]
    write_chat_model(folder / "model", values)
    values[40] = np.nan
    values[50:52] = 0.0
    values[51, 0] = -0.0
    write_chat_model(folder / "odd", values)
    shape = {"shape": list(values.shape), "dtype": "float32"}
    figures = {"m": {"matrix": shape, "rows (1.9a)": {"distinct": 3}}}
    (folder / "figures.json").write_text(json.dumps(figures))
    members = cluster_tensors(range(20, 30), len(values))
    write_cluster(folder / "members.safetensors", members)
    (folder / "models.txt").write_text("model\nodd\n")
    (folder / "policy.toml").write_text(
        "[rules]\ntemplate-tokens-trained = true\nno-nonfinite-rows = true\n"
    )
    return folder


# By the name of the document, so that none is left out.
COMMANDS = {
    "audit": ["audit model", "audit odd --pole 3,4", "audit odd --members members.safetensors"],
    "classes": [
        *("classes odd", "classes model --token 5 --explain", "classes odd --pole 1,2"),
        *("classes model --random 12", "classes odd --random 2 --no-greedy"),
    ],
    "inspect": ["inspect model"],
    "cast": ["cast odd --to f8_e4m3fn --to q8_0 --states 5", "cast model --to f16 --states 5"],
    "gap": ["gap model --within 3 --token 5", "gap odd"],
    "never-top": ["never-top model --token 0-9", "never-top odd --domain reachable --token 0-9"],
    "tokens": ["tokens model --evidence", "tokens odd --category special"],
    "diff": ["diff model odd", "diff model odd model"],
    "check": ["check odd --policy policy.toml"],
    "census": ["census models.txt -o census --workers 1", "census models.txt -o census"],
    "reproduce": ["reproduce odd --figures figures.json --entry m"],
}


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Run a command there and return the document that it prints."""
    monkeypatch.chdir(here)

    def printed(command: str) -> Any:
        ran = isologit(*command.split(), "--json")
        assert ran.code in ((0, 1) if command.startswith("check") else (0,)), ran.err
        return ran.json

    return printed


@pytest.mark.parametrize("command", [each for name in COMMANDS for each in COMMANDS[name]])
def test_a_document_is_what_its_schema_says(command: str, run: Callable[[str], Any]) -> None:
    assert faults(run(command)) == []


def test_a_document_of_what_a_device_does_is_what_its_schema_says(
    run: Callable[[str], Any],
) -> None:
    pytest.importorskip("torch")
    found = run("classes model --token 5 --explain --arithmetic torch:cpu")
    assert found["ties"]["device"]
    assert faults(found) == []


def test_the_documents_of_the_cache_are_what_their_schema_says(
    here: Path, tmp_path: Path, run: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with only_hub(tmp_path, monkeypatch) as hub:
        hub.add("org/name", write_llama(tmp_path / "m", gaussian(30, 4)))
        assert faults(run("classes org/name")) == []
        listed = run("cache ls")
        assert listed["entries"]
        assert faults(listed) == []
        assert faults(run("cache rm --all")) == []


def test_no_document_is_left_out(make: dict[str, Any]) -> None:
    assert {*COMMANDS, "cache", "explore"} == SCHEMAS.keys()
    assert {file.removesuffix(".json") for file in map(make["file_of"], make["documents"]())} == (
        SCHEMAS.keys()
    )


def test_a_view_that_the_explorer_exports_is_what_its_schema_says(here: Path) -> None:
    explored = open_explored(str(here / "odd"), Settings(), open_subject)
    for point in ("token:5", "token:40", "mix:0.5(token:1)(token:2)"):
        view = Views(explored).view(parse_point(point), 5)
        assert faults(json.loads(to_json(view))) == []


def test_schemas_are_schemas_and_refuse_what_is_none(run: Callable[[str], Any]) -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    good = run("classes odd --pole 1,2")
    # A float that is a word is as good as one that is a number.
    assert good["greedy"]["states"][0]["margin_nats"] == "nan"
    for path, wrong in (
        (("rows", "distinct"), 0.5),
        (("rows", "distinct"), "nan"),
        (("state", "norm"), None),
        (("state", "norm"), "none"),
        (("schema",), "isologit.classes/2"),
        (("state", "more"), 1),
    ):
        bad = copy.deepcopy(good)
        place = bad
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        if path == ("schema",):
            validator = Draft202012Validator(SCHEMAS["classes"])
            assert not validator.is_valid(bad)
        else:
            assert len(faults(bad)) == 1, path
    del good["notes"]
    assert len(faults(good)) == 1
