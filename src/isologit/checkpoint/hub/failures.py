"""What went wrong with a request, as one of our errors, and whether asking again may help.

Nothing of the HTTP client leaves this package, and no message holds a token or a signed address.
"""

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from types import ModuleType
from urllib.parse import urlsplit

from isologit.checkpoint.wording import shown
from isologit.errors import (
    HubAccessError,
    HubGatedError,
    HubModelNotFoundError,
    HubOfflineError,
    HubRateLimitError,
    HubTransferError,
    IsologitError,
    OutputWriteError,
)

# Answers that may be others a moment later.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT),
}
_SECRETS = re.compile(r"(?i)(bearer\s+)\S+|\bhf_\w+|\?\S+")
_RESET_IN = re.compile(r"\bt\s*=\s*(\d+)")
_HOW_TO_LOG_IN = "set HF_TOKEN or run `hf auth login`"


class Unwilling(Exception):  # noqa: N818 - no error of the user's
    """A server that could answer does not do so now.

    Parameters
    ----------
    status
        Of `TRANSIENT`.
    wait
        Seconds that it asks for; None where it does not say.
    """

    def __init__(self, status: int, wait: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.wait = wait


class Lied(Exception):  # noqa: N818 - no error of the user's
    """A server's answer contradicts the request, or what it said before; the text says how."""


@dataclass(frozen=True)
class Subject:
    """What is asked for, for messages.

    Parameters
    ----------
    endpoint
        The hub.
    repo_id, revision, file
        As in `HubSpec`.
    """

    endpoint: str
    repo_id: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        """Return it as ``hf://org/name@revision/file``."""
        revision = f"@{self.revision}" if self.revision else ""
        return shown(f"hf://{self.repo_id}{revision}{f'/{self.file}' if self.file else ''}")

    @property
    def hub(self) -> str:
        """The endpoint without a password that somebody may have put in it."""
        try:
            parts = urlsplit(self.endpoint)
        except ValueError:
            return "HF_ENDPOINT"
        return shown(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


@dataclass(frozen=True)
class Failure:
    """What a failed request amounts to.

    Parameters
    ----------
    final
        The error, where it is not tried again.
    again
        Whether trying again may help.
    wait
        Seconds that the server asks for; None where it does not say.
    unreachable
        Whether nobody answered at all.
    """

    final: IsologitError
    again: bool = False
    wait: float | None = None
    unreachable: bool = False


def wait_asked(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait, or None.

    ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3), else the ``t`` of the hub's
    ``RateLimit``.
    """
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked[:9])
    if asked:
        try:
            then = parsedate_to_datetime(asked)
        except ValueError:
            return None
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    reset = _RESET_IN.search(headers.get("ratelimit", ""))
    return float(reset[1][:9]) if reset else None


def failure_of(error: Exception, subject: Subject) -> Failure:
    """Return what an exception of the client, or of this package, amounts to."""
    if isinstance(error, IsologitError):
        return Failure(error)
    if isinstance(error, Unwilling):
        return _unwilling(error, subject)
    if isinstance(error, Lied):
        return Failure(
            HubTransferError(
                f"{subject}: {error}; nothing of it was kept as good. Try again, or fetch the "
                "model otherwise and give its path"
            )
        )
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        # What hf_hub_download makes of any failure to reach the hub.
        return failure_of(error.__cause__, subject)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return Failure(offline(subject))
    if isinstance(error, errors.HfHubHTTPError):
        return _answered(error, errors, subject)
    if isinstance(error, errors.FileMetadataError):
        return Failure(
            HubTransferError(
                f"{subject}: {subject.hub} does not answer as a hub does; check HF_ENDPOINT, and "
                "whether a proxy or a login page stands between"
            )
        )
    if type(error).__name__ in (
        *("LocalTokenNotFoundError", "OIDCError", "DeviceCodeError", "UnicodeEncodeError"),
        "LocalProtocolError",
    ):
        # The last two come of a token that cannot be put into a header, and may show it.
        return Failure(
            HubAccessError(
                f"{subject}: the token cannot be used ({type(error).__name__}); {_HOW_TO_LOG_IN} "
                "again"
            )
        )
    return _broken(error, subject)


def offline(subject: Subject, missing: str = "") -> HubOfflineError:
    """Return the error of what is in no cache while offline mode is set."""
    what = missing or "it"
    return HubOfflineError(
        f"{subject}: offline mode is set (HF_HUB_OFFLINE) and {what} is in no cache here; run "
        "once without it"
    )


def no_file(subject: Subject, names: str) -> HubModelNotFoundError:
    """Return the error of a file that a model does not have."""
    return HubModelNotFoundError(f"{subject} is not there; the model's files are: {names}")


def http_library() -> ModuleType:
    """Return the HTTP library that huggingface_hub is built on: httpx or httpx2."""
    error = import_module("huggingface_hub.errors").HTTPError
    return import_module(error.__module__.partition(".")[0])


def _unwilling(error: Unwilling, subject: Subject) -> Failure:
    if error.status == 429 or error.wait is not None:
        wait = f"{error.wait:,.0f} s" if error.wait is not None else "some time"
        text = (
            f"{subject}: {subject.hub} refuses further requests for now (HTTP {error.status}) and "
            f"asks to wait {wait}; try again then"
        )
        if "HF_TOKEN" not in os.environ:
            text += f", or {_HOW_TO_LOG_IN} for a higher limit"
        return Failure(HubRateLimitError(text), again=True, wait=error.wait)
    return Failure(
        HubTransferError(
            f"{subject}: the server answered with HTTP {error.status} again and again; try later"
        ),
        again=True,
    )


def _answered(error: Exception, errors: ModuleType, subject: Subject) -> Failure:
    """Return what an answer of the hub amounts to that is an error."""
    response = error.response  # type: ignore[attr-defined]
    status = int(response.status_code)
    if status in TRANSIENT:
        return failure_of(Unwilling(status, wait_asked(response.headers)), subject)
    return Failure(_refusal(error, errors, subject, status))


def _refusal(error: Exception, errors: ModuleType, subject: Subject, status: int) -> IsologitError:
    model = shown(subject.repo_id)
    if isinstance(error, errors.GatedRepoError):
        return HubGatedError(
            f"{model} is gated: its owner lets in who accepts the terms. Accept them at "
            f"{subject.hub}/{model}, and {_HOW_TO_LOG_IN} with that account"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubModelNotFoundError(
            f"{model} has no revision {shown(subject.revision or 'main')}; give a branch, a tag or "
            f"a commit of {subject.hub}/{model}"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return HubModelNotFoundError(f"{subject} is not there; see {subject.hub}/{model}/tree")
    message = getattr(error, "response").headers.get("x-error-message", "")  # noqa: B009
    if status == 401 and "Invalid credentials" in message:
        return HubAccessError(
            f"{model}: {subject.hub} refused the token; {_HOW_TO_LOG_IN} with a valid one, or "
            "remove it if the model is public"
        )
    if status == 401:
        return HubAccessError(
            f"{model} does not exist on {subject.hub}, or is private, which the hub does not tell "
            f"apart; check the name, or {_HOW_TO_LOG_IN}"
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return HubModelNotFoundError(
            f"{model} does not exist on {subject.hub}, or is private and the token, if there is "
            f"one, may not see it; check the name, or {_HOW_TO_LOG_IN}"
        )
    if status == 403:
        return HubAccessError(
            f"{model}: {subject.hub} forbids it (HTTP 403); the token may lack permission to read "
            f"this model, or the model is disabled. {_HOW_TO_LOG_IN.capitalize()} with one that may"
        )
    return HubTransferError(
        f"{subject}: {subject.hub} answered with HTTP {status}; expected the model. Check "
        "HF_ENDPOINT, or try later"
    )


def _broken(error: Exception, subject: Subject) -> Failure:
    """Return what a failure below HTTP, or one that nobody foresaw, amounts to."""
    library = http_library()
    reason = _reason(error)
    if isinstance(
        error,
        library.ConnectError
        | library.ConnectTimeout
        | library.ProxyError
        | library.UnsupportedProtocol
        | library.InvalidURL,
    ):
        final = HubOfflineError(
            f"{subject}: {subject.hub} or the server that it points to cannot be reached: "
            f"{reason}. Check the connection and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use what "
            "was fetched before"
        )
        hopeless = library.UnsupportedProtocol | library.InvalidURL
        return Failure(final, again=not isinstance(error, hopeless), unreachable=True)
    if isinstance(error, OSError) and error.errno in _DISK:
        return Failure(
            OutputWriteError(
                f"{subject}: the disk refuses {shown(str(error.filename or 'a file'))}: "
                f"{error.strerror}; make room or give permission, or move the Hugging Face cache "
                "with HF_HOME"
            )
        )
    # A client that another thread closed raises RuntimeError.
    again = isinstance(error, library.TransportError | ConnectionError | TimeoutError)
    again = again or (isinstance(error, RuntimeError) and "closed" in str(error))
    return Failure(
        HubTransferError(f"{subject}: the transfer broke off: {reason}. Try again"), again=again
    )


def _reason(error: Exception) -> str:
    text = _SECRETS.sub(lambda m: f"{m[1] or ''}…", str(error)) or "no reason given"
    token = os.environ.get("HF_TOKEN", "").strip()
    return shown(f"{type(error).__name__}: {text.replace(token, '…') if token else text}")
