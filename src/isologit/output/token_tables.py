"""Pages and sections about who the tokens are, as rich renderables."""

from rich.console import Group, RenderableType
from rich.text import Text

from isologit.checkpoint.wording import counted
from isologit.claims import OBSERVED, tagged
from isologit.output import token_sentences
from isologit.output.parts import PlainTable, lines, notes_section, rows_table, section, text
from isologit.token_findings import TokenFacts, TokenListing, TokensFacts
from isologit.tokens.table import CATEGORY_WORDS
from isologit.tokens.text import visible_token

_LONGEST_SHOWN = 40
# Of so few tokens every reason is told in full.
_FULLY_TOLD = 3
_SHOWN_AGAIN = 4


def tokens_section(facts: TokensFacts, *, claim: str) -> list[RenderableType]:
    """Return who the rows are: categories, reachability, scripts, traces of training."""
    parts = section(tagged("Tokens", claim), token_sentences.tokens(facts))
    table = PlainTable()
    table.add_column("category")
    table.add_column("tokens", justify="right")
    for name, n in facts.categories.items():
        if n:
            table.add_row(CATEGORY_WORDS[name], f"{n:,}")
    parts += [table, *lines(token_sentences.reachability(facts))]
    parts += lines([*token_sentences.special(facts), token_sentences.scripts(facts)])
    if facts.evidence is not None:
        parts += lines(token_sentences.evidence(facts.evidence))
    return parts


def listing_page(findings: TokenListing, *, at_most: int | None) -> RenderableType:
    """Return the tokens in numbers, and the first of those that the filters keep."""
    shown = findings.tokens if at_most is None else findings.tokens[:at_most]
    where = f", the rows of {findings.tensor}" if findings.tensor else ""
    heading = text(f"Tokens of {findings.model.name}{where}", "bold")
    kept = counted(findings.matched, "token") + (" kept" if findings.filters else "")
    parts: list[RenderableType] = [heading, *tokens_section(findings.summary, claim=OBSERVED)[2:]]
    parts += section(kept, [])
    if shown:
        parts.append(_table(shown))
    if hidden := findings.matched - len(shown):
        parts.append(Text(f"… and {hidden:,} more (--limit 0 lists them all, --json too)"))
    if len(shown) <= _FULLY_TOLD:
        for each in shown:
            parts += lines([f"{each.id}: {why}" for why in each.evidence_why or []])
    return Group(*parts, *notes_section(findings.notes))


def _table(tokens: list[TokenFacts]) -> RenderableType:
    with_weights = any(each.row_class is not None for each in tokens)
    heads = ["id", "token", "category", "script", "encoded again as"]
    heads += ["class", "untrained?"] if with_weights else []
    rows = [_row(each, with_weights=with_weights) for each in tokens]
    return rows_table(heads, rows, right=("id", "class"))


def _row(token: TokenFacts, *, with_weights: bool) -> list[str]:
    raw = None if token.bytes is None else bytes.fromhex(token.bytes)
    row = [
        str(token.id),
        visible_token(raw, _LONGEST_SHOWN),
        CATEGORY_WORDS[token.category],
        (token.script or "").replace("_", " "),
        _again(token),
    ]
    return [*row, str(token.row_class), _grade(token)] if with_weights else row


def _grade(token: TokenFacts) -> str:
    flags = ", ".join(flag.replace("_", " ") for flag in token.evidence_flags or [])
    return f"{token.evidence}: {flags}" if flags else token.evidence or ""


def _again(token: TokenFacts) -> str:
    if token.survives is None:
        return ""
    if token.survives:
        return "itself"
    each = list(zip(token.reencoded or [], token.reencoded_tokens or [], strict=True))
    again = " ".join(f"{i} {shown}" for i, shown in each[:_SHOWN_AGAIN])
    more = " …" if len(each) > _SHOWN_AGAIN else ""
    return f"{again}{more} ({token_sentences.CAUSES[token.cause or 'unknown']})"
