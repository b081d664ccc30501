"""Where the members of a zip archive lie in its file, read from its directory without unpacking.

Written from PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5.3. Stricter than unzip programs, so that
no two readers can see two archives in one file: the directory ends the file, what it says is what
stands before each member, no name is given twice, and no two members share a byte.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from isologit.checkpoint.bytes import ByteSource
from isologit.checkpoint.wording import shown
from isologit.errors import MalformedHeaderError, TruncatedFileError, UnsupportedFormatError

STORED, DEFLATED = 0, 8
LOCAL_MAGIC = b"PK\x03\x04"

# Those of a million members; a model has thousands.
_MAX_DIRECTORY_BYTES = 100_000_000
# zlib's own documentation ("Maximum Compression Factor"): DEFLATE cannot shrink a byte further.
_DEFLATE_FACTOR = 1032

_PART_BYTES = 1 << 20

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11
_ZIP64_FIELD = 1


@dataclass(frozen=True)
class Member:
    """A file in the archive.

    Parameters
    ----------
    name
        Its path in the archive.
    method
        `STORED`, `DEFLATED`, or another number of APPNOTE's section 4.4.5.
    offset
        First byte of its data, from the beginning of the archive.
    packed
        Bytes there.
    size
        Bytes once unpacked, as the directory says; no more than the method allows.
    crc
        CRC-32 of those, as the directory says.
    """

    name: str
    method: int
    offset: int
    packed: int
    size: int
    crc: int


def read_members(source: ByteSource) -> dict[str, Member]:
    """Return the members of a zip archive by name, in the order of its directory.

    Raises
    ------
    TruncatedFileError
        The file does not end as an archive does.
    MalformedHeaderError
        The directory contradicts itself or what stands before a member: a name given twice,
        members that overlap or reach out of the file, more bytes than the compression could give.
    UnsupportedFormatError
        A member is encrypted, or the archive is one of several volumes.
    """
    begin, length, n_members = _directory(source)
    if length > _MAX_DIRECTORY_BYTES:
        _malformed(source, f"announces a directory of {length:,} bytes")
    directory = source.read(begin, length)
    members: dict[str, Member] = {}
    spans: list[tuple[int, int, str]] = []
    position = 0
    for _ in range(n_members):
        entry, header, position = _entry(source, directory, position)
        if entry.name in members:
            _malformed_member(source, entry.name, "is there twice")
        members[entry.name] = entry
        spans.append((header, entry.offset + entry.packed, entry.name))
    if position != length:
        _malformed(source, f"has {length - position:,} bytes after the last entry of its directory")
    end = 0
    for first, last, name in sorted(spans):
        if first < end:
            _malformed_member(source, name, "overlaps the one before it")
        end = last
    if end > begin:
        _malformed(source, "has members that reach into its directory")
    return members


def unpack(source: ByteSource, member: Member) -> memoryview:
    """Return a member's bytes: a view of the file where it is stored as it is, else a copy.

    Raises
    ------
    UnsupportedFormatError
        It is compressed otherwise than by DEFLATE, or there is no memory for what it unpacks to.
    MalformedHeaderError
        What was compressed is not what the directory says: its length, its CRC-32.
    """
    if member.method == STORED:
        return source.read(member.offset, member.packed)
    try:
        content, position, crc = bytearray(member.size), 0, 0
    except MemoryError:
        raise UnsupportedFormatError(
            f"{shown(source.name)}: {shown(member.name)} unpacks to {member.size:,} bytes, for "
            "which there is no memory. Save it again without compression: then it is read where "
            "it lies"
        ) from None
    for part in _inflated(source, member):
        if position + len(part) > member.size:
            fault = f"unpacks to more than the {member.size:,} bytes that the directory says"
            _malformed_member(source, member.name, f"{fault}; fetch it again")
        content[position : position + len(part)] = part
        position, crc = position + len(part), zlib.crc32(part, crc)
    if position != member.size:
        fault = f"unpacks to {position:,} bytes; the directory says {member.size:,}. Fetch it again"
        _malformed_member(source, member.name, fault)
    if crc != member.crc:
        fault = "does not have the CRC-32 that the directory says; fetch it again"
        _malformed_member(source, member.name, fault)
    return memoryview(content).toreadonly()


def unpack_start(source: ByteSource, member: Member, length: int) -> memoryview:
    """Return at most `length` bytes from the beginning of a member, and unpack little more.

    Raises
    ------
    UnsupportedFormatError, MalformedHeaderError
        As `unpack`; the CRC-32 is not looked at.
    """
    if member.method == STORED:
        return source.read(member.offset, min(member.packed, length))
    content = b""
    for part in _inflated(source, member):
        content += part
        if len(content) >= length:
            break
    return memoryview(content)[: min(member.size, length)]


def _inflated(source: ByteSource, member: Member) -> Iterator[bytes]:
    """Yield what DEFLATE gives, in parts of which none is large."""
    if member.method != DEFLATED:
        raise UnsupportedFormatError(
            f"{shown(source.name)}: member {shown(member.name)} is compressed by method "
            f"{member.method}; 0 (stored) and 8 (DEFLATE) are read. Write it with numpy.savez"
        )
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for begin in range(0, member.packed, _PART_BYTES):
        n_packed = min(_PART_BYTES, member.packed - begin)
        packed: memoryview | bytes = source.read(member.offset + begin, n_packed)
        is_pending = True
        while is_pending:
            try:
                part = inflater.decompress(packed, _PART_BYTES)
            except zlib.error as error:
                _malformed_member(source, member.name, f"does not unpack: {error}. Fetch it again")
            yield part
            if inflater.eof:
                return
            packed = inflater.unconsumed_tail
            # Where a part is full there may be more, though all of the input has been taken.
            is_pending = bool(packed) or len(part) == _PART_BYTES


def _directory(source: ByteSource) -> tuple[int, int, int]:
    """Return where the directory begins, its bytes, and the entries in it."""
    at = source.size - _END.size
    raw = source.read(at, _END.size) if at >= 0 else memoryview(b"")
    if bytes(raw[:4]) != b"PK\x05\x06":
        raise TruncatedFileError(
            f"{shown(source.name)} begins as a zip archive and does not end as one "
            f"({source.size:,} bytes); expected its directory at its very end. Fetch it again"
        )
    _, disk, first_disk, here, n_members, length, begin, comment = _END.unpack(raw)
    locator = at - _LOCATOR64.size
    if locator >= 0 and bytes(source.read(locator, 4)) == b"PK\x06\x07":
        _, _, at, n_disks = _LOCATOR64.unpack(source.read(locator, _LOCATOR64.size))
        if at + _END64.size > locator or bytes(source.read(at, 4)) != b"PK\x06\x06":
            _malformed(source, "has no directory where the locator at its end says")
        fields = _END64.unpack(source.read(at, _END64.size))
        _, _, _, _, disk, first_disk, here, n_members, length, begin = fields
        if n_disks != 1:
            disk = 1
    if disk or first_disk or here != n_members:
        raise UnsupportedFormatError(
            f"{shown(source.name)} is one of several volumes of a zip archive; expected one file"
        )
    if comment or begin + length != at:
        _malformed(source, "has a directory that does not reach to its end record")
    return begin, length, n_members


def _entry(source: ByteSource, directory: memoryview, position: int) -> tuple[Member, int, int]:
    """Return a member, where its local header begins, and where the next entry does."""
    if position + _ENTRY.size > len(directory):
        _malformed(source, "has fewer entries in its directory than it says")
    fields = _ENTRY.unpack_from(directory, position)
    signature, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment = fields[
        :13
    ]
    header = fields[16]
    name_at = position + _ENTRY.size
    extra_at = name_at + n_name
    following = extra_at + n_extra + n_comment
    if signature != b"PK\x01\x02" or following > len(directory):
        _malformed(source, "has an entry in its directory that is none")
    raw_name = bytes(directory[name_at:extra_at])
    name = _decoded(source, raw_name, flags)
    size, packed, header = _widened(
        source, name, directory[extra_at : extra_at + n_extra], size, packed, header
    )
    if flags & _ENCRYPTED:
        raise UnsupportedFormatError(
            f"{shown(source.name)}: member {shown(name)} is encrypted; expected one that anyone "
            "can read"
        )
    offset = _data_offset(source, name, raw_name, method, header)
    if offset + packed > source.size:
        _malformed_member(source, name, "reaches out of the file")
    if (size != packed) if method == STORED else (size > _DEFLATE_FACTOR * packed):
        fault = f"announces {size:,} bytes out of {packed:,}, which method {method} cannot give"
        _malformed_member(source, name, fault)
    return Member(name, method, offset, packed, size, crc), header, following


def _decoded(source: ByteSource, raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        _malformed(source, f"holds a member whose name is not UTF-8: {shown(repr(raw))}")
    if not name or "\0" in name:
        _malformed(source, f"holds a member whose name is none: {shown(repr(raw))}")
    return name


def _widened(
    source: ByteSource, name: str, extra: memoryview, size: int, packed: int, header: int
) -> tuple[int, int, int]:
    """Return sizes and offset, those that fill 32 bits taken from the zip64 field of the entry."""
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if tag == _ZIP64_FIELD:
            wide = extra[position : position + length]
            values = iter(struct.unpack(f"<{len(wide) // 8}Q", wide[: len(wide) // 8 * 8]))
            try:
                size = next(values) if size == _FULL32 else size
                packed = next(values) if packed == _FULL32 else packed
                header = next(values) if header == _FULL32 else header
            except StopIteration:
                _malformed_member(source, name, "has a zip64 field that is too short")
            break
        position += length
    return size, packed, header


def _data_offset(source: ByteSource, name: str, raw_name: bytes, method: int, header: int) -> int:
    """Return where a member's data begin, by the local header before them."""
    end = header + _LOCAL.size + len(raw_name)
    if end > source.size:
        _malformed_member(source, name, "begins outside of the file")
    fields = _LOCAL.unpack(source.read(header, _LOCAL.size))
    local_name = bytes(source.read(header + _LOCAL.size, len(raw_name)))
    expected = (LOCAL_MAGIC, method, len(raw_name), raw_name)
    if (fields[0], fields[3], fields[9], local_name) != expected:
        _malformed_member(source, name, "is not where the directory says")
    return end + int(fields[10])


def _malformed(source: ByteSource, fault: str) -> NoReturn:
    raise MalformedHeaderError(f"{shown(source.name)} is a zip archive that {fault}")


def _malformed_member(source: ByteSource, name: str, fault: str) -> NoReturn:
    raise MalformedHeaderError(f"{shown(source.name)}: member {shown(name)} {fault}")
