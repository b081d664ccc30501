"""The GGUF header reader beside gguf-py, on real files and on made-up ones."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter

import gguf_files as write
from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.gguf import GGML_TYPES, GgufHeader, read_gguf
from isologit.checkpoint.gguf_values import StringArray, Value
from isologit.numerics.gguf_blocks import BLOCK_SHAPES

REAL = ["Q8_0", "Q4_0", "F16", "BF16"]


def plain(value: Value) -> Any:
    """Return a value as gguf-py gives it: arrays are lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, StringArray) else value


def assert_as_peer(path: Path) -> GgufHeader:
    """Compare all of a file with what gguf-py reads, and return its header."""
    source = MappedFile(path)
    header, peer = read_gguf(source), GGUFReader(path)
    fields = {name: f for name, f in peer.fields.items() if not name.startswith("GGUF.")}
    assert list(header.metadata) == list(fields)
    for name, field in fields.items():
        assert plain(header.metadata[name]) == field.contents(), name
    assert header.version == peer.fields["GGUF.version"].contents()
    assert list(header.tensors) == [tensor.name for tensor in peer.tensors]
    for tensor in peer.tensors:
        info = header.tensors[tensor.name]
        assert (info.name, info.file) == (tensor.name, str(path))
        assert info.dtype == tensor.tensor_type.name
        assert info.shape == tuple(reversed(tensor.shape.tolist()))
        assert (info.offset, info.length) == (tensor.data_offset, tensor.n_bytes)
        assert bytes(source.read(info.offset, info.length)) == tensor.data.tobytes()
    return header


@pytest.mark.parametrize("quantised", REAL)
def test_a_real_file_is_what_the_library_reads(shared: Path, quantised: str) -> None:
    header = assert_as_peer(shared / "checkpoints" / f"llama2xs-{quantised}.gguf")
    assert len(header.tensors) > 10
    assert header.metadata["general.architecture"] == "llama"


def test_values_of_every_kind_are_what_the_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "values.gguf"
    writer = GGUFWriter(path, "llama")
    extremes: dict[GGUFValueType, list[Any]] = {
        GGUFValueType.UINT8: [0, 255],
        GGUFValueType.INT8: [-128, 127],
        GGUFValueType.UINT16: [0, 65535],
        GGUFValueType.INT16: [-32768, 32767],
        GGUFValueType.UINT32: [0, 2**32 - 1],
        GGUFValueType.INT32: [-(2**31), 2**31 - 1],
        GGUFValueType.FLOAT32: [-0.1, float("inf")],
        GGUFValueType.BOOL: [True, False],
        GGUFValueType.STRING: ["", "é☃\U0001f600\0"],
        GGUFValueType.UINT64: [0, 2**64 - 1],
        GGUFValueType.INT64: [-(2**63), 2**63 - 1],
        GGUFValueType.FLOAT64: [5e-324, -1.7e308],
    }
    for kind, values in extremes.items():
        for n, value in enumerate(values):
            writer.add_key_value(f"{kind.name}.{n}", value, kind)
        writer.add_key_value(f"{kind.name}.array", values, GGUFValueType.ARRAY, kind)
    finish(writer)
    metadata = assert_as_peer(path).metadata
    for kind, values in extremes.items():
        array = metadata[f"{kind.name}.array"]
        assert len(array) == 2  # type: ignore[arg-type]
        if kind is not GGUFValueType.STRING:
            assert isinstance(array, np.ndarray)
            assert array.dtype.name == kind.name.lower()
            assert not array.flags.writeable
        for n, value in enumerate(values):
            assert type(metadata[f"{kind.name}.{n}"]) is type(value)


