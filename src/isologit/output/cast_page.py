"""The page of ``cast``: a line a format, then the entries, the classes born and the flips."""

from rich.console import Group, RenderableType
from rich.text import Text

from isologit.cast_findings import Born, CastFacts, Casts, Flip
from isologit.checkpoint.wording import counted
from isologit.claims import tagged
from isologit.numerics.cast_formats import is_float8
from isologit.output import sentences, token_sentences
from isologit.output.parts import PlainTable, lines, notes_section, section, text

# How many formats' classes are shown, the worst first, and how many of each; --json lists all.
_WORST_FORMATS = 3
_CLASSES_SHOWN = 8
_FLIPS_SHOWN = 8

_SCALED_BY = {
    "none": "none",
    "tensor": "one scale",
    "row": "scale a row",
    "column": "scale a column",
    "block": "scale a block",
}
_TOO_LARGE = {
    "saturate": "saturate at the largest number (--overflow saturate, as in torch)",
    "nan": "are too large and become NaN (--overflow nan, as in ml_dtypes)",
    "infinity": "are too large and become infinite",
}
_KEPT = {"identity": "W is stored so", "exact": "keeps every number", "rounded": ""}


def cast_page(findings: Casts) -> RenderableType:
    """Return what casts of W would merge."""
    claims = findings.claims
    parts: list[RenderableType] = [
        text(_verdict(findings), "bold"),
        "",
        *lines([sentences.device(findings.arithmetic, any_logits=True)]),
        *lines(sentences.matrix(findings.matrix, findings.model.name)),
        *section("State of the logits", sentences.state(findings.state)),
        *section("Random states", [_states(findings)]),
        *section("Casts", []),
        _table(findings),
        *lines(_not_possible(findings)),
        *lines(_legend(findings)),
        *section(tagged("What becomes of the entries", claims["entries"]), _entries(findings)),
        *_born(findings),
        *_flips(findings),
        *section("Which casts these are", _schemes(findings)),
    ]
    return Group(*parts, *notes_section(findings.notes))


def _verdict(findings: Casts) -> str:
    worst = _worst(findings)
    if not worst:
        names = ", ".join(findings.formats)
        return f"No cast would merge rows that differ now: {names}."
    name, facts = worst[0]
    which = f"{len(worst)} of {counted(len(findings.formats), 'cast')}"
    most = f"{name} merges" if len(worst) == 1 else f"{name} merges the most"
    return (
        f"{which} would merge rows that differ now; {most}: "
        f"{counted(facts.rows_merged, 'distinct row')} fewer, "
        f"{counted(facts.born_tokens, 'token')} in {_classes(facts.born_classes)}."
    )


def _states(findings: Casts) -> str:
    states = findings.states
    norm = "an RMSNorm with γ = 1" if states.assumed else f"the final norm ({states.norm})"
    return f"{counted(states.n, 'random state')} that {norm} can output, seed {states.seed}"


def _table(findings: Casts) -> PlainTable:
    claims = findings.claims
    table = PlainTable()
    table.add_column("format")
    table.add_column("scaling")
    exact = claims["distinct"]
    for name, claim in (
        ("distinct rows", exact),
        ("rows merged", exact),
        ("classes born", claims["born"]),
        ("logits tied", claims["logits"]),
        ("distinct logits", claims["logits"]),
        ("flips", claims["flips"]),
    ):
        table.add_column(f"{name}\n\\[{claim}]", justify="right")
    table.add_column("")
    stored = findings.before
    table.add_row(
        text(f"as stored ({findings.matrix.dtype})"),
        "",
        f"{stored.distinct:,}",
        "",
        "",
        f"{stored.logits.tied:,}",
        f"{stored.logits.distinct:,}",
        "",
        "",
    )
    for name, facts in findings.formats.items():
        table.add_row(
            name,
            _SCALED_BY[facts.scaling],
            f"{facts.distinct:,}",
            f"{facts.rows_merged:,}",
            f"{facts.born_classes:,}",
            f"{facts.logits.tied:,}",
            f"{facts.logits.distinct:,}",
            f"{facts.flipped:,} of {findings.states.n:,}",
            _KEPT[facts.kind],
        )
    return table


def _not_possible(findings: Casts) -> list[str]:
    return [f"{name}  not possible: {why}" for name, why in findings.not_possible.items()]


def _legend(findings: Casts) -> list[str]:
    return [
        "Rows merged: distinct rows lost. Classes born: row classes made of several that differ "
        "now.",
        "Logits tied: tokens that share their logit with another at the state above, which is kept "
        "as it is.",
        "Flips: random states at which another token has the largest logit.",
    ]


