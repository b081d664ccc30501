"""The output directory: all of it, or nothing.

Everything is written into a temporary directory beside the target and renamed at the end.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from isologit.errors import OutputExistsError, OutputWriteError

# What marks a directory as ours to replace.
_MARK = "summary.json"

Writer = Callable[[Path], None]


def check_target(target: Path, *, force: bool) -> None:
    """Refuse a target that exists, before any work is done for it.

    With `force` a directory that isologit wrote, or an empty one, may be replaced; nothing else.

    Raises
    ------
    OutputExistsError
    """
    if not (target.exists() or target.is_symlink()):
        return
    if not force:
        raise OutputExistsError(
            f"{target} exists; nothing was touched. Choose another directory, or replace it with "
            "--force"
        )
    ours = target.is_dir() and not target.is_symlink()
    if ours:
        names = {entry.name for entry in target.iterdir()}
        ours = not names or _MARK in names
    if not ours:
        raise OutputExistsError(
            f"{target} exists and holds no {_MARK}, so isologit did not write it; --force replaces "
            "its own directories alone. Choose another directory"
        )


def write_directory(target: Path, files: dict[str, Writer], *, force: bool = False) -> list[Path]:
    """Write named files into a new directory, atomically.

    Parameters
    ----------
    target
        The directory to make; its parents are made too.
    files
        For each name a function that writes the file at the path it is given.
    force
        Replace an earlier output directory.

    Returns
    -------
    list of Path
        The files, as they lie in the end.

    Raises
    ------
    OutputExistsError
        The target exists, and `force` does not apply.
    OutputWriteError
        The file system refused; the target is as it was before.
    """
    check_target(target, force=force)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        for name, write in files.items():
            write(temporary / name)
        # mkdtemp's directories are private; what a user asked for follows the umask.
        temporary.chmod(0o777 & ~_umask())
        _put_in_place(temporary, target)
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        reason = error.strerror or str(error)
        raise OutputWriteError(
            f"{target} could not be written: {reason}; nothing was left behind. "
            "Choose a directory with room and write permission"
        ) from error
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    return [target / name for name in files]


def _put_in_place(temporary: Path, target: Path) -> None:
    """Rename the finished directory to its target, setting an old one aside until it is there."""
    if not target.exists():
        temporary.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old / target.name)
    try:
        temporary.rename(target)
    except OSError:
        (old / target.name).rename(target)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
