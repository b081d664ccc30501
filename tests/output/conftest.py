"""Audits that several modules draw: each is made once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoints import gaussian
from isologit.demo import checkpoint_path
from isologit.output.pictured import Pictured
from output.pictures import Get, pictured, pictured_matrix, small_model


@pytest.fixture(scope="session")
def get(tmp_path_factory: pytest.TempPathFactory) -> Get:
    """Return audits by name: of a model that has everything, and of others that have less."""
    made: dict[str, Pictured] = {}
    folder: Path = tmp_path_factory.mktemp("figures")
    makers: dict[str, Callable[[], Pictured]] = {
        "small": lambda: pictured(small_model(folder / "small")),
        "demo": lambda: pictured(checkpoint_path()),
        "f32": lambda: pictured_matrix(folder / "f32", gaussian(5_000, 4, seed=3), "f32"),
        "no cluster": lambda: pictured_matrix(folder / "plain", gaussian(60, 5, seed=4)),
    }

    def of(name: str) -> Pictured:
        if name not in made:
            made[name] = makers[name]()
        return made[name]

    return of


@pytest.fixture(params=["small", "demo", "f32", "no cluster"])
def audited(request: pytest.FixtureRequest, get: Get) -> Pictured:
    """One of these audits after another."""
    return get(request.param)
