"""Train the embedded checkpoint anew: ``python -m isologit.demo.train [--out DIR]``.

Learns a byte-level BPE on the standard library's sources and the Unicode tables of this Python,
trains a small Llama on a part of the sources, and writes it in Hugging Face's layout, in bf16,
with a record of which tokens the model was never shown. That record comes from the token stream;
nothing looks at the matrix.

The recipe was chosen by experiment, for three things at once: the model must have learnt (its
loss on held-out modules far below chance), the decay of the embedding must be strong enough for
the rows of unseen tokens to meet on the bf16 grid, and weak enough that they do not all meet in
one. At a decay of 0.7 they form 36 classes of 2 to 102 rows, and 5 rows stay apart; at 0.9, all
else equal, they form a single class of 888, which has caught a token that was seen once.

The same versions of Python, torch and tokenizers on the same kind of CPU write the same bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import platform
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from isologit.demo import RECORD_NAME, checkpoint_path, corpus
from isologit.demo.model import SmallLlama
from isologit.demo.training import Recipe, Training, evaluate, sample, train

__all__ = ["main"]

_REPORT_EVERY = 50
_SAMPLE_PROMPT = "class Reader:\n    def"
_SAMPLE_SEED = 0
_SAMPLE_TEMPERATURE = 0.7


def main(arguments: list[str] | None = None) -> None:
    """Train, and put the result in place of the shipped checkpoint or in ``--out``."""
    parser = argparse.ArgumentParser(description=main.__doc__, prog="isologit.demo.train")
    parser.add_argument("--out", type=Path, default=checkpoint_path(), metavar="DIR")
    out: Path = parser.parse_args(arguments).out.absolute()

    recipe = Recipe()
    documents = corpus.training_documents()
    wider_documents = corpus.tokenizer_documents()
    tokenizer = corpus.learn_tokenizer(wider_documents, vocab_size=recipe.token_count)
    stream = corpus.token_stream(tokenizer, documents)
    print(f"{len(stream):,} training tokens from {len(documents)} documents", file=sys.stderr)

    training = train(recipe, stream, _Progress(recipe.steps))
    shipped = training.model.cast(torch.bfloat16)
    # Computed in float32, so that the figures are of the stored weights and of nothing else.
    stored = shipped.cast(torch.float32)
    held_out = corpus.token_stream(tokenizer, corpus.held_out_documents())
    figures = {
        "train_loss_nats": evaluate(stored, stream[: len(held_out)]),
        "held_out_loss_nats": evaluate(stored, held_out),
        "chance_loss_nats": math.log(recipe.vocab_size),
        "sample_prompt": _SAMPLE_PROMPT,
        "sample": _sample(stored, tokenizer),
    }

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        fresh = Path(name) / "fresh"
        fresh.mkdir()
        # Not save_file, which makes files that their owner alone can read: these go in a package.
        weights = save(shipped.weights, metadata={"format": "pt"})
        (fresh / "model.safetensors").write_bytes(weights)
        record = {
            **_seen_record(recipe, training, stream),
            **figures,
            "model_sha256": _sha256(weights),
            "stream_sha256": _sha256(stream.astype("<i8").tobytes()),
            "tokenizer_text_sha256": _sha256("\0".join(wider_documents).encode()),
            "recipe": dataclasses.asdict(recipe),
            "versions": _versions(),
        }
        _write_json(fresh / RECORD_NAME, record)
        _write_json(fresh / "config.json", _config(recipe, tokenizer), indent=2)
        _write_json(fresh / "generation_config.json", _end_of_text(tokenizer), indent=2)
        _write_json(fresh / "tokenizer_config.json", _tokenizer_config(recipe), indent=2)
        tokenizer.save(str(fresh / "tokenizer.json"), pretty=False)
        if out.exists():
            out.rename(Path(name) / "replaced")
        fresh.rename(out)
    print(f"wrote {out}", file=sys.stderr)


class _Progress:
    """Prints the mean loss of each `_REPORT_EVERY` steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._losses: list[float] = []

    def __call__(self, step: int, loss_nats: float, model: SmallLlama) -> None:
        self._losses.append(loss_nats)
        if len(self._losses) == _REPORT_EVERY or step + 1 == self._steps:
            mean = math.fsum(self._losses) / len(self._losses)
            print(f"step {step + 1}/{self._steps}  loss {mean:.3f} nats", file=sys.stderr)
            self._losses.clear()


def _seen_record(
    recipe: Recipe, training: Training, stream: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, Any]:
    never_seen = np.flatnonzero(~training.seen)
    return {
        "schema": "isologit.demo/1",
        "never_seen_ids": [int(i) for i in never_seen if i < recipe.token_count],
        "padding_ids": list(range(recipe.token_count, recipe.vocab_size)),
        "tokens_trained_on": training.tokens_trained_on,
        "tokens_in_stream": len(stream),
    }


def _sample(model: SmallLlama, tokenizer: Tokenizer) -> str:
    ids = sample(
        model,
        tokenizer.encode(corpus.END_OF_TEXT + _SAMPLE_PROMPT).ids,
        length=model.shape.max_position_embeddings,
        temperature=_SAMPLE_TEMPERATURE,
        seed=_SAMPLE_SEED,
    )
    text: str = tokenizer.decode(ids)
    return text


def _config(recipe: Recipe, tokenizer: Tokenizer) -> dict[str, Any]:
    shape = recipe.shape
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **dataclasses.asdict(shape),
        "num_key_value_heads": shape.num_attention_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "initializer_range": recipe.initial_standard_deviation,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **_end_of_text(tokenizer),
    }


def _end_of_text(tokenizer: Tokenizer) -> dict[str, int]:
    end = tokenizer.get_vocab()[corpus.END_OF_TEXT]
    return {"bos_token_id": end, "eos_token_id": end}


def _tokenizer_config(recipe: Recipe) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": recipe.context,
        "bos_token": corpus.END_OF_TEXT,
        "eos_token": corpus.END_OF_TEXT,
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
    }


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "torch": torch.__version__,
        "tokenizers": tokenizers.__version__,
        "numpy": np.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_json(path: Path, content: dict[str, Any], *, indent: int | None = None) -> None:
    separators = (",", ":") if indent is None else None
    text = json.dumps(content, indent=indent, separators=separators, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
