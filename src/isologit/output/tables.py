"""The terminal page: the findings in the seed's order, as rich renderables."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from isologit.checkpoint.wording import counted
from isologit.findings import (
    Audit,
    CentroidFacts,
    Classes,
    EqualRows,
    RowFacts,
    ValueFacts,
)
from isologit.inspection import Inspection, TensorFacts
from isologit.output import sentences, token_sentences
from isologit.output.parts import lines, section, text
from isologit.output.tie_tables import ties_section
from isologit.output.token_tables import tokens_section
from isologit.token_findings import ClassTokens

if TYPE_CHECKING:
    # For annotations alone: no other page than its own needs what it imports.
    from isologit.cache import Cache, Removed
    from isologit.figures import Reproduction

_CLASSES_SHOWN = 20


def audit_page(findings: Audit) -> RenderableType:
    """Return the whole summary of an audit, but for what `opening_page` has said of a hub model."""
    vocabulary = findings.matrix.shape[0]
    parts: list[RenderableType] = [
        *(_verdict(findings) if findings.model.source == "hub" else _opening(findings)),
        *_rows(findings),
        *_tokens(findings),
        *_cluster(findings),
        *_cosines(findings, vocabulary),
        *_state(findings),
        *_logits(findings, findings.logits, vocabulary),
    ]
    if findings.comparison is not None:
        parts += section("Comparison with the cluster", sentences.comparison(findings.comparison))
    parts += section(
        "Embedding-level duplicates",
        sentences.duplicates(findings.class_rows, findings.logits),
    )
    parts += _distinct(findings.logits, vocabulary, "dot product")
    if findings.refinement is not None:
        parts += section("Iterated refinement", sentences.refinement(findings.refinement))
    return Group(*parts, *_notes(findings.notes), *_what_to_do(findings))


def classes_page(findings: Classes) -> RenderableType:
    """Return the summary of row classes, and of logit classes at a state."""
    vocabulary = findings.matrix.shape[0]
    parts: list[RenderableType] = [*_opening(findings), *_rows(findings), *_tokens(findings)]
    if findings.logits is not None and findings.class_rows is not None:
        if findings.cluster is not None:
            parts += _cluster(findings)
        parts += [*_state(findings), *_logits(findings, findings.logits, vocabulary)]
        if findings.comparison is not None:
            parts += section(
                "Comparison with the cluster", sentences.comparison(findings.comparison)
            )
        parts += section(
            "Embedding-level duplicates",
            sentences.duplicates(findings.class_rows, findings.logits),
        )
        parts += _distinct(findings.logits, vocabulary, "dot product")
        if findings.ties is not None:
            parts += ties_section(findings.ties, findings.logits.dtype)
    return Group(*parts, *_notes(findings.notes))


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
    return Group(*_head(findings), "", table, *lines(more), *_notes(findings.notes))


def listing_page(findings: Inspection) -> RenderableType:
    """Return every tensor of a checkpoint whose head cannot be told."""
    return Group(
        *lines([f"{findings.model.name}: {counted(len(findings.tensors), 'tensor')}"]),
        *lines(sentences.tokenizer(findings.tokenizer)),
        "",
        _tensors(findings.tensors, None),
    )


def _tensors(infos: Sequence[TensorFacts], chosen: str | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("tensor", overflow="fold")
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


def cache_page(findings: "Cache") -> RenderableType:
    """Return what is kept of hub models."""
    used = f"{sentences.n_bytes(findings.bytes)} of at most {sentences.n_bytes(findings.bound)}"
    first = Text(f"{used} in {findings.directory}")
    if not findings.entries:
        return Group(first)
    table = Table(box=None, pad_edge=False)
    for column in ("model", "commit", "file", "tensor"):
        table.add_column(column, overflow="fold")
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


def removed_page(findings: "Removed") -> RenderableType:
    """Return how much was removed."""
    if not findings.freed:
        return Text(f"Nothing that is kept in {findings.directory} is of that name")
    return Text(f"{sentences.n_bytes(findings.freed)} freed in {findings.directory}")


def reproduction_page(findings: "Reproduction") -> RenderableType:
    """Return each published figure beside this run's."""
    table = Table(box=None, pad_edge=False)
    for column in ("figure", "published", "this run", "verdict", "arithmetic"):
        table.add_column(column, overflow="fold")
    section = ""
    for figure in findings.figures:
        if figure.section != section:
            section = figure.section
            table.add_row(text(section, "bold"))
        style = {"equal": "green", "differs": "yellow", "not compared": "dim"}[figure.verdict]
        verdict: str = figure.verdict
        if figure.difference is not None:
            verdict += f" by {_difference(figure.difference)}"
        elif figure.note:
            verdict += f": {figure.note}" if figure.verdict == "not compared" else f" {figure.note}"
        table.add_row(
            text("  " + figure.figure),
            text(_shown(figure.published)),
            text(_shown(figure.this_run)),
            text(verdict, style),
            "depends on it" if figure.depends_on_arithmetic else "",
        )
    summary = (
        f"{findings.equal} equal, {findings.differs} differ, {findings.not_compared} not compared"
    )
    return Group(
        *lines(sentences.matrix(findings.matrix, findings.model.name)),
        *lines(
            [
                sentences.device(findings.arithmetic, any_logits=True),
                f"Beside: {findings.published}",
            ]
        ),
        "",
        table,
        "",
        Text(summary, style="bold"),
        *_notes(findings.notes),
    )


