"""An audit in short, as HTML that a notebook shows: static, escaped, without colours of its own."""

from collections.abc import Sequence
from html import escape

from isologit.checkpoint.wording import counted, listed
from isologit.claims import tagged
from isologit.findings import Audit
from isologit.output import sentences, token_sentences
from isologit.output.verdicts import verdict
from isologit.record_display import plain
from isologit.token_findings import TokensFacts

_CLASSES_SHOWN = 5
_IDS_SHOWN = 6

# Notebooks set tables to the right; without colours it reads on a light ground and on a dark one.
_LEFT = ' style="text-align:left;vertical-align:top"'
_RIGHT = ' style="text-align:right;vertical-align:top"'


def result_html(findings: Audit) -> str:
    """Return the verdict, a few figures, the largest row classes with their tokens, the notes."""
    return "".join(
        [
            f"<div><p><b>{_text(verdict(findings))}</b></p>",
            _figures(findings),
            _classes(findings),
            _notes(findings.notes),
            "<p>More: <code>.findings</code>, <code>.tokens</code>, <code>.figures</code>, "
            "<code>.report(path)</code>, <code>.save(directory)</code></p></div>",
        ]
    )


def _figures(findings: Audit) -> str:
    """Return a few figures, each with its claim behind its name."""
    named = {
        "model": _model(findings),
        "W": _matrix(findings),
        _claimed("row classes", findings, "rows"): _rows(findings),
        _claimed("cluster", findings, "cluster"): _cluster(findings),
        _claimed("largest logit class", findings, "logits"): _logits(findings),
    }
    if findings.tokens is not None:
        named[_claimed("tokenizer", findings, "tokens")] = _tokens(findings.tokens)
        if findings.tokens.evidence is not None:
            named["signs of no training"] = _graded(findings.tokens.evidence.grades)
    rows = "".join(
        f'<tr><th scope="row"{_LEFT}>{_text(name)}</th><td{_LEFT}>{_text(what)}</td></tr>'
        for name, what in named.items()
    )
    return f"<table>{rows}</table>"


def _model(findings: Audit) -> str:
    model = findings.model
    return f"{model.name}, commit {model.revision}" if model.revision else model.name


def _matrix(findings: Audit) -> str:
    matrix = findings.matrix
    n_tokens, width = matrix.shape
    return f"{matrix.tensor}, {n_tokens:,} tokens × {width:,} dimensions in {matrix.dtype}"


def _rows(findings: Audit) -> str:
    rows = findings.rows
    return (
        f"{counted(rows.classes, 'class', 'classes')} of two tokens or more, "
        f"{counted(rows.tokens_in_classes, 'token')} in all; "
        f"{counted(rows.distinct, 'distinct row')}"
    )


def _cluster(findings: Audit) -> str:
    facts = findings.cluster
    return "none stands out" if facts is None else counted(facts.size, "token")


def _logits(findings: Audit) -> str:
    logits = findings.logits
    state = "mean of all rows" if findings.cluster is None else "cluster's centroid"
    return (
        f"{counted(logits.mode.n_tokens, 'token')} with the logit "
        f"{sentences.number(logits.mode.value, logits.dtype)} at the {state}; "
        f"{counted(logits.distinct, 'distinct logit')}"
    )


def _tokens(facts: TokensFacts) -> str:
    padding = "" if facts.padding is None else f"; {counted(facts.padding, 'padding row')}"
    lost = "" if facts.unreachable is None else f"; {facts.unreachable:,} unreachable"
    return f"{counted(facts.in_tokenizer, 'token')}{padding}{lost}"


def _graded(grades: dict[str, int]) -> str:
    return listed(f"{n:,} {grade}" for grade, n in reversed(grades.items()) if grade != "none")


def _claimed(name: str, findings: Audit, figure: str) -> str:
    claim = findings.claims.get(figure)
    return name if claim is None else tagged(name, claim)


def _classes(findings: Audit) -> str:
    largest = findings.rows.largest[:_CLASSES_SHOWN]
    if not largest:
        return ""
    heads = {"class": _RIGHT, "tokens": _RIGHT, "ids": _LEFT}
    cells = [
        [str(group.label), f"{group.size:,}", sentences.ids(group.token_ids, _IDS_SHOWN)]
        for group in largest
    ]
    if findings.tokens is not None:
        heads["which"] = _LEFT
        for row, facts in zip(cells, findings.tokens.classes, strict=False):
            row.append(token_sentences.class_tokens(facts))
    head = "".join(f'<th scope="col"{side}>{name}</th>' for name, side in heads.items())
    body = "".join(_row(row, list(heads.values())) for row in cells)
    hidden = findings.rows.classes - len(largest)
    more = f"<p>… and {counted(hidden, 'more class', 'more classes')}</p>" if hidden else ""
    caption = _text(_claimed("The largest row classes", findings, "rows"))
    return (
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{more}"
    )


def _row(cells: Sequence[str], sides: Sequence[str]) -> str:
    shown = "".join(f"<td{side}>{_text(c)}</td>" for c, side in zip(cells, sides, strict=False))
    return f"<tr>{shown}</tr>"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f"<details><summary>{counted(len(notes), 'note')}</summary><ul>{items}</ul></details>"


def _text(value: str) -> str:
    return escape(plain(value))
