"""``isologit classes``: row classes, and logit classes at one state or at many."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isologit.cli import many_states, options
from isologit.cli.fetching import open_model
from isologit.subject import LocatedSubject

if TYPE_CHECKING:
    from isologit.classes import At


@click.command("classes")
@options.model_argument
@click.option("--token", type=int, metavar="ID", help="State: this token's own row.")
@click.option(
    "--members",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="State: the centroid of these tokens (the seed's 1.4a file, or ids in .json, .txt).",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="State: a hidden state of your own (.npy, .safetensors), or all that the file holds.",
)
@click.option(
    "--index",
    type=click.IntRange(min=0),
    metavar="N",
    help="One state alone of a file that holds several, from 0.",
)
@many_states.options
@options.reachable_option
@options.pole_options
@click.option(
    "--explain", is_flag=True, help="Say why tokens tie there: the cause, the margin, the remedy."
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="K",
    help="With --explain: how many of the largest distinct logits.  [default: 10]",
)
@options.directory_option
@options.force_option
@options.computing_options
def command(
    model: str,
    token: int | None,
    members: Path | None,
    state: Path | None,
    index: int | None,
    many: many_states.Asked,
    reachable: bool,
    pole: str | None,
    axes: str,
    explain: bool,
    top: int | None,
    output: Path | None,
    force: bool,
    shared: options.Shared,
) -> None:
    """Row classes of a checkpoint; with a state, the logit classes there; with many, their meet.

    The state is one of --token, --members, --pole and --state. At a pole without DIST it is as
    long as the mean row of the fullest cosine class there. Many states are those of a --state FILE
    that holds several, or --random.
    """
    from isologit.output.directory import check_target
    from isologit.output.members import read_members

    place = options.pole_of(pole, axes)
    given = [x for x in (token, members, state, place, many.random) if x is not None]
    if len(given) > 1:
        raise click.UsageError(
            "give at most one of --token, --members, --pole, --state and --random"
        )
    if index is not None and state is None:
        raise click.UsageError("--index chooses among the states of --state FILE; give that too")
    if explain and not given:
        raise click.UsageError(
            "--explain says why tokens tie at a state; give one of --token, --members, --pole and "
            "--state"
        )
    if top is not None and not explain:
        raise click.UsageError("--top says how many logits to --explain; give that too")
    if output is not None:
        check_target(output, force=force)
    at: At = token if token is not None else place
    if members is not None:
        at = read_members(members)
    elif state is not None or many.random is not None:
        at = many.states(state, index)
    if reachable and (at is None or many_states.are_many(at)):
        raise click.UsageError("--reachable is for one state: --token, --members, --pole, --state")
    if explain and many_states.are_many(at):
        raise click.UsageError(
            "--explain is for one state: --token, --members, --pole, --state (with --index N of a "
            "file that holds several)"
        )
    many.check(at, shared)
    kept = many.kept()

    def check(located: LocatedSubject) -> None:
        """Find before W is fetched what its number of rows has against the request."""
        from isologit.equivalence.states import token_id_list

        if token is not None:
            token_id_list([token], located.head.form.info.shape[0], "--token")

    subject = open_model(model, shared, check)
    # Not before: W is being digested beside these.
    from isologit.classes import classes_of
    from isologit.cli import terminal
    from isologit.output.tables import classes_page

    if output is not None:
        from isologit.output.results import write_results

    with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
        try:
            findings, arrays = classes_of(
                subject,
                at=at,
                reachable=reachable,
                how_far=many.how_far(kept, progress, shared),
                explain_top=(top or 10) if explain else None,
                progress=progress,
            )
        except KeyboardInterrupt:
            if many.resume is not None and many.resume.exists():
                terminal.say_kept(many.resume, quiet=shared.quiet)
            raise
        paths: list[Path] = []
        if output is not None:
            progress("writing")
            paths = write_results(output, findings, arrays, force=force)
    terminal.deliver(
        findings, partial(classes_page, findings), paths, as_json=shared.as_json, quiet=shared.quiet
    )
