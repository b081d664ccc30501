"""``isologit inspect``: what is in a checkpoint, and which tensor is the head."""

from functools import partial

import click

from isologit.checkpoint.head import Role
from isologit.cli import options


@click.command("inspect")
@options.model_argument
@options.tensor_option
@options.role_option
@options.json_option
@options.quiet_option
@click.option("-v", "--verbose", is_flag=True, help="List every tensor.")
def command(
    model: str, tensor: str | None, role: Role, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """List a checkpoint's tensors, and say which is the unembedding matrix and why."""
    from isologit.cli import terminal
    from isologit.inspection import inspect
    from isologit.output.tables import inspection_page

    findings = inspect(model, tensor=tensor, role=role)
    page = partial(inspection_page, findings, every_tensor=verbose)
    terminal.deliver(findings, page, [], as_json=as_json, quiet=quiet)
