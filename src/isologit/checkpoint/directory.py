"""Which files of a model hold its weights, by the hub's conventions: from names alone.

The names are those of a local directory or of a repository of the hub; nothing is opened here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from isologit.checkpoint.containers import FOREIGN_SUFFIXES, READ_SUFFIXES, WHAT_IS_READ
from isologit.checkpoint.strict_json import parse_lenient_object
from isologit.checkpoint.wording import counted, listed, shown
from isologit.errors import (
    CheckpointError,
    MalformedHeaderError,
    MissingShardError,
    NotACheckpointError,
    UnsupportedFormatError,
)

_SHARD = re.compile(r"-(\d{5,})-of-(\d{5,})\.(safetensors|bin|gguf)$")
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_INDEX = ".index.json"
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


def shards_beside(name: str) -> tuple[str, ...]:
    """Return the names of all parts of a model of which one is given, in order."""
    parts = _SHARD.search(name)
    if parts is None:
        return (name,)
    digits, stem = len(parts[1]), name[: parts.start()]
    numbers = range(1, int(parts[2]) + 1)
    return tuple(f"{stem}-{n:0{digits}}-of-{parts[2]}.{parts[3]}" for n in numbers)


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
    every = [name for name in names if name.endswith(".gguf")]
    if every and set(every) == set(shards_beside(every[0])):
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
    read = [n for n in names if suffixes[n] in READ_SUFFIXES and not _NO_WEIGHTS.match(n)]
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
    index = parse_lenient_object(raw, where=where, error=MalformedHeaderError)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise MalformedHeaderError(f"{where} has no weight_map from tensors to files")
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or not _stays_inside(file):
            raise MalformedHeaderError(
                f"{where} places {shown(tensor)} in {shown(str(file))}; expected the name of "
                "a file inside the directory"
            )
    files = tuple(dict.fromkeys(weight_map.values()))
    require_all(files, where, is_there)
    return Index(files, weight_map)


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
