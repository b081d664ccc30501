"""The values in a GGUF header: a reader that goes forward through bytes nobody vouches for.

Written from the format's specification (ggml, docs/gguf.md): numbers are little-endian, a string is
its length in 8 bytes and then its bytes, an array is its elements' type, their number and then the
elements. What a header consists of lives in `gguf`.
"""

import array
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Union, overload

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.bytes import ByteSource, MappedFile
from isologit.checkpoint.wording import shown
from isologit.errors import MalformedHeaderError, TruncatedFileError

# The specification sets no limit. A vocabulary of 262,144 tokens with its merges takes some 16 MB,
# and safetensors allows its headers as much as this.
MAX_HEADER_BYTES = 100_000_000
# Arrays in arrays: the specification allows them, llama.cpp refuses them, and nobody writes them.
MAX_DEPTH = 4
MAX_INNER_ARRAYS = 1 << 16
# In all arrays: Gemma's tokens and merges are 780,000.
MAX_STRINGS = 1 << 21
# Of keys, by the specification, which allows tensors' names no more than 64.
MAX_NAME_BYTES = 2**16 - 1

# enum gguf_metadata_value_type: what numpy calls each number.
_NUMBERS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
UINT32, BOOL, STRING, ARRAY = 4, 7, 8, 9
# A length, and an array's type and number of elements.
_STRING_BYTES = 8
_ARRAY_BYTES = 12

_LAYOUTS = {code: struct.Struct(f"<{code}") for code in ("4s", "I", "Q")}

_FIRST_PIECE = 1 << 20
_LARGEST_PIECE = 8 << 20

Value = Union[str, bool, int, float, npt.NDArray[Any], "StringArray", tuple["Value", ...]]


