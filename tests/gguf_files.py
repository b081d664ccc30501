"""A writer of GGUF files for tests, byte by byte from the specification, that can lie anywhere.

Nothing here imports what it is meant to test. Every count and length is the true one unless another
is given.
"""

import struct
from collections.abc import Sequence

# enum gguf_metadata_value_type, and struct's letter for each number.
UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = range(10)
UINT64, INT64, FLOAT64 = range(10, 13)
LETTERS = {
    UINT8: "B",
    INT8: "b",
    UINT16: "H",
    INT16: "h",
    UINT32: "I",
    INT32: "i",
    FLOAT32: "f",
    BOOL: "?",
    UINT64: "Q",
    INT64: "q",
    FLOAT64: "d",
}
# enum ggml_type.
F32, Q8_0, Q4_K, I8, BF16 = 0, 8, 12, 24, 30


def number(kind: int, value: float) -> bytes:
    """Return a number as a value or an element."""
    return struct.pack("<" + LETTERS[kind], value)


def string(raw: bytes, *, length: int | None = None) -> bytes:
    """Return a string: its length, or a lie about it, and its bytes."""
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def elements(kind: int, each: Sequence[bytes], *, n: int | None = None) -> bytes:
    """Return an array's value: the type, the number or a lie about it, and the elements."""
    return struct.pack("<IQ", kind, len(each) if n is None else n) + b"".join(each)


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    """Return a key-value pair."""
    return string(key) + struct.pack("<I", kind) + value


def described(
    name: bytes, dims: Sequence[int], kind: int = F32, offset: int = 0, *, n_dims: int | None = None
) -> bytes:
    """Return a tensor's description; `dims` are in the file's order, fastest first."""
    head = string(name) + struct.pack("<I", len(dims) if n_dims is None else n_dims)
    return head + struct.pack(f"<{len(dims)}QIQ", *dims, kind, offset)


def gguf(
    pairs: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_pairs: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
) -> bytes:
    """Return a file: the header, padded where tensors' bytes follow, and these."""
    counts = (
        len(tensors) if n_tensors is None else n_tensors,
        len(pairs) if n_pairs is None else n_pairs,
    )
    header = magic + struct.pack("<IQQ", version, *counts) + b"".join((*pairs, *tensors))
    return header + b"\0" * (-len(header) % alignment if data else 0) + data


def small() -> bytes:
    """Return a valid file with a value of every kind and three tensors."""
    pairs = [
        pair(b"general.architecture", STRING, string(b"llama")),
        pair(b"general.alignment", UINT32, number(UINT32, 64)),
        pair(b"tokenizer.ggml.tokens", ARRAY, elements(STRING, [string(b"a"), string(b"\xff")])),
        pair(b"tokenizer.ggml.scores", ARRAY, elements(FLOAT32, [number(FLOAT32, 0.5)] * 2)),
        pair(b"nested", ARRAY, elements(ARRAY, [elements(BOOL, [b"\1", b"\0"]), elements(9, [])])),
    ]
    pairs += [pair(b"n%d" % kind, kind, number(kind, 1)) for kind in LETTERS]
    tensors = [
        described(b"norm", [3], F32, 0),
        described(b"token_embd.weight", [32, 2], Q8_0, 64),
        described(b"output.weight", [5, 2, 1], BF16, 192),
    ]
    return gguf(pairs, tensors, bytes(range(212)), alignment=64)


class Bytes:
    """A `ByteSource` in memory that refuses to be asked past its end, and notes what it was asked.

    Parameters
    ----------
    raw
        The first bytes.
    size
        Of the whole, the rest of which is zeros.
    """

    def __init__(self, raw: bytes, *, size: int | None = None) -> None:
        self.name = "memory.gguf"
        self.size = len(raw) if size is None else size
        self.asked: list[tuple[int, int]] = []
        self._raw = memoryview(raw)

    def read(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes."""
        assert 0 <= offset <= offset + length <= self.size
        self.asked.append((offset, length))
        here = self._raw[offset : offset + length]
        return here if len(here) == length else memoryview(bytes(here).ljust(length, b"\0"))
