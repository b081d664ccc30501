"""Torch's archives with members changed: written by the standard library, CRCs and all."""

import zipfile
from collections.abc import Callable
from pathlib import Path

Change = Callable[[bytes], bytes]


def repacked(
    path: Path,
    to: Path,
    *,
    method: int = zipfile.ZIP_STORED,
    without: tuple[str, ...] = (),
    adding: dict[str, bytes] | None = None,
    **changes: Change,
) -> Path:
    """Write an archive again with members changed, left out or added, and return its path.

    Parameters
    ----------
    path
        What `torch.save` wrote.
    to
        What to write.
    method
        How members are stored.
    without
        Members to leave out, by their names in the archive's folder.
    adding
        Members to add.
    changes
        For a member ``data/0`` or ``data.pkl``, as ``data_0`` or ``data_pkl``, its new content.
    """
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w", method) as new:
        for name in old.namelist():
            folder, _, own = name.partition("/")
            if own in without:
                continue
            change = changes.pop(own.replace("/", "_").replace(".", "_"), None)
            new.writestr(name, change(old.read(name)) if change else old.read(name))
        for own, content in (adding or {}).items():
            new.writestr(f"{folder}/{own}", content)
    assert not changes, changes
    return to
