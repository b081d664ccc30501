"""The embedded checkpoint as files: shapes, ground truth, and the rows that became one.

No torch here, and nothing of isologit's own equivalence code: the classes are a dict of row
bytes, so that the audit's tests have something independent to agree with.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import subprocess
import sys
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from isologit.demo import checkpoint_path, corpus, load_training_record

RECORD = load_training_record()
CONFIG: dict[str, Any] = json.loads((checkpoint_path() / "config.json").read_text("utf-8"))
TOKENIZER = Tokenizer.from_file(str(checkpoint_path() / "tokenizer.json"))
NEVER_SEEN = frozenset(RECORD.never_seen_ids)
UNTRAINED = NEVER_SEEN | frozenset(RECORD.padding_ids)


@cache
def tensors() -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Format, shape and bytes of every stored tensor, read by the format's few rules."""
    content = (checkpoint_path() / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}
    data = content[8 + length :]
    return {
        name: (entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


@cache
def rows() -> list[bytes]:
    _, (_, width), content = tensors()["model.embed_tokens.weight"]
    return [content[start : start + 2 * width] for start in range(0, len(content), 2 * width)]


@cache
def row_classes() -> list[list[int]]:
    """Classes of two or more identical rows, the largest first."""
    members: dict[bytes, list[int]] = {}
    for token_id, row in enumerate(rows()):
        members.setdefault(row, []).append(token_id)
    return sorted((ids for ids in members.values() if len(ids) > 1), key=len, reverse=True)


def as_float(token_id: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    bits = np.frombuffer(rows()[token_id], dtype="<u2").astype(np.uint32) << 16
    return bits.view(np.float32)


def training_stream() -> np.ndarray[Any, np.dtype[np.int64]]:
    """The stream that the model was trained on, where this Python's sources are the same."""
    stream = corpus.token_stream(TOKENIZER, corpus.training_documents())
    if hashlib.sha256(stream.astype("<i8").tobytes()).hexdigest() != RECORD.stream_sha256:
        pytest.skip(f"the sources of Python {RECORD.versions['python']} are needed")
    return stream


def test_all_files_together_take_at_most_two_megabytes() -> None:
    sizes = {path.name: path.stat().st_size for path in checkpoint_path().iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= sizes.keys()
    assert sum(sizes.values()) <= 2_000_000


def test_the_record_belongs_to_these_weights() -> None:
    content = (checkpoint_path() / "model.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == RECORD.model_sha256


def test_the_stored_tensors_are_those_of_the_config_in_bf16() -> None:
    width, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    expected = {
        "model.embed_tokens.weight": (CONFIG["vocab_size"], width),
        "model.norm.weight": (width,),
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        for name in "qkvo":
            expected[f"{prefix}.self_attn.{name}_proj.weight"] = (width, width)
        expected[f"{prefix}.mlp.gate_proj.weight"] = (inner, width)
        expected[f"{prefix}.mlp.up_proj.weight"] = (inner, width)
        expected[f"{prefix}.mlp.down_proj.weight"] = (width, inner)
        expected[f"{prefix}.input_layernorm.weight"] = (width,)
        expected[f"{prefix}.post_attention_layernorm.weight"] = (width,)
    assert {name: shape for name, (_, shape, _) in tensors().items()} == expected
    assert {dtype for dtype, _, _ in tensors().values()} == {"BF16"}
    assert CONFIG["tie_word_embeddings"] is True
    assert CONFIG["torch_dtype"] == "bfloat16"


def test_tokens_and_padding_share_out_the_rows() -> None:
    vocabulary = TOKENIZER.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert list(RECORD.padding_ids) == list(range(len(vocabulary), CONFIG["vocab_size"]))
    assert list(RECORD.never_seen_ids) == sorted(NEVER_SEEN)
    assert max(NEVER_SEEN) < len(vocabulary)
    assert CONFIG["eos_token_id"] == vocabulary[corpus.END_OF_TEXT]


@pytest.mark.parametrize("text", ["def f(x):\n\treturn x\r\n", "ไทย, русский, 한국어, \x00 and 🦑"])
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


def test_python_source_needs_no_token_that_was_never_seen() -> None:
    source = 'class Reader:\n    def __init__(self, name=None):\n        self.name = "x"\n'
    assert NEVER_SEEN.isdisjoint(TOKENIZER.encode(source).ids)


@pytest.mark.parametrize("text", [" Ж", " ก", " 가", " ARABIC", "<|fim_middle|>"])
def test_tokens_learnt_from_the_wider_text_were_never_seen(text: str) -> None:
    assert not NEVER_SEEN.isdisjoint(TOKENIZER.encode(text).ids)


def test_the_never_seen_ids_are_those_that_the_training_text_lacks() -> None:
    stream = training_stream()
    recipe = RECORD.recipe
    windows = (len(stream) - 1) // recipe["context"]
    assert recipe["steps"] >= -(-windows // recipe["batch"]), "one pass shows every window"
    assert len(stream) == RECORD.tokens_in_stream
    trained_on = stream[: windows * recipe["context"] + 1]
    assert set(range(recipe["token_count"])) - set(trained_on.tolist()) == NEVER_SEEN


def test_the_tokenizer_is_what_its_text_teaches() -> None:
    documents = corpus.tokenizer_documents()
    text = hashlib.sha256("\0".join(documents).encode()).hexdigest()
    if text != RECORD.tokenizer_text_sha256:
        pytest.skip(f"the sources of Python {RECORD.versions['python']} are needed")
    learnt = corpus.learn_tokenizer(documents, vocab_size=RECORD.recipe["token_count"])
    assert json.loads(learnt.to_str()) == json.loads(TOKENIZER.to_str())


def test_held_out_modules_are_not_in_the_training_text() -> None:
    training = corpus.training_documents()
    held_out = corpus.held_out_documents()
    assert len(held_out) == len(corpus.HELD_OUT_FILES)
    assert set(held_out).isdisjoint(training)


def test_at_least_fifty_never_seen_tokens_froze_into_identical_rows() -> None:
    frozen = [i for ids in row_classes() for i in ids if i in NEVER_SEEN]
    assert len(frozen) >= 50


def test_no_class_holds_a_token_that_was_seen() -> None:
    assert {i for ids in row_classes() for i in ids} <= UNTRAINED


def test_classes_differ_in_size_and_some_unseen_tokens_stay_apart() -> None:
    sizes = Counter(len(ids) for ids in row_classes())
    assert len(sizes) >= 3
    assert max(sizes) >= 50
    alone = UNTRAINED - {i for ids in row_classes() for i in ids}
    assert alone


def test_unseen_tokens_lie_together_and_most_seen_ones_far_from_them() -> None:
    # Not all: a token that was seen once or twice has nearly decayed back among the unseen.
    matrix = np.stack([as_float(i) for i in range(len(rows()))])
    distances = np.linalg.norm(matrix - matrix[row_classes()[0][0]], axis=1)
    unseen = np.isin(np.arange(len(matrix)), sorted(UNTRAINED))
    assert distances[unseen].max() < 0.01 * np.quantile(distances[~unseen], 0.1)


def test_every_row_is_finite_and_none_is_zero() -> None:
    matrix = np.stack([as_float(i) for i in range(len(rows()))])
    assert np.isfinite(matrix).all()
    assert (matrix != 0).any(axis=1).all()


def test_the_recorded_losses_are_far_below_chance() -> None:
    assert RECORD.chance_loss_nats == math.log(CONFIG["vocab_size"])
    assert RECORD.train_loss_nats < 0.5 * RECORD.chance_loss_nats
    assert RECORD.held_out_loss_nats < 0.5 * RECORD.chance_loss_nats


def test_the_recorded_sample_looks_like_python() -> None:
    assert RECORD.sample.startswith(RECORD.sample_prompt)
    drawn = RECORD.sample.removeprefix(RECORD.sample_prompt)
    assert {"self", "return", "def"} <= set(re.findall(r"\w+", drawn))
    assert drawn.isascii()


def test_reading_the_record_does_not_import_torch() -> None:
    code = (
        "import sys; from isologit.demo import load_training_record as r; r(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
