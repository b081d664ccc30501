"""``isologit diff``: what became of row classes and rows between two checkpoints or more."""

from functools import partial

import click

from isologit.cli import options
from isologit.cli.fetching import asking, fetching


@click.command("diff")
@click.argument("models", metavar="A B [C …]", nargs=-1, required=True)
@options.exact_options(
    dtype_help="Format whose ULP are counted.  [default: the coarser of the two]",
    why="diff compares stored numbers, and no arithmetic but exact has a part in that",
)
def command(models: tuple[str, ...], shared: options.Shared) -> None:
    """Compare checkpoints of one vocabulary: classes born, merged, split; rows frozen and moved.

    A, B, … are models, or directories that audit -o or classes -o wrote. Of more than two each is
    compared with the next, a line a step. Rows that moved are counted in ULP of the coarser of the
    two formats, or of --dtype.
    """
    if len(models) < 2:
        raise click.UsageError("give two checkpoints, or more: isologit diff A B")
    opened = []
    with fetching(quiet=shared.quiet) as arrived:
        for model in models:
            with asking(model, quiet=shared.quiet):
                from isologit.diff_sides import open_side

                opened.append(open_side(model, shared.settings, arrived))
        from isologit.cli import terminal
        from isologit.comparing import diff_of
        from isologit.diff_findings import Diff
        from isologit.output.diff_page import diff_page, series_page

        with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
            findings = diff_of(models, opened, shared.settings, progress)
    page = (
        partial(diff_page, findings)
        if isinstance(findings, Diff)
        else partial(series_page, findings)
    )
    terminal.deliver(findings, page, [], as_json=shared.as_json, quiet=shared.quiet)
