"""The recipe of the demo model and the loop that follows it, from a token stream to bf16 weights.

The loop treats every row of the embedding alike. That the rows of tokens which never occur end
up bit-identical is the recipe's doing: the softmax pushes them all the same way, AdamW's
decoupled decay shrinks whatever still tells them apart by exp(-sum of lr x decay), and the cast
to bf16 removes the rest. Nothing here reads text or writes files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isologit.demo.model import EMBEDDING, LlamaShape, SmallLlama

__all__ = ["Recipe", "Training", "evaluate", "sample", "train"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every number that the demo model depends on, beside its text.

    `token_count` is the size of the tokenizer; the embedding is padded to `vocab_size` rows, as
    large models pad theirs. Learning rates rise over `warmup_steps`, stay, and fall linearly to
    zero over the last `cooldown_steps`. The decay of the embedding times the sum of its learning
    rates says by which power of e the rows of unseen tokens draw together.
    """

    token_count: int = 4_080
    vocab_size: int = 4_096
    hidden_size: int = 96
    intermediate_size: int = 288
    layers: int = 3
    heads: int = 3
    context: int = 128
    initial_standard_deviation: float = 0.02
    batch: int = 16
    steps: int = 1_800
    warmup_steps: int = 50
    cooldown_steps: int = 1_600
    learning_rate: float = 3e-3
    embedding_learning_rate: float = 1.5e-2
    weight_decay: float = 0.1
    embedding_weight_decay: float = 0.7
    adam_betas: tuple[float, float] = (0.9, 0.95)
    adam_epsilon: float = 1e-10
    gradient_norm_limit: float = 1.0
    seed: int = 2_221
    threads: int = 1

    @property
    def shape(self) -> LlamaShape:
        """Shapes of the model that this recipe trains."""
        return LlamaShape(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.context,
        )

    def schedule(self, step: int) -> float:
        """Factor, in [0, 1], on both learning rates at a step counted from 0."""
        rising = (step + 1) / self.warmup_steps
        falling = (self.steps - step) / self.cooldown_steps
        return min(1.0, rising, falling)

    @property
    def contraction(self) -> float:
        """Sum over all steps of the embedding's learning rate times its decay."""
        total = sum(self.schedule(step) for step in range(self.steps))
        return self.embedding_learning_rate * self.embedding_weight_decay * total


@dataclass(frozen=True)
class Training:
    """What a run leaves: the float32 masters, and which ids it was shown.

    `seen` [vocab_size] is true for ids that stood in a trained batch, as input or as target.
    """

    model: SmallLlama
    seen: NDArray[np.bool_]
    tokens_trained_on: int


def train(
    recipe: Recipe, stream: NDArray[np.int64], report: Callable[[int, float, SmallLlama], None]
) -> Training:
    """Train a model on a token stream; `report(step, loss_nats, model)` is called after each step.

    The stream is cut into windows of `context` tokens and their targets, visited in a new random
    order in every pass. One version of torch on one kind of CPU gives the same bits each time.
    """
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = SmallLlama.initial(
        recipe.shape,
        standard_deviation=recipe.initial_standard_deviation,
        generator=generator,
    )
    for weight in model.weights.values():
        weight.requires_grad_()
    optimizer = _optimizer(recipe, model)
    batches = _batches(recipe, stream, generator)
    seen = np.zeros(recipe.vocab_size, dtype=np.bool_)
    for step in range(recipe.steps):
        ids = next(batches)
        seen[ids.numpy()] = True
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * recipe.schedule(step)
        loss = model.loss(ids)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.weights.values(), recipe.gradient_norm_limit)
        optimizer.step()
        report(step, loss.item(), model)
    return Training(model, seen, recipe.steps * recipe.batch * recipe.context)


def evaluate(model: SmallLlama, stream: NDArray[np.int64]) -> float:
    """Mean cross-entropy, in nats, over the whole windows of a stream, in the model's format."""
    windows = _windows(model.shape.max_position_embeddings, stream)
    with torch.no_grad():
        losses = [model.loss(block).item() * len(block) for block in windows.split(32)]
    return math.fsum(losses) / len(windows)


def sample(
    model: SmallLlama, prompt: list[int], *, length: int, temperature: float, seed: int
) -> list[int]:
    """Continue a prompt to at most `length` ids within the model's context, drawing each."""
    generator = torch.Generator().manual_seed(seed)
    ids = list(prompt)
    while len(ids) < min(length, model.shape.max_position_embeddings):
        with torch.no_grad():
            logits = model.logits(torch.tensor([ids]))[0, -1].float()
        odds = torch.softmax(logits / temperature, dim=-1)
        ids.append(int(torch.multinomial(odds, 1, generator=generator).item()))
    return ids


def _optimizer(recipe: Recipe, model: SmallLlama) -> torch.optim.AdamW:
    others = [weight for name, weight in model.weights.items() if name != EMBEDDING]
    groups = (
        (
            [model.weights[EMBEDDING]],
            recipe.embedding_learning_rate,
            recipe.embedding_weight_decay,
        ),
        ([w for w in others if w.ndim == 2], recipe.learning_rate, recipe.weight_decay),
        ([w for w in others if w.ndim == 1], recipe.learning_rate, 0.0),
    )
    return torch.optim.AdamW(
        [
            {"params": weights, "lr": rate, "peak_lr": rate, "weight_decay": decay}
            for weights, rate, decay in groups
        ],
        betas=recipe.adam_betas,
        eps=recipe.adam_epsilon,
    )


def _windows(context: int, stream: NDArray[np.int64]) -> Tensor:
    """Windows [n, context + 1], each sharing its last id, a target alone, with the next."""
    count = (len(stream) - 1) // context
    return torch.from_numpy(stream[: count * context + 1]).unfold(0, context + 1, context)


def _batches(
    recipe: Recipe, stream: NDArray[np.int64], generator: torch.Generator
) -> Iterator[Tensor]:
    windows = _windows(recipe.context, stream)
    while True:
        order = torch.randperm(len(windows), generator=generator)
        for chosen in order.split(recipe.batch):
            if len(chosen) == recipe.batch:
                yield windows[chosen]
