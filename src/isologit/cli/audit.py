"""``isologit audit``: everything, on a checkpoint."""

from functools import partial
from pathlib import Path

import click

from isologit.cli import options
from isologit.request import Pole


@click.command("audit")
@options.model_argument
@options.directory_option
@options.force_option
@click.option(
    "--members",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The cluster: the seed's 1.4a file, or a list of token ids (.json, .txt).",
)
@options.pole_options
@options.computing_options
def command(
    model: str,
    output: Path | None,
    force: bool,
    members: Path | None,
    pole: str | None,
    axes: str,
    shared: options.Shared,
) -> None:
    """Analyse a checkpoint: row classes, the cluster, and the logit classes at its centroid.

    The cluster is what stands out from a null model, unless --members or --pole names one.
    """
    run(
        model,
        shared,
        output=output,
        force=force,
        members=members,
        pole=options.pole_of(pole, axes),
    )


def run(
    model: str,
    shared: options.Shared,
    *,
    output: Path | None = None,
    force: bool = False,
    members: Path | None = None,
    pole: Pole | None = None,
) -> None:
    """Run the job, write what was asked for, print the page."""
    from isologit.output.directory import check_target
    from isologit.output.members import read_members
    from isologit.subject import open_subject

    if output is not None:
        check_target(output, force=force)
    given = None if members is None else read_members(members)
    subject = open_subject(model, shared.settings)
    # Not before: W is being digested beside these.
    from isologit.audit import audit_of
    from isologit.cli import terminal
    from isologit.output.tables import audit_page

    if output is not None:
        from isologit.output.results import write_results

    with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
        findings, arrays = audit_of(subject, pole=pole, members=given, progress=progress)
        paths: list[Path] = []
        if output is not None:
            progress("writing")
            paths = write_results(output, findings, arrays, force=force)
    terminal.deliver(
        findings, partial(audit_page, findings), paths, as_json=shared.as_json, quiet=shared.quiet
    )
