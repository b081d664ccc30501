"""``isologit audit``: everything, on a checkpoint."""

from functools import partial
from pathlib import Path

import click

from isologit.checkpoint.head import Role
from isologit.cli import options
from isologit.request import Pole
from isologit.subject import Settings


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
    tensor: str | None,
    role: Role,
    dtype: str | None,
    arithmetic: str,
    threads: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Analyse a checkpoint: row classes, the cluster, and the logit classes at its centroid.

    The cluster is what stands out from a null model, unless --members or --pole names one.
    """
    settings = options.settings_of(tensor, role, dtype, arithmetic, threads)
    run(
        model,
        settings=settings,
        output=output,
        force=force,
        members=members,
        pole=options.pole_of(pole, axes),
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
    )


def run(
    model: str,
    *,
    settings: Settings,
    output: Path | None = None,
    force: bool = False,
    members: Path | None = None,
    pole: Pole | None = None,
    as_json: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Run the job, write what was asked for, print the page."""
    from isologit.audit import audit
    from isologit.cli import terminal
    from isologit.output.directory import check_target
    from isologit.output.members import read_members
    from isologit.output.results import write_results
    from isologit.output.tables import audit_page

    if output is not None:
        check_target(output, force=force)
    given = None if members is None else read_members(members)
    with terminal.progress(quiet=quiet, verbose=verbose) as progress:
        findings, arrays = audit(model, settings, pole=pole, members=given, progress=progress)
        paths: list[Path] = []
        if output is not None:
            progress("writing")
            paths = write_results(output, findings, arrays, force=force)
    terminal.deliver(findings, partial(audit_page, findings), paths, as_json=as_json, quiet=quiet)
