"""What identifies a model and its record: one name wherever it is run, a version, a digest."""

import json
import os
import re
from hashlib import blake2b
from pathlib import Path

from isologit.checkpoint.hub.spec import looks_local, parse_hub_spec
from isologit.checkpoint.store import is_store_url
from isologit.errors import CheckpointNotFoundError

#: Rises when a figure of the census comes to mean something else, or to be computed otherwise.
ANALYSIS = 1

# The step of a checkpoint, by the words that trainers put before it.
_STEP = re.compile(
    r"(?<![a-z])(step|checkpoint|ckpt|iteration|iter|epoch)([-_=]?)0*(\d{1,15})(?![a-z\d])",
    re.IGNORECASE,
)
_DIGEST_BYTES = 16


def canonical(spec: str) -> str:
    """Return the name that a model has whatever directory it is asked from.

    A path becomes absolute and keeps its links: what they lead to may change. A model of the hub
    becomes ``hf://org/name[@revision]``.
    """
    if os.path.lexists(spec):
        return _absolute(spec)
    if is_store_url(spec):
        return spec.rstrip("/")
    try:
        hub = None if looks_local(spec) else parse_hub_spec(spec)
    except CheckpointNotFoundError:
        return spec  # for the job to refuse, in its own words
    return _absolute(spec) if hub is None else str(hub)


def _absolute(spec: str) -> str:
    return os.path.abspath(spec)  # noqa: PTH100 - resolve would follow links


def local_version(model: str) -> str | None:
    """Return a digest of the names, sizes and times of a local model's files.

    Of a directory all files in it count, of a file it and the ``config.json`` beside it. None where
    there is no such path; nothing is read.
    """
    path = Path(model)
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                found = [(each.name, each.stat()) for each in entries if each.is_file()]
        else:
            config = path.with_name("config.json")
            found = [(each.name, each.stat()) for each in (path, config) if each.is_file()]
    except (OSError, ValueError):
        return None
    if not found:
        return None
    return digest(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found))


def record_of(model: str, commit: str, tensor: str) -> str:
    """Return the digest that is a record's name: of a model, a version, a tensor, an analysis."""
    return digest([model, commit, tensor, ANALYSIS])


def digest(value: object) -> str:
    """Return a digest of what JSON can hold."""
    return blake2b(json.dumps(value).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def series_of(model: str) -> tuple[str | None, int | None]:
    """Return the series and the step that a model's name tells; None and None where it does not.

    ``org/name@step1000`` is step 1000 of ``org/name@step*``. Of several such words the last counts.
    """
    every = list(_STEP.finditer(model))
    if not every:
        return None, None
    last = every[-1]
    # Zeros before the number belong to it.
    return f"{model[: last.end(2)]}*{model[last.end(3) :]}", int(last[3])
