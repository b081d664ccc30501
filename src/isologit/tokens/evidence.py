"""The evidence on each token's training, as a frozen record and in words a reader can check."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics.formats import Float64s
from isologit.tokens.duplicates import Mask, RowDuplicates
from isologit.tokens.reference import Reference

GRADES = ("none", "weak", "likely", "strong")

_SOURCES = {
    "padding": "nothing in the tokenizer has its id (padding)",
    "never_in_utf8": "no text in UTF-8 holds its byte",
    "reserved": "its name is reserved",
    "unreachable": "no text encodes to it",
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """How far each token's row shows that training hardly touched it, and why.

    Parameters
    ----------
    grades
        ``[V]`` int8, indices into `GRADES`.
    indicators
        ``[V]`` each: ``norm``; ``distance`` from the reference centre; ``share_of_way``, the same
        over what is typical of other tokens; ``offset``, how many of the core's standard deviations
        the distance is from the core's mean; ``cosine`` and ``centred_cosine`` with the reference
        centre (`Directions`). NaN where there is no such number.
    flags
        ``[V]`` bool each: the sources' own names, and the reasons (docs/undertrained.md).
    reference
        The reference set, or why there is none.
    duplicates
        The row classes, token by token.
    cluster_sizes
        ``[V]``, the size of the cluster that the token is in; 0 where it is in none.
    low_norm
        The norm below which one is called low; 0 where that would be said of many.
    """

    grades: npt.NDArray[np.int8]
    indicators: Mapping[str, Float64s]
    flags: Mapping[str, Mask]
    reference: Reference
    duplicates: RowDuplicates
    cluster_sizes: npt.NDArray[np.int64]
    low_norm: float

    def held(self, token_id: int) -> list[str]:
        """Return the names of the flags that hold for a token."""
        return [name for name, mask in self.flags.items() if mask[token_id]]

    def reasons(self, token_id: int) -> list[str]:
        """Say in words, with the numbers, which reasons hold for a token."""
        return _reasons(self, token_id)


def _reasons(evidence: Evidence, token_id: int) -> list[str]:
    """Return the reasons that hold for a token, those of its row first."""
    reference = evidence.reference
    value = {name: float(numbers[token_id]) for name, numbers in evidence.indicators.items()}
    holds = set(evidence.held(token_id))
    size = int(evidence.duplicates.sizes[token_id])
    said = []

    def say(flag: str, words: str) -> None:
        if flag in holds:
            said.append(words)

    band, shell = reference.band, reference.shell
    if band is not None and shell is not None:
        where = "the origin" if reference.is_at_origin else "the reference set's centre"
        ends = f"0 to {band.high:.4g}" if band.low == 0 else f"{band.low:.4g} to {band.high:.4g}"
        at = f"{value['distance']:.4g} from {where}"
        say("reference", f"among the reference set: {at}, where {ends} is its spread")
        say(
            "shell",
            f"on the reference set's shell, where trained rows lie too: {at}; the shell is {ends}, "
            f"and up to {reference.strangers:,.0f} of the {reference.inside:,} other tokens there "
            "are expected by chance",
        )
        say(
            "near",
            f"near the reference set: {at}, {value['share_of_way']:.2%} of what is typical of "
            f"other tokens ({reference.typical:.4g})",
        )
        if "reference" in holds:
            # Follows from where it lies.
            holds -= {"direction", "centred_direction"}
        say("direction", f"points where the reference set does: cosine {value['cosine']:.6f}")
        say(
            "centred_direction",
            "points where the reference set does without the mean and the first principal axis: "
            f"cosine {value['centred_cosine']:.6f}",
        )
    say(
        "cluster",
        f"in a cluster of {evidence.cluster_sizes[token_id]:,} tokens, packed apart from the rest",
    )
    say("zero", f"its row is zero, as {size - 1:,} others are" if size > 1 else "its row is zero")
    least = evidence.duplicates.least_size
    say(
        "row_class",
        f"{size - 1:,} other tokens have its very row; classes from {least} on are no chance",
    )
    say("twin", f"a token that the tokenizer calls unused is among the {size:,} with its very row")
    say(
        "small_row_class",
        f"{size - 1:,} other {'token has' if size == 2 else 'tokens have'} its very row, "
        "which may be chance or a copy",
    )
    say(
        "low_norm",
        f"its norm is low: {value['norm']:.4g}, where {evidence.low_norm:.4g} is a third of the "
        "median of the rows that nothing else is said of",
    )
    say("nonfinite", "its row holds an infinity or a NaN, so nothing is said of it")
    for name in reference.tokens:
        say(name, _SOURCES.get(name, f"named as {name}"))
    return said
