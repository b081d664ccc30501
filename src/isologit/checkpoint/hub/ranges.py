"""One request for a range of bytes, and the checks that its answer has to pass.

A server may ignore the range and send the whole file, or cut, compress or exchange it: whatever is
not exactly what was asked for is refused before a byte of it is used.
"""

import re
from collections.abc import Generator
from typing import Any

from isologit.checkpoint.hub.client import Location, begin_range
from isologit.checkpoint.hub.failures import TRANSIENT, Lied, Unwilling, wait_asked
from isologit.checkpoint.wording import shown

# RFC 9110, 14.4; an unknown total (``*``) is not accepted.
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
# What expired signatures and withdrawn files are answered with.
_REFUSALS = {400, 401, 403, 404, 410}


class Refused(Exception):  # noqa: N818 - no error of the user's
    """An address does not, or no longer, give out the bytes.

    Parameters
    ----------
    status
        The HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


def ranged(
    location: Location, start: int, stop: int, size: int
) -> Generator[tuple[bytes, str | None], None, None]:
    """Yield bytes ``start`` to ``stop`` of a file of `size` bytes, each part with the ETag.

    Raises
    ------
    Refused
        The address is not good any more.
    Unwilling
        The server does not answer now.
    Lied
        The answer is not exactly that range of a file of that size. Its body was not read, or no
        further than to where that showed.
    """
    response = begin_range(location, start, stop)
    try:
        _check(response, start, stop, size)
        etag = response.headers.get("etag")
        left = stop - start
        for part in response.iter_raw():
            if len(part) > left:
                raise Lied(f"the server sent more than the {stop - start:,} bytes asked for")
            left -= len(part)
            yield part, etag
        if left:
            raise Lied(f"the server sent {stop - start - left:,} bytes of {stop - start:,}")
    finally:
        response.close()


def _check(response: Any, start: int, stop: int, size: int) -> None:
    status, headers = response.status_code, response.headers
    if status in TRANSIENT:
        raise Unwilling(status, wait_asked(headers))
    if status in _REFUSALS:
        raise Refused(status)
    asked = f"bytes {start:,} to {stop - 1:,} of {size:,}"
    if status == 200:
        raise Lied(
            f"the server ignores ranges and sends the whole file; expected {asked} (HTTP 206)"
        )
    if status != 206:
        raise Lied(f"the server answered with HTTP {status}; expected {asked} (HTTP 206)")
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Lied(f"the server sent {shown(coding)} where it was asked for plain bytes")
    said = headers.get("content-range", "no range")
    match = _CONTENT_RANGE.fullmatch(said.strip())
    if match is None or tuple(map(int, match.groups())) != (start, stop - 1, size):
        raise Lied(f"the server says that it sends {shown(said)}; expected {asked}")
    length = headers.get("content-length")
    if length is not None and length.strip() != str(stop - start):
        raise Lied(f"the server announces {shown(length)} bytes; expected {stop - start:,}")
