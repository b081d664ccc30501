"""What ``diff`` prints: a page for two checkpoints, a table with a row a step for a series."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from isologit.checkpoint.wording import counted, listed
from isologit.claims import tagged
from isologit.diff_findings import (
    ClassCounts,
    Continued,
    Diff,
    DiffSeries,
    DiffSide,
    Frozen,
    Moved,
    MovedAtLeast,
    MovedRow,
    NamedClass,
    Regrouped,
    Scaled,
)
from isologit.output.parts import PlainTable, lines, notes_section, section, text
from isologit.output.sentences import ids, share
from isologit.tokens.table import CATEGORY_WORDS

# Classes of a kind that the page shows; --json lists them all.
_SHOWN = 8
_IDS = 6

_WHAT = {
    "born": "single tokens before",
    "dissolved": "single tokens after",
    "merged": "of two classes before, or more",
    "split": "in two classes after, or more",
    "grown": "single tokens came",
    "shrunk": "tokens left and are single",
    "exchanged": "tokens came and left",
}


def diff_page(findings: Diff) -> RenderableType:
    """Return what became of classes and rows between two checkpoints."""
    return Group(
        text(verdict(findings), "bold"),
        "",
        *lines([f"Before: {_side(findings.from_)}", f"After:  {_side(findings.to)}"]),
        *_classes(findings),
        *_rows(findings),
        *notes_section(findings.notes),
    )


def series_page(findings: DiffSeries) -> RenderableType:
    """Return a row a step."""
    table = PlainTable()
    table.add_column("step")
    for name in ("classes", "born", "dissolved", "merged", "split", "other", "persistent"):
        table.add_column(name, justify="right")
    for name in ("frozen", "moved", "less than 1 ULP", "median ULP", "max ULP"):
        table.add_column(name, justify="right")
    for step in findings.steps:
        each, moved = step.classes, step.moved
        ulp = {} if moved is None or moved.quantiles is None else moved.quantiles
        figures = [
            f"{each.before:,} → {each.after:,}",
            *(f"{n:,}" for n in (each.born, each.dissolved, each.merged, each.split)),
            f"{each.grown + each.shrunk + each.exchanged:,}",
            f"{each.persistent:,}",
            "" if step.frozen_rows is None else f"{step.frozen_rows:,}",
            _moved_in_series(step),
            "" if moved is None else f"{moved.below_ulp:,}",
            *(f"{ulp[name]:,}" if name in ulp else "" for name in ("median", "max")),
        ]
        table.add_row(text(f"{step.from_.model.name} → {step.to.model.name}"), *figures)
    notes: list[str] = []
    for step in findings.steps:
        said = [*step.notes, *([step.rows_why] if step.moved is None else [])]
        notes += [each for each in said if each not in notes]
    claim = findings.steps[0].claims["classes"]
    legend = ["other: grown, shrunk or exchanged single tokens. Of one step: isologit diff A B"]
    for step in findings.steps:
        if step.moved_at_least is not None:
            legend.append(tagged("≥: at least, as results show", step.claims["moved_at_least"]))
            break
    return Group(
        text(f"{counted(len(findings.steps), 'step')}", "bold"),
        *section(tagged("What became of row classes and rows", claim), []),
        table,
        *lines(legend),
        *notes_section(notes),
    )


def verdict(findings: Diff) -> str:
    """Return the first line: how many rows are the same, and what became of the classes."""
    n_rows, counts = findings.vocabulary.common, findings.classes
    if findings.frozen_rows is not None:
        rows = f"{counted(findings.frozen_rows, 'row')} of {n_rows:,} are the same in both"
        if findings.frozen_rows == 1:
            rows = rows.replace(" are ", " is ")
        if findings.frozen_rows == n_rows:
            rows = f"All {n_rows:,} rows are the same in both"
        elif (moved := findings.moved) is not None:
            rows += f", {moved.rows:,} moved"
            if moved.below_ulp and not moved.rows:
                rows += f" by 1 ULP of {moved.format} or more"
    elif findings.frozen is not None:
        rows = f"All {n_rows:,} rows are the same in both, biases aside"
    elif findings.moved_at_least is not None:
        rows = f"At least {counted(findings.moved_at_least.rows, 'row')} of {n_rows:,} moved"
    else:
        rows = f"Rows of {n_rows:,} tokens were not compared"
    if not counts.before and not counts.after:
        return f"{rows}; there are no row classes, before or after."
    told = [
        f"{n:,} {name}"
        for name in (*_WHAT, "persistent")
        if (n := getattr(counts, name)) or name in ("born", "dissolved")
    ]
    return f"{rows}; row classes: {listed(told)}."


def _side(side: DiffSide) -> str:
    matrix = side.matrix
    decoded = "" if matrix.dtype == matrix.values_dtype else f", decoded into {matrix.values_dtype}"
    read = " (its results)" if side.read == "results" else ""
    bias = "" if side.bias is None else f", with {side.bias}"
    shape = f"[{matrix.shape[0]}, {matrix.shape[1]}]"
    return f"{side.model.name}{read}: {matrix.tensor} {shape} {matrix.dtype}{decoded}{bias}"


def _classes(findings: Diff) -> list[RenderableType]:
    counts = findings.classes
    parts = section(tagged("Row classes", findings.claims["classes"]), _counted(counts))
    if findings.by_value is not None:
        parts += lines(["By value, where −0 equals +0: " + "; ".join(_counted(findings.by_value))])
    for name, what in _WHAT.items():
        found: Sequence[NamedClass | Continued] = getattr(findings, name)
        if not found:
            continue
        table = _classes_table(found[:_SHOWN])
        parts += ["", text(f"{name.capitalize()}: {len(found):,} ({what})"), table]
        if len(found) > _SHOWN:
            parts += lines([f"… and {len(found) - _SHOWN:,} more (--json lists them all)"])
    return parts


def _counted(counts: ClassCounts) -> list[str]:
    if not counts.before and not counts.after:
        return ["No two tokens share a row, before or after"]
    told = [
        f"{counted(counts.before, 'class', 'classes')} of two tokens or more before, "
        f"{counts.after:,} after; {counts.persistent:,} persistent",
        f"{counted(counts.tokens_changed, 'token')} in a class with others than before",
    ]
    if counts.absorbed or counts.fragment:
        told.append(
            f"{counted(counts.absorbed, 'class', 'classes')} went into merged ones, "
            f"{counts.fragment:,} came out of split ones"
        )
    return told


def _classes_table(found: Sequence[NamedClass | Continued]) -> PlainTable:
    told, named = [_what(each) for each in found], any(each.first is not None for each in found)
    table = PlainTable()
    table.add_column("class", justify="right")
    table.add_column("tokens", justify="right")
    table.add_column(f"token IDs (first {_IDS})")
    if any(told):
        table.add_column("of what")
    if named:
        table.add_column("which")
    for each, what in zip(found, told, strict=True):
        label, size = _label_and_size(each)
        row: list[RenderableType] = [label, size, ids(each.token_ids, _IDS)]
        row += [text(what)] if any(told) else []
        row += [text(" ".join(each.first or []))] if named else []
        table.add_row(*row)
    return table


def _label_and_size(each: NamedClass | Continued) -> tuple[str, str]:
    if isinstance(each, NamedClass):
        return str(each.label), f"{each.size:,}"
    return (
        f"{each.label_before} → {each.label_after}",
        f"{each.size_before:,} → {each.size_after:,}",
    )


def _what(each: NamedClass | Continued) -> str:
    """Return what a class is made of, or what came to it and left."""
    if isinstance(each, Continued):
        came = [f"came: {ids(each.gained, _IDS)}"] if each.gained else []
        return "; ".join([*came, *([f"left: {ids(each.lost, _IDS)}"] if each.lost else [])])
    if not isinstance(each, Regrouped):
        return ""
    parts = (f"{len(part.token_ids):,} of class {part.label}" for part in each.parts)
    single = f"; {len(each.single_token_ids):,} single" if each.single_token_ids else ""
    return listed(parts, at_most=4) + single


def _rows(findings: Diff) -> list[RenderableType]:
    claims, parts = findings.claims, list[RenderableType]()
    if findings.frozen is not None:
        parts += section(
            tagged("Frozen rows", claims["frozen_rows"]),
            [*_frozen(findings.frozen, findings), _sentence(findings.rows_why)],
        )
        parts += _categories(findings.frozen)
    if findings.moved is not None and findings.moved.rows + findings.moved.below_ulp:
        parts += _moved(findings.moved, claims["moved"])
    elif findings.moved is not None and findings.moved.only_nan:
        parts += section(tagged("Moved rows", claims["moved"]), _nan(findings.moved))
    if findings.moved_at_least is not None:
        parts += section(
            tagged("Rows that moved, at least", claims["moved_at_least"]),
            _at_least(findings.moved_at_least, findings.vocabulary.common, findings.rows_why),
        )
    if findings.frozen is None and findings.moved_at_least is None:
        parts += section("Rows", [_sentence(findings.rows_why)])
    if (bias := findings.bias) is not None:
        parts += section(
            tagged("Biases", claims["bias"]),
            [
                f"{bias.same:,} the same, {bias.moved:,} moved, by up to {bias.ulp:,} ULP of "
                f"{bias.format}"
            ],
        )
    if (zero := findings.zero) is not None and (zero.before or zero.after):
        parts += section(
            tagged("Zero rows", claims["zero"]),
            [f"{zero.before:,} before, {zero.after:,} after, {zero.both:,} in both"],
        )
    return parts


def _frozen(frozen: Frozen, findings: Diff) -> list[str]:
    n_rows, n_frozen = findings.vocabulary.common, len(frozen.token_ids)
    told = [f"{counted(n_frozen, 'row')} of {n_rows:,} ({share(n_frozen, n_rows)})"]
    if n_frozen:
        told[0] += f": {ids(frozen.token_ids, 10)}"
    if frozen.without_bias is not None:
        told.append(f"{counted(frozen.without_bias, 'row')} whatever their biases")
    if frozen.by == "bits" and frozen.same_values > (frozen.without_bias or n_frozen):
        told.append(f"{counted(frozen.same_values, 'row')} of the same values, where −0 equals +0")
    if frozen.zero:
        told.append(f"{frozen.zero:,} of them zero")
    if (beside := frozen.in_classes) is not None and n_frozen:
        relation = {
            "identical": "they are exactly the tokens that share their row with another",
            "contains": f"all {beside.b:,} tokens that share their row with another are among them",
            "contained": "all of them share their row with another token",
            "partial": f"{beside.both:,} of the {beside.b:,} tokens that share their row with "
            "another are among them",
            "disjoint": "none of them shares its row with another token",
        }[beside.relation]
        told.append(f"After: {relation}")
    return told


def _categories(frozen: Frozen) -> list[RenderableType]:
    if frozen.categories is None or frozen.of is None or not frozen.token_ids:
        return []
    table = PlainTable()
    table.add_column("category")
    table.add_column("frozen", justify="right")
    table.add_column("of", justify="right")
    for name, n_rows in frozen.of.items():
        if n_rows:
            table.add_row(CATEGORY_WORDS[name], f"{frozen.categories[name]:,}", f"{n_rows:,}")
    return [table]


def _moved(moved: Moved, claim: str) -> list[RenderableType]:
    told = [
        f"{counted(moved.rows, 'row')} moved by 1 ULP of {moved.format} or more in some entry, "
        f"{counted(moved.entries, 'entry', 'entries')} in all"
    ]
    if moved.below_ulp:
        told.append(
            f"{counted(moved.below_ulp, 'row')} not the same, and no entry moved by 1 ULP: "
            "rounded, or other bits for the same values, as of a zero's sign"
        )
    if moved.through_zero:
        told.append(
            f"{counted(moved.through_zero, 'row')} with an entry that is 0 in one of the two, or "
            "of another sign: all numbers between count, and there are many near 0"
        )
    told += _nan(moved)
    parts = section(tagged("Moved rows", claim), told)
    if moved.quantiles is not None:
        quantiles = ", ".join(f"{name} {n:,}" for name, n in moved.quantiles.items())
        parts += lines([f"Largest distance in a row, in ULP: {quantiles}"])
    if moved.rows:
        parts += [_histogram(moved)]
        for title, rows in (("Moved least", moved.least), ("Moved most", moved.most)):
            parts += ["", text(title), _rows_table(rows)]
    if moved.scaled is not None and moved.scaled.rows:
        parts += ["", *lines([_scaled(moved.scaled)])]
    return parts


def _nan(moved: Moved) -> list[str]:
    if not moved.unlike_nan:
        return []
    return [f"{counted(moved.unlike_nan, 'row')} with a NaN in one of the two alone"]


def _scaled(scaled: Scaled) -> str:
    told = (
        f"{counted(scaled.rows, 'row')} of them are what they were times one positive factor each, "
        f"every entry rounded once: from {scaled.least:.9g} to {scaled.greatest:.9g}"
    )
    if scaled.common is None:
        return told + "; no factor does for all"
    low, high = (f"{end:.9g}" for end in scaled.common)
    return told + f"; {low if low == high else f'any from {low} to {high}'} does for all"


def _histogram(moved: Moved) -> PlainTable:
    table = PlainTable()
    table.add_column("ULP", justify="right")
    table.add_column("rows", justify="right")
    for each in moved.histogram:
        if each.rows:
            span = f"{each.from_:,}" if each.from_ == each.to else f"{each.from_:,}–{each.to:,}"
            table.add_row(span, f"{each.rows:,}")
    return table


def _rows_table(rows: Sequence[MovedRow]) -> PlainTable:
    table = PlainTable()
    for name in ("id", "largest ULP", "entries"):
        table.add_column(name, justify="right")
    if any(row.token is not None for row in rows):
        table.add_column("token")
    for row in rows:
        figures: list[RenderableType] = [str(row.token_id), f"{row.ulp:,}", f"{row.entries:,}"]
        table.add_row(*figures, *([] if row.token is None else [text(row.token)]))
    return table


def _at_least(found: MovedAtLeast, n_rows: int, why: str) -> list[str]:
    told = [f"{counted(found.rows, 'row')} of {n_rows:,} ({share(found.rows, n_rows)})"]
    told += [f"  {n:,} by their {name}" for name, n in found.by.items()]
    if more := found.rows - len(found.token_ids):
        told.append(f"  {more:,} more by row classes that came apart or together")
    return [*told, _sentence(why)]


def _moved_in_series(step: Diff) -> str:
    if step.moved is not None:
        return f"{step.moved.rows:,}"
    return "" if step.moved_at_least is None else f"≥ {step.moved_at_least.rows:,}"


def _sentence(text_: str) -> str:
    return text_[:1].upper() + text_[1:]
