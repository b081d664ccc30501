"""Writers of small checkpoints and cluster files for tests: by the formats' libraries, not by ours.

Nothing here imports what it is meant to test; values are rounded by ml_dtypes and numpy.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

Array = npt.NDArray[Any]
# ArrayLike alone refuses rows that mix integers and NaN.
Values = npt.ArrayLike | Sequence[object]

NATIVE: dict[str, Any] = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}


def write_matrix(directory: Path, values: Values, dtype: str = "bf16") -> Path:
    """Write ``[V, d]`` as the seed's bare ``W.safetensors`` and return its directory."""
    return write_tensors(directory, {"W": np.asarray(values)}, dtype, file="W.safetensors")


def write_tensors(
    directory: Path,
    tensors: Mapping[str, Array],
    dtype: str = "bf16",
    *,
    file: str = "model.safetensors",
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write tensors, and a config where one is given, and return their directory."""
    directory.mkdir(parents=True, exist_ok=True)
    stored = {
        name: np.ascontiguousarray(values.astype(NATIVE[dtype])) for name, values in tensors.items()
    }
    save_file(stored, directory / file)
    if config is not None:
        (directory / "config.json").write_text(json.dumps(config))
    return directory


def write_llama(directory: Path, values: Values, dtype: str = "bf16") -> Path:
    """Write a tied Llama's embedding and a final norm of ones, with its config."""
    matrix = np.asarray(values)
    return write_tensors(
        directory,
        {
            "model.embed_tokens.weight": matrix,
            "model.norm.weight": np.ones(matrix.shape[1]),
        },
        dtype,
        config={
            "model_type": "llama",
            "vocab_size": matrix.shape[0],
            "hidden_size": matrix.shape[1],
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-5,
        },
    )


def cluster_tensors(token_ids: Sequence[int], n_tokens: int, cosine: float = 1.0) -> dict[str, Any]:
    """Return the four tensors of the seed's ``1.4a_cluster_members.safetensors``."""
    mask = np.zeros(n_tokens, dtype=np.uint8)
    mask[list(token_ids)] = 1
    return {
        "cluster_mask": mask,
        "cluster_token_ids": np.array(token_ids, dtype=np.int32),
        "cluster_cosine": np.array([cosine], dtype=np.float32),
        "n_cluster_members": np.array([len(token_ids)], dtype=np.int32),
    }


def write_cluster(path: Path, tensors: Mapping[str, Array]) -> Path:
    """Write a cluster file and return its path."""
    save_file(dict(tensors), path)
    return path


def gaussian(n_tokens: int, width: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return a cloud of rows without a cluster, the same on every machine."""
    return np.random.default_rng(seed).normal(size=(n_tokens, width)) * 0.125


def read_safetensors(path: Path) -> tuple[dict[str, Array], dict[str, str], dict[str, str]]:
    """Return a file's tensors, their dtypes as its header names them, and its metadata.

    Reads the bytes by the format's specification, so that no library chooses the dtypes.
    """
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    native = {"U8": np.uint8, "I32": np.int32, "F32": np.float32, "F16": np.float16}
    native["BF16"] = ml_dtypes.bfloat16
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(content[begin:end], dtype=native[entry["dtype"]]).reshape(
            entry["shape"]
        )
    return tensors, {name: entry["dtype"] for name, entry in header.items()}, metadata
