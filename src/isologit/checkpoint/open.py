"""Opening a checkpoint: from what the user wrote to named tensors and a config, all on disk.

Nothing here decides which tensor is the unembedding; `head.py` does.
"""

import os
import re
import stat
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from isologit.checkpoint.bytes import MappedFile
from isologit.checkpoint.config import read_config
from isologit.checkpoint.containers import refuse_foreign
from isologit.checkpoint.digest import digest_beside
from isologit.checkpoint.directory import weight_files
from isologit.checkpoint.locate import candidates
from isologit.checkpoint.safetensors import read_header
from isologit.checkpoint.tensors import TensorInfo
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import (
    CheckpointNotFoundError,
    MalformedHeaderError,
    MissingShardError,
    NotACheckpointError,
    TensorNotFoundError,
    TensorShapeError,
    UnsupportedFormatError,
)
from isologit.numerics.formats import FORMATS, Format
from isologit.numerics.stored import Matrix, StoredWords, Vector

# Names that say nothing of the model: the folder's name is shown instead.
_PLAIN_STEMS = {"model", "w", "weights", "consolidated", "pytorch_model", "adapter_model"}
_HUB_SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>\w+)")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model's files: their tensors by name, none of them read yet.

    Parameters
    ----------
    spec
        What the user wrote.
    source
        Whether that is a file or a directory.
    path
        The same as a path.
    name
        A short name to show.
    revision
        The commit, where the path lies in a hub cache; else None.
    tensors
        Every tensor of every file, by name.
    config
        ``config.json`` of the directory, or beside the file; None where there is none.
    config_path
        Where that was read.
    files
        The weight files, in the order in which they were read.
    """

    spec: str
    source: Literal["file", "directory"]
    path: Path
    name: str
    revision: str | None
    tensors: Mapping[str, TensorInfo]
    config: Mapping[str, Any] | None
    config_path: Path | None
    files: tuple[Path, ...]
    _mapped: Mapping[str, MappedFile] = field(repr=False)

    def info(self, name: str) -> TensorInfo:
        """Return where a tensor lies.

        Raises
        ------
        TensorNotFoundError
            No tensor has that name; the message lists those of two dimensions.
        """
        if name not in self.tensors:
            raise TensorNotFoundError(
                f"{shown(self.spec)} has no tensor {shown(name)}; its matrices are: "
                f"{candidates(self.tensors)}"
            )
        return self.tensors[name]

    def require_unchanged(self) -> None:
        """Check that no weight file has been written to since it was opened.

        Raises
        ------
        ChangedFileError
        """
        for source in self._mapped.values():
            source.require_unchanged()

    def digest(self, name: str) -> Future[str]:
        """Begin to compute the sha256 of a tensor's bytes as stored, beside everything else.

        Raises
        ------
        TensorNotFoundError
            No tensor has that name.
        """
        info = self.info(name)
        return digest_beside(self._mapped[info.file], info.offset, info.length)

    def matrix(self, name: str) -> Matrix:
        """Return a tensor ``[V, d]`` as a view of its file; no byte is copied.

        Raises
        ------
        TensorNotFoundError
            No tensor has that name.
        TensorShapeError
            It does not have two dimensions, or one of them is 0.
        UnsupportedFormatError
            Its number format is not read.
        """
        info = self.info(name)
        if len(info.shape) != 2 or 0 in info.shape:
            raise TensorShapeError(
                f"{shown(self.spec)}: {shown(name)} is {shown_shape(info.shape)}; expected a "
                "matrix [V, d] with at least one row and one column"
            )
        words, format_ = self._words(info)
        return Matrix(words.reshape(info.shape), format_)

    def vector(self, name: str) -> Vector:
        """Return a tensor ``[n]``, or ``[1, n]``, as a view of its file.

        Raises
        ------
        TensorNotFoundError
            No tensor has that name.
        TensorShapeError
            It has another shape.
        UnsupportedFormatError
            Its number format is not read.
        """
        info = self.info(name)
        if not info.shape or len(info.shape) > 2 or info.shape[:-1] not in ((), (1,)):
            raise TensorShapeError(
                f"{shown(self.spec)}: {shown(name)} is {shown_shape(info.shape)}; expected a "
                "vector [n]"
            )
        words, format_ = self._words(info)
        return Vector(words, format_)

    def _words(self, info: TensorInfo) -> tuple[StoredWords, Format]:
        by_name = {f.safetensors: f for f in FORMATS}
        if info.dtype not in by_name:
            raise UnsupportedFormatError(
                f"{shown(self.spec)}: {shown(info.name)} is stored as {shown(info.dtype)}; "
                f"{', '.join(by_name)} are read"
            )
        format_ = by_name[info.dtype]
        view = self._mapped[info.file].read(info.offset, info.length)
        # frombuffer takes any byte offset: safetensors promises no alignment.
        return np.frombuffer(view, dtype=format_.word_dtype), format_


def open_checkpoint(spec: str | Path) -> Checkpoint:
    """Open a safetensors file, or a directory of them, and read the headers alone.

    Parameters
    ----------
    spec
        A file, or a directory as the Hugging Face hub lays it out. ``config.json`` in the
        directory, or beside the file, is read too.

    Raises
    ------
    CheckpointNotFoundError
        No such path.
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
    """
    path = Path(spec)
    source = _kind(path, str(spec))
    files, weight_map = weight_files(path) if source == "directory" else ((path,), {})
    mapped = {str(file): MappedFile(file) for file in files}
    tensors = _read_tensors(mapped, weight_map)
    if not tensors:
        raise NotACheckpointError(f"{shown(str(spec))} holds no tensors")
    config_path = (path if source == "directory" else path.parent) / "config.json"
    has_config = config_path.is_file()
    name, revision = _name(path, source)
    return Checkpoint(
        spec=str(spec),
        source=source,
        path=path,
        name=name,
        revision=revision,
        tensors=tensors,
        config=read_config(config_path) if has_config else None,
        config_path=config_path if has_config else None,
        files=files,
        _mapped=mapped,
    )


def _kind(path: Path, spec: str) -> Literal["file", "directory"]:
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
        raise CheckpointNotFoundError(
            f"{shown(spec)} does not exist; give a .safetensors file or a model's directory "
            "(org/name models of the hub are not fetched by this version)"
        )
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode):
        return "file"
    raise NotACheckpointError(f"{shown(spec)} is neither a file nor a directory")


def _read_tensors(
    mapped: Mapping[str, MappedFile], weight_map: Mapping[str, str]
) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for file, source in mapped.items():
        refuse_foreign(source)
        for name, info in read_header(source).tensors.items():
            # Of a tensor stored in two shards the index says which counts; one that the index
            # forgot is still there, as it is for transformers, unless two shards claim it.
            if weight_map.get(name, file) != file:
                continue
            if name in tensors:
                raise MalformedHeaderError(
                    f"{shown(name)} is in {shown(tensors[name].file)} and in {shown(file)}, and "
                    "the index does not say which counts"
                )
            tensors[name] = info
    for name, file in weight_map.items():
        if name not in tensors:
            raise MissingShardError(
                f"the index places {shown(name)} in {shown(file)}, which does not hold it; "
                "fetch the model again"
            )
    return tensors


def _name(path: Path, source: str) -> tuple[str, str | None]:
    # abspath and not resolve: in a hub cache every file is a link to a blob named by its hash.
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    folder = absolute if source == "directory" else absolute.parent
    if match := _HUB_SNAPSHOT.search(folder.as_posix()):
        return f"{match['owner']}/{match['name']}", match["commit"]
    if source == "file" and absolute.stem.lower() not in _PLAIN_STEMS:
        return absolute.stem, None
    return folder.name or str(path), None
