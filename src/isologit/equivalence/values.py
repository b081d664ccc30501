"""What V rounded numbers, one a token, say of the vocabulary: the figures of logits and cosines."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from isologit.equivalence.partition import Partition, TokenIds
from isologit.numerics.arithmetic import Arithmetic
from isologit.numerics.formats import Float64s, Format

MULTIPLICITIES = ("1", "2", "3", "4+", "100+", "1000+")


@dataclass(frozen=True)
class ValueCount:
    """A value, and how many tokens hold it."""

    value: float
    n_tokens: int


@dataclass(frozen=True, eq=False)
class TokenValues:
    """One rounded number a token, and the classes of tokens that hold the same number.

    Figures are of the numbers; tokens whose value is NaN are counted in `n_nan` and left out of
    the rest, unless there is nothing else.

    Parameters
    ----------
    values
        ``[V]`` binary64 holding values of `format`.
    format
        The format that they were rounded to.
    refined
        How many took the exact step.
    mean, median
        As the arithmetic computes them from the rounded values; the median is the lower of the
        two middle values.
    """

    values: Float64s
    format: Format
    refined: int
    mean: float
    median: float

    @classmethod
    def of(
        cls, values: Float64s, format_: Format, refined: int, arithmetic: Arithmetic
    ) -> "TokenValues":
        """Take the figures that depend on the arithmetic, and hold the rest."""
        numbers = values[~np.isnan(values)]
        if not len(numbers):
            return cls(values, format_, refined, float("nan"), float("nan"))
        return cls(
            values,
            format_,
            refined,
            mean=arithmetic.mean(numbers, format_),
            median=arithmetic.median(numbers, format_),
        )

    @cached_property
    def partition(self) -> Partition:
        """Tokens by equal value; −0 is +0, and NaN is one class."""
        return Partition.of_values(self.values)

    @cached_property
    def _counts(self) -> tuple[Float64s, npt.NDArray[np.int64]]:
        numbers = self.values[~np.isnan(self.values)] + 0.0
        distinct, counts = np.unique(numbers, return_counts=True)
        return distinct, counts.astype(np.int64)

    @property
    def n_tokens(self) -> int:
        """V."""
        return len(self.values)

    @property
    def n_nan(self) -> int:
        """How many tokens hold no number."""
        return int(np.isnan(self.values).sum())

    @property
    def n_distinct(self) -> int:
        """How many distinct numbers there are."""
        return len(self._counts[0])

    @property
    def min(self) -> float:
        """The smallest number."""
        return float(self._counts[0][0]) if self.n_distinct else float("nan")

    @property
    def max(self) -> ValueCount:
        """The largest number, and how many tokens hold it."""
        distinct, counts = self._counts
        if not len(distinct):
            return ValueCount(float("nan"), self.n_nan)
        return ValueCount(float(distinct[-1]), int(counts[-1]))

    @property
    def mode(self) -> ValueCount:
        """The most common number; of equal counts the smaller one."""
        return self.top(1)[0]

    def top(self, k: int = 10) -> list[ValueCount]:
        """Return the k most common numbers, by count and then by value."""
        distinct, counts = self._counts
        if not len(distinct):
            return [ValueCount(float("nan"), self.n_nan)]
        order = np.argsort(-counts, kind="stable")[:k]  # stable: equal counts stay ascending
        return [ValueCount(float(distinct[n]), int(counts[n])) for n in order]

    def tokens_with(self, value: float) -> TokenIds:
        """Return the ids of the tokens that hold a value, ascending."""
        held = np.isnan(self.values) if np.isnan(value) else self.values == value
        return np.flatnonzero(held).astype(np.int32)

    def multiplicity(self) -> dict[str, int]:
        """Return how many numbers are held by 1, 2, 3, ≥ 4, ≥ 100 and ≥ 1000 tokens."""
        counts = self._counts[1]
        figures = [(counts == n).sum() for n in (1, 2, 3)]
        figures += [(counts >= n).sum() for n in (4, 100, 1000)]
        return {name: int(figure) for name, figure in zip(MULTIPLICITIES, figures, strict=True)}
