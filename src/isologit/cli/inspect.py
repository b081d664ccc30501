"""``isologit inspect``: what is in a checkpoint, and which tensor is the head."""

from functools import partial
from pathlib import Path

import click

from isologit.checkpoint.head import Role
from isologit.cli import options
from isologit.cli.fetching import asking, fetching
from isologit.errors import CheckpointError


@click.command("inspect")
@options.model_argument
@options.tensor_option
@options.role_option
@click.option(
    "--fetch",
    is_flag=True,
    help="Write W as DIR/W.safetensors, as the seed's notebooks load it; a hub model's is fetched.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where --fetch writes.  [default: a directory of the model's name]",
)
@options.force_option
@options.json_option
@options.quiet_option
@click.option("-v", "--verbose", is_flag=True, help="List every tensor.")
def command(
    model: str,
    tensor: str | None,
    role: Role,
    fetch: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """List a checkpoint's tensors, and say which is the unembedding matrix and why.

    Reads headers and the config alone, of a hub model too.
    """
    if output is not None and not fetch:
        raise click.UsageError("-o says where --fetch writes; give that too")
    from isologit.checkpoint.open import open_checkpoint
    from isologit.cli import terminal
    from isologit.inspection import inspection_of, listing_of
    from isologit.output.inspection_page import inspection_page, listing_page
    from isologit.subject import Settings, load_subject, locate_in

    paths: list[Path] = []
    with fetching(quiet=quiet) as arrived:
        with asking(model, quiet=quiet):
            checkpoint = open_checkpoint(model, arrived)
            tensors = checkpoint.tensors.values()
        try:
            located = locate_in(checkpoint, Settings(tensor=tensor, role=role))
        except CheckpointError as error:
            # What there is helps to choose; the error still ends the command, with its own code.
            known = listing_of(checkpoint, tensors, str(error))
            terminal.deliver(known, partial(listing_page, known), [], as_json=as_json, quiet=quiet)
            raise
        findings = inspection_of(located, tensors)
        if fetch:
            from isologit.output.directory import check_target
            from isologit.output.matrix_file import write_matrix

            target = output or Path(findings.model.name.rpartition("/")[2])
            check_target(target, force=force)
            paths = write_matrix(target, load_subject(located), findings, force=force)
    page = partial(inspection_page, findings, every_tensor=verbose)
    terminal.deliver(findings, page, paths, as_json=as_json, quiet=quiet)
