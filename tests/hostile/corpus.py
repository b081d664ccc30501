"""Hostile checkpoints: each a function that writes one, with the error that must refuse it.

`test_corpus` opens each in a process of its own and measures it. Every one must be refused within a
second and 50 MB, unless it says what else it may take, and why. The rules: docs/hostile-files.md.
"""

import itertools
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf_files as write
from gguf_files import BF16, F32, Q8_0, described, elements, gguf, number, pair, string
from isologit.errors import (
    CheckpointError,
    ConfigError,
    MalformedHeaderError,
    MissingShardError,
    NotACheckpointError,
    TensorShapeError,
    TruncatedFileError,
    UnclearHeadError,
    UnsafePickleError,
    UnsupportedFormatError,
)

HUGE = 2**60
# As large as a header may be, or little less.
FULL = 99_000_000
TERABYTES = 4 << 40
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Hostile:
    """A checkpoint that must be refused.

    Parameters
    ----------
    name
        What is wrong with it.
    make
        Writes it into an empty folder and returns the path to open.
    error
        The class of the refusal.
    says
        Words of its message.
    seconds, megabytes
        Less than which it must take.
    why
        Why these are not 1 and 50; empty where they are.
    """

    name: str
    make: Callable[[Path], Path]
    error: type[CheckpointError]
    says: str
    seconds: float = 1
    megabytes: float = 50
    why: str = ""


CASES: list[Hostile] = []


def hostile(
    error: type[CheckpointError],
    says: str,
    *,
    seconds: float = 1,
    megabytes: float = 50,
    why: str = "",
) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Add a function to the corpus, under its name."""

    def add(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        CASES.append(Hostile(make.__name__, make, error, says, seconds, megabytes, why))
        return make

    return add


# How files are written


def entry(dtype: str = "F32", shape: Any = (1, 1), offsets: Any = (0, 4)) -> dict[str, Any]:
    """Return a tensor's description."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def safetensors(
    path: Path, header: bytes | Iterable[bytes], data: int = 0, *, length: int | None = None
) -> Path:
    """Write a file: the header's length, or a lie about it, the header, and zeros that are free."""
    with path.open("wb") as file:
        file.seek(8)
        file.writelines([header] if isinstance(header, bytes) else header)
        end = file.tell()
        file.truncate(end + data)
        file.seek(0)
        file.write((end - 8 if length is None else length).to_bytes(8, "little"))
    return path


def tensors(folder: Path, entries: dict[str, Any], data: int = 0) -> Path:
    """Write a file of some descriptions."""
    return safetensors(folder / "model.safetensors", json.dumps(entries).encode(), data)


def filled(folder: Path, begin: bytes, unit: bytes, end: bytes = b"", size: int = FULL) -> Path:
    """Write a file whose header is one thing many times, and no tensors."""
    n = (size - len(begin) - len(end)) // len(unit)
    some = unit * (1 << 16)
    middle = itertools.chain(itertools.repeat(some, n >> 16), [unit * (n & 0xFFFF)])
    return safetensors(folder / "model.safetensors", itertools.chain([begin], middle, [end]))


def many(
    n: int, *, name: str = "model.layers.{}.mlp.experts.weight_scale", more: str = ""
) -> bytes:
    """Return descriptions of n tensors of one byte, without the braces around."""
    each = (
        f'"{name.format(i)}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{i + 1}]{more}}}'
        for i in range(n)
    )
    return ",".join(each).encode()


def good(folder: Path, file: str = "model.safetensors", name: str = "lm_head.weight") -> Path:
    """Write a checkpoint that is none of this."""
    return safetensors(folder / file, json.dumps({name: entry()}).encode(), 4)


def index(folder: Path, weight_map: Any) -> Path:
    """Write an index and return its folder."""
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def sparse(path: Path, size: int = TERABYTES, begin: bytes = b"") -> Path:
    """Write a file that is larger than the disk: some bytes, and zeros that are nowhere."""
    path.write_bytes(begin)
    os.truncate(path, size)
    return path


def gguf_file(folder: Path, raw: bytes) -> Path:
    """Write a GGUF file."""
    path = folder / "model.gguf"
    path.write_bytes(raw)
    return path


def late(*pairs: bytes) -> bytes:
    """Return a GGUF file of some pairs and then one that is wrong."""
    return gguf([*pairs, pair(b"last", 13, bytes(8))])


def array(kind: int, each: list[bytes], n: int | None = None, key: bytes = b"k") -> bytes:
    """Return a pair whose value is an array."""
    return pair(key, write.ARRAY, elements(kind, each, n=n))


# safetensors: the header's length


@hostile(TruncatedFileError, "announces a header of 1,000,000; fetch it again")
def header_length_beyond_the_file(folder: Path) -> Path:
    return safetensors(folder / "model.safetensors", b'{"a":', length=1_000_000)


