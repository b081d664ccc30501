"""Where in its file each tensor lies that torch has loaded: proved, not assumed.

Torch is never imported here; whoever has it hands it in.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from mmap import ALLOCATIONGRANULARITY
from typing import Any

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.tensors import Container, MappedTensors, TensorInfo, TensorsInMemory
from isologit.checkpoint.unpacked import Unpacked
from isologit.checkpoint.wording import shown, shown_shape
from isologit.checkpoint.zip_members import Member
from isologit.errors import MalformedHeaderError, UnsupportedFormatError

# torch's names of number formats, and safetensors'; others keep torch's.
_NAMES = {
    "bfloat16": "BF16",
    "bool": "BOOL",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2": "F8_E5M2",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    **{f"{kind}{n}": f"{kind[0].upper()}{n}" for kind in ("int", "uint") for n in (8, 16, 32, 64)},
    **{f"float{n}": f"F{n}" for n in (16, 32, 64)},
}
# Bytes compared at either end of a tensor.
_PROBE_BYTES = 64


class Storages:
    """Where in memory the storages of a file are, those of no bytes left out.

    Parameters
    ----------
    storages
        Torch's.
    """

    def __init__(self, storages: Iterable[Any]) -> None:
        self.sizes = {int(s.data_ptr()): int(s.nbytes()) for s in storages if s.nbytes()}
        self._sorted = sorted(self.sizes)

    def hold(self, address: int, size: int) -> bool:
        """Return whether some bytes lie in one of them."""
        index = bisect.bisect_right(self._sorted, address) - 1
        begin = self._sorted[index] if index >= 0 else address + 1
        return begin <= address and address + size <= begin + self.sizes[begin]


def mapped_at(source: MappedFile, storages: Storages, records: Mapping[int, Member]) -> int | None:
    """Return the address that torch has mapped the file's first byte to; None where not certain.

    Torch tells where in memory each storage is, and the archive's directory where in the file each
    record is; but not which storage is which record. Every storage that torch took from the file
    begins where some record does. So the address is one of those that put each storage at the
    beginning of a record, and a multiple of what the system maps by; and where there is just one
    such address, it is that one.

    Parameters
    ----------
    source
        The file.
    storages
        What torch took from it.
    records
        Its records by the offset of their data.

    Raises
    ------
    MalformedHeaderError
        A storage is not as long as its record.
    """
    sizes = storages.sizes
    if not sizes:
        return None
    first, last = min(sizes), max(sizes)
    candidates = (first - offset for offset in records)
    fitting = [
        base
        for base in candidates
        if base % ALLOCATIONGRANULARITY == 0
        and last - base in records
        and all(address - base in records for address in sizes)
    ]
    if len(fitting) != 1:
        return None
    for address, size in sizes.items():
        record = records[address - fitting[0]]
        if record.size != size:
            raise MalformedHeaderError(
                f"{shown(source.name)}: the pickle takes {size:,} bytes for {shown(record.name)}, "
                f"which has {record.size:,}; fetch it again"
            )
    return fitting[0]


class Placing:
    """The tensors of a file, added one by one, as a container of them.

    Parameters
    ----------
    torch
        The library.
    source
        The file.
    storages
        What torch took from it.
    base
        The address of its first byte; None where its bytes are to be taken from memory.
    """

    def __init__(
        self, torch: Any, source: MappedFile, storages: Storages, base: int | None
    ) -> None:
        self._torch = torch
        self._source = source
        self._storages = storages
        self._base = base
        self._infos: dict[str, TensorInfo] = {}
        self._makers: dict[str, Callable[[], memoryview]] = {}
        # Those that are unpacked come to lie behind the end of the file, as it were.
        self._unpacked: dict[object, int] = {}
        self._end = source.size

    def agrees(self, tensors: Iterable[Any]) -> bool:
        """Return whether the first and the last tensor begin and end in the file as in memory.

        Of the others no page is touched, as what is read here should be headers alone.
        """
        lying = [t for t in tensors if self._is_read(t) and t.numel() and _is_straight(t)]
        lying.sort(key=lambda tensor: int(tensor.data_ptr()))
        for tensor in lying[:1] + lying[-1:]:
            content = tensor.reshape(-1).view(self._torch.uint8).numpy().data
            n = min(len(content), _PROBE_BYTES)
            for start in (0, len(content) - n):
                at = tensor.data_ptr() - self._base + start
                if self._source.read(at, n) != content[start : start + n]:
                    return False
        return True

    def add(self, name: str, tensor: Any) -> None:
        """Add a tensor; one of nested tensors, which has no shape, is left out."""
        if tensor.is_nested:
            return
        shape, dtype = tuple(map(int, tensor.shape)), self._dtype(tensor)
        offset, length = 0, 0
        self._makers[name] = _nothing
        if self._is_read(tensor) and tensor.numel():
            length = tensor.numel() * tensor.element_size()
            if self._base is not None and _is_straight(tensor):
                offset = tensor.data_ptr() - self._base
                self._makers[name] = partial(self._source.read, offset, length)
            else:
                offset = self._unpacked_at(tensor, length)
                self._makers[name] = partial(_bytes, self._torch, self._source, name, tensor)
        self._infos[name] = TensorInfo(name, dtype, shape, self._source.name, offset, length)

    def container(self) -> Container:
        """Return what has been added."""
        if self._unpacked:
            return TensorsInMemory(self._source, self._infos, Unpacked(self._makers))
        return MappedTensors(self._source, self._infos)

    def _unpacked_at(self, tensor: Any, length: int) -> int:
        """Return an offset that only tensors of the same bytes share."""
        same: tuple[object, ...] = (tensor.data_ptr(), length)
        if not _is_straight(tensor):
            same += (tensor.shape, tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg())
        if same not in self._unpacked:
            self._unpacked[same] = self._end
            self._end += length
        return self._unpacked[same]

    def _dtype(self, tensor: Any) -> str:
        """Return safetensors' name of a number format, torch's, or why the values are not read."""
        name = str(tensor.dtype).removeprefix("torch.")
        if tensor.is_quantized:
            return name
        if not _is_plain(tensor):
            return str(tensor.layout).removeprefix("torch.")
        if not tensor.is_cpu:
            return str(tensor.device.type)
        if tensor.numel() and not self._is_read(tensor):
            return "computed"
        return _NAMES.get(name, name)

    def _is_read(self, tensor: Any) -> bool:
        """Return whether a tensor's values are those of a storage in the file, unchanged."""
        if tensor.is_nested or not _is_plain(tensor) or not tensor.is_cpu:
            return False
        storage = tensor.untyped_storage()
        return self._storages.hold(storage.data_ptr(), storage.nbytes())


def _nothing() -> memoryview:
    return memoryview(b"")


def _is_plain(tensor: Any) -> bool:
    return str(tensor.layout) == "torch.strided" and not tensor.is_quantized


def _is_straight(tensor: Any) -> bool:
    """Return whether a tensor's values lie row by row without gaps, as they are meant."""
    return bool(tensor.is_contiguous()) and not (tensor.is_conj() or tensor.is_neg())


def _bytes(torch: Any, source: MappedFile, name: str, tensor: Any) -> memoryview:
    """Return a tensor's bytes row by row; a copy unless that is how they lie.

    Raises
    ------
    UnsupportedFormatError
        It repeats its values until they take more bytes than the file has.
    """
    if tensor.numel() * tensor.element_size() > source.size:
        raise UnsupportedFormatError(
            f"{shown(source.name)}: {shown(name)} {shown_shape(tensor.shape)} takes more bytes "
            f"than the file has ({source.size:,}), as a view that repeats its values; such are not "
            "unpacked"
        )
    resolved = tensor.resolve_conj().resolve_neg().contiguous()
    view: memoryview = resolved.reshape(-1).view(torch.uint8).numpy().data
    return view
