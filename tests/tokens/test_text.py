"""How token text is shown: nothing that a terminal, or a reader, could be misled by."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isologit.tokens.text import text_of, visible, visible_bytes, visible_token

HOSTILE = [
    ("\x1b[2J", r'"\u001b[2J"'),
    ("\u202eexe.txt", r'"\u202eexe.txt"'),
    ("\u2066\u2069", r'"\u2066\u2069"'),
    ("a\nb\r\n", r'"a\nb\r\n"'),
    ("\x00", r'"\u0000"'),
    ("\u200b\ufeff", r'"\u200b\ufeff"'),
    ("\ud800", r'"\ud800"'),
    ("\U000e0001", r'"\U000e0001"'),
    ("\x85\u2028\u2029", r'"\u0085\u2028\u2029"'),
    ("a\ufe0f\U000e0101", r'"a\ufe0f\U000e0101"'),
    ("\u3164\u115f\u034f", r'"\u3164\u115f\u034f"'),
    ('\\n"', r'"\\n\""'),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_what_misleads_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_shown_text_is_printable_and_tells_texts_apart(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    # JSON knows \uXXXX; the escapes beyond the first plane are eight digits, as in Python.
    assert ast_of(shown) == text


def ast_of(shown: str) -> str:
    """Read shown text again, by a rule of its own."""
    inner, out, i = shown[1:-1], "", 0
    while i < len(inner):
        if inner[i] != "\\":
            out += inner[i]
            i += 1
            continue
        n = {"u": 4, "U": 8}.get(inner[i + 1])
        if n is None:
            out += json.loads(f'"{inner[i : i + 2]}"')
            i += 2
        else:
            out += chr(int(inner[i + 2 : i + 2 + n], 16))
            i += 2 + n
    return out


def test_long_text_is_cut_behind_the_quote() -> None:
    assert visible("abcdef", 3) == '"abc"…'
    assert visible("abc", 3) == '"abc"'
    assert visible_bytes(b"\xe0\xb8\x97", 2) == "<E0 B8 …>"


def test_a_token_is_shown_as_text_bytes_or_none() -> None:
    assert visible_token(b" the") == '" the"'
    assert visible_token(b"\xe0\xb8") == "<E0 B8>"
    assert visible_token(b"") == '""'
    assert visible_token(None) == "no token"


def test_text_is_what_utf8_alone_says() -> None:
    assert text_of("ที่".encode()) == "ที่"
    assert text_of(b"\xed\xa0\x80") is None  # a surrogate
    assert text_of(b"\xc0\x80") is None  # overlong
