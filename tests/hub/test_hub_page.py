"""What docs/audit-a-hub-model.md says beside its blocks, which run with those of all pages."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from cli.command import isologit
from hub.hub_server import Hub


def test_offline_nobody_is_asked_and_what_was_fetched_is_enough(
    hub: Hub, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/llama", shared / "checkpoints" / "llama2xs-hf-bf16-untied-sharded")
    assert isologit("audit", "org/llama", "-q").code == 0
    asked = len(hub.seen)
    # The client has read its environment already.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ran = isologit("audit", "org/llama", "--no-weights")
    assert ran.code == 0, ran.err
    assert "Nothing to fetch: what is needed is here" in ran.out
    assert len(hub.seen) == asked


def test_a_repository_of_many_gguf_files_asks_which(hub: Hub, shared: Path, tmp_path: Path) -> None:
    for name in ("llama2xs-Q8_0.gguf", "llama2xs-F16.gguf"):
        shutil.copy(shared / "checkpoints" / name, tmp_path)
    hub.add("org/llama-GGUF", tmp_path)
    ran = isologit("inspect", "org/llama-GGUF")
    assert ran.code == 4
    assert "hf://org/llama-GGUF/llama2xs-F16.gguf" in ran.err
