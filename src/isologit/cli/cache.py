"""``isologit cache``: what has been fetched of hub models, listed and removed."""

from functools import partial

import click

from isologit.cli import options


@click.group("cache")
def command() -> None:
    """List or remove what has been fetched of hub models.

    Tensors are kept in isologit's own cache ($XDG_CACHE_HOME/isologit), up to ISOLOGIT_CACHE_BYTES
    (20GiB): beyond that the least recently used go first.
    """


@command.command("ls")
@options.json_option
def ls(as_json: bool) -> None:
    """List what is kept, the least recently used first."""
    from isologit import cache
    from isologit.cli import terminal
    from isologit.output.cache_page import cache_page

    found = cache.listing()
    terminal.deliver(found, partial(cache_page, found), [], as_json=as_json, quiet=False)


@command.command("rm")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Remove all that is kept.")
@options.json_option
def rm(models: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Remove what is kept of some models: org/name, org/name@commit or org/name@commit/file.

    The signs * and ? stand for any letters and any letter.
    """
    if everything == bool(models):
        raise click.UsageError("name the models to remove, or say --all")
    from isologit import cache
    from isologit.cli import terminal
    from isologit.output.cache_page import removed_page

    found = cache.remove(None if everything else models)
    terminal.deliver(found, partial(removed_page, found), [], as_json=as_json, quiet=False)
