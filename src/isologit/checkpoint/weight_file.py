"""One file of weights, whatever its format: its tensors, by what its first bytes say that it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.containers import kind_of
from isologit.checkpoint.gguf import read_gguf
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.tensors import Container, MappedTensors, TensorInfo
from isologit.checkpoint.wording import shown
from isologit.errors import MalformedHeaderError, MissingShardError


@dataclass(frozen=True, eq=False)
class OpenedFile:
    """A weight file: its tensors, and the key-value pairs of a GGUF header where it has one."""

    container: Container
    gguf: Mapping[str, Any] | None = None


def open_file(path: Path) -> OpenedFile:
    """Open one local file of weights, by what its bytes say that it is.

    Raises
    ------
    CheckpointError
        See `isologit.checkpoint.open.open_checkpoint`.
    """
    source = MappedFile(path)
    match kind_of(source):
        case "safetensors":
            return OpenedFile(MappedTensors(source, read_header(source).tensors))
        case "gguf":
            header = read_gguf(source)
            return OpenedFile(MappedTensors(source, header.tensors), header.metadata)
        # Not at the top: archives bring much that no other file needs.
        case "npy" | "npz" as kind:
            from isologit.checkpoint import numpy_file

            read = numpy_file.read_npy if kind == "npy" else numpy_file.read_npz
            return OpenedFile(read(source))
        case "torch":
            from isologit.checkpoint.torch_pickle import read_torch

            return OpenedFile(read_torch(path))


def all_tensors(opened: list[OpenedFile], weight_map: Mapping[str, str]) -> dict[str, TensorInfo]:
    """Return the tensors of all files by name; of two with one name that which the map places.

    Raises
    ------
    MalformedHeaderError
        Two files hold a tensor, and the map does not say which counts.
    MissingShardError
        The map places a tensor in a file that does not hold it.
    """
    tensors: dict[str, TensorInfo] = {}
    for container in (each.container for each in opened):
        for name, info in container.tensors.items():
            # Of a tensor stored in two shards the index says which counts; one that the index
            # forgot is still there, as it is for transformers, unless two shards claim it.
            if weight_map.get(name, container.name) != container.name:
                continue
            if name in tensors:
                raise MalformedHeaderError(
                    f"{shown(name)} is in {shown(tensors[name].file)} and in "
                    f"{shown(container.name)}, and the index does not say which counts"
                )
            tensors[name] = info
    for name, file in weight_map.items():
        if name not in tensors:
            raise MissingShardError(
                f"the index places {shown(name)} in {shown(file)}, which does not hold it; "
                "fetch the model again"
            )
    return tensors
