"""What the sections of a report say, as facts and tables: functions of an audit's figures."""

import numpy as np

from isologit.checkpoint.wording import counted
from isologit.findings import (
    Audit,
    ClusterFacts,
    EqualRows,
    RefinementFacts,
    ValueFacts,
)
from isologit.output import sentences, states_page, tie_sentences, token_sentences
from isologit.output.page_parts import Fact, PageTable, facts
from isologit.output.pictured import Mask, Pictured
from isologit.output.sentences import FORMAT_NAMES, number
from isologit.states_findings import GreedyFacts
from isologit.table_words import Words
from isologit.tie_findings import TiedClassFacts, Ties
from isologit.token_findings import EvidenceFacts, TokensFacts
from isologit.tokens.evidence import GRADES
from isologit.tokens.table import CATEGORY_WORDS

_SCRIPTS_SHOWN = 16
_MULTIPLICITIES = ("1", "2", "3", "4+", "100+", "1000+")


def equal_values(rows: EqualRows) -> PageTable:
    """Return the classes of equal values, where these are fewer than those of equal bits.

    Their labels are those of another column of ``tokens.parquet``.
    """
    heads = ("row_value_class", "tokens", "token ids (first 8)")
    return PageTable.of(
        "The largest classes of equal values (those of equal bits are above)",
        heads,
        [(str(each.label), f"{each.size:,}", _ids(each.token_ids, 8)) for each in rows.largest],
        numbers=heads[:2],
    )


def cluster(found: ClusterFacts, dtype: str) -> list[Fact]:
    """Return how a cluster was found, and what its tokens share."""
    how = {
        "found": "found: it stands out from a null model",
        "pole": "of the direction that was given",
        "members": "given",
    }[found.method]
    cosine = None
    if found.cosine is not None:
        cosine = number(found.cosine, dtype)
        if found.cosine_tokens is None:
            cosine += " (says the file; not computed here)"
        elif found.cosine_tokens != found.size:
            cosine += f" ({counted(found.cosine_tokens, 'token')})"
    return facts(
        ("tokens", f"{found.size:,}"),
        ("how", how),
        ("evidence", found.why),
        ("most common cosine with the reference", cosine),
        ("further clusters, less prominent", ", ".join(f"{n:,}" for n in found.others) or None),
    )


def pairwise(findings: Audit) -> list[str]:
    """Return the cosines of all pairs of the cluster."""
    if findings.pairwise is None:
        return []
    return sentences.pairwise(findings.pairwise, findings.cosines.dtype)


def state(findings: Audit) -> list[Fact]:
    """Return what the state is, and what the norms around it are."""
    what, norm, reach = (line.strip() for line in sentences.state(findings.state))
    own = findings.centroid.member_norm
    dtype = findings.matrix.values_dtype
    whose = "rows" if findings.state.kind == "mean" else "members"
    low, high, mean = (number(n, dtype, 6) for n in (own.min, own.max, own.mean))
    return facts(
        ("what it is", what),
        ("norm", norm.removeprefix("Norm: ").replace("   Dtype: ", ", in ")),
        ("can a prompt lead to it", reach),
        (f"norms of the {whose}", f"{low} to {high}, mean {mean}"),
    )


def distribution(values: ValueFacts, n_tokens: int) -> list[Fact]:
    """Return range, mean, median, how many values are distinct, and the most common one."""
    if not values.distinct:
        return facts(("tokens without a number (NaN)", f"{values.nan:,}"))
    low, high, mean, median, mode = (
        number(x, values.dtype)
        for x in (values.min, values.max, values.mean, values.median, values.mode.value)
    )
    share = sentences.share(values.mode.n_tokens, n_tokens)
    common = f"{mode}, of {counted(values.mode.n_tokens, 'token')} ({share})"
    if values.mode.n_tokens == 1:
        common = "none: no two tokens have the same"
    elif sentences.several_modes(values):
        common += "; other values have as many"
    return facts(
        ("format", FORMAT_NAMES[values.dtype]),
        ("range", f"{low} to {high}"),
        ("mean", mean),
        ("median", median),
        (
            "distinct values",
            f"{values.distinct:,} ({sentences.share(values.distinct, n_tokens)})",
        ),
        ("most common value", common),
        ("tokens at the maximum", f"{values.max_class.n_tokens:,}"),
        ("tokens without a number (NaN)", f"{values.nan:,}" if values.nan else None),
    )


def most_common(values: ValueFacts, what: str) -> PageTable:
    """Return the ten values that most tokens have."""
    return PageTable.of(
        f"The most common values of the {what}",
        (what, "as hex", "tokens"),
        [(number(each.value, values.dtype), each.hex, f"{each.n_tokens:,}") for each in values.top]
        if values.distinct
        else [],
        numbers=(what, "tokens"),
    )


