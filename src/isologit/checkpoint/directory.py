"""Which files of a model hold its weights, by the hub's conventions: from names alone.

The names are those of a local directory or of a repository of the hub; nothing is opened here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from isologit.checkpoint.containers import FOREIGN_SUFFIXES, READ_SUFFIXES, WHAT_IS_READ
from isologit.checkpoint.strict_json import members
from isologit.checkpoint.wording import counted, listed, shown
from isologit.errors import (
    CheckpointError,
    MalformedHeaderError,
    MissingShardError,
    NotACheckpointError,
    UnsupportedFormatError,
)

_SHARD = re.compile(r"-(\d{5,})-of-(\d{5,})\.(safetensors|bin|gguf)$")
_SLICE = re.compile(r"consolidated\.\d{2}\.(?:pth|pt|safetensors)")
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_INDEX = ".index.json"
# The largest index that is known places 140,000 tensors in 61 files and has 13 MB; the most files
# are some 800.
MAX_INDEX_BYTES = 32 << 20
MAX_PLACED = 1 << 18
MAX_FILES = 1 << 13
_LONGEST_PATH = 1024
_WEIGHT_MAP = "weight_map"
# What else lies beside a model as a pickle or an array: optimizers, schedulers, random states.
_NO_WEIGHTS = re.compile(r"^(optimizer|scheduler|rng_state|scaler|training_args|random_states)")


@dataclass(frozen=True)
class Selection:
    """The weight files of a model.

    Parameters
    ----------
    files
        Their names; empty where an index names them.
    index
        The name of the index, or None.
    """

    files: tuple[str, ...] = ()
    index: str | None = None


@dataclass(frozen=True)
class Index:
    """What an index says.

    Parameters
    ----------
    files
        The shards, in order of first mention.
    weight_map
        From each tensor's name to its shard.
    """

    files: tuple[str, ...]
    weight_map: Mapping[str, str]


def is_one_shard(name: str) -> bool:
    """Whether a file's name says that it is a part of a model."""
    return _SHARD.search(name) is not None


def is_slice(name: str) -> bool:
    """Whether a file is one of those that Meta's models come in: a part of every matrix each."""
    return _SLICE.fullmatch(name) is not None


def is_whole_model(name: str) -> bool:
    """Whether a file's name says that it may be opened as a model: itself, or its first GGUF part.

    Not so the other shards of a model, nor an optimizer's state.
    """
    path = PurePosixPath(name)
    if path.suffix.lower() not in READ_SUFFIXES or is_slice(path.name):
        return False
    part = _SHARD.search(path.name)
    if part is not None:
        return part[3] == "gguf" and int(part[1]) == 1
    return _NO_WEIGHTS.match(path.name) is None


def shards_beside(name: str) -> tuple[str, ...]:
    """Return the names of all parts of a model of which one is given, in order.

    Of a file that is no part, its own.

    Raises
    ------
    MissingShardError
        It says that it is one of more than 8,192.
    """
    parts = _SHARD.search(name)
    if parts is None:
        return (name,)
    digits, stem, n_parts = len(parts[1]), name[: parts.start()], int(parts[2])
    if n_parts > MAX_FILES:
        raise MissingShardError(
            f"{shown(name)} says that it is one of {n_parts:,} parts; models of up to "
            f"{MAX_FILES:,} are read"
        )
    numbers = range(1, n_parts + 1)
    names = tuple(f"{stem}-{n:0{digits}}-of-{parts[2]}.{parts[3]}" for n in numbers)
    # A part beyond the last is none.
    return names if name in names else (name,)


