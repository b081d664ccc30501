"""Numbers that are stored one by one in another form: 8-bit floating point with scales, binary64.

Each class is a `Coding`; ggml's blocks, which hold their own scales, live in `gguf_blocks`. Every
NaN is decoded as the one quiet NaN of the format, as `formats.encode` writes it: which NaN a
multiplication or a conversion returns is the processor's choice.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from isologit.errors import UnsupportedFormatError
from isologit.numerics.compilation import keep_machine_code, kernel
from isologit.numerics.formats import BF16, F32, Format
from isologit.numerics.stored import StoredWords

keep_machine_code()

# By the lower-case names of safetensors, whose F8_E4M3 is e4m3fn.
FLOAT8_TYPES: Mapping[str, Any] = {
    "f8_e4m3": ml_dtypes.float8_e4m3fn,
    "f8_e5m2": ml_dtypes.float8_e5m2,
    "f8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}


def require_arrays(
    stored: npt.NDArray[Any],
    stored_row: tuple[int, npt.DTypeLike],
    rows: npt.NDArray[Any],
    out: npt.NDArray[Any],
    decoded_row: tuple[int, npt.DTypeLike],
) -> None:
    """Check what a `Coding` is to decode before machine code, which checks nothing, does.

    Parameters
    ----------
    stored, rows, out
        As for `Coding.decode`; ids are not looked at.
    stored_row, decoded_row
        How many elements of which type a row of `stored` and of `out` has.

    Raises
    ------
    ValueError
        An array has another shape or type, or is not C-contiguous.
    """
    expected = {
        "stored": (stored, (len(stored), stored_row[0]), np.dtype(stored_row[1])),
        "rows": (rows, (len(rows),), np.dtype(np.int64)),
        "out": (out, (len(rows), decoded_row[0]), np.dtype(decoded_row[1])),
    }
    for name, (given, shape, dtype) in expected.items():
        if given.shape != shape or given.dtype != dtype or not given.flags.c_contiguous:
            raise ValueError(
                f"{name} must be a C-contiguous {dtype} array of shape {shape}, got {given.dtype} "
                f"{given.shape}"
            )


@dataclass(frozen=True, eq=False)
class ScaledFloat8:
    """A `Coding` of rows of 8-bit floating-point numbers, alone or times a scale.

    Without scales decoded into bf16, exactly: each has at most 4 significant bits, and exponents
    that bf16 has. With scales decoded into binary32: the real product rounded once to nearest-even.

    Parameters
    ----------
    name
        One of `FLOAT8_TYPES`.
    n_tokens
        V.
    width
        d.
    scale
        binary32: ``[]``, one for all; ``[V]``, one a row; or ``[⌈V / r⌉, ⌈d / c⌉]``, one a block of
        r rows and c columns. None: no scales.
    block
        (r, c), with scales of blocks alone.

    Raises
    ------
    UnsupportedFormatError
        The name is none of those.
    ValueError
        The scales have another shape or type.
    """

    name: str
    n_tokens: int
    width: int
    scale: npt.NDArray[np.float32] | None = None
    block: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.name not in FLOAT8_TYPES:
            raise UnsupportedFormatError(
                f"8-bit format {self.name!r} is not decoded here; expected one of "
                f"{', '.join(FLOAT8_TYPES)}"
            )
        if self.scale is None:
            if self.block is not None:
                raise ValueError(f"blocks of {self.block} have no scales")
            return
        if self.block is not None and min(self.block) < 1:
            raise ValueError(f"blocks must have rows and columns, got {self.block}")
        shapes: list[tuple[int, ...]] = [(), (self.n_tokens,)]
        if self.block is not None:
            shapes = [(-(-self.n_tokens // self.block[0]), -(-self.width // self.block[1]))]
        if self.scale.shape not in shapes or self.scale.dtype != np.float32:
            raise ValueError(
                f"scales of a {[self.n_tokens, self.width]} matrix must be float32 of shape "
                f"{' or '.join(map(str, shapes))}, got {self.scale.dtype} {self.scale.shape}"
            )

    @property
    def format(self) -> Format:
        """bf16 without scales, else binary32."""
        return BF16 if self.scale is None else F32

    @property
    def row_keys(self) -> npt.NDArray[np.integer] | None:
        """What scales a row has, ``[V]``: equal where these are, bit for bit.

        None where all rows have the same.
        """
        if self.scale is None or self.scale.ndim == 0:
            return None
        scales, (n_rows, _) = self._blocks()
        _, labels = np.unique(scales.view(np.uint32), axis=0, return_inverse=True)
        return labels.reshape(-1)[np.arange(self.n_tokens) // n_rows] if labels.any() else None

    def decode(
        self, stored: StoredWords, rows: npt.NDArray[np.int64], out: npt.NDArray[Any]
    ) -> None:
        """Fill ``out[n]`` with the words of the values of row ``rows[n]``.

        Parameters
        ----------
        stored
            ``[V, d]`` uint8, C-contiguous.
        rows
            ``[n]`` ids from 0 to V − 1, in any order.
        out
            ``[n, d]`` words of `format`, C-contiguous.

        Raises
        ------
        ValueError
            The arrays are not of these shapes, types and layouts.
        """
        require_arrays(
            stored, (self.width, np.uint8), rows, out, (self.width, self.format.word_dtype)
        )
        if len(stored) != self.n_tokens:
            raise ValueError(f"expected {self.n_tokens} rows, got {len(stored)}")
        table = _table(self.name)
        if self.scale is None:
            _look_up(stored, rows, (table.view(np.uint32) >> 16).astype(np.uint16), out)
        else:
            scales, (n_rows, n_columns) = self._blocks()
            _scale(stored, rows, table, scales, n_rows, n_columns, out.view(np.float32))

    def _blocks(self) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
        """Return the scales as those of blocks, whatever they are, and the blocks' shape."""
        assert self.scale is not None
        scales = np.ascontiguousarray(self.scale)
        if self.block is not None:
            return scales, self.block
        rows = 1 if self.scale.ndim else max(self.n_tokens, 1)
        return scales.reshape(-1, 1), (rows, max(self.width, 1))


