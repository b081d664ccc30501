"""What has been fetched of hub models and is kept: how much, of what, and its removal."""

from collections.abc import Sequence
from datetime import UTC, datetime

from isologit import __version__
from isologit.checkpoint.hub import cache
from isologit.record import Record

CACHE_SCHEMA = "isologit.cache/1"


class CachedTensor(Record, frozen=True, kw_only=True):
    """A tensor, or a file's header where ``tensor`` is null, that is kept.

    ``bytes`` are those that are here; all of them where ``complete``.
    """

    model: str
    revision: str
    file: str
    tensor: str | None
    bytes: int
    complete: bool
    last_used: str


class Cache(Record, frozen=True, kw_only=True):
    """What is kept, the least recently used first; ``bound`` is what it may come to, in bytes."""

    schema: str = CACHE_SCHEMA
    isologit: str
    directory: str
    bytes: int
    bound: int
    entries: list[CachedTensor]


class Removed(Record, frozen=True, kw_only=True):
    """How many bytes were freed."""

    schema: str = CACHE_SCHEMA
    isologit: str
    directory: str
    freed: int


def listing() -> Cache:
    """Return what is kept.

    Raises
    ------
    CacheBoundError
        ``ISOLOGIT_CACHE_BYTES`` is not a size.
    """
    found = cache.entries()
    return Cache(
        isologit=__version__,
        directory=str(cache.cache_folder()),
        bytes=sum(entry.bytes for entry in found),
        bound=cache.cache_bound(),
        entries=[
            CachedTensor(
                model=entry.repo_id,
                revision=entry.commit,
                file=entry.file,
                tensor=entry.tensor or None,
                bytes=entry.bytes,
                complete=entry.complete,
                last_used=datetime.fromtimestamp(entry.last_used, UTC).isoformat("T", "seconds"),
            )
            for entry in found
        ],
    )


def remove(patterns: Sequence[str] | None) -> Removed:
    """Remove what is kept of some models, or with None everything.

    Parameters
    ----------
    patterns
        As of `isologit.checkpoint.hub.cache.remove`.

    Raises
    ------
    OutputWriteError
        The disk refuses.
    """
    freed = cache.remove(patterns)
    return Removed(isologit=__version__, directory=str(cache.cache_folder()), freed=freed)
