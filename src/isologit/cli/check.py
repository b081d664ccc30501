"""``isologit check``: a gate for releases, which exits with 1 where a rule is broken."""

from functools import partial
from pathlib import Path

import click

from isologit.cli import options
from isologit.cli.fetching import asking, fetching
from isologit.subject import load_subject, locate_subject

BROKEN = 1


@click.command("check")
@options.model_argument
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="The rules, in TOML.",
)
@click.option(
    "--github",
    is_flag=True,
    help="Print the page for the log of GitHub Actions, with an annotation for each broken rule.",
)
@options.computing_options
def command(model: str, policy_path: Path, github: bool, shared: options.Shared) -> None:
    """Hold a model to the rules of a policy; exit with 1 where one is broken.

    A rule that cannot be told, for want of a tokenizer or of a chat template, is broken unless the
    policy's when-unknown lets it pass. BASE, if the policy names one, is a model, or a directory
    that isologit audit wrote.
    """
    if github and shared.as_json:
        raise click.UsageError("--json and --github both want stdout; give one of them")
    from isologit.policy import read_policy

    try:
        policy = read_policy(policy_path)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--policy") from error
    with fetching(quiet=shared.quiet) as arrived:
        with asking(model, quiet=shared.quiet):
            located = locate_subject(model, shared.settings, arrived)
        subject = load_subject(located)
        # Not before: W is being digested beside these.
        from isologit.checking import check_of, open_base
        from isologit.cli import terminal
        from isologit.output.check_page import check_page, github_log

        base = open_base(policy, shared.settings, arrived)
        with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
            findings = check_of(subject, policy, base=base, progress=progress)
    if github:
        # Not through a console, which would fold a command where FORCE_COLOR makes it a terminal.
        terminal.show_text(github_log(findings))
    else:
        page = partial(check_page, findings)
        terminal.deliver(findings, page, [], as_json=shared.as_json, quiet=shared.quiet)
    if not findings.passed:
        click.get_current_context().exit(BROKEN)