@hostile(MalformedHeaderError, "header of 100,000,001 bytes; the format allows 100,000,000")
def header_of_more_than_100_MB(folder: Path) -> Path:
    return safetensors(folder / "model.safetensors", b"{}", 200_000_000, length=100_000_001)


@hostile(MalformedHeaderError, "announces a header of 18,446,744,073,709,551,615 bytes")
def header_length_that_is_negative_or_all_ones(folder: Path) -> Path:
    return safetensors(folder / "model.safetensors", b"{}", length=2**64 - 1)


@hostile(TruncatedFileError, "has 7 bytes")
def file_shorter_than_a_length(folder: Path) -> Path:
    (folder / "model.safetensors").write_bytes(b"\0" * 7)
    return folder


@hostile(MalformedHeaderError, "has 0x00 where a safetensors header begins")
def terabytes_of_nothing(folder: Path) -> Path:
    return sparse(folder / "model.safetensors")


@hostile(MalformedHeaderError, "bytes after its last tensor; the format allows none")
def terabytes_after_the_last_tensor(folder: Path) -> Path:
    return sparse(good(folder).rename(folder / "m.safetensors"), begin=good(folder).read_bytes())


@hostile(TruncatedFileError, "are missing; fetch it again")
def tensor_of_more_terabytes_than_there_are(folder: Path) -> Path:
    return tensors(folder, {"a": entry("U8", [2**62], [0, 2**62])})


# safetensors: what is no JSON


@hostile(MalformedHeaderError, "is not JSON: Expecting property name")
def not_json(folder: Path) -> Path:
    return safetensors(folder / "model.safetensors", b"{not json}")


@hostile(MalformedHeaderError, "is not JSON")
def not_json_of_99_MB(folder: Path) -> Path:
    return filled(folder, b"{", b"\x7fELF\x02\x01\x01\x00")


@hostile(MalformedHeaderError, "is not UTF-8: byte 98,999,999 is 0xff")
def not_utf8_at_the_end_of_99_MB(folder: Path) -> Path:
    return filled(folder, b"{", b" ", b"\xff")


@hostile(MalformedHeaderError, "is not JSON: Expecting property name")
def spaces_of_99_MB(folder: Path) -> Path:
    return filled(folder, b"{", b" ", b"]")


@hostile(MalformedHeaderError, "is nested too deep to be read")
def brackets_of_99_MB(folder: Path) -> Path:
    return filled(folder, b'{"a":', b"[")


@hostile(MalformedHeaderError, "is nested too deep to be read")
def braces_of_99_MB(folder: Path) -> Path:
    return filled(folder, b"", b'{"a":')


@hostile(MalformedHeaderError, "is not usable: Exceeds the limit")
def digits_of_99_MB(folder: Path) -> Path:
    return filled(folder, b'{"a":', b"7", b"}")


@hostile(MalformedHeaderError, "holds a value of more than 262,144 characters")
def decimals_of_99_MB(folder: Path) -> Path:
    return filled(folder, b'{"a":0.', b"7", b"}")


@hostile(MalformedHeaderError, "holds a value of more than 1,048,576 characters at character 2")
def key_of_99_MB(folder: Path) -> Path:
    return filled(folder, b'{"', b"k", b'":1}')


@hostile(MalformedHeaderError, "holds a value of more than 1,048,576 characters at character 2")
def key_of_99_MB_that_never_ends(folder: Path) -> Path:
    return filled(folder, b'{"', b"k")


@hostile(MalformedHeaderError, "holds a value of more than 1,048,576 characters")
def key_of_99_MB_beyond_ASCII(folder: Path) -> Path:
    return filled(folder, b'{"', "😀".encode(), b'":1}')


@hostile(MalformedHeaderError, "holds a value of more than 1,048,576 characters")
def key_of_99_MB_of_escapes(folder: Path) -> Path:
    return filled(folder, b'{"', b"\\ud83d\\ude00", b'":1}')


@hostile(MalformedHeaderError, "holds a value of more than 262,144 characters")
def lists_of_99_MB(folder: Path) -> Path:
    # Python would make 2.5 GB of these.
    return filled(folder, b'{"a":[', b"[],", b"0]}")


@hostile(MalformedHeaderError, "holds a value of more than 262,144 characters")
def objects_of_99_MB(folder: Path) -> Path:
    return filled(folder, b'{"a":[', b'{"":{}},', b"0]}")


@hostile(MalformedHeaderError, "holds a value of more than 262,144 characters at character 7")
def shape_of_99_MB(folder: Path) -> Path:
    return filled(folder, b'{"a": {"dtype":"U8","data_offsets":[0,0],"shape":[', b"1,", b"0]}}")


