"""Masks and lists as servers take them: a pure function a format.

What each format was read off, and checked against, is on docs/masking-and-reusing-ids.md.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from isologit.exportable import Exportable
from isologit.output.card import card
from isologit.selection import Selection
from isologit.tokens.text import visible_token

# The lowest bias that the interface of OpenAI takes.
_LOWEST_BIAS = -100
REUSABLE_SCHEMA = "isologit.reusable/1"


@dataclass(frozen=True, eq=False)
class Request:
    """What is exported: tokens of a model, and what the model's generation is set to now."""

    of: Exportable
    selection: Selection
    generation_config: Mapping[str, Any] = field(default_factory=dict)


def openai(request: Request) -> str:
    """Return ``logit_bias`` of −100 for each token; that is a strong bias, and no mask."""
    ids = request.selection.token_ids.tolist()
    return _json({"logit_bias": {str(token_id): _LOWEST_BIAS for token_id in ids}})


def vllm_allowed(request: Request) -> str:
    """Return ``allowed_token_ids``: every row that is neither selected nor padding.

    vLLM long refused the whole list for an id beyond its tokenizer, and padding is never meant.
    """
    allowed = request.selection.allowed
    columns = request.of.columns
    if "category" in columns.column_names:
        allowed &= ~_equals(columns, "category", "padding")
    return _json({"allowed_token_ids": np.flatnonzero(allowed).tolist()})


def transformers(request: Request) -> str:
    """Return a ``generation_config.json`` with the tokens among its ``suppress_tokens``.

    What the model's own has is kept.
    """
    config = dict(request.generation_config)
    before = config.get("suppress_tokens") or []
    config["suppress_tokens"] = sorted({*before, *request.selection.token_ids.tolist()})
    return json.dumps(config, indent=2) + "\n"


def llama_cpp(request: Request) -> str:
    """Return arguments of llama.cpp's programs, a token a line."""
    return "".join(f"--logit-bias {i}-inf\n" for i in request.selection.token_ids.tolist())


def llama_cpp_server(request: Request) -> str:
    """Return ``logit_bias`` for a request to llama.cpp's server, where false stands for −∞."""
    ids = request.selection.token_ids.tolist()
    return _json({"logit_bias": [[token_id, False] for token_id in ids]})


def bitmask(request: Request) -> bytes:
    """Return a ``.npy`` file of int32 [1, ⌈V/32⌉] as grammar backends lay their masks out.

    Bit v % 32, from the lowest, of word v // 32 is 1 where token v is allowed. Bits from V on are
    0.
    """
    allowed = request.selection.allowed
    words = np.zeros(-(-len(allowed) // 32) * 4, dtype=np.uint8)
    packed = np.packbits(allowed, bitorder="little")
    words[: len(packed)] = packed
    file = io.BytesIO()
    np.save(file, words.view("<i4")[np.newaxis, :], allow_pickle=False)
    return file.getvalue()


def reusable(request: Request) -> str:
    """Return what may be had for new tokens: each id, its evidence, what `add_tokens` does to it.

    `add_tokens` of transformers and tokenizers counts the vocabulary's entries and goes on from
    there: the first row of padding, where all padding is behind all tokens. Elsewhere it is left
    open.
    """
    columns, of = request.of.columns, request.of
    n_rows = of.n_rows
    n_tokens = None
    if "category" in columns.column_names:
        padding = _equals(columns, "category", "padding")
        first = int(np.argmax(padding)) if padding.any() else n_rows
        n_tokens = first if padding[first:].all() else None
    rows = columns.take(pa.array(request.selection.token_ids)).to_pylist()
    tokens = [
        {
            "id": row["token_id"],
            "category": row.get("category"),
            "token": visible_token(row.get("bytes")) if "bytes" in row else None,
            "row_class": row["row_class"],
            "row_class_size": row["row_class_size"],
            "evidence": row.get("evidence"),
            "evidence_why": row.get("evidence_why"),
            "add_tokens": _add_tokens(row["token_id"], row.get("category"), n_tokens),
        }
        for row in rows
    ]
    model = of.model
    return (
        json.dumps(
            {
                "schema": REUSABLE_SCHEMA,
                "isologit": of.version,
                "model": {"spec": model.spec, "revision": model.revision, "name": model.name},
                "matrix": {"tensor": of.matrix.tensor, "sha256": of.matrix.sha256},
                "rows": n_rows,
                "next_new_id": n_tokens,
                "tokens": tokens,
            },
            indent=2,
        )
        + "\n"
    )


def model_card(request: Request) -> str:
    """Return a section in Markdown for a model card."""
    return card(request.of, request.selection)


@dataclass(frozen=True, eq=False)
class Format:
    """A way to write a selection down.

    Parameters
    ----------
    write
        The function; what it returns is text, or bytes that are not.
    what
        Half a sentence.
    note
        What whoever takes it has to know; None where it says all.
    """

    write: Callable[[Request], str] | Callable[[Request], bytes]
    what: str
    note: str | None = None


FORMATS: dict[str, Format] = {
    "openai": Format(
        openai,
        "logit_bias in a request",
        "a bias of -100 is soft: it makes a token improbable, not impossible",
    ),
    "vllm-allowed": Format(vllm_allowed, "allowed_token_ids in a request to vLLM"),
    "transformers": Format(transformers, "generation_config.json with suppress_tokens"),
    "llama.cpp": Format(
        llama_cpp,
        "arguments of llama-cli and llama-server",
        "older versions of llama-server forget --logit-bias at each request; what to send with "
        "one is llama.cpp-server",
    ),
    "llama.cpp-server": Format(llama_cpp_server, "logit_bias in a request to llama-server"),
    "bitmask": Format(bitmask, ".npy as grammar backends lay masks out"),
    "reusable": Format(reusable, "ids for new tokens, with evidence"),
    "card": Format(model_card, "Markdown for a model card"),
}


def _add_tokens(token_id: int, category: str | None, n_tokens: int | None) -> str:
    if category is None:
        return "not known: no tokenizer"
    if category != "padding":
        return (
            "does not take it: the id has a token, whose name stays until the tokenizer is edited"
        )
    if n_tokens is None:
        return "not known: ids have holes, and a new token may even get one that is in use; look"
    nth = token_id - n_tokens + 1
    return f"takes it for new token {nth}, in the order in which they are added"


def _equals(columns: pa.Table, name: str, word: str) -> Any:
    return np.array([value == word for value in columns[name].to_pylist()], dtype=np.bool_)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(", ", ": ")) + "\n"
