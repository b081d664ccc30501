"""The fetch of a range into a `Part`, by several connections at once.

The thread that asks waits and tells how far things are; others fetch. Ctrl-C stops them where they
are: what has arrived stays, and a later run goes on from there.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from threading import Event, Lock, Thread

from isologit.checkpoint.hub.address import Address
from isologit.checkpoint.hub.failures import Lied, failure_of
from isologit.checkpoint.hub.part import Outdated, Part
from isologit.checkpoint.hub.patience import Stopped
from isologit.checkpoint.hub.quiet import quiet

CONNECTIONS = 6
PIECE_BYTES = 16 << 20
# Below this a connection of its own costs more than it saves.
_SMALLEST_PIECE = 1 << 20
# A connection that has brought this much before it broke was worth making.
_WORTH_BYTES = 1 << 20
_TELL_EVERY = 0.1
# A thread that waits for a server notices the end of the job only when that sends something.
_PATIENCE_AT_END = 1.0


def transfer(address: Address, offset: int, part: Part, told: Callable[[], None]) -> None:
    """Fetch what a part lacks.

    Parameters
    ----------
    address
        The file.
    offset
        Where in it the part begins.
    part
        Complete on return. After an error it holds what may be kept.
    told
        Called at the beginning, some ten times a second, and at the end.

    Raises
    ------
    HubError
        See `failures`. Where a server contradicted itself nothing of the part is kept.
    OutputWriteError
        The disk refuses.
    KeyboardInterrupt, and whatever `told` raises
        After the connections were stopped.
    """
    told()
    try:
        try:
            _Transfer(address, offset, part).run(told)
        except Outdated:
            # The first answer showed it, so nothing is lost but what an earlier run had fetched.
            part.clear()
            _Transfer(address, offset, part).run(told)
    except (Lied, Outdated) as error:
        part.discard()
        lie = error if isinstance(error, Lied) else Lied("its ETag changed while it was fetched")
        raise failure_of(lie, address.subject).final from error
    told()


class _Transfer:
    def __init__(self, address: Address, offset: int, part: Part) -> None:
        self._address = address
        self._offset = offset
        self._part = part
        self._lock = Lock()
        self._stop = Event()
        self._error: BaseException | None = None
        gaps = part.gaps()
        missing = sum(end - begin for begin, end in gaps)
        even = -(-missing // CONNECTIONS)
        size = min(PIECE_BYTES, max(_SMALLEST_PIECE, even))
        self._pieces = deque(
            (at, min(at + size, end)) for begin, end in gaps for at in range(begin, end, size)
        )

    def run(self, told: Callable[[], None]) -> None:
        """Fetch all pieces, or raise what went wrong first."""
        threads = [
            Thread(target=self._work, name="fetch", daemon=True)
            for _ in range(min(CONNECTIONS, len(self._pieces)))
        ]
        with quiet():
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    while thread.is_alive() and not self._stop.is_set():
                        thread.join(_TELL_EVERY)
                        told()
            finally:
                self._stop.set()
                enough = time.monotonic() + _PATIENCE_AT_END
                for thread in threads:
                    if thread.ident is not None:
                        thread.join(max(0.0, enough - time.monotonic()))
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (piece := self._next()) is not None:
                self._fetch(*piece)
        except Stopped:
            pass
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self._stop.set()

    def _next(self) -> tuple[int, int] | None:
        with self._lock:
            return self._pieces.popleft() if self._pieces and not self._stop.is_set() else None

    def _fetch(self, start: int, stop: int) -> None:
        """Fetch a piece, and go on where a connection broke."""
        attempt = 0
        patience = self._address.patience
        while start < stop:
            patience.wait(self._stop)
            begun = start
            try:
                first, last = self._offset + start, self._offset + stop
                with closing(self._address.read(first, last, self._stop)) as parts:
                    for content, etag in parts:
                        if self._stop.is_set():
                            raise Stopped
                        self._part.belongs_to(etag)
                        self._part.write(start, content)
                        start += len(content)
            except (Stopped, Lied, Outdated):
                raise
            except Exception as error:
                attempt = 1 if start - begun >= _WORTH_BYTES else attempt + 1
                patience.after(failure_of(error, self._address.subject), attempt, self._stop)
