"""What a user may write for a model of the hub, told from a path by its spelling alone.

No text that looks like a path is a model's name: a typo must never become a request.
"""

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from isologit.checkpoint.wording import shown
from isologit.errors import CheckpointNotFoundError

_SCHEME = "hf://"
# The rules of huggingface_hub's validate_repo_id: letters of ASCII, digits and ``-_.``, at most 96.
_NAME = re.compile(r"\w[\w.-]{0,95}", re.ASCII)
# Of git's rules for names of references (git-check-ref-format) those that matter to a path or URL.
_REVISION = re.compile(r"[!-~]{1,250}")
_NOT_IN_REVISIONS = re.compile(r"[\\~^:?*\[]|\.\.|//|^/|/$")
# References that are written with slashes on the hub.
_WITH_SLASHES = re.compile(r"refs/(?:pr|convert|heads|tags)/[^/]+")
_OTHER_KINDS = ("datasets", "spaces", "kernels", "buckets")
# A name that ends so is a file, and no model.
_FILE_SUFFIXES = (
    *(".safetensors", ".gguf", ".ggml", ".bin", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".h5"),
    *(".onnx", ".msgpack", ".pkl", ".model", ".json", ".jsonl", ".txt", ".md", ".csv", ".parquet"),
    *(".py", ".yaml", ".yml", ".toml", ".zip", ".tar", ".gz"),
)


@dataclass(frozen=True)
class HubSpec:
    """A model of the hub, or one file of it.

    Parameters
    ----------
    repo_id
        ``org/name``, or ``name`` alone as a few old models have it.
    revision
        A branch, a tag or a commit; None stands for the default branch.
    file
        A path inside the repository; None stands for whatever holds the weights.
    """

    repo_id: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        """Return it as ``hf://org/name@revision/file``."""
        revision = f"@{self.revision}" if self.revision else ""
        file = f"/{self.file}" if self.file else ""
        return f"{_SCHEME}{self.repo_id}{revision}{file}"


def parse_hub_spec(text: str) -> HubSpec | None:
    """Return the model of the hub that a text names, or None where the text is a path.

    ``org/name``, ``org/name@revision`` and ``hf://org/name[@revision][/file]`` name one; a model
    without an organisation needs the ``hf://``. A revision may hold slashes (``refs/pr/1``); where
    a file follows one that does not begin with ``refs/``, write them as ``%2F``.

    Raises
    ------
    CheckpointNotFoundError
        The text begins with ``hf://`` and goes on as no model's name does.
    """
    if text.startswith(_SCHEME):
        return _of_address(text)
    repo_id, at, revision = text.partition("@")
    if repo_id.count("/") != 1:
        return None
    if text.lower().endswith(_FILE_SUFFIXES) or repo_id.lower().endswith(_FILE_SUFFIXES):
        return None
    if not _is_repo_id(repo_id) or (at and not _is_revision(revision)):
        return None
    return HubSpec(repo_id, revision or None)


def looks_local(text: str) -> bool:
    """Whether a text that could name a model is a path with a typo: its folder exists here.

    ``models/lama`` is meant for a path where there is a folder ``models``. What begins with
    ``hf://`` never is.
    """
    if text.startswith(_SCHEME):
        return False
    first = re.split(r"[/\\]", text, maxsplit=1)[0]
    return os.path.isdir(first)  # noqa: PTH112 - false, and no error, for names too long


def _of_address(text: str) -> HubSpec:
    rest = text.removeprefix(_SCHEME)
    kind, _, after = rest.partition("/")
    if kind in _OTHER_KINDS and after.count("/"):
        raise CheckpointNotFoundError(
            f"{shown(text)} names one of the hub's {kind}; expected a model: "
            f"{_SCHEME}org/name[@revision][/file]"
        )
    if kind == "models" and after.count("/"):
        rest = after
    before, at, revision_and_file = rest.partition("@")
    if at:
        repo_id, file = before, None
        revision, file = _revision_and_file(revision_and_file)
    else:
        revision = None
        repo_id, file = _repo_id_and_file(before)
    wrong = (
        (not _is_repo_id(repo_id), f"the name {shown(repo_id)} is not one that the hub allows"),
        (bool(at) and not _is_revision(revision or ""), f"{shown(revision or '')} is no revision"),
        (file is not None and not is_plain_path(file), f"{shown(file or '')} is no file's path"),
    )
    for is_wrong, why in wrong:
        if is_wrong:
            raise CheckpointNotFoundError(
                f"{shown(text)} is no model of the hub: {why}; expected "
                f"{_SCHEME}org/name[@revision][/file]"
            )
    return HubSpec(repo_id, revision, file)


def _repo_id_and_file(text: str) -> tuple[str, str | None]:
    parts = text.split("/", 2)
    if len(parts) == 2 and parts[1].lower().endswith(_FILE_SUFFIXES):
        return parts[0], parts[1]
    return "/".join(parts[:2]), parts[2] if len(parts) > 2 else None


def _revision_and_file(text: str) -> tuple[str, str | None]:
    if special := _WITH_SLASHES.match(text):
        revision, rest = special[0], text[special.end() :]
        return unquote(revision), rest.removeprefix("/") if rest else None
    first, slash, rest = text.partition("/")
    if slash and rest.lower().endswith(_FILE_SUFFIXES):
        return unquote(first), rest
    return unquote(text), None


def _is_repo_id(text: str) -> bool:
    names = text.split("/")
    return len(names) <= 2 and all(map(_is_name, names))


def _is_name(text: str) -> bool:
    return (
        _NAME.fullmatch(text) is not None
        and not text.endswith(("-", "."))
        and "--" not in text
        and ".." not in text
        and not text.endswith(".git")
    )


def _is_revision(text: str) -> bool:
    return _REVISION.fullmatch(text) is not None and _NOT_IN_REVISIONS.search(text) is None


def is_plain_path(text: str) -> bool:
    """Whether a file's path stays inside its repository, on every system."""
    return (
        text.isprintable()
        and "\\" not in text
        and ":" not in text
        and all(part not in ("", ".", "..") for part in text.split("/"))
    )
