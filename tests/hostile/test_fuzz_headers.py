"""The fuzz target for some seconds, and each way in which our reader differs from the library."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

import gguf_files as write
from hostile import fuzz
from hostile.fuzz import LAXER, STRICTER, TARGETS, check_all, deviations, wrapped
from isologit.checkpoint.gguf import read_gguf
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.strict_json import members
from isologit.errors import CheckpointError, IsologitError

EXAMPLES = 150


def outcomes(name: str, folder: Path) -> Counter[str]:
    """Run a target for some examples, and count what became of them."""
    check, files = TARGETS[name]
    became: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES)
    @given(files)
    def run(raw: list[bytes]) -> None:
        became.update(check_all(check, raw, folder))

    run()
    return became


# That the strategies reach what they are for is a part of each test: of few that are refused for
# one reason, or read, little would follow.


def test_headers_by_the_grammar_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    became = outcomes("safetensors grammar", tmp_path)
    assert became["both read"] > EXAMPLES / 5
    assert became["both refuse"] > EXAMPLES / 10
    assert became["stricter"] > 0


def test_mutants_of_headers_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    became = outcomes("safetensors mutations", tmp_path)
    assert became["both read"] > EXAMPLES / 20
    assert became["both refuse"] > EXAMPLES


def test_gguf_headers_by_the_grammar_are_read_as_gguf_py_reads_them(tmp_path: Path) -> None:
    became = outcomes("gguf grammar", tmp_path)
    assert became["both read"] > EXAMPLES / 5
    assert became["refused"] > EXAMPLES / 10


def test_mutants_of_gguf_headers_are_read_as_gguf_py_reads_them(tmp_path: Path) -> None:
    became = outcomes("gguf mutations", tmp_path)
    assert became["both read"] > EXAMPLES / 2
    assert became["refused"] > EXAMPLES


def test_the_script_says_what_it_did() -> None:
    command = [sys.executable, fuzz.__file__, "--seconds", "1", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(TARGETS)


# The differences, one by one

ONE = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]%b}'


def of_one(more: bytes = b"", old: bytes = b"", new: bytes = b"") -> bytes:
    """Return a file of one tensor, with more in its description, or something else."""
    return wrapped((b"{" + ONE % more + b"}").replace(old, new, 1), b"1234")


def of_none(old: bytes, new: bytes) -> bytes:
    """Return a file of a tensor without bytes, with something else in its description."""
    header = b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    assert old in header
    return wrapped(header.replace(old, new), b"")


EXAMPLES_OF_STRICTER = {
    "a name twice": wrapped(b"{" + ONE % b"" + b"," + ONE % b"" + b"}", b"1234"),
    "a key of the metadata twice": wrapped(b'{"__metadata__":{"a":"b","a":"b"}}', b""),
    "a key twice in a field that is not read": of_one(b',"x":{"a":1,"a":1}'),
    "spaces before the header": of_one(old=b"{", new=b" {"),
    "a tensor that is a list": wrapped(b'{"a":["F32",[1],[0,4]]}', b"1234"),
    "a dtype that is an object": of_one(old=b'"F32"', new=b'{"F32":null}'),
    "metadata that is null": wrapped(b'{"__metadata__":null}', b""),
    "a size past 63 bits": of_none(b"[0]", b"[0,9223372036854775808]"),
}
EXAMPLES_OF_LAXER = {
    "an unknown dtype": of_one(old=b"F32", new=b"F33"),
    "minus zero": of_one(old=b"[0,", new=b"[-0,"),
    "a shape that overflows before its zero": of_none(b"[0]", b"[4294967296,4294967296,0]"),
    "a number past binary64 in a field that is not read": of_one(b',"x":1e400'),
    "half of a surrogate pair in a field that is not read": of_one(rb',"x":"\ud800"'),
    "more than 100 levels in a field that is not read": of_one(b',"x":' + b"[" * 200 + b"]" * 200),
}


def test_every_difference_has_an_example() -> None:
    assert set(EXAMPLES_OF_STRICTER) == set(STRICTER)
    assert set(EXAMPLES_OF_LAXER) == LAXER


@pytest.mark.parametrize("kind", EXAMPLES_OF_STRICTER)
def test_the_library_reads_what_is_refused(kind: str, tmp_path: Path) -> None:
    raw = EXAMPLES_OF_STRICTER[kind]
    assert deviations(raw) == {kind}
    assert len(deserialize(raw)) <= 1  # type: ignore[no-untyped-call]
    with pytest.raises(IsologitError) as refusal:
        read_header(write.Bytes(raw))
    assert STRICTER[kind] in str(refusal.value)
    assert fuzz.check_safetensors(raw, tmp_path) == "stricter"


@pytest.mark.parametrize("kind", EXAMPLES_OF_LAXER)
def test_the_library_refuses_what_is_read(kind: str, tmp_path: Path) -> None:
    raw = EXAMPLES_OF_LAXER[kind]
    assert deviations(raw) == {kind}
    with pytest.raises(SafetensorError):
        deserialize(raw)  # type: ignore[no-untyped-call]
    assert list(read_header(write.Bytes(raw)).tensors) == ["a"]
    assert fuzz.check_safetensors(raw, tmp_path) == "laxer"


@pytest.mark.parametrize(
    "raw", [of_one(), of_one(b',"x":[[1.5e300,-0]]'), wrapped(b'{"__metadata__":{"a":"b"}}', b"")]
)
def test_where_there_is_no_difference_none_is_excused(raw: bytes, tmp_path: Path) -> None:
    assert deviations(raw) == set()
    assert fuzz.check_safetensors(raw, tmp_path) == "both read"


# One change, everywhere

NUMBERED = of_one(b',"x":[7,"y"]')


@pytest.mark.parametrize("token", fuzz.NUMBERS)
def test_anything_in_place_of_a_number_is_read_as_the_library_reads_it(
    token: str, tmp_path: Path
) -> None:
    header = NUMBERED[8:-4]
    for n, byte in enumerate(header):
        if byte in b"0147":
            changed = header[:n] + token.encode() + header[n + 1 :]
            fuzz.check_safetensors(wrapped(changed, b"1234"), tmp_path)


def test_a_header_with_a_byte_less_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    header = NUMBERED[8:-4]
    for n in range(len(header)):
        without = header[:n] + header[n + 1 :]
        became = {
            fuzz.check_safetensors(raw, tmp_path)
            for raw in (wrapped(without, b"1234"), wrapped(header[:n], b"1234"), NUMBERED[:n])
        }
        assert "both refuse" in became


@pytest.mark.parametrize(
    "more", [",", ":", '"', "\\", "{", "}", "[", "]", "0", "-", "e", "\n", "\t "]
)
def test_a_header_with_something_more_is_read_as_the_library_reads_it(
    more: str, tmp_path: Path
) -> None:
    header = NUMBERED[8:-4]
    for n in range(len(header) + 1):
        with_more = header[:n] + more.encode() + header[n:]
        fuzz.check_safetensors(wrapped(with_more, b"1234"), tmp_path)


SMALL_GGUF = write.gguf(
    [
        write.pair(b"k", write.ARRAY, write.elements(write.STRING, [write.string(b"ab")] * 2)),
        write.pair(b"b", write.BOOL, b"\1"),
        write.pair(b"i", write.INT8, b"\xff"),
    ],
    [write.described(b"a", [4, 2]), write.described(b"b", [32], write.Q8_0, 32)],
    bytes(range(66)),
)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 255, 2**31, 2**63, 2**64 - 1])
def test_any_number_anywhere_in_a_gguf_header_is_read_as_gguf_py_reads_it(
    number: int, tmp_path: Path
) -> None:
    became = Counter(
        fuzz.check_gguf(SMALL_GGUF[:n] + packed + SMALL_GGUF[n + len(packed) :], tmp_path)
        for n in range(len(SMALL_GGUF) - 66)
        for packed in (number.to_bytes(8, "little")[:4], number.to_bytes(8, "little"))
    )
    assert became["refused"] > 50


# That what must hold is held


DOCUMENTS = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
        max_leaves=5,
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(DOCUMENTS, st.integers(1, 40), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_members_are_those_that_json_has_wherever_windows_end(
    document: dict[str, Any], size: int, is_ascii: bool, indent: int | str | None
) -> None:
    raw = json.dumps(document, ensure_ascii=is_ascii, indent=indent).encode()
    inside = next(iter(document), "")
    expected: list[tuple[bool, str, Any]] = []
    for key, value in json.loads(raw).items():
        is_inside = key == inside and isinstance(value, dict)
        expected.append((False, key, {} if is_inside else value))
        expected += [(True, *member) for member in value.items()] if is_inside else []
    with fuzz.windows_of(size):
        found = members([raw], where="", error=CheckpointError, inside=inside, at_most=100)
        assert list(found) == expected


@settings(max_examples=50)
@given(st.sampled_from([1, 2, 3, 7, 16, 17, 1000]), st.integers(0, 40))
def test_headers_do_not_depend_on_where_windows_end(size: int, shift: int) -> None:
    text = (
        '{"a' + "é" * shift + '":{"x":[-1.25e+17,true,null,"\\ud83d\\ude00é😀\\\\"],"dtype":"U8",'
    )
    raw = wrapped(f'{text} "shape":[12345,0],"data_offsets":[0,0]}}}}'.encode(), b"")
    with fuzz.windows_of(size):
        (info,) = read_header(write.Bytes(raw)).tensors.values()
    assert info.shape == (12345, 0)


def test_a_reader_that_takes_too_much_is_caught() -> None:
    with pytest.raises(AssertionError), fuzz.bounded():
        assert bytes(fuzz.MOST_BYTES + 1)


def test_a_refusal_of_two_lines_is_caught() -> None:
    def read(source: object) -> None:
        raise IsologitError("one\ntwo")

    with pytest.raises(AssertionError):
        fuzz.outcome(read, write.Bytes(b""))


def test_an_error_of_python_s_own_is_caught_and_the_bytes_are_shown(tmp_path: Path) -> None:
    def check(raw: bytes, folder: Path) -> str:
        raise KeyError(raw)

    with pytest.raises(KeyError) as caught:
        list(check_all(check, [b"these"], tmp_path))
    assert caught.value.__notes__ == ["of b'these'"]


def test_a_good_gguf_file_is_read_by_both(tmp_path: Path) -> None:
    tensors = [write.described(b"output.weight", [2, 3])]
    raw = write.gguf([write.pair(b"k", write.BOOL, b"\1")], tensors, bytes(24))
    assert fuzz.check_gguf(raw, tmp_path) == "both read"
    assert read_gguf(write.Bytes(raw)).metadata == {"k": True}
