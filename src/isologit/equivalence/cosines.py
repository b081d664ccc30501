"""The cosines of all pairs of some tokens (the seed line's notebook 1.4d)."""

from dataclasses import dataclass

import numpy as np

from isologit.equivalence.partition import Partition, TokenIds
from isologit.numerics.arithmetic import Arithmetic
from isologit.numerics.formats import Format
from isologit.numerics.stored import Matrix, Vector


@dataclass(frozen=True)
class PairwiseCosines:
    """What the cosines of all pairs come to.

    Parameters
    ----------
    pairs
        How many pairs there are.
    exactly_one
        Of these, how many have a cosine of 1.
    distinct
        How many distinct cosines there are.
    min
        The smallest; NaN where there is none.
    without
        How many pairs have no cosine, because a row is zero or not finite.
    """

    pairs: int
    exactly_one: int
    distinct: int
    min: float
    without: int


def pairwise_cosines(
    matrix: Matrix,
    rows: Partition,
    token_ids: TokenIds,
    arithmetic: Arithmetic,
    cosine_format: Format,
) -> PairwiseCosines:
    """Count the cosines of all pairs of distinct tokens.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    rows
        Tokens by equal rows.
    token_ids
        ``[n]``, distinct.
    arithmetic
        Exact or observed.
    cosine_format
        The format that a cosine is rounded to.

    Notes
    -----
    Each of m distinct rows is taken once and its pairs counted as often as its tokens make them:
    m²/2 products of rows, and a copy of those m rows.
    """
    _, first, sizes = np.unique(rows.labels[token_ids], return_index=True, return_counts=True)
    distinct = matrix.take(token_ids[first])
    counts: dict[float, int] = {}
    without = 0
    for n, words in enumerate(distinct.words):
        later = Matrix(distinct.words[n:], matrix.format)
        cosines = arithmetic.cosines(later, Vector(words, matrix.format), cosine_format).values
        pairs = sizes[n] * sizes[n:]
        pairs[0] = sizes[n] * (sizes[n] - 1) // 2
        none = np.isnan(cosines)
        without += int(pairs[none].sum())
        for value, weight in zip(cosines[~none].tolist(), pairs[~none].tolist(), strict=True):
            if weight:
                counts[value] = counts.get(value, 0) + weight
    return PairwiseCosines(
        pairs=sum(counts.values()) + without,
        exactly_one=counts.get(1.0, 0),
        distinct=len(counts),
        min=min(counts, default=float("nan")),
        without=without,
    )
