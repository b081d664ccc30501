"""An audit in short, as HTML that a notebook shows: static, escaped, without colours of its own."""

from collections.abc import Iterable, Sequence
from html import escape

from isologit.checkpoint.wording import counted, listed
from isologit.claims import tagged
from isologit.findings import Audit
from isologit.output import sentences, token_sentences
from isologit.record_display import plain

_CLASSES_SHOWN = 5
_IDS_SHOWN = 6

# Notebooks set tables to the right; without colours it reads on a light ground and on a dark one.
_LEFT = ' style="text-align:left;vertical-align:top"'
_RIGHT = ' style="text-align:right;vertical-align:top"'


def result_html(findings: Audit) -> str:
    """Return the verdict, a few figures, the largest row classes with their tokens, the notes."""
    return "".join(
        [
            f"<div><p><b>{_text(sentences.verdict(findings))}</b></p>",
            _figures(_of_few_words(findings)),
            _classes(findings),
            _notes(findings.notes),
            "<p>More: <code>.findings</code>, <code>.tokens</code>, <code>.figures</code>, "
            "<code>.report(path)</code>, <code>.save(directory)</code></p></div>",
        ]
    )


def _of_few_words(findings: Audit) -> list[tuple[str, str]]:
    """Return a few figures, each with its claim behind its name."""
    rows, claims, tokens = findings.rows, findings.claims, findings.tokens
    n_tokens, width = findings.matrix.shape
    logits = findings.logits
    commit = f", commit {findings.model.revision}" if findings.model.revision else ""
    told = [
        ("model", f"{findings.model.name}{commit}"),
        (
            "W",
            f"{findings.matrix.tensor}, {n_tokens:,} tokens × {width:,} dimensions in "
            f"{findings.matrix.dtype}",
        ),
        (
            tagged("row classes", claims["rows"]),
            f"{counted(rows.classes, 'class', 'classes')} of two tokens or more, "
            f"{counted(rows.tokens_in_classes, 'token')} in all; "
            f"{counted(rows.distinct, 'distinct row')}",
        ),
        (
            tagged("cluster", claims["cluster"]) if "cluster" in claims else "cluster",
            "none stands out"
            if findings.cluster is None
            else counted(findings.cluster.size, "token"),
        ),
        (
            tagged("largest logit class", claims["logits"]),
            f"{counted(logits.mode.n_tokens, 'token')} with the logit "
            f"{sentences.number(logits.mode.value, logits.dtype)} at the {_state(findings)}; "
            f"{counted(logits.distinct, 'distinct logit')}",
        ),
    ]
    if tokens is not None:
        lost = "" if tokens.unreachable is None else f"; {tokens.unreachable:,} unreachable"
        padding = "" if tokens.padding is None else f"; {counted(tokens.padding, 'padding row')}"
        told.append(
            (
                tagged("tokenizer", claims["tokens"]),
                f"{counted(tokens.in_tokenizer, 'token')}{padding}{lost}",
            )
        )
        if tokens.evidence is not None:
            told.append(("signs of no training", _graded(tokens.evidence.grades)))
    return told


def _state(findings: Audit) -> str:
    return "mean of all rows" if findings.cluster is None else "cluster's centroid"


def _graded(grades: dict[str, int]) -> str:
    shown = [f"{n:,} {grade}" for grade, n in reversed(grades.items()) if grade != "none"]
    return listed(shown)


def _figures(told: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row"{_LEFT}>{_text(name)}</th><td{_LEFT}>{_text(what)}</td></tr>'
        for name, what in told
    )
    return f"<table>{rows}</table>"


def _classes(findings: Audit) -> str:
    largest = findings.rows.largest[:_CLASSES_SHOWN]
    if not largest:
        return ""
    tokens = findings.tokens
    who = [token_sentences.class_tokens(each) for each in tokens.classes] if tokens else []
    heads = [
        ("class", _RIGHT),
        ("tokens", _RIGHT),
        ("ids", _LEFT),
        *([("which", _LEFT)] * any(who)),
    ]
    cells = [
        [
            str(group.label),
            f"{group.size:,}",
            sentences.ids(group.token_ids, _IDS_SHOWN),
            *who[n:][:1],
        ]
        for n, group in enumerate(largest)
    ]
    head = "".join(f'<th scope="col"{side}>{name}</th>' for name, side in heads)
    body = "".join(_row(row, [side for _, side in heads]) for row in cells)
    hidden = findings.rows.classes - len(largest)
    more = f"<p>… and {counted(hidden, 'more class', 'more classes')}</p>" if hidden else ""
    caption = f"<caption>The largest row classes [{findings.claims['rows']}]</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _row(cells: Sequence[str], sides: Sequence[str]) -> str:
    shown = "".join(f"<td{side}>{_text(c)}</td>" for c, side in zip(cells, sides, strict=True))
    return f"<tr>{shown}</tr>"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f"<details><summary>{counted(len(notes), 'note')}</summary><ul>{items}</ul></details>"


def _text(value: str) -> str:
    return escape(plain(value))
