"""Serving the explorer: on which address, to whom, and until it is closed."""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
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


def require_dash() -> None:
    """Refuse to begin where what the page is made with is not installed.

    Raises
    ------
    MissingExtraError
        It is not.
    """
    for name in ("dash", "waitress"):
        if find_spec(name) is None:
            raise MissingExtraError(
                f"the explorer needs {name}, which is not installed; "
                "pip install 'isologit[explore]'"
            )


def make_server(
    views: Views,
    listening: socket.socket,
    *,
    hosts: frozenset[str] = frozenset(),
    prefix: str = "/",
) -> Server:
    """Return what answers at a socket.

    Parameters
    ----------
    views
        What is asked.
    listening
        Of `listen`.
    hosts
        Names besides those of loopback, and the address itself, that it may be called by.
    prefix
        The path that a proxy has in front of all others, with a slash at both ends.
    """
    from waitress.server import create_server

    from isologit.explorer.web import make_app, policy

    # That requests wait for each other is no news to who runs a page for one.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    app, token = make_app(views, prefix), new_token()
    names = hosts | {name.lower()}
    guard = Guard(app.server, token, port, policy(app), hosts=names, prefix=prefix)
    serving: Any = create_server(guard, sockets=[listening], threads=_THREADS, ident="isologit")
    return Server(f"http://{name}:{port}/?token={token}", serving.run, serving.close)


def listen(host: str = HOST, port: int | None = None) -> socket.socket:
    """Return a socket that listens.

    Parameters
    ----------
    host
        The address.
    port
        The port; 0 is any that is free, None the usual one or the next that is free.

    Raises
    ------
    ServerError
        The port is taken, or the address is none of this machine.
    """
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
