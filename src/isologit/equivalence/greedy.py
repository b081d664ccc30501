"""The greedy certificate: at a state, whether any order of float32 summation changes the top token.

The top token is *certain* where its logit is the largest even with the worst error of every token,
after the rounding to the output format; *tied* where two tokens or more hold the largest exact
logit on the output's grid; *order-dependent* otherwise. Nothing is called certain by an estimate: a
bound in binary64 decides where it can, and rational numbers where it cannot.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.equivalence.device_sums import (
    MODELS,
    ROUNDING,
    TRUNCATING,
    SumModel,
    lost,
    products_are_exact,
)
from isologit.equivalence.partition import Partition, TokenIds
from isologit.numerics import exact
from isologit.numerics.certify import certified
from isologit.numerics.formats import BF16, F32, Float64s, Format, round_fraction, round_to
from isologit.numerics.lanes import ROOM, U_DOUBLE
from isologit.numerics.stored import Matrix, Vector

Verdict = Literal["certain", "order-dependent", "tied", "undefined"]

# Rows that are widened to binary64 at a time.
_BLOCK_ROWS = 512
# So many tokens that binary64 cannot tell apart are told apart by rational numbers; of more, which
# is far from any trained model, the lowest id stands for all.
_MOST_EXACT = 64
_F32_HALF = Fraction(F32.largest) / 2


@dataclass(frozen=True, eq=False)
class InFormat:
    """The verdict for logits of one output format.

    Parameters
    ----------
    top_ids
        The tokens that hold the largest exact logit on the format's grid, ascending.
    verdict
        With additions that round to nearest.
    if_truncated
        With additions that may be cut off, as tensor cores do.
    identical
        Whether a tie is one of tokens with the same row (and bias) alone.
    """

    top_ids: TokenIds
    verdict: Verdict
    if_truncated: Verdict
    identical: bool


@dataclass(frozen=True, eq=False)
class TopToken:
    """The certificate at one state.

    Parameters
    ----------
    token_id
        The token of the largest real logit; of equal ones the lowest id. −1 where a logit is no
        finite number.
    runner_up
        The next one; −1 where there is none.
    margin
        By how much the first real logit exceeds the second, rounded to binary64: nats at
        temperature 1, before the head's scale and softcap.
    top
        The largest real logit, rounded to binary64.
    formats
        By the format's name.
    """

    token_id: int
    runner_up: int
    margin: float
    top: float
    formats: dict[str, InFormat]


def output_formats(logit_format: Format, matrix_format: Format) -> tuple[Format, Format]:
    """Return the 16-bit format that a model of this kind rounds its logits to, and binary32."""
    sixteen = [f for f in (logit_format, matrix_format) if f.bits == 16]
    return (sixteen[0] if sixteen else BF16), F32


class Certifier:
    """Certificates at states of one model.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    bias
        ``[V]`` or None. It may be added to the sum in binary32, or to the rounded product.
    norms
        ``[V]``, upper bounds on the rows' norms.
    same
        Tokens of equal rows and biases.
    formats
        The output formats.
    """

    def __init__(
        self,
        matrix: Matrix,
        bias: Vector | None,
        *,
        norms: Float64s,
        same: Partition,
        formats: tuple[Format, Format],
    ) -> None:
        self.matrix = matrix
        self.formats = formats
        self.bias = None if bias is None else bias.values
        self.same = same
        self._norms = norms
        exact_products = products_are_exact(matrix.format, matrix.format)
        n_terms = matrix.width + (bias is not None)
        self.factors = {
            model.name: model.factor(n_terms, exact_products=exact_products) for model in MODELS
        }
        self._widest = float(max(self.factors.values())) * ROOM

    def at(self, state: Vector, logits: Float64s, logit_format: Format) -> TopToken:
        """Return the certificate at a state.

        Parameters
        ----------
        state
            ``[d]`` in the matrix's format.
        logits
            ``[V]``, the exact product's, without bias, rounded once to a format.
        logit_format
            That format.
        """
        h = state.values
        if np.isfinite(h).all() and np.isinf(logits).any() and logit_format is not F32:
            # Too large for a narrow format; not, perhaps, for binary32.
            logits, logit_format = exact.logits(self.matrix, state, F32).values, F32
        biased = logits if self.bias is None else logits + self.bias
        if not (np.isfinite(h).all() and np.isfinite(biased).all()):
            return _undefined(self.formats)
        sizes = self._norms * np.sqrt(h @ h) * ROOM if h.any() else np.zeros(len(biased))
        if self.bias is not None:
            sizes = sizes + np.abs(self.bias)
        in_range = Fraction(float(sizes.max()) * (1 + self._widest)) < _F32_HALF
        losses = _lost(len(h), np.sqrt(len(h)) * self._norms + np.abs(h).sum())
        errors = sizes * self._widest + losses
        near = self._near_the_top(np.asarray(logits, dtype=np.float64), logit_format, errors)
        return _AtState(self, state, near, in_range=in_range).certificate()

    def _near_the_top(self, logits: Float64s, logit_format: Format, errors: Float64s) -> TokenIds:
        """Return every token that could be on top in a computed result, and the second one."""
        rounding = 2.0**-logit_format.precision * np.abs(logits)
        rounding += 2.0 ** (logit_format.quantum_exponent - 1)
        centre = logits
        sixteen = self.formats[0]
        unit = 2.0**-sixteen.precision
        reach = rounding
        if self.bias is not None:
            centre = logits + self.bias
            # The product may be rounded to 16 bits before the bias is added.
            reach = reach + 2 * unit * (np.abs(logits) + rounding)
        reach = (reach + errors * (1 + 2 * unit)) * ROOM
        reach += np.abs(centre) * (4 * U_DOUBLE)
        lowest = float((centre - reach).max())
        # What rounds to the same number of 16 bits.
        lowest -= 4 * unit * abs(lowest) + 2.0**sixteen.quantum_exponent
        if lowest > sixteen.largest:
            lowest = sixteen.largest
        elif lowest < -sixteen.largest:
            lowest = -np.inf
        second = centre - rounding
        second_lowest = np.partition(second, -2)[-2] if len(second) > 1 else -np.inf
        near = (centre + reach >= lowest) | (centre + rounding * ROOM >= second_lowest)
        return np.flatnonzero(near).astype(np.int32)


def _lost(n_terms: int, sizes: Float64s) -> Float64s:
    """Return an upper bound on `isologit.equivalence.device_sums.lost`, in binary64."""
    return (sizes + 2 * n_terms) * (2.0**-125 * ROOM)


def _undefined(formats: tuple[Format, Format]) -> TopToken:
    none = InFormat(np.empty(0, dtype=np.int32), "undefined", "undefined", identical=False)
    return TopToken(-1, -1, float("nan"), float("nan"), {f.name: none for f in formats})


@dataclass(frozen=True)
class _Real:
    """A token's real logit, and what bounds its computed one: all exact.

    `product` is the dot product, `size` the sum of its terms' magnitudes, `lost` what flushing can
    add to an error, `bias` the bias.
    """

    product: Fraction
    size: Fraction
    lost: Fraction
    bias: Fraction | None

    @property
    def _bias(self) -> Fraction:
        return Fraction(0) if self.bias is None else self.bias

    @property
    def logit(self) -> Fraction:
        return self.product + self._bias

    def error(self, factor: Fraction) -> Fraction:
        return factor * (self.size + abs(self._bias)) + self.lost

    def ends(self, factor: Fraction, format_: Format) -> tuple[Fraction | float, Fraction | float]:
        """Return the least and the largest that a device can compute, after the output rounding.

        Of binary32 the ends of the real interval, which a binary32 number lies in.
        """
        error = self.error(factor)
        if format_ is F32:
            return self.logit - error, self.logit + error
        low = [round_fraction(self.logit - error, format_)]
        high = [round_fraction(self.logit + error, format_)]
        if self.bias is not None:
            low += _biased_late(round_fraction(self.product - error, format_), self.bias, format_)
            high += _biased_late(round_fraction(self.product + error, format_), self.bias, format_)
        return min(low), max(high)


def _biased_late(rounded: float, bias: Fraction, format_: Format) -> list[float]:
    """Return a rounded product with its bias, added in the output format or by way of binary32."""
    if np.isinf(rounded):
        return [rounded]
    total = Fraction(rounded) + bias
    return [
        round_fraction(total, format_),
        float(round_to(round_fraction(total, F32), format_)),
    ]


class _AtState:
    """The tokens near the top at one state, with their logits in binary64 and, on demand, exact."""

    def __init__(
        self, certifier: Certifier, state: Vector, near: TokenIds, *, in_range: bool
    ) -> None:
        self._of, self._state, self.ids = certifier, state, near
        # Whether no partial sum of any token overflows binary32.
        self._in_range = in_range
        self._same = certifier.same.labels[near]
        self._known: dict[int, _Real] = {}
        h = state.values
        sizes_h = np.abs(h)
        n_terms = len(h) + 2
        parts = []
        for first in range(0, len(near), _BLOCK_ROWS):
            rows = certifier.matrix.rows(near[first : first + _BLOCK_ROWS])
            magnitudes = np.abs(rows)
            parts.append((rows @ h, magnitudes @ sizes_h, magnitudes.sum(axis=1)))
        self.products, self.sizes, entries = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        self.lost = _lost(len(h), entries + sizes_h.sum())
        # Sums of exact products, in any order; the sizes' own share is in ROOM.
        self.product_errors = self.sizes * (n_terms * U_DOUBLE * ROOM)
        self.biases = np.zeros(len(near)) if certifier.bias is None else certifier.bias[near]
        self.logits = self.products + self.biases
        self.errors = self.product_errors
        if certifier.bias is not None:
            self.errors = (self.errors + np.abs(self.logits) * U_DOUBLE) * ROOM

    def certificate(self) -> TopToken:
        """Return the certificate."""
        top = self._largest(np.arange(len(self.ids)))
        others = np.flatnonzero(np.arange(len(self.ids)) != top)
        runner_up, margin = -1, float("inf")
        if len(others):
            second = self._largest(others)
            runner_up = int(self.ids[second])
            margin = float(self._real(top).logit - self._real(second).logit)
        formats = {}
        for format_ in self._of.formats:
            grid = self._on_grid(format_)
            tied = np.flatnonzero(grid == grid.max())
            ids = self.ids[tied]
            formats[format_.name] = InFormat(
                top_ids=ids,
                verdict=self._verdict(top, format_, ROUNDING, len(ids)),
                if_truncated=self._verdict(top, format_, TRUNCATING, len(ids)),
                identical=len(ids) > 1 and len(set(self._same[tied].tolist())) == 1,
            )
        return TopToken(
            int(self.ids[top]), runner_up, margin, float(self._real(top).logit), formats
        )

    def _real(self, n: int) -> _Real:
        """Return a token's exact numbers; tokens of one row and bias share them."""
        key = int(self._same[n])
        if key not in self._known:
            matrix, h = self._of.matrix, self._state.values
            row = matrix.row(int(self.ids[n]))
            sizes = Matrix.of_values(np.abs(row.values)[None, :], matrix.format)
            sizes_h = np.abs(h)
            entries = exact.exact_sum(np.abs(row.values)) + exact.exact_sum(sizes_h)
            bias = None if self._of.bias is None else Fraction(float(self._of.bias[self.ids[n]]))
            self._known[key] = _Real(
                exact.exact_dot(matrix, int(self.ids[n]), h),
                exact.exact_dot(sizes, 0, sizes_h),
                lost(len(h), entries),
                bias,
            )
        return self._known[key]

    def _largest(self, among: npt.NDArray[np.intp]) -> int:
        """Return which of some tokens has the largest real logit; of equal ones the lowest id."""
        logits, errors = self.logits[among], self.errors[among]
        could = among[logits + errors >= (logits - errors).max()]
        if len(could) == 1:
            return int(could[0])
        _, firsts = np.unique(self._same[could], return_index=True)
        distinct = np.sort(could[firsts])
        if len(distinct) > _MOST_EXACT or not self.errors[distinct].any():
            # All of them equal in binary64, or too many to ask.
            return int(distinct[np.argmax(self.logits[distinct])])
        reals = [self._real(int(n)).logit for n in distinct]
        return int(distinct[reals.index(max(reals))])

    def _on_grid(self, format_: Format) -> Float64s:
        """Return the exact logits, rounded once."""
        values, unsure = certified(self.logits, self.errors * ROOM, format_)
        for n in np.flatnonzero(unsure):
            values[n] = round_fraction(self._real(int(n)).logit, format_) + 0.0
        return values

    def _verdict(self, top: int, format_: Format, model: SumModel, n_tied: int) -> Verdict:
        if self._is_certain(top, format_, self._of.factors[model.name]):
            return "certain"
        return "tied" if n_tied > 1 else "order-dependent"

    def _is_certain(self, top: int, format_: Format, factor: Fraction) -> bool:
        """Return whether the top's least possible result exceeds every other's largest."""
        if not self._in_range or (self._same == self._same[top]).sum() > 1:
            return False
        low, high = self._ends(float(factor), format_)
        high[top] = -np.inf
        rivals = np.flatnonzero(high >= low[top])
        if not len(rivals):
            return True
        # Binary64 does not decide these; the likeliest to win comes first.
        least = self._real(top).ends(factor, format_)[0]
        ordered = rivals[np.argsort(-high[rivals], kind="stable")]
        return all(least > self._real(int(n)).ends(factor, format_)[1] for n in ordered)

    def _ends(self, factor: float, format_: Format) -> tuple[Float64s, Float64s]:
        """Return bounds on what a device can compute, wider than those of `_Real.ends`."""
        error = ((self.sizes + np.abs(self.biases)) * factor + self.lost) * ROOM
        error = (error + self.errors + np.abs(self.logits) * (4 * U_DOUBLE)) * ROOM
        ends = [self.logits - error, self.logits + error]
        if format_ is F32:
            return ends[0], ends[1]
        low, high = (round_to(end, format_) for end in ends)
        if self._of.bias is not None:
            error = error + np.abs(self.products) * (4 * U_DOUBLE)
            late = [
                self._late(round_to(self.products + sign * error, format_), format_)
                for sign in (-1, 1)
            ]
            low = np.minimum(low, np.minimum(*late[0]))
            high = np.maximum(high, np.maximum(*late[1]))
        return low, high

    def _late(self, rounded: Float64s, format_: Format) -> tuple[Float64s, Float64s]:
        # The sum of a number of 16 bits and a bias may be inexact in binary64: both ways out.
        total = rounded + self.biases
        with np.errstate(invalid="ignore"):
            # What has overflowed stays there: infinity less infinity would be no number, and no
            # number is no rival.
            out = np.where(np.isinf(total), 0.0, np.abs(total) * (2 * U_DOUBLE))
            lower, upper = total - out, total + out
        ways: list[Callable[[Float64s], Float64s]] = [
            lambda x: round_to(x, format_),
            lambda x: round_to(round_to(x, F32), format_),
        ]
        found = [way(end) for way in ways for end in (lower, upper)]
        return np.minimum.reduce(found), np.maximum.reduce(found)
