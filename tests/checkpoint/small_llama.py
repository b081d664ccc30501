"""A Llama of nine tokens and four dimensions: what the tests of the head begin with."""

from typing import Any

import numpy as np

from isologit.checkpoint.head import Head, find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.opened import Checkpoint

from .conftest import Write

V, D = 9, 4
EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
SAME = np.random.default_rng(5).normal(size=(V, D))


def llama(**values: Any) -> dict[str, Any]:
    """Return a Llama's config."""
    return {"model_type": "llama", "vocab_size": V, "hidden_size": D} | values


def head_of(write: Write, tensors: dict[str, Any], config: Any = None, **options: Any) -> Head:
    """Write a checkpoint and find its head."""
    return find_head(open_checkpoint(write(tensors, config)), **options)


def stored(write: Write, tensors: dict[str, Any], config: Any = None) -> Checkpoint:
    """Write a checkpoint and open it."""
    return open_checkpoint(write(tensors, config))
