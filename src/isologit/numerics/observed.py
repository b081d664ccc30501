"""Observed arithmetic: what torch computes on a named device, step for step as the seed does it.

Torch is the optional extra ``isologit[torch]``; it is imported only when a device is asked for or
an `Observed` is made. The functions carry the names and the signatures of `isologit.numerics.exact`
but promise less: another device, thread count or version may give other numbers. Nothing here
changes a setting of torch (threads, TF32, reduced-precision sums); `Observed.environment` records
those that results depend on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from isologit.errors import DeviceError, MissingExtraError
from isologit.numerics.exact import Rounded
from isologit.numerics.formats import Float64s, Format
from isologit.numerics.stored import Matrix, StoredWords, Vector

DEVICE_NAME = re.compile("cpu|mps|cuda(:[0-9]+)?")
# One state alone, and in batches such as a server has.
_BATCHES = (1, 2, 8, 16)


@dataclass(frozen=True, eq=False)
class Product:
    """What one operation gave.

    Parameters
    ----------
    op
        As one writes it in torch.
    batch
        How many copies of the state it had; None for a product with a vector.
    row_offset
        The first row of W that took part.
    values
        ``[batch or 1, V − row_offset]``. Not exact.
    """

    op: str
    batch: int | None
    row_offset: int
    values: Float64s


def detect_device() -> str:
    """Return the device that the seed would take: cuda if there is one, else mps, else cpu.

    Raises
    ------
    MissingExtraError
        Torch is not installed.
    """
    torch = _import_torch()
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


class Observed:
    """Torch's arithmetic on one device.

    As in the seed, logits, cosines and dot products run on the device; norms, means and medians
    run on the CPU, on the tensors as loaded. W is handed to torch without a copy, except where its
    bytes are not aligned to a word, and where it is stored in a coding (blocks, scales): then it is
    decoded whole. On a device other than the CPU it is copied there once.

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; None takes `detect_device`.

    Raises
    ------
    MissingExtraError
        Torch is not installed.
    DeviceError
        The device is unknown or not available.
    """

    name = "torch"

    def __init__(self, device: str | None = None) -> None:
        self._torch = _import_torch()
        self.device = detect_device() if device is None else device
        self._check_device()
        self.version = str(self._torch.__version__)
        self._on_device: WeakKeyDictionary[Matrix, Any] = WeakKeyDictionary()

    @property
    def threads(self) -> int:
        """How many CPU threads torch uses within one operation, now."""
        return int(self._torch.get_num_threads())

    @property
    def environment(self) -> dict[str, str]:
        """Everything known to change the results: versions, hardware, threads, precision."""
        torch = self._torch
        known = {
            "version": self.version,
            "device": self.device,
            "threads": str(self.threads),
            "cpu_capability": str(torch.backends.cpu.get_cpu_capability()),
            "float32_matmul_precision": str(torch.get_float32_matmul_precision()),
        }
        if self.device.startswith("cuda"):
            matmul = torch.backends.cuda.matmul
            known["device_name"] = str(torch.cuda.get_device_name(self.device))
            known["cuda"] = str(torch.version.cuda)
            known["bf16_reduced_precision_reduction"] = str(
                matmul.allow_bf16_reduced_precision_reduction
            )
            known["fp16_reduced_precision_reduction"] = str(
                matmul.allow_fp16_reduced_precision_reduction
            )
        return known

    def logits(self, matrix: Matrix, hidden_state: Vector, logit_format: Format) -> Rounded:
        """Return ``W @ h`` as torch computes it, all tokens in one product.

        The seed's W, h and logits share one dtype. W and h that are not in the logit format are
        cast to it first, each number once: for W this makes a whole copy in that format.

        Parameters
        ----------
        matrix
            ``[V, d]``.
        hidden_state
            ``[d]``.
        logit_format
            The dtype of the product.

        Returns
        -------
        Rounded
            ``[V]``. Not exact: in the order and precision of the library's kernel.
        """
        if hidden_state.words.shape != (matrix.width,):
            raise ValueError(
                f"hidden state has {len(hidden_state.words)} values, expected d = {matrix.width}"
            )
        dtype = self._dtype(logit_format)
        h = self._tensor(hidden_state.words, hidden_state.format).to(dtype).to(self.device)
        return _observed(self._device_matrix(matrix).to(dtype) @ h)

    def other_products(
        self, matrix: Matrix, hidden_state: Vector, logit_format: Format
    ) -> Iterator[Product]:
        """Yield the same logits by other operations of the library, each computed once.

        ``F.linear(H, W)`` of batches that hold the state 1, 2, 8 and 16 times, as models compute
        their logits, and ``W[1:] @ h``, where every row has another place. A library takes another
        kernel, or shares the rows out in another way, and adds in another order.

        Parameters
        ----------
        matrix, hidden_state, logit_format
            As of `logits`.
        """
        dtype = self._dtype(logit_format)
        h = self._tensor(hidden_state.words, hidden_state.format).to(dtype).to(self.device)
        rows = self._device_matrix(matrix).to(dtype)
        for batch in _BATCHES:
            states = h.expand(batch, -1).contiguous()
            values = _observed(self._torch.nn.functional.linear(states, rows)).values
            yield Product("F.linear(h, W)", batch, 0, values)
        if matrix.n_tokens > 1:
            yield Product("W[1:] @ h", None, 1, _observed(rows[1:] @ h).values[None])

    def cosines(self, matrix: Matrix, reference: Vector, cosine_format: Format) -> Rounded:
        """Return ``(W / W.norm(dim=1, keepdim=True)) @ r``, each step rounded as torch does it.

        The reference is divided by its own norm first, in the same dtype. That norm is 1 for the
        seed's reference, a unit vector rounded to bfloat16, and nothing changes; it makes a
        cosine of the product where the reference is a centroid. The quotient is a copy of W.

        Parameters
        ----------
        matrix
            ``[V, d]``.
        reference
            ``[d]``.
        cosine_format
            The dtype of every step; W and the reference are cast to it where they differ.

        Returns
        -------
        Rounded
            ``[V]``; NaN for a zero or non-finite row, and everywhere if the reference is zero.
            Not exact.
        """
        if reference.words.shape != (matrix.width,):
            raise ValueError(
                f"reference has {len(reference.words)} values, expected d = {matrix.width}"
            )
        dtype = self._dtype(cosine_format)
        r = self._tensor(reference.words, reference.format).to(dtype).to(self.device)
        rows = self._device_matrix(matrix).to(dtype)
        return _observed((rows / rows.norm(dim=1, keepdim=True)) @ (r / r.norm()))

    def norms(self, matrix: Matrix, format_: Format) -> Rounded:
        """Return ``W.norm(dim=1)`` on the CPU, ``[V]``, in W's dtype or the format asked for."""
        rows = self._tensor(matrix.block(0, matrix.n_tokens), matrix.format).to(
            self._dtype(format_)
        )
        return _observed(rows.norm(dim=1))

    def mean_row(self, matrix: Matrix, token_ids: npt.ArrayLike) -> tuple[Vector, int]:
        """Return ``W[ids].mean(dim=0)`` on the CPU, in W's dtype, and 0.

        Parameters
        ----------
        matrix
            ``[V, d]``.
        token_ids
            ``[n]``, n at least 1.

        Returns
        -------
        Vector
            ``[d]``, in the matrix's format.
        int
            0: nothing is refined here.
        """
        rows = np.ascontiguousarray(token_ids, dtype=np.int64)
        if rows.ndim != 1 or not len(rows):
            raise ValueError("the mean of no rows is not defined")
        mean = self._tensor(matrix.take(rows).words, matrix.format).mean(dim=0)
        return Vector.of_values(mean.double().numpy(), matrix.format), 0

    def mean(self, values: Float64s, format_: Format) -> float:
        """Return ``.mean()`` of a tensor of that dtype, on the CPU."""
        return float(self._of_values(values, format_).mean())

    def median(self, values: Float64s, format_: Format) -> float:
        """Return ``.median()`` of a tensor of that dtype: the lower of two middle values."""
        if not len(values):
            raise ValueError("the median of no values is not defined")
        return float(self._of_values(values, format_).median())

    def dot(self, left: Vector, right: Vector, format_: Format) -> float:
        """Return ``left @ right`` in that dtype, on the device."""
        dtype = self._dtype(format_)
        a, b = (self._tensor(v.words, v.format).to(dtype).to(self.device) for v in (left, right))
        return float(a @ b) + 0.0

    def norm(self, vector: Vector, format_: Format) -> float:
        """Return ``vector.norm()`` in that dtype, on the CPU."""
        return float(self._tensor(vector.words, vector.format).to(self._dtype(format_)).norm())

    def _dtype(self, format_: Format) -> Any:
        return getattr(self._torch, format_.torch)

    def _of_values(self, values: Float64s, format_: Format) -> Any:
        # Values of the format already, so that the cast only repacks them.
        return self._torch.tensor(values, dtype=self._torch.float64).to(self._dtype(format_))

    def _tensor(self, words: StoredWords, format_: Format) -> Any:
        """Return a tensor over stored words: the same memory wherever it is aligned."""
        # Torch takes a misaligned pointer without a word, and its kernels may not bear it.
        held = words if words.flags.aligned else words.copy()
        # The signed type of the same width: torch's own unsigned ones lack most operations.
        signed = np.asarray(_Lent(held)).view(f"i{format_.itemsize}")
        return self._torch.from_numpy(signed).view(self._dtype(format_))

    def _device_matrix(self, matrix: Matrix) -> Any:
        tensor = self._on_device.get(matrix)
        if tensor is None:
            tensor = self._tensor(matrix.block(0, matrix.n_tokens), matrix.format).to(self.device)
            self._on_device[matrix] = tensor
        return tensor

    def _check_device(self) -> None:
        torch = self._torch
        if not DEVICE_NAME.fullmatch(self.device):
            raise DeviceError(
                f"device {self.device!r} is not known; expected cpu, cuda, cuda:N or mps"
            )
        kind, _, index = self.device.partition(":")
        present = {
            "cpu": 1,
            "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
            "mps": int(torch.backends.mps.is_available()),
        }
        if int(index or 0) >= present[kind]:
            found = ", ".join(
                f"{n} cuda" if name == "cuda" else name for name, n in present.items() if n
            )
            raise DeviceError(
                f"device {self.device!r} is not available: torch {torch.__version__} finds "
                f"{found}. Name one of these, or use exact arithmetic, which needs none"
            )


class _Lent:
    """Read-only words offered as writable, so that torch takes them without a copy or a warning.

    No operation of this module writes to its operands.
    """

    def __init__(self, words: StoredWords) -> None:
        # Keeps the memory alive: the array that numpy makes of this object refers to it.
        self._words = words
        interface = words.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _observed(tensor: Any) -> Rounded:
    # −0 and +0 are one logit; keep one of them.
    return Rounded(tensor.cpu().double().numpy() + 0.0, 0)


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            "observed arithmetic needs torch, which is not installed. "
            "Install it with: pip install 'isologit[torch]', or use exact arithmetic"
        ) from error
    return torch
