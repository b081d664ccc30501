"""Fixtures of a hub on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.hub_server import Hub
from hub.loopback import only_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and a client in this process that knows no other, with empty caches."""
    with only_hub(tmp_path / "home", monkeypatch) as hub:
        yield hub
