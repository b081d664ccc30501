"""Which files of a directory hold the weights, by the hub's conventions."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.containers import FOREIGN_SUFFIXES, WHAT_IS_READ
from isologit.checkpoint.strict_json import parse_lenient_object
from isologit.checkpoint.wording import counted, listed, shown
from isologit.errors import (
    MalformedHeaderError,
    MissingShardError,
    NotACheckpointError,
    UnsupportedFormatError,
)

_SHARD = re.compile(r"-(\d{5,})-of-(\d{5,})\.safetensors$")
_ADAPTER = "adapter_model.safetensors"


def is_one_shard(path: Path) -> bool:
    """Whether a file's name says that it is a part of a model."""
    return _SHARD.search(path.name) is not None


def weight_files(directory: Path) -> tuple[tuple[Path, ...], Mapping[str, str]]:
    """Return the files that hold a directory's weights, and the index's map from tensor to file.

    ``model.safetensors`` goes first, as in transformers; then an index; then ``W.safetensors``,
    the one matrix that the seed's line writes beside its results; then the only other file.

    Raises
    ------
    NotACheckpointError
        No safetensors file, or several and nothing that says which.
    UnsupportedFormatError
        Weights in other containers alone.
    MissingShardError, MalformedHeaderError
        As `_shards`.
    """
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        raise NotACheckpointError(
            f"{shown(str(directory))} cannot be listed: {error.strerror or error}"
        ) from error
    if "model.safetensors" in names:
        return (directory / "model.safetensors",), {}
    indexes = [name for name in names if name.endswith(".safetensors.index.json")]
    if "model.safetensors.index.json" in indexes or len(indexes) == 1:
        plain = "model.safetensors.index.json"
        return _shards(directory, plain if plain in indexes else indexes[0])
    weights = [n for n in names if n.endswith(".safetensors") and n != _ADAPTER]
    if "W.safetensors" in weights:
        return (directory / "W.safetensors",), {}
    if len(weights) == 1 and not (parts := _SHARD.search(weights[0])):
        return (directory / weights[0],), {}
    if len(weights) == 1 and parts and int(parts[2]) == 1:
        return (directory / weights[0],), {}
    raise _no_choice(directory, names, weights)


def _no_choice(
    directory: Path, names: list[str], weights: list[str]
) -> NotACheckpointError | UnsupportedFormatError:
    where = shown(str(directory))
    if weights:
        return NotACheckpointError(
            f"{where} holds {counted(len(weights), '.safetensors file')} and no "
            f"model.safetensors.index.json: {listed(map(shown, weights))}. Give the path of one, "
            "or fetch the index"
        )
    if _ADAPTER in names:
        return NotACheckpointError(
            f"{where} holds an adapter ({_ADAPTER}), not a model; give the model that it was "
            "trained on, or merge it first"
        )
    foreign = [name for name in names if Path(name).suffix.lower() in FOREIGN_SUFFIXES]
    if foreign:
        kinds = sorted({FOREIGN_SUFFIXES[Path(name).suffix.lower()] for name in foreign})
        return UnsupportedFormatError(
            f"{where} holds weights as {' and '.join(kinds)} alone "
            f"({listed(map(shown, foreign))}); {WHAT_IS_READ}"
        )
    if "snapshots" in names:
        return NotACheckpointError(
            f"{where} is a hub cache's folder; give one of the directories in its snapshots/"
        )
    return NotACheckpointError(f"{where} holds no .safetensors file; {WHAT_IS_READ}")


def _shards(directory: Path, index_name: str) -> tuple[tuple[Path, ...], Mapping[str, str]]:
    """Return an index's shards, in order of first mention, and its map with whole paths.

    Raises
    ------
    MalformedHeaderError
        The index is not one, or names a file outside of the directory.
    MissingShardError
        A shard is not there.
    """
    index_path = directory / index_name
    where = shown(str(index_path))
    source = MappedFile(index_path)
    index = parse_lenient_object(
        source.read(0, source.size), where=where, error=MalformedHeaderError
    )
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise MalformedHeaderError(f"{where} has no weight_map from tensors to files")
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or not _stays_inside(file):
            raise MalformedHeaderError(
                f"{where} places {shown(tensor)} in {shown(str(file))}; expected the name of "
                "a file inside the directory"
            )
    files = list(dict.fromkeys(weight_map.values()))
    absent = [file for file in files if not _is_file(directory / file)]
    if absent:
        raise MissingShardError(
            f"{where} names {counted(len(files), 'file')}, of which {len(absent):,} "
            f"{'is' if len(absent) == 1 else 'are'} not there: {listed(map(shown, absent))}; "
            "fetch the model again"
        )
    paths = {file: directory / file for file in files}
    return tuple(paths.values()), {name: str(paths[file]) for name, file in weight_map.items()}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the system allows
        return False


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
