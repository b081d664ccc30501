"""Reading hidden states that a user brings: ``.npy`` and safetensors, one state or several."""

import os
from pathlib import Path

import numpy as np

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.tensors import TensorInfo
from isologit.errors import CheckpointError, StateError, UnsupportedFormatError
from isologit.numerics.formats import Float64s, decode, parse_format

# What the documented capture names them, and what the seed names its own.
_PREFERRED = ("hidden_states", "cluster_centroid")


def read_state(path: Path, index: int | None = None) -> Float64s:
    """Return one hidden state as stored, ``[d]`` binary64, exact for every format up to f64.

    Parameters
    ----------
    path
        ``.npy`` with ``[d]`` or ``[K, d]`` numbers, or safetensors with one such tensor (or one
        named ``hidden_states`` or ``cluster_centroid``).
    index
        Which of K states, from 0; may be left out where K is 1.

    Raises
    ------
    StateError
        The file is not there, holds no state, or several and `index` names none.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - false, and no error, for names too long
        raise StateError(f"{path} is not a file; expected a hidden state in .npy or .safetensors")
    states = _read_npy(path) if path.suffix == ".npy" else _read_safetensors(path)
    if states.ndim == 1:
        states = states[None, :]
    if states.ndim != 2 or 0 in states.shape:
        raise StateError(
            f"{path} holds an array of shape {list(states.shape)}; expected [d] or [K, d]"
        )
    if index is None and len(states) > 1:
        raise StateError(f"{path} holds {len(states)} states; choose one with --index N, from 0")
    if index is not None and index >= len(states):
        raise StateError(f"{path} holds {len(states)} states; --index {index} is beyond them")
    state: Float64s = states[index or 0]
    return state


def _read_npy(path: Path) -> Float64s:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise StateError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.dtype.itemsize > 8:
        kind = getattr(array, "dtype", type(array).__name__)
        raise StateError(
            f"{path} holds {kind}; expected float16, float32 or float64 (numpy cannot hold "
            "bfloat16: save it as .safetensors)"
        )
    return array.astype(np.float64)


def _read_safetensors(path: Path) -> Float64s:
    try:
        source = MappedFile(path)
        tensors = read_header(source).tensors
        name = next((known for known in _PREFERRED if known in tensors), None)
        if name is None and len(tensors) == 1:
            name = next(iter(tensors))
        if name is None:
            held = ", ".join(sorted(tensors)[:8]) or "nothing"
            raise StateError(
                f"{path} holds {held}; expected one tensor, or one named {_PREFERRED[0]}"
            )
        return _decode(source, tensors[name])
    except CheckpointError as error:
        raise StateError(f"{path} cannot be read as a state: {error}") from error


def _decode(source: MappedFile, info: TensorInfo) -> Float64s:
    data = np.frombuffer(source.read(info.offset, info.length), dtype=np.uint8)
    if info.dtype == "F64":
        return data.view(np.float64).reshape(info.shape)
    try:
        format_ = parse_format(info.dtype)
    except UnsupportedFormatError as error:
        raise StateError(f"{info.name}: {error}") from error
    return decode(data.view(format_.word_dtype), format_).reshape(info.shape)
