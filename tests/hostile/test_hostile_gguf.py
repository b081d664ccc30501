"""GGUF files that lie, each on literal bytes: one error, of its own class, on one line."""

import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gguf_files as write
from gguf_files import F32, I8, Q4_K, Q8_0, described, elements, gguf, number, pair, string
from isologit.checkpoint.gguf import read_gguf
from isologit.checkpoint.gguf_values import MAX_HEADER_BYTES, MAX_INNER_ARRAYS, StringArray
from isologit.errors import (
    CheckpointError,
    MalformedHeaderError,
    TruncatedFileError,
    UnsupportedFormatError,
)

HUGE = 2**60


def refusal(raw: bytes) -> CheckpointError:
    """Read some bytes and return the error, having checked that it is fit to be shown."""
    with pytest.raises(CheckpointError) as caught:
        read_gguf(write.Bytes(raw))
    message = str(caught.value)
    assert "memory.gguf" in message
    assert message.isprintable()
    assert len(message) < 600
    return caught.value


def pairs_of(kind: int, value: bytes, key: bytes = b"k") -> bytes:
    """Return a file of one pair."""
    return gguf([pair(key, kind, value)])


def array_of(kind: int, *each: bytes, n: int | None = None) -> bytes:
    """Return a file of one array."""
    return pairs_of(write.ARRAY, elements(kind, each, n=n))


def aligned(value: bytes, kind: int = write.UINT32) -> bytes:
    """Return a file that sets the alignment."""
    return pairs_of(kind, value, b"general.alignment")


def tensor(*args: object, data: int = 4096, **kwargs: int) -> bytes:
    """Return a file of one tensor, called W."""
    return gguf([], [described(b"W", *args, **kwargs)], b"\0" * data)  # type: ignore[arg-type]


def two(*offsets: int, kinds: tuple[int, int] = (F32, F32)) -> bytes:
    """Return a file of two tensors of sixteen values, a and b, in 256 bytes."""
    tensors = [described(b"ab"[n : n + 1], [16], kinds[n], offsets[n]) for n in range(2)]
    return gguf([], tensors, b"\0" * 256)


def nested(depth: int) -> bytes:
    """Return the value of an array in so many others."""
    value = elements(write.UINT8, [b"\7"])
    for _ in range(depth):
        value = elements(write.ARRAY, [value])
    return value


