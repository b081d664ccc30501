"""Reading a tokenizer's file whole, unless it is larger than any tokenizer is."""

from pathlib import Path

from isologit.checkpoint.folder import LARGEST_FILE
from isologit.checkpoint.wording import shown
from isologit.errors import TokenizerFileError

# The largest published tokenizer has 33 MB (Gemma 3).
MAX_FILE_BYTES = LARGEST_FILE


def bounded_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    TokenizerFileError
        It cannot be read, or is larger than `MAX_FILE_BYTES`.
    """
    require_bounded(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unread(path, error) from error


def require_bounded(path: Path) -> None:
    """Check a file's size before it is read.

    Raises
    ------
    TokenizerFileError
        As `bounded_bytes`.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unread(path, error) from error
    if size > MAX_FILE_BYTES:
        raise TokenizerFileError(
            f"{shown(str(path))} has {size:,} bytes; files of up to {MAX_FILE_BYTES:,} are read"
        )


def _unread(path: Path, error: OSError) -> TokenizerFileError:
    return TokenizerFileError(f"{shown(str(path))} cannot be read: {error.strerror or error}")
