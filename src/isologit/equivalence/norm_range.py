"""What a final norm can output: the set in real arithmetic, and how far a computed norm leaves it.

RMSNorm outputs ``β + γ ⊙ u`` with ‖u‖ < √d (‖u‖ = √d where ε is 0), LayerNorm the same with u of
mean zero besides.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.head import FinalNorm
from isologit.numerics.formats import Float64s, Format
from isologit.numerics.lanes import ROOM, U_SINGLE
from isologit.numerics.stored import Matrix

# See `ComputedNorm`: how many times its deviation the mean of a LayerNorm's input may be.
MEAN_RATIO = 16.0
# A reciprocal root within two units in the last place, as the CUDA guide has it for rsqrtf, and the
# rounding of its argument.
_ROOT_ROUNDINGS = 5


@dataclass(frozen=True, eq=False)
class NormRange:
    """The states ``β + γ ⊙ u`` of a norm whose kind is known, in real arithmetic.

    Its closure, that is: with ε > 0 no input reaches ‖u‖ = √d, and suprema are approached.

    Parameters
    ----------
    kind
        "rms": ‖u‖ ≤ √d. "layer": the mean of u is zero besides.
    gamma
        ``[d]``, as the model applies it.
    beta
        ``[d]``, or None where nothing is added.
    eps
        What the norm adds to the mean square or the variance; None where not known.
    """

    kind: Literal["rms", "layer"]
    gamma: Float64s
    beta: Float64s | None
    eps: float | None

    @classmethod
    def of(cls, norm: FinalNorm, width: int) -> "NormRange | None":
        """Return what a norm outputs; None where it is not known, or its numbers are not finite."""
        if norm.kind not in ("rms", "layer"):
            return None
        gamma = np.ones(width) if norm.gamma is None else norm.gamma
        if not np.isfinite(gamma).all():
            return None
        if norm.beta is not None and not np.isfinite(norm.beta).all():
            return None
        kind: Literal["rms", "layer"] = "rms" if norm.kind == "rms" else "layer"
        return cls(kind, gamma, norm.beta, norm.eps)

    @classmethod
    def assumed(cls, width: int, kind: Literal["rms", "layer"] = "rms") -> "NormRange":
        """Return the range of a norm with γ = 1 and no β: taken where its numbers are not known."""
        return cls(kind, np.ones(width), None, None)

    @classmethod
    def known_or_assumed(cls, norm: FinalNorm, width: int) -> "NormRange":
        """Return what a norm outputs, or where that is not known what `assumed` takes for it."""
        return cls.of(norm, width) or cls.assumed(width)

    @property
    def width(self) -> int:
        """d."""
        return len(self.gamma)

    @property
    def radius(self) -> float:
        """√d, the supremum of ‖u‖."""
        return float(np.sqrt(self.width))

    def seen(self, differences: Float64s) -> Float64s:
        """Return what u is multiplied with, ``[…, d]``: P(γ ⊙ Δ), P taking off the mean.

        RMSNorm has no P. Binary64: each entry within some (d + 2)·2⁻⁵³ of the largest.
        """
        product = differences * self.gamma
        if self.kind == "layer":
            product = product - product.mean(axis=-1, keepdims=True)
        return product

    def constant(self, differences: Float64s) -> Float64s:
        """Return β · Δ, ``[…]``: what no input changes."""
        if self.beta is None:
            return np.zeros(differences.shape[:-1])
        return np.asarray(differences @ self.beta)

    def farthest(self, direction: Float64s) -> Float64s:
        """Return the state ``[d]`` with the largest product with a direction ``[d]``.

        ``β + γ ⊙ u`` with u = √d · P(γ ⊙ Δ)/‖P(γ ⊙ Δ)‖; u = 0 where no u makes a difference.
        """
        return self.of_inner(self.seen(direction))

    def of_inner(self, inner: Float64s) -> Float64s:
        """Return ``β + γ ⊙ u`` ``[d]`` for the u of length √d along a vector; β where that is 0."""
        if self.kind == "layer":
            inner = inner - inner.mean()
        # Scaled first, so that no square of a tiny or a huge entry is lost.
        largest = np.abs(inner).max(initial=0.0)
        if largest > 0:
            inner = inner / largest
            inner = inner * (self.radius / np.sqrt(inner @ inner))
        state: Float64s = self.gamma * inner
        return state if self.beta is None else state + self.beta

    def inner(self, state: Float64s) -> Float64s:
        """Return ``(h − β) ⊘ γ`` ``[d]``, 0 where γ is 0."""
        shift = state if self.beta is None else state - self.beta
        return np.divide(shift, self.gamma, out=np.zeros_like(shift), where=self.gamma != 0)

    def rescaled(self, state: Float64s) -> Float64s:
        """Return the state ``[d]`` on the range's rim that lies in the direction of another.

        The u before γ and β keeps its direction, but for its mean under LayerNorm, and gets the
        length √d.
        """
        return self.of_inner(self.inner(state))

    def random_states(self, first: int, stop: int, *, seed: int, format_: Format) -> Matrix:
        """Return reachable states of chance, numbers `first` to `stop`, ``[n, d]`` in a format.

        State k depends on the seed and k alone, and is the same bits on every machine: each entry
        of u is a sum of four uniform integers, which is near enough to normal that directions are
        near enough to uniform; ‖u‖ = √d, and ``β + γ ⊙ u`` is rounded to the format once.
        """
        states = np.empty((stop - first, self.width))
        for k in range(first, stop):
            raw = np.random.PCG64(np.random.SeedSequence([seed, k])).random_raw(self.width)
            parts = np.asarray(raw).view(np.uint16).reshape(self.width, 4)
            sums = parts.astype(np.int64).sum(axis=1)
            # Twice the sum less its mean, or d times it less the sum of all: integers, exactly.
            sums = 2 * sums - 4 * 65_535 if self.kind == "rms" else self.width * sums - sums.sum()
            inner = sums.astype(np.float64) / max(int(np.abs(sums).max()), 1)
            # All of them may be 0 in one dimension alone, where LayerNorm's u is nothing else.
            length = np.sqrt(_sum_in_order(inner * inner)) or 1.0
            state = self.gamma * (inner * (self.radius / length))
            states[k - first] = state if self.beta is None else state + self.beta
        return Matrix.of_values(states, format_)


def _sum_in_order(values: Float64s) -> float:
    """Return a sum by halves: the same on every machine, which numpy's own sum need not be."""
    while len(values) > 1:
        half = len(values) // 2
        rest = values[2 * half :]
        values = np.concatenate([values[:half] + values[half : 2 * half], rest])
    return float(values[0])


