"""Safetensors files that lie, each on literal bytes: one error, of its own class, on one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.safetensors import MAX_HEADER_BYTES, read_header
from isologit.errors import (
    CheckpointError,
    MalformedHeaderError,
    NotACheckpointError,
    TruncatedFileError,
)


def file_of(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a file: the header's length, or a lie about it, the header, and the data."""
    n = len(header) if length is None else length
    return n.to_bytes(8, "little") + header + data


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    """Return a tensor's entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def header_of(**entries: Any) -> bytes:
    """Return a header of entries."""
    return json.dumps(entries).encode()


def refusal(tmp_path: Path, raw: bytes, name: str = "model.safetensors") -> CheckpointError:
    """Open some bytes and return the error, having checked that it is fit to be shown."""
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 600
    return caught.value


GOOD = file_of(header_of(a=entry()), b"\0" * 4)

MALFORMED = {
    "not json": (file_of(b"{not json}"), "is not JSON: Expecting property name"),
    "not utf-8": (file_of(b'{"\xff": 1}'), "is not UTF-8: byte 2 is 0xff"),
    "utf-8 cut short": (file_of(b'{"\xe2\x82'), "is not UTF-8: byte 2 is 0xe2"),
    "an array": (file_of(b"[]"), "has 0x5b where a safetensors header begins with '{'"),
    "leading space": (file_of(b" {}"), "has 0x20 where a safetensors header begins with '{'"),
    "more after the object": (file_of(b"{}{}"), "is not JSON: Extra data"),
    "key twice": (
        file_of(b'{"a":' + json.dumps(entry()).encode() + b',"a":1}', b"\0" * 4),
        "key a is given twice",
    ),
    "key twice, the same": (
        file_of(b'{"__metadata__":{"x":"1","x":"1"}}'),
        "key x is given twice",
    ),
    "NaN": (file_of(b'{"a":NaN}'), "NaN is not JSON"),
    "Infinity": (file_of(b'{"a":-Infinity}'), "-Infinity is not JSON"),
    "deep": (file_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested too deep"),
    "deep objects": (file_of(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested too deep"),
    "an integer of 5000 digits": (file_of(b'{"a":' + b"9" * 5000 + b"}"), "is not usable"),
    "header too long": (
        file_of(b"{", length=MAX_HEADER_BYTES + 1),
        "announces a header of 100,000,001 bytes; the format allows 100,000,000",
    ),
    "header longest of all": (file_of(b"{", length=2**64 - 1), "announces a header of 18,446,744"),
    "empty header": (file_of(b"", b"abcdefgh"), "has 0x61 where a safetensors header begins"),
    "header of no bytes, then a brace": (file_of(b"", b"{}"), "is not JSON"),
    "tensor is a number": (file_of(header_of(a=1)), "tensor a is not described by an object"),
    "no dtype": (file_of(header_of(a={"shape": [], "data_offsets": [0, 0]})), "a has no dtype"),
    "dtype is a number": (file_of(header_of(a=entry(dtype=3))), "a has no dtype"),  # type: ignore[arg-type]
    "no shape": (file_of(header_of(a={"dtype": "F32"})), "a has no shape of non-negative"),
    "shape is negative": (
        file_of(header_of(a=entry(shape=[-1, -1])), b"\0" * 4),
        "has no shape of non-negative",
    ),
    "shape is a float": (file_of(header_of(a=entry(shape=[1.0]))), "has no shape"),
    "shape is a boolean": (file_of(header_of(a=entry(shape=[True]))), "has no shape"),
    "shape is a string": (file_of(header_of(a=entry(shape="1"))), "has no shape"),
    "shape past 64 bits": (file_of(header_of(a=entry(shape=[2**63]))), "has no shape"),
    "no offsets": (
        file_of(header_of(a={"dtype": "F32", "shape": [1]})),
        "has no data_offsets of two",
    ),
    "three offsets": (file_of(header_of(a=entry(offsets=[0, 4, 8]))), "has no data_offsets"),
    "negative offset": (file_of(header_of(a=entry(offsets=[-4, 0]))), "has no data_offsets"),
    "offset past 64 bits": (file_of(header_of(a=entry(offsets=[0, 2**63]))), "has no data_off"),
    "offset is a float": (file_of(header_of(a=entry(offsets=[0, 4.0]))), "has no data_offsets"),
    "offsets run backwards": (
        file_of(header_of(a=entry(offsets=[4, 0])), b"\0" * 4),
        "tensor a ends at byte 0, before its beginning 4",
    ),
    "shape that overflows 64 bits to fit": (
        file_of(header_of(a=entry("U8", [2**32, 2**32], [0, 0]))),
        "is U8 [4294967296, 4294967296], which takes more than 2**66 bits; its data_offsets span 0",
    ),
    "shape of ten thousand huge dimensions": (
        file_of(header_of(a=entry("U8", [2**62] * 10_000, [0, 0]))),
        ", and 9,992 more], which takes more than 2**66 bits; its data_offsets span 0",
    ),
    "shape of a million huge dimensions": (
        file_of(header_of(a=entry("U8", [2**62] * 1_000_000, [0, 0]))),
        "holds a value of more than 262,144 characters",
    ),
    "shape larger than the span": (
        file_of(header_of(a=entry(shape=[2])), b"\0" * 4),
        "tensor a is F32 [2], which takes 8 bytes; its data_offsets span 4",
    ),
    "shape smaller than the span": (
        file_of(header_of(a=entry("BF16", [1])), b"\0" * 4),
        "tensor a is BF16 [1], which takes 2 bytes; its data_offsets span 4",
    ),
    "half a byte": (
        file_of(header_of(a=entry("F4", [3], [0, 2])), b"\0" * 2),
        "tensor a is F4 [3], which takes 1.5 bytes; its data_offsets span 2",
    ),
    "overlap": (
        file_of(header_of(a=entry(), b=entry(offsets=[2, 6])), b"\0" * 6),
        "tensor b begins at data byte 2 and overlaps the tensor before it, which ends at 4",
    ),
    "the same bytes twice": (
        file_of(header_of(a=entry(), b=entry()), b"\0" * 4),
        "tensor b begins at data byte 0 and overlaps",
    ),
    "hole at the beginning": (
        file_of(header_of(a=entry(offsets=[4, 8])), b"\0" * 8),
        "tensor a begins at data byte 4 and leaves a hole before it, which ends at 0",
    ),
    "hole in the middle": (
        file_of(header_of(a=entry(), b=entry(offsets=[5, 9])), b"\0" * 9),
        "tensor b begins at data byte 5 and leaves a hole before it",
    ),
    "bytes after the last tensor": (GOOD + b"x", "has 1 bytes after its last tensor"),
    "metadata is a list": (
        file_of(b'{"__metadata__":[]}'),
        "__metadata__ must be an object whose values are strings",
    ),
    "metadata holds a number": (file_of(b'{"__metadata__":{"a":1}}'), "__metadata__ must be"),
    "control characters in a name": (
        file_of(b'{"a\\u001b[31m\\nb":1}'),
        r"tensor a\x1b[31m\nb is not described by an object",
    ),
    "a name of a million characters": (
        file_of(b'{"' + b"n" * 1_000_000 + b'":1}'),
        "… (1,000,000 characters) is not described",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_header_that_lies_is_malformed(tmp_path: Path, name: str) -> None:
    raw, expected = MALFORMED[name]
    error = refusal(tmp_path, raw)
    assert type(error) is MalformedHeaderError
    assert expected in str(error)


TRUNCATED = {
    "no bytes": (b"", "has 0 bytes; a safetensors file has 8 before its header"),
    "seven bytes": (b"\0" * 7, "has 7 bytes; a safetensors file has 8"),
    "a length alone": (file_of(b"", length=9), "has 8 bytes and announces a header of 9"),
    "half a header": (
        file_of(b'{"a":', length=1000),
        "has 13 bytes and announces a header of 1,000; fetch it again",
    ),
    "no data": (
        file_of(header_of(a=entry())),
        "and its header promises 73: 4 are missing; fetch it again",
    ),
    "all but one byte": (GOOD[:-1], ": 1 are missing"),
    "promises beyond any disk": (
        file_of(header_of(a=entry("U8", [2**62], [0, 2**62]))),
        "are missing; fetch it again",
    ),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_file_that_ends_too_soon_is_truncated(tmp_path: Path, name: str) -> None:
    raw, expected = TRUNCATED[name]
    error = refusal(tmp_path, raw)
    assert type(error) is TruncatedFileError
    assert expected in str(error)


def test_a_good_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for n in range(len(GOOD)):
        assert isinstance(refusal(tmp_path, GOOD[:n]), TruncatedFileError), n


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_byte_changed_anywhere_raises_nothing_but_its_own_errors(at: int, byte: int) -> None:
    raw = bytearray(GOOD)
    raw[at] = byte
    assert message_of(bytes(raw)).isprintable()


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_their_own_errors(raw: bytes) -> None:
    for candidate in (raw, file_of(b"{" + raw), file_of(b"{}", raw)):
        assert message_of(candidate).isprintable()


def message_of(raw: bytes) -> str:
    """Return the error of some bytes as text; empty where they are a header after all."""
    try:
        read_header(_Bytes(raw))
    except (MalformedHeaderError, TruncatedFileError) as error:
        return str(error)
    return ""


class _Bytes:
    def __init__(self, raw: bytes) -> None:
        self.name, self.size, self._raw = "memory", len(raw), memoryview(raw)

    def read(self, offset: int, length: int) -> memoryview:
        assert 0 <= offset <= offset + length <= self.size
        return self._raw[offset : offset + length]


def test_a_header_of_many_tensors_is_read(tmp_path: Path) -> None:
    n = 50_000
    entries = {f"t{i}": entry("U8", [1], [i, i + 1]) for i in range(n)}
    path = tmp_path / "many.safetensors"
    path.write_bytes(file_of(header_of(**entries), b"\0" * n))
    assert len(read_header(MappedFile(path)).tensors) == n


def test_a_header_padded_to_nearly_the_limit_is_read(tmp_path: Path) -> None:
    # 100 MB of spaces is what the format allows at most; a sparse file makes it cheap.
    path = tmp_path / "padded.safetensors"
    header = header_of(a=entry("U8", [0], [0, 0]))
    path.write_bytes(file_of(header + b" " * (10_000_000 - len(header))))
    assert list(read_header(MappedFile(path)).tensors) == ["a"]


def test_a_file_without_tensors_is_no_checkpoint(tmp_path: Path) -> None:
    error = refusal(tmp_path, file_of(b'{"__metadata__":{"format":"pt"}}'))
    assert type(error) is NotACheckpointError
    assert str(error).endswith("holds no tensors")


def test_zero_sized_tensors_may_lie_between_others(tmp_path: Path) -> None:
    raw = file_of(
        header_of(z=entry(shape=[0, 7], offsets=[4, 4]), a=entry(), b=entry(offsets=[4, 8])),
        b"\0" * 8,
    )
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw)
    assert set(read_header(MappedFile(path)).tensors) == {"a", "b", "z"}
