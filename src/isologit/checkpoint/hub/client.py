"""What the Hugging Face client is asked: where a commit's files are, and their bytes.

huggingface_hub settles the endpoint, the token, proxies, offline mode and the user agent; it is
imported inside functions alone, for it takes a quarter of a second. Every function here asks once
and raises what the client raises; `patience` asks again.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from isologit import __version__
from isologit.checkpoint.hub.failures import TRANSIENT, Lied, Unwilling, wait_asked
from isologit.errors import HubOfflineError, MissingExtraError

_OURS: dict[str, Any] = {"library_name": "isologit", "library_version": __version__}
# Where this thread's downloads go; None stands for the Hugging Face cache.
_downloads_to: ContextVar[Path | None] = ContextVar("_downloads_to", default=None)
# Whether the request that this thread makes is one of ours.
_asking: ContextVar[bool] = ContextVar("_asking", default=False)


@dataclass(frozen=True)
class Listed:
    """A file of a commit, as the hub lists it.

    Parameters
    ----------
    size
        Bytes; None where the hub does not say.
    content
        The sha256 of its bytes, or git's hash of a small file; None where the hub does not say.
    """

    size: int | None
    content: str | None


@dataclass(frozen=True)
class Location:
    """Where a file's bytes are to be had for a while.

    Parameters
    ----------
    url
        Often signed, on another host than the hub, and good for an hour or so.
    headers
        To send there; the token is among them where that is the hub itself.
    commit
        What the hub says that the file is of.
    size
        Bytes, where the hub says.
    etag
        The file's, by the hub.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    commit: str | None
    size: int | None
    etag: str | None

    @property
    def host(self) -> str:
        """The host, for messages: the rest of the address may be a secret."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


def settings() -> Any:
    """Return huggingface_hub's constants, as the environment sets them.

    Raises
    ------
    MissingExtraError
        It is not installed.
    HubOfflineError
        It does not start, for a setting that it cannot read.
    """
    name = "huggingface_hub.constants"
    if (constants := sys.modules.get(name)) is not None:
        return constants
    try:
        # Some settings warn as they are read.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"models of the hub need huggingface_hub, which cannot be imported ({error}); run pip "
            "install huggingface_hub"
        ) from error
    except ValueError as error:
        raise HubOfflineError(
            f"huggingface_hub cannot be started: {error}; check the environment's HF_ variables"
        ) from error


def endpoint() -> str:
    """Return the address of the hub: HF_ENDPOINT, or the public one."""
    return str(settings().ENDPOINT)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    return bool(settings().HF_HUB_OFFLINE)


def list_files(repo_id: str, revision: str | None) -> tuple[str, dict[str, Listed]]:
    """Ask which commit a revision is, and what files that has.

    Raises
    ------
    Unwilling, Lied
        The hub does not answer now, or not as a hub does.
    """
    with _ours():
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        try:
            info = HfApi(endpoint=endpoint(), **_OURS).model_info(
                repo_id, revision=revision, files_metadata=True, timeout=_timeout()
            )
            files = {
                sibling.rfilename: Listed(
                    _size(sibling.lfs.size if sibling.lfs else sibling.size),
                    _text(sibling.lfs.sha256 if sibling.lfs else sibling.blob_id),
                )
                for sibling in info.siblings or []
            }
        except (HfHubHTTPError, UnicodeEncodeError):
            raise  # some of them are ValueErrors too
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Lied(
                "the hub answered with something else than a model's listing "
                f"({type(error).__name__})"
            ) from error
    return str(info.sha), files


def locate(repo_id: str, commit: str, file: str) -> Location:
    """Ask where the bytes of a file are, following the hub's own redirections alone.

    Raises
    ------
    Unwilling
        The hub does not answer now.
    """
    with _ours():
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(repo_id, file, revision=commit, endpoint=endpoint())
        found = get_hf_file_metadata(url, timeout=_timeout(), **_OURS)
        address = urljoin(url, found.location)
        headers = dict(_utils().build_hf_headers(**_OURS))
    if _origin(address) != _origin(endpoint()):
        headers.pop("authorization", None)
    return Location(address, headers, found.commit_hash, found.size, found.etag)


@contextmanager
def downloads_to(folder: Path) -> Iterator[None]:
    """Put files that are fetched whole into a folder, and not into the Hugging Face cache."""
    before = _downloads_to.set(folder)
    try:
        yield
    finally:
        _downloads_to.reset(before)


def download(repo_id: str, commit: str, file: str) -> Path:
    """Fetch a file whole into the Hugging Face cache, and return where it lies there.

    See `downloads_to`.

    Raises
    ------
    Unwilling
        The hub does not answer now.
    """
    with _ours():
        from huggingface_hub import hf_hub_download

        found = hf_hub_download(
            repo_id,
            file,
            revision=commit,
            endpoint=endpoint(),
            cache_dir=_downloads_to.get(),
            **_OURS,
        )
        return Path(found)


def begin_range(location: Location, start: int, stop: int) -> Any:
    """Ask for bytes ``start`` to ``stop``, and return the response before its body is read.

    It has to be closed.
    """
    client = _session()
    headers = {
        **location.headers,
        "range": f"bytes={start}-{stop - 1}",
        "accept-encoding": "identity",
    }
    request = client.build_request("GET", location.url, headers=headers, timeout=_timeout())
    return client.send(request, stream=True)


def _utils() -> Any:
    return import_module("huggingface_hub.utils")


def _session() -> Any:
    """Return huggingface_hub's HTTP client, which heeds `_heed` from now on."""
    client: Any = _utils().get_session()
    hooks = client.event_hooks
    if _heed not in hooks["response"]:
        client.event_hooks = {**hooks, "response": [*hooks["response"], _heed]}
    return client


def _heed(response: Any) -> None:
    """Raise `Unwilling`, before huggingface_hub itself waits, as long as it is told to."""
    if _asking.get() and response.status_code in TRANSIENT:
        raise Unwilling(response.status_code, wait_asked(response.headers))


@contextmanager
def _ours() -> Iterator[None]:
    _session()
    token = _asking.set(True)
    try:
        yield
    finally:
        _asking.reset(token)


def _timeout() -> float:
    return float(settings().HF_HUB_DOWNLOAD_TIMEOUT)


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
