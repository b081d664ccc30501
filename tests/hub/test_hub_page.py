"""What docs/audit-a-hub-model.md shows is what a hub on loopback gives."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from cli.command import isologit
from hub.hub_server import Hub

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit-a-hub-model.md"


def sessions() -> list[tuple[str, list[str]]]:
    """Return each command of the page and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line not in ("", "…"):
                found[-1][1].append(line)
    return found


def test_every_line_of_the_page_is_printed_in_this_order(
    hub: Hub, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/llama", shared / "checkpoints" / "llama2xs-hf-bf16-untied-sharded")
    folder = tmp_path / "gguf"
    folder.mkdir()
    for name in ("llama2xs-Q8_0.gguf", "llama2xs-F16.gguf"):
        shutil.copy(shared / "checkpoints" / name, folder)
    hub.add("org/llama-GGUF", folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    commands = sessions()
    assert len(commands) == 5
    for command, lines in commands:
        words = shlex.split(command)
        offline = words[0] == "HF_HUB_OFFLINE=1"
        # The client has read its environment already.
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        asked = len(hub.seen)
        ran = isologit(*words[2 if offline else 1 :])
        assert ran.code == 0, ran.err
        assert (len(hub.seen) == asked) is offline
        printed = iter(line.rstrip() for line in (ran.out + ran.err).splitlines())
        assert lines
        for line in lines:
            assert line in printed, f"{PAGE.name} shows, and {command} does not print: {line}"


def test_a_repository_of_many_gguf_files_asks_which(hub: Hub, shared: Path, tmp_path: Path) -> None:
    for name in ("llama2xs-Q8_0.gguf", "llama2xs-F16.gguf"):
        shutil.copy(shared / "checkpoints" / name, tmp_path)
    hub.add("org/llama-GGUF", tmp_path)
    ran = isologit("inspect", "org/llama-GGUF")
    assert ran.code == 4
    assert "hf://org/llama-GGUF/llama2xs-F16.gguf" in ran.err