def multiplicities(values: ValueFacts, what: str) -> PageTable:
    """Return how many values are held by so many tokens."""
    return PageTable.of(
        f"How many values of the {what} are held by so many tokens",
        ("held by", "values"),
        [
            (f"{name.replace('+', ' or more')} token{'' if name == '1' else 's'}", f"{n:,}")
            for name in _MULTIPLICITIES
            if (n := values.multiplicity[name]) or name in ("1", "2", "3", "4+")
        ],
        numbers=("values",),
    )


def comparison(findings: Audit) -> PageTable | None:
    """Return how the cluster and the logit class overlap."""
    found = findings.comparison
    if found is None:
        return None
    rows = [
        ("in both", f"{found.both:,}", _percent(found.share_of_a), _percent(found.share_of_b)),
        ("in the cluster alone", f"{found.only_a:,}", _percent(1 - found.share_of_a), ""),
        ("in the logit class alone", f"{found.only_b:,}", "", _percent(1 - found.share_of_b)),
    ]
    return PageTable.of(
        "The cluster beside the logit class",
        ("", "tokens", "of the cluster", "of the logit class"),
        rows,
        numbers=("tokens", "of the cluster", "of the logit class"),
    )


def relation(findings: Audit) -> str:
    """Return how the cluster and the logit class overlap, in a sentence."""
    found = findings.comparison
    if found is None:
        return ""
    return {
        "identical": "The cluster and the logit class are the same tokens.",
        "contained": "The logit class holds the whole cluster and "
        f"{counted(found.only_b, 'token')} more.",
        "contains": f"The cluster holds the whole logit class and "
        f"{counted(found.only_a, 'token')} more.",
        "partial": "The cluster and the logit class overlap in part.",
        "disjoint": "The cluster and the logit class have no token in common.",
    }[found.relation]


def logit_class(findings: Audit) -> str:
    """Return who the tokens with the most common logit are, and what makes them tie."""
    found, logits = findings.class_rows, findings.logits
    biased = ", without the head’s bias" if findings.head.bias is not None else ""
    if not logits.distinct:
        return f"{counted(found.n_tokens, 'token')} without a number (NaN) are taken as one class."
    if found.n_tokens == 1:
        return f"No two tokens have the same logit{biased}: the class is a single token."
    common = "the most common logit"
    if sentences.several_modes(logits):
        common = "one logit, as many as share any,"
    first = f"{counted(found.n_tokens, 'token')} share {common}{biased}. ".replace(",. ", ". ")
    if found.redundant:
        return (
            f"{first}They have {counted(found.distinct, 'distinct row')}, "
            f"{found.mean_multiplicity:.1f} tokens a row: {counted(found.redundant, 'row')} "
            f"{'repeats' if found.redundant == 1 else 'repeat'} another."
        )
    kind = FORMAT_NAMES[logits.dtype]
    why = f"rounding to {kind} alone makes them tie"
    if found.equal_reals is False and np.isinf(logits.mode.value):
        why = f"their products are beyond the largest number of {kind}"
    if found.equal_reals:
        why = "their real products are one number, so that no rounding made them tie"
    elif found.equal_reals is None:
        why = "an infinity or a NaN is involved, so that nothing was rounded"
    return f"{first}Each has a row of its own: {why}."


def refinement(found: RefinementFacts) -> PageTable:
    """Return the iterated refinement, step by step."""
    return PageTable.of(
        f"Iterated refinement, from {found.start}",
        ("step", "members", "tokens at the centroid’s own logit", "centroid moved by"),
        [
            (str(n), f"{step.n_members:,}", f"{step.n_class:,}", f"{step.shift:.3g}")
            for n, step in enumerate(found.steps, start=1)
        ],
        numbers=("step", "members", "tokens at the centroid’s own logit", "centroid moved by"),
    )


def refined(found: RefinementFacts) -> str:
    """Return how the iterated refinement ended."""
    if not found.steps:
        return f"Not begun: {found.why}."
    how = "It came to rest" if found.converged else "It did not come to rest"
    why = f": {found.why}" if found.why else ""
    return f"{how}{why}; {counted(found.size, 'token')} remain."


def tied_classes(ties: Ties, dtype: str) -> PageTable:
    """Return the classes whose ties were explained."""
    return PageTable.of(
        "Tokens that tie at the state",
        ("class", "logit", "1 ULP", "tokens", "distinct rows", "distinct reals", "in float32"),
        [
            (
                name,
                number(each.value, dtype),
                f"{each.ulp:.4g}",
                *(
                    f"{n:,}"
                    for n in (
                        each.n_tokens,
                        each.distinct_rows,
                        each.distinct_reals,
                        each.distinct_f32,
                    )
                ),
            )
            for name, each in _tied(ties)
        ],
        numbers=("logit", "1 ULP", "tokens", "distinct rows", "distinct reals", "in float32"),
    )


