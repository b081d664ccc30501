"""The GGUF container: its header, checked against the file, and nothing of its tensors' values.

Written from the format's specification (ggml, docs/gguf.md), versions 2 and 3: the magic number,
the version, how many tensors and key-value pairs there are, the pairs, a description of each
tensor, and after padding the tensors' bytes. Like safetensors' reader this one is strict where two
readers could disagree: keys or names given twice, and tensors that share bytes, are refused.
How single values are read lives in `gguf_values`; what a block means, in `numerics.gguf_blocks`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from isologit.checkpoint.bytes import ByteSource
from isologit.checkpoint.gguf_values import UINT32, HeaderReader, Value
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import MalformedHeaderError, TruncatedFileError, UnsupportedFormatError


class GgmlType(NamedTuple):
    """A number format of ggml: its name, and how many bytes hold how many values."""

    name: str
    block_values: int
    block_bytes: int


# From gguf-py 0.19, constants.py: GGMLQuantizationType and GGML_QUANT_SIZES. Numbers that are
# missing were given up (4 and 5, 31 to 33, 36 to 38) or are newer.
GGML_TYPES: Mapping[int, GgmlType] = {
    0: GgmlType("F32", 1, 4),
    1: GgmlType("F16", 1, 2),
    2: GgmlType("Q4_0", 32, 18),
    3: GgmlType("Q4_1", 32, 20),
    6: GgmlType("Q5_0", 32, 22),
    7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34),
    9: GgmlType("Q8_1", 32, 40),
    10: GgmlType("Q2_K", 256, 84),
    11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144),
    13: GgmlType("Q5_K", 256, 176),
    14: GgmlType("Q6_K", 256, 210),
    15: GgmlType("Q8_K", 256, 292),
    16: GgmlType("IQ2_XXS", 256, 66),
    17: GgmlType("IQ2_XS", 256, 74),
    18: GgmlType("IQ3_XXS", 256, 98),
    19: GgmlType("IQ1_S", 256, 50),
    20: GgmlType("IQ4_NL", 32, 18),
    21: GgmlType("IQ3_S", 256, 110),
    22: GgmlType("IQ2_S", 256, 82),
    23: GgmlType("IQ4_XS", 256, 136),
    24: GgmlType("I8", 1, 1),
    25: GgmlType("I16", 1, 2),
    26: GgmlType("I32", 1, 4),
    27: GgmlType("I64", 1, 8),
    28: GgmlType("F64", 1, 8),
    29: GgmlType("IQ1_M", 256, 56),
    30: GgmlType("BF16", 1, 2),
    34: GgmlType("TQ1_0", 256, 54),
    35: GgmlType("TQ2_0", 256, 66),
    39: GgmlType("MXFP4", 32, 17),
    40: GgmlType("NVFP4", 64, 36),
    41: GgmlType("Q1_0", 128, 18),
}

MAX_DIMENSIONS = 4
MAX_KEY_BYTES = 2**16 - 1
DEFAULT_ALIGNMENT = 32
_ALIGNMENT_KEY = "general.alignment"
# What a tensor's description and a key-value pair take at the least: an empty name, no dimension;
# an empty key and a value of one byte.
_TENSOR_BYTES = 24
_PAIR_BYTES = 13


@dataclass(frozen=True, eq=False)
class GgufHeader:
    """What a GGUF file says of itself.

    Parameters
    ----------
    tensors
        By name, in the order of the header. Shapes are slowest first, the reverse of the file's;
        formats are named as ggml names them, in capitals. A format that is not in `GGML_TYPES` is
        named by its number, ``ggml type 99``: nobody can say how many bytes it takes, so such a
        tensor spans everything from its beginning to the next tensor's or to the file's end,
        padding included. It can be listed, and its bytes read; not its values.
    metadata
        The key-value pairs: numbers and truth values as Python's, strings as str with U+FFFD for
        what is not UTF-8, arrays of numbers as read-only numpy arrays of the file's type, arrays of
        strings as a `StringArray`, arrays of arrays as tuples.
    version
        Of the format, 2 or 3.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, Value]
    version: int


class _Described(NamedTuple):
    """A tensor as the header describes it: its place counts from where the tensors' bytes begin."""

    number: int
    shape: tuple[int, ...]
    offset: int


