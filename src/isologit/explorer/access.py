"""Who may ask the explorer anything: one guard before every route, as a WSGI application around it.

A page on a loopback address can be reached by any page that a browser has open, and by every user
of the machine. So a request needs a random token: in the address that is printed, as notebooks do,
and from then on in a cookie. It has to name a host that was meant, which a name that was turned on
this machine (DNS rebinding) is not; and it may not come from another origin.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from html import escape
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Where the page asks for what it shows; nothing else takes a body.
CALLBACKS = "/_dash-update-component"
# What a page asks is an address and the names of a few fields.
_LARGEST_BODY = 256 << 10
_LONGEST_QUERY = 16 << 10
_TOKEN = "token"


def new_token() -> str:
    """Return a token of 256 random bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, eq=False)
class Guard:
    """Lets through to an application what comes from who was given the token.

    Parameters
    ----------
    application
        What is guarded.
    token
        The secret.
    port
        Where it listens: cookies are shared by all ports of a host, so that the name holds it.
    policy
        The Content-Security-Policy of every answer.
    hosts
        Names besides those of loopback that a request may call this server by.
    prefix
        The path that a proxy has in front of all others, with a slash at both ends.
    """

    application: Application
    token: str
    port: int
    policy: str
    hosts: frozenset[str] = frozenset()
    prefix: str = "/"
    _headers: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        """Make the headers that every answer has."""
        headers = [
            ("Content-Security-Policy", self.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "private, no-store"),
        ]
        object.__setattr__(self, "_headers", headers)

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return f"isologit-{self.port}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, or hand it on."""
        refused = self._why_not(environ)
        if refused is not None:
            return self._say(start_response, *refused)
        given = dict(_pairs(environ)).get(_TOKEN)
        if given is not None:
            if not self._is_token(given):
                return self._say(start_response, HTTPStatus.FORBIDDEN, _NO_TOKEN)
            return self._welcome(environ, start_response)
        if not self._is_token(self._from_cookie(environ)):
            if _is_of_another_site(environ):
                return self._again(environ, start_response)
            return self._say(start_response, HTTPStatus.FORBIDDEN, _NO_TOKEN)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            own = {name.lower() for name, _ in self._headers}
            kept = [pair for pair in headers if pair[0].lower() not in own]
            return start_response(status, [*kept, *self._headers], *rest)

        return self.application(environ, start)

    def _why_not(self, environ: Environ) -> tuple[HTTPStatus, str] | None:
        """Return why a request is refused whatever token it has."""
        host = str(environ.get("HTTP_HOST", ""))
        if _without_port(host) not in _LOOPBACK | self.hosts:
            return HTTPStatus.FORBIDDEN, (
                "This server is not called that. Open the address that was printed; a name behind "
                "which it may be reached is given with --allow-host."
            )
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and urlsplit(str(origin)).netloc != host:
            return HTTPStatus.FORBIDDEN, "Another site's page asks this, and gets nothing."
        # A link on another site may be followed; nothing of this one can be a part of it.
        if _is_of_another_site(environ) and environ.get("HTTP_SEC_FETCH_MODE") != "navigate":
            return HTTPStatus.FORBIDDEN, "Another site's page asks this, and gets nothing."
        method, path = environ.get("REQUEST_METHOD"), str(environ.get("PATH_INFO", ""))
        if len(str(environ.get("QUERY_STRING", ""))) > _LONGEST_QUERY:
            return HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long."
        if method == "POST" and path == CALLBACKS:
            kind = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
            # Which no form of another site can send.
            if kind != "application/json":
                return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected application/json."
            length = str(environ.get("CONTENT_LENGTH") or "")
            if not length.isascii() or not length.isdigit() or int(length) > _LARGEST_BODY:
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large."
        elif method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "Expected GET."
        return None

    def _from_cookie(self, environ: Environ) -> str:
        try:
            found = SimpleCookie(str(environ.get("HTTP_COOKIE", ""))).get(self.cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def _is_token(self, given: str) -> bool:
        return compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def _welcome(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Set the cookie, and lead to the same address without the token."""
        cookie = f"{self.cookie}={self.token}; Path={self.prefix}; HttpOnly; SameSite=Strict"
        if _is_of_another_site(environ):
            return self._again(environ, start_response, [("Set-Cookie", cookie)])
        place = self._place(environ)
        headers = [("Location", place), ("Set-Cookie", cookie), ("Content-Length", "0")]
        start_response("303 See Other", [*headers, *self._headers])
        return [b""]

    def _again(
        self,
        environ: Environ,
        start_response: StartResponse,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Iterable[bytes]:
        """Answer a link on another site with a page that asks for the same from here.

        A browser sends a strict cookie with what this page asks for, and not with the link.
        """
        way = f'<meta http-equiv="refresh" content="0;url={escape(self._place(environ))}">'
        page = _PAGE.format(title="isologit", text=way).encode()
        kinds = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
        start_response("200 OK", [*kinds, *headers, *self._headers])
        return [page]

    def _place(self, environ: Environ) -> str:
        """Return the way to what was asked for, without the token.

        From where it is: a proxy adds its own path to a whole one, which has it already.
        """
        last = quote(str(environ.get("PATH_INFO", "")).rpartition("/")[2], safe="")
        query = "&".join(
            f"{quote(name)}={quote(value, safe=':,()!~')}"
            for name, value in _pairs(environ)
            if name != _TOKEN
        )
        return f"./{last}{'?' if query else ''}{query}"

    def _say(self, start_response: StartResponse, status: HTTPStatus, text: str) -> Iterable[bytes]:
        page = _PAGE.format(title=f"{status} {status.phrase}", text=text).encode()
        kinds = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
        start_response(f"{status} {status.phrase}", [*kinds, *self._headers])
        return [page]


def _is_of_another_site(environ: Environ) -> bool:
    return environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin")


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    bare = name if port.isdigit() and name and not name.endswith(":") else host
    return bare.lower()


def _pairs(environ: Environ) -> list[tuple[str, str]]:
    try:
        return parse_qsl(str(environ.get("QUERY_STRING", "")), max_num_fields=32)
    except ValueError:
        return []


_NO_TOKEN = (
    "The address lacks the token that isologit explore printed, or it is that of an earlier run. "
    "Open the whole address that stands in the terminal."
)
# Nothing that was asked is said again.
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    "<h1>{title}</h1><p>{text}</p></html>"
)
