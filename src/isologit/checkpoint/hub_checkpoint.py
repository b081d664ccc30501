"""A model of the hub as a checkpoint: its headers by range, its shards as they are asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from threading import Lock, Thread
from typing import Any

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.config import read_config
from isologit.checkpoint.containers import READ_SUFFIXES
from isologit.checkpoint.directory import (
    MAX_INDEX_BYTES,
    Index,
    read_index,
    require_all,
    select_weights,
    shards_beside,
)
from isologit.checkpoint.gguf import read_gguf
from isologit.checkpoint.hub.folder import HubFolder
from isologit.checkpoint.hub.model import HubModel, open_hub
from isologit.checkpoint.hub.progress import Arrived
from isologit.checkpoint.hub.spec import HubSpec
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.strict_json import LARGEST_CONFIG
from isologit.checkpoint.tensors import Container, TensorInfo
from isologit.checkpoint.weight_file import OpenedFile, all_tensors, open_file
from isologit.checkpoint.wording import shown
from isologit.errors import (
    CheckpointError,
    ConfigError,
    MalformedHeaderError,
    MissingShardError,
    NotACheckpointError,
    UnsupportedFormatError,
)

# Headers that are read at the same time.
_AT_ONCE = 8


def open_hub_checkpoint(spec: str, asked: HubSpec, arrived: Arrived) -> Checkpoint:
    """Open a model of the hub: its file list, its config, and the headers that come first.

    Parameters
    ----------
    spec
        What the user wrote.
    asked
        What that means.
    arrived
        Called with how far a tensor has been fetched.

    Raises
    ------
    HubError
        The hub does not give the model out, or cannot be reached.
    CheckpointError
        See `isologit.checkpoint.open.open_checkpoint`.
    """
    model = open_hub(asked, arrived)
    folder = "" if asked.file is None else _folder(asked.file)
    index = _selected(model, asked)
    if index.weight_map:
        shards = _Shards(model, index.weight_map)
        tensors: Mapping[str, TensorInfo] = shards
        containers: Mapping[str, Container] = shards.opened
        gguf = None
    else:
        opened = [_open(model, name) for name in index.files]
        tensors = all_tensors(opened, {})
        containers = {each.container.name: each.container for each in opened}
        gguf = opened[0].gguf
    if not tensors:
        raise NotACheckpointError(f"{shown(spec)} holds no tensors")
    config = f"{folder}config.json"
    has_config = config in model.files
    if has_config:
        _require_small(model, config, LARGEST_CONFIG, ConfigError)
    return Checkpoint(
        spec=spec,
        source="hub",
        name=model.repo_id,
        revision=model.commit,
        tensors=tensors,
        config=read_config(model.path(config)) if has_config else None,
        config_name=f"{model.repo_id}/{config}",
        gguf=gguf,
        containers=containers,
        size=sum(model.files.get(name) or 0 for name in index.files),
        folder=HubFolder(model, folder),
    )


def _folder(file: str) -> str:
    parent = PurePosixPath(file).parent.as_posix()
    return "" if parent == "." else f"{parent}/"


def _selected(model: HubModel, asked: HubSpec) -> Index:
    def is_there(name: str) -> bool:
        return name in model.files

    where = shown(str(replace(asked, file=None)))
    if asked.file is not None:
        # One that the model does not have is the client's to tell, with those that it has.
        model.local(asked.file)
        names = shards_beside(asked.file) if asked.file.endswith(".gguf") else (asked.file,)
        require_all(names, where, is_there)
        return Index(names, {})
    selection = select_weights([name for name in model.files if "/" not in name], where)
    if selection.index is None:
        return Index(selection.files, {})
    _require_small(model, selection.index, MAX_INDEX_BYTES, MalformedHeaderError)
    source = MappedFile(model.path(selection.index))
    raw = source.read(0, source.size)
    return read_index(raw, shown(f"{model.repo_id}/{selection.index}"), is_there)


def _require_small(model: HubModel, name: str, at_most: int, error: type[CheckpointError]) -> None:
    """Check by the hub's list, before it is downloaded, that a file is not larger than is read."""
    size = model.files[name] or 0
    if size > at_most:
        raise error(
            f"{shown(model.repo_id)}: {shown(name)} has {size:,} bytes; up to {at_most:,} are read"
        )


def _open(model: HubModel, name: str) -> OpenedFile:
    """Open a weight file: where it lies, if it is in the hub's cache, else by ranges."""
    path = model.local(name)
    if path is not None:
        return open_file(path)
    match READ_SUFFIXES.get(PurePosixPath(name).suffix.lower()):
        case "safetensors":
            return OpenedFile(model.container(name))
        case "gguf":
            source = model.source(name)
            header = read_gguf(source)
            return OpenedFile(model.remote_tensors(source, header.tensors), header.metadata)
    raise UnsupportedFormatError(
        f"{shown(model.repo_id)}: {shown(name)} cannot be read by ranges, as safetensors and GGUF "
        f"can; fetch it whole with hf download {shown(model.repo_id)} {shown(name)} --revision "
        f"{model.commit} and run again: a file in the hub's cache is read where it lies"
    )


class _Shards(Mapping[str, TensorInfo]):
    """The tensors of a sharded model by the index, each looked up in its shard's header.

    A shard is opened when the first of its tensors is asked for; all of them where every tensor is.
    """

    def __init__(self, model: HubModel, weight_map: Mapping[str, str]) -> None:
        self._model, self._weight_map = model, weight_map
        self._by_file: dict[str, Container] = {}
        self.opened: dict[str, Container] = {}

    def __getitem__(self, name: str) -> TensorInfo:
        file = self._weight_map[name]
        container = self._by_file.get(file) or self._keep(file, _open(self._model, file).container)
        if name not in container.tensors:
            raise MissingShardError(
                f"the index places {shown(name)} in {shown(container.name)}, which does not hold "
                "it; another revision of the model may"
            )
        return container.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weight_map)

    def __len__(self) -> int:
        return len(self._weight_map)

    def __contains__(self, name: object) -> bool:
        return name in self._weight_map

    def items(self) -> Any:
        """Return names and tensors; every header is read, several at a time."""
        self._open_all()
        return super().items()

    def values(self) -> Any:
        """Return the tensors; every header is read, several at a time."""
        self._open_all()
        return super().values()

    def _open_all(self) -> None:
        files = [f for f in dict.fromkeys(self._weight_map.values()) if f not in self._by_file]
        turn, opened, errors = iter(files), dict[str, Container](), list[BaseException]()
        lock = Lock()

        def drain() -> None:
            while not errors:
                with lock:
                    file = next(turn, None)
                if file is None:
                    return
                try:
                    opened[file] = _open(self._model, file).container
                except BaseException as error:
                    errors.append(error)

        # Daemons, which Ctrl-C does not wait for: a hub may take long to answer.
        threads = [Thread(target=drain, daemon=True) for _ in range(min(_AT_ONCE, len(files)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        for file in files:
            self._keep(file, opened[file])

    def _keep(self, file: str, container: Container) -> Container:
        self._by_file[file] = self.opened[container.name] = container
        return container
