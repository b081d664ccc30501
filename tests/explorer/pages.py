"""Servers of the explorer for tests: on loopback, in a thread, ended by whoever asked for one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isologit.checkpoint.state_file import read_states
from isologit.explorer.opened import open_explored
from isologit.explorer.serving import Server, listen, make_server
from isologit.explorer.view import Views
from isologit.subject import Settings, open_subject


def views_of(spec: Path, states: Path | None = None) -> Views:
    """Return the views of a model, or of the directory of an audit."""
    held = None if states is None else read_states(states)
    return Views(open_explored(str(spec), Settings(), open_subject, states=held))


@contextmanager
def serving(views: Views, prefix: str = "/") -> Iterator[Server]:
    """Answer as long as the context lasts."""
    server = make_server(views, listen(port=0), prefix=prefix)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)
        assert not thread.is_alive()
