"""The file that a run over many states keeps what it knows in: written whole or not at all.

Safetensors: ``labels`` int32 [V], and a tensor a figure, ``[n, …]``, under ``state.…``; the rest is
JSON in the metadata, with a digest of all, so that nothing is built on a file that was damaged.
"""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from isologit.across_states import Kept
from isologit.errors import OutputWriteError, ResultsError
from isologit.output.single_file import write_file

SCHEMA = "isologit.many-states/1"
_FIGURE = "state."
_DIGEST = "content_sha256"


def write_kept(path: Path, kept: Kept) -> None:
    """Write what is known, replacing what an earlier part of the run left.

    Raises
    ------
    OutputWriteError
        The file system refused; the earlier file is as it was.
    """
    tensors = {"labels": np.ascontiguousarray(kept.labels)}
    tensors |= {
        f"{_FIGURE}{name}": np.ascontiguousarray(column) for name, column in kept.columns.items()
    }
    about = {
        "schema": SCHEMA,
        "identity": json.dumps(kept.identity),
        "n_states": str(kept.n_states),
        "states_sha256": kept.states_sha256,
        "growth": json.dumps(kept.growth),
        "last_growth": str(kept.last_growth),
    }
    about[_DIGEST] = _digest(tensors, about)
    write_file(path, save(tensors, about), force=True)


def read_kept(path: Path) -> Kept | None:
    """Return what an earlier run left; None where there is no file yet.

    Raises
    ------
    ResultsError
        There is a file, and it is none that `write_kept` wrote.
    OutputWriteError
        There is none, and no directory to write it to.
    """
    if not os.path.lexists(path):
        if not path.parent.is_dir():
            # Else the first part would be computed, and then lost.
            raise OutputWriteError(
                f"{path} cannot be written: {path.parent} is no directory. Make it, or name a file "
                "elsewhere for --resume"
            )
        return None
    try:
        content = path.read_bytes()
        tensors = load(content)
        about = _metadata(content)
        if about.pop(_DIGEST, None) != _digest(tensors, about):
            raise ValueError("it was changed or damaged since")
        n_states = int(about["n_states"])
        columns = {
            name.removeprefix(_FIGURE): tensor
            for name, tensor in tensors.items()
            if name.startswith(_FIGURE)
        }
        if about["schema"] != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return Kept(
            identity={str(k): str(v) for k, v in json.loads(about["identity"]).items()},
            n_states=n_states,
            states_sha256=about["states_sha256"],
            labels=tensors["labels"],
            growth=tuple((int(k), int(n), int(c)) for k, n, c in json.loads(about["growth"])),
            last_growth=int(about["last_growth"]),
            columns=columns,
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{path} is not what an earlier run with --resume left: {error}; expected such a file, "
            "or none. Name another file"
        ) from error


def _digest(tensors: Mapping[str, npt.NDArray[Any]], about: Mapping[str, str]) -> str:
    """Return a digest of names, forms and contents, whatever order a file has them in."""
    digest = sha256(json.dumps(about, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def _metadata(content: bytes) -> dict[str, str]:
    # The library has checked the header, and gives no way to its metadata from bytes.
    size = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return metadata
