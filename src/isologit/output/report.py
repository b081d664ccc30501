"""The report: an audit as one page of HTML that needs nothing else, and asks for nothing."""

from collections.abc import Sequence

import numpy as np

from isologit import __version__
from isologit.audit_tables import AuditTables
from isologit.findings import Audit
from isologit.output import (
    advice,
    report_classes,
    report_sections,
    report_sentences,
    sentences,
    states_page,
    tie_sentences,
    token_sentences,
)
from isologit.output.drawing import Drawing
from isologit.output.figures import drawings, left_out
from isologit.output.page import PageFigure, drawn_by, rendered
from isologit.output.page_parts import Fact, facts
from isologit.output.pictured import Mask, Pictured
from isologit.output.report_classes import TokenGroup, Tokens

#: What the page holds, for whoever reads it by a program; a higher number where that changes.
FORMAT = "isologit.report/1"

# Classes before "more", so that what comes after them is near.
_CLASSES_OPEN = 8
# Tokens of the cluster and of the logit class that are in the page.
_MEMBERS_SHOWN = 400


def report_html(audit: AuditTables) -> str:
    """Return the page.

    Parameters
    ----------
    audit
        Fresh, or read back from its directory.
    """
    pictured = Pictured.of(audit)
    return page(pictured, drawings(pictured), left_out(pictured))


def page(pictured: Pictured, figures: Sequence[Drawing], not_drawn: Sequence[str]) -> str:
    """Return the page of an audit with these figures, and what is said of those there are not."""
    findings, tokens = pictured.findings, Tokens(pictured)
    values = {
        "findings": findings,
        "claims": findings.claims,
        "contents": _contents(findings),
        "against": sentences.against(findings.reference),
        "about": _about(findings),
        "headline": report_sentences.headline(findings),
        "because": report_sentences.because(findings),
        "numbers": report_sentences.key_numbers(findings),
        "advice": _what_to_do(findings),
        "nothing_to_do": report_sentences.nothing_to_do(findings),
        "questions": advice.further_questions(findings, advice.same_model(findings)),
        "classes": tokens.classes(),
        "first": report_classes.FIRST,
        "classes_first": _CLASSES_OPEN,
        "cluster_tokens": _group(tokens, pictured.in_cluster),
        "class_tokens": _group(tokens, pictured.in_modal_class),
        "figures": [PageFigure.of(each) for each in figures],
        "not_drawn": not_drawn,
        "at_the_state": report_sentences.at_the_state(findings),
        "sections": report_sections,
        "sentences": sentences,
        "states_page": states_page,
        "tie_sentences": tie_sentences,
        "token_sentences": token_sentences,
        "pictured": pictured,
        "method": _method(findings),
        "hashes": _hashes(findings),
        "versions": _versions(findings),
        "repeat": advice.audit_again(findings),
    }
    return rendered("report.html", FORMAT, findings.isologit, values)


def _group(tokens: Tokens, mask: Mask | None) -> TokenGroup | None:
    return None if mask is None else tokens.group(np.flatnonzero(mask), _MEMBERS_SHOWN)


def _what_to_do(findings: Audit) -> list[advice.Advice]:
    largest = findings.rows.largest
    label = str(largest[0].label) if largest else advice.LABEL
    return advice.what_to_do(findings, advice.same_model(findings), label)


def _contents(findings: Audit) -> list[tuple[str, str]]:
    """Return the sections by their places in the page."""
    return [
        ("rows", "Row classes"),
        ("cluster", "Cluster"),
        ("state", "Logits at a state"),
        ("figures", "Figures"),
        *([("ties", "Why tokens tie")] if findings.ties is not None else []),
        *([("greedy", "Greedy decoding")] if findings.greedy is not None else []),
        ("tokens", "Who the tokens are"),
        ("further", "Further questions"),
        *([("notes", "Notes")] if findings.notes else []),
        ("method", "Method"),
    ]


def _about(findings: Audit) -> list[Fact]:
    matrix, model = findings.matrix, findings.model
    tied = {True: ", tied to the input embedding", False: ", untied", None: ""}[matrix.tied]
    which = "Unembedding matrix" if matrix.role == "output" else "Input embedding"
    stored = matrix.dtype
    if matrix.dtype == matrix.values_dtype:
        stored = sentences.FORMAT_NAMES[matrix.dtype]
    revision = [Fact("Commit", model.revision, code=True)] if model.revision else []
    return [
        *revision,
        Fact(which + tied, matrix.tensor, code=True),
        Fact("Shape", f"{matrix.shape[0]:,} tokens × {matrix.shape[1]:,} numbers"),
        Fact("Stored as", stored),
        Fact("isologit", findings.isologit),
    ]


def _method(findings: Audit) -> list[Fact]:
    matrix, arithmetic = findings.matrix, findings.arithmetic
    environment = ", ".join(f"{name} {value}" for name, value in arithmetic.environment.items())
    return facts(
        ("W, the matrix", f"{matrix.tensor}: {matrix.why}"),
        ("arithmetic", sentences.arithmetic(arithmetic, any_logits=True)),
        ("device", None if arithmetic.name == "exact" else arithmetic.device),
        ("observed with", environment or None),
        *((name, value) for name, _, value in _head(findings)),
    )


def _head(findings: Audit) -> list[tuple[str, str, str]]:
    parted = (line.partition(": ") for line in sentences.head(findings.head))
    return [(name.lower(), colon, value) for name, colon, value in parted]


def _hashes(findings: Audit) -> list[Fact]:
    return [
        Fact("sha256 of W, as stored", findings.matrix.sha256, code=True),
        Fact("sha256 of the hidden state", findings.state.sha256, code=True),
    ]


def _versions(findings: Audit) -> list[Fact]:
    return facts(
        ("audited by", f"isologit {findings.isologit}"),
        ("page made by", f"isologit {__version__}"),
        ("figures drawn by", drawn_by()),
        ("findings", findings.schema),
        ("page", FORMAT),
    )
