"""Matrices with clusters planted in them, and clouds without any; nothing here imports the finder.

All are of real values: a test rounds them to a format with `Matrix.of_values`.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

TWIN = Path(__file__).resolve().parents[2] / "benchmarks" / "twin.py"


def load_twin() -> ModuleType:
    """Import the generator of benchmarks/, which is no package."""
    spec = importlib.util.spec_from_file_location("twin", TWIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cloud(generator: np.random.Generator, n_tokens: int, width: int) -> Values:
    """Gaussian rows about a common mean."""
    return generator.normal(size=(n_tokens, width)) + 0.3 * generator.normal(size=width)


def plant(
    generator: np.random.Generator, values: Values, size: int, spread: float, free: Ids
) -> Ids:
    """Move some of the free rows around one centre; returns them, ascending."""
    rows = np.sort(generator.choice(free, size, replace=False))
    centre = 0.4 * generator.normal(size=values.shape[1])
    values[rows] = centre + spread * generator.normal(size=(size, values.shape[1]))
    return rows


def duplicate(
    generator: np.random.Generator, values: Values, n_duplicates: int, n_sources: int
) -> None:
    """Overwrite some rows with exact copies of a few other rows."""
    order = generator.permutation(len(values))
    sources, copies = order[:n_sources], order[n_sources : n_sources + n_duplicates]
    values[copies] = values[generator.choice(sources, n_duplicates)]


def clouds_without_clusters(
    generator: np.random.Generator, n: int, d: int
) -> Iterator[tuple[str, Values]]:
    """Name and draw clouds of every shape that raised an alarm in some version, or might."""
    normal, uniform = generator.normal, generator.uniform
    gauss = normal(size=(n, d))
    yield "uniform", uniform(size=(n, d))
    yield "mean-shifted", gauss + 10 * normal(size=d)
    yield "few wide dimensions", gauss * np.where(np.arange(d) < 2, 100.0, 1.0)
    yield "uneven dimensions", gauss * generator.exponential(size=d) ** 2
    for freedom in (0.5, 1.0, 2.0):
        scale = np.sqrt(generator.chisquare(freedom, size=(n, 1)) / freedom)
        yield f"Student-t rows, {freedom}", gauss / scale
        yield f"Student-t entries, {freedom}", generator.standard_t(freedom, size=(n, d))
    yield "lognormal entries", np.exp(2 * gauss)
    yield "norms over many scales", gauss * np.exp(2 * normal(size=(n, 1)))
    yield "norms by rank", gauss / (1 + np.arange(n)[:, None])
    yield "a few far outliers", gauss * np.where(uniform(size=(n, 1)) < 0.02, 30.0, 1.0)
    yield "a line", normal(size=(n, 1)) * normal(size=(1, d))
    yield "a curve", np.sin(uniform(0, 6, size=(n, 1)) * np.arange(1, d + 1))
    yield "a random walk", np.cumsum(gauss, axis=0)
    yield "a sphere", gauss / np.linalg.norm(gauss, axis=1, keepdims=True)
    for share in (0.3, 0.5):
        apart = 3 * (uniform(size=(n, 1)) < share) * normal(size=d)
        yield f"two broad parts, {share}", gauss + apart
        yield f"two broad parts of other widths, {share}", gauss * (1 + (apart != 0)) + apart
    yield "ten parts", 0.1 * gauss + normal(size=(10, d))[generator.integers(0, 10, n)]
    yield "8-bit integers", np.clip(np.round(gauss * 40), -127, 127)
    yield "4-bit integers", np.clip(np.round(gauss * 3), -7, 7)
    yield "signs", np.sign(gauss)
    yield "ternary", np.sign(np.round(gauss))
    for share in (0.5, 0.1, 0.02):
        kept = uniform(size=(n, d)) < share
        yield f"zeros but for {share}", gauss * kept
        yield f"integers, zeros but for {share}", np.round(3 * gauss) * kept
