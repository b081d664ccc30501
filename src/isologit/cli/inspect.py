"""``isologit inspect``: what is in a checkpoint, and which tensor is the head."""

import click

from isologit.checkpoint.head import Role
from isologit.cli import options


@click.command("inspect")
@options.model_argument
@options.tensor_option
@options.role_option
@options.json_option
@click.option("-v", "--verbose", is_flag=True, help="List every tensor.")
def command(model: str, tensor: str | None, role: Role, as_json: bool, verbose: bool) -> None:
    """List a checkpoint's tensors, and say which is the unembedding matrix and why."""
    from isologit.cli import terminal
    from isologit.inspection import inspect
    from isologit.output.tables import inspection_page

    findings = inspect(model, tensor=tensor, role=role)
    if as_json:
        terminal.show_json(findings)
    else:
        terminal.show(inspection_page(findings, every_tensor=verbose))