def written(console: Console, paths: Iterable[Path]) -> None:
    """Print the list of what was written."""
    console.print(Text("\nSaved:", style="bold"))
    for path in paths:
        console.print(f"  ✓ {path}", soft_wrap=True, markup=False, highlight=False)


def _verdict(findings: Audit | Classes) -> list[RenderableType]:
    return [
        Text(sentences.verdict(findings), style="bold"),
        "",
        Text(sentences.device(findings.arithmetic, any_logits=findings.logits is not None)),
    ]


def _opening(findings: Audit | Classes) -> list[RenderableType]:
    return [
        *_verdict(findings),
        *lines(sentences.matrix(findings.matrix, findings.model.name)),
        *lines(sentences.head(findings.head)),
    ]


def _rows(findings: Audit | Classes) -> list[RenderableType]:
    rows, tokens = findings.rows, findings.tokens
    parts = section("Row classes", sentences.rows(rows, findings.matrix))
    if rows.classes:
        parts += _classes_table(rows, None if tokens is None else tokens.classes)
    if rows.by_value is not None:
        parts += ["", Text("Classes of equal values"), *_classes_table(rows.by_value, None)]
    return parts


def _classes_table(
    rows: RowFacts | EqualRows, tokens: Sequence[ClassTokens] | None
) -> list[RenderableType]:
    table = Table(box=None, pad_edge=False)
    table.add_column("class", justify="right")
    table.add_column("tokens", justify="right")
    table.add_column("token IDs (first 8)")
    if tokens is not None:
        table.add_column("which", overflow="fold")
    for n, group in enumerate(rows.largest[:_CLASSES_SHOWN]):
        row: list[RenderableType] = [
            str(group.label),
            f"{group.size:,}",
            sentences.ids(group.token_ids, 8),
        ]
        if tokens is not None:
            row.append(text(token_sentences.class_tokens(tokens[n])))
        table.add_row(*row)
    hidden = rows.classes - min(len(rows.largest), _CLASSES_SHOWN)
    if hidden <= 0:
        return [table]
    more = counted(hidden, "more class", "more classes")
    return [table, Text(f"… and {more}, the smallest of {rows.sizes[-1]}")]


def _tokens(findings: Audit | Classes) -> list[RenderableType]:
    return [] if findings.tokens is None else tokens_section(findings.tokens)


def _what_to_do(findings: Audit) -> list[RenderableType]:
    told = [] if findings.tokens is None else token_sentences.what_to_do(findings.tokens)
    return section("What to do", [f"• {line}" for line in told]) if told else []


def _which(tokens: ClassTokens | None) -> list[RenderableType]:
    return [] if tokens is None else [text(f"  {token_sentences.class_tokens(tokens)}")]


def _cluster(findings: Audit | Classes) -> list[RenderableType]:
    dtype = findings.arithmetic.logit_dtype
    parts = section("Cluster", sentences.cluster(findings.cluster, dtype))
    if findings.tokens is not None:
        parts += _which(findings.tokens.cluster)
    if isinstance(findings, Audit) and findings.pairwise is not None:
        parts += lines(sentences.pairwise(findings.pairwise, dtype))
    if findings.axes is not None:
        parts += section("Principal axes", sentences.axes(findings.axes))
    return parts


