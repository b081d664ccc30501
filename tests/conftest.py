"""Fixtures for every test: the shared real checkpoints, and a place to run the command line."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The first example of a test may compile a kernel. In CI the same examples are drawn every time.
settings.register_profile("isologit", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("isologit")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real checkpoints, tokenizers and published figures, beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real checkpoints is not beside the repository")
    return SHARED
