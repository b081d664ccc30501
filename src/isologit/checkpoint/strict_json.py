"""JSON objects out of files that nobody vouches for: every fault becomes one named error."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

from isologit.checkpoint.wording import shown
from isologit.errors import CheckpointError


def parse_object(
    raw: bytes | memoryview, *, where: str, error: type[CheckpointError]
) -> dict[str, Any]:
    """Return the JSON object in some bytes, as RFC 8259 has it.

    Refuses a key given twice anywhere, and the NaN and Infinity that Python's parser lets through.

    Raises
    ------
    CheckpointError
        Of the class `error`: not UTF-8, not JSON, not an object, nested too deep, a number too
        long, a key given twice.
    """

    def refuse_constant(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    return _parse(raw, where, error, refuse_constant, _unique)


def parse_lenient_object(
    raw: bytes | memoryview, *, where: str, error: type[CheckpointError]
) -> dict[str, Any]:
    """Return the JSON object in some bytes, as Python writes it.

    Configs are written by `json.dump`: Mamba-2's hold ``Infinity`` (``time_step_limit``), and some
    were edited by hand and repeat a key. Numbers are checked where they are used; a repeated key
    is refused only where its values differ.

    Raises
    ------
    CheckpointError
        As `parse_object`.
    """
    return _parse(raw, where, error, float, _consistent)


def _parse(
    raw: bytes | memoryview,
    where: str,
    error: type[CheckpointError],
    constant: Callable[[str], Any],
    pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]],
) -> dict[str, Any]:
    try:
        text = str(raw, "utf-8")
    except UnicodeDecodeError as cause:
        raise error(
            f"{where} is not UTF-8: byte {cause.start:,} is {raw[cause.start]:#04x}"
        ) from None
    try:
        parsed = json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except json.JSONDecodeError as cause:
        raise error(
            f"{where} is not JSON: {cause.msg} at line {cause.lineno}, column {cause.colno}"
        ) from None
    except RecursionError:
        raise error(f"{where} is nested too deep to be read") from None
    except ValueError as cause:
        # Ours, or the interpreter's limit on the digits of an integer.
        raise error(f"{where} is not usable: {shown(str(cause))}") from None
    if not isinstance(parsed, dict):
        raise error(f"{where} holds {_kind(parsed)}; expected a JSON object")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {shown(key)} is given twice")
        result[key] = value
    return result


def _consistent(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result and result[key] != value:
            raise ValueError(f"key {shown(key)} is given twice, with different values")
        result[key] = value
    return result


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "a list"
