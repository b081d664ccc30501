"""The GGUF container: its header, checked against the file, and nothing of its tensors' values.

Written from the format's specification (ggml, docs/gguf.md), versions 2 and 3: the magic number,
the version, how many tensors and key-value pairs there are, the pairs, a description of each
tensor, and after padding the tensors' bytes. Like safetensors' reader this one is strict where two
readers could disagree: keys or names given twice, and tensors that share bytes, are refused.
How single values are read lives in `gguf_values`; what a block means, in `numerics.gguf_blocks`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from isologit.checkpoint.bytes import ByteSource
from isologit.checkpoint.gguf_values import STRING, UINT32, HeaderReader, Value
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

# The specification sets no limit. Published files have some 50 pairs and up to 2,000 tensors.
MAX_TENSORS = 1 << 15
MAX_PAIRS = 1 << 15
MAX_DIMENSIONS = 4
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
    """A tensor as the header describes it.

    Parameters
    ----------
    position
        Where in the header its name stands.
    number
        Of its format.
    shape
        Slowest first.
    offset
        Its first byte, counted from where the tensors' bytes begin.
    """

    position: int
    number: int
    shape: tuple[int, ...]
    offset: int


class _Pair(NamedTuple):
    """A key-value pair: where in the header its key and its value stand, and what the value is.

    Strings may take all of a header, and are made when all of it has been checked: their value is
    None.
    """

    position: int
    value_position: int
    value: Value | None


def read_gguf(source: ByteSource) -> GgufHeader:
    """Read the header of a GGUF file and check it against the file's size.

    Takes time and memory in proportion to the header's own bytes, whatever it announces, and little
    more than those where it is refused; docs/hostile-files.md has the limits.

    Raises
    ------
    TruncatedFileError
        The file ends before its header, or before a tensor, does.
    MalformedHeaderError
        The header is not such a one, is longer than 100 MB, or contradicts itself: a key or a name
        given twice, a shape that has no such blocks, tensors that overlap or are not aligned; or it
        has more of something than any model has.
    UnsupportedFormatError
        A version of the format that is not read, or a file for big-endian machines.
    """
    reader = HeaderReader(source)
    where = shown(source.name)
    version = _version(reader, where)
    n_tensors, n_pairs = reader.number("Q"), reader.number("Q")
    reader.require(n_tensors, _TENSOR_BYTES, "tensors")
    reader.require(n_pairs, _PAIR_BYTES, "key-value pairs")
    if n_tensors > MAX_TENSORS or n_pairs > MAX_PAIRS:
        raise reader.malformed(
            f"{n_tensors:,} tensors and {n_pairs:,} key-value pairs; up to {MAX_TENSORS:,} and "
            f"{MAX_PAIRS:,} are read"
        )
    pairs, alignment = _pairs(reader, n_pairs)
    described = _tensors(reader, n_tensors, alignment)
    data_start = -(-reader.position // alignment) * alignment
    lengths = _lengths(described, source.size - data_start)
    _check_places(described, lengths, data_start, reader, where, source.size)
    metadata = {
        reader.text_at(pair.position): reader.text_at(pair.value_position)
        if pair.value is None
        else pair.value
        for pair in pairs
    }
    tensors = {}
    for each, length in zip(described, lengths, strict=True):
        name, kind = reader.text_at(each.position), GGML_TYPES.get(each.number)
        dtype = kind.name if kind else f"ggml type {each.number}"
        offset = data_start + each.offset
        tensors[name] = TensorInfo(name, dtype, each.shape, source.name, offset, length)
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


def _pairs(reader: HeaderReader, n: int) -> tuple[list[_Pair], int]:
    """Return the key-value pairs, and the alignment that one of them may set."""
    pairs = []
    alignment = DEFAULT_ALIGNMENT
    names = _Names(reader)
    for i in range(n):
        reader.place = f"key {i:,} of {n:,}"
        position = reader.position
        key = names.next("key")
        reader.place = f"the value of {shown(key)}"
        kind = reader.number("I")
        value_position = reader.position
        value = None
        if kind == STRING:
            reader.skip_string()
        else:
            value = reader.value(kind)
        if key == _ALIGNMENT_KEY:
            if kind != UINT32 or not isinstance(value, int):
                raise reader.malformed(f"value type {kind:,}; expected {UINT32}, a uint32")
            if value == 0 or value % 8 or value & (value - 1):
                raise reader.malformed(f"{value:,}; expected a power of two from 8 on")
            alignment = value
        pairs.append(_Pair(position, value_position, value))
    return pairs, alignment


def _tensors(reader: HeaderReader, n: int, alignment: int) -> list[_Described]:
    described = []
    names = _Names(reader)
    for i in range(n):
        reader.place = f"tensor {i:,} of {n:,}"
        position = reader.position
        name = names.next("name")
        reader.place = f"tensor {shown(name)}"
        described.append(_description(reader, alignment, position))
    return described


class _Names:
    """Names that must differ, which are not kept: they may be as long as the header."""

    def __init__(self, reader: HeaderReader) -> None:
        self._reader = reader
        # Two of 32,768 share a hash by chance in 1 of 30 billion headers.
        self._seen: set[int] = set()

    def next(self, what: str) -> str:
        """Read a name that none before it had."""
        name = self._reader.name()
        if hash(name) in self._seen:
            raise self._reader.malformed(f"the {what} {shown(name)}, which an earlier one has")
        self._seen.add(hash(name))
        return name


def _description(reader: HeaderReader, alignment: int, position: int) -> _Described:
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
    return _Described(position, number, shape, offset)


def _lengths(described: Sequence[_Described], size: int) -> list[int]:
    """Return how many bytes each tensor takes, of so many for all."""
    following = dict(pairwise(sorted({each.offset for each in described})))
    lengths = []
    for _, number, shape, offset in described:
        kind = GGML_TYPES.get(number)
        if kind is None:
            lengths.append(following.get(offset, max(size, offset)) - offset)
        else:
            lengths.append(math.prod(shape) // kind.block_values * kind.block_bytes)
    return lengths


def _check_places(
    described: Sequence[_Described],
    lengths: Sequence[int],
    data_start: int,
    reader: HeaderReader,
    where: str,
    size: int,
) -> None:
    """Check that no two tensors share a byte, and that the file has them all.

    Holes are allowed: the specification pads to the alignment and forbids no more than that.
    """
    end, before = data_start, 0
    for n in sorted(range(len(described)), key=lambda n: described[n].offset):
        begin = data_start + described[n].offset
        if begin < end:
            name, other = (reader.text_at(described[i].position) for i in (n, before))
            raise MalformedHeaderError(
                f"{where}: tensor {shown(name)} begins at byte {begin:,} and overlaps "
                f"{shown(other)}, which ends at {end:,}"
            )
        end, before = begin + lengths[n], n
    if described and end > size:
        name = reader.text_at(described[before].position)
        raise TruncatedFileError(
            f"{where} has {size:,} bytes, and its tensor {shown(name)} ends at {end:,}: "
            f"{end - size:,} are missing; fetch it again"
        )
