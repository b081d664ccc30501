"""The fuzz target of the two header parsers: headers good, bad and between, and what must hold.

`test_fuzz_headers` runs it for some seconds. For as long as you like, with other examples for each
seed:

    python tests/hostile/fuzz.py --seconds 600 [--seed N]
"""

import argparse
import json
import struct
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeVar

if __name__ == "__main__":
    # A script finds neither its neighbours nor, in a checkout, a package that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.path.append(str(Path(__file__).resolve().parents[2] / "src"))

import ml_dtypes  # noqa: F401  (teaches the library's numpy loader bf16)
import numpy as np
from gguf import GGUFReader, GGUFValueType
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize, safe_open

import gguf_files as write
from isologit.checkpoint import strict_json
from isologit.checkpoint.bytes import ByteSource, MappedFile
from isologit.checkpoint.gguf import GGML_TYPES, GgufHeader, read_gguf
from isologit.checkpoint.gguf_values import StringArray
from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.safetensors import Header, read_header
from isologit.errors import IsologitError

T = TypeVar("T")

# For files of some kB. A reader may ask for pieces of a megabyte.
MOST_SECONDS = 1.0
MOST_BYTES = 4_000_000

# All in which this reader and the safetensors library differ, by what is in the header. Where ours
# is stricter its refusal has these words.
STRICTER = {
    "a name twice": "is given twice",
    "a key of the metadata twice": "is given twice",
    "a key twice in a field that is not read": "is given twice",
    "spaces before the header": "where a safetensors header begins with '{'",
    "a tensor that is a list": "is not described by an object",
    "a dtype that is an object": "has no dtype",
    "metadata that is null": "__metadata__ must be an object whose values are strings",
    "a size past 63 bits": "has no shape of non-negative 64-bit integers",
}
LAXER = {
    "an unknown dtype",
    "minus zero",
    "a shape that overflows before its zero",
    "a number past binary64 in a field that is not read",
    "half of a surrogate pair in a field that is not read",
    "more than 100 levels in a field that is not read",
}

# The formats that the library has, and their bits.
BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
NAMES = ["a", "b", "lm_head.weight", "model.embed_tokens.weight", "", "é", "😀", "a\0", "\x1b[2J\n"]
NUMBERS = [
    *("0", "1", "2", "3", "4", "8", "16", "-1", "-0", "1.0", "4e0", "1e400", "04", "+4", "NaN"),
    *("null", "true", '"4"', "[]", "{}", str(2**31), str(2**32), str(2**40), str(2**63 - 1)),
    *(str(2**63), str(2**64 - 1), str(2**64), "9" * 400, "9" * 5000),
]
UNREAD = [
    *("1", "-0", "1.5e300", "null", "[[],{}]", '{"dtype":"F32","b":[true]}', r'"\ud83d\ude00"'),
    *('{"a":1,"a":1}', "1e400", "9" * 400, r'"\ud800"', r'{"\udc00":1}', "[" * 200 + "]" * 200),
    *("[" * 60 + "]" * 60, "NaN", '"é\x7f"', '"\x01"', "01", "[1,]"),
]
METADATA = [
    *("{}", '{"format":"pt"}', '{"a":"","\\u0061":""}', '{"é":"😀","":"\\u0000"}', '{"a":1}'),
    *("null", "[]", '{"a":null}', r'{"a":"\ud800"}', r'{"\udfff":""}', '{"a":{}}'),
]
# What tensors hold: no byte is where its neighbour of a few kB before was.
DATA = b"".join(bytes((i * 37 + block) % 251 for i in range(251)) for block in range(512))
SPACES = ["", " ", "\n\t", "\r"]


# Strategies for safetensors


def wrapped(header: bytes, data: bytes, *, lie: int = 0) -> bytes:
    """Return a file, the header's length off by so much."""
    return max(0, len(header) + lie).to_bytes(8, "little") + header + data


@st.composite
def spelt(draw: st.DrawFn, text: str) -> str:
    """Return some way to write a string in JSON."""
    ways = [json.dumps(text), json.dumps(text)]
    units = text.encode("utf-16-be").hex()
    ways.append('"' + "".join(rf"\u{units[i : i + 4]}" for i in range(0, len(units), 4)) + '"')
    ways.append(json.dumps(text, ensure_ascii=False))
    return draw(st.sampled_from(ways))


