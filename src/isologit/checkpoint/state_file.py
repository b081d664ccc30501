"""Reading hidden states that a user brings: ``.npy`` and safetensors, one state or several."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.tensors import TensorInfo
from isologit.errors import CheckpointError, StateError, UnsupportedFormatError
from isologit.numerics.formats import Float64s, decode, parse_format

# What the documented capture names them, and what the seed names its own.
_PREFERRED = ("hidden_states", "cluster_centroid")
# What never-top's witnesses are called where the norm's β counts.
_INNER = "inner_states"

# Some states as stored, as values.
_Decoded = Callable[[npt.NDArray[Any]], Float64s]


@dataclass(frozen=True, eq=False)
class StoredStates:
    """Hidden states in a file, read as they are asked for.

    Parameters
    ----------
    n_states, width
        K and d.
    where
        The file, for messages.
    part
        Returns states `first` to `stop`, ``[n, d]`` binary64, exact for every format up to f64.
    """

    n_states: int
    width: int
    where: str
    part: Callable[[int, int], Float64s]


def read_state(path: Path, index: int | None = None) -> Float64s:
    """Return one hidden state as stored, ``[d]`` binary64, exact for every format up to f64.

    Parameters
    ----------
    path
        As of `read_states`.
    index
        Which of K states, from 0; may be left out where K is 1.

    Raises
    ------
    StateError
        The file is not there, holds no state, or several and `index` names none.
    """
    states = read_states(path)
    if index is None and states.n_states > 1:
        raise StateError(
            f"{path} holds {states.n_states} states; choose one with --index N, from 0"
        )
    if index is not None and index >= states.n_states:
        held = "one state" if states.n_states == 1 else f"{states.n_states} states"
        raise StateError(f"{path} holds {held}; --index {index} is beyond them, counted from 0")
    state: Float64s = states.part(index or 0, (index or 0) + 1)[0]
    return state


def read_states(path: Path) -> StoredStates:
    """Return the hidden states of a file.

    Parameters
    ----------
    path
        ``.npy`` with ``[d]`` or ``[K, d]`` numbers, or safetensors with one such tensor (or one
        named ``hidden_states`` or ``cluster_centroid``).

    Raises
    ------
    StateError
        The file is not there, or holds no states.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - false, and no error, for names too long
        raise StateError(f"{path} is not a file; expected a hidden state in .npy or .safetensors")
    array, decoded = _read_npy(path) if path.suffix == ".npy" else _read_safetensors(path)
    if array.ndim not in (1, 2) or 0 in array.shape:
        hint = ". Save one state a row: reshape(-1, d)" if array.ndim > 2 else ""
        if 0 in array.shape:
            hint = ", and at least one state in it"
        raise StateError(
            f"{path} holds an array of shape {list(array.shape)}; expected [d] or [K, d]{hint}"
        )
    rows = array.reshape(-1, array.shape[-1])
    return StoredStates(
        *rows.shape, where=str(path), part=lambda first, stop: decoded(rows[first:stop])
    )


def _read_npy(path: Path) -> tuple[npt.NDArray[Any], _Decoded]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise StateError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.dtype.itemsize > 8:
        kind = getattr(array, "dtype", type(array).__name__)
        raise StateError(
            f"{path} holds {kind}; expected float16, float32 or float64 (numpy cannot hold "
            "bfloat16: save it as .safetensors)"
        )
    return array, lambda some: some.astype(np.float64)


def _read_safetensors(path: Path) -> tuple[npt.NDArray[Any], _Decoded]:
    try:
        source = MappedFile(path)
        tensors = read_header(source).tensors
        name = next((known for known in _PREFERRED if known in tensors), None)
        if name is None and len(tensors) == 1:
            name = next(iter(tensors))
        if name is None:
            held = ", ".join(sorted(tensors)[:8]) or "nothing"
            hint = f"Save them alone, or as {_PREFERRED[0]}"
            if _INNER in tensors:
                hint = (
                    "These are the u of never-top's witnesses, before the norm's weight and bias: "
                    f"save γ ⊙ u + β as {_PREFERRED[0]}"
                )
            raise StateError(
                f"{path} holds {held}; expected one tensor, or one named {_PREFERRED[0]}. {hint}"
            )
        return _decode(source, tensors[name])
    except CheckpointError as error:
        raise StateError(f"{path} cannot be read as a state: {error}") from error


def _decode(source: MappedFile, info: TensorInfo) -> tuple[npt.NDArray[Any], _Decoded]:
    data = np.frombuffer(source.read(info.offset, info.length), dtype=np.uint8)
    if info.dtype == "F64":
        return data.view(np.float64).reshape(info.shape), np.array
    try:
        format_ = parse_format(info.dtype)
    except UnsupportedFormatError as error:
        raise StateError(f"{info.name}: {error}") from error
    words = data.view(format_.word_dtype).reshape(info.shape)
    return words, lambda some: decode(some, format_)
