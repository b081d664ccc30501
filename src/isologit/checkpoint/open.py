"""Opening a checkpoint: from what the user wrote to named tensors and a config, none read yet."""

import os
import re
import stat
from pathlib import Path, PurePath
from typing import Literal

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.config import read_config
from isologit.checkpoint.containers import READ_SUFFIXES
from isologit.checkpoint.directory import (
    Index,
    is_slice,
    read_index,
    require_all,
    select_weights,
    shards_beside,
)
from isologit.checkpoint.folder import LocalFolder
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.checkpoint.hub.spec import looks_local, parse_hub_spec
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.weight_file import all_tensors, open_file
from isologit.checkpoint.wording import shown
from isologit.errors import (
    CheckpointNotFoundError,
    NotACheckpointError,
)

# Names that say nothing of the model: the folder's name is shown instead.
_PLAIN_STEMS = {"model", "w", "weights", "consolidated", "pytorch_model", "adapter_model", "ckpt"}
# Of a directory of results, which holds safetensors too.
_RESULTS = {"summary.json", "tokens.parquet"}
_HUB_SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>\w+)")


def open_checkpoint(spec: str | Path, arrived: Arrived = nothing) -> Checkpoint:
    """Open a file, a directory, or a model of the hub, and read the headers alone.

    Parameters
    ----------
    spec
        A file, or a directory as the Hugging Face hub lays it out; or ``org/name[@revision]`` or
        ``hf://org/name[@revision]``, a model of the hub; or an address of an object store that
        fsspec knows, as ``s3://bucket/model``. An existing path goes first.
        ``config.json`` in the directory, or beside the file, is read too.
    arrived
        Called with how far a tensor of a hub model has been fetched.

    Raises
    ------
    CheckpointNotFoundError
        No such path, and not the name of a model of the hub.
    NotACheckpointError
        It holds nothing that is read here, or cannot be opened.
    UnsupportedFormatError
        It holds weights in a container that is not read.
    TruncatedFileError, MalformedHeaderError
        A file's header and its bytes disagree.
    MissingShardError
        The index names a file, or in a file a tensor, that is not there.
    ConfigError
        ``config.json`` is not a JSON object.
    MissingExtraError
        A torch pickle, and torch is not installed.
    HubError, StoreError
        The hub, or the store, does not give the model out, or cannot be reached.
    """
    path, kind = Path(spec), _kind(Path(spec), str(spec))
    if kind is not None:
        return _open_local(path, str(spec), kind)
    if "://" in str(spec):
        # Not at the top, as the hub's below.
        from isologit.checkpoint.store import is_store_url, open_store_checkpoint

        if is_store_url(str(spec)):
            return open_store_checkpoint(str(spec))
    model = parse_hub_spec(str(spec)) if isinstance(spec, str) else None
    if model is None or looks_local(str(spec)):
        raise CheckpointNotFoundError(
            f"{shown(str(spec))} does not exist; give a file of weights, a model's directory, or "
            f"org/name[@revision] for a model of the hub{_hub_hint(str(spec))}"
        )
    # Not at the top: a local file needs none of it.
    from isologit.checkpoint.hub_checkpoint import open_hub_checkpoint

    return open_hub_checkpoint(str(spec), model, arrived)


def _open_local(path: Path, spec: str, source: Literal["file", "directory"]) -> Checkpoint:
    if source == "file":
        names, folder = _parts_of(path), path.parent
        index = Index(names, {})
    else:
        folder = path
        index = _selected(path)
    # A file goes by what the user wrote, which may be other than folder / name.
    whole = source == "file" and len(index.files) == 1
    paths = (path,) if whole else tuple(folder / name for name in index.files)
    opened = [open_file(each) for each in paths]
    tensors = all_tensors(opened, {n: str(folder / f) for n, f in index.weight_map.items()})
    if not tensors:
        raise NotACheckpointError(f"{shown(spec)} holds no tensors")
    config_path = folder / "config.json"
    has_config = config_path.is_file()
    name, revision = _name(path, source)
    return Checkpoint(
        spec=spec,
        source=source,
        name=name,
        revision=revision,
        tensors=tensors,
        config=read_config(config_path) if has_config else None,
        config_name=str(config_path),
        gguf=opened[0].gguf,
        containers={each.container.name: each.container for each in opened},
        size=sum(each.stat().st_size for each in paths),
        folder=LocalFolder(folder),
    )


def _hub_hint(spec: str) -> str:
    """Return what a text could mean as a model of the hub, in words; nothing where it could not."""
    if spec.startswith(("http://", "https://")):
        return ", without the address before it"
    # A file of weights without a folder before it is a path that was mistyped.
    is_path = spec[:1] in ("", ".", "/", "~") or (
        "/" not in spec and PurePath(spec).suffix.lower() in READ_SUFFIXES
    )
    try:
        possible = None if is_path else parse_hub_spec(f"hf://{spec.strip('/')}")
    except CheckpointNotFoundError:
        possible = None
    return "" if possible is None else f" ({shown(str(possible))} if that is one)"


def _parts_of(path: Path) -> tuple[str, ...]:
    """Return the files of a model of which one is given: all parts of a split GGUF, else itself."""
    alike = (each.name for each in path.parent.glob(f"consolidated.*{path.suffix}"))
    if is_slice(path.name) and sum(map(is_slice, alike)) > 1:
        raise NotACheckpointError(
            f"{shown(str(path))} is one slice of a model for several devices, with a part of every "
            "matrix; merge them first, or give the model as transformers has it"
        )
    if path.suffix != ".gguf":
        return (path.name,)
    names = shards_beside(path.name)
    if len(names) > 1:
        require_all(names, shown(str(path)), lambda name: _is_file(path.parent / name))
    return names


def _selected(directory: Path) -> Index:
    where = shown(str(directory))
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError as error:
        raise NotACheckpointError(f"{where} cannot be listed: {error.strerror or error}") from error
    if set(names) >= _RESULTS:
        raise NotACheckpointError(
            f"{where} is what audit -o wrote, and no model: give the model itself; export takes "
            "this directory"
        )
    selection = select_weights(names, where)
    if selection.index is None:
        if len(selection.files) > 1:
            require_all(selection.files, where, lambda name: _is_file(directory / name))
        return Index(selection.files, {})
    path = directory / selection.index
    source = MappedFile(path)
    raw = source.read(0, source.size)
    return read_index(raw, shown(str(path)), lambda name: _is_file(directory / name))


def _kind(path: Path, spec: str) -> Literal["file", "directory"] | None:
    """Return what a path leads to; None where nothing is there."""
    try:
        # Path("") is the working directory, which nobody means by it.
        mode = path.stat().st_mode if spec else None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        mode = None  # ValueError: a zero byte in the name
    except OSError as error:
        raise NotACheckpointError(
            f"{shown(spec)} cannot be read: {error.strerror or error}"
        ) from error
    if mode is None:
        return None
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode):
        return "file"
    raise NotACheckpointError(f"{shown(spec)} is neither a file nor a directory")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the system allows
        return False


def _name(path: Path, source: str) -> tuple[str, str | None]:
    # abspath and not resolve: in a hub cache every file is a link to a blob named by its hash.
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    folder = absolute if source == "directory" else absolute.parent
    if match := _HUB_SNAPSHOT.search(folder.as_posix()):
        return f"{match['owner']}/{match['name']}", match["commit"]
    if source == "file" and absolute.stem.lower() not in _PLAIN_STEMS:
        return absolute.stem, None
    return folder.name or str(path), None
