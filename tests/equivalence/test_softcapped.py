"""What a softcap merges: the range that bisection finds is the one that looking at all finds."""

import numpy as np
import pytest

from isologit.equivalence.softcapped import merged_with
from isologit.numerics.formats import BF16, F16, F32, Format
from isologit.numerics.softcap import softcap


@pytest.mark.parametrize("to", [BF16, F16], ids=lambda f: f.name)
def test_the_logits_merged_with_each_are_all_of_its_softcap(to: Format) -> None:
    far = [300.0 + n for n in range(9)]
    near = [-3, 0, 20, 50, 60, 60.5, 61, 90, 150, 170, 171, 172]
    distinct = np.array([-np.inf, -200, -90, *near, *far, np.inf])
    capped = [softcap(float(x), 30.0, to) for x in distinct]
    finer = [softcap(float(x), 30.0, F32) for x in distinct]
    merged = 0
    for place, own in enumerate(capped):
        found = merged_with(distinct, place, 30.0, to)
        same = [n for n, other in enumerate(capped) if other == own]
        assert list(range(found.first, found.stop)) == same
        assert found.capped == own
        assert found.distinct_f32 == len({finer[n] for n in same})
        merged += len(same) > 1
    assert merged
