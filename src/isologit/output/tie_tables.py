"""The part of the page that says why tokens tie."""

from rich.console import RenderableType
from rich.text import Text

from isologit import claims
from isologit.checkpoint.wording import counted
from isologit.output import tie_sentences
from isologit.output.parts import PlainTable, lines, section, text
from isologit.output.sentences import ids, number
from isologit.tie_findings import DeviceFacts, TiedClassFacts, Ties

_TIES_SHOWN = 10


def ties_section(ties: Ties, dtype: str) -> list[RenderableType]:
    """Return the ties for the maximum, in the modal class and among the largest logits."""
    parts = section(
        claims.tagged("Why tokens tie", ties.claims["causes"]),
        [tie_sentences.opening(dtype, ties.logits_of)],
    )
    if ties.nan:
        parts += lines(
            [f"{counted(ties.nan, 'token')} without a number (NaN) are taken as one class"]
        )
    if ties.maximum is not None:
        parts += _class("The maximum", ties.maximum, dtype)
        parts += _pairs(ties.maximum)
    parts += _class("The modal class", ties.modal, dtype)
    if ties.top:
        parts += [
            "",
            Text(f"The {counted(len(ties.top), 'largest distinct logit')}:"),
            _largest(ties.top, dtype),
        ]
    if ties.softcap is not None:
        parts += ["", *lines(tie_sentences.softcap(ties.softcap, dtype))]
    if switches := tie_sentences.switches(ties):
        parts += ["", *lines(["What servers call the remedies:", *(f"  {s}" for s in switches)])]
    if ties.device is not None:
        parts += _device(ties.device, dtype)
    return parts


def ties_in_brief(ties: Ties, dtype: str) -> list[RenderableType]:
    """Return what joins the tokens of the maximum, and of the modal class; no pairs."""
    parts = section(
        claims.tagged("Why tokens tie", ties.claims["causes"]),
        [tie_sentences.opening(dtype, ties.logits_of)],
    )
    if ties.maximum is not None and ties.maximum.value == ties.modal.value:
        return [*parts, *_class("The maximum, and the modal class", ties.modal, dtype)[1:]]
    if ties.maximum is not None:
        parts += _class("The maximum", ties.maximum, dtype)[1:]
    return [*parts, *_class("The modal class", ties.modal, dtype)[1:]]


def _class(title: str, facts: TiedClassFacts, dtype: str) -> list[RenderableType]:
    shown = lines([f"  {line}" for line in tie_sentences.tied_class(facts)])
    return ["", Text(f"{title}, {tie_sentences.value(facts, dtype)}:"), *shown]


def _pairs(facts: TiedClassFacts) -> list[RenderableType]:
    if not facts.ties:
        return []
    table = PlainTable(show_header=False)
    for tie in facts.ties[:_TIES_SHOWN]:
        table.add_row(
            f"    {tie.a} = {tie.b}",
            tie.cause if tie.saturation is None else f"{tie.cause} ({tie.saturation})",
            tie_sentences.margin(tie),
            tie_sentences.in_f32(tie),
        )
    hidden = facts.n_tokens - 1 - min(len(facts.ties), _TIES_SHOWN)
    more = [f"    … and {counted(hidden, 'more tie')}"] if hidden else []
    return [table, *lines(more)]


def _largest(classes: list[TiedClassFacts], dtype: str) -> PlainTable:
    table = PlainTable()
    table.add_column("logit", justify="right")
    for column in ("tokens", "rows", "reals", "in f32"):
        table.add_column(column, justify="right")
    table.add_column("ties, by cause")
    table.add_column("closest", justify="right")
    table.add_column("token IDs (first 4)")
    named = any(each.first is not None for each in classes)
    if named:
        table.add_column("which")
    for each in classes:
        closest = "" if each.closest_ulp is None else f"{each.closest_ulp:.3g} ULP"
        row: list[RenderableType] = [
            number(each.value, dtype),
            *(
                f"{n:,}"
                for n in (
                    each.n_tokens,
                    each.distinct_rows,
                    each.distinct_reals,
                    each.distinct_f32,
                )
            ),
            tie_sentences.causes(each),
            closest,
            ids(each.token_ids, 4),
        ]
        if named:
            row.append(text(" ".join((each.first or [])[:4])))
        table.add_row(*row)
    return table


def _device(facts: DeviceFacts, dtype: str) -> list[RenderableType]:
    environment = facts.environment
    parts = section(
        claims.tagged(f"The device, {facts.device}", claims.OBSERVED),
        [
            "Logits that are not the exact ones; one observation each, with "
            + ", ".join(f"{name} {environment[name]}" for name in environment if name != "device")
        ],
    )
    table = PlainTable()
    table.add_column("operation")
    for column in ("tokens", "farthest", "at token", "row classes split", "unlike W @ h"):
        table.add_column(column, justify="right")
    table.add_column("unlike in the batch", justify="right")
    for each in facts.observations:
        table.add_row(
            each.op if each.batch is None else f"{each.op}, batch {each.batch}",
            f"{each.differing:,}",
            "" if each.largest_ulp is None else f"{each.largest_ulp:.4g} ULP",
            "" if each.largest_token is None else str(each.largest_token),
            f"{each.split_row_classes:,}",
            f"{each.unlike_first_op:,}",
            f"{each.unlike_in_batch:,}",
        )
    parts += [table, *lines(tie_sentences.of_device(facts))]
    if facts.split:
        parts += _split(facts, dtype)
    return parts


def _split(facts: DeviceFacts, dtype: str) -> list[RenderableType]:
    table = PlainTable()
    table.add_column("class", justify="right")
    table.add_column("tokens", justify="right")
    table.add_column("token IDs (first 8)")
    table.add_column("tokens by logit")
    for each in facts.split:
        table.add_row(
            str(each.label),
            f"{each.size:,}",
            ids(each.token_ids, 8),
            ", ".join(
                f"{n:,} of {number(logit, dtype)}"
                for logit, n in zip(each.logits, each.n_tokens, strict=True)
            ),
        )
    hidden = facts.split_row_classes - len(facts.split)
    more = [f"… and {counted(hidden, 'more class', 'more classes')}"] if hidden else []
    return [table, *lines(more)]
