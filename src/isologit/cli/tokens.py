"""``isologit tokens``: who the tokens are, one by one."""

import re
from functools import partial
from typing import TYPE_CHECKING

import click

from isologit.cli import options
from isologit.cli.fetching import asking, fetching
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.reachability import CAUSES

if TYPE_CHECKING:
    from isologit.listing import Filters

_GRADES = ("none", "weak", "likely", "strong")


@click.command("tokens")
@options.model_argument
@click.option(
    "--category",
    "categories",
    multiple=True,
    type=click.Choice(CATEGORIES),
    metavar="NAME",
    help=f"Of this category: {', '.join(CATEGORIES)}. May be repeated.",
)
@click.option(
    "--script",
    "scripts",
    multiple=True,
    metavar="NAME",
    help="With this Unicode script: Thai, Han, … May be repeated.",
)
@click.option(
    "--cause",
    "causes",
    multiple=True,
    type=click.Choice(CAUSES),
    metavar="NAME",
    help=f"Lost on a round trip by this: {', '.join(CAUSES)}. May be repeated.",
)
@click.option(
    "--grade",
    "grades",
    multiple=True,
    type=click.Choice(_GRADES),
    metavar="NAME",
    help=f"With this grade of evidence: {', '.join(_GRADES)}; reads W. May be repeated.",
)
@click.option(
    "--class",
    "row_class",
    type=click.IntRange(min=0),
    metavar="LABEL",
    help="Of this row class, by its label in tokens.parquet; reads W.",
)
@click.option("--grep", "pattern", metavar="REGEX", help="With this in its text.")
@click.option("--id", "ids", metavar="LIST", help="These ids: 124,180-187.")
@click.option("--evidence", is_flag=True, help="Row classes and signs of no training; reads W.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=40,
    show_default=True,
    metavar="N",
    help="Tokens that the page lists; 0 stands for all.",
)
@options.computing_options
def command(
    model: str,
    categories: tuple[str, ...],
    scripts: tuple[str, ...],
    causes: tuple[str, ...],
    grades: tuple[str, ...],
    row_class: int | None,
    pattern: str | None,
    ids: str | None,
    evidence: bool,
    limit: int,
    shared: options.Shared,
) -> None:
    """Say who the tokens are: category, script, and whether text can be encoded with them.

    MODEL may be a tokenizer's file or directory too: nothing of W is read, unless --evidence,
    --class or --grade asks for it. A token is listed if every option given keeps it.
    """
    filters = _filters(categories, scripts, causes, grades, row_class, pattern, ids)
    with fetching(quiet=shared.quiet) as arrived:
        with asking(model, quiet=shared.quiet):
            from isologit.token_source import find_model

            found = find_model(model, shared.settings, arrived)
        from isologit.cli import terminal
        from isologit.listing import listing_of
        from isologit.output.token_tables import listing_page

        with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
            findings = listing_of(
                found, shared.settings, filters=filters, evidence=evidence, progress=progress
            )
    page = partial(listing_page, findings, at_most=limit or None)
    terminal.deliver(findings, page, [], as_json=shared.as_json, quiet=shared.quiet)


def _filters(
    categories: tuple[str, ...],
    scripts: tuple[str, ...],
    causes: tuple[str, ...],
    grades: tuple[str, ...],
    row_class: int | None,
    pattern: str | None,
    ids: str | None,
) -> "Filters":
    from isologit.listing import Filters
    from isologit.tokens.scripts import script_names

    known = {name.casefold() for name in script_names()}
    for name in scripts:
        if name.casefold().replace(" ", "_") not in known:
            raise click.BadParameter(
                f"{name!r} is no script of Unicode; expected one like Thai or Old_Italic",
                param_hint="--script",
            )
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            raise click.BadParameter(f"{pattern!r}: {error}", param_hint="--grep") from error
    return Filters(
        categories=categories,
        scripts=scripts,
        causes=causes,
        grades=grades,
        row_class=row_class,
        pattern=pattern,
        token_ids=None if ids is None else options.token_ids_of(ids, "--id"),
    )
