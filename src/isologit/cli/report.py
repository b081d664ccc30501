"""``isologit report``: the page of an earlier audit again."""

from pathlib import Path

import click

from isologit.cli import options


@click.command("report")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@options.page_file_options
@options.quiet_option
def command(directory: Path, output: Path | None, force: bool, quiet: bool) -> None:
    """Write report.html again, from what audit -o DIR wrote: one page that opens offline."""
    from isologit.audit_tables import read_audit
    from isologit.cli import terminal
    from isologit.output.report import report_html

    page = report_html(read_audit(directory)).encode()
    terminal.write_page(directory, page, output, force=force, quiet=quiet)
