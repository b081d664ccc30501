"""What a file is by its first bytes, so that a file of another kind is refused by its own name."""

from pathlib import Path

from isologit.checkpoint.bytes import ByteSource
from isologit.checkpoint.wording import shown
from isologit.errors import NotACheckpointError, UnsupportedFormatError

WHAT_IS_READ = "safetensors files are read"

# Containers of weights that are not read, by their first bytes and by the suffix of their name.
_FOREIGN_MAGIC = {
    b"GGUF": "a GGUF file",
    b"ggml": "a GGML file",
    b"ggjt": "a GGML file",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF\r\n": "an HDF5 file",
    b"\x80\x02": "a torch pickle",
    b"\x80\x04": "a torch pickle",
}
FOREIGN_SUFFIXES = {
    ".gguf": "GGUF",
    ".ggml": "GGML",
    ".bin": "torch pickle",
    ".pt": "torch pickle",
    ".pth": "torch pickle",
    ".ckpt": "torch pickle",
    ".npy": "NumPy",
    ".npz": "NumPy",
    ".h5": "HDF5",
    ".msgpack": "Flax",
    ".onnx": "ONNX",
}
_LFS_POINTER = b"version https://git-lfs"


def refuse_foreign(source: ByteSource) -> None:
    """Return quietly where a file may be safetensors.

    Raises
    ------
    UnsupportedFormatError
        It is a container of weights of another kind.
    NotACheckpointError
        It is something else.
    """
    where = shown(source.name)
    suffix = Path(source.name).suffix.lower()
    start = bytes(source.read(0, min(source.size, 512)))
    if start[8:9] == b"{":
        return
    if start.startswith(_LFS_POINTER):
        raise NotACheckpointError(
            f"{where} is a git-lfs pointer of {source.size:,} bytes, not the file that it stands "
            "for; run git lfs pull"
        )
    for magic, kind in _FOREIGN_MAGIC.items():
        if start.startswith(magic):
            raise UnsupportedFormatError(f"{where} is {kind}; {WHAT_IS_READ}")
    if start.startswith(b"PK\x03\x04"):
        kind = "a NumPy archive" if suffix == ".npz" else "a zip archive, as torch.save writes"
        raise UnsupportedFormatError(f"{where} is {kind}; {WHAT_IS_READ}")
    if suffix in FOREIGN_SUFFIXES:
        raise UnsupportedFormatError(
            f"{where} is a {FOREIGN_SUFFIXES[suffix]} file by its name; {WHAT_IS_READ}"
        )
    # A file that calls itself safetensors gets the header reader's own, closer, words.
    if suffix != ".safetensors":
        raise NotACheckpointError(
            f"{where} does not begin as a checkpoint does ({source.size:,} bytes); {WHAT_IS_READ}"
        )
