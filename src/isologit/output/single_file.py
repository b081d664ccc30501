"""One output file: all of it, or nothing.

It is written beside its place and put there at the end, as `directory` does with many.
"""

import contextlib
import os
import secrets
from pathlib import Path

from isologit.checkpoint.wording import shown
from isologit.errors import OutputExistsError, OutputWriteError


def check_file_target(target: Path, *, force: bool) -> None:
    """Refuse a file that exists, or has no directory, before any work is done for it.

    With `force` a file may be replaced; a directory never.

    Raises
    ------
    OutputExistsError, OutputWriteError
    """
    if not os.path.lexists(target):
        if not target.parent.is_dir():
            raise OutputWriteError(
                f"{shown(str(target))} cannot be written: {shown(str(target.parent))} is no "
                "directory. Make it, or name a file elsewhere"
            )
        return
    if target.is_dir():
        raise OutputExistsError(
            f"{shown(str(target))} is a directory; expected the name of a file. Give one in it"
        )
    if not force:
        raise OutputExistsError(
            f"{shown(str(target))} exists; nothing was touched. Choose another name, or replace it "
            "with --force"
        )


def write_file(target: Path, content: bytes, *, force: bool = False) -> Path:
    """Write a file, atomically, and return its path.

    Parameters
    ----------
    target
        Where; the directory has to be there.
    content
        All of it.
    force
        Replace an earlier file.

    Raises
    ------
    OutputExistsError
        The target exists, and `force` does not apply.
    OutputWriteError
        The file system refused; the target is as it was before.
    """
    check_file_target(target, force=force)
    temporary = target.parent / f".{target.name[:100]}.{secrets.token_hex(8)}"
    try:
        # Exclusive, so that nobody's file or link is written through; the mode follows the umask.
        with temporary.open("xb") as file:
            file.write(content)
        if not force:
            # Whatever appeared meanwhile is as foreign as what was there before.
            check_file_target(target, force=False)
        temporary.replace(target)
    except OSError as error:
        raise OutputWriteError(
            f"{shown(str(target))} could not be written: {error.strerror or error}; nothing was "
            "left behind. Choose a directory with room and write permission"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return target
