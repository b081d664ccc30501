"""Small models with a tokenizer and a chat template, as they are published, for tests of the gate.

Ids 0 to 255 are the bytes; then come `ORDINARY` (text is encoded with it), `UNREACHABLE`, three
special tokens, and `N_PADDING` rows that no token has. Rows are a Gaussian cloud, all distinct.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama
from tokens.small_tokenizers import byte_level, save

ORDINARY, UNREACHABLE, START, END, EXTRA = 256, 257, 258, 259, 260
N_PADDING = 3
N_ROWS = EXTRA + 1 + N_PADDING
TEMPLATE = "{% for m in messages %}<|start|>{{ m['role'] + m['content'] + '<|end|>' }}{% endfor %}"
CONFIG: dict[str, Any] = {"eos_token": "<|end|>", "chat_template": TEMPLATE}

Rows = npt.NDArray[np.float64]


def rows(n_rows: int = N_ROWS) -> Rows:
    """Return rows without a cluster, all distinct."""
    return gaussian(n_rows, 16)


def write_chat_model(
    directory: Path, values: Rows | None = None, config: Mapping[str, Any] | None = CONFIG
) -> Path:
    """Write W, `tokenizer.json` and, unless it is None, `tokenizer_config.json`."""
    write_llama(directory, rows() if values is None else values, "f32")
    texts = ("<|start|>", "<|end|>", "<|extra|>")
    special = [AddedToken(text, special=True) for text in texts]
    save(byte_level(["ab", "cd"], [("a", "b")], added=special), directory)
    if config is not None:
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory
