"""Sentences about who the tokens are, as functions of the figures alone; token text is escaped."""

from isologit.checkpoint.wording import counted, listed
from isologit.token_findings import ClassTokens, EvidenceFacts, TokensFacts

# What becomes of a token on a round trip, by cause.
CAUSES = {
    "special_token": "special, not matched in text",
    "decoding_loses_bytes": "bytes lost in decoding",
    "added_token": "taken by an added token",
    "normalizer": "changed by the normalizer",
    "pre_tokenizer": "split by the pre-tokenizer",
    "only_inside_text": "reached beside other text",
    "same_text": "another token has the text",
    "no_merge_path": "composed of other pieces",
    "unknown": "cause not known",
}
_SHOWN_OF_MIX = 4
_SHOWN_TOKENS = 3
_SHOWN_SCRIPTS = 12


def mix(facts: ClassTokens) -> str:
    """Return what a class's tokens are: ``551 Thai, 203 partial UTF-8, …``."""
    return listed_mix(facts.mix, _SHOWN_OF_MIX)


def listed_mix(counts: dict[str, int], at_most: int) -> str:
    """Return counts in their order, the rest as ``…``."""
    shown = [f"{n:,} {name}" for name, n in list(counts.items())[:at_most]]
    return ", ".join([*shown, "…"] if len(counts) > at_most else shown)


def first(facts: ClassTokens) -> str:
    """Return the first tokens of a class."""
    shown = facts.first[:_SHOWN_TOKENS]
    if not shown:
        return ""
    return "first " + " ".join([*shown, "…"] if facts.size > len(shown) else shown)


def class_tokens(facts: ClassTokens) -> str:
    """Return what a class's tokens are, and the first of them."""
    return ", ".join(filter(None, [mix(facts), first(facts)]))


def tokens(facts: TokensFacts) -> list[str]:
    """Return which tokenizer it is, and how its ids and the rows of W go together."""
    source = facts.tokenizer
    first = f"{counted(facts.in_tokenizer, 'token')} in {source.source} ({source.kind})"
    if facts.rows is not None and facts.padding is not None:
        first += f" for {counted(facts.rows, 'row')}: {counted(facts.padding, 'padding row')}"
    lines = [first]
    if facts.beyond_rows:
        lines.append(f"⚠ {counted(facts.beyond_rows, 'token')} beyond the last row of W")
    return lines


def reachability(facts: TokensFacts) -> list[str]:
    """Return how many tokens do not survive a round trip, and why."""
    if facts.unreachable is None:
        return ["Reachability was not checked (see the notes)"]
    if not facts.unreachable:
        return ["Every token survives encode(decode([id]))"]
    why = sorted(facts.causes.items(), key=lambda item: -item[1])
    told = ", ".join(f"{n:,} {CAUSES[cause]}" for cause, n in why)
    do = "does" if facts.unreachable == 1 else "do"
    return [f"{counted(facts.unreachable, 'token')} {do} not survive encode(decode([id])): {told}"]


def special(facts: TokensFacts) -> list[str]:
    """Return which special tokens share their row with another token."""
    if not facts.special_in_classes:
        return []
    n = len(facts.special_in_classes)
    share = "shares its row" if n == 1 else "share their rows"
    return [
        f"⚠ {counted(n, 'special token')} {share} with others: "
        f"{listed(facts.special_in_classes, at_most=8)}"
    ]


def scripts(facts: TokensFacts) -> str:
    """Return how many tokens each script has."""
    named = {name.replace("_", " "): n for name, n in facts.scripts.items()}
    return f"Scripts: {listed_mix(named, _SHOWN_SCRIPTS)}"


def evidence(facts: EvidenceFacts) -> list[str]:
    """Return how many rows show traces of no training, and what they were held against."""
    graded = [f"{n:,} {grade}" for grade, n in reversed(facts.grades.items()) if grade != "none"]
    reference = [f"{n:,} {name.replace('_', ' ')}" for name, n in facts.reference.items() if n]
    return [
        f"Signs of no training: {', '.join(graded)}",
        f"  reference: {facts.why}" + (f" ({listed(reference)})" if reference else ""),
    ]
