"""Which models a census is of: the lines of a list, or what a pattern matches."""

import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from isologit.census.naming import canonical
from isologit.checkpoint.containers import READ_SUFFIXES
from isologit.checkpoint.directory import is_whole_model
from isologit.checkpoint.store import is_store_url, matching
from isologit.checkpoint.wording import shown
from isologit.errors import EmptyListError, ListFileError

_MAGIC = "*?["
# A list of a million models with long names has some 100 MB.
_LARGEST_LIST = 1 << 30


def models_of(asked: str, stdin: Callable[[], bytes]) -> list[str]:
    """Return the models that a list, a pattern or stdin names, each once, in their order.

    Parameters
    ----------
    asked
        A file with a model a line (empty lines, and those that begin with ``#``, do not count);
        a pattern of checkpoints, ``runs/*/step-*`` or ``s3://bucket/runs/*``; or ``-``.
    stdin
        Returns all that stands on stdin.

    Returns
    -------
    list of str
        By the name that each has everywhere (`naming.canonical`).

    Raises
    ------
    ListFileError
        It cannot be read as a list.
    EmptyListError
        It names no model.
    """
    if asked == "-":
        found = _lines(stdin(), "stdin")
    elif os.path.isfile(asked):  # noqa: PTH113 - false, and no error, for names too long
        found = _lines(_content(Path(asked)), asked)
    elif any(sign in asked for sign in _MAGIC):
        found = matching(asked) if is_store_url(asked) else _matching(asked)
    else:
        kind = "a directory" if os.path.isdir(asked) else "not there"  # noqa: PTH112
        raise ListFileError(
            f"{shown(asked)} is {kind}; expected a file with a model a line, a pattern in quotes "
            "like 'runs/*/step-*', or - for a list on stdin. One model alone is for isologit audit"
        )
    models = list(dict.fromkeys(canonical(each) for each in found))
    if not models:
        raise EmptyListError(
            f"{shown(asked)} names no model; expected a model a line, or a pattern that matches "
            "files of weights or directories that hold them"
        )
    return models


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _LARGEST_LIST:
            raise ListFileError(
                f"{shown(str(path))} has {size:,} bytes; expected a list of models, a line each"
            )
        return path.read_bytes()
    except OSError as error:
        raise ListFileError(
            f"{shown(str(path))} cannot be read: {error.strerror or error}"
        ) from error


def _lines(content: bytes, where: str) -> Iterable[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ListFileError(
            f"{shown(where)} is not UTF-8 at line {line}; expected a list of models, a line each. "
            "A file of weights alone is for isologit audit"
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _matching(pattern: str) -> Iterable[str]:
    """Return the checkpoints among what a pattern matches: files of weights, and their directories.

    A shard is a part of a model, and is left out: a pattern for directories matches the whole.
    """
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - as a shell would
    return [each for each in found if _is_checkpoint(Path(each))]


def _is_checkpoint(path: Path) -> bool:
    if not path.is_dir():
        return is_whole_model(path.name)
    try:
        return any(each.suffix.lower() in READ_SUFFIXES for each in path.iterdir())
    except OSError:
        return True  # for the job to refuse, in its own words
