"""What the hub on loopback holds, what was asked of it, and how it is to misbehave."""

import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from hub.hub_server import Answer

Kind = Literal["listing", "resolve", "cdn", "registry", "tree", "unknown"]
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_LARGE = (".safetensors", ".gguf", ".bin")


@dataclass
class Seen:
    """A request, and how much was sent in answer to it."""

    kind: Kind
    method: str
    path: str
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0
    is_over: bool = False

    @property
    def token(self) -> str | None:
        """The Authorization header."""
        return self.headers.get("authorization")

    @property
    def range(self) -> tuple[int, int] | None:
        """The first byte asked for and the one after the last."""
        match = _RANGE.fullmatch(self.headers.get("range", ""))
        return (int(match[1]), int(match[2]) + 1) if match else None


@dataclass(frozen=True)
class Stored:
    """A file of a commit."""

    path: Path
    size: int
    content: str
    is_large: bool


@dataclass
class Fault:
    """A way to misbehave.

    Parameters
    ----------
    kind
        The requests that it is for.
    does
        What is done instead of a proper answer; see `Answer`.
    after
        How many such requests are answered properly first.
    times
        How many are answered so then.
    when
        Which requests it is for at all.
    """

    kind: Kind
    does: "Callable[[Answer], None]"
    after: int = 0
    times: int = 1_000_000
    when: Callable[[Seen], bool] = lambda seen: True


@dataclass
class Hub:
    """The hub, what it holds, what was asked of it, and how it misbehaves."""

    endpoint: str = ""
    cdn: str = ""
    home: Path = Path()
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    gated: dict[str, str] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    bytes_a_second: float | None = None
    warns: bool = False
    _commits: dict[tuple[str, str], dict[str, Stored]] = field(default_factory=dict)
    _branches: dict[tuple[str, str], str] = field(default_factory=dict)
    _signatures: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, repo: str, folder: Path, *revisions: str) -> str:
        """Publish a folder as a commit, let branches be it (``main``), and return its hash."""
        files = {
            path.relative_to(folder).as_posix(): _stored(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        hashes = "".join(f"{name} {file.content}\n" for name, file in files.items())
        commit = hashlib.sha1(hashes.encode()).hexdigest()
        self._commits[repo, commit] = files
        for revision in revisions or ("main",):
            self._branches[repo, revision] = commit
        return commit

    def misbehave(self, kind: Kind, does: "Callable[[Answer], None]", **how: Any) -> None:
        """Answer some requests as `does` has it; the latest such wish goes first."""
        self.faults.insert(0, Fault(kind, does, **how))

    def behave(self) -> None:
        """Answer properly from now on."""
        self.faults.clear()

    def expire(self) -> None:
        """Let every address that was given out be good no more."""
        self._signatures.clear()

    def forget(self) -> None:
        """Begin to note requests anew."""
        self.seen.clear()

    def of(self, *kinds: Kind) -> list[Seen]:
        """Return the requests of some kinds."""
        return [seen for seen in self.seen if seen.kind in kinds]

    @property
    def asked(self) -> Counter[Kind]:
        """How many requests of each kind were made."""
        return Counter(seen.kind for seen in self.seen)

    @property
    def sent(self) -> int:
        """Bytes of the bodies of all answers."""
        return sum(seen.sent for seen in self.seen)

    def sent_as(self, *kinds: Kind) -> int:
        """Bytes of the bodies of answers to some kinds of requests."""
        return sum(seen.sent for seen in self.of(*kinds))

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that knows this hub alone."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "XDG_"))
            and not name.lower().endswith("_proxy")
        }
        return {
            **kept,
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.home / "huggingface"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
        }

    def sign(self) -> str:
        """Return a new signature."""
        with self._lock:
            signature = f"s{time.monotonic_ns()}"
            self._signatures.add(signature)
        return signature

    def is_signed(self, query: str) -> bool:
        """Whether an address is good still."""
        return parse_qs(query).get("Signature", [""])[0] in self._signatures

    def commit_of(self, repo: str, revision: str) -> str | None:
        """Return the commit that a revision is."""
        commit = self._branches.get((repo, revision), revision)
        return commit if (repo, commit) in self._commits else None

    def files_of(self, repo: str, commit: str) -> dict[str, Stored]:
        """Return the files of a commit."""
        return self._commits[repo, commit]

    def knows(self, repo: str) -> bool:
        """Whether there is such a model."""
        return any(name == repo for name, _ in self._commits)

    def large(self, content: str) -> Stored | None:
        """Return a large file by its hash."""
        for files in self._commits.values():
            for file in files.values():
                if file.is_large and file.content == content:
                    return file
        return None

    def fault_for(self, seen: Seen) -> "Callable[[Answer], None] | None":
        """Return how a request is to be mistreated, if at all."""
        with self._lock:
            for fault in self.faults:
                if fault.kind != seen.kind or not fault.when(seen):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                elif fault.times > 0:
                    fault.times -= 1
                    return fault.does
        return None


def _stored(path: Path) -> Stored:
    status = path.stat()
    is_large = path.name.endswith(_LARGE)
    return Stored(
        path, status.st_size, _content(path, status.st_mtime_ns, is_large=is_large), is_large
    )


@cache
def _content(path: Path, _time: int, *, is_large: bool) -> str:
    """Return a file's hash: its bytes' sha256, or git's of a small one."""
    raw = path.read_bytes()
    if is_large:
        return hashlib.sha256(raw).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()
