"""Writes the pages of the reference that follow from the code: ``python docs/make_reference.py``.

`pages` returns them, and a test holds the committed files to that: cli.md has every command's
``--help``, schema.md and schemas/ the documents that ``--json`` prints, api.md what the package
offers to programs, which Sphinx fills in from the docstrings.
"""

import importlib
import inspect
import json
import pkgutil
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import msgspec

import isologit
from isologit import errors
from isologit.cli.main import COMMANDS, cli
from isologit.record import Record

HERE = Path(__file__).resolve().parent
# Columns of a terminal, as click has them where it cannot ask.
_COLUMNS = 80
# Columns of a line of JSON.
_WIDTH = 100
# A float in a document: JSON has no NaN and no infinities, and words stand for them.
_FLOAT: dict[str, Any] = {
    "title": "Float",
    "description": "A number; JSON has none for NaN and the infinities, and words stand for them.",
    "anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}],
}
_REF = "#/$defs/"
_CLI_PAGE = """<!-- written by docs/make_reference.py -->

# Commands

What each prints with `--help`. Exit codes are on [a page of their own](exit-codes.md), and what is
written with `-o` on [another](outputs.md).
"""
_SCHEMA_PAGE = """<!-- written by docs/make_reference.py -->

# The documents that `--json` prints

Keys and types, as the records in the code have them. What the figures mean is on [the page of
outputs](outputs.md) and on the pages that it names. Every key is always there. A *float* is a
number, or one of the words `"nan"`, `"inf"` and `"-inf"`, because JSON has no numbers for these.

| document | printed by, or exported from | record | JSON Schema |
|---|---|---|---|
"""
_COLUMNS_PAGE = """<!-- written by docs/make_reference.py -->

# The columns of a census

`isologit census` writes three tables ([census.md](census.md)); `record` and `model` join them. What
a model has not is null: a cluster where none stands out, the tokens of a model without a tokenizer,
near twins where no final norm is known.

## models

A row a model, and version of it. A failed one has the columns down to `worker`, and no figures.
"""
_CLASSES_TEXT = """
## classes

A row a class of two tokens or more.
"""
_TOKENS_TEXT = """
## tokens

With `--tokens`: a row a row of W. After the first two the columns are those of `tokens.parquet`
([outputs.md](outputs.md#tokens-parquet)), every one always there:
"""
_API_PAGE = """<!-- written by docs/make_reference.py -->

# From Python

`import isologit` has few names; each is imported when it is first used. The jobs behind the
commands are functions of modules. What they are asked with and what they return are records; the
keys of what they return are on [the page of the documents](schema.md).

## Names of the package
"""


def pages() -> dict[Path, str]:
    """Return every file that is made, and what it holds."""
    made = {HERE / "cli.md": cli_page(), HERE / "api.md": api_page()}
    made[HERE / "census-columns.md"] = columns_page()
    schemas = {name: schema_of(name, records) for name, records in documents().items()}
    made[HERE / "schema.md"] = schema_page(schemas)
    for name, schema in schemas.items():
        made[HERE / "schemas" / file_of(name)] = _laid_out(schema) + "\n"
    return made


def main() -> None:
    """Write them, and remove schemas of documents that are no more."""
    made = pages()
    for old in set((HERE / "schemas").glob("*.json")) - made.keys():
        old.unlink()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


# The command line


def cli_page() -> str:
    """Return the page of every command's help."""
    lines = [_CLI_PAGE]
    for depth, name, command in _commands(cli, "isologit", 2):
        lines += [f"{'#' * depth} {name}\n", "```text", _help(command, name), "```\n"]
    return "\n".join(lines)


def _commands(
    command: click.Command, name: str, depth: int
) -> Iterator[tuple[int, str, click.Command]]:
    yield depth, name, command
    if isinstance(command, click.Group):
        with click.Context(command, info_name=name) as context:
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None  # the group itself listed it
                yield from _commands(found, f"{name} {each}", depth + (command is not cli))


def _help(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, terminal_width=_COLUMNS)
    # Of what a group inherits, the names of its help option alone are shown.
    context.help_option_names = cli.context_settings["help_option_names"]
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


# The tables of a census


def columns_page() -> str:
    """Return the page of their columns."""
    from isologit.census.columns import BOOKKEEPING, CLASSES, FIGURES, OF_CLASSES, TOKENS

    models = {name: (type_, what) for name, (type_, what) in BOOKKEEPING.items()}
    models |= {each.name: (each.type, each.what) for each in FIGURES}
    classes = {each.name: (each.type, OF_CLASSES[each.name]) for each in CLASSES}
    tokens = ", ".join(f"`{each.name}` ({each.type})".replace("<", "&lt;") for each in TOKENS)
    return "\n".join(
        [
            _COLUMNS_PAGE,
            *_columns_table(models),
            _CLASSES_TEXT,
            *_columns_table(classes),
            _TOKENS_TEXT,
            f"{tokens}.\n",
        ]
    )


