"""A model in an object store: any that fsspec knows, as ``s3://bucket/run/step-1000``.

Headers are read by ranges, and of the tensors those that are asked for, into memory. fsspec is
imported inside functions alone: a local file needs none of it.
"""

import re
import shutil
import weakref
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from threading import Lock
from typing import Any

from isologit.checkpoint.config import read_config
from isologit.checkpoint.containers import READ_SUFFIXES
from isologit.checkpoint.digest import digest_of_view
from isologit.checkpoint.directory import (
    MAX_INDEX_BYTES,
    Index,
    is_whole_model,
    read_index,
    require_all,
    select_weights,
    shards_beside,
)
from isologit.checkpoint.folder import LARGEST_FILE
from isologit.checkpoint.gguf import read_gguf
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.weight_file import OpenedFile, all_tensors
from isologit.checkpoint.wording import shown
from isologit.errors import (
    ChangedFileError,
    CheckpointNotFoundError,
    IsologitError,
    MalformedHeaderError,
    MissingExtraError,
    NotACheckpointError,
    StoreError,
    TruncatedFileError,
    UnsupportedFormatError,
)

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# Of the hub, and of its addresses in a browser, which are refused in words of their own.
_ELSEWHERE = ("hf", "http", "https")
_FIRST_BYTES = 64 << 10
# A range of a tensor; several are under way at a time, as the store's client sees fit.
_RANGE_BYTES = 16 << 20
# What tells versions of a file apart, by what stores call it; the first that there is.
_VERSIONS = ("ETag", "etag", "version_id", "generation", "LastModified", "last_modified", "mtime")


def is_store_url(spec: str) -> bool:
    """Whether a text is the address of something in a store, by its scheme."""
    match = _URL.match(spec)
    return match is not None and match[1].lower() not in _ELSEWHERE


def matching(pattern: str) -> list[str]:
    """Return the checkpoints of a store that a pattern matches: files of weights, and directories.

    Raises
    ------
    StoreError, MissingExtraError
        The store cannot be asked.
    """
    store = _Store(pattern)
    found = store.asked(lambda: store.system.glob(store.path, detail=True))
    return [
        store.url(path)
        for path, info in sorted(found.items())
        if (
            any(PurePosixPath(name).suffix.lower() in READ_SUFFIXES for name in store.names(path))
            if info["type"] == "directory"
            else is_whole_model(path)
        )
    ]


def open_store_checkpoint(spec: str) -> Checkpoint:
    """Open a file, or a directory, of a store, and read the headers alone.

    Raises
    ------
    CheckpointNotFoundError
        Nothing has that name.
    StoreError
        The store does not give it out, or cannot be reached.
    MissingExtraError
        The package that knows this kind of store is not installed.
    CheckpointError
        See `isologit.checkpoint.open.open_checkpoint`.
    """
    store = _Store(spec)
    path = store.path
    if (whole := store.info(path)) is not None and whole["type"] == "file":
        folder = StoreFolder(store, str(PurePosixPath(path).parent))
        name = PurePosixPath(path).name
        index = Index(shards_beside(name) if name.endswith(".gguf") else (name,), {})
        require_all(index.files, shown(spec), folder.names.__contains__)
    else:
        folder = StoreFolder(store, path)
        if not folder.names:
            raise CheckpointNotFoundError(
                f"{shown(spec)} does not exist; give a file of weights, or the directory of a "
                "model, in a store"
            )
        index = _selected(folder, shown(spec))
    opened = [_open(folder.source(name)) for name in index.files]
    tensors = all_tensors(
        opened, {name: folder.url(file) for name, file in index.weight_map.items()}
    )
    if not tensors:
        raise NotACheckpointError(f"{shown(spec)} holds no tensors")
    config = folder.find("config.json")
    return Checkpoint(
        spec=spec,
        source="store",
        name=PurePosixPath(path).name or spec,
        revision=folder.version(index.files),
        tensors=tensors,
        config=None if config is None else read_config(config),
        config_name=folder.url("config.json"),
        gguf=opened[0].gguf,
        containers={each.container.name: each.container for each in opened},
        size=sum(folder.size(name) for name in index.files),
        folder=folder,
    )


