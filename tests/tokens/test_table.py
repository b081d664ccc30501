"""Rows of the table beside the categories: holes, ends, and what is not known."""

from isologit.tokens.categories import CATEGORIES, categories_of, reserved_rows
from isologit.tokens.table import beyond_rows, beyond_rows_note, describe
from isologit.tokens.vocabulary import Tokenizer as Read
from isologit.tokens.vocabulary import TokenType, Vocabulary
from tokens.small_tokenizers import byte_level, read

NORMAL: list[TokenType] = ["normal"] * 6


def test_an_unreachable_token_with_a_reserved_name_is_reserved() -> None:
    table = describe(read(byte_level(["<unused7>", ">>UNUSED_1<<", "|unused1|"])))
    assert [table.category(i) for i in (256, 257, 258)] == ["reserved"] * 3


def test_bytes_that_are_no_text_are_partial_whatever_the_name() -> None:
    known = Vocabulary(["<unused1>"], [b"\xff"], ["normal"], byte_level=False)
    found = categories_of(known, None, reserved_rows(known, 1))
    assert CATEGORIES[found[0]] == "partial_utf8"


def test_a_special_byte_is_special() -> None:
    known = Vocabulary(["a", "b"], [b"a", b"b"], ["control", "unknown"], byte_level=True)
    found = categories_of(known, None, reserved_rows(known, 2))
    assert [CATEGORIES[n] for n in found] == ["special"] * 2


def test_a_piece_of_nothing_is_no_letter() -> None:
    known = Vocabulary(["", "a"], [b"", b"a"], ["normal", "added"], byte_level=True)
    found = categories_of(known, None, reserved_rows(known, 2))
    assert [CATEGORIES[n] for n in found] == ["ordinary"] * 2


def test_tokens_beyond_the_rows_are_not_counted() -> None:
    table = describe(read(byte_level()), 200)
    assert table.n_unreachable == 72
    assert table.never_in_utf8().shape == (200,)
    assert sum(table.scripts.counts().values()) == 128


def test_padding_has_no_script() -> None:
    table = describe(read(byte_level()), 300)
    assert table.scripts.name(299) is None
    assert sum(table.scripts.counts().values()) == 128


def test_a_byte_is_told_as_a_byte_and_what_is_unreachable_by_its_script() -> None:
    table = describe(read(byte_level(["xy", "日の"])))
    assert table.mix([97, 98, 256, 257]) == [("byte", 2), ("Han+Hiragana", 1), ("Latin", 1)]


def test_holes_beyond_the_rows_are_no_tokens() -> None:
    known = Vocabulary(
        [*"abcdef", None, "g"],
        [*(c.encode() for c in "abcdef"), None, b"g"],
        [*NORMAL, None, "normal"],
        byte_level=False,
    )
    tokenizer = Read(known, None, "here", "words")
    assert beyond_rows(tokenizer, 1) == [1, 2, 3, 4, 5, 7]
    (four,) = beyond_rows_note(tokenizer, 3)
    assert '3 "d", 4 "e", 5 "f", 7 "g"; a model' in four
    (six,) = beyond_rows_note(tokenizer, 1)
    assert '4 "e", …; a model' in six
