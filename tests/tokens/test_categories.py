"""Each row's one category: the first of seven that applies."""

from pathlib import Path

import numpy as np
from tokenizers import AddedToken

from isologit.tokens.categories import CATEGORIES, categories_of, reserved_rows
from isologit.tokens.reachability import reachability
from isologit.tokens.table import TokenTable, beyond_rows, beyond_rows_note, describe
from isologit.tokens.vocabulary import Encoder, Tokenizer, TokenType, Vocabulary
from real_tokenizers import qwen3
from tokens.small_tokenizers import byte_level, read


def vocabulary(*tokens: tuple[str | None, bytes | None, TokenType | None]) -> Vocabulary:
    pieces, raw, types = zip(*tokens, strict=True)
    return Vocabulary(pieces, raw, types, byte_level=False)


def names(known: Vocabulary, n_rows: int) -> list[str]:
    return [
        CATEGORIES[n] for n in categories_of(known, None, reserved_rows(known, n_rows)).tolist()
    ]


def test_the_first_category_that_applies_is_the_one() -> None:
    known = vocabulary(
        ("<unk>", b"<unk>", "unknown"),
        ("<|reserved_special_token_0|>", b"<|reserved_special_token_0|>", "control"),
        ("<0xC3>", b"\xc3", "byte"),
        ("x", b"\xc3x", "normal"),
        ("<unused1>", b"<unused1>", "normal"),
        ("▁the", b" the", "normal"),
        ("gone", b"gone", "unused"),
        (None, None, None),
        ("<think>", b"<think>", "added"),
    )
    assert names(known, 10) == [
        *("special", "special", "byte", "partial_utf8", "reserved", "ordinary", "reserved"),
        *("padding", "ordinary", "padding"),
    ]
    # A special token can have a reserved name too; the mark is told apart from the category.
    assert np.flatnonzero(reserved_rows(known, 10)).tolist() == [1, 4, 6]


def test_rows_are_cut_where_w_ends() -> None:
    known = vocabulary(("a", b"a", "normal"), ("b", b"b", "normal"))
    assert names(known, 1) == ["ordinary"]
    assert reserved_rows(known, 1).shape == (1,)


def test_a_letter_of_the_byte_alphabet_is_a_byte_and_an_added_letter_is_not() -> None:
    found = describe(read(byte_level(["ab"], [("a", "b")], added=[AddedToken("中")])))
    assert found.counts()["byte"] == 256
    assert found.category(ord("a")) == "byte"
    assert found.category(256) == "ordinary"
    assert found.category(257) == "ordinary"


def test_unreachable_is_what_no_known_text_is_encoded_with() -> None:
    known = read(byte_level(["ab", "xy"], [("a", "b")]))
    assert known.encoder is not None
    reached = reachability(known.vocabulary, known.encoder)
    found = categories_of(known.vocabulary, reached, reserved_rows(known.vocabulary, 300))
    assert CATEGORIES[found[257]] == "unreachable"
    assert CATEGORIES[found[256]] == "ordinary"
    # Where it was not checked nothing is called so.
    unchecked = categories_of(known.vocabulary, None, reserved_rows(known.vocabulary, 300))
    assert CATEGORIES[unchecked[257]] == "ordinary"


def test_qwen3_has_the_published_padding_and_the_counted_categories(shared: Path) -> None:
    found = describe(qwen3(shared), 151_936)
    assert found.counts() == {
        "padding": 267,
        "special": 14,
        "byte": 256,
        "partial_utf8": 1_320,
        "reserved": 0,
        "unreachable": 1_909,
        "ordinary": 148_170,
    }
    assert found.n_unreachable == 3_357
    assert found.text(124_000) == qwen3(shared).vocabulary.texts[124_000]
    # Beyond the tokenizer every question has an answer.
    assert found.raw(151_900) is None
    assert found.reachable(151_900) is None
    assert found.survives(151_900) is None
    assert found.shown(151_900) == "no token"


class TestTable:
    """What is asked of rows, whatever the tokenizer."""

    def table(self, encoder: Encoder | None = None) -> TokenTable:
        known = vocabulary(
            ("ที่", "ที่".encode(), "normal"),
            ("a", b"a", "normal"),
            ("<s>", b"<s>", "control"),
            ("x", b"\xe0\xb8", "normal"),
        )
        return describe(Tokenizer(known, encoder, "here", "words"), 6)

    def test_a_mix_counts_scripts_of_text_and_categories_of_the_rest(self) -> None:
        assert self.table().mix(range(6)) == [
            ("padding", 2),
            ("Latin", 1),
            ("Thai", 1),
            ("partial UTF-8", 1),
            ("special", 1),
        ]
        assert self.table().mix([]) == []

    def test_without_an_encoder_reachability_is_not_known(self) -> None:
        table = self.table()
        assert table.n_unreachable is None
        assert table.survives(0) is None
        assert table.reachable(0) is None
        assert table.lost(0) is None
        assert table.counts()["unreachable"] == 0

    def test_bytes_of_no_text_are_found(self) -> None:
        known = vocabulary(("a", b"\xff", "byte"), ("b", b"\x80", "byte"), ("c", b"c", "normal"))
        table = describe(Tokenizer(known, None, "here", "bytes"), 4)
        assert table.never_in_utf8().tolist() == [True, False, False, False]

    def test_ids_beyond_the_rows_are_warned_of(self) -> None:
        known = self.table().tokenizer
        assert beyond_rows(known, 2) == [2, 3]
        (note,) = beyond_rows_note(known, 2)
        assert note.startswith(
            'the tokenizer has 2 ids beyond the last row of W, 1: 2 "<s>", 3 <E0'
        )
        assert beyond_rows_note(known, 4) == []
