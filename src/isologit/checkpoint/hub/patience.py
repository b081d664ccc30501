"""How often a request is tried again, and how long a server is waited for, within bounds.

The bounds hold for all requests of one model together.
"""

import time
from collections.abc import Callable
from threading import Event, Lock
from typing import TypeVar

from isologit.checkpoint.hub.failures import Failure, Subject, failure_of
from isologit.checkpoint.hub.sharing import note_hold, seconds_held

# Seconds that servers may ask for, in all.
LONGEST_WAIT = 60.0
# Seconds before the second attempt; each further one waits twice as long.
FIRST_PAUSE = 0.5
ATTEMPTS = 5
# Where nobody answers at all, the user wants to know soon.
ATTEMPTS_TO_REACH = 2
# Of a server that asks to wait, each time.
ATTEMPTS_AS_ASKED = 20

T = TypeVar("T")

# Seconds that servers may ask for in the place of `LONGEST_WAIT`, where all processes of this
# machine wait together; None where each waits for itself.
_together: float | None = None


def share_waits(longest: float) -> None:
    """Wait for servers up to so many seconds a model from now on, and all processes together.

    For work that nobody watches, of many processes: what one is told to wait, all of them wait.
    """
    global _together  # a process-wide setting
    _together = longest


class Stopped(Exception):  # noqa: N818 - no error of the user's
    """The job was stopped while this request waited."""


class Patience:
    """What is left of the time that a hub may make us wait; several threads share it."""

    def __init__(self, hub: str = "") -> None:
        self._hub = hub
        self._lock = Lock()
        self._until = 0.0
        self._granted = 0.0

    def wait(self, stop: Event) -> None:
        """Wait as long as a server has asked for.

        Raises
        ------
        Stopped
            `stop` was set, before or meanwhile.
        """
        if _together is not None and self._hub:
            self._until = max(self._until, time.monotonic() + seconds_held(self._hub))
        while (left := self._until - time.monotonic()) > 0 and not stop.is_set():
            stop.wait(min(left, 1.0))
        if stop.is_set():
            raise Stopped

    def after(self, failure: Failure, attempt: int, stop: Event) -> None:
        """Return when a request may be tried again that failed `attempt` times in a row.

        Raises
        ------
        IsologitError
            What the failure amounts to: it is of no use, or enough was waited.
        Stopped
            `stop` was set meanwhile.
        """
        if failure.wait is not None and attempt < ATTEMPTS_AS_ASKED:
            if not self._grant(max(failure.wait, FIRST_PAUSE)):
                raise failure.final
            self.wait(stop)
            return
        if not failure.again or attempt >= ATTEMPTS:
            raise failure.final
        if stop.wait(FIRST_PAUSE * 2 ** (attempt - 1)):
            raise Stopped

    def _grant(self, seconds: float) -> bool:
        """Put off every request by some seconds, unless that makes too many."""
        with self._lock:
            now = time.monotonic()
            further = max(0.0, now + seconds - max(now, self._until))
            if self._granted + further > (LONGEST_WAIT if _together is None else _together):
                return False
            self._granted += further
            self._until = max(self._until, now + seconds)
        if _together is not None and self._hub:
            note_hold(self._hub, seconds)
        return True


def patiently(ask: Callable[[], T], subject: Subject, patience: Patience, stop: Event) -> T:
    """Return what `ask` returns, trying again where that may help.

    Raises
    ------
    IsologitError
        What the last failure amounts to.
    Stopped
        `stop` was set meanwhile.
    """
    attempt = 0
    while True:
        patience.wait(stop)
        try:
            return ask()
        except Stopped:
            raise
        except Exception as error:
            failure = failure_of(error, subject)
            attempt += 1
            if failure.unreachable and attempt >= ATTEMPTS_TO_REACH:
                raise failure.final from error
            patience.after(failure, attempt, stop)
