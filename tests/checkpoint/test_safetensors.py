"""The header reader beside the safetensors library, on real files and on made-up ones."""

import json
from pathlib import Path

import ml_dtypes  # noqa: F401  (teaches the library's numpy loader bf16)
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.open import open_checkpoint
from isologit.checkpoint.safetensors import Header, read_header
from isologit.errors import UnsupportedFormatError


class InMemory:
    """A `ByteSource` that is no file."""

    def __init__(self, raw: bytes) -> None:
        self.name, self.size, self._raw = "memory", len(raw), memoryview(raw)

    def read(self, offset: int, length: int) -> memoryview:
        return self._raw[offset : offset + length]


REAL = [
    "llama2xs-hf-bf16/model.safetensors",
    "llama2xs-hf-f32/model.safetensors",
    "llama2xs-hf-bf16-untied-sharded/model-00001-of-00002.safetensors",
    "llama2xs-hf-bf16-untied-sharded/model-00002-of-00002.safetensors",
    "rwkv-4v0-660K-fp16/model.safetensors",
]


@pytest.mark.parametrize("file", REAL)
def test_every_tensor_of_a_real_file_is_what_the_library_reads(shared: Path, file: str) -> None:
    path = shared / "checkpoints" / file
    source = MappedFile(path)
    header = read_header(source)
    with safe_open(path, framework="numpy") as peer:
        assert set(header.tensors) == set(peer.keys())
        assert dict(header.metadata) == (peer.metadata() or {})
        for name, info in header.tensors.items():
            expected = peer.get_tensor(name)
            assert info.shape == expected.shape
            assert info.dtype == peer.get_slice(name).get_dtype()
            assert bytes(source.read(info.offset, info.length)) == expected.tobytes()


@pytest.mark.parametrize("file", REAL)
def test_matrices_and_vectors_of_a_real_file_have_the_library_s_words(
    shared: Path, file: str
) -> None:
    path = shared / "checkpoints" / file
    checkpoint = open_checkpoint(path)
    with safe_open(path, framework="numpy") as peer:
        for name, info in checkpoint.tensors.items():
            read = checkpoint.matrix if len(info.shape) == 2 else checkpoint.vector
            words = read(name).words
            np.testing.assert_array_equal(words, peer.get_tensor(name).view(words.dtype))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.lists(st.integers(0, 4), max_size=3),
        min_size=1,
        max_size=5,
    ),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.sampled_from(["float32", "float16", "uint8", "int64", "bool", "float64"]),
)
def test_whatever_the_library_writes_is_read_back(
    shapes: dict[str, list[int]], metadata: dict[str, str], dtype: str
) -> None:
    arrays = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}
    header = read_header(InMemory(save(arrays, metadata)))
    assert {n: list(t.shape) for n, t in header.tensors.items()} == shapes
    assert {n: t.length for n, t in header.tensors.items()} == {
        n: a.nbytes for n, a in arrays.items()
    }
    assert dict(header.metadata) == metadata


def with_data_at(n_padding: int, tmp_path: Path) -> tuple[Path, Header]:
    """Write one matrix after a header of some more spaces, so that data begins anywhere."""
    words = np.arange(6, dtype="<u2")
    entry = {"W": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [0, 12]}}
    header = json.dumps(entry).encode() + b" " * n_padding
    path = tmp_path / f"W{n_padding}.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + words.tobytes())
    return path, read_header(MappedFile(path))


@pytest.mark.parametrize("n_padding", range(4))
def test_data_at_any_byte_alignment_is_read_as_stored(tmp_path: Path, n_padding: int) -> None:
    path, header = with_data_at(n_padding, tmp_path)
    words = open_checkpoint(path).matrix("W").words
    assert words.flags.aligned == (header.tensors["W"].offset % 2 == 0)
    np.testing.assert_array_equal(words, np.arange(6).reshape(3, 2))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bool"])
def test_a_format_that_is_not_read_is_listed_and_refused_by_name_when_used(
    tmp_path: Path, dtype: str
) -> None:
    path = tmp_path / "W.safetensors"
    path.write_bytes(save({"W": np.zeros((3, 2), dtype)}))
    checkpoint = open_checkpoint(path)
    stored = checkpoint.tensors["W"].dtype
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.matrix("W")
    assert str(caught.value) == (
        f"{path}: W is stored as {stored}; BF16, F16, F32, F64, F8_E4M3, F8_E5M2, F8_E4M3FNUZ, "
        "F8_E5M2FNUZ, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K are read. "
        "Convert it to one of these, or name another tensor"
    )


def test_a_format_that_no_one_knows_is_listed_too(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F2_NEW","shape":[9,9],"data_offsets":[0,3]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"abc")
    assert open_checkpoint(path).tensors["a"].dtype == "F2_NEW"
