"""The terminal page of ``never-top``."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from isologit.checkpoint.wording import counted
from isologit.claims import tagged
from isologit.never_top_findings import CertificateFacts, NeverTop, NeverTopFindings
from isologit.output import sentences
from isologit.output.parts import PlainTable, lines, notes_section, section, text

_SHOWN = 20
_DOMAINS = {"all": "all states", "reachable": "reachable states"}


def never_top_page(findings: NeverTopFindings) -> RenderableType:
    """Return the counts, and the tokens that can never be the one argmax."""
    return Group(
        Text(_verdict(findings), style="bold"),
        "",
        *lines(sentences.matrix(findings.matrix, findings.model.name)),
        *lines(sentences.head(findings.head)),
        *section(f"Domain: {_DOMAINS[findings.domain.name]}", [f"{findings.domain.why}."]),
        *_counts(findings),
        *_shadowed(findings),
        *_excluded("Interior", findings.interior, findings.claims["interior"]),
        *_excluded("Boundary", findings.boundary, findings.claims["boundary"]),
        *notes_section(findings.notes),
    )


def _verdict(findings: NeverTopFindings) -> str:
    never = findings.n_shadowed + findings.n_interior + findings.n_boundary
    where = f"over {_DOMAINS[findings.domain.name]}"
    asked = f"{counted(findings.n_asked, 'token')}"
    if never:
        first = f"{never:,} of {asked} can never be the one argmax {where}"
    elif findings.n_won == findings.n_asked:
        return f"Each of {asked} can be the one argmax {where}."
    else:
        first = f"None of {asked} is known to be never the one argmax {where}"
    won = f"{counted(findings.n_won, 'token')} can"
    rest = f", {findings.n_undecided:,} are not decided" if findings.n_undecided else ""
    return f"{first}; {won}{rest}."


def _counts(findings: NeverTopFindings) -> list[RenderableType]:
    table = PlainTable(show_header=False)
    for _ in range(3):
        table.add_column()
    table.columns[1].justify = "right"
    kinds = ", ".join(f"{n:,} {name}" for name, n in findings.witnesses.items() if n)
    meaning = {
        "won": f"a state is known where its logit is strictly the largest ({kinds})"
        if kinds
        else "a state is known where its logit is strictly the largest",
        "shadowed": "another token is never lower: it has the same row",
        "interior": "below the maximum wherever not all tokens tie",
        "boundary": "nowhere strictly the largest; ties for it at most",
        "undecided": "neither a state nor a proof was found in time",
        "left_out": "an infinity or a NaN in row or bias",
    }
    for name, what in meaning.items():
        n = getattr(findings, f"n_{name}")
        if n or name not in ("left_out", "undecided"):
            table.add_row(name.replace("_", " "), f"{n:,}", what)
    return [*section(tagged("Tokens", findings.claims["n_won"]), []), table]


def _shadowed(findings: NeverTopFindings) -> list[RenderableType]:
    if not findings.shadowed:
        return []
    by: dict[int, list[int]] = {}
    for each in findings.shadowed:
        by.setdefault(each.by, []).append(each.token)
    groups = sorted(by.items(), key=lambda item: (-len(item[1]), item[0]))
    said = [
        f"{sentences.ids(tokens, 8)} by {first}" + (f": {len(tokens):,}" if len(tokens) > 8 else "")
        for first, tokens in groups[:_SHOWN]
    ]
    if len(groups) > _SHOWN:
        said.append(f"… and by {counted(len(groups) - _SHOWN, 'more token')}")
    return section(tagged("Shadowed", findings.claims["shadowed"]), said)


def _excluded(title: str, tokens: Sequence[NeverTop], claim: str) -> list[RenderableType]:
    if not tokens:
        return []
    table = PlainTable()
    table.add_column("id", justify="right")
    table.add_column("token")
    table.add_column("evidence")
    for each in tokens[:_SHOWN]:
        table.add_row(str(each.token), text(each.text or ""), text(_evidence(each.certificate)))
    hidden = len(tokens) - _SHOWN
    more = [f"… and {counted(hidden, 'more token')} (--json lists them)"] if hidden > 0 else []
    return [*section(tagged(title, claim), []), table, *lines(more)]


def _evidence(certificate: CertificateFacts) -> str:
    if certificate.kind == "bound":
        n = len(certificate.levels[0].token_ids)
        return f"a mean of {counted(n, 'logit')} is higher everywhere, by {certificate.slack:.3g}"
    first = certificate.levels[0]
    named = sentences.ids(first.token_ids, 4)
    said = f"its row is a mean of {counted(len(first.token_ids), 'row')}, {named}"
    if len(first.token_ids) == 1:
        said = f"no state tells its row from that of {first.token_ids[0]}"
    if len(certificate.levels) > 1:
        others = sum(len(level.token_ids) for level in certificate.levels[1:])
        said += f"; {counted(others, 'row')} more around it"
    if certificate.excess is not None:
        said += f", whose biases' mean is higher by {certificate.excess:.3g}"
    return said
