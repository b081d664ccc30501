"""What the README shows is what the commands print."""

import re
import shlex
from pathlib import Path

import pytest

from cli.command import isologit

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def sessions() -> list[tuple[str, list[str]]]:
    """Return each command of the README and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCKS:
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line not in ("", "…"):
                found[-1][1].append(line)
    return found


def test_the_readme_shows_commands() -> None:
    commands = [command.split()[:2] for command, _ in sessions()]
    names = ("demo", "inspect", "audit", "audit", "tokens", "gap", "classes", "cast")
    assert commands == [["isologit", name] for name in names]
    assert all(len(lines) > 5 for _, lines in sessions())


@pytest.mark.parametrize(("command", "lines"), sessions(), ids=lambda value: str(value)[:20])
def test_every_line_is_printed_in_this_order(
    command: str,
    lines: list[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = shlex.split(command)[1:]
    if "demo" not in arguments:
        shared: Path = request.getfixturevalue("shared")
        for name in ("llama2xs-hf-bf16", "llama2xs-Q8_0.gguf"):
            (tmp_path / name).symlink_to(shared / "checkpoints" / name)
        (tmp_path / "tokenizers").symlink_to(shared / "tokenizers")
    monkeypatch.chdir(tmp_path)
    ran = isologit(*arguments)
    assert ran.code == 0
    # What a terminal shows of the two streams, without the blanks that pad a table.
    printed = iter(line.rstrip() for line in (ran.out + ran.err).splitlines())
    for line in lines:
        assert line in printed, f"README.md shows, and {command} does not print: {line}"


def test_the_python_example_runs(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert "rows.refines(logits)" in program
    (tmp_path / "llama2xs-hf-bf16").symlink_to(shared / "checkpoints" / "llama2xs-hf-bf16")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {})
