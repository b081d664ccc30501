"""What lies in the Hugging Face cache already, put there by this program or any other.

It is read where it lies, and never written to but by huggingface_hub itself.
"""

import os
from pathlib import Path

from isologit.checkpoint.hub.client import settings
from isologit.checkpoint.hub.spec import is_plain_path


def cached_file(repo_id: str, commit: str, file: str, size: int | None) -> Path | None:
    """Return a file of a commit where it lies whole, or None.

    A file of another size than the hub lists is what some crash has left.
    """
    if not is_plain_path(file):
        return None
    return _whole(_folder(repo_id) / "snapshots" / commit / file, size)


def cached_content(repo_id: str, content: str | None, size: int | None) -> Path | None:
    """Return the bytes of a file of any commit, by the hash that the hub lists, or None."""
    if content is None or size is None or not content.isalnum():
        return None
    return _whole(_folder(repo_id) / "blobs" / content, size)


def cached_commit(repo_id: str, revision: str) -> tuple[str, float] | None:
    """Return the commit that a branch or a tag was when it was last fetched, and when that was."""
    path = _folder(repo_id) / "refs" / revision
    try:
        return path.read_text(encoding="ascii").strip(), path.stat().st_mtime
    except (OSError, ValueError):
        return None


def cached_files(repo_id: str, commit: str) -> dict[str, int]:
    """Return the files of a commit that lie here, which may not be all that it has."""
    folder = _folder(repo_id) / "snapshots" / commit
    found = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def _folder(repo_id: str) -> Path:
    # huggingface_hub's repo_folder_name.
    return Path(settings().HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"


def _whole(path: Path, size: int | None) -> Path | None:
    try:
        lies = path.is_file() and size in (None, path.stat().st_size)
    except OSError:
        return None
    return path if lies else None
