"""NumPy files: tensors as numpy itself reads them, in place where they lie so, unpacked else."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from isologit.checkpoint import numpy_file, zip_members
from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.numpy_file import read_npy, read_npz
from isologit.checkpoint.tensors import Container, MappedTensors, TensorsInMemory
from isologit.errors import UnsupportedFormatError

Array = npt.NDArray[Any]

NAMES = {
    np.float16: "F16",
    np.float32: "F32",
    np.float64: "F64",
    np.int8: "I8",
    np.int16: "I16",
    np.int32: "I32",
    np.int64: "I64",
    np.uint8: "U8",
    np.uint16: "U16",
    np.uint32: "U32",
    np.uint64: "U64",
    np.bool_: "BOOL",
    np.complex64: "C64",
}


def saved(path: Path, array: Array) -> Container:
    """Save an array and read it."""
    np.save(path, array)
    return read_npy(MappedFile(path))


@pytest.mark.parametrize("dtype", NAMES)
def test_an_array_is_one_tensor_called_w(tmp_path: Path, dtype: Any) -> None:
    array = np.arange(12).reshape(4, 3).astype(dtype)
    container = saved(tmp_path / "w.npy", array)
    assert isinstance(container, MappedTensors)
    (info,) = container.tensors.values()
    assert (info.name, info.dtype, info.shape) == ("W", NAMES[dtype], (4, 3))
    assert (info.file, info.length) == (container.name, array.nbytes)
    assert bytes(container.read(info)) == array.tobytes()
    raw = (tmp_path / "w.npy").read_bytes()
    assert raw[info.offset :] == array.tobytes()


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (2, 3, 4), (1, 1)])
def test_every_number_of_dimensions_is_listed(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype=np.float32)
    container = saved(tmp_path / "w.npy", array)
    info = container.tensors["W"]
    assert (info.shape, info.length) == (shape, array.nbytes)
    assert bytes(container.read(info)) == array.tobytes()


@given(
    drawn.arrays(
        st.sampled_from([">f4", "<f4", ">f2", "<f8", ">f8", ">i2", "<c8", ">c8", "|u1"]),
        drawn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    ),
    st.booleans(),
)
def test_every_order_comes_out_little_endian_and_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, array: Array, by_columns: bool
) -> None:
    path = tmp_path_factory.mktemp("npy") / "w.npy"
    arranged = np.asfortranarray(array) if by_columns else np.ascontiguousarray(array)
    container = saved(path, arranged)
    info = container.tensors["W"]
    assert info.shape == arranged.shape
    assert info.length == arranged.nbytes
    swapped = arranged.byteswap() if arranged.dtype.byteorder == ">" else arranged
    assert bytes(container.read(info)) == swapped.tobytes(order="C")


@pytest.mark.parametrize("word", [0x7F800001, 0xFFA00000, 0x80000000, 1])
def test_bits_of_a_big_endian_array_survive(tmp_path: Path, word: int) -> None:
    array = np.array([[word]], dtype=">u4").view(">f4")
    container = saved(tmp_path / "w.npy", array)
    assert isinstance(container, TensorsInMemory)
    assert int.from_bytes(container.read(container.tensors["W"]), "little") == word


def test_an_array_by_columns_is_copied_once(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    container = saved(tmp_path / "w.npy", array)
    assert isinstance(container, TensorsInMemory)
    info = container.tensors["W"]
    first = container.read(info)
    assert bytes(first) == array.tobytes(order="C") != array.tobytes(order="F")
    assert container.read(info) is first


def test_one_dimension_has_no_order(tmp_path: Path) -> None:
    path = tmp_path / "w.npy"
    np.save(path, np.arange(3, dtype=np.float32))
    path.write_bytes(path.read_bytes().replace(b"False", b"True "))
    container = read_npy(MappedFile(path))
    assert isinstance(container, MappedTensors)
    assert bytes(container.read(container.tensors["W"])) == np.arange(3, dtype="<f4").tobytes()


def test_bfloat16_comes_back_as_bfloat16(tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    container = saved(tmp_path / "w.npy", array)
    assert container.tensors["W"].dtype == "BF16"
    assert bytes(container.read(container.tensors["W"])) == array.tobytes()


def test_bfloat16_by_columns_comes_back_row_by_row(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16))
    container = saved(tmp_path / "w.npy", array)
    assert bytes(container.read(container.tensors["W"])) == array.tobytes(order="C")


def test_a_number_of_eight_bits_that_numpy_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"stored as \|V1, .* save it as safetensors"):
        saved(tmp_path / "w.npy", np.ones((2, 3), dtype=ml_dtypes.float8_e4m3fn))


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array(["a", "bc"]), "<U2"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "<M8[D]"),
        (np.zeros(2, dtype=[("a", "<f4"), ("b", "<i2")]), "|V6"),
        (np.zeros(2, dtype=np.complex128), "<c16"),
        (np.zeros(2, dtype=np.longdouble), np.dtype(np.longdouble).str),
    ],
)
def test_other_formats_are_listed_by_numpy_s_name(tmp_path: Path, array: Array, dtype: str) -> None:
    container = saved(tmp_path / "w.npy", array)
    assert container.tensors["W"].dtype == dtype
    assert container.tensors["W"].length == array.nbytes


def test_a_header_of_python_2_is_read_without_a_warning(tmp_path: Path) -> None:
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }"
    raw = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)
    (tmp_path / "w.npy").write_bytes(raw)
    assert read_npy(MappedFile(tmp_path / "w.npy")).tensors["W"].shape == (2, 1)


def test_version_2_is_read(tmp_path: Path) -> None:
    array = np.arange(3, dtype=np.int32)
    with (tmp_path / "w.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))
    container = read_npy(MappedFile(tmp_path / "w.npy"))
    assert bytes(container.read(container.tensors["W"])) == array.tobytes()


ARRAYS: dict[str, Array] = {
    "W": np.arange(20_000, dtype=np.float32).reshape(200, 100),
    "w": np.ones((2, 2), dtype=np.float16),
    "layers/0.weight": np.arange(3, dtype=ml_dtypes.bfloat16),
    "scalar": np.array(2.5),
    "empty": np.ones((0, 4), dtype=np.float32),
}


def archive(
    path: Path, write: Callable[..., None], arrays: Mapping[str, Array] = ARRAYS
) -> Container:
    """Write arrays and read them."""
    write(path, **arrays)
    return read_npz(MappedFile(path))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_an_archive_holds_its_arrays(tmp_path: Path, write: Callable[..., None]) -> None:
    container = archive(tmp_path / "a.npz", write)
    assert list(container.tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        info = container.tensors[name]
        assert (info.name, info.shape, info.length) == (name, array.shape, array.nbytes)
        assert bytes(container.read(info)) == array.tobytes()
    assert container.tensors["layers/0.weight"].dtype == "BF16"
    places = [(i.offset, i.length) for i in container.tensors.values() if i.length]
    assert len(set(places)) == len(places)


def test_what_is_not_compressed_lies_where_it_is_said_to(tmp_path: Path) -> None:
    container = archive(tmp_path / "a.npz", np.savez)
    assert isinstance(container, MappedTensors)
    raw = (tmp_path / "a.npz").read_bytes()
    for name, array in ARRAYS.items():
        info = container.tensors[name]
        assert raw[info.offset : info.offset + info.length] == array.tobytes()


def test_only_the_array_that_is_asked_for_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[str] = []

    def note(source: Any, member: Any) -> memoryview:
        unpacked.append(member.name)
        return zip_members.unpack(source, member)

    monkeypatch.setattr(numpy_file, "unpack", note)
    container = archive(tmp_path / "a.npz", np.savez_compressed)
    assert isinstance(container, TensorsInMemory)
    assert unpacked == []
    for _ in range(2):
        container.read(container.tensors["W"])
    assert unpacked == ["W.npy"]


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_an_archive_of_both_orders_gives_both(tmp_path: Path, names: str) -> None:
    straight, turned = np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(3, 2))
    arrays = {"a": straight, "b": turned}
    container = archive(tmp_path / "a.npz", np.savez, {name: arrays[name] for name in names})
    assert bytes(container.read(container.tensors["a"])) == straight.tobytes()
    assert bytes(container.read(container.tensors["b"])) == turned.tobytes(order="C")


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_digests_are_of_the_bytes_that_are_read(tmp_path: Path, write: Callable[..., None]) -> None:
    container = archive(tmp_path / "a.npz", write)
    info = container.tensors["W"]
    expected = sha256(ARRAYS["W"].tobytes()).hexdigest()
    assert container.digest(info).result(timeout=60) == expected
    assert container.missing(info) == 0
    container.require_unchanged()
