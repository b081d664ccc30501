"""What the hub has said of a model: which commit a branch was, and which files a commit has.

A commit never changes, so what was said of one is not asked again. What a branch was is used in
offline mode alone.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from isologit.checkpoint.hub.atomic import read_json, write_json
from isologit.checkpoint.hub.cache import repo_folder
from isologit.checkpoint.hub.client import Listed
from isologit.checkpoint.hub.spec import is_plain_path

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit hash, which stands for itself."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def note_commit(repo_id: str, revision: str, commit: str) -> None:
    """Note which commit a branch or a tag is now, where the disk allows it."""
    with suppress(OSError):
        write_json(_ref(repo_id, revision), {"revision": revision, "commit": commit})


def noted_commit(repo_id: str, revision: str) -> tuple[str, float] | None:
    """Return which commit a branch or a tag was, and when that was noted; None where never."""
    path = _ref(repo_id, revision)
    told = read_json(path)
    commit = told.get("commit") if told else None
    if not isinstance(commit, str) or not is_commit(commit):
        return None
    try:
        return commit, path.stat().st_mtime
    except OSError:
        return None


def note_files(repo_id: str, commit: str, files: Mapping[str, Listed]) -> None:
    """Note which files a commit has, where the disk allows it."""
    told = {name: [listed.size, listed.content] for name, listed in files.items()}
    with suppress(OSError):
        write_json(_listing(repo_id, commit), {"commit": commit, "files": told})


def noted_files(repo_id: str, commit: str) -> dict[str, Listed] | None:
    """Return which files a commit has; None where that was not noted."""
    told = read_json(_listing(repo_id, commit))
    files = told.get("files") if told else None
    if not isinstance(files, dict):
        return None
    found = {}
    for name, said in files.items():
        match said:
            case [int() | None as size, str() | None as content] if is_plain_path(name):
                found[name] = Listed(size, content)
            case _:
                return None
    return found


def _ref(repo_id: str, revision: str) -> Path:
    # A revision may hold slashes, and differ from another in case alone.
    return repo_folder(repo_id) / f"ref-{sha256(revision.encode()).hexdigest()[:16]}.json"


def _listing(repo_id: str, commit: str) -> Path:
    return repo_folder(repo_id) / f"files-{commit}.json"
