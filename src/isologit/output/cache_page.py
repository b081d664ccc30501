"""The pages of ``cache``: what is kept of hub models, and what was removed."""

from rich.console import Group, RenderableType
from rich.text import Text

from isologit.cache import Cache, Removed
from isologit.output import sentences
from isologit.output.parts import PlainTable, text


def cache_page(findings: Cache) -> RenderableType:
    """Return what is kept of hub models."""
    used = f"{sentences.n_bytes(findings.bytes)} of at most {sentences.n_bytes(findings.bound)}"
    first = Text(f"{used} in {findings.directory}")
    if not findings.entries:
        return Group(first)
    table = PlainTable()
    for column in ("model", "commit", "file", "tensor"):
        table.add_column(column)
    table.add_column("bytes", justify="right")
    table.add_column("last used (UTC)")
    for entry in findings.entries:
        table.add_row(
            *(text(each) for each in (entry.model, entry.revision[:12], entry.file)),
            text(entry.tensor or "(header)", "" if entry.tensor else "dim"),
            f"{entry.bytes:,}" + ("" if entry.complete else " (part)"),
            entry.last_used.removesuffix("+00:00").replace("T", " "),
        )
    return Group(first, "", table)


def removed_page(findings: Removed) -> RenderableType:
    """Return how much was removed."""
    if not findings.freed:
        return Text(f"Nothing that is kept in {findings.directory} is of that name")
    return Text(f"{sentences.n_bytes(findings.freed)} freed in {findings.directory}")
