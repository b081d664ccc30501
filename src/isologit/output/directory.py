"""The output directory: all of it, or nothing.

Everything is written into a temporary directory beside the target and renamed at the end.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from isologit.checkpoint.wording import shown
from isologit.errors import OutputExistsError, OutputWriteError

# What marks a directory as ours to replace: our summary, and beside it nothing but our own files.
_MARK = "summary.json"
_OURS = {
    _MARK,
    *("tokens.parquet", "classes.parquet", "report.html"),
    *("cluster_members.safetensors", "cluster_logits.safetensors"),
}
_SCHEMA = re.compile(rb'\s*\{\s*"schema"\s*:\s*"isologit\.')

Writer = Callable[[Path], None]


def check_target(target: Path, *, force: bool) -> None:
    """Refuse a target that exists, before any work is done for it.

    With `force` a directory that isologit wrote, or an empty one, may be replaced; nothing else.

    Raises
    ------
    OutputExistsError
    """
    # lexists takes any name: one that is too long is for the write to refuse.
    if not os.path.lexists(target):
        return
    if not force:
        raise OutputExistsError(
            f"{target} exists; nothing was touched. Choose another directory, or replace it with "
            "--force"
        )
    foreign = _foreign(target)
    if foreign is not None:
        raise OutputExistsError(
            f"{target} exists and {foreign}; nothing was touched. --force replaces only a "
            "directory that isologit wrote. Choose another directory"
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


def _foreign(target: Path) -> str | None:
    """Return what shows that isologit did not make all of a target, or None where it did."""
    if target.is_symlink() or not target.is_dir():
        return "is not a directory"
    # A directory that one stands in cannot be renamed away.
    if target.resolve() == Path.cwd():
        return "is the current directory"
    try:
        names = {entry.name for entry in target.iterdir()}
        if not names:
            return None
        if strangers := sorted(names - _OURS):
            return f"holds {shown(strangers[0])}, which isologit did not write"
        with (target / _MARK).open("rb") as file:
            ours = _SCHEMA.match(file.read(256))
    except OSError as error:
        return f"cannot be looked into ({error.strerror or error})"
    return None if ours else f"holds a {_MARK} that isologit did not write"


def _put_in_place(temporary: Path, target: Path) -> None:
    """Rename the finished directory to its target, setting an old one aside until it is there."""
    if not target.exists():
        temporary.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        target.rename(old / target.name)
        try:
            temporary.rename(target)
        except OSError:
            (old / target.name).rename(target)
            raise
    except OSError:
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
