"""Fixtures of a hub on loopback that the real Hugging Face client is made to talk to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from hub.hub_server import Hub, running
from isologit.checkpoint.hub import patience


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and a client in this process that knows no other, with empty caches.

    The client reads its environment when it is imported, so what it made of that is replaced too.
    """
    with running() as hub:
        hub.home = tmp_path / "home"
        environment = hub.environment()
        for name in set(os.environ) - set(environment):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        home = Path(environment["HF_HOME"])
        settings: dict[str, object] = {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint
            + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HUGGINGFACE_HUB_CACHE": str(home / "hub"),
            "HF_XET_CACHE": str(home / "xet"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
            "AGENT_HARNESSES_PATH": str(home / ".agent_harnesses.json"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
            "HF_HUB_DOWNLOAD_TIMEOUT": 1,
        }
        for name, setting in settings.items():
            monkeypatch.setattr(constants, name, setting, raising=name != "AGENT_HARNESSES_PATH")
        monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None, raising=False)
        monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
        yield hub