def read_gguf(source: ByteSource) -> GgufHeader:
    """Read the header of a GGUF file and check it against the file's size.

    Takes time and memory in proportion to the header's own bytes, whatever it announces.

    Raises
    ------
    TruncatedFileError
        The file ends before its header, or before a tensor, does.
    MalformedHeaderError
        The header is not such a one, is longer than 100 MB, or contradicts itself: a key or a name
        given twice, a shape that has no such blocks, tensors that overlap or are not aligned.
    UnsupportedFormatError
        A version of the format that is not read, or a file for big-endian machines.
    """
    reader = HeaderReader(source)
    where = shown(source.name)
    version = _version(reader, where)
    n_tensors, n_pairs = reader.number("Q"), reader.number("Q")
    reader.require(n_tensors, _TENSOR_BYTES, "tensors")
    reader.require(n_pairs, _PAIR_BYTES, "key-value pairs")
    metadata, alignment = _pairs(reader, n_pairs)
    described: dict[str, _Described] = {}
    for n in range(n_tensors):
        reader.place = f"tensor {n:,} of {n_tensors:,}"
        name = reader.name()
        if name in described:
            raise reader.malformed(f"the name {shown(name)}, which an earlier one has")
        reader.place = f"tensor {shown(name)}"
        described[name] = _description(reader, alignment)
    data_start = -(-reader.position // alignment) * alignment
    tensors = _located(described, source, data_start)
    _check_places(tensors, where, source.size)
    return GgufHeader(tensors, metadata, version)


def _version(reader: HeaderReader, where: str) -> int:
    magic = reader.number("4s")
    if magic != b"GGUF":
        raise MalformedHeaderError(
            f"{where} begins with bytes {magic.hex(' ')}; a GGUF file begins with 47 47 55 46"
        )
    version: int = reader.number("I")
    # Versions are small, so one with nothing in its low half is read from the wrong end.
    if version & 0xFFFF == 0 and version:
        raise UnsupportedFormatError(
            f"{where} is a GGUF file for big-endian machines; little-endian ones are read. "
            "Convert it with gguf-py's gguf_convert_endian.py"
        )
    if version not in (2, 3):
        raise UnsupportedFormatError(
            f"{where} is a GGUF file of version {version:,}; versions 2 and 3 are read. "
            "Convert the model again"
        )
    return version


def _pairs(reader: HeaderReader, n: int) -> tuple[dict[str, Value], int]:
    """Return the key-value pairs, and the alignment that one of them may set."""
    metadata: dict[str, Value] = {}
    alignment = DEFAULT_ALIGNMENT
    for i in range(n):
        reader.place = f"key {i:,} of {n:,}"
        key = reader.name()
        if len(key.encode()) > MAX_KEY_BYTES:
            raise reader.malformed(f"a key longer than the format's {MAX_KEY_BYTES:,} bytes")
        if key in metadata:
            raise reader.malformed(f"the key {shown(key)}, which an earlier one has")
        reader.place = f"the value of {shown(key)}"
        kind = reader.number("I")
        value = metadata[key] = reader.value(kind)
        if key == _ALIGNMENT_KEY:
            if kind != UINT32 or not isinstance(value, int):
                raise reader.malformed(f"value type {kind:,}; expected {UINT32}, a uint32")
            if value == 0 or value % 8 or value & (value - 1):
                raise reader.malformed(f"{value:,}; expected a power of two from 8 on")
            alignment = value
    return metadata, alignment


def _description(reader: HeaderReader, alignment: int) -> _Described:
    n_dimensions = reader.number("I")
    if n_dimensions > MAX_DIMENSIONS:
        raise reader.malformed(
            f"{n_dimensions:,} dimensions; the specification allows {MAX_DIMENSIONS}"
        )
    sizes = [reader.number("Q") for _ in range(n_dimensions)]
    shape = tuple(reversed(sizes))
    number, offset = reader.number("I"), reader.number("Q")
    if not all(0 < size < 2**63 for size in sizes) or math.prod(sizes) >= 2**63:
        raise reader.malformed(
            f"the shape {shown_shape(shape)}; expected positive sizes whose product is below 2**63"
        )
    kind = GGML_TYPES.get(number)
    if kind is not None and (sizes or [1])[0] % kind.block_values:
        raise reader.malformed(
            f"the shape {shown_shape(shape)}, whose rows are not whole blocks of {kind.name}, "
            f"{kind.block_values} values each"
        )
    if offset % alignment:
        raise reader.malformed(
            f"the offset {offset:,}, which is not a multiple of the alignment, {alignment:,}"
        )
    return _Described(number, shape, offset)


def _located(
    described: Mapping[str, _Described], source: ByteSource, data_start: int
) -> dict[str, TensorInfo]:
    """Return where in the file each tensor is, and how many bytes it takes."""
    offsets = sorted({each.offset for each in described.values()})
    following = dict(pairwise(offsets))
    tensors = {}
    for name, (number, shape, offset) in described.items():
        kind = GGML_TYPES.get(number)
        if kind is None:
            end = following.get(offset, max(source.size - data_start, offset))
            dtype, length = f"ggml type {number}", end - offset
        else:
            dtype = kind.name
            length = math.prod(shape) // kind.block_values * kind.block_bytes
        tensors[name] = TensorInfo(name, dtype, shape, source.name, data_start + offset, length)
    return tensors


def _check_places(tensors: Mapping[str, TensorInfo], where: str, size: int) -> None:
    """Check that no two tensors share a byte, and that the file has them all.

    Holes are allowed: the specification pads to the alignment and forbids no more than that.
    """
    end, before = 0, ""
    for info in sorted(tensors.values(), key=lambda t: t.offset):
        if info.offset < end:
            raise MalformedHeaderError(
                f"{where}: tensor {shown(info.name)} begins at byte {info.offset:,} and overlaps "
                f"{shown(before)}, which ends at {end:,}"
            )
        end, before = info.offset + info.length, info.name
    if end > size:
        raise TruncatedFileError(
            f"{where} has {size:,} bytes, and its tensor {shown(before)} ends at {end:,}: "
            f"{end - size:,} are missing; fetch it again"
        )
