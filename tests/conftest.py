"""Fixtures for every test: the shared real checkpoints, and a place to run the command line."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real checkpoints, tokenizers and published figures, beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real checkpoints is not beside the repository")
    return SHARED
