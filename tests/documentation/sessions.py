"""Lines of the docs run as a reader would run them, in a folder where what they name is there.

Commands of isologit run in this process; the little else that the docs show goes to a shell.
"""

import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from string import Template
from unittest import mock

from huggingface_hub import constants

from cli.command import SOURCE, isologit

_ISOLOGIT = {"isologit", ".venv/bin/isologit"}
# What makes a line one for a shell, and whom a shell is asked to run. Whatever installs or needs a
# network belongs into a block of text.
_OPERATORS = {"|", ">", ">>", "<", ";", "&&"}
_BY_THE_SHELL = {"python", ".venv/bin/python", "cat", "cp", "head", "ls", "mkdir", "printf", "wc"}
_ASSIGNMENT = re.compile(r"(?P<name>[A-Z_]+)=\$\((?P<command>.*)\)")
_SETTING = re.compile(r"([A-Z_]+)=(\S*)")
SKIPPED = "…"


@dataclass
class Session:
    """A reader at a prompt: the folder, the variables of the shell, and the last exit code."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    code: int = 0

    def run(self, line: str) -> list[str]:
        """Run a line and return the lines that a terminal would show."""
        words = _words(line)
        if assigned := _ASSIGNMENT.fullmatch(line):
            self.variables[assigned["name"]] = self._shell(assigned["command"]).rstrip()
            return []
        if words == ["echo", "$?"]:
            last, self.code = self.code, 0
            return [str(last)]
        settings = dict[str, str]()
        while setting := _SETTING.fullmatch(words[0]):
            settings[setting[1]] = setting[2]
            del words[0]
        if words[0] in _ISOLOGIT and not _OPERATORS & {*words}:
            return self._isologit(words[1:], settings)
        return self._shell(line).splitlines()

    def _isologit(self, words: list[str], settings: dict[str, str]) -> list[str]:
        arguments = [Template(word).safe_substitute(self.variables) for word in words]
        with mock.patch.dict(os.environ, settings), ExitStack() as stack:
            if settings.get("HF_HUB_OFFLINE") == "1":
                # The client has read its environment already.
                stack.enter_context(mock.patch.object(constants, "HF_HUB_OFFLINE", new=True))
            ran = isologit(*arguments)
        self.code = ran.code
        return (ran.out + ran.err).splitlines()

    def _shell(self, line: str) -> str:
        first = _words(line)[0]
        assert first in _ISOLOGIT | _BY_THE_SHELL, f"{first} is not run here; make it text"
        bin_ = self.folder / ".venv" / "bin"
        ran = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=os.environ | self.variables | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.code = ran.returncode
        return ran.stdout + ran.stderr


def with_programs(folder: Path) -> Path:
    """Put a ``.venv/bin`` into a folder that has this Python and isologit; returns the folder."""
    bin_ = folder / ".venv" / "bin"
    bin_.mkdir(parents=True)
    for name, module in (("python", ""), ("isologit", "-m isologit ")):
        program = bin_ / name
        setting = f"PYTHONPATH={shlex.quote(str(SOURCE))}"
        call = f'exec {shlex.quote(sys.executable)} {module}"$@"'
        program.write_text(f"#!/bin/sh\n{setting} {call}\n")
        program.chmod(0o755)
    return folder


def commands_of(text: str) -> list[str]:
    """Return the commands of a block of shell: a line each, or several joined by backslashes."""
    joined = text.replace("\\\n", "")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def shown_in(text: str) -> list[tuple[str, list[str]]]:
    """Return each command of a console block, and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def first_not_printed(shown: list[str], printed: list[str]) -> str | None:
    """Return the first line that is shown and not printed, at its place; None if all are.

    Lines between two skips stand side by side in what is printed too; empty lines and blanks at
    a line's end do not count. Where nothing is skipped the last shown line is the last one.
    """
    lines = [line.rstrip() for line in printed if line.strip()]
    at, free = 0, False
    wanted = (line.rstrip() for line in shown if line.strip())
    for skipped, segment in groupby(wanted, lambda line: line == SKIPPED):
        if skipped:
            free = True
            continue
        side_by_side = list(segment)
        starts = range(at, len(lines) + 1) if free else [at]
        agreeing = {start: _agreeing(side_by_side, lines[start:]) for start in starts}
        at = max(agreeing, key=lambda start: agreeing[start])
        if agreeing[at] < len(side_by_side):
            return side_by_side[agreeing[at]]
        at, free = at + len(side_by_side), False
    return None if free or at == len(lines) or not shown else f"nothing before {lines[at]!r}"


def _agreeing(shown: list[str], printed: list[str]) -> int:
    """Return how many lines from the first on are the same."""
    same = [a == b for a, b in zip(shown, printed, strict=False)]
    return same.index(False) if False in same else len(same)


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)
