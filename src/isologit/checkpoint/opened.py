"""An opened checkpoint: its tensors by name, wherever they lie, and what its config says.

Nothing here decides which tensor is the unembedding; `head.py` does.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from isologit.checkpoint.folder import Folder
from isologit.checkpoint.locate import candidates
from isologit.checkpoint.stored_form import (
    StoredForm,
    form_of,
    scale_beside,
    scale_values,
    vector_format,
    vector_of,
)
from isologit.checkpoint.tensors import Container, TensorInfo
from isologit.checkpoint.wording import shown, shown_shape
from isologit.errors import TensorNotFoundError, TensorShapeError
from isologit.numerics.formats import Format
from isologit.numerics.stored import Matrix, Vector

Source = Literal["file", "directory", "hub", "store"]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model's files: their tensors by name, none of them read yet.

    Parameters
    ----------
    spec
        What the user wrote.
    source
        Whether that is a file, a directory, a model of the hub, or of an object store.
    name
        A short name to show.
    revision
        The commit, where it is a hub's or lies in a hub cache; of a store a digest of what that
        says of the files' versions; else None.
    tensors
        Every tensor of every file, by name. Those of a hub's shards are looked up in their headers
        as they are asked for.
    config
        ``config.json`` of the directory, or beside the file; None where there is none.
    config_name
        What messages call that.
    gguf
        The key-value pairs of a GGUF file's header; None for other files.
    containers
        The weight files by name, in the order in which they were read.
    size
        Bytes of all weight files.
    folder
        The files beside the weights.
    """

    spec: str
    source: Source
    name: str
    revision: str | None
    tensors: Mapping[str, TensorInfo]
    config: Mapping[str, Any] | None
    config_name: str
    gguf: Mapping[str, Any] | None
    containers: Mapping[str, Container] = field(repr=False)
    size: int
    folder: Folder = field(repr=False)

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
        for container in self.containers.values():
            container.require_unchanged()

    def missing(self, names: tuple[str, ...]) -> int:
        """Return how many bytes have to be fetched to read some tensors.

        Raises
        ------
        TensorNotFoundError
            No tensor has one of the names.
        """
        infos = [self.info(name) for name in names]
        return sum(self.containers[info.file].missing(info) for info in infos)

    def digest(self, name: str) -> "Future[str]":
        """Begin to compute the sha256 of a tensor's bytes as stored, beside everything else.

        Raises
        ------
        TensorNotFoundError
            No tensor has that name.
        """
        info = self.info(name)
        return self.containers[info.file].digest(info)

    def form(self, name: str) -> StoredForm:
        """Return how a tensor ``[V, d]`` is stored, by its header alone.

        Raises
        ------
        TensorNotFoundError
            No tensor has that name.
        TensorShapeError
            It does not have two dimensions, or one of them is 0; or its scale has another shape
            than goes with it.
        UnsupportedFormatError
            Its number format is not read.
        """
        info = self.info(name)
        if len(info.shape) != 2 or 0 in info.shape:
            raise TensorShapeError(
                f"{shown(self.spec)}: {shown(name)} is {shown_shape(info.shape)}; expected a "
                "matrix [V, d] with at least one row and one column"
            )
        return form_of(self.spec, info, scale_beside(self.tensors, info), self.config)

    def matrix(self, name: str) -> Matrix:
        """Return a tensor ``[V, d]`` as it is stored: a view of its file, no byte is copied.

        A tensor of a hub model is fetched first.

        Raises
        ------
        TensorNotFoundError, TensorShapeError, UnsupportedFormatError
            As `form`.
        HubError
            It could not be fetched.
        """
        form = self.form(name)
        scale = None
        if form.scale is not None:
            scale = scale_values(self._bytes(form.scale), form.scale)
        return form.matrix(self._bytes(form.info), scale)

    def vector(self, name: str) -> Vector:
        """Return a tensor ``[n]``, or ``[1, n]``, as a view of its file.

        Binary64 numbers are rounded once to binary32, as a matrix of them is.

        Raises
        ------
        TensorNotFoundError
            No tensor has that name.
        TensorShapeError
            It has another shape.
        UnsupportedFormatError
            Its number format is not read.
        HubError
            It could not be fetched.
        """
        format_, info = self.vector_format(name), self.info(name)
        return vector_of(self._bytes(info), info, format_)

    def vector_format(self, name: str) -> Format:
        """Return the format of the vector that `vector` would return, by its header alone.

        Raises
        ------
        TensorNotFoundError, TensorShapeError, UnsupportedFormatError
            As `vector`.
        """
        info = self.info(name)
        if not info.shape or len(info.shape) > 2 or info.shape[:-1] not in ((), (1,)):
            raise TensorShapeError(
                f"{shown(self.spec)}: {shown(name)} is {shown_shape(info.shape)}; expected a "
                "vector [n]"
            )
        return vector_format(self.spec, info)

    def _bytes(self, info: TensorInfo) -> memoryview:
        return self.containers[info.file].read(info)
