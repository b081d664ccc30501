"""Torch pickles: what `torch.save` writes (``.pt``, ``.pth``, ``.bin``, ``.ckpt``), weights alone.

Torch is the optional extra ``isologit[torch]``, imported here inside functions. Before it opens a
file, `torch_archive` has looked at the archive's directory and at the pickle's opcodes; then it
reads with ``weights_only=True``, always.
"""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.containers import kind_of
from isologit.checkpoint.tensors import Container
from isologit.checkpoint.torch_archive import (
    Archive,
    Legacy,
    examine_archive,
    examine_legacy,
    unsafe,
)
from isologit.checkpoint.torch_placement import Placing, Storages, mapped_at
from isologit.checkpoint.wording import listed, shown
from isologit.checkpoint.zip_members import LOCAL_MAGIC
from isologit.errors import (
    CheckpointError,
    MalformedHeaderError,
    MissingExtraError,
    NotACheckpointError,
    TruncatedFileError,
    UnsupportedFormatError,
)

# Where a checkpoint of a training run keeps its state dict; the first that holds tensors counts.
NESTED_KEYS = ("model", "state_dict", "model_state_dict", "module")


def read_torch(path: Path) -> Container:
    """Read what `torch.save` wrote: the pickle, and of the tensors where they lie.

    The tensors are those of a mapping from names to tensors, under one of `NESTED_KEYS`, or one of
    these within it, or, failing these, at the top; a tensor alone is called W. Names stay as they
    are (``module.``, ``_orig_mod.``), and what is not a tensor is passed over. Tensors of any
    device are read on the CPU. Two names of the same memory get equal offsets and lengths. Sparse,
    quantized and meta tensors, and such as torch computed while it read, are listed with a dtype
    that says so, a length of 0 and no bytes.

    A file of the zip format (torch 1.6 and later) is mapped, and its tensors stay where they lie;
    one that is a view with gaps is copied when it is first read, and all are where the file is
    big-endian. The format before that cannot be mapped by torch: it is loaded whole.

    Raises
    ------
    UnsafePickleError
        The pickle asks for anything but tensors and plain values. None of it is run.
    MissingExtraError
        Torch is not installed.
    NotACheckpointError
        It is not what `torch.save` writes, or holds no tensors by name.
    TruncatedFileError
        The file ends before its directory or its data do.
    MalformedHeaderError
        The file contradicts itself, or torch cannot read it.
    UnsupportedFormatError
        TorchScript, compressed archives, tar archives, newer pickle protocols; or a container of
        another kind under such a name.
    """
    source = MappedFile(path)
    where = shown(source.name)
    kind = kind_of(source)
    if kind != "torch":
        raise UnsupportedFormatError(
            f"{where} is {kind} by its first bytes, whatever its name; expected what torch.save "
            f"writes. Rename it to end in .{kind}"
        )
    examined: Archive | Legacy
    if bytes(source.read(0, min(4, source.size))) == LOCAL_MAGIC:
        examined = examine_archive(source)
    else:
        examined = examine_legacy(source)
    torch = _import_torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content, storages = _load(torch, path, source, examined)
            tensors = _state_dict(torch, content, where)
            container = _placed(torch, source, examined, storages, tensors)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(error, examined.protocol, where) from error
    except Exception as error:
        # Its reader is Python and C++ that trust the file to be torch's own.
        raise MalformedHeaderError(
            f"{where} is not read by torch {torch.__version__} ({type(error).__name__}), though it "
            "looks like what torch.save writes; fetch it again"
        ) from error
    source.require_unchanged()
    return container


def _load(
    torch: Any, path: Path, source: MappedFile, examined: Archive | Legacy
) -> tuple[Any, Storages]:
    """Return what torch makes of a file, and every storage that it took from it."""
    storages: list[Any] = []
    n_bytes = 0

    def keep(storage: Any, _device: str) -> Any:
        nonlocal n_bytes
        n_bytes += storage.nbytes()
        # An archive's are parts of the mapping; others are memory that nobody has touched yet.
        if isinstance(examined, Legacy) and n_bytes > examined.n_bytes:
            raise TruncatedFileError(
                f"{shown(source.name)} has {examined.n_bytes:,} bytes after its pickle, which "
                f"promises at least {n_bytes:,}; fetch it again"
            )
        storages.append(storage)
        return storage

    mapped = isinstance(examined, Archive)
    # The name as it was given, so that torch opens the same file.
    content = torch.load(str(path), map_location=keep, weights_only=True, mmap=mapped)
    if isinstance(examined, Legacy) and len(storages) != examined.n_storages:
        # Torch would hand out memory that it has not filled.
        raise MalformedHeaderError(
            f"{shown(source.name)} has tensors in {len(storages)} storages and the data of "
            f"{examined.n_storages}; fetch it again"
        )
    return content, Storages(storages)


def _state_dict(torch: Any, content: Any, where: str) -> dict[str, Any]:
    """Return the tensors by name, each stripped of what the pickle may have hung on it."""

    def tensors(mapping: dict[Any, Any]) -> dict[str, Any]:
        # Not mapping.items(): a pickle may give an OrderedDict an attribute of that name.
        return {
            name: torch.Tensor.detach(value)
            for name, value in dict.items(mapping)
            if isinstance(name, str) and type(value) in (torch.Tensor, torch.nn.Parameter)
        }

    if type(content) in (torch.Tensor, torch.nn.Parameter):
        return {"W": torch.Tensor.detach(content)}
    if not isinstance(content, dict):
        kind = shown(type(content).__name__)
        raise NotACheckpointError(
            f"{where} holds one object of type {kind}; expected a mapping from names to tensors, "
            "as torch.save(model.state_dict(), …) writes"
        )
    for key in NESTED_KEYS:
        nested = dict.get(content, key)
        if not isinstance(nested, dict):
            continue
        # A trainer's checkpoint may hold a model's, which holds the state dict.
        deeper = (dict.get(nested, inner) for inner in NESTED_KEYS)
        for each in (nested, *deeper):
            if isinstance(each, dict) and (found := tensors(each)):
                return found
    if found := tensors(content):
        return found
    keys = (shown(key) if isinstance(key, str) else type(key).__name__ for key in content)
    raise NotACheckpointError(
        f"{where} holds no tensors at its top, nor under {' or '.join(NESTED_KEYS)}; its keys are: "
        f"{listed(keys, at_most=8) or 'none'}"
    )


def _placed(
    torch: Any,
    source: MappedFile,
    examined: Archive | Legacy,
    storages: Storages,
    tensors: dict[str, Any],
) -> Container:
    base = None
    if isinstance(examined, Archive) and examined.is_native:
        base = mapped_at(source, storages, examined.records)
    placing = Placing(torch, source, storages, base)
    if base is not None and not placing.agrees(tensors.values()):
        placing = Placing(torch, source, storages, None)
    for name, tensor in tensors.items():
        placing.add(name, tensor)
    return placing.container()


def _refused(error: pickle.UnpicklingError, protocol: int, where: str) -> CheckpointError:
    """Return what to say where torch's restricted reader refuses; its own words advise to trust."""
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return unsafe(where, [named[1]])
    if protocol > 2:
        return UnsupportedFormatError(
            f"{where} is of pickle protocol {protocol}; torch reads weights of protocol 2, which "
            "torch.save writes unless told otherwise. Save it again"
        )
    return MalformedHeaderError(
        f"{where} has a pickle that does what no state dict does, and torch refuses it; fetch it "
        "again"
    )


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            "torch pickles need torch, which is not installed. Install it with: "
            "pip install 'isologit[torch]', or convert the checkpoint to safetensors"
        ) from error
    return torch
