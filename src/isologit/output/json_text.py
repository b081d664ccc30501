"""A record as JSON text: what ``--json`` prints and ``summary.json`` holds.

JSON has no NaN and no infinities; words stand in their place, so that no figure becomes null.
"""

import math
from pathlib import Path
from typing import Any

import msgspec

from isologit.findings import Record


def to_json(record: Record) -> str:
    """Return a record as indented JSON; non-finite figures become words."""
    plain = _representable(msgspec.to_builtins(record))
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def write_json(path: Path, record: Record) -> None:
    """Write a record to a file."""
    path.write_text(to_json(record) + "\n", encoding="utf-8")


def utf8(text: str) -> str:
    """Return text with what UTF-8 cannot hold, as in a path of other bytes, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _representable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {utf8(key): _representable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_representable(item) for item in value]
    return utf8(value) if isinstance(value, str) else value
