"""Running the command line in tests: in this process, or in one of its own."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import isologit as package
from isologit.cli.main import run

# Where this process has the package from, installed or not: its children take the same.
SOURCE = Path(package.__file__).resolve().parents[1]

# What a terminal or a CI service sets, and what would change the page.
_OF_TERMINALS = ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "ISOLOGIT_DEBUG")
_CLAIM = re.compile(r" \[[a-z ]+(\([0-9,]+\))?\]$")


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON, read strictly: NaN and Infinity are no JSON."""
        return json.loads(self.out, parse_constant=_refuse)

    def section(self, title: str) -> list[str]:
        """Return the lines under a title of the page, up to the next empty line.

        The kind of claim that stands behind a title in brackets may be left out.
        """
        lines = self.out.splitlines()
        bare = [_CLAIM.sub("", line) for line in lines]
        start = (lines.index(title) if title in lines else bare.index(title)) + 1
        end = lines.index("", start) if "" in lines[start:] else len(lines)
        return lines[start:end]


def isologit(*arguments: object) -> Ran:
    """Run a command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ),
    ):
        for name in _OF_TERMINALS:
            os.environ.pop(name, None)
        code = run([str(argument) for argument in arguments])
        out.flush()
        err.flush()
    return Ran(code, out.buffer.getvalue().decode(), as_if_compiled(err.buffer.getvalue().decode()))


def start(
    *arguments: object,
    program: tuple[str, ...] = ("-m", "isologit"),
    environment: dict[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own, with Python's warnings as errors."""
    inherited = {k: v for k, v in os.environ.items() if k not in _OF_TERMINALS}
    path = os.pathsep.join([str(SOURCE), *filter(None, [inherited.get("PYTHONPATH")])])
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [sys.executable, "-W", "error", *program, *map(str, arguments)],
        env=inherited | {"PYTHONPATH": path} | (environment or {}),
        **options,
    )


def finished(process: subprocess.Popen[bytes]) -> Ran:
    """Wait for a process and return what it left; a minute is far more than it needs."""
    try:
        out, err = process.communicate(timeout=60)
    finally:
        # A process that hangs must not outlive the test that started it.
        process.kill()
    return Ran(process.returncode, (out or b"").decode(), as_if_compiled((err or b"").decode()))


def read_terminal(leader: int) -> bytes:
    """Return all that is written to a pseudo-terminal until its other end is closed; close it."""
    read = b""
    try:
        while block := os.read(leader, 1 << 16):
            read += block
    except OSError:  # how a terminal says that its other end is closed
        pass
    os.close(leader)
    return read


def as_if_compiled(err: str) -> str:
    """Return stderr as it is once kernels are compiled: what is held does not depend on that."""
    return re.sub(r"^compiling[ ,].*\n", "", err, flags=re.MULTILINE)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
