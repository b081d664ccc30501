"""NumPy's files: ``.npy``, one array, and ``.npz``, a zip archive of them. Pickles are never read.

Headers are parsed by `numpy.lib.format` (NEP 1), out of a bounded number of bytes, and checked
against what is there.
"""

import io
import math
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib import format as npy

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.tensors import Container, MappedTensors, TensorInfo, TensorsInMemory
from isologit.checkpoint.unpacked import Unpacked
from isologit.checkpoint.wording import counted, shown, shown_shape
from isologit.checkpoint.zip_members import (
    LOCAL_MAGIC,
    STORED,
    Member,
    read_members,
    unpack,
    unpack_start,
)
from isologit.errors import (
    MalformedHeaderError,
    NotACheckpointError,
    TruncatedFileError,
    UnsafePickleError,
    UnsupportedFormatError,
)

# The seed's single matrix has this name too.
_ONLY_NAME = "W"
_SUFFIX = ".npy"
# numpy's own limit on what it hands to Python's parser; headers have a hundred characters.
_MAX_HEADER_BYTES = 10_000
# NPY_MAXDIMS since numpy 2.
_MAX_DIMENSIONS = 64
# What precedes the header's text: the magic, the version and the text's length.
_LENGTHS = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I")}
_PARSERS: dict[tuple[int, int], Callable[[Any], tuple[Any, ...]]] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
_NAMES = {
    **{f"{kind}{n}": f"{kind.upper()}{8 * n}" for kind in "iu" for n in (1, 2, 4, 8)},
    **{f"f{n}": f"F{8 * n}" for n in (2, 4, 8)},
    "b1": "BOOL",
    "c8": "C64",
    "V2": "BF16",
}


