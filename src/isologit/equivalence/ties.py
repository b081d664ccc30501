"""Why tokens tie at a state: each tie with its one cause, and how far apart the real numbers are.

Each relation holds where the one before it does:

    equal rows ⊑ equal reals ⊑ equal exact logits,

and a device's logits may join what is apart in exact arithmetic. The cause of a tie is the first of
these relations that holds for both tokens. A class of n tokens is joined by n − 1 ties: tokens of
one row, rows of one real number, and then neighbours among the real numbers in their order. The
cause of any other pair of the class is the last one on the way between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import isinf
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.equivalence.partition import Partition, TokenIds
from isologit.numerics.exact import decided_dots
from isologit.numerics.formats import F32, Float64s, Format, ulp
from isologit.numerics.reals import DENOMINATOR, Reals, distinct_reals
from isologit.numerics.stored import Matrix, Vector

Cause = Literal["same row", "equal reals", "rounding", "saturation", "accumulation", "non-finite"]
Saturation = Literal["overflow", "underflow"]


@dataclass(frozen=True)
class Tie:
    """Two tokens whose logits are one number.

    Parameters
    ----------
    a, b
        Token ids. Where the reals differ a's is the smaller.
    cause
        The one cause.
    saturation
        How, where the cause is ``saturation``.
    margin_ulp
        The difference of the reals over the unit in the last place at the tie's value; exact. None
        where an infinity or a NaN is involved.
    ends_in_f32
        Of `rounding` and `saturation`: whether the reals, each rounded once to f32, differ.
    """

    a: int
    b: int
    cause: Cause
    saturation: Saturation | None = None
    margin_ulp: Fraction | None = None
    ends_in_f32: bool | None = None


@dataclass(frozen=True, eq=False)
class TiedClass:
    """The tokens of one logit, parted by their rows, their reals and their exact logits.

    Parameters
    ----------
    value
        The logit that they share, of `format`.
    format
        The format of a logit.
    token_ids
        ``[n]``, ascending.
    row_of
        ``[n]``, which of the r distinct rows each token has.
    row_tokens
        ``[r]``, the first token of each row.
    real_of
        ``[r]``, which of the q distinct reals each row gives; −1 where there is none, because an
        infinity or a NaN is involved.
    reals
        The q distinct real dot products, ascending, and which of them each row with one has.
    real_tokens
        ``[q]``, the first token of each.
    exact_logits
        ``[n]``, the reals rounded once to the format; the class's value unless a device's logits
        made the class.
    f32_logits
        ``[q]``, the reals rounded once to f32.
    """

    value: float
    format: Format
    token_ids: TokenIds
    row_of: npt.NDArray[np.intp]
    row_tokens: TokenIds
    real_of: npt.NDArray[np.intp]
    reals: Reals
    real_tokens: TokenIds
    exact_logits: Float64s
    f32_logits: Float64s

    @property
    def ulp(self) -> float:
        """The unit in the last place at the value; of an infinity, at the largest finite number."""
        return float(ulp(self.value, self.format))

    @property
    def without_real(self) -> TokenIds:
        """The first token of each row that has no real dot product with the state."""
        return self.row_tokens[self.real_of < 0]

    @property
    def span_ulp(self) -> Fraction | None:
        """How far the reals lie apart, in units in the last place; None of fewer than two."""
        reals = self.reals.numerators
        return self._in_ulp(reals[-1] - reals[0]) if len(reals) > 1 else None

    @property
    def closest_ulp(self) -> Fraction | None:
        """How far the two closest reals lie apart."""
        gaps = [high - low for low, high in pairwise(self.reals.numerators)]
        return self._in_ulp(min(gaps)) if gaps else None

    def ties(self) -> Iterator[Tie]:
        """Yield the n − 1 ties that join the class: first between reals, then rows, then tokens."""
        yield from self._between_reals()
        yield from self._without_reals()
        seen: dict[int, int] = {}
        for token, real in zip(self.row_tokens.tolist(), self.real_of.tolist(), strict=True):
            if real >= 0 and seen.setdefault(real, token) != token:
                yield Tie(seen[real], token, "equal reals", None, Fraction(0))
        for token, row in zip(self.token_ids.tolist(), self.row_of.tolist(), strict=True):
            first = int(self.row_tokens[row])
            if token != first:
                finite = self.real_of[row] >= 0
                yield Tie(first, token, "same row", None, Fraction(0) if finite else None)

    def _between_reals(self) -> Iterator[Tie]:
        """Yield what joins each real number to the next larger one."""
        columns = zip(
            self.reals.numerators,
            self.real_tokens.tolist(),
            self._exact_logits_of(self.real_tokens).tolist(),
            self.f32_logits.tolist(),
            strict=True,
        )
        for (low, a, logit, in_f32), (high, b, next_logit, next_in_f32) in pairwise(columns):
            margin = self._in_ulp(high - low)
            ends = in_f32 != next_in_f32
            if logit != next_logit:
                yield Tie(a, b, "accumulation", None, margin)
            elif isinf(logit):
                yield Tie(a, b, "saturation", "overflow", margin, ends)
            elif logit == 0:
                yield Tie(a, b, "saturation", "underflow", margin, ends)
            else:
                yield Tie(a, b, "rounding", None, margin, ends)

    def _without_reals(self) -> Iterator[Tie]:
        """Yield what joins the rows without a real number to each other, and to the reals."""
        tokens = self.without_real
        if not len(tokens):
            return
        first, *others = tokens.tolist()
        own, *logits = self._exact_logits_of(tokens).tolist()
        for token, logit in zip(others, logits, strict=True):
            yield Tie(first, token, "non-finite" if _equal(own, logit) else "accumulation")
        if len(self.real_tokens):
            # Of the reals the one nearest to an infinity.
            n = -1 if self.value > 0 else 0
            token = int(self.real_tokens[n])
            if not _equal(own, float(self._exact_logits_of(self.real_tokens)[n])):
                yield Tie(token, first, "accumulation")
            else:
                ends = bool(np.isfinite(self.f32_logits[n]))
                yield Tie(token, first, "saturation", "overflow", None, ends)

    def _exact_logits_of(self, tokens: TokenIds) -> Float64s:
        return self.exact_logits[np.searchsorted(self.token_ids, tokens)]

    def _in_ulp(self, difference: int) -> Fraction | None:
        """Return a difference of numerators in units in the last place."""
        return None if self._unit is None else Fraction(difference, self._unit)

    @cached_property
    def _unit(self) -> int | None:
        """The unit in the last place, times `DENOMINATOR`."""
        return None if np.isnan(self.ulp) else int(Fraction(self.ulp) * DENOMINATOR)


def tied_class(
    matrix: Matrix,
    rows: Partition,
    finite_rows: npt.NDArray[np.bool_],
    hidden_state: Vector,
    exact_logits: Float64s,
    token_ids: TokenIds,
    value: float,
    logit_format: Format,
) -> TiedClass:
    """Part the tokens of one logit along the chain. Exact given W and h as stored.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    rows
        The tokens whose rows (and biases, where there are any) are the same bits.
    finite_rows
        ``[V]``, the rows without an infinity or a NaN.
    hidden_state
        ``[d]``.
    exact_logits
        ``[V]``, of `isologit.numerics.exact.logits` in the same format.
    token_ids
        ``[n]``, ascending: the tokens whose logit, exact or observed, is `value`.
    value
        That logit.
    logit_format
        The format of a logit.

    Notes
    -----
    Time: that of a sum in the long accumulator for each distinct row, some 10 µs at d = 2,560.
    """
    _, first, row_of = np.unique(rows.labels[token_ids], return_index=True, return_inverse=True)
    row_tokens = token_ids[first]
    h = hidden_state.values
    finite = finite_rows[row_tokens] & np.isfinite(h).all()
    numbered = row_tokens[finite].astype(np.intp)
    found = distinct_reals(matrix, numbered, hidden_state)
    _, leading = np.unique(found.labels, return_index=True)
    real_tokens = numbered[leading]
    real_of = np.full(len(row_tokens), -1, dtype=np.intp)
    real_of[finite] = found.labels
    return TiedClass(
        value=value,
        format=logit_format,
        token_ids=token_ids,
        row_of=row_of.astype(np.intp),
        row_tokens=row_tokens,
        real_of=real_of,
        reals=found,
        real_tokens=real_tokens.astype(np.int32),
        exact_logits=exact_logits[token_ids],
        f32_logits=decided_dots(matrix, real_tokens, h, F32)[0],
    )


def _equal(a: float, b: float) -> bool:
    return a == b or (np.isnan(a) and np.isnan(b))
