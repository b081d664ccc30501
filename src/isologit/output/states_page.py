"""Parts of a page about many hidden states: what they are, their meet, the top token at each."""

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from isologit.checkpoint.wording import counted, shown
from isologit.claims import BOUND, tagged
from isologit.findings import Classes
from isologit.output import sentences
from isologit.output.parts import PlainTable, lines, section, text
from isologit.states_findings import GreedyFacts, GreedyShare, MeetFacts, StatesFacts

_CLASSES_SHOWN = 20
_STATES_SHOWN = 5
_VERDICTS = ("certain", "order-dependent", "tied", "undefined")


def many_states(findings: Classes) -> list[RenderableType]:
    """Return what is said of many states; nothing where there are none."""
    states, meet = findings.states, findings.meet
    if states is None or meet is None:
        return []
    claim = findings.claims["meet"]
    return [
        *section(tagged("Hidden states", findings.claims["states"]), _states(states)),
        *section(tagged("Tokens that no state told apart", claim), _meet(meet)),
        *_classes(meet),
        *section(tagged("How the number of classes grows", findings.claims["meet.growth"]), []),
        _growth(meet),
    ]


def greedy(facts: GreedyFacts | None) -> list[RenderableType]:
    """Return the greedy certificate; nothing where there is none."""
    if facts is None:
        return []
    parts = section(tagged("Greedy certificate", BOUND), [])
    parts.append(_one(facts) if len(facts.states) == 1 else _shares(facts))
    return [*parts, *lines(what_it_means(facts))]


def _states(facts: StatesFacts) -> list[str]:
    what = f"from {shown(facts.file)}" if facts.file is not None else f"random, seed {facts.seed}"
    first = f"{counted(facts.n, 'state')} {what}, in {sentences.FORMAT_NAMES[facts.dtype]}"
    if facts.n < facts.asked:
        first += f" (of {facts.asked:,}: no further one can tell more)"
    found = [first]
    if facts.ratio is not None:
        low, middle, high = (
            f"{r:.4g}" for r in (facts.ratio.min, facts.ratio.median, facts.ratio.max)
        )
        reach = "all of them reachable"
        if facts.unreachable:
            reach = f"{facts.unreachable:,} not reachable"
        found.append(f"  ‖(h − β) ⊘ γ‖/√d: min {low}, median {middle}, max {high}; {reach}")
    elif facts.unreachable:
        found.append(f"  {facts.unreachable:,} not reachable")
    elif facts.undecided:
        found.append("  Reachable or not is unknown: the final norm is not known")
    distinct = facts.distinct_logits
    if distinct is not None:
        found.append(
            f"  Distinct logits at one of {counted(distinct.n, 'state')}: min {distinct.min:,}, "
            f"median {distinct.median:,}, max {distinct.max:,}"
        )
    return found


def _meet(facts: MeetFacts) -> list[str]:
    over = counted(facts.states, "state")
    if facts.told_apart_all:
        first = (
            f"✓ {over} told apart every token with a row of its own: what is left are the "
            f"{counted(facts.classes, 'row class', 'row classes')}"
            if facts.classes
            else f"✓ {over} told every token from every other"
        )
        return [
            f"{first}; no state can tell more",
            f"  {counted(facts.distinct, 'class', 'classes')}, as many as distinct rows"
            + _last(facts, "; the last were told apart after "),
        ]
    return [
        f"{counted(facts.tokens_in_classes, 'token')} in "
        f"{counted(facts.classes, 'class', 'classes')} of two or more: {facts.rows_classes:,} of "
        f"these are one row class, {facts.joined:,} hold different rows",
        f"  {counted(facts.distinct, 'class', 'classes')} in all, of "
        f"{facts.distinct_rows:,} distinct rows: {facts.distinct_rows - facts.distinct:,} fewer"
        + _last(facts, "; the last tokens were told apart after "),
    ]


def _last(facts: MeetFacts, told: str) -> str:
    return (
        f"{told}{counted(facts.last_growth, 'state')}"
        if facts.last_growth
        else "; no state told any apart"
    )


def _classes(facts: MeetFacts) -> list[RenderableType]:
    if not facts.classes:
        return []
    table = PlainTable()
    table.add_column("tokens", justify="right")
    table.add_column("distinct rows", justify="right")
    table.add_column("token IDs (first 8)")
    table.add_column("which")
    for group in facts.largest[:_CLASSES_SHOWN]:
        table.add_row(
            f"{group.size:,}",
            f"{group.distinct_rows:,}",
            sentences.ids(group.token_ids, 8),
            text(", ".join(group.tokens)),
        )
    hidden = facts.classes - min(len(facts.largest), _CLASSES_SHOWN)
    more = [Text(f"… and {counted(hidden, 'more class', 'more classes')}")] if hidden else []
    return [table, *more]


