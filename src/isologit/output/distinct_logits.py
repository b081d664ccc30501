"""The distinct logits of an audit's table, and who holds them: what figures of logits count."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isologit.checkpoint.wording import counted
from isologit.equivalence.values import MULTIPLICITIES
from isologit.numerics.formats import Float64s
from isologit.output.grouping import in_cluster, in_modal_class
from isologit.output.pictured import Mask, Pictured
from isologit.output.sentences import number
from isologit.table_words import Codes

_AT_LEAST = (4, 100, 1000)


@dataclass(frozen=True, eq=False)
class DistinctLogits:
    """The finite logits of an audit.

    Parameters
    ----------
    dtype
        Their format's name.
    finite
        ``[V]`` which tokens have one.
    values
        ``[n]`` the distinct ones, ascending; one at least.
    counts, in_cluster
        ``[n]`` how many tokens hold each, and how many tokens of the cluster.
    common
        Which of them is the most common, and held twice or more; None where none is.
    above
        How many tokens have a logit of plus infinity.
    infinite, without
        How many have an infinity, and how many no number.
    state
        At which state: ``at the cluster's centroid``.
    """

    dtype: str
    finite: Mask
    values: Float64s
    counts: Codes
    in_cluster: Codes
    common: int | None
    above: int
    infinite: int
    without: int
    state: str

    @classmethod
    def of(cls, audit: Pictured) -> "DistinctLogits":
        """Count an audit's logits.

        Raises
        ------
        ValueError
            No logit is a finite number.
        """
        if audit.why_no_logits is not None:
            raise ValueError(audit.why_no_logits)
        logits = audit.logits
        finite = np.isfinite(logits)
        # −0 is +0.
        numbers = logits[finite] + 0.0
        values, held, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        members = np.bincount(held[in_cluster(audit)[finite]], minlength=len(values))
        modal = np.flatnonzero(in_modal_class(audit)[finite])
        return cls(
            dtype=audit.findings.logits.dtype,
            finite=finite,
            values=values,
            counts=counts,
            in_cluster=members,
            common=int(held[modal[0]]) if len(modal) else None,
            above=int((logits == np.inf).sum()),
            infinite=int(np.isinf(logits).sum()),
            without=int(np.isnan(logits).sum()),
            state=_STATES.get(audit.findings.state.kind, "at the state"),
        )

    @property
    def n_tokens(self) -> int:
        """How many tokens have a finite logit."""
        return int(self.counts.sum())

    @cached_property
    def last_ranks(self) -> Codes:
        """The rank of the last token with each value, the largest logit being first: ``[n]``."""
        return self.above + np.cumsum(self.counts[::-1])[::-1]

    @property
    def first_ranks(self) -> Codes:
        """The rank of the first token with each value, ``[n]``."""
        return self.last_ranks - self.counts + 1

    @property
    def multiplicity(self) -> dict[str, int]:
        """How many values are held by 1, 2, 3, ≥ 4, ≥ 100 and ≥ 1000 tokens."""
        figures = [int((self.counts == n).sum()) for n in (1, 2, 3)]
        figures += [int((self.counts >= n).sum()) for n in _AT_LEAST]
        return dict(zip(MULTIPLICITIES, figures, strict=True))

    def said(self, n: int) -> str:
        """Return a value as the pages print it."""
        return number(float(self.values[n]), self.dtype)

    def most_common(self) -> str:
        """Say which logit is the most common."""
        if self.common is None:
            return "No two logits are equal."
        held = counted(int(self.counts[self.common]), "token")
        return f"The most common, {self.said(self.common)}, is that of {held}."

    def left_out(self) -> str:
        """Say what is not drawn; nothing where all is."""
        said = []
        if self.without:
            said.append(f"{counted(self.without, 'logit')} without a number (NaN)")
        if self.infinite:
            said.append(f"{counted(self.infinite, 'infinite logit')}")
        return f" Not drawn: {' and '.join(said)}." if said else ""


_STATES = {
    "centroid": "at the cluster's centroid",
    "mean": "at the mean of all finite rows",
}
