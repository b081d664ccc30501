"""``isologit gap``: tokens that nothing the final norm outputs tells apart by more than a gap."""

import math
from functools import partial
from typing import Literal

import click

from isologit.cli import options
from isologit.cli.fetching import open_model
from isologit.subject import LocatedSubject


@click.command("gap")
@options.model_argument
@click.option(
    "--within",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    metavar="NATS",
    help="Pairs whose logits never differ by more.",
)
@click.option(
    "--token",
    "--tokens",
    "tokens",
    multiple=True,
    metavar="LIST",
    help="The nearest twins of these, however far: 124,180-187.",
)
@click.option(
    "--norm",
    type=click.Choice(["rms", "layer"]),
    help="Assume this norm before the head, with γ = 1, whatever the checkpoint says.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Pairs to list, the closest first; 0 stands for all, up to a million.",
)
@options.exact_options(
    dtype_help="Format that the norm's output is computed in.  [default: W's own]",
    why="gaps are over all states, and no device observes them",
)
def command(
    model: str,
    within: float,
    tokens: tuple[str, ...],
    norm: Literal["rms", "layer"] | None,
    limit: int,
    shared: options.Shared,
) -> None:
    """Tokens that no state the final norm can output tells apart by more than NATS.

    The arithmetic is always exact.
    """
    if not math.isfinite(within):
        raise click.BadParameter(f"{within} is not a number of nats", param_hint="--within")
    token_ids = options.token_ids_of(",".join(tokens), "--token") if tokens else []

    def check(located: LocatedSubject) -> None:
        """Find before W is fetched what its number of rows has against the request."""
        from isologit.equivalence.states import token_id_list

        if token_ids:
            token_id_list(token_ids, located.head.form.info.shape[0], "--token")

    subject = open_model(model, shared, check)
    # Not before: W is being digested beside these.
    from isologit.cli import terminal
    from isologit.near_twins import near_twins_of
    from isologit.output.gap_page import gap_page

    with terminal.progress(quiet=shared.quiet, verbose=shared.verbose) as progress:
        findings = near_twins_of(
            subject,
            within_nats=within,
            token_ids=token_ids,
            assume=norm,
            limit=limit or None,
            progress=progress,
        )
    terminal.deliver(
        findings, partial(gap_page, findings), [], as_json=shared.as_json, quiet=shared.quiet
    )
