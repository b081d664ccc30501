"""How far a device's float32 dot product can lie from the real one, whatever order it adds in.

A device multiplies and adds in binary32; which terms it adds first depends on its kernel, the batch
and the number of threads. `SumModel` is what is assumed of each addition, and bounds what all of
them together can come to.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from isologit.numerics.formats import F32, Format

_U: Final = Fraction(1, 2**24)
# Where a device flushes what is below binary32's normal range, an operation loses up to this.
_FLUSHED: Final = Fraction(1, 2**126)


@dataclass(frozen=True)
class SumModel:
    """What is assumed of a device's additions.

    Parameters
    ----------
    name
        For documents.
    assumptions
        A sentence each.
    truncating
        Whether results may be cut off where IEEE 754 rounds to nearest.

    Notes
    -----
    With n terms in one sum and S the sum of their magnitudes, the computed sum is within

    - (n − 1)·u·S of the real one where each term is a binary32 number, as products of two bf16 or
      two f16 numbers are, in any order, with or without fused multiply-adds (Jeannerod and Rump,
      SIAM J. Matrix Anal. Appl. 34(2), 2013, which needs no condition on n);
    - γ = n·u/(1 − n·u) times S where products are rounded too, or fused with another rounding
      (Higham, Accuracy and Stability of Numerical Algorithms, 2002, §3.1);
    - γ with 4·n·u for n·u, where additions are cut off. A tensor core aligns its b products and the
      accumulator to the largest of them and cuts each off, and cuts off their sum once more (Fasi,
      Higham, Mikaitis and Pranesh, PeerJ Comput. Sci. 7:e330, 2021, of V100, T4 and A100): b + 1
      errors of at most 2·u·S for b terms, 3·n·u·S in all where b is 2 or more. That leaves n·u·S
      for adding up partial sums.

    u = 2⁻²⁴. What is flushed below the normal range is added: see `lost`.
    """

    name: str
    assumptions: tuple[str, ...]
    truncating: bool

    def factor(self, n_terms: int, *, exact_products: bool) -> Fraction:
        """Return what S is multiplied with: the bound of a sum of so many terms, exactly."""
        if n_terms > MOST_TERMS:
            raise ValueError(f"{n_terms} terms are more than a sum in binary32 is bounded for")
        if not self.truncating and exact_products:
            return (n_terms - 1) * _U
        share = n_terms * _U * (4 if self.truncating else 1)
        return share / (1 - share)


_COMMON = (
    "products and sums are binary32, added in any order, with fused multiply-adds or without",
    "no TF32, and no partial sum is rounded to 16 bits (split-K reductions stay in float32)",
    "a logit is rounded to the output format once, or kept in float32",
    "numbers below float32's normal range may be flushed to zero; float16's own small ones are not",
)
#: Additions as IEEE 754 has them: CPUs, and GPU kernels that do without tensor cores.
ROUNDING: Final = SumModel(
    "float32, to nearest", (*_COMMON, "every operation rounds to nearest (IEEE 754)"), False
)
#: Additions that may be cut off: tensor cores.
TRUNCATING: Final = SumModel(
    "float32, cut off",
    (
        *_COMMON,
        "sums may be cut off instead of rounded, as tensor cores do, to 24 bits or more of the "
        "largest term",
    ),
    True,
)
MODELS: Final = (ROUNDING, TRUNCATING)


#: More terms than these are bounded in no useful way.
MOST_TERMS: Final = 1 << 21


def products_are_exact(rows: Format, state: Format) -> bool:
    """Return whether a product of two numbers is one of binary32, but for underflow."""
    return rows.precision + state.precision <= F32.precision


def lost(n_terms: int, sizes: Fraction) -> Fraction:
    """Return what flushing can add to a sum's error, exactly.

    Parameters
    ----------
    n_terms
        How many products there are.
    sizes
        The sum of all magnitudes of the row's and the state's entries: where an entry is flushed,
        its product is lost.

    Notes
    -----
    Doubled for what later additions make of it.
    """
    return 2 * _FLUSHED * (2 * n_terms + sizes)
