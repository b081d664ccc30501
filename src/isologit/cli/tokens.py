"""``isologit tokens``: who the tokens are, one by one."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import click

from isologit.cli import options
from isologit.cli.fetching import asking, fetching
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.reachability import CAUSES
from isologit.tokens.vocabulary import TOKEN_TYPES

_F = TypeVar("_F", bound=Callable[..., Any])
_GRADES = ("none", "weak", "likely", "strong")


def _names(option: str, target: str, known: Sequence[str], what: str) -> Callable[[_F], _F]:
    """Return an option that takes names between commas, and may be repeated."""

    def split(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> list[str]:
        parts = [part.strip() for text in texts for part in text.split(",")]
        names = [part.replace("-", "_").replace(" ", "_") for part in parts]
        for part, name in zip(parts, names, strict=True):
            if name not in known:
                raise click.BadParameter(f"{part!r} is not one of {', '.join(known)}")
        return names

    return click.option(
        option,
        target,
        multiple=True,
        callback=split,
        metavar="NAME,…",
        help=f"{what}: {', '.join(known)}. May be repeated.",
    )


@click.command("tokens")
@options.model_argument
@_names("--category", "categories", CATEGORIES, "Of this category")
@click.option(
    "--script",
    "scripts",
    multiple=True,
    metavar="NAME,…",
    help="With letters of this Unicode script, alone or beside others: Thai, Han, …",
)
@_names("--type", "types", TOKEN_TYPES, "Declared to be this")
@_names("--cause", "causes", CAUSES, "Lost on a round trip by this")
@_names("--grade", "grades", _GRADES, "With this grade of evidence; reads W")
@click.option(
    "--class",
    "row_class",
    type=click.IntRange(min=0),
    metavar="LABEL",
    help="Of this row class, by its label in tokens.parquet and on the page of audit; reads W.",
)
@click.option(
    "--grep", "pattern", metavar="REGEX", help="With this in its text, or in its piece without one."
)
@click.option("--id", "ids", multiple=True, metavar="LIST", help="These ids: 124,180-187.")
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
    categories: list[str],
    scripts: tuple[str, ...],
    types: list[str],
    causes: list[str],
    grades: list[str],
    row_class: int | None,
    pattern: str | None,
    ids: tuple[str, ...],
    evidence: bool,
    limit: int,
    shared: options.Shared,
) -> None:
    """Say who the tokens are: category, script, and whether text can be encoded with them.

    MODEL may be a tokenizer's file or directory too: nothing of W is read, unless --evidence,
    --class or --grade asks for it. A token is listed if every option given keeps it.
    """
    from isologit.listing import Filters

    filters = Filters(
        categories=categories,
        scripts=_scripts(scripts),
        types=types,
        causes=causes,
        grades=grades,
        row_class=row_class,
        pattern=_pattern(pattern),
        token_ids=options.token_ids_of(",".join(ids), "--id") if ids else None,
    )
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


def _scripts(texts: Sequence[str]) -> list[str]:
    from isologit.tokens.scripts import script_names

    known = {name.casefold() for name in script_names()}
    names = [name.strip().replace(" ", "_") for text in texts for name in text.split(",")]
    for name in names:
        if name.casefold() not in known:
            raise click.BadParameter(
                f"{name!r} is no script of Unicode; expected one like Thai or Old_Italic",
                param_hint="--script",
            )
    return names


def _pattern(text: str | None) -> str | None:
    if text is not None:
        try:
            re.compile(text)
        except re.error as error:
            raise click.BadParameter(f"{text!r}: {error}", param_hint="--grep") from error
    return text
