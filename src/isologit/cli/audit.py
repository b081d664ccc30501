"""``isologit audit``: everything, on a checkpoint."""

from functools import partial
from pathlib import Path

import click

from isologit.cli import options
from isologit.cli.fetching import open_model
from isologit.request import Pole
from isologit.subject import LocatedSubject, locate_subject


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
@click.option(
    "--no-weights",
    is_flag=True,
    help="Stop at what headers and config say; nothing of W is read or fetched.",
)
@click.option(
    "--no-report",
    is_flag=True,
    help="Leave report.html, of 5 MB and more, out of DIR.",
)
@options.pole_options
@options.reachable_option
@options.computing_options
def command(
    model: str,
    output: Path | None,
    force: bool,
    members: Path | None,
    no_weights: bool,
    no_report: bool,
    pole: str | None,
    axes: str,
    reachable: bool,
    shared: options.Shared,
) -> None:
    """Analyse a checkpoint: row classes, the cluster, and the logit classes at its centroid.

    The cluster is what stands out from a null model, unless --members or --pole names one. Of a
    hub model the head and what is to be fetched are printed first.
    """
    if no_weights:
        if output is not None:
            raise click.UsageError("--no-weights finds nothing that -o could write; leave one out")
        show_head(model, shared)
        return
    run(
        model,
        shared,
        output=output,
        force=force,
        members=members,
        pole=options.pole_of(pole, axes),
        reachable=reachable,
        report=not no_report,
    )


def run(
    model: str,
    shared: options.Shared,
    *,
    output: Path | None = None,
    force: bool = False,
    members: Path | None = None,
    pole: Pole | None = None,
    reachable: bool = False,
    report: bool = True,
) -> None:
    """Run the job, write what was asked for, print the page."""
    from isologit.output.directory import check_target
    from isologit.output.members import read_members

    if output is not None:
        check_target(output, force=force)
    given = None if members is None else read_members(members)
    subject = open_model(model, shared, None if shared.as_json else _print_head)
    # Not before: W is being digested beside these.
    from isologit.audit import audit_of
    from isologit.cli import terminal
    from isologit.output.tables import audit_page

    if output is not None:
        from isologit.output.results import write_results

    with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
        findings, arrays = audit_of(
            subject, pole=pole, members=given, reachable=reachable, progress=progress
        )
        paths: list[Path] = []
        if output is not None:
            progress("writing")
            paths = write_results(output, findings, arrays, report=report, force=force)
    terminal.deliver(
        findings, partial(audit_page, findings), paths, as_json=shared.as_json, quiet=shared.quiet
    )


def show_head(model: str, shared: options.Shared) -> None:
    """Print what needs no W: the head and why, and what would have to be fetched."""
    from isologit.cli import terminal
    from isologit.inspection import head_inspection
    from isologit.output.inspection_page import inspection_page

    findings = head_inspection(locate_subject(model, shared.settings))
    page = partial(inspection_page, findings, every_tensor=True)
    terminal.deliver(findings, page, [], as_json=shared.as_json, quiet=shared.quiet)


def _print_head(located: LocatedSubject) -> None:
    from isologit.cli import terminal
    from isologit.inspection import head_inspection
    from isologit.output.inspection_page import opening_page

    terminal.show(opening_page(head_inspection(located)))
