"""The safetensors container: its header, checked against the file, and nothing of its tensors.

Written from the format's specification (huggingface/safetensors, README, "Format"): 8 bytes of
little-endian header length, a JSON object, then the tensors' bytes, which tile the rest of the
file without holes. Where the reference reader is silent (a key given twice) this one is strict.
"""

import struct
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from isologit.checkpoint.bytes import ByteSource, MappedFile
from isologit.checkpoint.strict_json import members
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import MalformedHeaderError, TruncatedFileError

# huggingface/safetensors, safetensors/src/tensor.rs: MAX_HEADER_SIZE, and Dtype::bitsize.
MAX_HEADER_BYTES = 100_000_000
# The format sets no limit. The most tensors that one file of a published model has are a few
# thousand, all files of the largest together 140,000.
MAX_NAMES = 1 << 17
# Of so many bytes Python makes less than 50 MB. The headers of published shards have up to 1 MB.
_SMALL = 2 << 20
# Headers are this long where a whole model of 100,000 tensors is one file.
_LARGEST_KNOWN = 16 << 20
_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_METADATA = "__metadata__"


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself.

    Parameters
    ----------
    tensors
        By name, in the order of the header.
    metadata
        The file's ``__metadata__``, empty where it has none.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


class _Described(NamedTuple):
    """A tensor as the header describes it: its bytes count from where the header ends."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(source: ByteSource) -> Header:
    """Read the header of a safetensors file and check it against the file's size.

    A header that is refused takes less than 50 MB of memory, however long it is;
    docs/hostile-files.md has the limits.

    Raises
    ------
    TruncatedFileError
        The file ends before its header, or before a tensor, does.
    MalformedHeaderError
        The header is not such a one, or contradicts itself: a key given twice, offsets that
        overlap, leave a hole, run backwards, or hold a length that is not the shape's; or it has
        more members than any model has tensors.
    """
    where = shown(source.name)
    length = _header_length(source, where)
    if length > _SMALL:
        # All of it is checked before any of it is kept.
        deque(_checked(source, length, where), maxlen=0)
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    for name, found in _checked(source, length, where):
        if isinstance(found, str):
            metadata[name] = found
        else:
            offset, n_bytes = 8 + length + found.begin, found.end - found.begin
            tensors[name] = TensorInfo(name, found.dtype, found.shape, source.name, offset, n_bytes)
    return Header(tensors, metadata)


def _header_length(source: ByteSource, where: str) -> int:
    if source.size < 8:
        raise TruncatedFileError(
            f"{where} has {source.size} bytes; a safetensors file has 8 before its header"
        )
    length: int
    (length,) = struct.unpack("<Q", source.read(0, 8))
    if length > MAX_HEADER_BYTES:
        raise MalformedHeaderError(
            f"{where} announces a header of {length:,} bytes; the format allows "
            f"{MAX_HEADER_BYTES:,}. Is it a safetensors file?"
        )
    if source.size > 8 and bytes(source.read(8, 1)) != b"{":
        raise MalformedHeaderError(
            f"{where} has {source.read(8, 1)[0]:#04x} where a safetensors header begins with '{{'"
        )
    if 8 + length > source.size:
        raise TruncatedFileError(
            f"{where} has {source.size:,} bytes and announces a header of {length:,}; "
            f"fetch it again"
        )
    return length


def _members(source: ByteSource, length: int, where: str) -> Iterator[tuple[bool, str, Any]]:
    """Go through what a header holds, and its metadata."""
    pieces: Iterable[memoryview] = [source.read(8, length)]
    if isinstance(source, MappedFile):
        # What is gone through need not stay in memory, as it does where it is mapped.
        pieces = source.copies(8, length)
    return members(
        pieces,
        where=f"the header of {where}",
        error=MalformedHeaderError,
        inside=_METADATA,
        at_most=MAX_NAMES,
    )


def _checked(source: ByteSource, length: int, where: str) -> Iterator[tuple[str, str | _Described]]:
    """Go through the tensors and the metadata, check each, and at the end all of them together.

    Holds three numbers of each.
    """
    begins, ends = array("q"), array("q")
    # Names may be 100 MB. Two of 131,072 share a hash by chance in 1 of 2 billion headers.
    seen: set[int] = set()
    for within, name, value in _members(source, length, where):
        mark = hash((within, name))
        if mark in seen:
            raise MalformedHeaderError(
                f"the header of {where} is not usable: key {shown(name)} is given twice"
            )
        seen.add(mark)
        if within or name == _METADATA:
            if not isinstance(value, str if within else dict):
                raise MalformedHeaderError(
                    f"{where}: __metadata__ must be an object whose values are strings"
                )
            if not isinstance(value, str):
                continue
            if not (_is_text(name) and _is_text(value)):
                raise MalformedHeaderError(
                    f"{where}: __metadata__ holds half of a surrogate pair under {shown(name)}"
                )
            yield name, value
        else:
            described = _described(name, value, where)
            begins.append(described.begin)
            ends.append(described.end)
            yield name, described
    _check_tiling(begins, ends, source, length, where)


def _is_text(text: str) -> bool:
    """Whether UTF-8 holds it: half of a pair of escapes for one character is none."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _described(name: str, entry: Any, where: str) -> _Described:
    if not isinstance(entry, dict):
        raise _malformed(where, name, "is not described by an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str):
        raise _malformed(where, name, "has no dtype")
    if not (_is_text(name) and _is_text(dtype)):
        raise _malformed(where, name, "has half of a surrogate pair in its name or dtype")
    if not isinstance(shape, list) or not _are_sizes(shape):
        raise _malformed(where, name, "has no shape of non-negative 64-bit integers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not _are_sizes(offsets):
        raise _malformed(where, name, "has no data_offsets of two non-negative 64-bit integers")
    begin, end = offsets
    if end < begin:
        raise _malformed(where, name, f"ends at byte {end:,}, before its beginning {begin:,}")
    # An unknown format may be listed; only its length cannot be checked.
    bits = _bits(shape, _BITS[dtype]) if dtype in _BITS else (end - begin) * 8
    if bits != (end - begin) * 8:
        takes = f"{bits / 8:,.10g} bytes" if bits is not None else "more than 2**66 bits"
        raise _malformed(
            where,
            name,
            f"is {dtype} {shown_shape(shape)}, which takes {takes}; its data_offsets span "
            f"{end - begin:,}",
        )
    return _Described(dtype, tuple(shape), begin, end)


def _malformed(where: str, name: str, fault: str) -> MalformedHeaderError:
    return MalformedHeaderError(f"{where}: tensor {shown(name)} {fault}")


def _are_sizes(values: list[Any]) -> bool:
    # A boolean is an integer to Python, and not by its type.
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def _bits(shape: list[int], bits: int) -> int | None:
    """Return the bits that a shape takes, or None past 2**66: a million dimensions cost no time."""
    if 0 in shape:
        return 0
    for size in shape:
        bits *= size
        if bits > 2**66:
            return None
    return bits


def _check_tiling(
    begins: "array[int]", ends: "array[int]", source: ByteSource, length: int, where: str
) -> None:
    """Check that tensors, in the order of the header, tile the bytes that follow it."""
    begin, end = np.array(begins, dtype=np.int64), np.array(ends, dtype=np.int64)
    # Those without bytes may lie between others.
    order = np.lexsort((end, begin))
    before = np.concatenate([[0], end[order[:-1]]])
    wrong = np.flatnonzero(begin[order] != before)
    if wrong.size:
        n = int(wrong[0])
        starts, ought = int(begin[order[n]]), int(before[n])
        fault = "overlaps the tensor before it" if starts < ought else "leaves a hole before it"
        name = shown(_name_of(int(order[n]), source, length, where))
        raise MalformedHeaderError(
            f"{where}: tensor {name} begins at data byte {starts:,} and {fault}, which ends at "
            f"{ought:,}"
        )
    promised = 8 + length + (int(end[order[-1]]) if order.size else 0)
    if promised > source.size:
        raise TruncatedFileError(
            f"{where} has {source.size:,} bytes and its header promises {promised:,}: "
            f"{promised - source.size:,} are missing; fetch it again"
        )
    if promised < source.size:
        raise MalformedHeaderError(
            f"{where} has {source.size - promised:,} bytes after its last tensor; the format "
            "allows none"
        )


def _name_of(n: int, source: ByteSource, length: int, where: str) -> str:
    """Return the name of a tensor by its number in the header; of a huge one no more than that."""
    if length > _LARGEST_KNOWN:
        return f"number {n:,}"
    every = _members(source, length, where)
    names = (name for within, name, _ in every if not within and name != _METADATA)
    return next(islice(names, n, None), "")
