"""``isologit explore``: a local page to point at anything."""

import webbrowser
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isologit.cli import options
from isologit.cli.fetching import open_model

if TYPE_CHECKING:
    from isologit.explorer.serving import Server

# What a path in an address is made of.
_PATH = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/%@:+")


def _prefix(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Return a path with a slash at both ends."""
    if set(value) - _PATH or "//" in value:
        raise click.BadParameter("expected a path like /user/me/proxy/8051/")
    return f"/{value.strip('/')}/" if value.strip("/") else "/"


@click.command("explore")
@click.argument("model", metavar="MODEL|DIR")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Hidden states of your own to point at (.npy, .safetensors).",
)
@click.option(
    "--model",
    "moved",
    metavar="MODEL",
    help="With DIR: where its model is now, if not where it was audited.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Listen there; 0 is any that is free.  [default: 8051, or the next that is free]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Listen on this address; others than loopback are reached from outside.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that a proxy calls this server by. May be repeated.",
)
@click.option(
    "--prefix",
    default="/",
    callback=_prefix,
    metavar="PATH",
    help="The path that a proxy has in front, as /user/me/proxy/8051/.",
)
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@options.page_options
def command(
    model: str,
    state: Path | None,
    moved: str | None,
    port: int | None,
    host: str,
    hosts: tuple[str, ...],
    prefix: str,
    no_browser: bool,
    shared: options.Shared,
) -> None:
    """Open a local page that shows what holds at any hidden state that you point at.

    DIR is what audit -o wrote; a MODEL is audited first, in memory. The page is for this machine
    alone, and for whoever has the address that is printed. Ctrl-C ends it.
    """
    from isologit.checkpoint.state_file import read_states
    from isologit.cli import terminal
    from isologit.explorer.opened import open_explored
    from isologit.explorer.serving import listen, make_server, require_dash
    from isologit.explorer.view import Views

    # What would fail in the end does so before a model is read.
    require_dash()
    listening = listen(host, port)
    with closing(listening):
        states = None if state is None else read_states(state)
        with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
            explored = open_explored(
                model,
                shared.settings,
                lambda spec, settings: open_model(spec, replace(shared, settings=settings)),
                model=moved,
                states=states,
                progress=progress,
            )
        names = frozenset(name.lower() for name in hosts)
        server = make_server(Views(explored), listening, hosts=names, prefix=prefix)
        _serve(server, host, quiet=shared.quiet, browser=not no_browser)


def _serve(server: "Server", host: str, *, quiet: bool, browser: bool) -> None:
    """Say where it is, and answer until Ctrl-C."""
    click.echo(server.url)
    if not quiet:
        click.echo("Whoever has this address can ask. Ctrl-C ends it.", err=True)
        if host not in ("127.0.0.1", "localhost", "::1"):
            click.echo(f"It listens on {host}: other machines can reach it.", err=True)
    if browser:
        with suppress(webbrowser.Error):
            webbrowser.open(server.url)
    try:
        with suppress(KeyboardInterrupt):
            server.run()
    finally:
        server.close()
