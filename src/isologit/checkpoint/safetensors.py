"""The safetensors container: its header, checked against the file, and nothing of its tensors.

Written from the format's specification (huggingface/safetensors, README, "Format"): 8 bytes of
little-endian header length, a JSON object, then the tensors' bytes, which tile the rest of the
file without holes. Where the reference reader is silent (a key given twice) this one is strict.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isologit.checkpoint.bytes import ByteSource
from isologit.checkpoint.strict_json import parse_object
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import MalformedHeaderError, TruncatedFileError

# huggingface/safetensors, safetensors/src/tensor.rs: MAX_HEADER_SIZE, and Dtype::bitsize.
MAX_HEADER_BYTES = 100_000_000
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


def read_header(source: ByteSource) -> Header:
    """Read the header of a safetensors file and check it against the file's size.

    Raises
    ------
    TruncatedFileError
        The file ends before its header, or before a tensor, does.
    MalformedHeaderError
        The header is not such a one, or contradicts itself: a key given twice, offsets that
        overlap, leave a hole, run backwards, or hold a length that is not the shape's.
    """
    where = shown(source.name)
    if source.size < 8:
        raise TruncatedFileError(
            f"{where} has {source.size} bytes; a safetensors file has 8 before its header"
        )
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
    header = parse_object(
        source.read(8, length), where=f"the header of {where}", error=MalformedHeaderError
    )
    metadata = _metadata(header.pop("__metadata__", {}), where)
    data_start = 8 + length
    tensors = {
        name: _tensor(name, entry, source.name, data_start) for name, entry in header.items()
    }
    _check_tiling(tensors, where, data_start, source.size)
    return Header(tensors, metadata)


def _metadata(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise MalformedHeaderError(
            f"{where}: __metadata__ must be an object whose values are strings"
        )
    return value


def _tensor(name: str, entry: Any, file: str, data_start: int) -> TensorInfo:
    where = f"{shown(file)}: tensor {shown(name)}"
    if not isinstance(entry, dict):
        raise MalformedHeaderError(f"{where} is not described by an object")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str):
        raise MalformedHeaderError(f"{where} has no dtype")
    if not isinstance(shape, list) or not all(_is_size(n) for n in shape):
        raise MalformedHeaderError(f"{where} has no shape of non-negative 64-bit integers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise MalformedHeaderError(
            f"{where} has no data_offsets of two non-negative 64-bit integers"
        )
    begin, end = offsets
    if end < begin:
        raise MalformedHeaderError(f"{where} ends at byte {end:,}, before its beginning {begin:,}")
    # An unknown format may be listed; only its length cannot be checked.
    bits = _bits(shape, _BITS[dtype]) if dtype in _BITS else (end - begin) * 8
    if bits != (end - begin) * 8:
        takes = f"{bits / 8:,.10g} bytes" if bits is not None else "more than 2**66 bits"
        raise MalformedHeaderError(
            f"{where} is {dtype} {shown_shape(shape)}, which takes {takes}; its data_offsets span "
            f"{end - begin:,}"
        )
    return TensorInfo(name, dtype, tuple(shape), file, data_start + begin, end - begin)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


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
    tensors: Mapping[str, TensorInfo], where: str, data_start: int, size: int
) -> None:
    end = data_start
    for info in sorted(tensors.values(), key=lambda t: (t.offset, t.length)):
        if info.offset != end:
            fault = (
                "overlaps the tensor before it" if info.offset < end else "leaves a hole before it"
            )
            raise MalformedHeaderError(
                f"{where}: tensor {shown(info.name)} begins at data byte "
                f"{info.offset - data_start:,} and {fault}, which ends at {end - data_start:,}"
            )
        end += info.length
    if end > size:
        raise TruncatedFileError(
            f"{where} has {size:,} bytes and its header promises {end:,}: "
            f"{end - size:,} are missing; fetch it again"
        )
    if end < size:
        raise MalformedHeaderError(
            f"{where} has {size - end:,} bytes after its last tensor; the format allows none"
        )
