"""``isologit reproduce``: published figures beside this run's."""

from functools import partial
from pathlib import Path

import click

from isologit.cli import options
from isologit.cli.fetching import open_model


@click.command("reproduce")
@options.model_argument
@click.option(
    "--members",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take this cosine cluster (1.4a) as given.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Published figures of your own, in the same format.  [default: the seed line's]",
)
@click.option("--entry", metavar="NAME", help="Whose figures, where the model's name does not say.")
@options.computing_options
def command(
    model: str,
    members: Path | None,
    figures: Path | None,
    entry: str | None,
    shared: options.Shared,
) -> None:
    """Set each published figure of the seed's line beside this run's: equal, or differs by.

    Figures of stored bits depend on no arithmetic; cosines and logits were computed in bfloat16
    on another device, and are marked. Without --members the eight sign choices of the principal
    axes are tried, and the one is kept whose fullest cosine class has the largest cosine.
    """
    from isologit.cli import terminal
    from isologit.figures import read_figures
    from isologit.output.members import read_members
    from isologit.output.reproduction_page import reproduction_page
    from isologit.reproduce import reproduce_of

    published = read_figures(figures)
    given = None if members is None else read_members(members)
    subject = open_model(model, shared)
    with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
        findings = reproduce_of(
            subject,
            published,
            entry=entry,
            members=given,
            source="the seed line's figures" if figures is None else str(figures),
            progress=progress,
        )
    page = partial(reproduction_page, findings)
    terminal.deliver(findings, page, [], as_json=shared.as_json, quiet=shared.quiet)
