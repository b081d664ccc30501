"""The pages of `audit` and `classes`: the findings in the seed's order, as rich renderables."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from isologit.checkpoint.wording import counted
from isologit.claims import tagged
from isologit.findings import (
    Audit,
    CentroidFacts,
    Classes,
    EqualRows,
    RowFacts,
    ValueFacts,
)
from isologit.output import sentences, states_page, token_sentences
from isologit.output.advice import Advice, further_questions, what_to_do
from isologit.output.parts import PlainTable, lines, notes_section, section, text
from isologit.output.tie_tables import ties_in_brief, ties_section
from isologit.output.token_tables import tokens_section
from isologit.output.verdicts import verdict
from isologit.token_findings import ClassTokens

_CLASSES_SHOWN = 20


def audit_page(findings: Audit) -> RenderableType:
    """Return the whole summary of an audit, but for what `opening_page` has said of a hub model."""
    vocabulary = findings.matrix.shape[0]
    claims = findings.claims
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
        parts += section(
            tagged("Comparison with the cluster", claims["comparison"]),
            sentences.comparison(findings.comparison),
        )
    parts += section(
        tagged("Embedding-level duplicates", claims["class_rows"]),
        sentences.duplicates(findings.class_rows, findings.logits),
    )
    parts += _distinct(findings.logits, vocabulary, "dot product", claims["logits"])
    if findings.refinement is not None:
        parts += section(
            tagged("Iterated refinement", claims["refinement"]),
            sentences.refinement(findings.refinement),
        )
    if findings.ties is not None:
        parts += ties_in_brief(findings.ties, findings.logits.dtype)
    parts += states_page.greedy(findings.greedy)
    return Group(
        *parts,
        *notes_section(findings.notes),
        *_advice("What to do", what_to_do(findings)),
        *_advice("Further questions", further_questions(findings)),
    )


def classes_page(findings: Classes) -> RenderableType:
    """Return the summary of row classes, and of logit classes at a state or at many."""
    vocabulary = findings.matrix.shape[0]
    claims = findings.claims
    parts: list[RenderableType] = [*_opening(findings), *_rows(findings), *_tokens(findings)]
    if findings.logits is not None and findings.class_rows is not None:
        if findings.cluster is not None:
            parts += _cluster(findings)
        parts += [*_state(findings), *_logits(findings, findings.logits, vocabulary)]
        if findings.comparison is not None:
            parts += section(
                tagged("Comparison with the cluster", claims["comparison"]),
                sentences.comparison(findings.comparison),
            )
        parts += section(
            tagged("Embedding-level duplicates", claims["class_rows"]),
            sentences.duplicates(findings.class_rows, findings.logits),
        )
        parts += _distinct(findings.logits, vocabulary, "dot product", claims["logits"])
        if findings.ties is not None:
            parts += ties_section(findings.ties, findings.logits.dtype)
    parts += [*states_page.many_states(findings), *states_page.greedy(findings.greedy)]
    return Group(*parts, *notes_section(findings.notes))


def written(console: Console, paths: Iterable[Path]) -> None:
    """Print the list of what was written."""
    console.print(Text("\nSaved:", style="bold"))
    for path in paths:
        console.print(f"  ✓ {path}", soft_wrap=True, markup=False, highlight=False)


def _verdict(findings: Audit | Classes) -> list[RenderableType]:
    return [
        Text(verdict(findings), style="bold"),
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
    parts = section(
        tagged("Row classes", findings.claims["rows"]), sentences.rows(rows, findings.matrix)
    )
    if rows.classes:
        parts += _classes_table(rows, None if tokens is None else tokens.classes)
    if rows.by_value is not None:
        # Their labels are another column of tokens.parquet, which --class does not take.
        head = Text("Classes of equal values (row_value_class)")
        parts += ["", head, *_classes_table(rows.by_value, None)]
    return parts


def _classes_table(
    rows: RowFacts | EqualRows, tokens: Sequence[ClassTokens] | None
) -> list[RenderableType]:
    table = PlainTable()
    table.add_column("class", justify="right")
    table.add_column("tokens", justify="right")
    table.add_column("token IDs (first 8)")
    if tokens is not None:
        table.add_column("which")
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
    if findings.tokens is None:
        return []
    return tokens_section(findings.tokens, claim=findings.claims["tokens"])


def _advice(title: str, told: Sequence[Advice]) -> list[RenderableType]:
    return section(title, [f"• {each.line()}" for each in told]) if told else []


def _which(tokens: ClassTokens | None) -> list[RenderableType]:
    return [] if tokens is None else [text(f"  {token_sentences.class_tokens(tokens)}")]


def _cluster(findings: Audit | Classes) -> list[RenderableType]:
    dtype = findings.arithmetic.logit_dtype
    claims = findings.claims
    title = tagged("Cluster", claims["cluster"]) if findings.cluster is not None else "Cluster"
    parts = section(title, sentences.cluster(findings.cluster, dtype))
    if findings.tokens is not None:
        parts += _which(findings.tokens.cluster)
    if isinstance(findings, Audit) and findings.pairwise is not None:
        parts += lines(sentences.pairwise(findings.pairwise, dtype))
    if findings.axes is not None:
        parts += section(tagged("Principal axes", claims["axes"]), sentences.axes(findings.axes))
    return parts


def _cosines(findings: Audit, vocabulary: int) -> list[RenderableType]:
    against = sentences.against(findings.reference)
    return [
        *section(
            tagged(f"Cosines with {against}", findings.claims["cosines"]),
            sentences.distribution(findings.cosines, "Cosine"),
        ),
        *lines(sentences.mode(findings.cosines, "cosine", vocabulary)),
        *_top(findings.cosines, vocabulary, "cosine"),
    ]


def _state(findings: Audit | Classes) -> list[RenderableType]:
    if findings.state is None:
        return []
    parts = section(
        tagged("Hidden state", findings.claims["state"]), sentences.state(findings.state)
    )
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
    claim = findings.claims["logits"]
    biased = " (without the head's bias)" if findings.head.bias is not None else ""
    parts = [
        *section(tagged("Dot products", claim), sentences.distribution(logits, "Dot product")),
        *section(
            tagged(f"Logit equivalence class{biased}", claim),
            sentences.mode(logits, "dot product", vocabulary),
        ),
    ]
    if findings.tokens is not None:
        parts += _which(findings.tokens.modal_class)
    if findings.own_class is not None and findings.state is not None:
        parts += section(
            tagged("The state's own class", findings.claims["own_class"]),
            sentences.own_class(findings.own_class, findings.state, logits.dtype, vocabulary),
        )
    return parts


def _distinct(values: ValueFacts, vocabulary: int, what: str, claim: str) -> list[RenderableType]:
    held = values.multiplicity
    return [
        *section(tagged(f"Unique {what} values", claim), []),
        *_top(values, vocabulary, what),
        Text(
            "Values held by 1, 2, 3, 4+, 100+, 1000+ tokens: "
            + ", ".join(f"{held[name]:,}" for name in ("1", "2", "3", "4+", "100+", "1000+"))
        ),
    ]


def _top(values: ValueFacts, vocabulary: int, what: str) -> list[RenderableType]:
    if not values.distinct:
        return [Text(f"Total unique {what} values: 0")]
    table = PlainTable()
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
