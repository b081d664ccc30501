"""What a file is by its first bytes, so that each is read, or refused, as what it is."""

from pathlib import PurePosixPath
from typing import Literal

from isologit.checkpoint.bytes import ByteSource
from isologit.checkpoint.wording import shown
from isologit.errors import NotACheckpointError, UnsupportedFormatError

Kind = Literal["safetensors", "gguf", "torch", "npy", "npz"]

WHAT_IS_READ = "safetensors, GGUF, torch pickles, .npy and .npz are read"

READ_SUFFIXES: dict[str, Kind] = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    **dict.fromkeys((".bin", ".pt", ".pth", ".ckpt"), "torch"),
    ".npy": "npy",
    ".npz": "npz",
}
# Containers of weights that are not read, by the suffix of their name and by their first bytes.
FOREIGN_SUFFIXES = {".ggml": "GGML", ".h5": "HDF5", ".msgpack": "Flax", ".onnx": "ONNX"}
_FOREIGN_MAGIC = {
    b"ggml": "a GGML file",
    b"ggjt": "a GGML file",
    b"\x89HDF\r\n": "an HDF5 file",
}
# Pickles begin with PROTO and its number, 2 to 5.
_MAGIC: dict[bytes, Kind] = {
    b"GGUF": "gguf",
    b"\x93NUMPY": "npy",
    **dict.fromkeys((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "torch"),
}
_ZIP = b"PK\x03\x04"
_LFS_POINTER = b"version https://git-lfs"


def kind_of(source: ByteSource) -> Kind:
    """Return which container a file is: by its bytes, and by its name where these do not tell.

    Raises
    ------
    UnsupportedFormatError
        It is a container of weights that is not read.
    NotACheckpointError
        It is something else.
    """
    where = shown(source.name)
    suffix = PurePosixPath(source.name).suffix.lower()
    start = bytes(source.read(0, min(source.size, 512)))
    if start[8:9] == b"{":
        return "safetensors"
    if start.startswith(_LFS_POINTER):
        raise NotACheckpointError(
            f"{where} is a git-lfs pointer of {source.size:,} bytes, not the file that it stands "
            "for; run git lfs pull"
        )
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    if start.startswith(_ZIP):
        return "npz" if suffix == ".npz" else "torch"
    for magic, words in _FOREIGN_MAGIC.items():
        if start.startswith(magic):
            raise UnsupportedFormatError(f"{where} is {words}; {WHAT_IS_READ}")
    if suffix in FOREIGN_SUFFIXES:
        raise UnsupportedFormatError(
            f"{where} is named as a file of {FOREIGN_SUFFIXES[suffix]}; {WHAT_IS_READ}"
        )
    # A file that calls itself one of these gets its reader's own, closer, words.
    if suffix in READ_SUFFIXES:
        return READ_SUFFIXES[suffix]
    raise NotACheckpointError(
        f"{where} does not begin as a checkpoint does ({source.size:,} bytes); {WHAT_IS_READ}"
    )