def finish(writer: GGUFWriter) -> None:
    """Write everything and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_tensors_of_every_type_lie_where_the_library_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "tensors.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_custom_alignment(128)
    rng = np.random.default_rng(0)
    for number, kind in GGML_TYPES.items():
        stored = rng.integers(0, 256, (5, 2, 3 * kind.block_bytes), dtype=np.uint8)
        writer.add_tensor(kind.name, stored, raw_dtype=GGMLQuantizationType(number))
    finish(writer)
    header = assert_as_peer(path)
    assert {info.offset % 128 for info in header.tensors.values()} == {0}
    assert header.tensors["Q4_K"].shape == (5, 2, 3 * 256)


def test_the_table_of_types_is_the_library_s() -> None:
    theirs = {kind.value: (kind.name, *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType}
    assert {n: theirs[n] for n in GGML_TYPES} == GGML_TYPES
    assert {n for n in theirs if n <= max(GGML_TYPES)} == set(GGML_TYPES)


def test_blocks_that_are_decoded_have_the_size_that_the_table_says() -> None:
    sizes = {name.lower(): tuple(shape) for name, *shape in GGML_TYPES.values()}
    assert {name: sizes[name] for name in BLOCK_SHAPES} == BLOCK_SHAPES


def test_a_file_written_by_the_specification_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(write.small())
    header = read_gguf(MappedFile(path))
    assert {t.name: (t.dtype, t.shape, t.length) for t in header.tensors.values()} == {
        "norm": ("F32", (3,), 12),
        "token_embd.weight": ("Q8_0", (2, 32), 68),
        "output.weight": ("BF16", (1, 2, 5), 20),
    }
    last = header.tensors["output.weight"]
    raw = path.read_bytes()
    assert raw[last.offset : last.offset + last.length] == bytes(range(192, 212))
    assert [plain(v) for v in header.metadata["nested"]] == [[True, False], ()]  # type: ignore[union-attr]


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_are_read(version: int) -> None:
    header = read_gguf(write.Bytes(write.gguf(version=version)))
    assert (header.version, header.tensors, header.metadata) == (version, {}, {})


def test_empty_arrays_are_read() -> None:
    pairs = [write.pair(b"k%d" % kind, write.ARRAY, write.elements(kind, [])) for kind in range(13)]
    metadata = read_gguf(write.Bytes(write.gguf(pairs))).metadata
    assert [len(value) for value in metadata.values()] == [0] * 13  # type: ignore[arg-type]


def header_of_strings(*raw: bytes) -> StringArray:
    """Return an array of strings that has been through a file."""
    value = write.elements(write.STRING, [write.string(each) for each in raw])
    metadata = read_gguf(write.Bytes(write.gguf([write.pair(b"k", write.ARRAY, value)]))).metadata
    strings = metadata["k"]
    assert isinstance(strings, StringArray)
    return strings


def test_strings_are_had_one_by_one_from_either_end_and_in_slices() -> None:
    strings = header_of_strings(b"zero", b"", b"zwei\0", b"3")
    assert (len(strings), list(strings)) == (4, ["zero", "", "zwei\0", "3"])
    assert (strings[0], strings[-1], strings[1:3]) == ("zero", "3", ["", "zwei\0"])
    assert "3" in strings
    for index in (4, -5):
        with pytest.raises(IndexError):
            strings[index]
        with pytest.raises(IndexError):
            strings.raw(index)


def test_strings_that_are_not_utf8_are_replaced_and_their_bytes_can_be_had() -> None:
    strings = header_of_strings(b"a\xff", b"\xed\xa0\x80", b"ok")
    assert list(strings) == ["a\ufffd", "\ufffd\ufffd\ufffd", "ok"]
    assert [strings.raw(i) for i in (0, 1, -1)] == [b"a\xff", b"\xed\xa0\x80", b"ok"]


def test_a_single_string_that_is_not_utf8_is_replaced() -> None:
    pairs = [write.pair(b"general.name", write.STRING, write.string(b"\x80"))]
    assert read_gguf(write.Bytes(write.gguf(pairs))).metadata == {"general.name": "\ufffd"}


def test_a_header_of_a_large_file_is_read_once_in_few_pieces() -> None:
    tokens = [write.string(b"%07d" % i) for i in range(150_000)]
    numbers = write.elements(write.FLOAT32, [b"1234"] * 700_000)
    pairs = [
        write.pair(b"tokens", write.ARRAY, write.elements(write.STRING, tokens)),
        write.pair(b"scores", write.ARRAY, numbers),
        write.pair(b"last", write.STRING, write.string(b"x" * 3_000_000)),
    ]
    raw = write.gguf(pairs, [write.described(b"W", [2**40], write.F32)])
    source = write.Bytes(raw, size=2**43)
    header = read_gguf(source)
    assert list(header.metadata["tokens"]) == [f"{i:07}" for i in range(150_000)]  # type: ignore[arg-type]
    assert header.metadata["last"] == "x" * 3_000_000
    assert header.tensors["W"].offset == -(-len(raw) // 32) * 32
    # Each piece begins where the one before it ended, and little more than the header is read.
    assert len(source.asked) <= 5
    assert [start for start, _ in source.asked] == [
        sum(length for _, length in source.asked[:n]) for n in range(len(source.asked))
    ]
    assert sum(length for _, length in source.asked) <= 2 * len(raw)


def test_one_small_piece_is_read_of_a_small_header() -> None:
    source = write.Bytes(write.small(), size=2**40)
    read_gguf(source)
    assert source.asked == [(0, 1 << 20)]


def test_a_string_may_lie_across_two_pieces() -> None:
    for length in range((1 << 20) - 90, (1 << 20) + 10):
        value = write.elements(write.STRING, [write.string(b"x" * length), write.string(b"end")])
        raw = write.gguf([write.pair(b"k", write.ARRAY, value)])
        metadata = read_gguf(write.Bytes(raw)).metadata
        assert metadata["k"][1] == "end"  # type: ignore[index]


def test_a_type_that_no_one_knows_is_listed_and_spans_the_room_it_has() -> None:
    tensors = [
        write.described(b"a", [7, 3], 99, 0),
        write.described(b"c", [1], write.F32, 128),
        write.described(b"b", [5], 4, 64),
        write.described(b"d", [5], 2**32 - 1, 192),
    ]
    raw = write.gguf([], tensors, b"\0" * 205)
    header = read_gguf(write.Bytes(raw))
    start = len(raw) - 205
    assert {t.name: (t.dtype, t.offset - start, t.length) for t in header.tensors.values()} == {
        "a": ("ggml type 99", 0, 64),
        "c": ("F32", 128, 4),
        "b": ("ggml type 4", 64, 64),
        "d": ("ggml type 4294967295", 192, 13),
    }
    assert header.tensors["a"].shape == (3, 7)


def test_tensors_may_lie_in_any_order_with_holes_between_them() -> None:
    tensors = [write.described(b"b", [2], write.F32, 4096), write.described(b"a", [2], write.F32)]
    header = read_gguf(write.Bytes(write.gguf([], tensors, b"\0" * 4104)))
    assert list(header.tensors) == ["b", "a"]
    assert header.tensors["b"].offset - header.tensors["a"].offset == 4096


def test_a_scalar_has_no_dimensions_and_one_value() -> None:
    raw = write.gguf([], [write.described(b"s", [], write.F32)], struct.pack("<f", 2.5))
    info = read_gguf(write.Bytes(raw)).tensors["s"]
    assert (info.shape, info.length) == ((), 4)


def test_nothing_but_a_header_needs_no_padding_after_it() -> None:
    assert len(write.gguf()) == 24
    assert read_gguf(write.Bytes(write.gguf())).tensors == {}
