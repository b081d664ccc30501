"""What the first screen of a report says, for who has never heard of a logit.

Functions of the findings alone. A sentence is true of every model that it is said of: which case
it is said in is as much a part of it as its words.
"""

from dataclasses import dataclass

from isologit.checkpoint.wording import counted
from isologit.claims import BOUND, ESTIMATED, EXACT, OBSERVED
from isologit.findings import Audit
from isologit.output.sentences import FORMAT_NAMES

_SHOWN = 5

#: What each kind of claim promises.
CLAIMS = {
    EXACT: "the real number, rounded once as the figure says, or a comparison of bits: no device, "
    "number of threads or library changes it",
    BOUND: "a number that is proved to be on the safe side of the real one",
    ESTIMATED: "a number whose error is estimated, with room, and not proved",
    OBSERVED: "what a library or a device was seen to do, once, here",
}


@dataclass(frozen=True)
class KeyNumber:
    """A number of the first screen, what it counts, what kind of claim it is, and where it goes on.

    `section` is the place in the page.
    """

    value: int
    label: str
    claim: str
    section: str


def headline(findings: Audit) -> str:
    """Return what was found about the tokens' rows, in a sentence."""
    rows, n_tokens = findings.rows, findings.matrix.shape[0]
    alike = rows.by_value or rows
    biased = rows.distinct_without_bias is not None
    if not alike.classes:
        of_what = "row of the input embedding" if _reads(findings) else "output row"
        with_bias = " and the same bias" if biased else ""
        return (
            f"No two of the model’s {counted(n_tokens, 'token')} have the same {of_what}"
            f"{with_bias}: none is a copy of another."
        )
    n = alike.tokens_in_classes
    groups = "one group" if alike.classes == 1 else f"{alike.classes:,} groups"
    which = f"{n:,} of its {n_tokens:,} tokens"
    if _reads(findings):
        return (
            f"The model reads {which} as others: they come in {groups}, and the tokens of a group "
            "mean the same to it."
        )
    if rows.nonfinite:
        # A row with a NaN has no score that could be equal.
        return (
            f"The model cannot tell {which} from others: they come in {groups}, and the tokens of "
            "a group are one and the same to it."
        )
    return (
        f"The model cannot tell {which} from others: they come in {groups}, and the tokens of a "
        "group get the same score, whatever the prompt."
    )


def because(findings: Audit) -> list[str]:
    """Return what stands behind the headline, and what else a reader should know first."""
    rows = findings.rows
    told = [_what_a_row_is(findings)]
    if rows.by_value is not None:
        told.append(
            f"As numbers, that is: by their stored bits it is {rows.tokens_in_classes:,} that "
            "share a row."
        )
    without = rows.distinct_without_bias
    if without is not None and without < rows.distinct:
        told.append(
            f"Without the bias that the model adds to each score "
            f"{counted(rows.distinct - without, 'row')} fewer would be distinct."
        )
    if rows.nonfinite:
        told.append(
            f"{counted(rows.nonfinite, 'row')} hold{'s' if rows.nonfinite == 1 else ''} an "
            "infinity or a NaN, from which no score can be computed."
        )
    return [*told, *_cluster(findings), *_who(findings)]


