"""``isologit demo``: the audit of the checkpoint that comes with the package."""

from pathlib import Path

import click

from isologit.checkpoint.head import Role
from isologit.cli import options
from isologit.cli.audit import run


@click.command("demo")
@options.directory_option
@options.force_option
@options.computing_options
def command(
    output: Path | None,
    force: bool,
    tensor: str | None,
    role: Role,
    dtype: str | None,
    arithmetic: str,
    threads: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Audit the embedded checkpoint: a small Llama that this project trained itself."""
    from isologit.demo import checkpoint_path

    settings = options.settings_of(tensor, role, dtype, arithmetic, threads)
    run(
        str(checkpoint_path()),
        settings=settings,
        output=output,
        force=force,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
    )