@hostile(MalformedHeaderError, "holds more than 2,097,152 values")
def small_lists_in_every_entry_up_to_99_MB(folder: Path) -> Path:
    unit = b'":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":[' + b"[]," * 40_000 + b"0]},"
    parts = (b'"%d' % i + unit for i in range(FULL // len(unit)))
    return safetensors(folder / "model.safetensors", itertools.chain([b"{"], parts))


# safetensors: names


@hostile(MalformedHeaderError, "key a is given twice")
def tensor_twice(folder: Path) -> Path:
    one = json.dumps(entry()).encode()
    return safetensors(folder / "model.safetensors", b'{"a":%b,"a":%b}' % (one, one), 4)


@hostile(MalformedHeaderError, "key dtype is given twice")
def dtype_twice(folder: Path) -> Path:
    one = b'{"dtype":"F32","dtype":"I32","shape":[1,1],"data_offsets":[0,4]}'
    return safetensors(folder / "model.safetensors", b'{"lm_head.weight":%b}' % one, 4)


@hostile(MalformedHeaderError, "key __metadata__ is given twice")
def metadata_twice(folder: Path) -> Path:
    return safetensors(folder / "model.safetensors", b'{"__metadata__":{},"__metadata__":{}}')


@hostile(MalformedHeaderError, "holds half of a surrogate pair")
def metadata_that_is_no_unicode(folder: Path) -> Path:
    return safetensors(folder / "model.safetensors", rb'{"__metadata__":{"a":"\ud800"}}')


@hostile(MalformedHeaderError, "half of a surrogate pair in its name")
def name_that_is_no_unicode(folder: Path) -> Path:
    one = json.dumps(entry()).encode()
    return safetensors(folder / "model.safetensors", rb'{"\ud800":' + one + b"}", 4)


@hostile(MalformedHeaderError, "key model.layers.7.mlp.experts.weight_scale is given twice")
def tensor_twice_among_20_000(folder: Path) -> Path:
    one = b',"model.layers.7.mlp.experts.weight_scale":{}}'
    return safetensors(folder / "model.safetensors", [b"{", many(20_000), one], 20_000)


@hostile(MalformedHeaderError, "holds more than 131,072 names")
def a_million_tensors_in_99_MB(folder: Path) -> Path:
    n = 940_000
    return safetensors(folder / "model.safetensors", [b"{", many(n), b"}"], n)


@hostile(MalformedHeaderError, "holds more than 131,072 names")
def a_million_pairs_of_metadata(folder: Path) -> Path:
    pairs = ",".join(f'"{i}":""' for i in range(1_000_000)).encode()
    return safetensors(folder / "model.safetensors", [b'{"__metadata__":{', pairs, b"}}"])


@hostile(MalformedHeaderError, "has 1 bytes after its last tensor")
def as_many_tensors_as_are_read_and_a_fault_at_the_end(folder: Path) -> Path:
    n = 131_072
    return safetensors(folder / "model.safetensors", [b"{", many(n), b"}"], n + 1)


@hostile(MalformedHeaderError, "tensor number 120,000 begins at data byte 5 and overlaps")
def long_names_in_99_MB_and_a_fault_at_the_end(folder: Path) -> Path:
    n = 120_000
    last = b"," + json.dumps({"last": entry("U8", [1], [5, 6])}).encode()[1:]
    name = "é" * 380 + "{}"
    return safetensors(folder / "model.safetensors", [b"{", many(n, name=name), last], n)


@hostile(MalformedHeaderError, "is not JSON: Expecting ',' delimiter")
def metadata_of_99_MB_and_a_fault_at_the_end(folder: Path) -> Path:
    one = b'":"' + "😀".encode() + b"x" * 1_000_000 + b'",'
    parts = (b'"%d' % i + one for i in range(FULL // len(one)))
    return safetensors(
        folder / "model.safetensors",
        itertools.chain([b'{"__metadata__":{'], parts, [b'"a":"";']),
        0,
    )


# safetensors: tensors


@hostile(MalformedHeaderError, "b begins at data byte 2 and overlaps the tensor before it")
def overlapping_tensors(folder: Path) -> Path:
    return tensors(folder, {"a": entry(), "b": entry(offsets=[2, 6])}, 6)


@hostile(MalformedHeaderError, "b begins at data byte 0 and overlaps")
def tensors_of_the_same_bytes(folder: Path) -> Path:
    return tensors(folder, {"a": entry(), "b": entry()}, 4)


@hostile(TruncatedFileError, ": 1 are missing; fetch it again")
def offsets_out_of_range(folder: Path) -> Path:
    return tensors(folder, {"a": entry(), "b": entry(offsets=[4, 8])}, 7)


@hostile(MalformedHeaderError, "ends at byte 0, before its beginning 4")
def misordered_offsets(folder: Path) -> Path:
    return tensors(folder, {"a": entry(offsets=[4, 0])}, 4)


@hostile(MalformedHeaderError, "has no data_offsets of two non-negative 64-bit integers")
def offsets_past_64_bits(folder: Path) -> Path:
    return tensors(folder, {"a": entry(offsets=[2**64, 2**64 + 4])}, 4)


@hostile(MalformedHeaderError, "has no data_offsets of two non-negative 64-bit integers")
def offsets_that_are_infinite(folder: Path) -> Path:
    one = b'{"dtype":"F32","shape":[1,1],"data_offsets":[0,1e400]}'
    return safetensors(folder / "model.safetensors", b'{"a":%b}' % one, 4)


@hostile(MalformedHeaderError, "b begins at data byte 5 and leaves a hole before it")
def hole_between_tensors(folder: Path) -> Path:
    return tensors(folder, {"a": entry(), "b": entry(offsets=[5, 9])}, 9)


@hostile(MalformedHeaderError, "has 1 bytes after its last tensor")
def hole_at_the_end(folder: Path) -> Path:
    return tensors(folder, {"a": entry()}, 5)


@hostile(MalformedHeaderError, "is F32 [2, 1], which takes 8 bytes; its data_offsets span 4")
def shape_larger_than_the_bytes(folder: Path) -> Path:
    return tensors(folder, {"a": entry(shape=[2, 1])}, 4)


@hostile(MalformedHeaderError, "is BF16 [1, 1], which takes 2 bytes; its data_offsets span 4")
def dtype_smaller_than_the_bytes(folder: Path) -> Path:
    return tensors(folder, {"a": entry("BF16")}, 4)


@hostile(MalformedHeaderError, "which takes more than 2**66 bits; its data_offsets span 0")
def shape_that_overflows_to_nothing(folder: Path) -> Path:
    return tensors(folder, {"a": entry("U8", [2**32, 2**32], [0, 0])})


@hostile(MalformedHeaderError, "and 9,992 more], which takes more than 2**66 bits")
def shape_of_many_huge_dimensions(folder: Path) -> Path:
    return tensors(folder, {"a": entry("U8", [2**62] * 10_000, [0, 0])})


@hostile(MalformedHeaderError, "has no shape of non-negative 64-bit integers")
def negative_dimensions_that_multiply_to_a_size(folder: Path) -> Path:
    return tensors(folder, {"a": entry(shape=[-1, -1])}, 4)


@hostile(UnsupportedFormatError, "lm_head.weight is stored as F8_E3M4; ")
def unknown_dtype(folder: Path) -> Path:
    return tensors(folder, {"lm_head.weight": entry("F8_E3M4")}, 4)


@hostile(UnsupportedFormatError, "lm_head.weight is stored as F16\\x1b[2J; ")
def dtype_that_clears_the_screen(folder: Path) -> Path:
    return tensors(folder, {"lm_head.weight": entry("F16\x1b[2J")}, 4)


@hostile(NotACheckpointError, "holds no tensors")
def no_tensors(folder: Path) -> Path:
    return safetensors(folder / "model.safetensors", b"{}")


@hostile(TensorShapeError, "is [4611686018427387904, 0]; expected a matrix [V, d]")
def matrix_of_exabytes_in_no_bytes(folder: Path) -> Path:
    return tensors(folder, {"lm_head.weight": entry("F32", [2**62, 0], [0, 0])})


@hostile(
    UnclearHeadError,
    "holds 65,536 tensors and no matrix [V, d].",
    seconds=5,
    megabytes=100,
    why="the header is a good one and is read; what is refused is the model that has no matrix",
)
def many_vectors_and_no_matrix(folder: Path) -> Path:
    n = 65_536
    return safetensors(folder / "model.safetensors", [b"{", many(n), b"}"], n)


# Directories, links and things that are no files


@hostile(MalformedHeaderError, "expected the name of a file inside the directory")
def index_that_leads_out_of_its_directory(folder: Path) -> Path:
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    good(folder, "secret.safetensors")
    return index(inner, {"lm_head.weight": "../../secret.safetensors"})


@hostile(MalformedHeaderError, "expected the name of a file inside the directory")
def index_that_names_an_absolute_path(folder: Path) -> Path:
    return index(folder, {"lm_head.weight": str(good(folder, "m.safetensors"))})


@hostile(MalformedHeaderError, "expected the name of a file inside the directory")
def index_that_goes_in_and_out_again(folder: Path) -> Path:
    return index(folder, {"lm_head.weight": "a/../../etc/passwd"})


@hostile(NotACheckpointError, "cannot be read: Too many levels of symbolic links")
def symlink_loop(folder: Path) -> Path:
    (folder / "model.safetensors").symlink_to("other.safetensors")
    (folder / "other.safetensors").symlink_to("model.safetensors")
    return folder


@hostile(NotACheckpointError, "cannot be read: Too many levels of symbolic links")
def symlink_loop_on_the_way(folder: Path) -> Path:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    return folder / "a" / "model.safetensors"


@hostile(NotACheckpointError, "cannot be read: Too many levels of symbolic links")
def index_that_is_a_symlink_loop(folder: Path) -> Path:
    (folder / INDEX).symlink_to(INDEX)
    return folder


@hostile(MissingShardError, "names 1 file, of which 1 is not there")
def shard_that_is_a_symlink_loop(folder: Path) -> Path:
    (folder / "m.safetensors").symlink_to("m.safetensors")
    return index(folder, {"lm_head.weight": "m.safetensors"})


@hostile(NotACheckpointError, "cannot be read: No such file or directory")
def link_to_nothing(folder: Path) -> Path:
    (folder / "model.safetensors").symlink_to("../../../../nowhere")
    return folder


@hostile(MalformedHeaderError, "Is it a safetensors file?")
def link_to_something_outside_that_is_no_checkpoint(folder: Path) -> Path:
    (folder / "secret.txt").write_text("the password is swordfish and so on")
    (folder / "m").mkdir()
    (folder / "m" / "model.safetensors").symlink_to("../secret.txt")
    return folder / "m"


@hostile(NotACheckpointError, "is not a regular file; expected one, which can be mapped")
def link_to_endless_zeros(folder: Path) -> Path:
    (folder / "model.safetensors").symlink_to("/dev/zero")
    return folder


@hostile(NotACheckpointError, "is neither a file nor a directory")
def path_of_endless_zeros(folder: Path) -> Path:
    (folder / "zeros").symlink_to("/dev/zero")
    return folder / "zeros"


@hostile(NotACheckpointError, "is not a regular file")
def index_of_endless_zeros(folder: Path) -> Path:
    (folder / INDEX).symlink_to("/dev/zero")
    return folder


@hostile(MissingShardError, "names 1 file, of which 1 is not there")
def shard_of_endless_zeros(folder: Path) -> Path:
    (folder / "m.safetensors").symlink_to("/dev/zero")
    return index(folder, {"lm_head.weight": "m.safetensors"})


@hostile(NotACheckpointError, "is not a regular file")
def pipe_that_nobody_writes_to(folder: Path) -> Path:
    os.mkfifo(folder / "model.safetensors")
    return folder


@hostile(NotACheckpointError, "is not a regular file")
def index_that_is_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / INDEX)
    return folder


@hostile(MissingShardError, "names 1 file, of which 1 is not there")
def shard_that_is_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "m.safetensors")
    return index(folder, {"lm_head.weight": "m.safetensors"})


@hostile(NotACheckpointError, "cannot be read: Is a directory")
def directory_in_place_of_a_file(folder: Path) -> Path:
    (folder / "model.safetensors").mkdir()
    return folder


# Indexes


@hostile(MalformedHeaderError, "is not JSON: Expecting value")
def index_of_terabytes_of_nothing(folder: Path) -> Path:
    sparse(folder / INDEX, 32 << 20)
    return folder


@hostile(MalformedHeaderError, "has 4,398,046,511,104 bytes; an index of up to 33,554,432 is read")
def index_of_terabytes(folder: Path) -> Path:
    sparse(folder / INDEX)
    return folder


@hostile(MalformedHeaderError, "an index of up to 33,554,432 is read")
def index_of_a_million_tensors(folder: Path) -> Path:
    names = (b',"model.layers.%d.mlp.experts.weight":"m.safetensors"' % i for i in range(1_000_000))
    (folder / INDEX).write_bytes(b'{"weight_map":{"a":""' + b"".join(names) + b"}}")
    return folder


@hostile(MalformedHeaderError, "holds more than 262,144 names")
def index_of_300_000_tensors(folder: Path) -> Path:
    return index(folder, dict.fromkeys((f"{i:x}" for i in range(300_000)), "m.safetensors"))


@hostile(MissingShardError, "names 1 file, of which 1 is not there: m.safetensors")
def index_of_as_many_tensors_as_are_read(folder: Path) -> Path:
    names = (f"model.layers.{i}.mlp.experts.7.up_proj.weight" for i in range(262_141))
    return index(folder, dict.fromkeys(names, "m.safetensors"))


@hostile(MissingShardError, "names more than 8,192 files")
def index_of_many_files(folder: Path) -> Path:
    return index(folder, {f"{i}": f"{'f' * 200}{i}" for i in range(100_000)})


@hostile(MissingShardError, "of which 8,192 are not there: f0, f1")
def index_of_as_many_files_as_are_read(folder: Path) -> Path:
    return index(folder, {f"{i}": f"f{i}" for i in range(8192)})


@hostile(MissingShardError, "expected the name of a file, of at most 1,024 characters")
def index_of_a_file_with_a_name_of_a_megabyte(folder: Path) -> Path:
    return index(folder, {"lm_head.weight": "f" * 1_000_000})


@hostile(MalformedHeaderError, "key lm_head.weight is given twice, with different values")
def index_that_places_a_tensor_twice(folder: Path) -> Path:
    places = b'{"lm_head.weight":"a.safetensors","lm_head.weight":"b.safetensors"}'
    (folder / INDEX).write_bytes(b'{"weight_map":%b}' % places)
    return folder


@hostile(MalformedHeaderError, "holds a value of more than 262,144 characters")
def index_of_lists(folder: Path) -> Path:
    (folder / INDEX).write_bytes(b'{"weight_map":[' + b"[]," * 10_000_000)
    return folder


@hostile(MissingShardError, "places b.weight in ")
def index_that_places_a_tensor_in_a_file_without_it(folder: Path) -> Path:
    good(folder, "m.safetensors")
    return index(folder, {"lm_head.weight": "m.safetensors", "b.weight": "m.safetensors"})


@hostile(
    MissingShardError,
    "places model.layers.0.mlp.experts.7.weight in ",
    seconds=3,
    megabytes=100,
    why="the index is a good one and is read; it is the file that does not hold what it says",
)
def index_of_140_000_tensors_that_its_file_does_not_hold(folder: Path) -> Path:
    good(folder, "m.safetensors")
    names = (f"model.layers.{i}.mlp.experts.7.weight" for i in range(140_000))
    return index(folder, dict.fromkeys(names, "m.safetensors"))


@hostile(MalformedHeaderError, "and the index does not say which counts")
def shards_that_claim_one_tensor(folder: Path) -> Path:
    for file in ("a", "b"):
        names = {f"{file}.weight": entry(), "lm_head.weight": entry(offsets=[4, 8])}
        safetensors(folder / f"{file}.safetensors", json.dumps(names).encode(), 8)
    return index(folder, {"a.weight": "a.safetensors", "b.weight": "b.safetensors"})


@hostile(MissingShardError, "is one of 9,999,999,999 parts; models of up to 8,192 are read")
def part_of_billions(folder: Path) -> Path:
    return gguf_file(folder, write.small()).rename(folder / "m-00001-of-9999999999.gguf")


@hostile(MissingShardError, "is one of 9,999,999,999 parts")
def directory_with_a_part_of_billions(folder: Path) -> Path:
    return part_of_billions(folder).parent


@hostile(MissingShardError, "names 8,192 files, of which 8,191 are not there")
def part_of_as_many_as_are_read(folder: Path) -> Path:
    return gguf_file(folder, write.small()).rename(folder / "m-00001-of-08192.gguf")


# Configs


def config(folder: Path, raw: bytes) -> Path:
    """Write a model with a config and return its folder."""
    (good(folder).parent / "config.json").write_bytes(raw)
    return folder


@hostile(ConfigError, "has 4,398,046,511,104 bytes; at most 4,194,304 are read")
def config_of_terabytes(folder: Path) -> Path:
    sparse(good(folder).parent / "config.json")
    return folder


@hostile(ConfigError, "at most 4,194,304 are read")
def config_of_lists(folder: Path) -> Path:
    return config(folder, b'{"a":[' + b"[]," * 5_000_000)


@hostile(ConfigError, "holds more than 131,072 values; no config does")
def config_of_many_values(folder: Path) -> Path:
    return config(folder, b'{"a":[' + b"[]," * 1_000_000)


@hostile(ConfigError, "is not JSON: Expecting property name")
def config_of_as_many_values_as_are_read(folder: Path) -> Path:
    pairs = b",".join(b'"%06d":"%06d"' % (i, i) for i in range(131_071))
    return config(folder, b"{" + pairs + b",}")


@hostile(ConfigError, "is not JSON: Expecting property name")
def config_of_one_long_string(folder: Path) -> Path:
    return config(folder, b'{"a":"' + b"x" * 4_190_000 + "😀".encode() + b'",}')


@hostile(ConfigError, "is nested too deep to be read")
def config_of_brackets(folder: Path) -> Path:
    return config(folder, b'{"a":' + b"[" * 100_000)


# GGUF: counts and lengths


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 tensors are to follow byte 24")
def gguf_of_2_60_tensors(folder: Path) -> Path:
    return gguf_file(folder, gguf(n_tensors=HUGE))


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 key-value pairs are to follow")
def gguf_of_2_60_pairs(folder: Path) -> Path:
    return gguf_file(folder, gguf(n_pairs=HUGE))


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 tensors are to follow byte 24")
def gguf_of_2_60_tensors_in_terabytes(folder: Path) -> Path:
    return sparse(folder / "model.gguf", begin=gguf(n_tensors=HUGE))


@hostile(MalformedHeaderError, "4,000,000 tensors and 0 key-value pairs; up to 32,768 and 32,768")
def gguf_of_four_million_tensors(folder: Path) -> Path:
    return sparse(folder / "model.gguf", begin=gguf(n_tensors=4_000_000))


@hostile(MalformedHeaderError, "0 tensors and 7,000,000 key-value pairs; up to 32,768 and 32,768")
def gguf_of_seven_million_pairs(folder: Path) -> Path:
    return sparse(folder / "model.gguf", begin=gguf(n_pairs=7_000_000))


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 bytes are to follow")
def gguf_key_of_2_60_bytes(folder: Path) -> Path:
    return gguf_file(folder, gguf([string(b"", length=HUGE) + bytes(5)]))


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 bytes are to follow")
def gguf_string_of_2_60_bytes(folder: Path) -> Path:
    return gguf_file(folder, gguf([pair(b"k", write.STRING, string(b"", length=HUGE))]))


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 strings are to follow")
def gguf_array_of_2_60_strings(folder: Path) -> Path:
    return gguf_file(folder, gguf([array(write.STRING, [], HUGE)]))


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 numbers are to follow")
def gguf_array_of_2_60_numbers_in_terabytes(folder: Path) -> Path:
    return sparse(folder / "model.gguf", begin=gguf([array(write.FLOAT64, [], HUGE)]))


@hostile(MalformedHeaderError, "1,152,921,504,606,846,976 arrays are to follow")
def gguf_array_of_2_60_arrays(folder: Path) -> Path:
    return gguf_file(folder, gguf([array(write.ARRAY, [], HUGE)]))


@hostile(MalformedHeaderError, "bytes up to the length of string 1 of 2 are to follow")
def gguf_string_of_2_60_bytes_in_an_array(folder: Path) -> Path:
    each = [string(b"", length=HUGE), string(b"")]
    return gguf_file(folder, gguf([array(write.STRING, each)]))


@hostile(MalformedHeaderError, "more strings in arrays than the 2,097,152 that are read")
def gguf_array_of_twelve_million_strings(folder: Path) -> Path:
    return sparse(folder / "model.gguf", begin=gguf([array(write.STRING, [], 12_000_000)]))


@hostile(MalformedHeaderError, "arrays in arrays, more than the 65,536 or the depth of 4")
def gguf_arrays_a_million_deep(folder: Path) -> Path:
    deep = struct.pack("<IQ", write.ARRAY, 1) * 1_000_000
    return gguf_file(folder, gguf([pair(b"k", write.ARRAY, deep)]))


@hostile(MalformedHeaderError, "arrays in arrays, more than the 65,536")
def gguf_arrays_in_arrays_by_the_million(folder: Path) -> Path:
    each = elements(write.ARRAY, [elements(write.UINT8, [])] * 1000)
    return gguf_file(folder, gguf([array(write.ARRAY, [each] * 1000)]))


@hostile(MalformedHeaderError, "a name of 90,000,000 bytes, longer than the format's 65,535")
def gguf_key_of_90_MB(folder: Path) -> Path:
    key = gguf([string(b"", length=90_000_000)])
    return sparse(folder / "model.gguf", 95_000_000, key)


@hostile(MalformedHeaderError, "a name of 90,000,000 bytes, longer than the format's 65,535")
def gguf_tensor_with_a_name_of_90_MB(folder: Path) -> Path:
    name = gguf([], [string(b"", length=90_000_000)])
    return sparse(folder / "model.gguf", 95_000_000, name)


# GGUF: a header as long as may be, with a fault at its end


@hostile(MalformedHeaderError, "in the value of last value type 13")
def gguf_string_of_98_MB_and_a_fault(folder: Path) -> Path:
    raw = b"x" * 98_000_000 + "😀".encode()
    return gguf_file(folder, late(pair(b"k", write.STRING, string(raw))))


@hostile(MalformedHeaderError, "in the value of last value type 13")
def gguf_string_of_98_MB_that_is_no_UTF_8_and_a_fault(folder: Path) -> Path:
    return gguf_file(folder, late(pair(b"k", write.STRING, string(b"\xff" * 98_000_000))))


@hostile(MalformedHeaderError, "in the value of last value type 13")
def gguf_truth_values_of_98_MB_and_a_fault(folder: Path) -> Path:
    return gguf_file(folder, late(array(write.BOOL, [b"\1" * 98_000_000], 98_000_000)))


@hostile(MalformedHeaderError, "in the value of last value type 13")
def gguf_strings_by_the_million_and_a_fault(folder: Path) -> Path:
    return gguf_file(folder, late(array(write.STRING, [string(b"t" * 30)] * (1 << 21))))


@hostile(TruncatedFileError, "its tensor t32767 ends at")
def gguf_of_as_much_as_is_read_and_a_byte_short(folder: Path) -> Path:
    n = 32_768
    arrays = [array(write.INT8, [b"\0"], key=b"%d" % i) for i in range(n - 2)]
    arrays.append(array(write.ARRAY, [elements(write.INT8, [b"\0"])] * 32_768, key=b"a"))
    arrays.append(array(write.STRING, [string(b"")] * (1 << 21), key=b"s"))
    each = [described(b"t%d" % i, [8, 1, 1, 1], F32, 32 * i) for i in range(n)]
    return gguf_file(folder, gguf(arrays, each, bytes(32 * n - 1)))


# GGUF: tensors


@hostile(MalformedHeaderError, "2,147,483,648 dimensions; the specification allows 4")
def gguf_tensor_of_2_31_dimensions(folder: Path) -> Path:
    return gguf_file(folder, gguf([], [described(b"W", [1], n_dims=2**31)], bytes(64)))


@hostile(TruncatedFileError, "its tensor W ends at 2,147,483,652")
def gguf_alignment_of_2_31(folder: Path) -> Path:
    pairs = [pair(b"general.alignment", write.UINT32, number(write.UINT32, 2**31))]
    return gguf_file(folder, gguf(pairs, [described(b"W", [1])], bytes(4)))


@hostile(MalformedHeaderError, "0; expected a power of two from 8 on")
def gguf_alignment_of_nothing(folder: Path) -> Path:
    pairs = [pair(b"general.alignment", write.UINT32, number(write.UINT32, 0))]
    return gguf_file(folder, gguf(pairs, [described(b"W", [1])], bytes(4)))


@hostile(MalformedHeaderError, "expected positive sizes whose product is below 2**63")
def gguf_shape_that_overflows_to_nothing(folder: Path) -> Path:
    return gguf_file(folder, gguf([], [described(b"W", [2**32, 2**32])], bytes(64)))


@hostile(MalformedHeaderError, "expected positive sizes whose product is below 2**63")
def gguf_negative_dimensions(folder: Path) -> Path:
    return gguf_file(folder, gguf([], [described(b"W", [2**64 - 1, 2**64 - 1])], bytes(64)))


@hostile(MalformedHeaderError, "whose rows are not whole blocks of Q8_0, 32 values each")
def gguf_shape_of_half_a_block(folder: Path) -> Path:
    return gguf_file(folder, gguf([], [described(b"W", [16, 2], Q8_0)], bytes(64)))


@hostile(MalformedHeaderError, "the offset 4, which is not a multiple of the alignment, 32")
def gguf_offset_that_is_not_aligned(folder: Path) -> Path:
    return gguf_file(folder, gguf([], [described(b"W", [1], F32, 4)], bytes(64)))


@hostile(MalformedHeaderError, "tensor b begins at byte 128 and overlaps a")
def gguf_overlapping_tensors(folder: Path) -> Path:
    both = [described(b"a", [16], F32, 0), described(b"b", [16], F32, 32)]
    return gguf_file(folder, gguf([], both, bytes(256)))


@hostile(TruncatedFileError, "its tensor W ends at 1,099,511,627,844")
def gguf_tensor_beyond_the_end(folder: Path) -> Path:
    return gguf_file(folder, gguf([], [described(b"W", [1], F32, 2**40)], bytes(64)))


@hostile(TruncatedFileError, "its tensor W ends at")
def gguf_tensor_of_more_terabytes_than_there_are(folder: Path) -> Path:
    W = described(b"W", [2**31, 2**30], BF16)
    return sparse(folder / "model.gguf", begin=gguf([], [W], bytes(64)))


@hostile(MalformedHeaderError, "the key k, which an earlier one has")
def gguf_key_twice(folder: Path) -> Path:
    return gguf_file(folder, gguf([pair(b"k", write.UINT8, b"\0")] * 2))


@hostile(MalformedHeaderError, "the name W, which an earlier one has")
def gguf_tensor_twice(folder: Path) -> Path:
    both = [described(b"W", [1]), described(b"W", [1], F32, 32)]
    return gguf_file(folder, gguf([], both, bytes(64)))


@hostile(UnsupportedFormatError, "output.weight is stored as ggml type 99")
def gguf_unknown_type(folder: Path) -> Path:
    pairs = [pair(b"general.architecture", write.STRING, string(b"llama"))]
    each = [
        described(b"output.weight", [4, 2], 99),
        described(b"token_embd.weight", [4, 2], 99, 32),
    ]
    return gguf_file(folder, gguf(pairs, each, bytes(64)))


@hostile(TruncatedFileError, "bytes are to follow")
def gguf_cut_in_its_header(folder: Path) -> Path:
    return gguf_file(folder, write.small()[:300])


# Other containers, which tests/hostile tries one by one


@hostile(TruncatedFileError, "there are 0 after its header. Fetch it again")
def npy_of_exabytes(folder: Path) -> Path:
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 1), }\n"
    (folder / "W.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text)
    return folder


@hostile(UnsafePickleError, "Python objects")
def npy_of_objects(folder: Path) -> Path:
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }\n"
    head = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text
    (folder / "W.npy").write_bytes(head + pickle.dumps([1]))
    return folder


@hostile(MalformedHeaderError, "which takes 16 bytes; there are 100,000,000 after its header")
def npz_that_unpacks_to_more_than_it_says(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "W.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n"
        head = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text
        archive.writestr("W.npy", head + bytes(100_000_000))
    return folder


@hostile(UnsafePickleError, "nothing of it was run")
def pickle_that_runs_a_command(folder: Path) -> Path:
    (folder / "model.pt").write_bytes(b"\x80\x02cos\nsystem\nU\x04true\x85R.")
    return folder