@dataclass(frozen=True)
class ComputedNorm:
    """How far a computed norm's output can lie from a real one's, entry by entry; proved.

    For every input of which the assumptions hold there is a u of the real norm, such that the
    computed state h̃ has ``|h̃_k − (β + γ ⊙ u)_k| ≤ |γ_k| (relative · |u_k| + shift) +
    of_beta · |β_k| + lost · (1 + |γ_k|)``.

    Parameters
    ----------
    relative
        Of the roundings of the root's reciprocal, of its product with the input, and in the compute
        format of u, of γ ⊙ u and, if there is one, of the sum with β.
    shift
        Of the input's computed mean, in units of u; 0 for RMSNorm, which takes off none.
    of_beta
        Of the roundings of that sum.
    lost
        Half the compute format's smallest number, which a rounding below its normal range may lose.

    Notes
    -----
    Assumed, as transformers and torch do it: the mean square (or mean and variance) is summed in
    binary32 or finer, in any order, and its reciprocal root within 2 ulp; γ and β are those given;
    nothing overflows, and squares that underflow are nothing beside ε. Of LayerNorm besides: the
    variance is that of deviations (in two passes, or updated as Welford does), and the input's mean
    is at most `MEAN_RATIO` of its deviations √(variance + ε). Inputs beyond it lose the digits that
    the deviations are made of, and what comes out of binary32 then is bounded by nothing useful.

    With u = 2⁻²⁴: the sum of d squares, its quotient, ε and its addition are d + 4 roundings of
    positive numbers, of which the root takes half. LayerNorm's mean is off by (d + 1)·u·mean|x| at
    most, mean|x| ≤ |mean| + deviation; Welford's variance by a share of some d·u·√(1 + ratio²)
    (Chan, Golub and LeVeque, The American Statistician 37(3), 1983); four times that is allowed.
    """

    relative: float
    shift: float
    of_beta: float
    lost: float

    @staticmethod
    def _share(norm_range: NormRange) -> float:
        """Return the share by which the mean square or the variance may be off."""
        if norm_range.kind == "layer":
            return 4 * (norm_range.width + 6) * U_SINGLE * (MEAN_RATIO + 1)
        return (norm_range.width + 4) * U_SINGLE

    @classmethod
    def covers(cls, norm_range: NormRange) -> bool:
        """Return whether there are bounds: up to a d of 123,355 of LayerNorm, 8,388,603 of RMS."""
        return cls._share(norm_range) < 0.5

    @classmethod
    def of(cls, norm_range: NormRange, format_: Format) -> "ComputedNorm":
        """Return the bounds for a norm that is computed in a format.

        Raises
        ------
        ValueError
            There are none: see `covers`.
        """
        d, unit = norm_range.width, 2.0**-format_.precision
        share = cls._share(norm_range)
        shift = 0.0
        if norm_range.kind == "layer":
            # The mean's own error, and what is lost where x·r and mean·r are subtracted.
            shift = (2 * d + 8) * U_SINGLE * (MEAN_RATIO + 1)
        if not cls.covers(norm_range):
            raise ValueError(f"d = {d} is more than the bound in binary32 is made for")
        # (1 ± share)^-1/2 lies within 1 ± share / (2 (1 − share)).
        root = share / (2 * (1 - share)) + _ROOT_ROUNDINGS * U_SINGLE
        # u, γ ⊙ u and the sum with β are rounded to the format, wherever that is binary32 too.
        steps = 2 if norm_range.beta is None else 3
        later = (1 + unit) ** steps * (1 + U_SINGLE) ** 4
        return cls(
            relative=((1 + root) * later - 1) * ROOM,
            shift=shift * (1 + root) * later * ROOM,
            of_beta=((1 + unit) * (1 + U_SINGLE) - 1) * ROOM,
            # What u loses passes two more roundings; binary32's own loss before it is far smaller.
            lost=2.0 ** (format_.quantum_exponent - 1) * (1 + unit) ** 3 * ROOM,
        )

    def of_states(self, norm_range: NormRange, inner: Float64s) -> npt.NDArray[np.float64]:
        """Return how far a computed ``(h − β) ⊘ γ`` ``[d]`` may lie from a real u, ``[d]``.

        0 where γ is 0, and u cannot be told.
        """
        gamma = np.abs(norm_range.gamma)
        beta = np.zeros_like(gamma) if norm_range.beta is None else np.abs(norm_range.beta)
        others = self.of_beta * beta + self.lost * (1 + gamma)
        alone = np.divide(others, gamma, out=np.zeros_like(gamma), where=gamma > 0)
        bound: Float64s = (self.relative * np.abs(inner) + self.shift + alone) / (1 - self.relative)
        return np.where(gamma > 0, bound, 0.0)

    def holds_beta(self, norm_range: NormRange, state: Float64s) -> bool:
        """Return whether a state ``[d]`` may be a computed ``0 + β`` wherever γ is 0."""
        killed = norm_range.gamma == 0
        if norm_range.beta is None:
            return not state[killed].any()
        beta = norm_range.beta[killed]
        rounding = np.where(beta != 0, self.of_beta * np.abs(beta) + self.lost, 0.0)
        return bool((np.abs(state[killed] - beta) <= rounding).all())

    def of_products(self, norm_range: NormRange, differences: Float64s) -> Float64s:
        """Return a bound on ``|Δ · h̃ − Δ · h|`` over all inputs, ``[…]`` for Δ ``[…, d]``."""
        scaled = np.abs(differences * norm_range.gamma)
        sizes = np.abs(differences)
        added = np.zeros_like(sizes) if norm_range.beta is None else sizes * np.abs(norm_range.beta)
        return self.of_sums(
            radius=norm_range.radius,
            square=(scaled * scaled).sum(axis=-1),
            scaled=scaled.sum(axis=-1),
            added=added.sum(axis=-1),
            sizes=sizes.sum(axis=-1),
        )

    def of_sums(
        self, *, radius: float, square: Float64s, scaled: Float64s, added: Float64s, sizes: Float64s
    ) -> Float64s:
        """Return the same from sums over a difference's entries, ``[…]`` each.

        Of (γ ⊙ Δ)², |γ ⊙ Δ|, |β ⊙ Δ| and |Δ|, all of them in binary64.
        """
        bound = self.relative * radius * np.sqrt(square) + self.shift * scaled
        return np.asarray((bound + self.of_beta * added + self.lost * (sizes + scaled)) * ROOM)