def _cosines(findings: Audit, vocabulary: int) -> list[RenderableType]:
    kind = findings.reference
    against = {
        "centroid": "the cluster's centroid",
        "mean": "the mean of all finite rows",
        "pole": f"{kind.lat_deg}°, {kind.lon_deg}° (axes {kind.axes})",
    }[kind.kind]
    return [
        *section(f"Cosines with {against}", sentences.distribution(findings.cosines, "Cosine")),
        *lines(sentences.mode(findings.cosines, "cosine", vocabulary)),
        *_top(findings.cosines, vocabulary, "cosine"),
    ]


def _state(findings: Audit | Classes) -> list[RenderableType]:
    if findings.state is None:
        return []
    parts = section("Hidden state", sentences.state(findings.state))
    if findings.centroid is not None:
        whose = "Row" if findings.state.kind == "mean" else "Member"
        parts += lines(_centroid(findings.centroid, whose, findings.matrix.values_dtype))
    return parts


def _centroid(centroid: CentroidFacts, whose: str, dtype: str) -> Sequence[str]:
    own = centroid.member_norm
    low, high, mean = (sentences.number(n, dtype, 6) for n in (own.min, own.max, own.mean))
    return [
        f"{whose} norms:",
        f"  Min: {low}   Max: {high}   Mean: {mean}",
    ]


def _logits(findings: Audit | Classes, logits: ValueFacts, vocabulary: int) -> list[RenderableType]:
    biased = " (without the head's bias)" if findings.head.bias is not None else ""
    parts = [
        *section("Dot products", sentences.distribution(logits, "Dot product")),
        *section(
            f"Logit equivalence class{biased}", sentences.mode(logits, "dot product", vocabulary)
        ),
    ]
    if findings.tokens is not None:
        parts += _which(findings.tokens.modal_class)
    if findings.own_class is not None and findings.state is not None:
        parts += section(
            "The state's own class",
            sentences.own_class(findings.own_class, findings.state, logits.dtype, vocabulary),
        )
    return parts


def _distinct(values: ValueFacts, vocabulary: int, what: str) -> list[RenderableType]:
    held = values.multiplicity
    return [
        *section(f"Unique {what} values", []),
        *_top(values, vocabulary, what),
        Text(
            "Values held by 1, 2, 3, 4+, 100+, 1000+ tokens: "
            + ", ".join(f"{held[name]:,}" for name in ("1", "2", "3", "4+", "100+", "1000+"))
        ),
    ]


def _top(values: ValueFacts, vocabulary: int, what: str) -> list[RenderableType]:
    if not values.distinct:
        return [Text(f"Total unique {what} values: 0")]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column(what, justify="right")
    table.add_column("tokens", justify="right")
    table.add_column("")
    for n, count in enumerate(values.top, start=1):
        mode = "← MODE" if n == 1 else ""
        table.add_row(
            f"{n}.", sentences.number(count.value, values.dtype), f"{count.n_tokens:,}", mode
        )
    return [
        Text(
            f"Total unique {what} values: {values.distinct:,} "
            f"({sentences.share(values.distinct, vocabulary)}); the most common:"
        ),
        table,
    ]


def _notes(notes: list[str]) -> list[RenderableType]:
    return section("Notes", [f"• {note}" for note in notes]) if notes else []


def _difference(value: float) -> str:
    # Counts differ by a count, to the last token.
    return f"{value:+,.0f}" if value.is_integer() else f"{value:+.8g}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        # Nested lists keep their brackets, and show fewer of them.
        nested = any(isinstance(item, list) for item in value)
        shown = 3 if nested else 6
        # Ids and shapes stand in lists, and ids are not quantities: no separators there.
        parts = [
            f"[{_shown(item)}]"
            if isinstance(item, list)
            else str(item)
            if isinstance(item, int)
            else _shown(item)
            for item in value
        ]
        return ", ".join(parts[:shown]) + (", …" if len(parts) > shown else "")
    return "" if value is None else str(value)
