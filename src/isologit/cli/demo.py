"""``isologit demo``: the audit of the checkpoint that comes with the package."""

from pathlib import Path

import click

from isologit.cli import options
from isologit.cli.audit import run


@click.command("demo")
@options.directory_option
@options.force_option
@options.computing_options
def command(
    output: Path | None,
    force: bool,
    shared: options.Shared,
) -> None:
    """Audit the embedded checkpoint: a small Llama that this project trained itself."""
    from isologit.demo import checkpoint_path

    run(str(checkpoint_path()), shared, output=output, force=force)