def _columns_table(columns: Mapping[str, tuple[Any, str]]) -> list[str]:
    rows = [f"| `{name}` | {type_} | {what} |" for name, (type_, what) in columns.items()]
    return [
        "| column | type | what |",
        "|---|---|---|",
        *(each.replace("<", "&lt;") for each in rows),
    ]


# The documents


def documents() -> dict[str, list[type[Record]]]:
    """Return the records that are documents by the name of their schema, in the commands' order."""
    for module in pkgutil.iter_modules(isologit.__path__, "isologit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # What a page exports and no command prints; and what lies deeper.
    importlib.import_module("isologit.explorer.records")
    importlib.import_module("isologit.census.summary")
    found: dict[str, list[type[Record]]] = {}
    for record in _descendants(Record):
        name = getattr(_field(record, "schema"), "default", None)
        if isinstance(name, str):
            found.setdefault(name, []).append(record)
    order = {command: n for n, command in enumerate(COMMANDS)}
    return {
        name: sorted(found[name], key=lambda record: record.__name__)
        for name in sorted(found, key=lambda name: order[_command_of(name)])
    }


def _descendants(record: type[Record]) -> Iterator[type[Record]]:
    for each in record.__subclasses__():
        yield each
        yield from _descendants(each)


def _field(record: type[Record], name: str) -> msgspec.structs.FieldInfo | None:
    fields = msgspec.structs.fields(record) if name in record.__struct_fields__ else ()
    return next((field for field in fields if field.name == name), None)


def _command_of(schema: str) -> str:
    """Return ``audit`` of ``isologit.audit/1``."""
    return schema.removeprefix("isologit.").partition("/")[0]


def file_of(schema: str) -> str:
    """Return the name of a document's file among the schemas."""
    return f"{_command_of(schema)}.json"


def schema_of(name: str, records: list[type[Record]]) -> dict[str, Any]:
    """Return the JSON Schema of a document: of what this version prints, every key required."""
    tops, defs = msgspec.json.schema_components(records, ref_template=_REF + "{name}")
    for each in defs.values():
        each["description"] = _markdown(each["description"])
        each["required"] = list(each["properties"])
    defs = typing.cast("dict[str, Any]", _as_printed(defs))
    for record in records:
        defs[record.__name__]["properties"]["schema"] = {"const": name}
    top = tops[0] if len(tops) == 1 else {"anyOf": list(tops)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        **top,
        "$defs": {**defs, "Float": _FLOAT},
    }


def _as_printed(node: Any) -> Any:
    """Return a schema in which every float may be a word; null is last, as not in all versions."""
    if isinstance(node, dict):
        if node == {"type": "number"}:
            return {"$ref": f"{_REF}Float"}
        return {key: _as_printed(value) for key, value in node.items()}
    if isinstance(node, list):
        return sorted(map(_as_printed, node), key=lambda each: each == {"type": "null"})
    return node


def _laid_out(node: Any, indent: int = 0) -> str:
    """Return JSON in which what fits on a line stands on one."""
    line = json.dumps(node, ensure_ascii=False)
    if len(line) + indent <= _WIDTH or not isinstance(node, dict | list):
        return line
    begin = "\n" + " " * (indent + 2)
    if isinstance(node, list):
        parts, (opening, closing) = [_laid_out(each, indent + 2) for each in node], "[]"
    else:
        opening, closing = "{}"
        parts = [
            f"{json.dumps(key)}: {_laid_out(value, indent + 2)}" for key, value in node.items()
        ]
    return f"{opening}{begin}{f',{begin}'.join(parts)}{begin[:-2]}{closing}"


def _markdown(docstring: str) -> str:
    return inspect.cleandoc(docstring).replace("``", "`")


def schema_page(schemas: dict[str, dict[str, Any]]) -> str:
    """Return the page of all documents and of the records that they consist of."""
    lines = [_SCHEMA_PAGE.rstrip()]
    records: dict[str, dict[str, Any]] = {}
    for name, schema in schemas.items():
        shown = _type_of({"anyOf": schema["anyOf"]} if "anyOf" in schema else schema)
        commands = " and ".join(_printing(name))
        file = f"[{file_of(name)}](schemas/{file_of(name)})"
        lines.append(f"| `{name}` | {commands} | {shown} | {file} |")
        for record, definition in schema["$defs"].items():
            if record != "Float" and records.setdefault(record, definition) != definition:
                raise ValueError(f"two records are called {record}")
    lines.append("")
    for record in sorted(records):
        lines += [f"## {record}\n", records[record]["description"], ""]
        lines += ["| key | type |", "|---|---|"]
        for key, node in records[record]["properties"].items():
            lines.append(f"| `{key}` | {_type_of(node)} |")
        lines.append("")
    return "\n".join(lines)


def _printing(schema: str) -> list[str]:
    """Return what prints a document: commands, or the page of one that prints none."""
    own = f"isologit {_command_of(schema)}"
    return [
        f"`{name} --json`" if "as_json" in {each.name for each in command.params} else f"`{name}`"
        for _, name, command in _commands(cli, "isologit", 2)
        if f"{name} ".startswith(f"{own} ") and not isinstance(command, click.Group)
    ]


def _type_of(node: dict[str, Any]) -> str:
    """Return what a value may be, in a few words of Markdown."""
    match node:
        case {"$ref": ref}:
            name = ref.removeprefix(_REF)
            return "float" if name == "Float" else f"[{name}](#{name.lower()})"
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"enum": values}:
            return " or ".join(f"`{json.dumps(value)}`" for value in values)
        case {"anyOf": nodes}:
            return " or ".join(_type_of(each) for each in nodes)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type_of(items)}"
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(_type_of(each) for each in items)}]"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type_of(values)}"
        case {"type": str(name)}:
            return name
    return "anything"


