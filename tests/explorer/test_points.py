"""Points as text: each comes back as what it was, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.errors import PointError
from isologit.explorer.points import (
    MOST_SEEN,
    Asked,
    ClassPoint,
    ClusterPoint,
    FilePoint,
    MixPoint,
    Point,
    SpherePoint,
    TokenPoint,
    parse_point,
    parse_query,
)

ids = st.integers(0, 2**31)
degrees = st.floats(-90, 90, allow_nan=False).map(lambda x: round(x, 6))
single = st.one_of(
    st.builds(TokenPoint, ids),
    st.builds(ClassPoint, ids),
    st.just(ClusterPoint()),
    st.builds(FilePoint, ids),
    st.builds(
        SpherePoint,
        degrees,
        degrees,
        st.none() | st.floats(1e-6, 1e6).map(lambda x: float(f"{x:.6g}")),
    ),
)
points = st.builds(
    Point,
    single | st.builds(MixPoint, st.integers(0, 1000), single, single),
    st.booleans(),
)


@given(points)
def test_a_point_comes_back_as_what_it_was(point: Point) -> None:
    assert parse_point(str(point)) == point


@given(st.builds(Asked, st.none() | points, st.lists(points, max_size=8), st.integers(1, 1000)))
def test_an_address_comes_back_as_what_it_asked(asked: Asked) -> None:
    asked = Asked(asked.at, tuple(dict.fromkeys(asked.seen)), asked.top)
    found = parse_query("?" + asked.query())
    assert found == asked
    # Nothing of it is more than letters, digits and a few signs, even before a browser has it.
    assert set(asked.query()) <= set(
        "abcdefghijklmnopqrstuvwxyz0123456789=&:,()!~.-+%ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("token:5", Point(TokenPoint(5))),
        ("class:0!rim", Point(ClassPoint(0), rim=True)),
        ("sphere:-7.5,6", Point(SpherePoint(-7.5, 6.0))),
        ("sphere:1e-07,0,2.5", Point(SpherePoint(1e-7, 0.0, 2.5))),
        ("mix:0.25(token:1)(cluster)", Point(MixPoint(250, TokenPoint(1), ClusterPoint()))),
        ("mix:1.000(token:1)(state:2)", Point(MixPoint(1000, TokenPoint(1), FilePoint(2)))),
    ],
)
def test_points_are_written_as_documented(text: str, point: Point) -> None:
    assert parse_point(text) == point


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "token",
            "token:",
            "token:-1",
            "token:1.5",
            "token:05",
            "token:٥",
            "token:99999999999",
        ),
        *(
            "cluster:",
            "Token:5",
            "token:5 ",
            " token:5",
            "token:5\n",
            "../../etc/passwd",
            "file:/x",
        ),
        *(
            "sphere:1",
            "sphere:1,2,3,4",
            "sphere:91,0",
            "sphere:0,361",
            "sphere:nan,0",
            "sphere:1,inf",
        ),
        *("sphere:1,2,0", "sphere:1,2,-3", "sphere:1,2,1e999"),
        *("mix:2(token:1)(token:2)", "mix:0.1234(token:1)(token:2)", "mix:0.5(token:1)"),
        *("mix:.5(token:1)(token:2)", "mix:1.1(token:1)(token:2)", "mix:1..(token:1)(token:2)"),
        *("mix:0.5(mix:0.5(token:1)(token:2))(token:3)", "mix:0.5(token:1!rim)(token:2)"),
        *("token:5!rim!rim", "!rim", "x" * 1000),
    ],
)
def test_what_is_no_point_is_refused_in_words(text: str) -> None:
    with pytest.raises(PointError, match=r"expected|is no point|positive"):
        parse_point(text)


@pytest.mark.parametrize(
    "query",
    [
        "?top=0",
        "?top=1001",
        "?top=x",
        "?at=x",
        "?seen=token:1~x",
        "?seen=" + "~".join(f"token:{n}" for n in range(MOST_SEEN + 1)),
        "?" + "&".join(f"k{n}=1" for n in range(17)),
    ],
)
def test_an_address_that_asks_for_nothing_that_is_there_is_refused(query: str) -> None:
    with pytest.raises(PointError):
        parse_query(query)


def test_what_was_looked_at_is_seen_once_one_goes_on() -> None:
    one, two, three = (Point(TokenPoint(n)) for n in (1, 2, 3))
    asked = Asked(one).moved_to(two)
    assert (asked.at, asked.seen, asked.visited) == (two, (one,), (one, two))
    # What is looked at again is not among what was seen before; nor is it counted twice.
    again = asked.moved_to(three).moved_to(one)
    assert (again.at, again.seen, again.visited) == (one, (two, three), (two, three, one))
    assert Asked().moved_to(one) == Asked(one)
    many = Asked()
    for n in range(MOST_SEEN + 10):
        many = many.moved_to(Point(TokenPoint(n)))
    # The last are kept.
    assert many.seen == tuple(Point(TokenPoint(n)) for n in range(9, MOST_SEEN + 9))
    assert parse_query(many.query()) == many
    assert len(many.visited) == MOST_SEEN + 1


def test_an_empty_address_asks_for_nothing_and_other_keys_are_left_alone() -> None:
    assert parse_query("") == parse_query("?") == parse_query("?at=&x=1") == Asked()
    assert parse_query("?seen=token:1~token:1").seen == (Point(TokenPoint(1)),)
