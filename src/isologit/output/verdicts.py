"""The verdict on the rows of W, and which row classes it speaks of: one answer for every page."""

from dataclasses import dataclass
from typing import Literal

from isologit.checkpoint.wording import counted
from isologit.findings import Audit, Classes, MatrixFacts, RowFacts
from isologit.states_findings import MeetFacts

How = Literal["bit for bit", "number for number"]


@dataclass(frozen=True)
class Alike:
    """Tokens that no hidden state can tell apart, because they have the same row.

    Parameters
    ----------
    how
        What is the same. Numbers that are equal make equal logits, whatever their bits: of a −0
        and a +0, and of numbers that are decoded from blocks. So these classes count where there
        are any besides those of equal bits; but not where reading the numbers rounded them, which
        a model need not do.
    distinct, classes, tokens_in_classes, largest
        Distinct rows; classes of two or more, the tokens in these, and the size of the largest, 0
        where there is none.
    """

    how: How
    distinct: int
    classes: int
    tokens_in_classes: int
    largest: int


def alike(rows: RowFacts, matrix: MatrixFacts) -> Alike:
    """Return the row classes that a verdict counts."""
    equal = None if rounds(matrix) else rows.by_value
    found = rows if equal is None else equal
    return Alike(
        how="bit for bit" if equal is None else "number for number",
        distinct=rows.distinct if equal is None else rows.distinct_values,
        classes=found.classes,
        tokens_in_classes=found.tokens_in_classes,
        largest=found.sizes[0] if found.sizes else 0,
    )


def rounds(matrix: MatrixFacts) -> bool:
    """Whether numbers of W were rounded when they were read."""
    return matrix.dtype == "f64"


def only_read(matrix: MatrixFacts) -> bool:
    """Whether W is an input embedding that makes no logits."""
    return matrix.role == "input" and matrix.tied is False


def verdict(findings: Audit | Classes) -> str:
    """Return the first line: what was found, in one sentence."""
    rows = findings.rows
    tokens = findings.matrix.shape[0]
    found = alike(rows, findings.matrix)
    without = rows.distinct_without_bias
    if found.classes:
        text = (
            f"{counted(found.tokens_in_classes, 'token')} of {tokens:,} share their row"
            f"{' and bias' if without is not None else ''} with another token, {found.how}: "
            f"{counted(found.classes, 'row class', 'row classes')}, the largest "
            f"of {counted(found.largest, 'token')}"
        )
    elif tokens == 1:
        text = "There is one token, which is alone"
    elif without is not None and without < tokens:
        text = (
            f"No two of {counted(tokens, 'token')} share both row and bias, though only "
            f"{counted(without, 'row')} are distinct"
        )
    else:
        text = f"No two of {counted(tokens, 'token')} share a row: every row is distinct"
    if findings.cluster is not None and findings.cluster.method == "found":
        text += f"; a cluster of {counted(findings.cluster.size, 'token')} stands out"
    elif isinstance(findings, Audit) and findings.cluster is None:
        text += "; no cluster stands out"
    elif isinstance(findings, Classes) and findings.meet is not None:
        text += f"; {_told_apart(findings.meet)}"
    return text + "."


def _told_apart(facts: MeetFacts) -> str:
    over = counted(facts.states, "state")
    if facts.told_apart_all:
        return f"{over} told apart " + ("the others" if facts.classes else "all of them")
    return f"{over} left {counted(facts.tokens_in_classes, 'token')} in classes of two or more"
