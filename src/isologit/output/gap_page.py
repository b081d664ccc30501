"""The page of ``gap``: near twins over all that the final norm outputs."""

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from rich.console import Group, RenderableType

from isologit.checkpoint.wording import counted
from isologit.claims import tagged
from isologit.gap_findings import GapClass, GapFindings, GapNorm, GapPair, TokenTwins
from isologit.output import token_sentences
from isologit.output.parts import PlainTable, lines, notes_section, rows_table, section, text

_SHOWN_CLASSES = 20
_SHOWN_MEMBERS = 3
_SHOWN_IDS = 8


def gap_page(findings: GapFindings) -> RenderableType:
    """Return the page."""
    parts: list[RenderableType] = [
        text(f"Near twins of {findings.model.name}, the rows of {findings.matrix.tensor}", "bold"),
        *lines([_verdict(findings), *_meaning(findings)]),
        *section("The norm", _norm(findings.norm)),
        *_pairs(findings),
        *_classes(findings),
        *_equal(findings),
    ]
    for each in findings.tokens:
        parts += _twins(findings, each)
    parts += section("Assumed", [f"• {each}" for each in findings.assumptions])
    return Group(*parts, *notes_section(findings.notes))


def _nats(nats: float) -> str:
    return f"{nats:g} {'nat' if nats == 1 else 'nats'}"


def _at_most(value: float) -> str:
    """Return an upper bound with four digits, rounded up: what is shown is a bound still."""
    return _rounded(value, ROUND_CEILING)


def _rounded(value: float, rounding: str) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{float(Context(prec=4, rounding=rounding).create_decimal(value)):.4g}"


def _verdict(findings: GapFindings) -> str:
    within = _nats(findings.within_nats)
    n_rows = sum(each.distinct for each in findings.classes if each.distinct > 1)
    told = counted(findings.distinct, "distinct row")
    if not n_rows:
        return f"No two of {told} lie within {within} of each other for every state."
    chained = [each for each in findings.classes if each.distinct > 1]
    largest = max(chained, key=lambda each: each.size)
    return (
        f"{counted(n_rows, 'row')} of {told} have another within {within}, whatever the prompt: "
        f"{counted(len(chained), 'class', 'classes')}, the largest of "
        f"{counted(largest.size, 'token')}, no two of which are ever more than "
        f"{_at_most(largest.widest_at_most_nats)} nats apart."
    )


def _meaning(findings: GapFindings) -> list[str]:
    ratio = math.exp(min(findings.within_nats, 700))
    near = f"{ratio:.4g}" if ratio < 1e6 else f"exp({findings.within_nats:g})"
    if near == "1":
        near = f"(1 + {math.expm1(findings.within_nats):.4g})"
    return [
        "The gap of two tokens is the most by which their logits differ over all that the final "
        "norm outputs; at temperature 1 the ratio of their probabilities lies between exp(−gap) "
        f"and exp(gap): for {_nats(findings.within_nats)} between 1/{near} and {near}.",
    ]


def _norm(norm: GapNorm) -> list[str]:
    kind = {"rms": "RMSNorm", "layer": "LayerNorm"}[norm.kind]
    told = [kind]
    if norm.assumed:
        told.append("⚠ γ = 1 is assumed")
    else:
        told += [f"γ = {norm.convention}", *(["with β"] if norm.beta else [])]
        told.append(norm.source)
    return [", ".join(told) + f"; computed in {norm.compute_dtype}"]


def _pairs(findings: GapFindings) -> list[RenderableType]:
    claim = findings.claims["n_pairs"]
    least = "" if findings.complete else "at least "
    counts = [f"{least}{each.pairs:,} within {each.nats:g}" for each in findings.n_within]
    counts.append(f"{least}{findings.n_pairs:,} within {findings.within_nats:g}")
    parts = section(tagged("Pairs of distinct rows", claim), [", ".join(counts)])
    if not findings.complete:
        which = "the closest" if findings.closest else "the closest seen"
        parts += lines([f"There are too many to look at each; those listed are {which}."])
    if findings.pairs:
        parts.append(_pair_table(findings, findings.pairs))
    if hidden := findings.n_pairs - len(findings.pairs):
        parts += lines([f"… and {hidden:,} more (--limit N lists more, 0 all)"])
    return parts


