"""A hub on loopback: the part of the real one's interface that its client uses, and bad manners.

Two servers: the hub, which lists commits and says where files are, and another host to the client,
which gives out the bytes of large files for a signed address. Every request is noted, with the
bytes of its answer's body; either server can be told to misbehave.
"""

import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub.holdings import Hub as Hub
from hub.holdings import Kind, Seen, Stored

_API = re.compile(r"/api/models/(?P<repo>[^/]+(?:/[^/]+)?)(?:/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(r"/api/models/(?P<repo>.+)/tree/(?P<revision>[^/]+)")
_RESOLVE = re.compile(r"/(?P<repo>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_PART = 64 << 10


class Answer(BaseHTTPRequestHandler):
    """One request's answer; the faults below are given it."""

    hub: Hub
    is_cdn: bool
    protocol_version = "HTTP/1.1"
    # Else a short body waits 40 ms for the other end to acknowledge its headers.
    disable_nagle_algorithm = True
    seen: Seen
    file: Stored | None

    def setup(self) -> None:
        """Keep the system from taking much more than was read at the other end."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PART)
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer."""
        self._answer()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = Seen(self._kind(), self.command, self.path, headers)
        self.hub.seen.append(self.seen)
        self.file = None
        try:
            fault = self.hub.fault_for(self.seen)
            if self.seen.kind == "cdn":
                self.file = self.hub.large(self.path.partition("?")[0].rsplit("/", 1)[-1])
            (fault or Answer.properly)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.seen.is_over = True

    def _kind(self) -> Kind:
        path = urlsplit(self.path).path
        if self.is_cdn:
            return "cdn"
        if path == "/api/agent-harnesses":
            return "registry"
        if _TREE.fullmatch(path):
            return "tree"
        if _API.fullmatch(path):
            return "listing"
        return "resolve" if _RESOLVE.fullmatch(path) else "unknown"

    def properly(self) -> None:
        """Answer as one should."""
        match self.seen.kind:
            case "listing":
                self._list()
            case "resolve":
                self._resolve()
            case "cdn":
                self._give()
            case "tree":
                self._list_tree()
            case "registry":
                self.say(200, {"standardEnvVars": [], "harnesses": {}})
            case _:
                self.refuse(404, message="no such page")

    def say(self, status: int, told: Mapping[str, Any], **headers: str) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(told).encode(), Content_Type="application/json", **headers)

    def refuse(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        """Answer with an error as the hub words it."""
        if code:
            headers["X_Error_Code"] = code
        self.say(status, {"error": message}, X_Error_Message=message or "an error", **headers)

    def send(self, status: int, body: bytes, **headers: str) -> None:
        """Answer with a body, and ``Content_Length`` unless it is given."""
        headers.setdefault("Content_Length", str(len(body)))
        self.begin(status, **headers)
        self.body(body)

    def begin(self, status: int, **headers: str) -> None:
        """Send the status and headers."""
        self.seen.status = status
        self.send_response(status)
        if self.hub.warns and not self.is_cdn:
            # The client prints each topic once.
            self.send_header("X-HF-Warning", f"topic {time.monotonic_ns()}; look here")
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def body(self, content: bytes) -> None:
        """Send a body, or a part of one, and note how much was taken."""
        if self.command == "HEAD":
            return
        for start in range(0, len(content), _PART):
            part = content[start : start + _PART]
            self._write(part, len(part))
            if self.hub.bytes_a_second:
                time.sleep(len(part) / self.hub.bytes_a_second)

    def chunk(self, content: bytes) -> None:
        """Send a body in chunked coding, of which nobody was told the length."""
        self._write(b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n", len(content))

    def _write(self, raw: bytes, counted: int) -> None:
        # Before it is sent: the other end may look at the count as soon as it has the bytes.
        self.seen.sent += counted
        try:
            self.wfile.write(raw)
        except OSError:
            self.seen.sent -= counted
            raise

    @property
    def etag(self) -> str:
        """The ETag of the file that is asked for."""
        assert self.file is not None
        return f'"{self.hub.etags.get(self.file.content, self.file.content)}"'

    @property
    def asked(self) -> bytes:
        """The bytes that are asked for."""
        assert self.file is not None
        start, stop = self.seen.range or (0, self.file.size)
        with self.file.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    @property
    def content_range(self) -> str:
        """What a proper answer says of them."""
        assert self.file is not None
        start, stop = self.seen.range or (0, self.file.size)
        return f"bytes {start}-{min(stop, self.file.size) - 1}/{self.file.size}"

    def _may(self, repo: str) -> bool:
        token = self.hub.tokens.get(repo)
        if token is None or self.seen.token == f"Bearer {token}":
            return True
        if self.seen.token is not None:
            self.refuse(404, "RepoNotFound", "Repository not found")
        else:
            self.refuse(401, "", "Invalid username or password.")
        return False

    def _found(self, repo: str, revision: str) -> str | None:
        if not self._may(repo):
            return None
        if not self.hub.knows(repo):
            if self.seen.token is not None:
                self.refuse(404, "RepoNotFound", "Repository not found")
            else:
                self.refuse(401, "", "Invalid username or password.")
            return None
        commit = self.hub.commit_of(repo, revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _list(self) -> None:
        url = urlsplit(self.path)
        match = _API.fullmatch(url.path)
        assert match is not None
        repo = match["repo"]
        commit = self._found(repo, unquote(match["revision"] or "main"))
        if commit is None:
            return
        with_sizes = "blobs" in parse_qs(url.query)
        siblings = []
        for name, file in self.hub.files_of(repo, commit).items():
            sibling: dict[str, Any] = {"rfilename": name}
            if with_sizes:
                sibling |= {"size": file.size, "blobId": hashlib.sha1(name.encode()).hexdigest()}
                if file.is_large:
                    lfs = {"sha256": file.content, "size": file.size, "pointerSize": 135}
                    sibling["lfs"] = lfs
                else:
                    sibling["blobId"] = file.content
            siblings.append(sibling)
        self.say(200, {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings})

    def _list_tree(self) -> None:
        match = _TREE.fullmatch(urlsplit(self.path).path)
        assert match is not None
        commit = self._found(match["repo"], unquote(match["revision"]))
        if commit is None:
            return
        told = []
        for name, file in self.hub.files_of(match["repo"], commit).items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": file.size}
            entry["oid"] = hashlib.sha1(name.encode()).hexdigest()
            if file.is_large:
                entry["lfs"] = {"oid": file.content, "size": file.size, "pointerSize": 135}
            told.append(entry)
        self.send(200, json.dumps(told).encode(), Content_Type="application/json")

    def _resolve(self) -> None:
        match = _RESOLVE.fullmatch(urlsplit(self.path).path)
        assert match is not None
        repo, name = match["repo"], unquote(match["file"])
        commit = self._found(repo, unquote(match["revision"]))
        if commit is None:
            return
        if repo in self.hub.gated and self.seen.token != f"Bearer {self.hub.gated[repo]}":
            status = 403 if self.seen.token else 401
            self.refuse(status, "GatedRepo", f"Access to model {repo} is restricted.")
            return
        file = self.hub.files_of(repo, commit).get(name)
        if file is None:
            self.refuse(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
            return
        self.file = file
        if not file.is_large:
            self._give(X_Repo_Commit=commit)
            return
        where = f"{self.hub.cdn}/{repo}/{file.content}?Expires=1&Signature={self.hub.sign()}"
        self.send(
            302,
            b"Found",
            Location=where,
            X_Repo_Commit=commit,
            X_Linked_Size=str(file.size),
            X_Linked_Etag=f'"{file.content}"',
            ETag='"of the redirection"',
        )

    def _give(self, **headers: str) -> None:
        """Send a file, or a range of it."""
        if self.is_cdn and not self.hub.is_signed(urlsplit(self.path).query):
            self.send(403, b"<Error><Code>AccessDenied</Code><Message>expired</Message></Error>")
            return
        if self.file is None:
            self.send(404, b"no such object")
            return
        headers |= {"ETag": self.etag, "Accept_Ranges": "bytes"}
        if self.seen.range is None:
            self.send(200, self.asked, **headers)
        elif self.seen.range[0] >= self.file.size:
            self.send(416, b"", Content_Range=f"bytes */{self.file.size}")
        else:
            self.send(206, self.asked, Content_Range=self.content_range, **headers)


# Faults: what a server may do instead of answering properly.


def ignores_the_range(answer: Answer) -> None:
    """Send the whole file with 200."""
    answer.seen.headers = {n: v for n, v in answer.seen.headers.items() if n != "range"}
    answer.send(200, answer.asked, ETag=answer.etag)


def sends_less(answer: Answer) -> None:
    """Send, and announce, half of the range, saying that it is the range."""
    half = answer.asked[: len(answer.asked) // 2]
    answer.send(206, half, Content_Range=answer.content_range, ETag=answer.etag)


def sends_less_unannounced(answer: Answer) -> None:
    """Send half of the range in chunks, as if it were all."""
    answer.begin(
        206, Content_Range=answer.content_range, ETag=answer.etag, Transfer_Encoding="chunked"
    )
    answer.chunk(answer.asked[: len(answer.asked) // 2])


def sends_more(answer: Answer) -> None:
    """Send the range in chunks, and more after it."""
    answer.begin(
        206, Content_Range=answer.content_range, ETag=answer.etag, Transfer_Encoding="chunked"
    )
    answer.chunk(answer.asked + bytes(1000))


def announces_more(answer: Answer) -> None:
    """Announce, and send, more than the range."""
    body = answer.asked + bytes(1000)
    answer.send(206, body, Content_Range=answer.content_range, ETag=answer.etag)


def shifts_the_range(answer: Answer) -> None:
    """Send other bytes than were asked for, and say so."""
    assert answer.seen.range is not None
    assert answer.file is not None
    start, stop = answer.seen.range
    said = f"bytes {start + 1}-{stop}/{answer.file.size}"
    answer.send(206, answer.asked, Content_Range=said, ETag=answer.etag)


def begins_elsewhere(answer: Answer) -> None:
    """Say of the range that it begins elsewhere."""
    assert answer.seen.range is not None
    assert answer.file is not None
    start, stop = answer.seen.range
    said = f"bytes {start + 1}-{stop - 1}/{answer.file.size}"
    answer.send(206, answer.asked, Content_Range=said, ETag=answer.etag)


def shortens_the_range(answer: Answer) -> None:
    """Send the first half of the range, and say so, as the RFC allows."""
    assert answer.seen.range is not None
    assert answer.file is not None
    start = answer.seen.range[0]
    half = answer.asked[: len(answer.asked) // 2]
    said = f"bytes {start}-{start + len(half) - 1}/{answer.file.size}"
    answer.send(206, half, Content_Range=said, ETag=answer.etag)


def says_another_total(answer: Answer) -> None:
    """Say that the file is longer than it is."""
    said = answer.content_range.partition("/")[0]
    answer.send(206, answer.asked, Content_Range=f"{said}/9999999", ETag=answer.etag)


def says_no_range(answer: Answer) -> None:
    """Send the range without saying which it is."""
    answer.send(206, answer.asked, ETag=answer.etag)


def compresses(answer: Answer) -> None:
    """Send the range compressed."""
    body = gzip.compress(answer.asked)
    answer.send(
        206, body, Content_Range=answer.content_range, ETag=answer.etag, Content_Encoding="gzip"
    )


def cuts(answer: Answer) -> None:
    """Close the connection half way."""
    whole = answer.asked
    answer.begin(
        206,
        Content_Length=str(len(whole)),
        Content_Range=answer.content_range,
        ETag=answer.etag,
    )
    answer.body(whole[: len(whole) // 2])
    answer.close_connection = True


def resets(answer: Answer) -> None:
    """Reset the connection instead of answering."""
    linger = struct.pack("ii", 1, 0)
    answer.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    answer.request.close()
    answer.close_connection = True


def hangs(answer: Answer) -> None:
    """Send a little of the range, and then nothing for a while."""
    whole = answer.asked
    answer.begin(
        206,
        Content_Length=str(len(whole)),
        Content_Range=answer.content_range,
        ETag=answer.etag,
    )
    answer.body(whole[:100_000])
    time.sleep(3)
    answer.close_connection = True


def says(
    status: int, code: str = "", message: str = "", **headers: str
) -> Callable[[Answer], None]:
    """Return a fault that answers with an error."""
    return lambda answer: answer.refuse(status, code, message, **headers)


def sends_a_page(answer: Answer) -> None:
    """Answer with a page, as a login page between does."""
    answer.send(200, b"<html>Please log in</html>", Content_Type="text/html")


@contextmanager
def running() -> Iterator[Hub]:
    """Run a hub as long as the context lasts."""
    hub = Hub()
    servers = [_server(hub, is_cdn=is_cdn) for is_cdn in (False, True)]
    # Two names of one machine, so that they are two hosts to the client.
    hub.endpoint = f"http://127.0.0.1:{servers[0].server_port}"
    hub.cdn = f"http://localhost:{servers[1].server_port}"
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        for server in servers
    ]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A connection that is kept alive would be waited for.
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the other end has closed."""


def _server(hub: Hub, *, is_cdn: bool) -> ThreadingHTTPServer:
    handler = type("Handler", (Answer,), {"hub": hub, "is_cdn": is_cdn})
    return _Server(("127.0.0.1", 0), handler)