def select_weights(names: Sequence[str], where: str) -> Selection:
    """Return which of some files hold a model's weights.

    ``model.safetensors`` goes first, as in transformers; then an index; then ``W.safetensors``,
    the one matrix that the seed's line writes beside its results; then the only other file. Where
    there is no safetensors file the same goes for torch pickles; then GGUF, then NumPy.

    Parameters
    ----------
    names
        Of the files in one directory.
    where
        What messages call that.

    Raises
    ------
    NotACheckpointError
        No file of weights, or several and nothing that says which.
    UnsupportedFormatError
        Weights in containers alone that are not read.
    """
    names = sorted(names)
    for find in (_safetensors, _pickles, _gguf, _arrays):
        if selection := find(names):
            return selection
    raise _no_choice(where, names)


def _safetensors(names: list[str]) -> Selection | None:
    every = [n for n in names if n.endswith(".safetensors") and n not in _ADAPTERS]
    return _one_kind(names, every, "model.safetensors", "W.safetensors")


def _pickles(names: list[str]) -> Selection | None:
    every = [
        n
        for n in names
        if n.endswith((".bin", ".pt", ".pth", ".ckpt"))
        and n not in _ADAPTERS
        and not _NO_WEIGHTS.match(n)
    ]
    return _one_kind(names, every, "pytorch_model.bin", "pytorch_model.pt")


def _one_kind(
    names: list[str], every: list[str], first: str, before_others: str
) -> Selection | None:
    if first in names:
        return Selection((first,))
    ending = first[first.rindex(".") :] + _INDEX
    indexes = [name for name in names if name.endswith(ending)]
    if first + _INDEX in indexes or len(indexes) == 1:
        return Selection(index=first + _INDEX if first + _INDEX in indexes else indexes[0])
    if before_others in every:
        return Selection((before_others,))
    if len(every) == 1 and _is_whole(every[0]):
        return Selection((every[0],))
    return None


def _gguf(names: list[str]) -> Selection | None:
    # mmproj files hold the projector of a model that sees, beside it (llama.cpp's converter).
    every = [n for n in names if n.endswith(".gguf") and "mmproj" not in n.lower()]
    # Of a set with a part missing every name is given: whoever opens them says which is.
    if every and set(every) <= set(shards_beside(every[0])):
        return Selection(shards_beside(every[0]))
    return None


def _arrays(names: list[str]) -> Selection | None:
    every = [name for name in names if name.endswith((".npy", ".npz"))]
    for first in ("W.npy", "W.npz"):
        if first in every:
            return Selection((first,))
    return Selection((every[0],)) if len(every) == 1 else None


def _is_whole(name: str) -> bool:
    parts = _SHARD.search(name)
    return parts is None or int(parts[2]) == 1


def _no_choice(where: str, names: list[str]) -> CheckpointError:
    suffixes = {name: PurePosixPath(name).suffix.lower() for name in names}
    safetensors = [n for n in names if suffixes[n] == ".safetensors" and n not in _ADAPTERS]
    if safetensors:
        return NotACheckpointError(
            f"{where} holds {counted(len(safetensors), '.safetensors file')} and no "
            f"model.safetensors.index.json: {listed(map(shown, safetensors))}. Give the path of "
            "one, or fetch the index"
        )
    if set(_ADAPTERS) & set(names):
        return NotACheckpointError(
            f"{where} holds an adapter ({sorted(set(_ADAPTERS) & set(names))[0]}), not a model; "
            "give the model that it was trained on, or merge it first"
        )
    slices = [name for name in names if is_slice(name)]
    if len(slices) > 1:
        return NotACheckpointError(
            f"{where} holds {len(slices)} slices of one model for as many devices: "
            f"{listed(map(shown, slices))}. Each has a part of every matrix; merge them first, or "
            "give the model as transformers has it"
        )
    read = [
        n
        for n in names
        if suffixes[n] in READ_SUFFIXES and not _NO_WEIGHTS.match(n) and "mmproj" not in n.lower()
    ]
    if read:
        return NotACheckpointError(
            f"{where} holds {counted(len(read), 'file')} of weights, and nothing says which is "
            f"meant: {listed(map(shown, read))}. Give one, as {where}/{shown(read[0])}"
        )
    foreign = [name for name in names if suffixes[name] in FOREIGN_SUFFIXES]
    if foreign:
        kinds = sorted({FOREIGN_SUFFIXES[suffixes[name]] for name in foreign})
        return UnsupportedFormatError(
            f"{where} holds weights as {' and '.join(kinds)} alone "
            f"({listed(map(shown, foreign))}); {WHAT_IS_READ}"
        )
    if "snapshots" in names:
        return NotACheckpointError(
            f"{where} is a hub cache's folder; give one of the directories in its snapshots/"
        )
    return NotACheckpointError(f"{where} holds no file of weights; {WHAT_IS_READ}")


