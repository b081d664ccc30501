"""The cosines of all pairs, against every pair on its own."""

from itertools import combinations

import numpy as np
import pytest

from isologit.equivalence.cosines import pairwise_cosines
from isologit.equivalence.partition import Partition
from isologit.numerics import exact
from isologit.numerics.arithmetic import Exact
from isologit.numerics.formats import BF16, F32, Format
from isologit.numerics.stored import Matrix, Vector


@pytest.mark.parametrize("format_", [BF16, F32])
@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_counted_as_each_pair_alone_would_be(format_: Format, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([0.0, 1.0, -2.0, 0.5], (14, 2))
    matrix = Matrix.of_values(values, format_)
    ids = np.sort(rng.permutation(14)[:10]).astype(np.int32)
    cosines = []
    for i, j in combinations(ids.tolist(), 2):
        row = Matrix(matrix.words[i : i + 1], format_)
        cosines.append(exact.cosines(row, Vector(matrix.words[j], format_), format_).values[0])
    numbers = [c for c in cosines if not np.isnan(c)]
    found = pairwise_cosines(matrix, Partition.of_rows(matrix), ids, Exact(), format_)
    assert found.pairs == len(cosines) == 45
    assert found.without == len(cosines) - len(numbers)
    assert found.exactly_one == numbers.count(1.0)
    assert (found.distinct, found.min) == (len(set(numbers)), min(numbers))


def test_rows_without_a_cosine_are_pairs_without_one() -> None:
    matrix = Matrix.of_values([[0.0, 0.0], [1.0, 0.0], [-0.0, 0.0], [0.0, 1.0]], BF16)
    ids = np.arange(4, dtype=np.int32)
    found = pairwise_cosines(matrix, Partition.of_rows(matrix), ids, Exact(), BF16)
    assert (found.pairs, found.without, found.distinct, found.min) == (6, 5, 1, 0.0)
