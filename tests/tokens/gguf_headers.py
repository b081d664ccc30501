"""The metadata of GGUF headers for tests, as the reader gives it, without a file."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from isologit.checkpoint.gguf_values import StringArray

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def strings(each: Sequence[str | bytes]) -> StringArray:
    """Return an array of strings."""
    content, bounds = bytearray(), [0]
    for text in each:
        raw = text.encode() if isinstance(text, str) else text
        content += struct.pack("<Q", len(raw)) + raw
        bounds.append(len(content))
    return StringArray(content, bounds)


def header(model: str, tokens: Sequence[str | bytes], **more: Any) -> dict[str, Any]:
    """Return metadata; lists become arrays, and keys those of ``tokenizer.ggml``."""
    found: dict[str, Any] = {"model": model, "tokens": strings(tokens)}
    for key, value in more.items():
        if key == "merges":
            found[key] = strings(value)
        elif key == "scores":
            found[key] = np.array(value, np.float32)
        elif isinstance(value, list):
            found[key] = np.array(value, np.int32)
        else:
            found[key] = value
    return {f"tokenizer.ggml.{key}": value for key, value in found.items()}
