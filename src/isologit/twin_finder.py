"""The gap of a model's head, as a job takes it, and the nearest twins of single tokens by it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.wording import shown
from isologit.equivalence.gap import Gap
from isologit.equivalence.near_twins import nearest_of
from isologit.equivalence.norm_range import ComputedNorm, NormRange
from isologit.equivalence.rows import RowClasses
from isologit.errors import UnclearHeadError
from isologit.gap_findings import GapNorm, GapPair, TokenTwins
from isologit.subject import Subject

Ids = npt.NDArray[np.int64]
NormKind = Literal["rms", "layer"]


@dataclass(frozen=True, eq=False)
class TwinFinder:
    """Finds the nearest twins of single tokens.

    Parameters
    ----------
    gap
        Of the model's head and norm.
    rows
        The model's row classes.
    finite
        ``[V]`` bool: rows, with their biases, that a gap can be told of.
    ids
        The first token of each class of equal values among these.
    """

    gap: Gap
    rows: RowClasses
    finite: npt.NDArray[np.bool_]
    ids: Ids

    @classmethod
    def of(cls, subject: Subject, rows: RowClasses) -> "TwinFinder":
        """Take the norm of the model.

        Raises
        ------
        UnclearHeadError
            It is not known; or it is wider than its bounds cover.
        """
        return cls.among(gap_of(subject, None)[0], rows, subject)

    @classmethod
    def among(cls, gap: Gap, rows: RowClasses, subject: Subject) -> "TwinFinder":
        """Take a gap that is made already."""
        finite, bias = rows.finite_rows, subject.head.bias
        if bias is not None:
            finite = finite & np.isfinite(bias.values)
        firsts = rows.values.firsts().astype(np.int64)
        return cls(gap, rows, finite, firsts[finite[firsts]])

    def of_token(self, token_id: int, n: int) -> TokenTwins:
        """Return the tokens of a token's row, and the first of each of the `n` nearest others."""
        if not self.finite[token_id]:
            why = "its row has an infinity or a NaN"
            return TokenTwins(token=token_id, row_class=[token_id], nearest=[], why=why)
        values = self.rows.values
        members = values.members(int(values.labels[token_id]))
        near, _ = nearest_of(self.gap, int(members[0]), self.ids, n)
        return TokenTwins(
            token=token_id,
            row_class=members.tolist(),
            nearest=gap_pairs(self.gap, np.full(len(near), token_id), near),
            why=None if len(near) else "no other row is finite",
        )


def gap_of(subject: Subject, assume: NormKind | None) -> tuple[Gap, GapNorm]:
    """Return the gap of a model's head, and what is said of the norm.

    Parameters
    ----------
    subject
        The model.
    assume
        Take this norm, with γ = 1 and no β, whatever the checkpoint says.

    Raises
    ------
    UnclearHeadError
        The norm is not known, and none is assumed; or it is wider than its bounds cover.
    """
    norm_range, norm = _norm(subject, assume)
    if not ComputedNorm.covers(norm_range):
        raise UnclearHeadError(
            f"{shown(subject.checkpoint.spec)}: nothing bounds what a norm over "
            f"{norm_range.width:,} values rounds in binary32; expected a narrower matrix. "
            "isologit classes finds what is equal without a norm"
        )
    return Gap.of(subject.head, norm_range, subject.logit_format), norm


def _norm(subject: Subject, assume: NormKind | None) -> tuple[NormRange, GapNorm]:
    """Return what the head's norm outputs, and what is said of it."""
    norm, width = subject.head.norm, subject.head.matrix.width
    norm_range = None if assume is not None else NormRange.of(norm, width)
    kind, why = assume, "--norm asks for it"
    if assume is None and norm.kind == "unknown" and norm.family_kind in ("rms", "layer"):
        kind = "rms" if norm.family_kind == "rms" else "layer"
        why = f"the family's norm is known, but {norm.source}"
    if norm_range is None and kind is not None:
        norm_range = NormRange.assumed(width, kind)
        norm_facts = GapNorm(
            kind=kind,
            source="assumed, with γ = 1",
            convention="no parameters",
            eps=None,
            beta=False,
            assumed=True,
            why=why,
            compute_dtype=subject.logit_format.name,
        )
        return norm_range, norm_facts
    if norm_range is None:
        what = "is not known"
        if norm.kind in ("rms", "layer"):
            what = "has weights that are not finite numbers"
        elif norm.kind == "none":
            what = "does not exist"
        raise UnclearHeadError(
            f"{shown(subject.checkpoint.spec)}: the norm before the head {what} ({norm.source}), "
            "and without it nothing bounds the states; expected an RMSNorm or a LayerNorm. "
            "--norm rms or --norm layer assumes one with γ = 1"
        )
    return norm_range, GapNorm(
        kind=norm_range.kind,
        source=norm.source,
        convention=norm.convention,
        eps=norm.eps,
        beta=norm.has_beta,
        assumed=False,
        why=None,
        compute_dtype=subject.logit_format.name,
    )


def gap_pairs(gap: Gap, left: Ids, right: Ids) -> list[GapPair]:
    """Return pairs as records, with their gaps."""
    nats, computed = gap.nats_and_computed(left, right)
    return [
        GapPair(a=a, b=b, gap_nats=real, gap_nats_computed=bound)
        for a, b, real, bound in zip(
            left.tolist(), right.tolist(), nats.tolist(), computed.tolist(), strict=True
        )
    ]
