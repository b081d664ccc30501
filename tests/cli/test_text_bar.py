"""A bar in one line, and durations in words."""

import pytest

from isologit.cli.text_bar import duration, text_bar


def test_a_bar_is_full_where_all_is_done_alone() -> None:
    assert text_bar(0, 10) == "╌" * 24 + " 0 of 10"
    assert text_bar(9_999, 10_000) == "━" * 23 + "╌ 9,999 of 10,000"
    assert text_bar(10, 10) == "━" * 24 + " 10 of 10"
    assert text_bar(0, 0).endswith("0 of 0")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (5_399, "90 min"), (5_400, "1.5 h")],
)
def test_a_duration_is_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert duration(seconds) == words
