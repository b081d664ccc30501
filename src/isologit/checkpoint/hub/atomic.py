"""Small files that are there whole or not at all, whoever else reads or writes them meanwhile."""

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object.

    Raises
    ------
    OSError
    """
    _write(path, json.dumps(value, indent=1).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_sealed(path: Path, content: bytes) -> None:
    """Write bytes with their digest, so that a crash of the system cannot pass off others.

    Raises
    ------
    OSError
    """
    _write(path, sha256(content).digest() + content)


def read_sealed(path: Path) -> bytes | None:
    """Return what `write_sealed` wrote, or None where it is not there as it was."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    seal, content = found[:32], found[32:]
    return content if sha256(content).digest() == seal else None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
