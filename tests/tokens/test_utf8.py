"""Which bytes are part of some text in UTF-8."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.tokens.utf8 import is_part_of_text

# Beginnings and ends of which one completes whatever part of a text two bytes can be.
TAILS = [b"", *(bytes(tail) for n in (1, 2, 3) for tail in product((0x80, 0x90, 0xA0), repeat=n))]
LEADS = [
    b"",
    *(b"\xc2", b"\xe0", b"\xe0\xa0", b"\xe1", b"\xe1\x80", b"\xed", b"\xf0", b"\xf0\x90"),
    *(b"\xf0\x90\x80", b"\xf1", b"\xf1\x80", b"\xf1\x80\x80", b"\xf4"),
]
EDGES = (
    *(0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0),
    *(0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF),
)


def held_by_some_text(raw: bytes) -> bool:
    """Try every beginning and end: slow and obvious."""
    for before, after in product(LEADS, TAILS):
        try:
            (before + raw + after).decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False


def test_thirteen_bytes_are_in_no_text() -> None:
    never = [byte for byte in range(256) if not is_part_of_text(bytes([byte]))]
    assert never == [0xC0, 0xC1, *range(0xF5, 0x100)]


@pytest.mark.parametrize("first", EDGES)
def test_two_bytes_are_part_of_text_exactly_where_some_text_holds_them(first: int) -> None:
    for second in EDGES:
        raw = bytes([first, second])
        assert is_part_of_text(raw) == held_by_some_text(raw), raw


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.data())
def test_any_piece_of_a_text_is_part_of_one(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    start = data.draw(st.integers(0, len(raw)))
    assert is_part_of_text(raw[start : data.draw(st.integers(start, len(raw)))])


@pytest.mark.parametrize(
    "raw",
    [
        b"\xe0\x80",
        b"\xed\xa0",
        b"\xf4\x90",
        b"\xc3A",
        b"\x80\x80\x80\x80",
        b"A\xf8",
        b"\xe1\x80\xc2A",
    ],
)
def test_overlong_surrogates_and_broken_sequences_are_not(raw: bytes) -> None:
    assert not is_part_of_text(raw)