def _pair_table(findings: GapFindings, pairs: Iterable[GapPair]) -> RenderableType:
    gap = tagged("gap", findings.claims["pairs.gap_nats"])
    rows = []
    for pair in pairs:
        row = [_at_most(pair.gap_nats), _at_most(pair.gap_nats_computed)]
        for token in (pair.a, pair.b):
            row += [str(token), findings.texts.get(str(token), "")]
        rows.append(row)
    heads = [gap, "as computed", *(("id", "token") * 2)]
    return rows_table(heads, rows, right=(gap, "as computed", "id"))


def _classes(findings: GapFindings) -> list[RenderableType]:
    chained = [each for each in findings.classes if each.distinct > 1]
    alone = len(findings.classes) - len(chained)
    parts = section(
        tagged("Classes", findings.claims["classes"]),
        [
            "Tokens that a chain of such pairs connects; the widest gap is between any two of them "
            f"[{findings.claims['classes.widest_nats']}]"
        ],
    )
    if chained:
        table = PlainTable()
        for head in ("tokens", "rows", "widest gap"):
            table.add_column(head, justify="right")
        table.add_column("who")
        for each in chained[:_SHOWN_CLASSES]:
            who = _who(findings, each)
            row = [f"{each.size:,}", f"{each.distinct:,}", _widest(each), who]
            table.add_row(*map(text, row))
        parts.append(table)
    more = len(chained) - _SHOWN_CLASSES
    if more > 0:
        parts += lines([f"… and {more:,} more (--json lists them all)"])
    if alone:
        told = counted(alone, "class", "classes")
        parts += lines([f"{told} of tokens of one row, at a gap of 0"])
    if not findings.classes:
        parts += lines(["none"])
    return parts


def _widest(each: GapClass) -> str:
    if each.widest_nats == each.widest_at_most_nats:
        return _at_most(each.widest_nats)
    least = _rounded(each.widest_nats, ROUND_FLOOR)
    return f"{least} to {_at_most(each.widest_at_most_nats)}"


def _who(findings: GapFindings, each: GapClass) -> str:
    if each.tokens is not None and each.size > _SHOWN_MEMBERS:
        return token_sentences.class_tokens(each.tokens)
    shown = [f"{i} {findings.texts.get(str(i), '')}".strip() for i in each.token_ids]
    rest = ", …" if each.size > _SHOWN_IDS else ""
    return ", ".join(shown[:_SHOWN_IDS]) + rest


def _equal(findings: GapFindings) -> list[RenderableType]:
    if not findings.equal_for_all:
        return []
    told = [
        f"{counted(each.size, 'token')} of {counted(each.distinct, 'row')}: " + _ids(each.token_ids)
        for each in findings.equal_for_all[:_SHOWN_CLASSES]
    ]
    if (more := len(findings.equal_for_all) - _SHOWN_CLASSES) > 0:
        told.append(f"… and {more:,} more (--json lists them all)")
    title = tagged("Different rows, equal logits", findings.claims["equal_for_all"])
    why = "What differs is multiplied with 0 by the norm, or taken off with the mean:"
    return section(title, [why, *told])


def _twins(findings: GapFindings, each: TokenTwins) -> list[RenderableType]:
    name = f"{each.token} {findings.texts.get(str(each.token), '')}".strip()
    told = [] if each.why is None else [each.why]
    others = [i for i in each.row_class if i != each.token]
    if others:
        shown = _ids(others)
        told.append(f"{counted(len(others), 'other token')} of its row, at a gap of 0: {shown}")
    parts = section(tagged(f"Nearest to {name}", findings.claims["tokens.nearest"]), told)
    if each.nearest:
        parts.append(_pair_table(findings, each.nearest))
    return parts


def _ids(token_ids: list[int]) -> str:
    shown = ", ".join(map(str, token_ids[:_SHOWN_IDS]))
    return shown + (", …" if len(token_ids) > _SHOWN_IDS else "")