@st.composite
def safetensors_files(draw: st.DrawFn, most_mistakes: int = 2) -> bytes:
    """Return a file by the format's grammar, with some mistakes."""
    mistakes = Counter(draw(st.lists(st.sampled_from(MISTAKES), max_size=most_mistakes)))
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=not mistakes["name"]))
    tensors: list[tuple[str, str, list[int], list[int]]] = []
    at = 0
    for name in names:
        dtype = draw(st.sampled_from(list(BITS)))
        shape = draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 8]), max_size=3))
        n_bits = BITS[dtype] * int(np.prod(shape, dtype=np.int64))
        if n_bits % 8:
            shape, n_bits = [*shape, 8], n_bits * 8
        tensors.append((name, dtype, shape, [at, at + n_bits // 8]))
        at += n_bits // 8
    # A mistake is made somewhere.
    hit = draw(st.integers(0, len(tensors) - 1)) if tensors else 0
    members = []
    for n, (name, dtype, shape, offsets) in enumerate(draw(st.permutations(tensors))):
        wrong = mistakes if n == hit else Counter()
        numbers = [str(number) for number in (*shape, *offsets)]
        for _ in range(wrong["number"]):
            numbers[draw(st.integers(0, len(numbers) - 1))] = draw(st.sampled_from(NUMBERS))
        for _ in range(wrong["offset"]):
            i = draw(st.integers(1, 2))
            numbers[-i] = str(offsets[-i] + draw(st.sampled_from([-1, 1, 4])))
        sizes, begin_end = ",".join(numbers[:-2]), ",".join(numbers[-2:])
        text = json.dumps(dtype)
        if wrong["dtype"]:
            text = draw(
                st.sampled_from(['"F128"', '"f32"', '""', "1", '{"F32":null}', r'"\ud800"'])
            )
        fields = [("dtype", text), ("shape", f"[{sizes}]"), ("data_offsets", f"[{begin_end}]")]
        if wrong["list"]:
            members.append((name, f"[{','.join(value for _, value in fields)}]"))
            continue
        if wrong["unread"] or draw(st.integers(0, 9)) == 0:
            fields.append(("x", draw(st.sampled_from(UNREAD))))
        if wrong["field"]:
            which = draw(st.integers(0, len(fields) - 1))
            fields += [fields[which]] if draw(st.booleans()) else []
            fields.pop(which)
        parts = [f"{draw(spelt(k))}:{v}" for k, v in draw(st.permutations(fields))]
        members.append((name, "{" + ",".join(parts) + "}"))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1 + mistakes["metadata"]]))):
        kinds = METADATA if mistakes["metadata"] else METADATA[:4:2]
        place = draw(st.integers(0, len(members)))
        members.insert(place, ("__metadata__", draw(st.sampled_from(kinds))))
    space = draw(st.sampled_from(SPACES))
    joined = f"{space},{space}".join(f"{draw(spelt(k))}{space}:{space}{v}" for k, v in members)
    text = "{" + joined + "}" + space
    if mistakes["ends"]:
        text = (
            draw(st.sampled_from([" ", "\n", ""])) + text + draw(st.sampled_from(["x", "\0", ""]))
        )
    lie, more = (
        draw(st.sampled_from([-1, 1])) if mistakes[kind] else 0 for kind in ("length", "data")
    )
    data = DATA[: max(0, at + more)]
    return wrapped(text.encode(), data, lie=lie)


MISTAKES = ["number", "number", "offset", "name", "dtype", "list", "unread", "unread", "field"]
MISTAKES += ["metadata", "metadata", "ends", "length", "data"]


# Strategies for GGUF

KINDS = [*write.LETTERS, write.STRING, write.ARRAY]
HUGE = [0, 1, 2, 255, 2**16, 2**31, 2**32 - 1, 2**60, 2**63 - 1, 2**63, 2**64 - 1]


