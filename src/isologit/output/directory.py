"""The output directory: all of it, or nothing.

Everything is written into a temporary directory beside the target and renamed at the end.
"""

import contextlib
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
#: Every file that a result directory may hold.
OURS = {
    _MARK,
    *("tokens.parquet", "classes.parquet", "report.html", "W.safetensors"),
    *("cluster_members.safetensors", "cluster_logits.safetensors"),
}
_SCHEMA = re.compile(rb'\s*\{\s*"schema"\s*:\s*"isologit\.')

# Where an earlier directory waits; it is only there still if it could not be put back.
_ASIDE = "old"

Writer = Callable[[Path], None]


def check_target(target: Path, *, force: bool) -> None:
    """Refuse a target that exists, before any work is done for it.

    With `force` a directory that isologit wrote, or an empty one, may be replaced; nothing else.

    Raises
    ------
    OutputExistsError
    OutputWriteError
        No directory can be made there.
    """
    # lexists takes any name: one that is too long is for the write to refuse.
    if not os.path.lexists(target):
        _require_writable(target)
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


def _require_writable(target: Path) -> None:
    """Check that a directory can be made, by its nearest parent that is there."""
    parent = target.absolute().parent
    while not os.path.lexists(parent) and parent != parent.parent:
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise OutputWriteError(
            f"{target} could not be written: {shown(str(parent))} is no directory that may be "
            "written to; nothing was left behind. Choose a directory with room and write permission"
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
    made: list[Path] = []
    try:
        made = _make_parents(target.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        # mkdtemp's directories are private; what a user asked for follows the umask, as this does.
        finished = temporary / target.name
        finished.mkdir()
        for name, write in files.items():
            write(finished / name)
        # Whatever appeared meanwhile is as foreign as what was there before.
        check_target(target, force=force)
        _put_in_place(finished, target, aside=temporary / _ASIDE)
        shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        _remove(temporary, made)
        reason = error.strerror or str(error)
        left = "nothing was left behind"
        if temporary is not None and (temporary / _ASIDE).exists():
            left = f"the earlier directory could not be put back and is {temporary / _ASIDE}"
        raise OutputWriteError(
            f"{target} could not be written: {reason}; {left}. "
            "Choose a directory with room and write permission"
        ) from error
    except BaseException:
        _remove(temporary, made)
        raise
    return [target / name for name in files]


def _make_parents(parent: Path) -> list[Path]:
    """Make missing parents, and return those that were made, innermost first."""
    missing = []
    while not parent.exists() and parent != parent.parent:
        missing.append(parent)
        parent = parent.parent
    made: list[Path] = []
    try:
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            made.insert(0, directory)
    except OSError:
        _remove(None, made)
        raise
    return made


def _remove(temporary: Path | None, made: list[Path]) -> None:
    """Take back what a failed write left, and nothing that somebody else put there."""
    if temporary is not None and not (temporary / _ASIDE).exists():
        shutil.rmtree(temporary, ignore_errors=True)
    for directory in made:
        with contextlib.suppress(OSError):
            directory.rmdir()


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
        if strangers := sorted(names - OURS):
            return f"holds {shown(strangers[0])}, which isologit did not write"
        with (target / _MARK).open("rb") as file:
            ours = _SCHEMA.match(file.read(256))
    except OSError as error:
        return f"cannot be looked into ({error.strerror or error})"
    return None if ours else f"holds a {_MARK} that isologit did not write"


def _put_in_place(finished: Path, target: Path, *, aside: Path) -> None:
    """Rename the finished directory to its target, an old one aside first and back on any failure.

    Renaming onto a directory that holds something fails, so nobody else's can be lost.
    """
    if not os.path.lexists(target):
        finished.rename(target)
        return
    try:
        target.rename(aside)
        finished.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise
