"""Torch pickles beside torch's own reading of them: the same tensors, and where they lie."""

import json
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from mmap import ALLOCATIONGRANULARITY
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from checkpoint.torch_archives import repacked
from isologit.checkpoint import torch_pickle
from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.tensors import Container, MappedTensors, TensorsInMemory
from isologit.checkpoint.torch_archive import examine_archive
from isologit.checkpoint.torch_pickle import read_torch
from isologit.checkpoint.torch_placement import Storages, mapped_at
from isologit.checkpoint.zip_members import Member
from isologit.errors import (
    ChangedFileError,
    MissingExtraError,
    NotACheckpointError,
    UnsafePickleError,
)

torch = pytest.importorskip("torch")

Save = Callable[..., Container]
FORMATS = {"zip": True, "legacy": False}


@pytest.fixture
def saved(tmp_path: Path) -> Save:
    """Return a function that saves an object by torch and reads it."""

    def save(content: Any, *, as_zip: bool = True) -> Container:
        path = tmp_path / "model.pt"
        torch.save(content, path, _use_new_zipfile_serialization=as_zip)
        return read_torch(path)

    return save


def words(tensor: Any) -> bytes:
    """Return a tensor's bytes row by row, by torch."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    raw: bytes = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return raw


def content(container: Container, name: str) -> bytes:
    return bytes(container.read(container.tensors[name]))


class TestRealCheckpoint:
    """A training run's own file: CUDA-tagged, tied, with the optimizer's state."""

    @pytest.fixture
    def path(self, shared: Path) -> Path:
        return shared / "checkpoints/llama2xs-torch/ckpt.pt"

    def test_every_tensor_is_what_torch_loads(self, path: Path) -> None:
        container = read_torch(path)
        oracle = torch.load(path, map_location="cpu", weights_only=True)["model"]
        assert list(container.tensors) == list(oracle)
        for name, tensor in oracle.items():
            assert container.tensors[name].shape == tuple(tensor.shape)
            assert content(container, name) == words(tensor)

    def test_every_tensor_lies_in_the_file_where_it_is_said_to(self, path: Path) -> None:
        container = read_torch(path)
        assert isinstance(container, MappedTensors)
        raw = path.read_bytes()
        oracle = torch.load(path, map_location="cpu", weights_only=True)["model"]
        for name, info in container.tensors.items():
            assert raw[info.offset : info.offset + info.length] == words(oracle[name])

    def test_the_tie_is_seen(self, path: Path) -> None:
        tensors = read_torch(path).tensors
        head, embedding = tensors["output.weight"], tensors["tok_embeddings.weight"]
        assert (head.file, head.offset, head.length) == (
            embedding.file,
            embedding.offset,
            embedding.length,
        )
        others = [t for n, t in tensors.items() if t.offset == head.offset]
        assert {t.name for t in others} == {"output.weight", "tok_embeddings.weight"}

    def test_the_head_is_that_of_the_converted_model(self, path: Path, shared: Path) -> None:
        converted = shared / "checkpoints/llama2xs-hf-f32"
        assert json.loads((converted / "config.json").read_text())["tie_word_embeddings"]
        with safe_open(converted / "model.safetensors", "pt") as file:
            expected = words(file.get_tensor("model.embed_tokens.weight"))
        assert content(read_torch(path), "output.weight") == expected

    def test_the_optimizer_is_passed_over(self, path: Path) -> None:
        names = read_torch(path).tensors
        assert not [n for n in names if "exp_avg" in n or n == "best_val_loss"]


DTYPES = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "complex128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
}
# torch's older format knows no storage without a dtype, which is what it keeps these in.
WITHOUT_LEGACY = {n for n in DTYPES if n.startswith(("uint", "float8")) and n != "uint8"}


CASES = [(n, f) for n in DTYPES for f in FORMATS if f == "zip" or n not in WITHOUT_LEGACY]


@pytest.mark.parametrize(("name", "format_"), CASES)
def test_every_number_format_has_safetensors_name(saved: Save, name: str, format_: str) -> None:
    tensor = torch.arange(12).reshape(4, 3).to(getattr(torch, name))
    container = saved({"W": tensor}, as_zip=FORMATS[format_])
    info = container.tensors["W"]
    assert (info.dtype, info.shape, info.length) == (DTYPES[name], (4, 3), tensor.nbytes)
    assert content(container, "W") == words(tensor)


@pytest.mark.parametrize("format_", FORMATS)
class TestBothFormats:
    """What holds of the zip format and of the one before."""

    def test_names_are_kept_as_they_are(self, saved: Save, format_: str) -> None:
        names = ["module.lm_head.weight", "_orig_mod.wte.weight", "", "ü", "a b\n"]
        state = {name: torch.full((2,), float(i)) for i, name in enumerate(names)}
        container = saved(state, as_zip=FORMATS[format_])
        assert list(container.tensors) == names
        for name, tensor in state.items():
            assert content(container, name) == words(tensor)

    def test_tied_storage_has_one_place(self, saved: Save, format_: str) -> None:
        W = torch.randn(6, 4)
        tied = torch.nn.Parameter(W)
        state = {"head": W, "embed": tied, "equal": W.clone(), "part": W[2:], "flat": W.view(24)}
        container = saved(state, as_zip=FORMATS[format_])
        places = {n: (t.file, t.offset, t.length) for n, t in container.tensors.items()}
        assert places["head"] == places["embed"] == places["flat"]
        assert len({places[n] for n in ("head", "equal", "part")}) == 3
        for name, tensor in state.items():
            assert content(container, name) == words(tensor)

    def test_views_are_read_as_what_they_show(self, saved: Save, format_: str) -> None:
        W = torch.arange(24.0).reshape(6, 4)
        z, other = torch.randn(2, 3, dtype=torch.complex64).unbind()
        state = {
            "t": W.t(),
            "t again": W.t(),
            "column": W[:, 1],
            "every other": W[::2],
            "repeated": torch.tensor([1.0, 2.0]).expand(3, 2),
            "conjugate": z.clone().conj(),
            "negative": other.clone().conj().imag,
            "W": W,
        }
        container = saved(state, as_zip=FORMATS[format_])
        assert isinstance(container, TensorsInMemory)
        for name, tensor in state.items():
            info = container.tensors[name]
            assert info.shape == tuple(tensor.shape)
            assert info.length == tensor.numel() * tensor.element_size()
            assert content(container, name) == words(tensor), name
        places = {n: (t.offset, t.length) for n, t in container.tensors.items()}
        assert places["t"] == places["t again"]
        assert len(set(places.values())) == len(places) - 1

    def test_empty_and_scalar_tensors_are_listed(self, saved: Save, format_: str) -> None:
        state = {"e": torch.zeros(0, 3), "s": torch.tensor(2.5), "also": torch.zeros(2, 0)}
        container = saved(state, as_zip=FORMATS[format_])
        assert {n: t.shape for n, t in container.tensors.items()} == {
            "e": (0, 3),
            "s": (),
            "also": (2, 0),
        }
        assert {n: content(container, n) for n in state} == {n: words(t) for n, t in state.items()}

    def test_empty_tensors_alone_are_a_checkpoint(self, saved: Save, format_: str) -> None:
        container = saved({"e": torch.zeros(0, 3)}, as_zip=FORMATS[format_])
        assert content(container, "e") == b""

    @pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
    def test_what_has_no_plain_values_is_listed_and_not_read(
        self, saved: Save, format_: str
    ) -> None:
        eye = torch.eye(3)
        state = {
            "coo": eye.to_sparse(),
            "csr": eye.to_sparse_csr(),
            "meta": torch.zeros(2, 3, device="meta"),
            "W": eye,
        }
        container = saved(state, as_zip=FORMATS[format_])
        assert {n: t.dtype for n, t in container.tensors.items()} == {
            "coo": "sparse_coo",
            "csr": "sparse_csr",
            "meta": "meta",
            "W": "F32",
        }
        assert {n: len(container.read(t)) for n, t in container.tensors.items()} == {
            "coo": 0,
            "csr": 0,
            "meta": 0,
            "W": 36,
        }

    @pytest.mark.parametrize("key", torch_pickle.NESTED_KEYS)
    def test_a_nested_state_dict_is_found(self, saved: Save, format_: str, key: str) -> None:
        nested = OrderedDict(W=torch.ones(2), n=3)
        whole = {"epoch": 1, "loss": torch.tensor(0.5), key: nested}
        assert list(saved(whole, as_zip=FORMATS[format_]).tensors) == ["W"]

    def test_what_is_not_a_tensor_is_passed_over(self, saved: Save, format_: str) -> None:
        state = {"a": 1, "b": [torch.ones(2)], 3: torch.ones(2), "W": torch.ones(3), "c": None}
        assert list(saved(state, as_zip=FORMATS[format_]).tensors) == ["W"]

    def test_digests_are_of_the_bytes_that_are_read(self, saved: Save, format_: str) -> None:
        W = torch.randn(50, 4)
        container = saved({"W": W, "t": W.t()}, as_zip=FORMATS[format_])
        for name, tensor in (("W", W), ("t", W.t())):
            digest = container.digest(container.tensors[name]).result(timeout=60)
            assert digest == sha256(words(tensor)).hexdigest()
            assert container.missing(container.tensors[name]) == 0

    @pytest.mark.parametrize(
        ("whole", "says"),
        [
            ({"model": {"n": 1}, "epoch": 2}, "its keys are: model, epoch"),
            ({}, "its keys are: none"),
            ({1: 2, (3,): 4}, "its keys are: int, tuple"),
            ([1, 2], "holds one object of type list"),
            (5, "holds one object of type int"),
            ({"model": [torch.ones(2)]}, "its keys are: model"),
        ],
    )
    def test_a_file_without_named_tensors_is_no_checkpoint(
        self, saved: Save, format_: str, whole: Any, says: str
    ) -> None:
        with pytest.raises(NotACheckpointError) as caught:
            saved(whole, as_zip=FORMATS[format_])
        assert says in str(caught.value)

    def test_a_tensor_alone_is_w(self, saved: Save, format_: str) -> None:
        W = torch.randn(5, 4)
        for whole in (W, torch.nn.Parameter(W)):
            container = saved(whole, as_zip=FORMATS[format_])
            assert bytes(container.read(container.tensors["W"])) == words(W)

    def test_a_state_dict_within_a_model_s_checkpoint_is_found(
        self, saved: Save, format_: str
    ) -> None:
        inner = {"lm_head.weight": torch.randn(5, 4)}
        container = saved({"model": {"state_dict": inner, "n": 1}}, as_zip=FORMATS[format_])
        assert list(container.tensors) == ["lm_head.weight"]

    def test_a_later_change_of_the_file_is_noticed(
        self, saved: Save, format_: str, tmp_path: Path
    ) -> None:
        container = saved({"W": torch.ones(3)}, as_zip=FORMATS[format_])
        container.require_unchanged()
        with (tmp_path / "model.pt").open("ab") as file:
            file.write(b"x")
        with pytest.raises(ChangedFileError):
            container.require_unchanged()


def test_the_first_nested_key_with_tensors_counts(saved: Save) -> None:
    whole = {
        "module": {"d": torch.ones(1)},
        "model_state_dict": {"c": torch.ones(1)},
        "state_dict": {"b": torch.ones(1)},
        "model": {"a": 1},
        "top": torch.ones(1),
    }
    assert list(saved(whole).tensors) == ["b"]


def test_tensors_at_the_top_count_where_nothing_nested_has_any(saved: Save) -> None:
    whole = {"model": {"a": 1}, "state_dict": "text", "top": torch.ones(1)}
    assert list(saved(whole).tensors) == ["top"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors_have_no_shape_and_are_left_out(saved: Save) -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert list(saved({"nested": nested, "W": torch.ones(2)}).tensors) == ["W"]


@pytest.mark.filterwarnings("ignore:.*quantiz.*:UserWarning")
def test_a_quantized_tensor_is_listed_and_not_read(saved: Save) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    container = saved({"q": quantized, "W": torch.ones(2)})
    assert (container.tensors["q"].dtype, content(container, "q")) == ("qint8", b"")
    assert content(container, "W") == words(torch.ones(2))


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7", "mps", "xpu:1"])
def test_a_tensor_of_another_device_comes_to_the_cpu(
    saved: Save, tmp_path: Path, device: str
) -> None:
    W = torch.randn(3, 2)
    saved({"W": W})
    path = tmp_path / "elsewhere.pt"

    def tagged(raw: bytes) -> bytes:
        tag = b"X\x03\x00\x00\x00cpu"
        assert tag in raw
        return raw.replace(tag, b"X" + len(device).to_bytes(4, "little") + device.encode())

    repacked(tmp_path / "model.pt", path, data_pkl=tagged)
    container = read_torch(path)
    assert isinstance(container, MappedTensors)
    assert content(container, "W") == words(W)


def test_an_archive_that_zip_wrote_is_mapped_too(saved: Save, tmp_path: Path) -> None:
    state = {f"t{i}": torch.randn(3, 2) for i in range(5)}
    saved(state)
    repacked(tmp_path / "model.pt", tmp_path / "again.pt")
    container = read_torch(tmp_path / "again.pt")
    assert isinstance(container, MappedTensors)
    assert {n: content(container, n) for n in state} == {n: words(t) for n, t in state.items()}


@pytest.mark.parametrize("same_at_the_ends", [False, True])
def test_a_big_endian_archive_is_swapped_in_memory(
    saved: Save, tmp_path: Path, same_at_the_ends: bool
) -> None:
    W = torch.randn(100, 2)
    if same_at_the_ends:
        W[:40], W[60:] = 0.0, 0.0
    saved({"W": W})

    def swapped(raw: bytes) -> bytes:
        return b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))

    repacked(tmp_path / "model.pt", tmp_path / "b.pt", byteorder=lambda _: b"big", data_0=swapped)
    container = read_torch(tmp_path / "b.pt")
    assert isinstance(container, TensorsInMemory)
    assert content(container, "W") == words(W)


def test_a_file_without_a_byte_order_is_little_endian(saved: Save, tmp_path: Path) -> None:
    # As torch wrote before 2.1.
    W = torch.randn(3, 2)
    saved({"W": W})
    repacked(tmp_path / "model.pt", tmp_path / "old.pt", without=("byteorder", ".format_version"))
    container = read_torch(tmp_path / "old.pt")
    assert isinstance(container, MappedTensors)
    assert content(container, "W") == words(W)


def test_the_legacy_format_is_in_memory(saved: Save) -> None:
    assert isinstance(saved({"W": torch.ones(2)}, as_zip=False), TensorsInMemory)


def test_an_address_is_proved_by_every_storage_at_once() -> None:
    page = ALLOCATIONGRANULARITY
    source: Any = type("Source", (), {"name": "a.pt"})()

    def records(*offsets: int, size: int = 8) -> dict[int, Member]:
        return {o: Member(f"a/data/{o}", 0, o, size, size, 0) for o in offsets}

    class Storage:
        def __init__(self, address: int, size: int = 8) -> None:
            self._address, self._size = address, size

        def data_ptr(self) -> int:
            return self._address

        def nbytes(self) -> int:
            return self._size

    def at(*addresses: int) -> Storages:
        return Storages(map(Storage, addresses))

    base = 1000 * page
    # One storage for one record; for each of two; for two that are no page apart.
    assert mapped_at(source, at(base + 64), records(64)) == base
    assert mapped_at(source, at(base + 64, base + 192), records(64, 192)) == base
    assert mapped_at(source, at(base + 64), records(64, 192)) == base
    # Records a page apart: either could be it.
    assert mapped_at(source, at(base + 64), records(64, 64 + page)) is None
    assert mapped_at(source, at(base + 64, base + 128), records(64, 128, 64 + page)) == base
    # Storages that are not where records are.
    assert mapped_at(source, at(base + 64, base + 200), records(64, 192)) is None
    assert mapped_at(source, at(base + 65), records(64)) is None
    assert mapped_at(source, at(base + 64, base + 100, base + 192), records(64, 192)) is None
    assert mapped_at(source, at(), records(64)) is None


def test_memory_is_in_a_storage_from_its_begin_to_its_end() -> None:
    storages = Storages([torch.zeros(8, dtype=torch.uint8).untyped_storage() for _ in range(3)])
    for begin in storages.sizes:
        assert storages.hold(begin, 8)
        assert storages.hold(begin + 2, 6)
        assert not storages.hold(begin + 2, 7)
        assert not storages.hold(begin - 1, 2)
        assert not storages.hold(begin + 8, 1)
    assert not Storages([]).hold(0, 0)


def test_without_a_proof_the_bytes_are_taken_from_memory(
    saved: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_pickle, "mapped_at", lambda *_: None)
    W = torch.randn(3, 2)
    container = saved({"W": W, "tied": W, "b": torch.ones(2)})
    assert isinstance(container, TensorsInMemory)
    assert content(container, "W") == words(W)
    assert container.tensors["W"].offset == container.tensors["tied"].offset
    assert container.tensors["W"].offset != container.tensors["b"].offset


def test_an_address_that_the_bytes_contradict_is_not_used(
    saved: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off_by_one(*arguments: Any) -> int:
        base = mapped_at(*arguments)
        assert base is not None
        return base + 1

    monkeypatch.setattr(torch_pickle, "mapped_at", off_by_one)
    W = torch.randn(3, 2)
    container = saved({"W": W})
    assert isinstance(container, TensorsInMemory)
    assert content(container, "W") == words(W)


def test_listing_a_mapped_file_reads_none_of_its_tensors(
    saved: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by `MappedFile.read` are headers, the pickle and two ends of two tensors."""
    state = {f"t{i}": torch.zeros(1000, 100) for i in range(10)}
    saved(state)
    lengths: list[int] = []
    whole = MappedFile.read

    def read(self: MappedFile, offset: int, length: int) -> memoryview:
        lengths.append(length)
        return whole(self, offset, length)

    monkeypatch.setattr(MappedFile, "read", read)
    read_torch(tmp_path / "model.pt")
    assert 0 < sum(lengths) < 20_000


def test_every_record_is_where_torch_s_own_reader_finds_it(saved: Save, tmp_path: Path) -> None:
    saved({f"t{i}": torch.zeros(i + 1) for i in range(20)})
    path = tmp_path / "model.pt"
    oracle = torch._C.PyTorchFileReader(str(path))
    records = examine_archive(MappedFile(path)).records
    assert len(records) == 20
    for offset, member in records.items():
        assert oracle.get_record_offset(member.name.partition("/")[2]) == offset


def test_without_torch_the_extra_is_named(
    saved: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved({"W": torch.ones(2)})
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError) as caught:
        read_torch(tmp_path / "model.pt")
    assert str(caught.value) == (
        "torch pickles need torch, which is not installed. Install it with: "
        "pip install 'isologit[torch]', or convert the checkpoint to safetensors"
    )


def test_a_registered_class_is_not_made(saved: Save) -> None:
    """What a program allows torch to make for itself is not allowed here."""
    with (
        torch.serialization.safe_globals([zipfile.ZipInfo]),
        pytest.raises(UnsafePickleError, match=r"asks for zipfile\.ZipInfo"),
    ):
        saved({"W": torch.ones(2), "x": zipfile.ZipInfo("a")})
