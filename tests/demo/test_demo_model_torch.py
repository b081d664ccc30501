"""The embedded checkpoint as a model: the shipped weights run, and the script can train."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from isologit.demo import RECORD_NAME, checkpoint_path, corpus, load_training_record

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from isologit.demo import train as script  # noqa: E402
from isologit.demo.model import LlamaShape, SmallLlama  # noqa: E402
from isologit.demo.training import (  # noqa: E402
    Recipe,
    evaluate,
    sample,
    train,
)

Array = np.ndarray[Any, np.dtype[np.float64]]

TINY = Recipe(
    token_count=300,
    vocab_size=320,
    hidden_size=32,
    intermediate_size=48,
    layers=2,
    heads=2,
    context=16,
    batch=2,
    steps=6,
    warmup_steps=2,
    cooldown_steps=3,
    threads=1,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(checkpoint_path() / "tokenizer.json"))


@pytest.fixture(scope="module")
def shipped() -> SmallLlama:
    config = json.loads((checkpoint_path() / "config.json").read_text("utf-8"))
    weights = load_file(checkpoint_path() / "model.safetensors")
    return SmallLlama(LlamaShape.from_config(config), weights)


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)  # models this small gain nothing from more
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def stream_of(text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bytes of a text as ids, so that no tokenizer need be learnt."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_shipped_bf16_weights_predict_a_module_they_never_saw(
    dtype: Any, shipped: SmallLlama, tokenizer: Tokenizer
) -> None:
    text = dict(zip(corpus.HELD_OUT_FILES, corpus.held_out_documents(), strict=True))["queue.py"]
    loss_nats = evaluate(shipped.cast(dtype), corpus.token_stream(tokenizer, [text]))
    assert loss_nats < 0.55 * load_training_record().chance_loss_nats


def test_a_greedy_continuation_is_text_without_unseen_tokens(
    shipped: SmallLlama, tokenizer: Tokenizer
) -> None:
    prompt = tokenizer.encode("class Reader:\n    def __init__(self").ids
    ids = sample(shipped, prompt, length=32, temperature=1e-4, seed=0)
    text = tokenizer.decode(ids)
    assert ids[: len(prompt)] == prompt
    assert text.isascii()
    assert "self." in text or "def " in text
    assert set(load_training_record().never_seen_ids).isdisjoint(ids)


def test_logits_follow_the_published_formulas_of_llama() -> None:
    shape = TINY.shape
    generator = torch.Generator().manual_seed(1)
    model = SmallLlama.initial(shape, standard_deviation=0.3, generator=generator)
    model = model.cast(torch.float64)
    for weight in model.weights.values():
        if weight.ndim == 1:
            weight.uniform_(0.5, 1.5, generator=generator)
    ids = np.array([5, 17, 5, 299, 0, 1, 2])
    weights = {name: weight.numpy() for name, weight in model.weights.items()}
    logits = model.logits(torch.from_numpy(ids)[None])[0].numpy()
    # The tables of the rotary embedding are float32, as they are in transformers.
    np.testing.assert_allclose(logits, reference_logits(shape, weights, ids), rtol=0, atol=1e-5)


def reference_logits(shape: LlamaShape, weights: dict[str, Array], ids: Array) -> Array:
    """Llama one position and one head at a time, rotating pairs as complex numbers."""

    def norm(hidden: Array, name: str) -> Array:
        scale = np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + shape.rms_norm_eps)
        return np.asarray(hidden / scale * weights[name])

    def rotated(vector: Array, position: int) -> Array:
        half = len(vector) // 2
        angles = position * shape.rope_theta ** (-np.arange(half) / half)
        turned = (vector[:half] + 1j * vector[half:]) * np.exp(1j * angles)
        return np.concatenate((turned.real, turned.imag))

    hidden = weights["model.embed_tokens.weight"][ids]
    for layer in range(shape.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        normed = norm(hidden, prefix + "input_layernorm.weight")
        mixed = np.zeros_like(hidden)
        q, k, v = (normed @ weights[f"{prefix}self_attn.{c}_proj.weight"].T for c in "qkv")
        for head in range(shape.num_attention_heads):
            part = slice(head * shape.head_dim, (head + 1) * shape.head_dim)
            for i in range(len(ids)):
                query = rotated(q[i, part], i)
                keys = np.stack([rotated(k[j, part], j) for j in range(i + 1)])
                odds = np.exp(keys @ query / np.sqrt(shape.head_dim))
                mixed[i, part] = odds / odds.sum() @ v[: i + 1, part]
        hidden = hidden + mixed @ weights[f"{prefix}self_attn.o_proj.weight"].T
        normed = norm(hidden, prefix + "post_attention_layernorm.weight")
        gate, up = (normed @ weights[f"{prefix}mlp.{n}_proj.weight"].T for n in ("gate", "up"))
        hidden = (
            hidden + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{prefix}mlp.down_proj.weight"].T
        )
    final = norm(hidden, "model.norm.weight")
    return np.asarray(final @ weights["model.embed_tokens.weight"].T)


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    shape = TINY.shape
    weights = {name: torch.zeros(size) for name, size in shape.weight_shapes().items()}
    weights["model.norm.weight"] = torch.zeros(31)
    with pytest.raises(ValueError, match=r"1 weights do not fit the model, model\.norm\.weight"):
        SmallLlama(shape, weights)


def test_two_runs_of_one_recipe_give_the_same_bits() -> None:
    stream = stream_of("isologit finds the tokens that a model cannot tell apart. " * 20)
    first, second = (train(TINY, stream, lambda *_: None).model.weights for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_seen_ids_are_those_of_the_trained_windows_alone() -> None:
    # 6 steps of 2 windows are one pass over 12 windows; what follows them is never reached.
    stream = stream_of("ab" * 96 + "c" + "z" * 15)
    training = train(TINY, stream, lambda *_: None)
    assert np.flatnonzero(training.seen).tolist() == [ord("a"), ord("b"), ord("c")]
    assert training.tokens_trained_on == 6 * 2 * 16


def test_the_script_replaces_a_directory_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = ["def f(x):\n    return x + 1\n" * 40, "class A:\n    pass\n" * 40]
    monkeypatch.setattr(corpus, "training_documents", lambda: documents)
    monkeypatch.setattr(corpus, "held_out_documents", lambda: documents)
    monkeypatch.setattr(corpus, "tokenizer_documents", lambda: [*documents, "Ж ก 가 ЖЖ"])
    monkeypatch.setattr(script, "Recipe", lambda: TINY)
    out = tmp_path / "checkpoint"
    out.mkdir()
    (out / "stale").touch()
    script.main(["--out", str(out)])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in checkpoint_path().iterdir()
    )
    record = json.loads((out / RECORD_NAME).read_text("utf-8"))
    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    assert record["model_sha256"] == digest
    assert record["recipe"]["steps"] == TINY.steps