class _Store:
    """A store's file system as fsspec has it, and the path that an address names in it."""

    def __init__(self, url: str) -> None:
        self.given = url
        from fsspec.core import url_to_fs

        try:
            self.system, self.path = url_to_fs(url)
        except ImportError as error:
            raise MissingExtraError(
                f"{shown(url)}: {error}; expected the package that knows this kind of store. "
                "Install it, or give a model that lies here"
            ) from error
        except (ValueError, OSError) as error:
            raise CheckpointNotFoundError(
                f"{shown(url)} is no address that fsspec knows ({error}); expected one like "
                "s3://bucket/model"
            ) from error

    def url(self, path: str) -> str:
        """Return a path of the store as an address."""
        return str(self.system.unstrip_protocol(path))

    def info(self, path: str) -> Mapping[str, Any] | None:
        """Return what the store says of a path; None where there is none."""
        try:
            found: Mapping[str, Any] = self.asked(lambda: self.system.info(path))
        except CheckpointNotFoundError:
            return None
        return found

    def names(self, path: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the files of a directory by name; none of one that is not there."""
        try:
            entries = self.asked(lambda: self.system.ls(path, detail=True))
        except CheckpointNotFoundError:
            return {}
        return {
            PurePosixPath(each["name"]).name: each for each in entries if each["type"] == "file"
        }

    def asked(self, ask: Any) -> Any:
        """Return what the store answers.

        Raises
        ------
        CheckpointNotFoundError
            There is no such path.
        StoreError
            Whatever else the store, or its client, says.
        """
        try:
            return ask()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CheckpointNotFoundError(
                f"{shown(self.given)} does not exist in the store; give a file of weights, or the "
                "directory of a model"
            ) from error
        except IsologitError:
            raise
        except Exception as error:
            # Each store's client has errors of its own; all say that it does not give this out.
            said = " ".join(str(error).split())[:300]
            raise StoreError(
                f"{shown(self.given)}: the store answered {type(error).__name__}: {shown(said)}; "
                "expected the bytes of a model. Check the address, the credentials and the "
                "network, and run again"
            ) from error


@dataclass(frozen=True, eq=False)
class StoreFolder:
    """The folder of a store that a model's weights lie in; small files are fetched when asked for.

    They are kept in a temporary directory as long as this object lives.
    """

    store: _Store = field(repr=False)
    path: str

    @property
    def name(self) -> str:
        """Its address."""
        return self.store.url(self.path)

    @property
    def revision(self) -> None:
        """None: a store's folder is what it is now."""

    @cached_property
    def _kept(self) -> Path:
        """The directory of what was fetched; it goes with this object."""
        path = Path(mkdtemp(prefix="isologit-"))
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return path

    @cached_property
    def _listed(self) -> Mapping[str, Mapping[str, Any]]:
        return self.store.names(self.path)

    @property
    def names(self) -> Collection[str]:
        """The files in it.

        Raises
        ------
        StoreError
            It cannot be listed.
        """
        return self._listed.keys()

    def url(self, name: str) -> str:
        """Return the address of a file of it."""
        return self.store.url(f"{self.path}/{name}")

    def size(self, name: str) -> int:
        """Return the bytes of one of its files."""
        return int(self._listed[name]["size"])

    def version(self, names: Iterable[str]) -> str:
        """Return a digest of what the store says of the version of some files, and the config."""
        every = [*names, *(["config.json"] if "config.json" in self.names else [])]
        said = [(name, _version(self._listed[name])) for name in sorted(every)]
        return blake2b(repr(said).encode(), digest_size=16).hexdigest()

    def source(self, name: str) -> "StoreFile":
        """Return a file of it as a source of bytes."""
        return StoreFile(
            self.store, f"{self.path}/{name}", self.size(name), _version(self._listed[name])
        )

    def find(self, name: str) -> Path | None:
        """Return where a file lies once it has been fetched; None where there is none.

        Raises
        ------
        StoreError
            It could not be fetched, or is larger than any of its kind.
        """
        if name not in self.names:
            return None
        path = self._kept / name
        if not path.exists():
            if (size := self.size(name)) > LARGEST_FILE:
                raise StoreError(
                    f"{shown(self.url(name))} has {size:,} bytes; up to {LARGEST_FILE:,} are "
                    "fetched of a file that is no weights"
                )
            source = self.source(name)
            path.write_bytes(source.read(0, source.size))
        return path


def _version(info: Mapping[str, Any]) -> str:
    """Return what tells a file's versions apart, as the store names it, with its size."""
    found = next((info[key] for key in _VERSIONS if info.get(key) is not None), None)
    return f"{info.get('size')} {found}"


class StoreFile:
    """A file of a store as a `ByteSource`; its first bytes are read once, for the header."""

    def __init__(self, store: _Store, path: str, size: int, version: str) -> None:
        self.name = store.url(path)
        self.size = size
        self._store, self._path, self._version = store, path, version
        self._lock = Lock()
        self._first = b""

    def read(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes from `offset`.

        Raises
        ------
        TruncatedFileError
            The range reaches past the end of the file.
        StoreError
            The store does not give it out.
        """
        end = offset + length
        if offset < 0 or length < 0 or end > self.size:
            raise TruncatedFileError(
                f"{shown(self.name)} has {self.size:,} bytes; bytes {offset:,} to {end:,} were "
                "asked for"
            )
        with self._lock:
            here = len(self._first)
            if offset <= here and length <= _FIRST_BYTES and end > here:
                # A parser that steps through a header gets twice as much each time.
                stop = min(max(end, 2 * here, _FIRST_BYTES), self.size)
                self._first += bytes(self._ranges(here, stop))
            if end <= len(self._first):
                return memoryview(self._first)[offset:end]
        return self._ranges(offset, end)

    def _ranges(self, start: int, end: int) -> memoryview:
        starts = list(range(start, end, _RANGE_BYTES))
        stops = [min(each + _RANGE_BYTES, end) for each in starts]
        # Exceptions are raised, not returned in the place of bytes.
        parts = self._store.asked(
            lambda: self._store.system.cat_ranges(
                [self._path] * len(starts), starts, stops, on_error="raise"
            )
        )
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(whole) != end - start:
            raise TruncatedFileError(
                f"{shown(self.name)}: the store gave {len(whole):,} bytes for a range of "
                f"{end - start:,}; the file may have been changed while it was read. Run again"
            )
        return memoryview(whole)

    def require_unchanged(self) -> None:
        """Ask the store whether the file is still the one that was listed.

        Raises
        ------
        ChangedFileError
            It is not.
        """
        self._store.system.invalidate_cache()
        info = self._store.info(self._path)
        if info is None or _version(info) != self._version:
            raise ChangedFileError(
                f"{shown(self.name)} was changed while it was analysed, so the figures may be of "
                "neither version; expected the same bytes from begin to end. Run again on a file "
                "that nobody writes to"
            )


@dataclass(frozen=True, eq=False)
class StoreTensors:
    """A container whose tensors are read into memory when they are asked for, each once."""

    source: StoreFile
    tensors: Mapping[str, TensorInfo]
    _read: dict[tuple[int, int], memoryview] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def name(self) -> str:
        """The file's address."""
        return self.source.name

    def read(self, info: TensorInfo) -> memoryview:
        """Return the bytes, read from the store the first time.

        Raises
        ------
        StoreError
            The store does not give them out.
        """
        key = info.offset, info.length
        with self._lock:
            if key not in self._read:
                self._read[key] = self.source.read(*key) if info.length else memoryview(b"")
            return self._read[key]

    def missing(self, info: TensorInfo) -> int:
        """Return how many bytes `read` would have to fetch."""
        return 0 if (info.offset, info.length) in self._read else info.length

    def digest(self, info: TensorInfo) -> "Future[str]":
        """Begin to digest the bytes on a thread, once they are here."""
        return digest_of_view(self.read(info))

    def require_unchanged(self) -> None:
        """Check the file; see `StoreFile.require_unchanged`."""
        self.source.require_unchanged()


def _selected(folder: StoreFolder, where: str) -> Index:
    names = list(folder.names)
    selection = select_weights(names, where)
    if selection.index is None:
        if len(selection.files) > 1:
            require_all(selection.files, where, folder.names.__contains__)
        return Index(selection.files, {})
    if (size := folder.size(selection.index)) > MAX_INDEX_BYTES:
        raise MalformedHeaderError(
            f"{where}: {shown(selection.index)} has {size:,} bytes; up to {MAX_INDEX_BYTES:,} are "
            "read"
        )
    source = folder.source(selection.index)
    return read_index(source.read(0, source.size), shown(source.name), folder.names.__contains__)


def _open(source: StoreFile) -> OpenedFile:
    match READ_SUFFIXES.get(PurePosixPath(source.name).suffix.lower()):
        case "safetensors":
            return OpenedFile(StoreTensors(source, read_header(source).tensors))
        case "gguf":
            header = read_gguf(source)
            return OpenedFile(StoreTensors(source, header.tensors), header.metadata)
    raise UnsupportedFormatError(
        f"{shown(source.name)} cannot be read by ranges, as safetensors and GGUF can; fetch it and "
        "give the path where it lies"
    )
