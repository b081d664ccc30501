"""The states among which a token may win: all of R^d, or what the final norm can output.

A logit is ``x_i · u + c_i`` with the state's free part u, a row x_i and a constant c_i:

- all states: u = h, x_i = w_i, c_i = b_i.
- reachable states, h = γ ⊙ u + β: x_i = γ ⊙ w_i, c_i = β · w_i + b_i (over the scale of the state,
  where there is one), u in the ball ‖u‖ < √d, and of mean zero for LayerNorm.

Where no c_i is needed, a multiple t·u with t > 0 has the same order of tokens, so the ball's radius
does not matter, nor whether the norm's ε makes it a ball or a sphere. RMSNorm then has the answers
of all states, but for the dimensions where γ is 0; LayerNorm, where no γ is 0, has a plane.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.equivalence.norm_range import NormRange
from isologit.numerics.dyadic import fraction
from isologit.numerics.formats import Float64s
from isologit.numerics.lanes import ROOM, U_DOUBLE
from isologit.numerics.stored import Matrix, Vector

DomainName = Literal["all", "reachable"]
Shape = Literal["space", "plane", "ball"]

# Bits of the entries of a stored u: with γ's 24, and 7 of `BEYOND`, they fit binary64's 53.
_PLANE_BITS = 23
_BALL_BITS = 20
# How far beyond a stored u the sphere is at most, where it may be all there is.
BEYOND = 65 / 64


@dataclass(frozen=True, eq=False)
class Domain:
    """States, and what a logit is at them; make one with `all_states` or `reachable_states`.

    Parameters
    ----------
    name
        As the user has it.
    shape
        "space": every u that is 0 outside of `kept`. "plane": those of mean zero. "ball": those of
        a length up to `radius`.
    matrix
        W.
    kept
        ``[d]``, where u is not 0.
    gamma
        ``[d]``, what u is multiplied with; ones in a space.
    beta
        ``[d]`` or None.
    bias
        ``[V]`` or None.
    bias_factor
        What a bias is multiplied with, beside products that are not: 1 over the state's scale.
    zero_mean
        Whether u has mean zero.
    radius
        √d of a ball.
    beyond
        Whether it is not known that ‖u‖ < √d is all there is: then a witness wins up to the sphere.
    why
        One sentence.
    """

    name: DomainName
    shape: Shape
    matrix: Matrix
    kept: npt.NDArray[np.bool_]
    gamma: Float64s
    why: str
    beta: Float64s | None = None
    bias: Vector | None = None
    bias_factor: Fraction = Fraction(1)
    zero_mean: bool = False
    radius: float | None = None
    beyond: bool = False

    @property
    def of_hidden_states(self) -> bool:
        """Whether u is the hidden state itself, but for its length; else it is before γ and β."""
        return self.shape == "space"

    @property
    def has_constants(self) -> bool:
        """Whether something is added to x · u."""
        return self.bias is not None or self.beta is not None

    @cached_property
    def everywhere(self) -> "Domain":
        """All states of R^d: none of this domain's is outside of them."""
        return all_states(self.matrix, self.bias)

    @property
    def kernel(self) -> Float64s | None:
        """A direction ``[kept]`` that no u has a part of."""
        return np.ones(int(self.kept.sum())) if self.zero_mean else None

    def exact_rows(self, token_ids: Sequence[int] | npt.NDArray[np.integer]) -> Float64s:
        """Return x ``[n, kept]``, exactly: products of 24-bit numbers fit binary64."""
        rows = self.matrix.rows(token_ids)
        seen: Float64s = (rows if self.of_hidden_states else rows * self.gamma)[:, self.kept]
        return seen

    def seen_rows(self, token_ids: Sequence[int] | npt.NDArray[np.integer]) -> Float64s:
        """Return x less what no u sees of it, ``[n, kept]``, in binary64."""
        rows = self.exact_rows(token_ids)
        means = rows.mean(axis=1, keepdims=True) if self.zero_mean else 0.0
        return np.asarray(rows - means)

    def exact_constants(self, token_ids: Sequence[int] | npt.NDArray[np.integer]) -> list[Fraction]:
        """Return c of some tokens."""
        found = []
        for token in np.asarray(token_ids).tolist():
            total = Fraction(0)
            if self.bias is not None:
                total += Fraction(float(self.bias.values[token])) * self.bias_factor
            if self.beta is not None:
                total += fraction(self.matrix.rows([token])[0], self.beta)
            found.append(total)
        return found

    @cached_property
    def constants(self) -> tuple[Float64s, Float64s]:
        """c in binary64 and bounds on its errors, ``[V]`` each."""
        n = self.matrix.n_tokens
        found, errors = np.zeros(n), np.zeros(n)
        with np.errstate(all="ignore"):
            if self.beta is not None:
                length = float(np.linalg.norm(self.beta))
                for start in range(0, n, 8192):
                    rows = self.matrix.rows(np.arange(start, min(start + 8192, n)))
                    found[start : start + len(rows)] = rows @ self.beta
                    lengths = np.linalg.norm(rows, axis=1)
                    errors[start : start + len(rows)] = lengths * length
                errors *= (self.matrix.width + 4) * U_DOUBLE * ROOM
            if self.bias is not None:
                scaled = self.bias.values * float(self.bias_factor)
                found = found + scaled
                errors = errors + 4 * U_DOUBLE * (np.abs(scaled) + np.abs(found))
        return found, errors

    def products(self, inner: Float64s) -> Float64s:
        """Return what a row of W is multiplied with, γ ⊙ u ``[…, d]``, for u ``[…, kept]``.

        Exact, for a u that `stored` has made.
        """
        full = np.zeros((*inner.shape[:-1], self.matrix.width))
        full[..., self.kept] = inner
        return full if self.of_hidden_states else full * self.gamma

    def stored(self, inner: Float64s) -> Float64s:
        """Return directions ``[n, kept]`` as states of the domain, in bits that binary32 stores.

        In a ball they are shortened to less than its radius, where need be; where no constants are
        added each is scaled by a power of two, so that its largest entry is about 1.
        """
        if self.zero_mean:
            inner = inner - inner.mean(axis=-1, keepdims=True)
        if self.shape == "ball":
            assert self.radius is not None
            most = self.radius * (1 - 2.0**-12)
            lengths = np.maximum(np.linalg.norm(inner, axis=-1, keepdims=True), 1e-300)
            factors = most / lengths
            scaled = inner * (factors if self.beyond else np.minimum(1.0, factors))
            step = 2.0 ** (np.ceil(np.log2(self.radius)) - _BALL_BITS)
            whole = np.rint(scaled / step)
            return np.asarray((_balanced(whole) if self.zero_mean else whole) * step)
        if self.has_constants:
            # What is beyond binary32 becomes an infinity, which `holds` refuses.
            with np.errstate(over="ignore"):
                return inner.astype(np.float32).astype(np.float64)
        sizes = np.abs(inner).max(axis=-1, keepdims=True)
        _, exponents = np.frexp(np.where(sizes > 0, sizes, 1.0))
        scaled = np.ldexp(inner, -exponents)
        if self.of_hidden_states:
            return scaled.astype(np.float32).astype(np.float64)
        return np.ldexp(_balanced(np.rint(np.ldexp(scaled, _PLANE_BITS))), -_PLANE_BITS)

    def holds(self, inner: Float64s) -> bool:
        """Return whether u ``[kept]`` is in the domain, exactly."""
        if not np.isfinite(inner).all():
            return False
        if self.zero_mean and fraction(inner, np.ones(len(inner))) != 0:
            return False
        if self.shape != "ball":
            return True
        square, most = fraction(inner, inner), self.matrix.width
        return square < most and (not self.beyond or square * Fraction(BEYOND) ** 2 >= most)

    @property
    def spread(self) -> tuple[float, ...]:
        """The factors of a stored u at which a witness has to win.

        Where u may have to be on the sphere, it lies between u and `BEYOND` times it, and what wins
        at both wins in between.
        """
        return (1.0, BEYOND) if self.beyond else (1.0,)