def _entries(findings: Casts) -> list[str]:
    told = []
    for name, facts in findings.formats.items():
        entries = facts.entries
        if entries is None:
            continue
        parts = []
        if facts.scaling == "none" or is_float8(name):
            parts.append(f"{_part(entries.subnormal, entries.total)} land in its subnormals")
        parts.append(f"{_part(entries.zeroed, entries.total)} become 0")
        # Of scales that are made to fit, too large is news alone.
        if facts.overflow is not None and (entries.overflowed or facts.scaling == "none"):
            becomes = _TOO_LARGE[facts.overflow]
            parts.append(f"{_part(entries.overflowed, entries.total)} {becomes}")
        if facts.made_non_finite:
            rows = counted(facts.made_non_finite, "finite row")
            parts.append(f"{rows} left with an infinity or a NaN")
        told.append(f"{name}: {', '.join(parts)}")
    return told or ["Every number is kept"]


def _part(n: int, total: int) -> str:
    if not n:
        return "none"
    share = 100 * n / total
    shown = "less than 0.01%" if share < 0.01 else f"{share:.2f}%"
    return f"{n:,} ({shown})"


def _worst(findings: Casts) -> list[tuple[str, CastFacts]]:
    """Return the formats that merge rows, most rows first."""
    merging = [(name, facts) for name, facts in findings.formats.items() if facts.born_classes]
    return sorted(merging, key=lambda item: -item[1].rows_merged)


def _born(findings: Casts) -> list[RenderableType]:
    parts: list[RenderableType] = []
    worst = _worst(findings)
    for name, facts in worst[:_WORST_FORMATS]:
        heading = tagged(f"Classes born by {name}", findings.claims["born"])
        parts += section(heading, [])
        table = PlainTable()
        table.add_column("tokens", justify="right")
        table.add_column("rows before", justify="right")
        table.add_column("token IDs (first 8)")
        with_text = any(each.tokens is not None for each in facts.born)
        if with_text:
            table.add_column("which")
        for each in facts.born[:_CLASSES_SHOWN]:
            table.add_row(*_class(each))
        parts.append(table)
        if (hidden := facts.born_classes - _CLASSES_SHOWN) > 0:
            more = counted(hidden, "more class", "more classes")
            parts.append(Text(f"… and {more} (--json lists them all)"))
    if (rest := len(worst) - _WORST_FORMATS) > 0:
        parts += lines([f"… and those of {counted(rest, 'more format')} (--to shows one alone)"])
    return parts


def _class(born: Born) -> list[RenderableType]:
    row: list[RenderableType] = [
        f"{born.size:,}",
        f"{born.parts:,}",
        sentences.ids(born.token_ids, 8),
    ]
    if born.tokens is not None:
        row.append(text(token_sentences.class_tokens(born.tokens)))
    return row


def _flips(findings: Casts) -> list[RenderableType]:
    """Return some flips of the format that flips the most."""
    flipped = [(name, facts) for name, facts in findings.formats.items() if facts.flips]
    if not flipped:
        return []
    name, facts = max(flipped, key=lambda item: item[1].flipped)
    heading = tagged(f"Flips by {name}", findings.claims["flips"])
    dtype = findings.arithmetic.logit_dtype
    told = [_flip(each, dtype) for each in facts.flips[:_FLIPS_SHOWN]]
    if (hidden := facts.flipped - _FLIPS_SHOWN) > 0:
        told.append(f"… and {hidden:,} more (--json lists them all)")
    return section(heading, told)


def _flip(flip: Flip, dtype: str) -> str:
    names = [str(i) for i in (flip.before, flip.after)]
    if flip.tokens is not None:
        names = [f"{i} {shown}" for i, shown in zip(names, flip.tokens, strict=True)]
    if min(flip.before, flip.after) < 0:
        return f"state {flip.state}: {names[0]}, then {names[1]} (−1: no logit is a number)"
    before, after = (_ahead(each, dtype) for each in (flip.margin_before, flip.margin_after))
    return f"state {flip.state}: {names[0]} ({before}), then {names[1]} ({after})"


def _ahead(margin: float | None, dtype: str) -> str:
    """Return how far a winner is ahead of the other one."""
    if margin is None:
        return "the other's logit is no number"
    return "tied" if margin == 0 else f"ahead by {sentences.number(margin, dtype, 4)}"


def _schemes(findings: Casts) -> list[str]:
    """Return what the casts are, those of one scheme on one line."""
    by_scheme: dict[str, list[str]] = {}
    for name, facts in findings.formats.items():
        by_scheme.setdefault(facts.scheme, []).append(name)
    return [f"{', '.join(names)}: {scheme}" for scheme, names in by_scheme.items()]


def _classes(n: int) -> str:
    return counted(n, "new class", "new classes")
