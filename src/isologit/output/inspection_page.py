"""The page of ``inspect``: the head and why, and the tensors."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from isologit.checkpoint.wording import counted
from isologit.inspection import Inspection, TensorFacts
from isologit.output import sentences
from isologit.output.parts import PlainTable, lines, notes_section, text


def inspection_page(findings: Inspection, *, every_tensor: bool) -> RenderableType:
    """Return the head and why, and the tensors (matrices alone, unless asked for all)."""
    matrix = findings.matrix
    assert matrix is not None
    shown = [
        info
        for info in findings.tensors
        if every_tensor or (len(info.shape) == 2 and matrix.shape[0] in info.shape)
    ]
    hidden = len(findings.tensors) - len(shown)
    more = [f"… and {counted(hidden, 'more tensor')} (-v lists them all)"] * (hidden > 0)
    table = _tensors(shown, matrix.tensor)
    return Group(*_head(findings), "", table, *lines(more), *notes_section(findings.notes))


def listing_page(findings: Inspection) -> RenderableType:
    """Return every tensor of a checkpoint whose head cannot be told."""
    return Group(
        *lines([f"{findings.model.name}: {counted(len(findings.tensors), 'tensor')}"]),
        *lines(sentences.tokenizer(findings.tokenizer)),
        "",
        _tensors(findings.tensors, None),
    )


def _tensors(infos: Sequence[TensorFacts], chosen: str | None) -> PlainTable:
    table = PlainTable()
    table.add_column("tensor")
    table.add_column("dtype")
    table.add_column("shape")
    table.add_column("bytes", justify="right")
    for info in infos:
        mark = " ← W" if info.name == chosen else ""
        table.add_row(text(info.name + mark), text(info.dtype), str(info.shape), f"{info.bytes:,}")
    return table


def opening_page(findings: Inspection) -> RenderableType:
    """Return what is known of a hub model before anything of W is fetched."""
    return Group(*_head(findings), "")


def _head(findings: Inspection) -> list[RenderableType]:
    assert findings.matrix is not None
    assert findings.head is not None
    commit = findings.model.revision
    return [
        *lines(sentences.matrix(findings.matrix, findings.model.name)),
        *lines([f"Commit: {commit}"] if findings.model.source == "hub" else []),
        *lines(sentences.head(findings.head)),
        *lines(sentences.tokenizer(findings.tokenizer)),
        *lines(sentences.sizes(findings)),
    ]
