"""What the first screen of a report says, for who has never heard of a logit.

Functions of the findings alone. A sentence is true of every model that it is said of: which case
it is said in is as much a part of it as its words.
"""

from dataclasses import dataclass

from isologit.checkpoint.wording import counted
from isologit.claims import BOUND, ESTIMATED, EXACT, OBSERVED
from isologit.findings import Audit
from isologit.output.sentences import FORMAT_NAMES, several_modes
from isologit.output.verdicts import alike, only_read, rounds

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
    found = alike(rows, findings.matrix)
    biased = rows.distinct_without_bias is not None
    if n_tokens == 1:
        return "The model has one token, which is a copy of no other."
    if not found.classes:
        of_what = "row of the input embedding" if only_read(findings.matrix) else "output row"
        with_bias = " and the same bias" if biased else ""
        return (
            f"No two of the model’s {counted(n_tokens, 'token')} have the same {of_what}"
            f"{with_bias}: none is a copy of another."
        )
    groups = "one group" if found.classes == 1 else f"{found.classes:,} groups"
    which = f"{found.tokens_in_classes:,} of its {n_tokens:,} tokens"
    if only_read(findings.matrix):
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
    if rows.by_value is not None and rounds(findings.matrix):
        told.append(
            f"That is of the numbers as they are stored: rounded to "
            f"{FORMAT_NAMES[findings.matrix.values_dtype]}, as they are read here, "
            f"{counted(rows.by_value.tokens_in_classes, 'token')} share their row."
        )
    elif rows.by_value is not None:
        share = "shares" if rows.tokens_in_classes == 1 else "share"
        told.append(
            "Equal numbers count as equal, however they are stored: bit for bit "
            f"{counted(rows.tokens_in_classes, 'token')} {share} their row."
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
    alike_rows = alike(rows, findings.matrix)
    vocabulary, width = findings.matrix.shape
    biases = ", each with its bias" if rows.distinct_without_bias is not None else ""
    shared = KeyNumber(
        alike_rows.tokens_in_classes,
        "tokens share their row with another",
        claims["rows"],
        "rows",
    )
    found = [KeyNumber(alike_rows.classes, "groups of identical tokens", claims["rows"], "rows")]
    if tokens is not None and tokens.beyond_rows:
        found.append(
            KeyNumber(
                tokens.beyond_rows,
                "ids of the tokenizer that have no row",
                claims["tokens"],
                "tokens",
            )
        )
    if tokens is not None and tokens.evidence is not None:
        strong = tokens.evidence.grades["strong"]
        signs = "rows with strong signs of no training"
        found.append(KeyNumber(strong, signs, claims["tokens"], "tokens"))
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
        KeyNumber(tied, "tokens with one score at one hidden state", claims["logits"], "state"),
        KeyNumber(
            logits.distinct, "distinct scores at that hidden state", claims["logits"], "state"
        ),
        KeyNumber(alike_rows.distinct, f"distinct rows{biases}", claims["rows"], "rows"),
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
    common = "share the most common one"
    if several_modes(logits):
        common = "share one, as many as share any"
    return (
        f"At {where} the {counted(n_tokens, 'token')} have {distinct} in {kind}, and "
        f"{logits.mode.n_tokens:,} {common}."
    )


def _what_a_row_is(findings: Audit) -> str:
    width = findings.matrix.shape[1]
    if only_read(findings.matrix):
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
    if tokens.beyond_rows:
        have = "has" if tokens.beyond_rows == 1 else "have"
        told.append(
            f"{counted(tokens.beyond_rows, 'id')} of the tokenizer {have} no row: the model "
            "cannot output such a token, and what it does with one in a prompt is undefined."
        )
    if tokens.padding and not only_read(findings.matrix):
        stand = "stands" if tokens.padding == 1 else "stand"
        told.append(
            f"{counted(tokens.padding, 'row')} {stand} for no token at all, and can be sampled "
            "unless a mask forbids it."
        )
    return told