def tie_causes(ties: Ties) -> PageTable:
    """Return what joins the tokens of each class, and what would part them."""
    return PageTable.of(
        "Why they tie, and what ends it",
        ("class", "cause", "what that is", "what ends it"),
        [
            (
                name,
                cause.cause if cause.saturation is None else f"{cause.cause} ({cause.saturation})",
                tie_sentences.joined(cause, each),
                cause.remedy,
            )
            for name, each in _tied(ties)
            for cause in each.causes
        ],
    )


def greedy(found: GreedyFacts) -> PageTable:
    """Return whether the top token at the state is certain, for each format of logits."""
    here = found.states[0]
    rows = []
    for share in found.shares:
        each = here.formats[share.dtype]
        at_top = f"{counted(each.n_top, 'token')} {_ids(each.top_ids, 4)}"
        rows.append(
            (
                states_page.kept_in(share),
                each.verdict,
                each.if_truncated,
                "no other" if here.runner_up is None else states_page.lead(each.margin_ulp),
                at_top if each.n_top else "no logit is a number",
            )
        )
    return PageTable.of(
        "The top token at the state",
        ("logits", "the top token is", "on tensor cores", "it leads by", "at the top"),
        rows,
    )


def categories(pictured: Pictured) -> PageTable:
    """Return how many tokens of each category are in classes, in the cluster, and so on."""
    assert pictured.categories is not None
    named = Words(tuple(CATEGORY_WORDS.values()), pictured.categories.codes)
    return _crossed(pictured, "Tokens by category", "category", named, len(named.names))


def scripts(pictured: Pictured) -> PageTable | None:
    """Return the same of the most common scripts."""
    if pictured.scripts is None:
        return None
    names = tuple(name.replace("_", " ") for name in pictured.scripts.names)
    more = f", the {_SCRIPTS_SHOWN} most common" if len(names) > _SCRIPTS_SHOWN else ""
    named = Words(names, pictured.scripts.codes)
    return _crossed(pictured, f"Tokens by script{more}", "script", named, _SCRIPTS_SHOWN)


def unreachable(tokens: TokensFacts) -> PageTable | None:
    """Return why tokens do not survive a round trip through their text."""
    if not tokens.unreachable:
        return None
    why = sorted(tokens.causes.items(), key=lambda item: -item[1])
    return PageTable.of(
        "Tokens whose own text is encoded otherwise",
        ("why", "tokens"),
        [(token_sentences.CAUSES[cause], f"{n:,}") for cause, n in why],
        numbers=("tokens",),
    )


def evidence(found: EvidenceFacts) -> PageTable:
    """Return how many rows have each grade of signs of no training."""
    return PageTable.of(
        "Signs of no training",
        ("grade", "rows"),
        [(grade, f"{found.grades[grade]:,}") for grade in reversed(GRADES)],
        numbers=("rows",),
    )


def _crossed(pictured: Pictured, caption: str, head: str, words: Words, at_most: int) -> PageTable:
    """Return a row a word and a column for each set of tokens, with counts."""
    sets: list[tuple[str, Mask]] = [("in row classes", pictured.row_class_sizes > 1)]
    if pictured.in_cluster is not None:
        sets.append(("in the cluster", pictured.in_cluster))
    sets.append(("in the logit class", pictured.in_modal_class))
    if pictured.grades is not None:
        likely = pictured.grades.codes >= GRADES.index("likely")
        sets.append(("likely untrained", likely))
    counts = [np.bincount(words.codes[words.codes >= 0], minlength=len(words.names))]
    counts += [
        np.bincount(words.codes[(words.codes >= 0) & mask], minlength=len(words.names))
        for _, mask in sets
    ]
    heads = (head, "tokens", *(name for name, _ in sets))
    return PageTable.of(
        caption,
        heads,
        [
            (name, *(f"{int(column[at]):,}" for column in counts))
            for at, name in enumerate(words.names)
            if counts[0][at]
        ][:at_most],
        numbers=heads[1:],
    )


def _tied(ties: Ties) -> list[tuple[str, TiedClassFacts]]:
    if ties.maximum is None:
        return [("most common", ties.modal)]
    if ties.maximum.value == ties.modal.value:
        return [("maximum, and most common", ties.modal)]
    return [("maximum", ties.maximum), ("most common", ties.modal)]


def _ids(token_ids: list[int], shown: int) -> str:
    return ", ".join(map(str, token_ids[:shown])) + (", …" if len(token_ids) > shown else "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
