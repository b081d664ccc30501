"""Pages and sections about who the tokens are, as rich renderables."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isologit.checkpoint.wording import counted
from isologit.output import token_sentences
from isologit.output.parts import lines, section, text
from isologit.token_findings import TokenFacts, TokenListing, TokensFacts
from isologit.tokens.table import CATEGORY_WORDS
from isologit.tokens.text import visible_token

_LONGEST_SHOWN = 40
# Of so few tokens every reason is told in full.
_FULLY_TOLD = 3
_SHOWN_AGAIN = 4


def tokens_section(facts: TokensFacts) -> list[RenderableType]:
    """Return who the rows are: categories, reachability, scripts, traces of training."""
    parts = section("Tokens", token_sentences.tokens(facts))
    table = Table(box=None, pad_edge=False)
    table.add_column("category")
    table.add_column("tokens", justify="right")
    for name, n in facts.categories.items():
        if n:
            table.add_row(CATEGORY_WORDS[name], f"{n:,}")
    parts += [table, *lines(token_sentences.reachability(facts))]
    parts += lines([token_sentences.scripts(facts)])
    if facts.evidence is not None:
        parts += lines(token_sentences.evidence(facts.evidence))
    return parts


def listing_page(findings: TokenListing, *, at_most: int | None) -> RenderableType:
    """Return the tokens in numbers, and the first of those that the filters keep."""
    shown = findings.tokens if at_most is None else findings.tokens[:at_most]
    where = f", the rows of {findings.tensor}" if findings.tensor else ""
    heading = text(f"Tokens of {findings.model.name}{where}", "bold")
    kept = counted(findings.matched, "token") + (" kept" if findings.filters else "")
    parts: list[RenderableType] = [heading, *tokens_section(findings.summary)[2:]]
    parts += section(kept, [])
    if shown:
        parts.append(_table(shown))
    if hidden := findings.matched - len(shown):
        parts.append(Text(f"… and {hidden:,} more (--limit 0 lists them all, --json too)"))
    if len(shown) <= _FULLY_TOLD:
        for each in shown:
            parts += lines([f"{each.id}: {why}" for why in each.evidence_why or []])
    if findings.notes:
        parts += section("Notes", [f"• {note}" for note in findings.notes])
    return Group(*parts)


def _table(tokens: list[TokenFacts]) -> Table:
    with_weights = any(each.row_class is not None for each in tokens)
    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("token", overflow="fold")
    table.add_column("category")
    table.add_column("script")
    table.add_column("encoded again as", overflow="fold")
    if with_weights:
        table.add_column("class", justify="right")
        table.add_column("untrained?", overflow="fold")
    for each in tokens:
        raw = None if each.bytes is None else bytes.fromhex(each.bytes)
        row: list[RenderableType] = [
            str(each.id),
            text(visible_token(raw, _LONGEST_SHOWN)),
            CATEGORY_WORDS[each.category],
            (each.script or "").replace("_", " "),
            _again(each),
        ]
        if with_weights:
            row += [str(each.row_class), _grade(each)]
        table.add_row(*row)
    return table


def _grade(token: TokenFacts) -> str:
    flags = ", ".join(flag.replace("_", " ") for flag in token.evidence_flags or [])
    return f"{token.evidence}: {flags}" if flags else token.evidence or ""


def _again(token: TokenFacts) -> RenderableType:
    if token.survives is None:
        return ""
    if token.survives:
        return "itself"
    each = list(zip(token.reencoded or [], token.reencoded_tokens or [], strict=True))
    again = " ".join(f"{i} {shown}" for i, shown in each[:_SHOWN_AGAIN])
    more = " …" if len(each) > _SHOWN_AGAIN else ""
    return text(f"{again}{more} ({token_sentences.CAUSES[token.cause or 'unknown']})")