@dataclass(frozen=True)
class _Array:
    """What the header of an array says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool
    begin: int
    length: int

    @property
    def lies_as_read(self) -> bool:
        """Whether its bytes are little-endian and row by row."""
        return not self.by_columns and self.dtype.byteorder != ">"

    def arranged(self, content: memoryview) -> memoryview:
        """Return its bytes, little-endian and row by row, out of those of the file."""
        data = content[self.begin : self.begin + self.length]
        if self.lies_as_read or not data:
            return data
        values = np.frombuffer(data, dtype=self.dtype)
        if self.by_columns:
            values = np.ascontiguousarray(values.reshape(self.shape[::-1]).T)
        if self.dtype.byteorder == ">":
            values = values.byteswap()
        return values.reshape(-1).view(np.uint8).data


def read_npy(source: MappedFile) -> Container:
    """Read the header of a ``.npy`` file: one tensor, called ``W``.

    An array that lies row by row and little-endian stays in the file; any other is copied into
    that order when it is first read. ``|V2`` is taken for bfloat16, which numpy cannot name: it is
    what `numpy.save` makes of ml_dtypes' arrays, and of nothing else that has two bytes.

    Raises
    ------
    TruncatedFileError
        The file ends before its array does.
    MalformedHeaderError
        The header is not such a one, or there are more bytes than it says.
    UnsafePickleError
        The array holds Python objects.
    UnsupportedFormatError
        A version of the format that is not read, or ``|V1``, which may be any of ml_dtypes' numbers
        of 8 bits or fewer.
    """
    where = shown(source.name)
    start = source.read(0, min(source.size, npy.MAGIC_LEN + 4 + _MAX_HEADER_BYTES))
    array = _parse(start, source.size, where)
    info = TensorInfo(
        _ONLY_NAME, _name(array, where), array.shape, source.name, array.begin, array.length
    )
    if array.lies_as_read:
        return MappedTensors(source, {_ONLY_NAME: info})
    makers = {_ONLY_NAME: lambda: array.arranged(source.read(0, source.size))}
    return TensorsInMemory(source, {_ONLY_NAME: info}, Unpacked(makers))


def read_npz(source: MappedFile) -> Container:
    """Read the headers of the arrays of a ``.npz`` file: tensors by the members' names.

    What `numpy.savez` writes stays in the file. What `numpy.savez_compressed` writes is unpacked
    array by array, when it is first read, and its CRC-32 is checked. Members that are not called
    ``.npy`` are passed over.

    Raises
    ------
    NotACheckpointError
        It is not a zip archive, or has no arrays.
    TruncatedFileError, MalformedHeaderError, UnsafePickleError, UnsupportedFormatError
        As `read_npy`, of any of the arrays; and see `read_members`.
    """
    where = shown(source.name)
    if bytes(source.read(0, min(4, source.size))) not in (LOCAL_MAGIC, b"PK\x05\x06"):
        raise NotACheckpointError(
            f"{where} is not a zip archive ({source.size:,} bytes); expected one, which is what "
            "numpy.savez writes"
        )
    infos: dict[str, TensorInfo] = {}
    makers: dict[str, Callable[[], memoryview]] = {}
    lies_as_read = True
    members = read_members(source)
    for file, member in members.items():
        if not file.endswith(_SUFFIX):
            continue
        name = file.removesuffix(_SUFFIX)
        at = f"{where}: array {shown(name)}"
        start = unpack_start(source, member, npy.MAGIC_LEN + 4 + _MAX_HEADER_BYTES)
        array = _parse(start, member.size, at)
        is_stored = member.method == STORED
        offset = member.offset + (array.begin if is_stored else 0)
        infos[name] = TensorInfo(
            name, _name(array, at), array.shape, source.name, offset, array.length
        )
        makers[name] = partial(_unpacked, source, member, array)
        lies_as_read &= is_stored and array.lies_as_read
    if not infos:
        raise NotACheckpointError(
            f"{where} is a zip archive of {counted(len(members), 'member')}, none of them an array "
            "(.npy)"
        )
    if lies_as_read:
        return MappedTensors(source, infos)
    return TensorsInMemory(source, infos, Unpacked(makers))


def _unpacked(source: MappedFile, member: Member, array: _Array) -> memoryview:
    return array.arranged(unpack(source, member))


def _parse(start: memoryview, n_bytes: int, where: str) -> _Array:
    """Return what a header says, of which `start` has the beginning of an array's `n_bytes`."""
    if bytes(start[:6]) != npy.MAGIC_PREFIX[: len(start)]:
        raise MalformedHeaderError(
            f"{where} begins with {bytes(start[:6])!r}; a NumPy array does with "
            f"{npy.MAGIC_PREFIX!r}"
        )
    if len(start) < npy.MAGIC_LEN:
        raise _truncated(where, n_bytes, "the 8 that a NumPy array begins with")
    version = (start[6], start[7])
    if version not in _LENGTHS:
        raise UnsupportedFormatError(
            f"{where} is of version {version[0]}.{version[1]} of NumPy's format; 1.0 and 2.0 are "
            "read, which is what numpy.save writes for numbers"
        )
    length = _LENGTHS[version]
    text_at = npy.MAGIC_LEN + length.size
    if len(start) < text_at:
        raise _truncated(where, n_bytes, f"the {text_at} before a NumPy header")
    (n_text,) = length.unpack(start[npy.MAGIC_LEN : text_at])
    if n_text > _MAX_HEADER_BYTES:
        raise MalformedHeaderError(
            f"{where} announces a header of {n_text:,} bytes; at most {_MAX_HEADER_BYTES:,} are "
            "read"
        )
    begin = text_at + n_text
    if begin > n_bytes:
        raise _truncated(where, n_bytes, f"the {begin:,} that its header takes")
    try:
        with warnings.catch_warnings():
            # numpy says so where Python 2 wrote the header; nothing follows from it.
            warnings.simplefilter("ignore")
            shape, by_columns, dtype = _PARSERS[version](io.BytesIO(start[npy.MAGIC_LEN : begin]))
    except Exception as cause:
        # Python's parser raises nearly anything for nearly anything.
        raise MalformedHeaderError(
            f"{where} has a header that numpy does not read "
            f"({type(cause).__name__}: {shown(str(cause).partition(chr(10))[0])})"
        ) from None
    if dtype.hasobject:
        raise UnsafePickleError(
            f"{where} is an array of Python objects ({shown(dtype.str)}), which is a pickle, and "
            "those can run code; expected numbers. If you trust its source, save its numbers in a "
            "file of their own"
        )
    if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise MalformedHeaderError(
            f"{where} is of shape {shown_shape(shape)}; expected non-negative 64-bit integers, at "
            f"most {_MAX_DIMENSIONS}"
        )
    array = _Array(
        dtype, shape, by_columns and len(shape) > 1, begin, math.prod(shape) * dtype.itemsize
    )
    _require_fit(array, n_bytes, where)
    return array


def _require_fit(array: _Array, n_bytes: int, where: str) -> None:
    there = n_bytes - array.begin
    takes = (
        f"{where} is {shown(array.dtype.str)} {shown_shape(array.shape)}, which takes "
        f"{shown(f'{array.length:,}')} bytes; there are {there:,} after its header"
    )
    if array.length > there:
        raise TruncatedFileError(f"{takes}. Fetch it again")
    if array.length < there:
        raise MalformedHeaderError(f"{takes}. Expected one array and nothing else")


def _truncated(where: str, n_bytes: int, needs: str) -> TruncatedFileError:
    return TruncatedFileError(
        f"{where} has {counted(n_bytes, 'byte')}, fewer than {needs}; fetch it again"
    )


def _name(array: _Array, where: str) -> str:
    """Return safetensors' name of the format of an array's numbers, or numpy's."""
    plain = array.dtype.names is None and array.dtype.subdtype is None
    code = f"{array.dtype.kind}{array.dtype.itemsize}"
    if plain and code == "V1":
        raise UnsupportedFormatError(
            f"{where} is stored as |V1, which is what numpy writes for float8_e4m3fn, int4 and "
            "others alike, so nobody can know what its bytes mean; save it as safetensors"
        )
    return _NAMES.get(code, array.dtype.str) if plain else array.dtype.str
