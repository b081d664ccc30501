"""What the processes of one machine share in asking a hub: turns, and waits that it asked for.

For work of many processes. A turn is a lock on a file beside the cache, which the system gives back
when its process ends, however that ends. And a hub counts requests by who asks: where it tells one
of many workers to come back in a minute, the others would be told the same, one after the other.
"""

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from isologit.checkpoint.hub.atomic import read_json, write_json
from isologit.checkpoint.hub.cache import cache_folder
from isologit.checkpoint.wording import shown
from isologit.errors import OutputWriteError

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")
_PAUSE = 0.05
# No hub asks for longer; a clock that was set back must not stop the world.
_LONGEST_HOLD = 3600.0


@contextmanager
def turn(hub: str, at_most: int) -> Iterator[None]:
    """Hold one of so many turns at a hub as long as this lasts; wait for one first.

    Raises
    ------
    OutputWriteError
        There is no room for such a file.
    """
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        turns = [FileLock(_path(hub, f".{n}.lock"), timeout=0) for n in range(at_most)]
        random.shuffle(turns)
        held = _first_free(turns)
    except OSError as error:
        raise OutputWriteError(
            f"{shown(str(_folder()))} cannot be written to: {error.strerror or error}; make room, "
            "or set XDG_CACHE_HOME to a directory that may be written to"
        ) from error
    try:
        yield
    finally:
        held.release()


def note_hold(hub: str, seconds: float) -> None:
    """Note that a hub asked to be left alone for some seconds; the later end of two counts."""
    if seconds > seconds_held(hub):
        # Where there is no room for it, a request that comes too early is told so again.
        with suppress(OSError):
            write_json(_path(hub, ".json"), {"until": time.time() + seconds})


def seconds_held(hub: str) -> float:
    """Return for how many seconds still a hub asked some process of this machine to wait."""
    until = (read_json(_path(hub, ".json")) or {}).get("until")
    left = until - time.time() if isinstance(until, int | float) else 0.0
    return left if 0 < left <= _LONGEST_HOLD else 0.0


def _first_free(turns: list[FileLock]) -> FileLock:
    while True:
        for each in turns:
            with suppress(Timeout):
                each.acquire()
                return each
        time.sleep(_PAUSE)


def _folder() -> Path:
    return cache_folder().parent / "turns"


def _path(hub: str, suffix: str) -> Path:
    return _folder() / (_NOT_IN_NAMES.sub("_", hub.rpartition("://")[2]).strip("_") + suffix)
