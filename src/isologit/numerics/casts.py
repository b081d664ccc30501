"""What a matrix becomes in another format: each cast as a matrix of stored words, and its losses.

A cast rounds each number once, to nearest-even, from the value that is stored; or, into ggml's
blocks, as the reference quantiser computes. A matrix that is stored quantised is cast from its
decoded values; one of binary64 from these where no scale is involved, and else from its binary32
values, which is what scales and blocks are made of. A cast is made some rows at a time: beside its
words little is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isologit.numerics.block_quantisers import quantise_blocks
from isologit.numerics.cast_formats import CASTS, Rules, why_impossible
from isologit.numerics.codings import Rounded64, ScaledFloat8
from isologit.numerics.encodings import Counts, encode_rows, encoding_of
from isologit.numerics.float8 import E4M3FN, E5M2, Float8
from isologit.numerics.formats import BF16, F16, F32, Float64s, Format
from isologit.numerics.gguf_blocks import GgufBlocks
from isologit.numerics.kernels import typed_block
from isologit.numerics.parallel import for_blocks
from isologit.numerics.scaled_int8 import LARGEST, ScaledInt8, column_magnitudes, quantise_rows
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, StoredWords

ScaleOf = Literal["none", "tensor", "row", "column", "block"]
Overflow = Literal["saturate", "nan", "infinity"]
Kind = Literal["identity", "exact", "rounded"]

_FLOATS: dict[str, Format] = {format_.name: format_ for format_ in (F16, BF16, F32)}
_FLOAT8: dict[str, Float8] = {format_.name: format_ for format_ in (E4M3FN, E5M2)}
_INT8: dict[str, Literal["row", "column"]] = {"int8_row": "row", "int8_channel": "column"}


@dataclass(frozen=True, eq=False)
class Cast:
    """A matrix in another format.

    Parameters
    ----------
    matrix
        ``[V, d]``, with a coding where its words are not of a format. The matrix itself where the
        words would only be wider.
    kind
        ``identity``: the matrix is of that format already, and is itself the cast. ``exact``: every
        number of its format is one of the other. ``rounded``: neither.
    counts
        What became of the entries; None where every number is kept.
    overflow
        What becomes of a number that is too large; None where that cannot be.
    scaling
        What a scale is for: none, tensor, row, column, block.
    """

    matrix: Matrix
    kind: Kind
    counts: Counts | None
    overflow: Overflow | None
    scaling: ScaleOf


def cast(matrix: Matrix, name: str, rules: Rules) -> Cast:
    """Cast a matrix; of one that is stored quantised, its decoded values.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    name
        One of `CASTS`.
    rules
        Of the 8-bit floats.

    Raises
    ------
    ValueError
        The format is unknown, or not possible (`why_impossible`).
    """
    if name not in CASTS:
        raise ValueError(f"no cast to {name!r}; expected one of {', '.join(CASTS)}")
    if why := why_impossible(name, matrix.width):
        raise ValueError(f"{name}: {why}")
    if _is_already(matrix, name, rules):
        return Cast(matrix, "identity", None, None, _own_scaling(matrix))
    if name in _FLOATS:
        return _to_float(matrix, _FLOATS[name])
    if name in _FLOAT8:
        return _to_float8(matrix, _FLOAT8[name], rules)
    if name in _INT8:
        return _to_int8(matrix, _INT8[name])
    return _to_blocks(matrix, name)


def _is_already(matrix: Matrix, name: str, rules: Rules) -> bool:
    """Return whether a matrix is stored in a format, with scales of its own or as asked."""
    if name in _FLOAT8 and isinstance(matrix.coding, ScaledFloat8):
        same = matrix.coding.name == _FLOAT8[name].coding
        return same and (matrix.coding.scale is not None or rules.scaling == "none")
    return matrix.stored_as == name


def _own_scaling(matrix: Matrix) -> ScaleOf:
    """Return what the scales of a matrix as it is stored are for."""
    coding = matrix.coding
    if isinstance(coding, GgufBlocks):
        return "block"
    if isinstance(coding, ScaledFloat8) and coding.scale is not None:
        return "block" if coding.block else "row" if coding.scale.ndim else "tensor"
    return "none"


def _to_float(matrix: Matrix, to: Format) -> Cast:
    exact = _holds(to, matrix)
    if exact and matrix.coding is None:
        # The same numbers in wider words: what is equal and what is not stays so.
        return Cast(matrix, "exact", None, None, "none")
    words = np.empty((matrix.n_tokens, matrix.width), dtype=to.word_dtype)
    ones = np.ones(matrix.n_tokens)
    encoding = encoding_of(to)
    counts = _filled(
        matrix,
        lambda part, some: encode_rows(part, ones[some], encoding, words[some]),
        from_binary64=True,
    )
    if exact:
        return Cast(Matrix(words, to), "exact", None, None, "none")
    return Cast(Matrix(words, to), "rounded", counts, "infinity", "none")


def _holds(to: Format, matrix: Matrix) -> bool:
    """Return whether every number that a matrix can hold as it is stored is one of a format."""
    coding = matrix.coding
    if isinstance(coding, Rounded64):
        return False
    if isinstance(coding, ScaledFloat8) and coding.scale is None:
        # At most 4 significant bits, of 2^−17 to 57,344: each of the formats here has them all.
        return True
    return to.holds(matrix.format)


def _to_float8(matrix: Matrix, to: Float8, rules: Rules) -> Cast:
    V, width = matrix.n_tokens, matrix.width
    scale = None
    divisors = np.ones(V)
    if rules.scaling != "none":
        magnitudes = _row_magnitudes(matrix)
        if rules.scaling == "tensor":
            magnitudes = magnitudes.max(keepdims=True)
        rows = _scales(magnitudes, to.largest)
        divisors = np.broadcast_to(_divisors(rows), V).copy()
        scale = rows.reshape(()) if rules.scaling == "tensor" else rows
    words = np.empty((V, width), dtype=np.uint8)
    encoding = to.encoding(rules.overflow)
    counts = _filled(
        matrix,
        lambda part, some: encode_rows(part, divisors[some], encoding, words[some]),
        from_binary64=scale is None,
    )
    coding = ScaledFloat8(to.coding, V, width, scale)
    becomes = to.becomes(rules.overflow)
    return Cast(Matrix(words, coding.format, coding), "rounded", counts, becomes, rules.scaling)


def _to_int8(matrix: Matrix, axis: Literal["row", "column"]) -> Cast:
    V, width = matrix.n_tokens, matrix.width
    magnitudes = _row_magnitudes(matrix) if axis == "row" else _column_magnitudes(matrix)
    scale = _scales(magnitudes, LARGEST)
    divisors = _divisors(scale)
    words = np.empty((V, width), dtype=np.uint8)

    def fill(part: npt.NDArray[Any], some: slice) -> Counts:
        mine = divisors[some] if axis == "row" else divisors
        return quantise_rows(part, mine, axis, words[some])

    counts = _filled(matrix, fill)
    coding = ScaledInt8(V, width, scale, axis)
    return Cast(Matrix(words, F32, coding), "rounded", counts, "saturate", axis)


def _to_blocks(matrix: Matrix, name: str) -> Cast:
    coding = GgufBlocks(name, matrix.width)
    words: StoredWords = np.empty((matrix.n_tokens, coding.row_bytes), dtype=np.uint8)
    counts = _filled(matrix, lambda part, some: quantise_blocks(part, name, words[some]))
    return Cast(Matrix(words, F32, coding), "rounded", counts, "infinity", "block")


def _filled(
    matrix: Matrix,
    fill: Callable[[npt.NDArray[Any], slice], Counts],
    *,
    from_binary64: bool = False,
) -> Counts:
    """Have some rows at a time cast, and return the sums of what became of them.

    Of a matrix that is stored as binary64 the rows are those, or as binary32 alone, which scales
    are of.
    """
    total = np.zeros(3, dtype=np.int64)
    lock = Lock()
    as_stored = from_binary64 and isinstance(matrix.coding, Rounded64)

    def work(start: int, stop: int) -> None:
        part = matrix.words[start:stop] if as_stored else typed_block(matrix, start, stop)
        counts = fill(part, slice(start, stop))
        with lock:
            total[:] += counts

    for_blocks(work, matrix.n_tokens, matrix.row_bytes)
    return Counts(*total.tolist())


def _row_magnitudes(matrix: Matrix) -> Float64s:
    """Return the largest magnitude of each row, ``[V]``; NaN where there is a NaN."""
    scan = scan_rows(matrix)
    return np.maximum(scan.largest, -scan.smallest)


def _column_magnitudes(matrix: Matrix) -> Float64s:
    """Return the largest magnitude of each column, ``[d]``; NaN where there is a NaN."""
    found = np.zeros(matrix.width)
    lock = Lock()

    def work(start: int, stop: int) -> None:
        mine = np.zeros(matrix.width)
        column_magnitudes(typed_block(matrix, start, stop), mine)
        with lock:
            np.maximum(found, mine, out=found)

    for_blocks(work, matrix.n_tokens, matrix.row_bytes)
    return found


def _scales(magnitudes: Float64s, largest: float) -> npt.NDArray[np.float32]:
    """Return the scales that bring magnitudes to the largest number, rounded once to binary32."""
    with np.errstate(under="ignore", invalid="ignore"):
        # Magnitudes are numbers of binary32, whose quotients are rounded once.
        return magnitudes.astype(np.float32) / np.float32(largest)


def _divisors(scales: npt.NDArray[np.float32]) -> Float64s:
    """Return what entries are divided by: of a scale of 0 an infinity, which makes zeros."""
    return np.where(scales == 0, np.inf, scales.astype(np.float64))