# What programs are offered


def api_page() -> str:
    """Return the page that Sphinx fills in with the docstrings of what is public."""
    jobs, modules = _named_in_docstring()
    lines = [_API_PAGE]
    names = [name for name in isologit.__all__ if not name.startswith("__")]
    lines += [_automatic(f"isologit.{name}", getattr(isologit, name)) for name in names]
    lines.append("## Jobs\n")
    lines += [_automatic(name, function) for name, function in jobs.items()]
    offered = [getattr(isologit, name) for name in names]
    functions = [each for each in offered if not isinstance(each, type)]
    asked, returned = _types_of([*functions, *jobs.values()])
    titled = {"What they are asked with": asked - returned, "What they return": returned}
    for title, types in titled.items():
        lines.append(f"## {title}\n")
        lines += [
            _automatic(f"{each.__module__}.{each.__qualname__}", each)
            for each in sorted(types, key=lambda each: each.__name__)
            if each not in offered
        ]
    lines.append("## Errors\n")
    lines += [_directive("autoexception", f"isologit.errors.{name}") for name in _errors()]
    for name in modules:
        lines += [f"## {name}\n", _directive("automodule", name, "members")]
    return "\n".join(lines)


def _named_in_docstring() -> tuple[dict[str, Any], list[str]]:
    """Return the functions and the modules that the package's docstring names."""
    functions, modules = {}, []
    for name in re.findall(r"`(isologit(?:\.\w+)+)`", isologit.__doc__ or ""):
        found = pkgutil.resolve_name(name)
        if isinstance(found, ModuleType):
            modules.append(name)
        else:
            functions[name] = found
    return functions, modules


def _types_of(jobs: typing.Iterable[Any]) -> tuple[set[type], set[type]]:
    """Return the classes of this package that jobs are asked with, and those that they return."""
    asked: set[type] = set()
    returned: set[type] = set()
    for job in jobs:
        for name, hint in typing.get_type_hints(job).items():
            (returned if name == "return" else asked).update(_classes_in(hint))
    return asked, returned


def _classes_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and hint.__module__.startswith("isologit."):
        yield hint
    for each in typing.get_args(hint):
        yield from _classes_in(each)


def _errors() -> list[str]:
    """Return the names of all errors but the first, which is among the package's own names."""
    return [
        name
        for name, each in vars(errors).items()
        if isinstance(each, type)
        and issubclass(each, errors.IsologitError)
        and each is not errors.IsologitError
    ]


def _automatic(name: str, target: Any) -> str:
    if not isinstance(target, type):
        return _directive("autofunction", name)
    # The keys of a record are on the page of the documents.
    return _directive("autoclass", name, *([] if issubclass(target, Record) else ["members"]))


def _directive(directive: str, name: str, *options: str) -> str:
    flags = "".join(f"   :{option}:\n" for option in options)
    return f"```{{eval-rst}}\n.. {directive}:: {name}\n{flags}```\n"


if __name__ == "__main__":
    main()