@dataclass(frozen=True, eq=False)
class StringArray(Sequence[str]):
    """An array of strings that are decoded when they are asked for, and not kept.

    Parameters
    ----------
    content
        The header's bytes, as read or as mapped.
    bounds
        Where in it each string's length stands, and where the last string ends: one more than there
        are strings.
    """

    content: bytearray | memoryview = field(repr=False)
    bounds: Sequence[int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return a string, or some; bytes that are not UTF-8 become U+FFFD (see `raw`)."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.raw(index).decode("utf-8", errors="replace")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def raw(self, index: int) -> bytes:
        """Return a string's bytes as they are in the file.

        Raises
        ------
        IndexError
            There is no such string; negative ones count from the end.
        """
        i = range(len(self))[index]
        return bytes(self.content[self.bounds[i] + _STRING_BYTES : self.bounds[i + 1]])


class HeaderReader:
    """Goes forward through the beginning of a file, and holds all that it has read of it.

    Nothing is allocated for a promise: whatever a count or a length announces is first held against
    the bytes that are left.

    Parameters
    ----------
    source
        A mapped file is looked at where it lies. Any other is read in pieces, each the next and
        once, of 1 MB and then more; never past its end.
    """

    def __init__(self, source: ByteSource) -> None:
        self.position = 0
        self.place = "its beginning"
        self._source = source
        self._where = shown(source.name)
        self._content: bytearray | memoryview = bytearray()
        if isinstance(source, MappedFile):
            self._content = source.view(0, min(source.size, MAX_HEADER_BYTES))
        self._piece = _FIRST_PIECE
        self._arrays = self._strings_in_arrays = 0

    def number(self, code: str) -> Any:
        """Read one number; `code` is what `struct` calls it: 4s, I or Q."""
        layout = _LAYOUTS[code]
        self._need(layout.size)
        (value,) = layout.unpack_from(self._content, self.position)
        self.position += layout.size
        return value

    def skip_string(self) -> None:
        """Go behind a string that may be asked for later, by its position."""
        length = self.number("Q")
        self._need(length)
        self.position += length

    def text_at(self, position: int) -> str:
        """Return a string that has been read; bytes that are not UTF-8 become U+FFFD."""
        (length,) = _LAYOUTS["Q"].unpack_from(self._content, position)
        start = position + _STRING_BYTES
        return str(self._content[start : start + length], "utf-8", "replace")

    def name(self) -> str:
        """Read a string that names something, and must be UTF-8 to be told from others."""
        length = self.number("Q")
        self.require(length, 1, "bytes")
        if length > MAX_NAME_BYTES:
            raise self.malformed(
                f"a name of {length:,} bytes, longer than the format's {MAX_NAME_BYTES:,}"
            )
        self._need(length)
        start, self.position = self.position, self.position + length
        raw = bytes(self._content[start : self.position])
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as cause:
            raise self.malformed(
                f"a name that is not UTF-8: byte {cause.start:,} of it is {raw[cause.start]:#04x}"
            ) from None

    def value(self, kind: int) -> Value:
        """Read a metadata value of a type, given by its number in the specification.

        A string is decoded as UTF-8, and bytes that are not become U+FFFD.
        """
        if kind == STRING:
            position = self.position
            self.skip_string()
            return self.text_at(position)
        if kind == ARRAY:
            return self._array(depth=1)
        number: Value = self._numbers(kind, 1)[0].item()  # one of Python's
        return number

    def require(self, n: int, least: int, what: str) -> None:
        """Check that n things of at least so many bytes each can follow.

        Raises
        ------
        TruncatedFileError
            The file has not that many bytes left.
        MalformedHeaderError
            No header that is read has.
        """
        end = self.position + n * least
        follow = f"in {self.place} {n:,} {what} are to follow byte {self.position:,}"
        if end > MAX_HEADER_BYTES:
            raise MalformedHeaderError(
                f"{self._where}: {follow}; headers of up to {MAX_HEADER_BYTES:,} bytes are read. "
                "Is it a GGUF file?"
            )
        if end > self._source.size:
            raise TruncatedFileError(
                f"{self._where} has {self._source.size:,} bytes, and {follow}; fetch it again"
            )

    def malformed(self, fault: str) -> MalformedHeaderError:
        """Return the error of a fault at this place of the header."""
        return MalformedHeaderError(f"{self._where} has in {self.place} {fault}")

    def _need(self, n: int, what: str = "bytes") -> None:
        """Have the next n bytes, as `require` allows."""
        end = self.position + n
        have = len(self._content)
        if end > have:
            self.require(n, 1, what)
            length = min(max(self._piece, end - have), self._source.size - have)
            self._piece = min(2 * self._piece, _LARGEST_PIECE)
            assert isinstance(self._content, bytearray)  # what is mapped is all here
            self._content += self._source.read(have, length)

    def _numbers(self, kind: int, n: int) -> npt.NDArray[Any]:
        """Read n numbers of a type into a read-only array, of its own or of the mapped file."""
        if kind not in _NUMBERS:
            raise self.malformed(f"value type {kind:,}; expected one from 0 to 12")
        dtype = np.dtype(_NUMBERS[kind])
        self.require(n, dtype.itemsize, "numbers")
        self._need(n * dtype.itemsize)
        start, self.position = self.position, self.position + n * dtype.itemsize
        if isinstance(self._content, memoryview):
            numbers = np.frombuffer(self._content, dtype, n, start)
        else:
            numbers = np.frombuffer(bytes(self._content[start : self.position]), dtype)
        if kind == BOOL and numbers.view(np.uint8).max(initial=0) > 1:
            raise self.malformed("a truth value that is neither 0 nor 1")
        return numbers

    def _array(self, depth: int) -> Value:
        kind, n = self.number("I"), self.number("Q")
        self._arrays += depth == 1
        if kind == STRING:
            return self._strings(n)
        if kind != ARRAY:
            return self._numbers(kind, n)
        self.require(n, _ARRAY_BYTES, "arrays")
        self._arrays += n
        if depth == MAX_DEPTH or self._arrays > MAX_INNER_ARRAYS:
            raise self.malformed(
                f"arrays in arrays, more than the {MAX_INNER_ARRAYS:,} or the depth of "
                f"{MAX_DEPTH} that are read"
            )
        return tuple(self._array(depth + 1) for _ in range(n))

    def _strings(self, n: int) -> StringArray:
        """Walk over n strings by their lengths, which is all that tells where each begins."""
        self.require(n, _STRING_BYTES, "strings")
        self._strings_in_arrays += n
        if self._strings_in_arrays > MAX_STRINGS:
            raise self.malformed(f"more strings in arrays than the {MAX_STRINGS:,} that are read")
        unpack = struct.Struct("<Q").unpack_from
        content, end = self._content, self.position
        bounds = array.array("I", [end])  # positions in a header fit into 32 bits
        append = bounds.append
        while len(bounds) <= n:
            try:
                for _ in range(n + 1 - len(bounds)):
                    (length,) = unpack(content, end)
                    end += _STRING_BYTES + length
                    append(end)
            except (struct.error, OverflowError):
                # The next length is not among the bytes read so far, or no byte of a header.
                here = f"bytes up to the length of string {len(bounds):,} of {n:,}"
                self._need(end + _STRING_BYTES - self.position, here)
        self._need(end - self.position, f"bytes of {n:,} strings")
        self.position = end
        return StringArray(content, bounds)