MALFORMED = {
    "another magic": (gguf(magic=b"GGML"), "begins with bytes 47 47 4d 4c; a GGUF file begins"),
    "zeros": (b"\0" * 100, "begins with bytes 00 00 00 00"),
    "tensors beyond any header": (
        gguf(n_tensors=HUGE),
        "in its beginning 1,152,921,504,606,846,976 tensors are to follow byte 24; headers of up "
        "to 100,000,000 bytes are read",
    ),
    "most tensors of all": (gguf(n_tensors=2**64 - 1), "18,446,744,073,709,551,615 tensors"),
    "pairs beyond any header": (gguf(n_pairs=HUGE), "1,152,921,504,606,846,976 key-value pairs"),
    "a key beyond any header": (
        gguf([string(b"", length=HUGE)], n_pairs=1) + b"\0" * 9,
        "in key 0 of 1 1,152,921,504,606,846,976 bytes are to follow byte 32",
    ),
    "a string beyond any header": (
        pairs_of(write.STRING, string(b"", length=2**64 - 1)),
        "in the value of k 18,446,744,073,709,551,615 bytes are to follow",
    ),
    "numbers beyond any header": (array_of(write.UINT8, n=HUGE), "numbers are to follow byte 49"),
    "strings beyond any header": (array_of(write.STRING, n=HUGE), "strings are to follow byte 49"),
    "arrays beyond any header": (array_of(write.ARRAY, n=HUGE), "arrays are to follow byte 49"),
    "a string in an array beyond any header": (
        array_of(write.STRING, string(b"ab"), string(b"", length=HUGE), string(b"")),
        "bytes up to the length of string 2 of 3 are to follow",
    ),
    "the last string in an array beyond any header": (
        array_of(write.STRING, string(b"", length=2**64 - 1)),
        "in the value of k 18,446,744,073,709,551,6",
    ),
    "a string past 32 bits that begins within": (
        array_of(write.STRING, string(b"", length=2**32 - 40), string(b"")),
        "in the value of k 4,294,967,",
    ),
    "a key that is not UTF-8": (
        pairs_of(write.UINT8, b"\0", b"ab\xff"),
        "in key 0 of 1 a name that is not UTF-8: byte 2 of it is 0xff",
    ),
    "a long key": (pairs_of(write.UINT8, b"\0", b"k" * 65536), "longer than the format's 65,535"),
    "a key twice": (
        gguf([pair(b"k", write.UINT8, b"\0")] * 2),
        "in key 1 of 2 the key k, which an earlier one has",
    ),
    "control characters in a key": (
        gguf([pair(b"\x1b[31m\n", write.UINT8, b"\0")] * 2),
        r"the key \x1b[31m\n, which",
    ),
    "an unknown value type": (pairs_of(13, b"\0" * 8), "in the value of k value type 13; expected"),
    "the largest value type": (pairs_of(2**32 - 1, b"\0" * 8), "value type 4,294,967,295"),
    "an unknown element type": (array_of(13, n=HUGE), "value type 13; expected one from 0 to 12"),
    "a truth value of two": (pairs_of(write.BOOL, b"\2"), "a truth value that is neither 0 nor 1"),
    "truth values, one of 255": (array_of(write.BOOL, b"\1", b"\0", b"\xff"), "a truth value that"),
    "deep": (pairs_of(write.ARRAY, nested(4)), "arrays in arrays, more than the 65,536 or the"),
    "very deep": (pairs_of(write.ARRAY, nested(50_000)), "or the depth of 4 that are read"),
    "many inner arrays": (
        array_of(write.ARRAY, *[elements(0, [])] * (MAX_INNER_ARRAYS + 1)),
        "arrays in arrays, more than",
    ),
    "many inner arrays, in several": (
        gguf(
            [
                pair(b"%d" % n, 9, elements(9, [elements(0, [])] * (MAX_INNER_ARRAYS // 2 + 1)))
                for n in range(2)
            ]
        ),
        "in the value of 1 arrays in arrays, more than",
    ),
    "no alignment": (aligned(number(write.UINT32, 0)), "0; expected a power of two from 8 on"),
    "an alignment of 4": (aligned(number(write.UINT32, 4)), "4; expected a power of two from 8"),
    "an alignment of 24": (aligned(number(write.UINT32, 24)), "alignment 24; expected a power"),
    "an alignment of 33": (aligned(number(write.UINT32, 33)), "33; expected a power of two"),
    "an alignment in 64 bits": (
        aligned(number(write.UINT64, 32), write.UINT64),
        "in the value of general.alignment value type 10; expected 4, a uint32",
    ),
    "an alignment in words": (aligned(string(b"32"), write.STRING), "value type 8; expected 4"),
    "a name that is not UTF-8": (
        gguf([], [described(b"\xc3", [1])], b"\0" * 4),
        "in tensor 0 of 1 a name that is not UTF-8: byte 0 of it is 0xc3",
    ),
    "a name twice": (
        gguf([], [described(b"W", [1]), described(b"W", [1], F32, 32)], b"\0" * 64),
        "in tensor 1 of 2 the name W, which an earlier one has",
    ),
    "five dimensions": (
        tensor([1] * 5),
        "in tensor W 5 dimensions; the specification allows 4",
    ),
    "dimensions beyond any file": (tensor([1], n_dims=2**32 - 1), "4,294,967,295 dimensions"),
    "no size": (tensor([4, 0]), "the shape [0, 4]; expected positive sizes"),
    "a negative size": (tensor([2**64 - 1]), "[18446744073709551615]; expected positive sizes"),
    "two negative sizes": (tensor([2**63, 2**63]), "expected positive sizes"),
    "a shape that overflows 64 bits to fit": (
        tensor([2**32, 2**32]),
        "the shape [4294967296, 4294967296]; expected positive sizes whose product is below 2**63",
    ),
    "rows that are not whole blocks": (
        tensor([33, 32], Q8_0),
        "the shape [32, 33], whose rows are not whole blocks of Q8_0, 32 values each",
    ),
    "rows that are half a K block": (tensor([128, 2], Q4_K), "blocks of Q4_K, 256 values each"),
    "a scalar of blocks": (tensor([], Q8_0), "the shape [], whose rows are not whole blocks"),
    "an offset that is not aligned": (
        tensor([4], F32, 16),
        "in tensor W the offset 16, which is not a multiple of the alignment, 32",
    ),
    "an overlap": (
        two(0, 32),
        "tensor b begins at byte 128 and overlaps a, which ends at 160",
    ),
    "an overlap, the other way round": (two(32, 0), "tensor a begins at byte 128 and overlaps b"),
    "an overlap of one byte": (
        gguf([], [described(b"a", [33], I8), described(b"b", [1], I8, 32)], b"\0" * 64),
        "tensor b begins at byte 128 and overlaps a, which ends at 129",
    ),
    "the same bytes twice": (two(64, 64), "tensor b begins at byte 160 and overlaps a"),
    "the same bytes twice, of an unknown type": (two(0, 0, kinds=(99, F32)), "overlaps"),
    "an unknown type inside another tensor": (two(0, 32, kinds=(F32, 99)), "overlaps a"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_header_that_lies_is_malformed(name: str) -> None:
    raw, expected = MALFORMED[name]
    error = refusal(raw)
    assert type(error) is MalformedHeaderError
    assert expected in str(error)


TRUNCATED = {
    "no bytes": (b"", "has 0 bytes, and in its beginning 4 bytes are to follow byte 0; fetch it"),
    "a magic number alone": (b"GGUF", "has 4 bytes, and in its beginning 4 bytes are to follow"),
    "fewer tensors than counted": (gguf(n_tensors=3), "3 tensors are to follow byte 24"),
    "fewer pairs than counted": (gguf(n_pairs=1), "1 key-value pairs are to follow byte 24"),
    "fewer numbers than counted": (
        array_of(write.FLOAT64, b"\0" * 8, n=2),
        "in the value of k 2 numbers are to follow byte 49",
    ),
    "a tensor that is not there": (
        tensor([16], data=60),
        "and its tensor W ends at 128: 4 are missing; fetch it again",
    ),
    "a tensor beyond any disk": (tensor([2**62], data=64), "are missing; fetch it again"),
    "a tensor that begins beyond the end": (tensor([1], F32, 2**40), "its tensor W ends at 1,099,"),
    "an unknown type beyond the end": (tensor([1], 99, 2**40), "its tensor W ends at 1,099,511"),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_file_that_ends_too_soon_is_truncated(name: str) -> None:
    raw, expected = TRUNCATED[name]
    error = refusal(raw)
    assert type(error) is TruncatedFileError
    assert expected in str(error)


def test_a_good_file_cut_anywhere_is_truncated() -> None:
    raw = write.small()
    read_gguf(write.Bytes(raw))
    for n in range(len(raw)):
        assert type(refusal(raw[:n])) is TruncatedFileError, n


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (0, "is a GGUF file of version 0; versions 2 and 3 are read"),
        (1, "is a GGUF file of version 1; versions 2 and 3 are read. Convert the model again"),
        (4, "is a GGUF file of version 4"),
        (3 << 24, "is a GGUF file for big-endian machines; little-endian ones are read"),
        (2 << 24, "big-endian"),
    ],
)
def test_a_file_of_another_version_or_byte_order_is_refused_by_that_name(
    version: int, expected: str
) -> None:
    error = refusal(gguf(version=version))
    assert type(error) is UnsupportedFormatError
    assert expected in str(error)


LARGE = 2**50
ANNOUNCED = {
    "tensors": gguf(n_tensors=HUGE),
    "pairs": gguf(n_pairs=HUGE),
    "key": gguf([string(b"", length=HUGE) + b"\0" * 5]),
    "string": pairs_of(write.STRING, string(b"", length=HUGE)),
    "tensor name": gguf([], [string(b"", length=HUGE) + b"\0" * 16]),
    "dimensions": tensor([1], n_dims=2**32 - 1, data=0),
    **{f"array of {kind}": array_of(kind, n=HUGE) for kind in range(13)},
    "string in an array": array_of(write.STRING, string(b"", length=HUGE)),
    "array in an array": array_of(write.ARRAY, elements(write.STRING, [], n=HUGE)),
}


@pytest.mark.parametrize("size", [None, LARGE], ids=["small file", "sparse file"])
@pytest.mark.parametrize("name", ANNOUNCED)
def test_what_is_announced_costs_neither_time_nor_memory(name: str, size: int | None) -> None:
    # A sparse file is as large as it says and costs nothing to make.
    source = write.Bytes(ANNOUNCED[name], size=size)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(MalformedHeaderError):
        read_gguf(source)
    seconds = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 50_000_000


def test_more_strings_than_a_header_may_hold_are_refused_before_they_are_read() -> None:
    source = write.Bytes(array_of(write.STRING, n=MAX_HEADER_BYTES // 8), size=LARGE)
    with pytest.raises(MalformedHeaderError, match="12,500,000 strings are to follow byte 49;"):
        read_gguf(source)
    assert source.asked == [(0, 1 << 20)]


def test_a_million_empty_strings_are_read_of_a_sparse_file() -> None:
    source = write.Bytes(array_of(write.STRING, n=1_000_000), size=LARGE)
    strings = read_gguf(source).metadata["k"]
    assert isinstance(strings, StringArray)
    assert (len(strings), strings[999_999]) == (1_000_000, "")


def test_a_header_of_many_tensors_and_keys_is_read() -> None:
    n = 20_000
    raw = gguf(
        [pair(b"k%d" % i, write.UINT8, b"\1") for i in range(n)],
        [described(b"t%d" % i, [8], F32, 32 * i) for i in range(n)],
        b"\0" * (32 * n),
    )
    header = read_gguf(write.Bytes(raw))
    assert (len(header.metadata), len(header.tensors)) == (n, n)


SMALL = write.small()


def message_of(raw: bytes) -> str:
    """Return the error of some bytes as text; empty where they are a header after all.

    A header that is read says nothing of bytes that are not there.
    """
    source = write.Bytes(raw)
    try:
        header = read_gguf(source)
    except CheckpointError as error:
        return str(error)
    for info in header.tensors.values():
        assert 0 <= info.offset <= info.offset + info.length <= source.size
    return ""


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=4))
def test_bytes_changed_anywhere_raise_nothing_but_errors_of_their_own(
    changes: list[tuple[int, int]],
) -> None:
    raw = bytearray(SMALL)
    for at, byte in changes:
        raw[at] = byte
    assert message_of(bytes(raw)).isprintable()


@settings(max_examples=300)
@given(
    st.integers(0, len(SMALL)),
    st.sampled_from([0, 1, 8, 12, 13, 255, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]),
    st.sampled_from([struct.Struct("<I"), struct.Struct("<Q")]),
    st.integers(0, len(SMALL)),
)
def test_numbers_changed_anywhere_raise_nothing_but_errors_of_their_own(
    at: int, value: int, layout: struct.Struct, cut: int
) -> None:
    packed = layout.pack(value % 2 ** (8 * layout.size))
    changed = SMALL[:at] + packed + SMALL[at + layout.size :]
    assert message_of(changed).isprintable()
    assert message_of(changed[:cut]).isprintable()
    assert message_of(SMALL[:at] + packed + SMALL[at:]).isprintable()


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 3))
def test_any_bytes_raise_nothing_but_errors_of_their_own(raw: bytes, n: int, m: int) -> None:
    for candidate in (raw, gguf([raw], n_tensors=n, n_pairs=m), gguf([], [raw], b"\0" * 64)):
        assert message_of(candidate).isprintable()