@dataclass(frozen=True)
class Rounded64:
    """A `Coding` of binary64 rows as binary32: each number rounded once, to nearest-even.

    What is too large becomes an infinity, as IEEE 754 has it.

    Parameters
    ----------
    width
        d.
    """

    width: int

    @property
    def name(self) -> str:
        """``f64``."""
        return "f64"

    @property
    def format(self) -> Format:
        """binary32."""
        return F32

    @property
    def row_keys(self) -> None:
        """None: a row's words are all there is."""
        return None

    def decode(
        self, stored: StoredWords, rows: npt.NDArray[np.int64], out: npt.NDArray[Any]
    ) -> None:
        """Fill ``out[n]`` with the words of the rounded values of row ``rows[n]``.

        Parameters
        ----------
        stored
            ``[V, d]`` uint64 words of binary64, C-contiguous, at any byte alignment.
        rows
            ``[n]`` ids from 0 to V − 1, in any order.
        out
            ``[n, d]`` uint32, C-contiguous.

        Raises
        ------
        ValueError
            The arrays are not of these shapes, types and layouts.
        """
        require_arrays(stored, (self.width, np.uint64), rows, out, (self.width, np.uint32))
        _round(stored.view(np.float64), rows, out.view(np.float32))


@functools.cache
def _table(name: str) -> npt.NDArray[np.float32]:
    """Return the values of the 256 words of an 8-bit format, binary32, read-only."""
    words = np.arange(256, dtype=np.uint8)
    values: npt.NDArray[np.float32] = words.view(FLOAT8_TYPES[name]).astype(np.float32)
    values[np.isnan(values)] = np.nan
    values.flags.writeable = False
    return values


@kernel()
def _look_up(stored, rows, table, out):  # type: ignore[no-untyped-def]
    """Fill rows with what a table has for each byte."""
    for n in range(len(rows)):
        for k in range(out.shape[1]):
            out[n, k] = table[stored[rows[n], k]]


@kernel()
def _scale(stored, rows, table, scales, n_rows, n_columns, out):  # type: ignore[no-untyped-def]
    """Fill rows with what a table has for each byte, times the scale of the block it is in."""
    for n in range(len(rows)):
        words = stored[rows[n]]
        some = scales[rows[n] // n_rows]
        for c in range(len(some)):
            for k in range(c * n_columns, min((c + 1) * n_columns, len(words))):
                value = table[words[k]] * some[c]
                out[n, k] = np.float32(np.nan) if np.isnan(value) else value


@kernel()
def _round(stored, rows, out):  # type: ignore[no-untyped-def]
    """Fill rows with binary64 numbers made narrower."""
    for n in range(len(rows)):
        words = stored[rows[n]]
        for k in range(len(words)):
            value = np.float32(words[k])
            out[n, k] = np.float32(np.nan) if np.isnan(value) else value
