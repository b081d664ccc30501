"""Iterated refinement against the seed line's steps, done by hand and with fractions."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from isologit.equivalence.refinement import Step, refine
from isologit.numerics.arithmetic import Exact
from isologit.numerics.formats import BF16, F32, FORMATS, Format, round_fraction
from isologit.numerics.stored import Matrix


def token_ids(*ids: int) -> npt.NDArray[np.int32]:
    return np.array(ids, dtype=np.int32)


def clustered(format_: Format, seed: int) -> tuple[Matrix, npt.NDArray[np.int32]]:
    """60 rows about one point, in three rings, among 140 strangers, four of them in the start.

    These four lie on opposite sides of the point, lest they pull its mean away from all others.
    """
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(200, 12))
    rings = np.repeat([2.0**-12, 2.0**-8, 2.0**-5], 20)[:, None]
    rows[:60] = rows[0] * (1 + rings * rng.normal(size=(60, 12)))
    rows[62:64] = 2 * rows[0] - rows[60:62]
    return Matrix.of_values(rows, format_), np.arange(64, dtype=np.int32)


def dot(left: list[Fraction], right: list[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(left, right, strict=True)), Fraction(0))


def by_fractions(
    matrix: Matrix, start: npt.NDArray[np.int32], logit_format: Format, steps: int
) -> tuple[list[tuple[int, int]], list[int]]:
    """The seed line's 1.6a in rational numbers: sizes by step, and the members in the end."""
    rows = [[Fraction(w) for w in row] for row in matrix.rows(range(matrix.n_tokens))]
    members = [int(i) for i in start]
    sizes: list[tuple[int, int]] = []
    for _ in range(steps):
        columns = zip(*(rows[i] for i in members), strict=True)
        h = [
            Fraction(round_fraction(sum(column, Fraction(0)) / len(members), matrix.format))
            for column in columns
        ]
        target = round_fraction(dot(h, h), logit_format)
        same = [
            i for i, row in enumerate(rows) if round_fraction(dot(row, h), logit_format) == target
        ]
        members = [i for i in same if i in set(start.tolist())]
        sizes.append((len(members), len(same)))
        if not members:
            break
    return sizes, members


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("format_", FORMATS, ids=lambda f: f.name)
def test_sizes_and_members_are_those_of_the_steps_in_rational_numbers(
    format_: Format, seed: int
) -> None:
    matrix, start = clustered(format_, seed)
    refinement = refine(matrix, start, Exact(), BF16)
    sizes, members = by_fractions(matrix, start, BF16, len(refinement.steps))
    assert [(step.n_members, step.n_class) for step in refinement.steps] == sizes
    assert refinement.token_ids.tolist() == members
    assert len(refinement.steps) > 1
    assert 0 < len(members) < 60


def test_a_cluster_is_left_when_strangers_have_gone() -> None:
    # h = (3, 1, 0): of the start only the four cluster rows have the logit h·h = 10.
    rows = [[3, 1, 0]] * 4 + [[5, 2, 0], [1, 0, 0], [0, 10, 0], [9, 9, 9]]
    matrix = Matrix.of_values(rows, F32)
    refinement = refine(matrix, token_ids(0, 1, 2, 3, 4, 5), Exact(), F32)
    # The stranger (0, 10, 0) lies on the class's hyperplane, but not in the start.
    assert refinement.steps == (Step(4, 5, 0.0),)
    assert refinement.converged
    assert refinement.token_ids.tolist() == [0, 1, 2, 3]
    assert refinement.centroid.values.tolist() == [3, 1, 0]
    assert refinement.reason == "the centroid moved by 0, less than 0.001"


# h = (0, 4), h·h = 16, logits 16, 0, 32, 16. Then h = (−2, 4), h·h = 20, logits 20, −12, 36, 20.
MOVING = Matrix.of_values([[-2, 4], [6, 0], [-2, 8], [-2, 4]], F32)


def test_the_centroid_moves_to_its_members_until_it_stands_still() -> None:
    refinement = refine(MOVING, token_ids(0, 1, 2, 3), Exact(), F32)
    assert refinement.steps == (Step(2, 2, 2.0), Step(2, 2, 0.0))
    assert refinement.converged
    assert refinement.token_ids.tolist() == [0, 3]
    assert refinement.centroid.values.tolist() == [-2, 4]


def test_out_of_steps_the_members_are_of_the_centroid_that_is_returned() -> None:
    refinement = refine(MOVING, token_ids(0, 1, 2, 3), Exact(), F32, max_iterations=1)
    assert not refinement.converged
    assert refinement.reason == "the centroid still moved"
    assert refinement.steps == (Step(2, 2, 2.0),)
    assert refinement.token_ids.tolist() == [0, 3]
    assert refinement.centroid.values.tolist() == [0, 4]


def test_a_shift_below_the_tolerance_ends_it() -> None:
    everyone = token_ids(0, 1, 2, 3)
    assert len(refine(MOVING, everyone, Exact(), F32, tolerance=2.5).steps) == 1
    assert len(refine(MOVING, everyone, Exact(), F32, tolerance=2.0).steps) == 2


def test_without_members_it_stops_and_says_so() -> None:
    # h = (2, 1), h·h = 5; the start's logits are 8 and 2, the stranger's 5.
    matrix = Matrix.of_values([[4, 0], [0, 2], [1, 3]], F32)
    refinement = refine(matrix, token_ids(0, 1), Exact(), F32)
    assert not refinement.converged
    assert refinement.reason == "no member has the centroid's own logit"
    assert [(step.n_members, step.n_class) for step in refinement.steps] == [(0, 1)]
    assert refinement.token_ids.tolist() == []
    assert refinement.centroid.values.tolist() == [2, 1]


def test_the_order_of_the_start_does_not_matter() -> None:
    matrix, start = clustered(BF16, 0)
    forward = refine(matrix, start, Exact(), BF16)
    backward = refine(matrix, start[::-1].copy(), Exact(), BF16)
    assert backward.steps == forward.steps
    assert backward.token_ids.tolist() == forward.token_ids.tolist()