@st.composite
def values(draw: st.DrawFn, kind: int, lies: bool) -> bytes:
    """Return a value of a type, or where there are lies perhaps one that is not."""
    lie = draw(st.sampled_from(HUGE)) if lies and draw(st.integers(0, 3)) == 0 else None
    if kind == write.STRING:
        raw = draw(st.sampled_from([b"", b"llama", "é😀".encode(), b"\xff\0"]))
        return write.string(raw, length=lie)
    if kind == write.ARRAY:
        inner = draw(st.sampled_from(KINDS))
        if inner == write.ARRAY and draw(st.booleans()):
            inner = write.UINT8
        each = draw(st.lists(values(inner, lies), max_size=3))
        return write.elements(inner, each, n=lie)
    if kind not in write.LETTERS:
        return bytes(8)
    if kind == write.BOOL:
        return bytes([draw(st.sampled_from([0, 1, 1, 2])) if lies else 1])
    size = struct.calcsize(write.LETTERS[kind])
    return draw(st.binary(min_size=size, max_size=size))


@st.composite
def gguf_files(draw: st.DrawFn, may_lie: bool = True) -> bytes:
    """Return a file by the format's grammar, or with lies about lengths, numbers and places."""
    lies = may_lie and draw(st.booleans())
    keys = [b"general.architecture", b"llama.block_count", b"k", b"", "é".encode(), b"\xff"]
    pairs = []
    for key in draw(st.lists(st.sampled_from(keys[: 5 + lies]), max_size=3, unique=not lies)):
        kind = draw(st.sampled_from(KINDS + [13] * lies))
        pairs.append(write.pair(key, kind, draw(values(kind, lies))))
    alignment = draw(st.sampled_from([8, 32, 32, 64] + [0, 1, 2, 24, 2**31] * lies))
    if alignment != 32 or draw(st.booleans()):
        value = write.number(write.UINT32, alignment)
        at = draw(st.integers(0, len(pairs)))
        pairs.insert(at, write.pair(b"general.alignment", write.UINT32, value))
    tensors, place, end = [], 0, 0
    names = [b"token_embd.weight", b"output.weight", b"output_norm.weight", b"", "é".encode()]
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=not lies)):
        number = draw(st.sampled_from([0, 0, 1, 8, *GGML_TYPES] + [4, 99] * lies))
        form = GGML_TYPES.get(number, GGML_TYPES[0])
        dims = draw(st.lists(st.integers(1, 3), max_size=4))
        if form.block_values > 1 and not dims:
            dims = [1]
        n_blocks = int(np.prod(dims, dtype=np.int64))
        dims[:1] = [d * form.block_values for d in dims[:1]]
        length = n_blocks * form.block_bytes
        offset, n_dims = place, None
        if lies and draw(st.integers(0, 3)) == 0:
            which = draw(st.integers(0, 2))
            if which == 0 and dims:
                dims[draw(st.integers(0, len(dims) - 1))] = draw(st.sampled_from(HUGE))
            elif which == 1:
                offset = draw(st.sampled_from([*HUGE, 32, 64, place + 1, place + 32]))
            else:
                n_dims = draw(st.sampled_from([0, 5, 2**31]))
        tensors.append(write.described(name, dims, number, offset, n_dims=n_dims))
        end = place + length
        place = -(-end // (alignment or 32)) * (alignment or 32)
    count: dict[str, Any] = {}
    if lies and draw(st.integers(0, 3)) == 0:
        count[draw(st.sampled_from(["n_pairs", "n_tensors", "version"]))] = draw(
            st.sampled_from([*HUGE[:7], 3, 4])
        )
    data = DATA[:end]
    used = alignment if 0 < alignment <= 64 else 32
    order = draw(st.permutations(tensors))
    return write.gguf(pairs, order, data, alignment=used, **count)


# Mutations of either

TOKENS = [
    text.encode() for text in [*NUMBERS, *UNREAD, "{", "}", "[", "]", ",", ":", '"', "\\", " "]
]
PACKED = [struct.pack("<Q", number) for number in HUGE] + [struct.pack("<I", n) for n in HUGE[:7]]


def mutant(raw: bytes, random: Random, *, is_json: bool) -> bytes:
    """Return a file with bytes flipped, put in, taken out, doubled, cut off or overwritten."""
    start = 8 if is_json and random.random() < 0.7 else 0
    body = bytearray(raw[start:])
    for _ in range(random.choice([1, 1, 2, 4])):
        i = random.randint(0, len(body))
        j = min(len(body), i + random.choice([1, 1, 2, 4, 8, 32]))
        token = random.choice(TOKENS if is_json else PACKED)
        match random.randrange(8):
            case 0 if i < len(body):
                body[i] ^= random.randint(1, 255)
            case 1:
                body[i:i] = token
            case 2:
                del body[i:j]
            case 3:
                body[i:i] = body[i:j]
            case 4:
                del body[i:]
            case 5:
                body += random.randbytes(random.randint(1, 8))
            case 6:
                body[i : i + len(token)] = token
            case _ if is_json:
                # Another number in place of a digit of one.
                digits = [n for n, byte in enumerate(body[:2000]) if byte in b"0123456789"]
                if digits:
                    n = random.choice(digits)
                    body[n : n + 1] = random.choice(TOKENS[: len(NUMBERS)])
    if not start:
        return bytes(body)
    # The header's length is that of one that has grown or shrunk.
    length = int.from_bytes(raw[:8], "little") + len(body) + start - len(raw)
    return max(0, length).to_bytes(8, "little") + body


def mutated(files: st.SearchStrategy[bytes], *, is_json: bool) -> st.SearchStrategy[list[bytes]]:
    """Return some mutants of one file: to make them by Hypothesis takes longer than to try them."""

    def of(drawn: tuple[bytes, int]) -> list[bytes]:
        random = Random(drawn[1])
        return [mutant(drawn[0], random, is_json=is_json) for _ in range(8)]

    return st.tuples(files, st.integers(0, 2**32 - 1)).map(of)


# What must hold of both


@contextmanager
def bounded() -> Iterator[None]:
    """Hold what happens within to the time and the memory that a small file may take."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert time.process_time() - began < MOST_SECONDS
        assert peak < MOST_BYTES, peak
    finally:
        tracemalloc.stop()


def outcome(read: Callable[[ByteSource], T], source: ByteSource) -> T | IsologitError:
    """Return what a reader returns, or its refusal, having held that to what refusals are."""
    try:
        return read(source)
    except IsologitError as error:
        message = str(error)
        assert message.isprintable()
        assert 0 < len(message) < 1000
        return error


def agree(one: object, other: object) -> None:
    """Check that two ways to the same bytes end in the same."""
    if isinstance(one, IsologitError):
        assert type(one) is type(other), (one, other)
    else:
        assert not isinstance(other, IsologitError), other


def written(raw: bytes, path: Path) -> MappedFile:
    """Write a file and map it."""
    path.unlink(missing_ok=True)  # what is mapped still stays as it is
    path.write_bytes(raw)
    return MappedFile(path)


def check_opening(path: Path) -> None:
    """Check that a file is opened and its head read, or refused by one of our errors."""
    said = ""
    try:
        find_head(open_checkpoint(path))
    except IsologitError as error:
        said = str(error)
    assert said.isprintable()


# What must hold of safetensors


def check_safetensors(raw: bytes, folder: Path) -> str:
    """Check all that must hold of some bytes as a safetensors file; return what became of them."""
    source = written(raw, folder / "model.safetensors")
    with bounded():
        ours = outcome(read_header, source)
    agree(ours, outcome(read_header, write.Bytes(raw)))
    with windows_of(len(raw) % 7 + 1):
        again = outcome(read_header, source)
    agree(ours, again)
    if isinstance(ours, Header):
        assert again == ours
    check_opening(folder / "model.safetensors")
    theirs = library_tensors(raw)
    found = deviations(raw)
    match ours, theirs:
        case Header(), None:
            assert found & LAXER, f"the library refuses what is read: {raw!r}"
            return "laxer"
        case IsologitError(), dict():
            excused = [words for kind, words in STRICTER.items() if kind in found]
            assert any(words in str(ours) for words in excused), f"{ours}: {raw!r}"
            return "stricter"
        case Header(), dict():
            assert not found & set(STRICTER), (found, raw)
            mine = {
                name: (info.dtype, info.shape, bytes(source.read(info.offset, info.length)))
                for name, info in ours.tensors.items()
            }
            assert mine == theirs
            with safe_open(folder / "model.safetensors", framework="numpy") as peer:
                assert (peer.metadata() or {}) == ours.metadata
            return "both read"
    return "both refuse"


@contextmanager
def windows_of(size: int) -> Iterator[None]:
    """Read JSON in windows of so many bytes meanwhile."""
    usual = strict_json._WINDOW
    strict_json._WINDOW = size
    try:
        yield
    finally:
        strict_json._WINDOW = usual


def library_tensors(raw: bytes) -> Mapping[str, tuple[str, tuple[int, ...], bytes]] | None:
    """Return what the safetensors library makes of a file; None where it refuses."""
    try:
        found = deserialize(raw)  # type: ignore[no-untyped-call]
    except SafetensorError:
        return None
    return {
        name: (each["dtype"], tuple(each["shape"]), bytes(each["data"])) for name, each in found
    }


class Pairs(list[tuple[str, Any]]):
    """A JSON object, with the keys that are given twice."""

    @property
    def repeats(self) -> bool:
        """Whether there are such."""
        return len({key for key, _ in self}) < len(self)


class Digits(str):
    """A JSON number as it is written."""

    __slots__ = ()


def deviations(raw: bytes) -> set[str]:
    """Return what a header has of all in which the readers differ, by another parser than ours."""
    text = raw[8 : 8 + int.from_bytes(raw[:8], "little")].decode(errors="replace")
    found = {"spaces before the header"} if text[:1] in set(" \t\n\r") else set()
    try:
        header = json.loads(
            text,
            object_pairs_hook=Pairs,
            parse_int=Digits,
            parse_float=Digits,
            parse_constant=Digits,
        )
    except (ValueError, RecursionError):
        return found
    if not isinstance(header, Pairs):
        return found
    if header.repeats:
        found.add("a name twice")
    for name, value in header:
        if name == "__metadata__":
            if value is None:
                found.add("metadata that is null")
            elif isinstance(value, Pairs) and value.repeats:
                found.add("a key of the metadata twice")
        elif isinstance(value, Pairs):
            for key, inner in value:
                found |= _deviations_of_field(key, inner)
            if {key for key, _ in value if [k for k, _ in value].count(key) > 1} - FIELDS:
                found.add("a key twice in a field that is not read")
        elif isinstance(value, list):
            found.add("a tensor that is a list")
    return found


FIELDS = {"dtype", "shape", "data_offsets"}


def _deviations_of_field(key: str, value: Any) -> set[str]:
    found = set()
    if key == "dtype":
        if isinstance(value, Pairs):
            found.add("a dtype that is an object")
        elif isinstance(value, str) and not isinstance(value, Digits) and value not in BITS:
            found.add("an unknown dtype")
    elif key in FIELDS:
        numbers = [each for each in value if isinstance(each, Digits)] if value else []
        if "-0" in numbers:
            found.add("minus zero")
        if key == "shape":
            product = 1
            for each in numbers:
                size = int(each) if each.isdigit() and len(each) < 30 else 0
                product *= size
                if size >= 2**63:
                    found.add("a size past 63 bits")
                if product >= 2**64:
                    found.add("a shape that overflows before its zero")
    else:
        found |= _deviations_of_unread([key, value], 0)
    return found


def _deviations_of_unread(value: Any, depth: int) -> set[str]:
    found = {"more than 100 levels in a field that is not read"} if depth > 100 else set()
    if isinstance(value, Pairs):
        if value.repeats:
            found.add("a key twice in a field that is not read")
        value = [part for pair in value for part in pair]
    if isinstance(value, list):
        for part in value:
            found |= _deviations_of_unread(part, depth + 1)
    elif isinstance(value, Digits):
        if abs(float(value)) == float("inf"):
            found.add("a number past binary64 in a field that is not read")
    elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        found.add("half of a surrogate pair in a field that is not read")
    return found


# What must hold of GGUF


def check_gguf(raw: bytes, folder: Path) -> str:
    """Check all that must hold of some bytes as a GGUF file; return what became of them."""
    path = folder / "model.gguf"
    source = written(raw, path)
    with bounded():
        ours = outcome(read_gguf, source)
    with bounded():
        again = outcome(read_gguf, write.Bytes(raw))
    agree(ours, again)
    check_opening(path)
    if isinstance(ours, IsologitError):
        return "refused"
    assert isinstance(again, GgufHeader)
    assert [(t.name, t.offset) for t in ours.tensors.values()] == [
        (t.name, t.offset) for t in again.tensors.values()
    ]
    for info in ours.tensors.values():
        assert 0 <= info.offset <= info.offset + info.length <= source.size
    for one, other in pairwise(sorted(ours.tensors.values(), key=lambda t: (t.offset, t.length))):
        assert one.offset + one.length <= other.offset
    metadata = {key: plain(value) for key, value in ours.metadata.items()}
    assert repr(metadata) == repr({key: plain(value) for key, value in again.metadata.items()})
    try:
        peer = GGUFReader(path)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, UnicodeDecodeError):
        return "read by us alone"
    assert set(metadata) == {key for key in peer.fields if not key.startswith("GGUF.")}
    for key, value in metadata.items():
        field = peer.fields[key]
        # Of arrays in arrays it says no more than the numbers, one after the other.
        if field.types.count(GGUFValueType.ARRAY) < 2 and is_utf8(field.contents):
            assert repr(value) == repr(field.contents()), key
    assert [(t.name, t.dtype, t.shape, t.offset, t.length) for t in ours.tensors.values()] == [
        (t.name, t.tensor_type.name, tuple(t.shape.tolist()[::-1]), t.data_offset, t.n_bytes)
        for t in peer.tensors
    ]
    for tensor in peer.tensors:
        info = ours.tensors[tensor.name]
        assert bytes(source.read(info.offset, info.length)) == tensor.data.tobytes()
    return "both read"


def plain(value: Any) -> Any:
    """Return a value of the metadata as Python's own."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):
        assert not value.flags.writeable
        return value.tolist()
    return list(value) if isinstance(value, StringArray) else value


def is_utf8(contents: Callable[[], Any]) -> bool:
    """Whether gguf-py can tell a field's contents: it does not replace what is not UTF-8."""
    try:
        contents()
    except UnicodeDecodeError:
        return False
    return True


Check = Callable[[bytes, Path], str]

TARGETS: dict[str, tuple[Check, st.SearchStrategy[list[bytes]]]] = {
    "safetensors grammar": (check_safetensors, safetensors_files().map(lambda raw: [raw])),
    "safetensors mutations": (check_safetensors, mutated(safetensors_files(0), is_json=True)),
    "gguf grammar": (check_gguf, gguf_files().map(lambda raw: [raw])),
    "gguf mutations": (check_gguf, mutated(gguf_files(may_lie=False), is_json=False)),
}


def check_all(check: Check, files: list[bytes], folder: Path) -> Iterator[str]:
    """Check some files, and where one does not hold say which."""
    for raw in files:
        try:
            yield check(raw, folder)
        except BaseException as error:
            error.add_note(f"of {raw!r}")
            raise


def main() -> None:
    """Run every target in turn until the time is up; a falsifying example ends it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    became: dict[str, Counter[str]] = {name: Counter() for name in TARGETS}
    n = 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            name = list(TARGETS)[n % len(TARGETS)]
            run(name, options.seed * 1_000_000 + n, Path(folder), became[name], end)
            n += 1
    for name, counts in became.items():
        print(f"{name}: {counts.total():,} ({dict(counts.most_common())})")


def run(name: str, number: int, folder: Path, became: Counter[str], end: float) -> None:
    """Run a target once with a seed, for some hundred examples or to the end of the time."""
    check, files = TARGETS[name]

    def once(raw: list[bytes]) -> None:
        if time.monotonic() < end:
            became.update(check_all(check, raw, folder))

    every = list(HealthCheck)
    usual = settings(max_examples=500, database=None, deadline=None, suppress_health_check=every)
    seed(number)(usual(given(files)(once)))()


if __name__ == "__main__":
    main()
