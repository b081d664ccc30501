"""The capture that docs/states.md shows gets what the head sees, run as it stands there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.command import isologit
from documentation.blocks import the_block

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

V = 150


def made(kind: str, dtype: Any) -> Any:
    """Return a random model whose final norm is not trivial."""
    torch.manual_seed(3)
    if kind == "llama":
        config = transformers.LlamaConfig(
            vocab_size=V,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=False,
            initializer_range=0.2,
        )
        model = transformers.LlamaForCausalLM(config)
        norm = model.model.norm
    else:
        config = transformers.GPT2Config(
            vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2
        )
        model = transformers.GPT2LMHeadModel(config)
        norm = model.transformer.ln_f
        torch.nn.init.normal_(norm.bias, 0, 0.3)
    torch.nn.init.normal_(norm.weight, 1, 0.3)
    return model.to(dtype).eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_it_captures_is_what_the_head_sees(
    kind: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = made(kind, getattr(torch, dtype))
    generator = torch.Generator().manual_seed(1)
    batches = [
        {"input_ids": torch.randint(0, V, (2, length), generator=generator)} for length in (9, 17)
    ]
    block = the_block("docs/states.md", "python")
    assert "register_forward_pre_hook" in block.text
    exec(compile(block.text, block.page, "exec"), {"model": model, "batches": batches})
    model.save_pretrained(tmp_path / "model")
    with torch.no_grad():
        outputs = torch.cat([model(**batch).logits.flatten(0, -2) for batch in batches])

    ran = isologit("classes", tmp_path / "model", "--state", "states.safetensors", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    states = found["states"]
    assert (states["n"], states["rounded"], states["norm"]) == (2 * 9 + 2 * 17, 0, "known")
    assert (states["unreachable"], states["undecided"], states["pre_norm"]) == (0, 0, 0)
    assert states["ratio"]["min"] == pytest.approx(1, abs=2e-2)
    assert states["ratio"]["max"] == pytest.approx(1, abs=2e-2)
    name = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    certain = 0
    for logits, state in zip(outputs.double().numpy(), found["greedy"]["states"], strict=True):
        here = state["formats"][name]
        if here["verdict"] == "certain":
            certain += 1
            assert np.flatnonzero(logits == logits.max()).tolist() == [state["top"]]
    assert certain > states["n"] / 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_state_taken_before_the_norm_is_told(kind: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = made(kind, torch.float32)
    captured: list[Any] = []
    norm = model.model.norm if kind == "llama" else model.transformer.ln_f
    norm.register_forward_pre_hook(lambda _module, args: captured.append(args[0].detach()))
    with torch.no_grad():
        model(input_ids=torch.arange(8)[None])
    save_file({"hidden_states": captured[0][0].contiguous() * 8}, tmp_path / "early.safetensors")
    model.save_pretrained(tmp_path / "model")
    ran = isologit("classes", tmp_path / "model", "--state", tmp_path / "early.safetensors")
    assert ran.code == 0
    assert "8 of 8 states look like pre-norm states" in ran.out
    one = isologit(
        "classes", tmp_path / "model", "--state", tmp_path / "early.safetensors", "--index", 2
    )
    assert "the state looks like a pre-norm state" in one.out
