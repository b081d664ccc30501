"""Thinning: every point is in exactly one mark, and a mark is of one group."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from isologit.output.thinning import MOST_MARKS, Marks, thinned

# Few different numbers, so that points meet; and any that a table can hold.
_NUMBERS = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(width=32),
)


@st.composite
def points(
    draw: st.DrawFn,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Draw places, some of them none, and groups."""
    n = draw(st.integers(0, 60))
    x, y = (
        np.array(draw(st.lists(_NUMBERS, min_size=n, max_size=n)), np.float64) for _ in range(2)
    )
    groups = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.int64)
    return x, y, groups


def cloud(n: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(5)
    return rng.normal(size=n), rng.normal(size=n)


def check(
    marks: Marks,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
) -> None:
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    # Nothing is dropped and nothing is counted twice.
    assert np.sort(marks.members).tolist() == placed.tolist()
    assert marks.left_out == len(x) - len(placed)
    assert marks.counts.sum() == len(placed)
    assert (marks.counts > 0).all()
    assert len(marks.x) == len(marks.y) == len(marks.groups) == len(marks.counts)
    assert (np.diff(marks.groups) >= 0).all()
    for n in range(len(marks)):
        own = marks.of(n)
        assert set(groups[own]) == {marks.groups[n]}
        assert (np.diff(own) > 0).all()
        assert (marks.x[n], marks.y[n]) == (x[own[0]], y[own[0]])
        if not marks.merged:
            assert len({(x[i], y[i]) for i in own}) == 1


@given(points(), st.integers(1, 20))
def test_every_finite_point_is_in_one_mark_of_its_own_group(
    drawn: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]],
    at_most: int,
) -> None:
    x, y, groups = drawn
    marks = thinned(x, y, groups, at_most=at_most)
    check(marks, x, y, groups)
    placed = np.isfinite(x) & np.isfinite(y)
    occurring = len(set(groups[placed]))
    assert len(marks) <= max(at_most, occurring)
    places = set(zip(x[placed] + 0, y[placed] + 0, groups[placed], strict=True))
    if len(places) <= at_most:
        # Each place its own mark, and each mark its own place.
        assert len(marks) == len(places)
        assert not marks.merged


def test_of_many_points_the_finest_grid_is_taken() -> None:
    x, y = cloud(30_000)
    groups = np.arange(30_000, dtype=np.int64) % 3
    marks = thinned(x, y, groups)
    check(marks, x, y, groups)
    assert marks.merged
    # A grid of twice as many rows has about as many times more marks as it has cells.
    assert MOST_MARKS * 0.8 < len(marks) <= MOST_MARKS


def test_few_points_are_marks_of_their_own() -> None:
    x, y = cloud(MOST_MARKS)
    marks = thinned(x, y, np.zeros(MOST_MARKS, np.int64))
    assert marks.counts.tolist() == [1] * MOST_MARKS
    assert not marks.merged
    more = thinned(*cloud(MOST_MARKS + 1), np.zeros(MOST_MARKS + 1, np.int64))
    assert more.merged
    assert len(more) <= MOST_MARKS


def test_a_mark_s_points_lie_in_one_cell() -> None:
    x, y = cloud(30_000)
    marks = thinned(x, y, np.zeros(30_000, np.int64), at_most=500)
    across, up = np.ptp(x), np.ptp(y)
    for n in range(len(marks)):
        own = marks.of(n)
        # 500 marks of a round cloud: a grid of some 20 rows and 40 columns.
        assert np.ptp(y[own]) <= up / 15
        assert np.ptp(x[own]) <= across / 30


def test_points_at_one_place_are_one_mark_a_group() -> None:
    same = np.ones(9)
    marks = thinned(same, same, np.array([0, 1, 2] * 3, np.int64), at_most=1)
    assert marks.groups.tolist() == [0, 1, 2]
    assert marks.counts.tolist() == [3, 3, 3]


def test_numbers_as_far_apart_as_there_are() -> None:
    x = np.array([-1.7e308, 1.7e308, 0.0, 5e-324] * 20)
    y = np.array([0.0, 5e-324] * 40)
    marks = thinned(x, y, np.zeros(80, np.int64), at_most=2)
    check(marks, x, y, np.zeros(80, np.int64))
    assert len(marks) <= 2


def test_least_and_most_pass_over_what_is_no_number() -> None:
    place = np.zeros(4)
    marks = thinned(place, place, np.array([0, 0, 1, 1], np.int64))
    values = np.array([np.nan, 2.0, np.nan, np.nan])
    assert marks.least(values).tolist()[0] == marks.most(values).tolist()[0] == 2.0
    assert np.isnan(marks.least(values)[1])
    assert np.isnan(marks.most(values)[1])
    both = np.array([3.0, 1.0, 4.0, 5.0])
    assert marks.least(both).tolist() == [1.0, 4.0]
    assert marks.most(both).tolist() == [3.0, 5.0]