def read_index(raw: bytes | memoryview, where: str, is_there: Callable[[str], bool]) -> Index:
    """Return what an index says, and check that it leads nowhere else.

    Parameters
    ----------
    raw
        The index.
    where
        What messages call it.
    is_there
        Whether a shard is.

    Raises
    ------
    MalformedHeaderError
        The index is not one, or names a file outside of the directory.
    MissingShardError
        A shard is not there.
    """
    if len(raw) > MAX_INDEX_BYTES:
        raise MalformedHeaderError(
            f"{where} has {len(raw):,} bytes; an index of up to {MAX_INDEX_BYTES:,} is read"
        )
    # All of it is checked before more of it is kept than the names of the files.
    files = _files_of(raw, where)
    if not files:
        raise MalformedHeaderError(f"{where} has no weight_map from tensors to files")
    require_all(tuple(files), where, is_there)
    # One string for all tensors of a file. An entry that was none a moment ago is left out.
    weight_map = {
        name: files[file]
        for placed, name, file in _entries(raw, where)
        if placed and isinstance(file, str) and file in files
    }
    return Index(tuple(files), weight_map)


def _entries(raw: bytes | memoryview, where: str) -> Iterator[tuple[bool, str, Any]]:
    return members(
        [raw], where=where, error=MalformedHeaderError, inside=_WEIGHT_MAP, at_most=MAX_PLACED
    )


def _files_of(raw: bytes | memoryview, where: str) -> dict[str, str]:
    """Return the files that an index names, by their names, having checked each of its entries."""
    files: dict[str, str] = {}
    # By the hashes of names, as the reader of safetensors' headers remembers them.
    seen: dict[int, str] = {}
    for placed, name, value in _entries(raw, where):
        mark = hash((placed, name))
        if not placed:
            if mark in seen:
                raise MalformedHeaderError(f"{where} gives the key {shown(name)} twice")
            seen[mark] = ""
            continue
        if not isinstance(value, str) or (value not in files and not _stays_inside(value)):
            raise MalformedHeaderError(
                f"{where} places {shown(name)} in {shown(str(value))}; expected the name of "
                "a file inside the directory"
            )
        file = files.setdefault(value, value)
        if seen.setdefault(mark, file) is not file:
            raise MalformedHeaderError(
                f"{where} is not usable: key {shown(name)} is given twice, with different values"
            )
        if len(file) > _LONGEST_PATH:
            raise MissingShardError(
                f"{where} places {shown(name)} in {shown(file)}; expected the name of a file, of "
                f"at most {_LONGEST_PATH:,} characters"
            )
        if len(files) > MAX_FILES:
            raise MissingShardError(
                f"{where} names more than {MAX_FILES:,} files; no published model has as many"
            )
    return files


def require_all(files: Sequence[str], where: str, is_there: Callable[[str], bool]) -> None:
    """Check that every one of a model's files is there.

    Raises
    ------
    MissingShardError
    """
    absent = [file for file in files if not is_there(file)]
    if absent:
        raise MissingShardError(
            f"{where} names {counted(len(files), 'file')}, of which {len(absent):,} "
            f"{'is' if len(absent) == 1 else 'are'} not there: {listed(map(shown, absent))}; "
            "fetch the model again"
        )


def _stays_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and file.isprintable()
        # Drive letters and backslashes reach outside on Windows.
        and "\\" not in file
        and not PureWindowsPath(file).drive
    )
