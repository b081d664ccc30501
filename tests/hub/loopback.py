"""A hub on loopback that the real Hugging Face client of this process is made to talk to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from hub.hub_server import Hub, running
from isologit.checkpoint.hub import patience


@contextmanager
def only_hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Run a hub, and let the client know no other, with empty caches in `home`.

    The client reads its environment when it is imported, so what it made of that is replaced too.
    """
    with running() as hub:
        hub.home = home
        environment = hub.environment()
        for name in set(os.environ) - set(environment):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        caches = Path(environment["HF_HOME"])
        settings: dict[str, object] = {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint
            + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(caches),
            "HF_HUB_CACHE": str(caches / "hub"),
            "HUGGINGFACE_HUB_CACHE": str(caches / "hub"),
            "HF_XET_CACHE": str(caches / "xet"),
            "HF_TOKEN_PATH": str(caches / "token"),
            "HF_STORED_TOKENS_PATH": str(caches / "stored_tokens"),
            "AGENT_HARNESSES_PATH": str(caches / ".agent_harnesses.json"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
            "HF_HUB_DOWNLOAD_TIMEOUT": 1,
        }
        for name, setting in settings.items():
            monkeypatch.setattr(constants, name, setting, raising=name != "AGENT_HARNESSES_PATH")
        monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None, raising=False)
        monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
        yield hub
