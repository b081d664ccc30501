"""The embedded checkpoint: a small language model that this project trains itself.

`checkpoint_path()` is a directory in Hugging Face's layout, and `load_training_record()` says
which of its tokens the model was never shown, counted from the text that it was trained on. The
script that wrote both is `isologit.demo.train`, which needs torch; this module does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RECORD_NAME", "TrainingRecord", "checkpoint_path", "load_training_record"]

RECORD_NAME = "training_record.json"


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What the training run knew about itself: the ground truth for an audit of its result.

    Attributes
    ----------
    never_seen_ids
        Tokens of the tokenizer that stood in no trained batch, neither as input nor as target.
    padding_ids
        Rows of the embedding that no token of the tokenizer has.
    tokens_trained_on, tokens_in_stream
        Targets over all steps, and the length of the stream that they were taken from.
    train_loss_nats, held_out_loss_nats, chance_loss_nats
        Mean cross-entropy of the shipped weights on the head of the training stream and on
        modules that neither model nor tokenizer saw, and ln(V).
    sample_prompt, sample
        The start of a text, and the text that the shipped weights made of it by chance.
    model_sha256, stream_sha256, tokenizer_text_sha256
        Of ``model.safetensors``, of the training stream as little-endian int64, and of the
        documents that the tokenizer was learnt on, joined by a zero byte.
    recipe, versions
        The hyperparameters, and the software that they ran on.
    """

    schema: str
    never_seen_ids: tuple[int, ...]
    padding_ids: tuple[int, ...]
    tokens_trained_on: int
    tokens_in_stream: int
    train_loss_nats: float
    held_out_loss_nats: float
    chance_loss_nats: float
    sample_prompt: str
    sample: str
    model_sha256: str
    stream_sha256: str
    tokenizer_text_sha256: str
    recipe: dict[str, Any]
    versions: dict[str, str]


def checkpoint_path() -> Path:
    """Directory of the embedded checkpoint: config, tokenizer, weights and training record."""
    return Path(__file__).parent / "checkpoint"


def load_training_record() -> TrainingRecord:
    """Read the record that the training script left beside the embedded weights."""
    content = json.loads((checkpoint_path() / RECORD_NAME).read_text(encoding="utf-8"))
    for name in ("never_seen_ids", "padding_ids"):
        content[name] = tuple(content[name])
    return TrainingRecord(**content)
