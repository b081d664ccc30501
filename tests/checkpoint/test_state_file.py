"""Files of hidden states: every format, one state or many, read in parts and exactly."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from isologit.checkpoint.state_file import read_state, read_states
from isologit.errors import StateError

VALUES = np.array([[1.5, -2.0, 0.0], [3.0, 2.0**-9, 4.0], [0.5, 0.25, -1.0], [7.0, 8.0, 9.0]])


def written(folder: Path, kind: str, values: Any) -> Path:
    """Write states as ``npy-…`` or ``safetensors-…`` of a dtype."""
    container, dtype = kind.split("-")
    native = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32, "f64": np.float64}
    path = folder / f"h.{container}"
    if container == "npy":
        np.save(path, values.astype(native[dtype]))
    else:
        save_file({"hidden_states": values.astype(native[dtype])}, path)
    return path


KINDS = [
    *("npy-f16", "npy-f32", "npy-f64"),
    *("safetensors-bf16", "safetensors-f16", "safetensors-f32", "safetensors-f64"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_read_exactly_and_in_parts(tmp_path: Path, kind: str) -> None:
    states = read_states(written(tmp_path, kind, VALUES))
    assert (states.n_states, states.width) == VALUES.shape
    assert states.where == str(tmp_path / f"h.{kind.split('-')[0]}")
    for first, stop in ((0, 4), (1, 3), (3, 4)):
        part = states.part(first, stop)
        assert part.dtype == np.float64
        assert part.tolist() == VALUES[first:stop].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_one_state_is_one_of_them(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, VALUES)
    assert read_state(path, 2).tolist() == VALUES[2].tolist()
    with pytest.raises(StateError, match="holds 4 states; choose one with --index N"):
        read_state(path)
    with pytest.raises(StateError, match="--index 4 is beyond them"):
        read_state(path, 4)
    alone = written(tmp_path, kind, VALUES[1])
    assert read_state(alone).tolist() == VALUES[1].tolist()
    assert read_states(alone).n_states == 1


def test_a_file_in_the_order_of_columns_is_read_by_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "h.npy", np.asfortranarray(VALUES))
    assert read_states(tmp_path / "h.npy").part(1, 3).tolist() == VALUES[1:3].tolist()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 2, 2)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save_file({"hidden_states": np.zeros(shape, dtype=np.float32)}, tmp_path / "h.safetensors")
    with pytest.raises(StateError, match=r"expected \[d\] or \[K, d\]"):
        read_states(tmp_path / "h.safetensors")
