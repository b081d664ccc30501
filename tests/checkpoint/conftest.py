"""Checkpoints that tests make up, written by the safetensors library and not by this one."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from isologit.numerics.formats import BF16, Float64s, Format, encode

_NUMPY = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes tensors, and a config, and returns their directory."""

    def write_checkpoint(
        tensors: Mapping[str, Float64s | tuple[int, ...]],
        config: Mapping[str, Any] | None = None,
        *,
        file: str = "model.safetensors",
        format_: Format = BF16,
    ) -> Path:
        directory = tmp_path / "made-up"
        directory.mkdir(exist_ok=True)
        entries = {}
        for seed, (name, values) in enumerate(tensors.items()):
            if isinstance(values, tuple):
                values = np.random.default_rng(seed).normal(size=values)
            entries[name] = np.asarray(encode(values, format_)).view(_NUMPY[format_.name])
        save_file(entries, directory / file)
        if config is not None:
            (directory / "config.json").write_text(json.dumps(config))
        return directory

    return write_checkpoint
