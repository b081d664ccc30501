"""``isologit report``: the page of an earlier audit again."""

from pathlib import Path

import click

from isologit.cli import options


@click.command("report")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The page.  [default: DIR/report.html, which is replaced]",
)
@click.option("--force", is_flag=True, help="Replace FILE.")
@options.quiet_option
def command(directory: Path, output: Path | None, force: bool, quiet: bool) -> None:
    """Write report.html again, from what audit -o DIR wrote: one page that opens offline."""
    from isologit.audit_tables import read_audit
    from isologit.cli import terminal
    from isologit.output.report import report_html
    from isologit.output.single_file import write_file

    page = report_html(read_audit(directory)).encode()
    target = directory / "report.html" if output is None else output
    path = write_file(target, page, force=force or output is None)
    if not quiet:
        terminal.show_written([path])