def all_states(matrix: Matrix, bias: Vector | None = None) -> Domain:
    """Return the domain R^d, with biases or without."""
    with_bias = " and the head's bias" if bias is not None else ""
    return _space(matrix, "all", f"every hidden state of R^d{with_bias}", bias, Fraction(1))


def reachable_states(
    matrix: Matrix,
    norm_range: NormRange,
    bias: Vector | None = None,
    bias_factor: Fraction = Fraction(1),
) -> Domain:
    """Return what a norm can output, as a domain.

    Parameters
    ----------
    matrix, bias
        The head.
    norm_range
        γ, β and which norm.
    bias_factor
        What biases are multiplied with where products with the norm's output are not.
    """
    gamma, beta = norm_range.gamma, norm_range.beta
    if beta is not None and not beta.any():
        beta = None
    if bias is not None and not bias.values.any():
        bias = None
    kept = gamma != 0
    layer = norm_range.kind == "layer"
    named = "LayerNorm" if layer else "RMSNorm"
    if beta is None and bias is None:
        if layer and kept.all():
            return Domain(
                name="reachable",
                shape="plane",
                matrix=matrix,
                kept=kept,
                gamma=gamma,
                bias_factor=bias_factor,
                zero_mean=True,
                why="γ ⊙ u for every u of mean zero, as nothing is added whose size would matter",
            )
        why = f"{named} outputs every direction of R^d"
        if not kept.all():
            why += f" but for the {int((~kept).sum())} dimensions where γ is 0"
        return _space(
            matrix, "reachable", f"{why}, and no constant is added", None, bias_factor, kept
        )
    # LayerNorm's dimensions where γ is 0 take part in its mean, and are kept.
    added = " and ".join(
        name for name, there in (("β", beta is not None), ("the bias", bias is not None)) if there
    )
    mean = " of mean zero" if layer else ""
    return Domain(
        name="reachable",
        shape="ball",
        matrix=matrix,
        kept=np.ones_like(kept) if layer else kept,
        gamma=gamma,
        beta=beta,
        bias=bias,
        bias_factor=bias_factor,
        zero_mean=layer,
        radius=norm_range.radius,
        beyond=not norm_range.eps,
        why=f"{named}'s γ ⊙ u for every u{mean} of a length below √d, with {added} added",
    )


def _space(
    matrix: Matrix,
    name: DomainName,
    why: str,
    bias: Vector | None,
    bias_factor: Fraction,
    kept: npt.NDArray[np.bool_] | None = None,
) -> Domain:
    if bias is not None and not bias.values.any():
        bias = None
    return Domain(
        name=name,
        shape="space",
        matrix=matrix,
        kept=np.ones(matrix.width, dtype=np.bool_) if kept is None else kept,
        gamma=np.ones(matrix.width),
        bias=bias,
        bias_factor=bias_factor,
        why=why,
    )


def _balanced(whole: Float64s) -> Float64s:
    """Return integers ``[…, n]`` moved by about one each, so that they add up to 0."""
    total = whole.sum(axis=-1, keepdims=True)
    n = whole.shape[-1]
    each = np.trunc(total / n)
    rest = total - each * n
    moved = whole - each
    first = np.arange(n) < np.abs(rest)
    return np.asarray(moved - np.sign(rest) * first)
