"""Serving the explorer: on which address, to whom, and until it is closed."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isologit.errors import MissingExtraError, ServerError
from isologit.explorer.access import Guard, new_token
from isologit.explorer.view import Views

#: Where it listens unless something else is asked for.
HOST, PORT = "127.0.0.1", 8051
# Ports from there on that are tried.
_TRIED = 50
# Requests at once; more wait.
_THREADS = 6


@dataclass(frozen=True, eq=False)
class Server:
    """A server that listens.

    Parameters
    ----------
    url
        The address, with the token.
    run
        Answers requests, until it is interrupted.
    close
        Stops listening.
    """

    url: str
    run: Callable[[], None]
    close: Callable[[], None]


def make_server(
    views: Views,
    *,
    host: str = HOST,
    port: int | None = None,
    hosts: frozenset[str] = frozenset(),
    prefix: str = "/",
) -> Server:
    """Listen, and return what answers.

    Parameters
    ----------
    views
        What is asked.
    host
        The address to listen on.
    port
        The port; 0 is any that is free, None the usual one or the next that is free.
    hosts
        Names besides those of loopback, and `host`, that it may be called by.
    prefix
        The path that a proxy has in front of all others, with a slash at both ends.

    Raises
    ------
    MissingExtraError
        Dash is not installed.
    ServerError
        The port is taken, or the address is none of this machine.
    """
    try:
        from waitress.server import create_server

        from isologit.explorer.web import make_app, policy
    except ImportError as error:
        raise MissingExtraError(
            f"the explorer needs {error.name}, which is not installed; "
            "pip install 'isologit[explore]'"
        ) from error
    listening = _listen(host, port)
    own = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    app = make_app(views, prefix)
    token = new_token()
    guard = Guard(app.server, token, own, policy(app), hosts=hosts | {name.lower()}, prefix=prefix)
    serving: Any = create_server(guard, sockets=[listening], threads=_THREADS, ident="isologit")
    return Server(f"http://{name}:{own}/?token={token}", serving.run, serving.close)


def _listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens."""
    tried = [port] if port is not None else list(range(PORT, PORT + _TRIED))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for each in tried[:-1]:
        try:
            return _listen_on(family, host, each)
        except OSError:
            continue
    try:
        return _listen_on(family, host, tried[-1])
    except OSError as error:
        raise ServerError(
            f"cannot listen on {host}:{tried[-1]}: {error.strerror or error}; expected a free port "
            "and an address of this machine. --port 0 takes any port that is free"
        ) from error


def _listen_on(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(64)
    except OSError:
        found.close()
        raise
    return found
