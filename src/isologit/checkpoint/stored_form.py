"""How a matrix of a checkpoint is stored, told from headers alone, and how its bytes become one.

Words of a format are taken as they are. Blocks of GGUF, 8-bit floats and binary64 numbers are kept
as stored too, with the coding that makes words of them where rows are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import TensorShapeError, UnsupportedFormatError
from isologit.numerics.formats import BF16, F32, FORMATS, Format, decode
from isologit.numerics.stored import Coding, Matrix, StoredWords, Vector

PLAIN = {format_.safetensors: format_ for format_ in FORMATS}
# What `isologit.numerics.codings` and `gguf_blocks` decode. Listed here too because they bring the
# compiler, and headers are read without it; a test holds the lists together.
FLOAT8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
BLOCKS = (
    *("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
)
# A scale is multiplied with, whatever its name: compressed-tensors writes weight_scale, DeepSeek
# (inference/kernel.py, weight_dequant) weight_scale_inv.
_SCALE_ENDINGS = ("_scale_inv", "_scale")
# Rows and columns that share a scale where the config does not say: DeepSeek's.
_USUAL_BLOCK = 128


@dataclass(frozen=True)
class StoredForm:
    """How a tensor ``[V, d]`` is stored.

    Parameters
    ----------
    info
        The tensor.
    stored_as
        What that form is called: ``bf16``, ``q8_0``, ``f8_e4m3``, ``f64``.
    format
        The format of its values.
    scale
        The tensor of its scales, or None.
    block
        Rows and columns that share a number of `scale`; None where one number, or one a row, does.
    note
        What a reader of figures should know about the values; None where they are what is stored.
    """

    info: TensorInfo
    stored_as: str
    format: Format
    scale: TensorInfo | None = None
    block: tuple[int, int] | None = None
    note: str | None = None

    def matrix(self, content: memoryview, scale: npt.NDArray[np.float32] | None) -> Matrix:
        """Return the matrix: a view of the content.

        Parameters
        ----------
        content
            The tensor's bytes.
        scale
            The numbers of `scale`, in its shape.
        """
        V, width = self.info.shape
        dtype = self.info.dtype
        if dtype in PLAIN:
            # frombuffer takes any byte offset: safetensors promises no alignment.
            words: StoredWords = np.frombuffer(content, dtype=self.format.word_dtype)
            return Matrix(words.reshape(V, width), self.format)
        unit = np.uint64 if dtype == "F64" else np.uint8
        stored: StoredWords = np.frombuffer(content, dtype=unit)
        return Matrix(stored.reshape(V, -1), self.format, self._coding(V, width, scale))

    def _coding(self, V: int, width: int, scale: npt.NDArray[np.float32] | None) -> Coding:
        from isologit.numerics.codings import Rounded64, ScaledFloat8
        from isologit.numerics.gguf_blocks import GgufBlocks

        if self.info.dtype in BLOCKS:
            return GgufBlocks(self.stored_as, width)
        if self.info.dtype == "F64":
            return Rounded64(width)
        if scale is not None and self.block is None:
            scale = scale.reshape(()) if scale.size == 1 else scale.reshape(-1)
        return ScaledFloat8(self.stored_as, V, width, scale, self.block)


def form_of(
    spec: str, info: TensorInfo, scale: TensorInfo | None, config: Mapping[str, Any] | None
) -> StoredForm:
    """Return how a tensor ``[V, d]`` is stored.

    Parameters
    ----------
    spec
        What messages call the checkpoint.
    info
        The tensor.
    scale
        The tensor of its scales, or None.
    config
        ``config.json``, which may give the size of a scale's blocks.

    Raises
    ------
    UnsupportedFormatError
        The number format, or the scale's, is not read.
    TensorShapeError
        The scale has a shape that does not go with the tensor's.
    """
    dtype = info.dtype
    if dtype in PLAIN:
        return StoredForm(info, PLAIN[dtype].name, PLAIN[dtype])
    if dtype in BLOCKS:
        note = f"{shown(info.name)} is stored as {dtype}: figures are of the dequantised values"
        return StoredForm(info, dtype.lower(), F32, note=note)
    if dtype == "F64":
        note = (
            f"{shown(info.name)} is stored as F64: figures are of its values rounded once to f32, "
            "where what is too large is infinite and what is too small is 0"
        )
        return StoredForm(info, "f64", F32, note=note)
    if dtype not in FLOAT8:
        raise _unsupported(spec, info, (*PLAIN, "F64", *FLOAT8, *BLOCKS))
    if scale is None:
        note = f"{shown(info.name)} is stored as {dtype} without a scale of its own"
        return StoredForm(info, dtype.lower(), BF16, note=note)
    if scale.dtype not in (*PLAIN, "F8_E8M0"):
        raise _unsupported(spec, scale, (*PLAIN, "F8_E8M0"))
    note = (
        f"{shown(info.name)} is stored as {dtype}: figures are of its values times "
        f"{shown(scale.name)}, rounded once to f32"
    )
    block = _scale_block(spec, info, scale, config)
    return StoredForm(info, dtype.lower(), F32, scale, block, note)


def scale_beside(tensors: Mapping[str, TensorInfo], info: TensorInfo) -> TensorInfo | None:
    """Return the tensor of the scales of an 8-bit float tensor; None where there is none."""
    if info.dtype not in FLOAT8:
        return None
    # DeepSeek's own layout has head.scale beside head.weight.
    stem = info.name.removesuffix("weight").removesuffix(".")
    names = [info.name + ending for ending in _SCALE_ENDINGS] + [f"{stem}.scale"]
    return next((tensors[name] for name in names if name in tensors), None)


def scale_values(content: memoryview, info: TensorInfo) -> npt.NDArray[np.float32]:
    """Return a scale's numbers in its shape; exact: binary32 holds those of every format here."""
    if info.dtype == "F8_E8M0":
        import ml_dtypes

        powers = np.frombuffer(content, dtype=ml_dtypes.float8_e8m0fnu)
        return powers.astype(np.float32).reshape(info.shape)
    format_ = PLAIN[info.dtype]
    words: StoredWords = np.frombuffer(content, dtype=format_.word_dtype)
    return decode(words, format_).astype(np.float32).reshape(info.shape)