def _growth(facts: MeetFacts) -> PlainTable:
    table = PlainTable()
    for column in ("states", "classes", "of two or more"):
        table.add_column(column, justify="right")
    for step in facts.growth:
        table.add_row(f"{step.states:,}", f"{step.distinct:,}", f"{step.classes:,}")
    return table


def kept_in(share: GreedyShare) -> str:
    """Return the format that logits are kept in, as the end of a sentence."""
    kept = "kept in float32" if share.dtype == "f32" else "rounded to "
    return kept if share.dtype == "f32" else kept + sentences.FORMAT_NAMES[share.dtype]


def _shares(facts: GreedyFacts) -> PlainTable:
    table = PlainTable()
    table.add_column(f"the top token at {counted(len(facts.states), 'state')} is")
    for share in facts.shares:
        table.add_column(f"logits {kept_in(share)}", justify="right")
    rows = [
        ("certain, in any order of summation", [s.certain for s in facts.shares]),
        ("  of these on tensor cores too", [s.certain_if_truncated for s in facts.shares]),
        ("order-dependent", [s.order_dependent for s in facts.shares]),
        ("tied on the grid of logits", [s.tied for s in facts.shares]),
        ("  of these by identical rows alone", [s.tied_by_identical_rows for s in facts.shares]),
    ]
    if any(s.undefined for s in facts.shares):
        rows.append(("undefined: a logit is no number", [s.undefined for s in facts.shares]))
    for name, counts in rows:
        cells = [
            f"{count:,} ({100 * count / share.states:.1f}%)"
            for count, share in zip(counts, facts.shares, strict=True)
        ]
        table.add_row(name, *cells)
    return table


def lead(margin_ulp: float) -> str:
    """Return by how much the top token leads, or nothing where that is no number."""
    return f"{margin_ulp:.3g} ULP" if np.isfinite(margin_ulp) else ""


def _one(facts: GreedyFacts) -> PlainTable:
    state = facts.states[0]
    table = PlainTable()
    for column in ("logits", "the top token is", "on tensor cores", "leads by", "at the top"):
        table.add_column(column)
    for share in facts.shares:
        here = state.formats[share.dtype]
        table.add_row(
            kept_in(share),
            here.verdict,
            here.if_truncated,
            lead(here.margin_ulp) if state.runner_up is not None else "no other",
            f"{counted(here.n_top, 'token')} {sentences.ids(here.top_ids, 4)}"
            if here.n_top
            else "no logit is a number",
        )
    return table


def what_it_means(facts: GreedyFacts) -> list[str]:
    """Return margins, remedies, and what a certificate assumes."""
    found = []
    if len(facts.states) == 1:
        state = facts.states[0]
        if state.runner_up is not None:
            found.append(
                f"Token {state.top} leads token {state.runner_up} by {state.margin_nats:.4g} nats "
                "(real logits)"
            )
    else:
        closest = sorted(
            (s for s in facts.states if s.runner_up is not None), key=lambda s: s.margin_nats
        )[:_STATES_SHOWN]
        found += ["Closest (states count from 0):"] * bool(closest)
        found += [
            f"  state {s.state}: token {s.top} before {s.runner_up} by {s.margin_nats:.3g} nats"
            for s in closest
        ]
    sixteen, full = facts.shares
    if sixteen.order_dependent + sixteen.tied > full.order_dependent + full.tied:
        found.append(
            'Remedy, logits in float32: vLLM --hf-overrides \'{"head_dtype": "float32"}\', SGLang '
            "--enable-fp32-lm-head"
        )
    if sixteen.order_dependent or full.order_dependent:
        found.append(
            "Remedy, one order whatever the batch: vLLM VLLM_BATCH_INVARIANT=1, SGLang "
            "--enable-deterministic-inference"
        )
    if sixteen.tied_by_identical_rows or full.tied_by_identical_rows:
        found.append("Remedy for identical rows: mask all but one of them (isologit export)")
    assumed = "no TF32, no partial sum rounded to 16 bits, one rounding at the end (docs/greedy.md)"
    return [*found, f"Assumed: products and sums in float32 in any order, {assumed}"]
