"""Train the model inside the package anew, and keep a checkpoint every so many steps.

    python docs/examples/steps_of_a_run.py DIR [EVERY]

Needs torch, and some minutes. `isologit census 'DIR/*' -o census` audits them all.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save

from isologit.demo import checkpoint_path, corpus
from isologit.demo.model import SmallLlama
from isologit.demo.training import Recipe, train

BESIDE = ("config.json", "generation_config.json", "tokenizer_config.json")


def main(folder: Path, every: int = 50) -> None:
    """Train, and write ``step-1``, then a checkpoint every so many steps."""
    recipe = Recipe()
    tokenizer = corpus.learn_tokenizer(corpus.tokenizer_documents(), vocab_size=recipe.token_count)
    stream = corpus.token_stream(tokenizer, corpus.training_documents())

    def keep(step: int, loss_nats: float, model: SmallLlama) -> None:
        n = step + 1
        if n % every and n != 1:
            return
        place = folder / f"step-{n}"
        place.mkdir(parents=True)
        weights = save(model.cast(torch.bfloat16).weights, metadata={"format": "pt"})
        (place / "model.safetensors").write_bytes(weights)
        for name in BESIDE:
            shutil.copy(checkpoint_path() / name, place)
        tokenizer.save(str(place / "tokenizer.json"), pretty=False)
        print(f"step {n}: {loss_nats:.3f} nats", flush=True)

    train(recipe, stream, keep)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