def vector_format(spec: str, info: TensorInfo) -> Format:
    """Return the format that a tensor ``[n]`` is read in.

    Raises
    ------
    UnsupportedFormatError
        Its number format is not read.
    """
    if info.dtype == "F64":
        return F32
    if info.dtype not in PLAIN:
        raise _unsupported(spec, info, (*PLAIN, "F64"))
    return PLAIN[info.dtype]


def vector_of(content: memoryview, info: TensorInfo, format_: Format) -> Vector:
    """Return a tensor ``[n]`` as a vector of the format that `vector_format` gives.

    Binary64 numbers are rounded once to binary32, as a matrix of them is.
    """
    if info.dtype == "F64":
        return Vector.of_values(np.frombuffer(content, dtype="<f8"), format_)
    # frombuffer takes any byte offset: safetensors promises no alignment.
    return Vector(np.frombuffer(content, dtype=format_.word_dtype), format_)


def _unsupported(spec: str, info: TensorInfo, read: Sequence[str]) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        f"{shown(spec)}: {shown(info.name)} is stored as {shown(info.dtype)}; "
        f"{', '.join(read)} are read. Convert it to one of these, or name another tensor"
    )


def _scale_block(
    spec: str, info: TensorInfo, scale: TensorInfo, config: Mapping[str, Any] | None
) -> tuple[int, int] | None:
    """Return how many rows and columns share a number of a scale; None for one, or one a row."""
    V, width = info.shape
    if all(size == 1 for size in scale.shape) or scale.shape in ((V,), (V, 1)):
        return None
    sizes = _block_sizes(config)
    if len(scale.shape) == 2:
        rows = _block_of(V, scale.shape[0], sizes[0])
        columns = _block_of(width, scale.shape[1], sizes[1])
        if rows and columns:
            return rows, columns
    raise TensorShapeError(
        f"{shown(spec)}: {shown(scale.name)} is {shown_shape(scale.shape)}; expected one scale, "
        f"one for each row of {shown(info.name)} {shown_shape(info.shape)}, or one for each of "
        f"its blocks of [{sizes[0]}, {sizes[1]}]"
    )


def _block_sizes(config: Mapping[str, Any] | None) -> Sequence[int]:
    # transformers, finegrained_fp8: weight_block_size of the quantization_config.
    quantization = (config or {}).get("quantization_config")
    given = quantization.get("weight_block_size") if isinstance(quantization, dict) else None
    if isinstance(given, list) and len(given) == 2 and all(_is_positive(size) for size in given):
        return given
    return _USUAL_BLOCK, _USUAL_BLOCK


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _block_of(size: int, n_scales: int, usual: int) -> int | None:
    """Return the block size by which so many scales serve so many rows; None where none does."""
    if -(-size // usual) == n_scales:
        return usual
    return size if n_scales == 1 else None
