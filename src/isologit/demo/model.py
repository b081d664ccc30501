"""A small Llama as a function of its weights, which carry transformers' own names and shapes.

A checkpoint of `LlamaForCausalLM` with a tied head is exactly `SmallLlama.weights`: the head is
the input embedding, and the rotary embedding pairs dimension k with k + head_dim / 2 as Hugging
Face does. Nothing here trains, saves or reads text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["EMBEDDING", "LlamaShape", "SmallLlama"]

EMBEDDING = "model.embed_tokens.weight"
_FINAL_NORM = "model.norm.weight"


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """The numbers that fix the shapes of a `SmallLlama`, under the names of HF's config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LlamaShape:
        """Read the shape out of a parsed config.json, leaving its other keys alone."""
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every stored tensor, in the order of transformers' state dict."""
        width, inner = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (self.vocab_size, width)}
        for layer in range(self.num_hidden_layers):
            prefix = f"model.layers.{layer}"
            for role in "qkvo":
                shapes[f"{prefix}.self_attn.{role}_proj.weight"] = (width, width)
            shapes[f"{prefix}.mlp.gate_proj.weight"] = (inner, width)
            shapes[f"{prefix}.mlp.up_proj.weight"] = (inner, width)
            shapes[f"{prefix}.mlp.down_proj.weight"] = (width, inner)
            shapes[f"{prefix}.input_layernorm.weight"] = (width,)
            shapes[f"{prefix}.post_attention_layernorm.weight"] = (width,)
        shapes[_FINAL_NORM] = (width,)
        return shapes


@dataclass(frozen=True)
class SmallLlama:
    """A Llama with a tied head: `weights[EMBEDDING]` [V, d] is also the unembedding."""

    shape: LlamaShape
    weights: dict[str, Tensor]

    def __post_init__(self) -> None:
        """Refuse weights whose names or shapes are not those of the model."""
        expected = self.shape.weight_shapes()
        got = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        wrong = {name for name, _ in expected.items() ^ got.items()}
        if wrong:
            name = min(wrong)
            raise ValueError(
                f"{len(wrong)} weights do not fit the model, {name} among them: "
                f"got {got.get(name, 'none')}, expected {expected.get(name, 'none')}"
            )

    @classmethod
    def initial(
        cls, shape: LlamaShape, *, standard_deviation: float, generator: torch.Generator
    ) -> SmallLlama:
        """Draw every matrix from one normal distribution, in float32; the norms are 1.

        Every row of the embedding is drawn alike: nothing here knows which tokens occur.
        """
        weights = {}
        for name, size in shape.weight_shapes().items():
            weight = torch.ones(size)
            if len(size) == 2:
                weight.normal_(0.0, standard_deviation, generator=generator)
            weights[name] = weight
        return cls(shape, weights)

    def cast(self, dtype: torch.dtype) -> SmallLlama:
        """Copy with every weight rounded once, to nearest-even, and detached from training."""
        weights = {name: weight.detach().to(dtype) for name, weight in self.weights.items()}
        return SmallLlama(self.shape, weights)

    def logits(self, ids: Tensor) -> Tensor:
        """Logits [batch, length, V] of token ids [batch, length], in the weights' format."""
        hidden = self.weights[EMBEDDING][ids]
        cos, sin = _rotary_tables(self.shape, ids.shape[-1])
        cos, sin = cos.to(hidden.dtype), sin.to(hidden.dtype)
        for layer in range(self.shape.num_hidden_layers):
            prefix = f"model.layers.{layer}."
            normed = self._norm(hidden, prefix + "input_layernorm.weight")
            hidden = hidden + self._attention(normed, prefix + "self_attn.", cos, sin)
            normed = self._norm(hidden, prefix + "post_attention_layernorm.weight")
            hidden = hidden + self._feed_forward(normed, prefix + "mlp.")
        return self._linear(self._norm(hidden, _FINAL_NORM), EMBEDDING)

    def loss(self, ids: Tensor) -> Tensor:
        """Mean cross-entropy, in nats, of predicting ids[:, 1:] from what comes before."""
        logits = self.logits(ids[:, :-1]).float()
        return functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    def _linear(self, hidden: Tensor, name: str) -> Tensor:
        return functional.linear(hidden, self.weights[name])

    def _norm(self, hidden: Tensor, name: str) -> Tensor:
        weight = self.weights[name]
        return functional.rms_norm(hidden, weight.shape, weight, self.shape.rms_norm_eps)

    def _attention(self, hidden: Tensor, prefix: str, cos: Tensor, sin: Tensor) -> Tensor:
        heads = (self.shape.num_attention_heads, self.shape.head_dim)
        query, key, value = (
            self._linear(hidden, f"{prefix}{role}_proj.weight").unflatten(-1, heads).transpose(1, 2)
            for role in "qkv"
        )
        mixed = functional.scaled_dot_product_attention(
            _rotate(query, cos, sin), _rotate(key, cos, sin), value, is_causal=True
        )
        return self._linear(mixed.transpose(1, 2).flatten(2), prefix + "o_proj.weight")

    def _feed_forward(self, hidden: Tensor, prefix: str) -> Tensor:
        gate = functional.silu(self._linear(hidden, prefix + "gate_proj.weight"))
        up = self._linear(hidden, prefix + "up_proj.weight")
        return self._linear(gate * up, prefix + "down_proj.weight")


def _rotary_tables(shape: LlamaShape, length: int) -> tuple[Tensor, Tensor]:
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_theta**-exponents)
    doubled = torch.cat((angles, angles), dim=-1)  # [length, head_dim]
    return doubled.cos(), doubled.sin()


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat((-high, low), dim=-1) * sin