def key_numbers(findings: Audit) -> list[KeyNumber]:
    """Return five numbers: of what there is, what matters most and is not zero comes first."""
    rows, claims, tokens = findings.rows, findings.claims, findings.tokens
    alike = rows.by_value or rows
    vocabulary, width = findings.matrix.shape
    shared = KeyNumber(
        alike.tokens_in_classes, "tokens share their row with another", claims["rows"], "rows"
    )
    found = [KeyNumber(alike.classes, "groups of identical tokens", claims["rows"], "rows")]
    if tokens is not None and tokens.evidence is not None:
        strong = tokens.evidence.grades["strong"]
        found.append(KeyNumber(strong, "rows show no training", claims["tokens"], "tokens"))
    if tokens is not None and tokens.padding is not None:
        found.append(
            KeyNumber(tokens.padding, "rows that no token uses", claims["tokens"], "tokens")
        )
    if tokens is not None and tokens.unreachable is not None:
        found.append(
            KeyNumber(
                tokens.unreachable,
                "tokens whose own text is encoded otherwise",
                claims["tokens"],
                "tokens",
            )
        )
    if findings.cluster is not None:
        found.append(
            KeyNumber(findings.cluster.size, "tokens in a cluster", claims["cluster"], "cluster")
        )
    logits = findings.logits
    tied = logits.mode.n_tokens if logits.distinct and logits.mode.n_tokens > 1 else 0
    found += [
        KeyNumber(tied, "tokens tie at the state", claims["logits"], "state"),
        KeyNumber(logits.distinct, "distinct scores there", claims["logits"], "state"),
        KeyNumber(rows.distinct, "distinct rows", claims["rows"], "rows"),
        KeyNumber(vocabulary, "tokens in all", EXACT, "method"),
        KeyNumber(width, "numbers in a row", EXACT, "method"),
    ]
    # What is zero is good news, and says less; a stable sort keeps the order among the rest.
    return [shared, *sorted(found, key=lambda number: number.value == 0)[: _SHOWN - 1]]


def nothing_to_do(findings: Audit) -> list[str]:
    """Return what is said where no advice is given."""
    if findings.tokens is None:
        return [
            "Which tokens these rows are is not known, for want of a tokenizer: --tokenizer names "
            "one."
        ]
    return ["Nothing that was found asks for a change."]


def at_the_state(findings: Audit) -> str:
    """Return what the logits at the one hidden state say, in a sentence."""
    logits, n_tokens = findings.logits, findings.matrix.shape[0]
    where = {
        "centroid": "the mean of the cluster’s rows",
        "mean": "the mean of all finite rows",
    }.get(findings.state.kind, "the hidden state that was taken")
    if findings.state.rescaled_from is not None:
        where += ", rescaled to where the final norm can output it,"
    kind = FORMAT_NAMES[logits.dtype]
    if not logits.distinct:
        return f"At {where} no score is a number."
    if logits.mode.n_tokens == 1:
        return f"At {where} no two tokens have the same score in {kind}."
    distinct = counted(logits.distinct, "distinct score")
    return (
        f"At {where} the {counted(n_tokens, 'token')} have {distinct} in {kind}, and "
        f"{logits.mode.n_tokens:,} share the most common one."
    )


def _reads(findings: Audit) -> bool:
    """Whether the rows are of an input embedding that makes no scores."""
    return findings.matrix.role == "input" and findings.matrix.tied is False


def _what_a_row_is(findings: Audit) -> str:
    width = findings.matrix.shape[1]
    if _reads(findings):
        return (
            f"A token’s row is the list of {counted(width, 'number')} that the model reads in the "
            "token’s place."
        )
    return (
        f"A token’s output row is the list of {counted(width, 'number')} that the model multiplies "
        "with its hidden state to score the token."
    )


def _cluster(findings: Audit) -> list[str]:
    cluster = findings.cluster
    if cluster is None:
        return ["No cluster of nearly equal rows stands out."]
    if cluster.method == "found":
        return [
            f"A cluster of {counted(cluster.size, 'token')} stands out: their rows lie far closer "
            "to each other than to the rest, as rows often do that training hardly moved."
        ]
    given = "was given as a list" if cluster.method == "members" else "lies in the given direction"
    return [f"The cluster of {counted(cluster.size, 'token')} {given}."]


def _who(findings: Audit) -> list[str]:
    tokens = findings.tokens
    if tokens is None:
        return []
    told = []
    if tokens.evidence is not None and (strong := tokens.evidence.grades["strong"]):
        bear = "bears" if strong == 1 else "bear"
        told.append(f"{counted(strong, 'row')} {bear} strong signs of no training.")
    if tokens.padding and not _reads(findings):
        stand = "stands" if tokens.padding == 1 else "stand"
        told.append(
            f"{counted(tokens.padding, 'row')} {stand} for no token at all, and can be sampled "
            "unless a mask forbids it."
        )
    return told
