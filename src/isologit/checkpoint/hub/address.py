"""Where a file of a commit is to be had: asked when it is needed, and again when it has expired."""

import re
from collections.abc import Generator
from contextlib import closing
from threading import Event, Lock

from isologit.checkpoint.hub import client
from isologit.checkpoint.hub.client import Listed, Location
from isologit.checkpoint.hub.failures import Lied, Subject, failure_of, offline
from isologit.checkpoint.hub.patience import Patience, patiently
from isologit.checkpoint.hub.ranges import Refused, ranged
from isologit.checkpoint.wording import shown
from isologit.errors import HubTransferError

_SHA256 = re.compile(r"[0-9a-f]{64}")
# How often in a row an address is asked for anew without a byte having come of the last one.
RENEWALS = 4


class Address:
    """The place of one file's bytes; several threads share it.

    Parameters
    ----------
    subject
        The file, with its commit.
    listed
        What the hub's list says of it.
    patience
        For the requests.
    """

    def __init__(self, subject: Subject, listed: Listed, patience: Patience) -> None:
        self.subject = subject
        self.patience = patience
        self._size = listed.size
        self._content = listed.content
        self._lock = Lock()
        self._location: Location | None = None
        self._renewals = 0
        self._etag: str | None = None
        self._seen = False

    def size(self, stop: Event) -> int:
        """Return the file's bytes, asking for them where the hub's list does not say.

        Raises
        ------
        HubError
        """
        if self._size is None:
            self.location(stop)
        assert self._size is not None
        return self._size

    def location(self, stop: Event) -> Location:
        """Return the file's location, asking for it the first time.

        Raises
        ------
        HubError
        Stopped
            `stop` was set meanwhile.
        """
        with self._lock:
            if self._location is None:
                self._location = self._ask(stop)
            return self._location

    def read(
        self, start: int, stop: int, halt: Event
    ) -> Generator[tuple[bytes, str | None], None, None]:
        """Yield bytes ``start`` to ``stop`` as they come, each part with the server's ETag.

        One attempt: whatever goes wrong is raised, and what has been yielded stays good. Where the
        address has expired, it is asked for anew and the range begun again.

        Raises
        ------
        HubError
            The address is refused again and again; or it could not be asked for.
        Lied
            The answer is not the range, the file has changed, or its size.
        """
        while True:
            location = self.location(halt)
            try:
                with closing(ranged(location, start, stop, self.size(halt))) as parts:
                    for part, etag in parts:
                        self._require_same(etag)
                        self._renewals = 0
                        yield part, etag
                return
            except Refused as refused:
                self._forget(location, refused.status)

    def _require_same(self, etag: str | None) -> None:
        with self._lock:
            if self._seen and etag != self._etag:
                raise Lied(
                    f"its ETag was {shown(str(self._etag))} and became {shown(str(etag))}: the "
                    "file has changed on the server"
                )
            self._etag, self._seen = etag, True

    def _forget(self, location: Location, status: int) -> None:
        """Have the location asked for anew, unless another thread has done so meanwhile."""
        with self._lock:
            if self._location is not location:
                return
            self._renewals += 1
            if self._renewals > RENEWALS:
                raise HubTransferError(
                    f"{self.subject}: {shown(location.host)}, where the hub says that the bytes "
                    f"are, refuses them with HTTP {status}, also after {RENEWALS} new addresses. "
                    "Check whether a proxy stands between, or try later"
                )
            self._location = None

    def _ask(self, stop: Event) -> Location:
        subject = self.subject
        if client.is_offline():
            raise offline(subject)
        commit, file = subject.revision or "", subject.file or ""
        found = patiently(
            lambda: client.locate(subject.repo_id, commit, file), subject, self.patience, stop
        )
        self._check(found)
        return found

    def _check(self, found: Location) -> None:
        """Check that the hub speaks of the same file as before, and take its size."""
        before = self._size if self._size is not None else found.size
        contradictions = (
            (found.commit != self.subject.revision, f"commit {shown(str(found.commit))}"),
            (before is None, "no size"),
            (self._is_another(found.etag), f"content {shown(str(found.etag))}"),
            (found.size not in (None, before), f"{found.size or 0:,} bytes, and {before or 0:,}"),
        )
        for is_one, what in contradictions:
            if is_one:
                lie = Lied(f"{self.subject.hub} says of it: {what}")
                raise failure_of(lie, self.subject).final
        self._size = before

    def _is_another(self, etag: str | None) -> bool:
        # Of large files the hub gives the sha256 as ETag; a mirror may give something else.
        both = (etag or "", self._content or "")
        return all(map(_SHA256.fullmatch, both)) and len(set(both)) > 1
