"""What torch does for the same questions, on the CPU, by its own functions.

Arguments and results are numpy arrays or torch tensors on the mapped file itself; nothing of
isologit is used.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

Tensor = Any


def load(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, mapped."""
    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Return whether two tensors are of one type and shape and hold the same bytes."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return bool(torch.equal(left.view(torch.uint8), right.view(torch.uint8)))


def bf16_vectors(words: npt.NDArray[np.unsignedinteger]) -> Tensor:
    """Return stored bf16 words as a tensor of the same shape."""
    return torch.from_numpy(words.astype(np.uint16).view(np.int16)).view(torch.bfloat16)


def logits(W: Tensor, h: Tensor) -> Tensor:
    """Return ``W @ h`` in bf16."""
    with torch.no_grad():
        return W @ h


def unique_rows(W: Tensor) -> Tensor:
    """Return the distinct rows."""
    return torch.unique(W, dim=0)


def classes_of_rows(W: Tensor) -> npt.NDArray[np.int64]:
    """Return which distinct row each row is, ``[V]``."""
    inverse: npt.NDArray[np.int64] = torch.unique(W, dim=0, return_inverse=True)[1].numpy()
    return inverse


def leading_axes(W: Tensor, count: int) -> npt.NDArray[np.float32]:
    """Return the leading eigenvectors of the covariance of rows in float32, ``[count, d]``."""
    X = W.float()
    X -= X.mean(dim=0)
    C = X.T @ X / len(X)
    vectors = torch.linalg.eigh(C).eigenvectors
    leading: npt.NDArray[np.float32] = vectors[:, -count:].flip(1).T.contiguous().numpy()
    return leading


def row_figures(W: Tensor, block: int = 8192) -> dict[str, npt.NDArray[np.float64]]:
    """Return each row's squared norm, sum, smallest and largest entry, in float64, ``[V]`` each."""
    found: dict[str, list[Tensor]] = {"squares": [], "sums": [], "smallest": [], "largest": []}
    for rows in W.split(block):
        values = rows.double()
        found["squares"].append(values.square().sum(dim=1))
        found["sums"].append(values.sum(dim=1))
        found["smallest"].append(values.amin(dim=1))
        found["largest"].append(values.amax(dim=1))
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def version() -> str:
    """Return which torch this is, and on how many threads it computes."""
    return f"torch {torch.__version__} ({torch.get_num_threads()} threads)"
