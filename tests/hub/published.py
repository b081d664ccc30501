"""Models that tests publish on the loopback hub, and how they look at what came of it."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from hub.hub_server import Hub
from isologit.checkpoint.hub.model import HubModel, open_hub
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.checkpoint.hub.spec import parse_hub_spec

FILE = "model.safetensors"
W, NORM, OTHER = "lm_head.weight", "model.norm.weight", "model.layers.0.mlp.weight"
WIDTH = 512
# Six connections of more than a megabyte each, so that pieces are what they are in earnest.
ROWS = 8_192
W_BYTES = ROWS * WIDTH * 2


def folder_of(path: Path, seed: int = 0, rows: int = ROWS) -> Path:
    """Write a model of three tensors of noise, W of ``rows × 512`` uint16, and a config."""
    noise = np.random.default_rng(seed)
    path.mkdir(parents=True)
    save_file(
        {
            OTHER: noise.integers(0, 1 << 16, (4_096, WIDTH), dtype=np.uint16),
            W: noise.integers(0, 1 << 16, (rows, WIDTH), dtype=np.uint16),
            NORM: noise.integers(0, 1 << 16, WIDTH, dtype=np.uint16),
        },
        path / FILE,
    )
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "seed": seed}))
    return path


def opened(text: str, arrived: Arrived = nothing) -> HubModel:
    """Open a model by what a user may write for it."""
    spec = parse_hub_spec(text)
    assert spec is not None
    return open_hub(spec, arrived)


def fetched(model: HubModel, tensor: str = W, file: str = FILE) -> bytes:
    """Return a tensor's bytes, fetched if need be."""
    container = model.container(file)
    return bytes(container.read(container.tensors[tensor]))


def true_bytes(folder: Path, model: HubModel, tensor: str = W, file: str = FILE) -> bytes:
    """Return the same bytes from the file that was published."""
    info = model.container(file).tensors[tensor]
    return (folder / file).read_bytes()[info.offset : info.offset + info.length]


def kept(hub: Hub, suffix: str) -> list[Path]:
    """Return the files of isologit's cache with a suffix."""
    return sorted((hub.home / "cache" / "isologit").rglob(f"*{suffix}"))


def forget_everything(hub: Hub) -> None:
    """Remove both caches, and what was noted of requests."""
    shutil.rmtree(hub.home, ignore_errors=True)
    hub.forget()


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
