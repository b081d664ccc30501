"""Which tokens are selected by name, and which only if they are meant."""

from collections.abc import Sequence

import numpy as np
import pytest

from exportables import (
    CLASS,
    DEAD_BYTE,
    EOS,
    LETTER,
    LOST,
    PADDING,
    PART,
    RESERVED,
    RESERVED_SPECIAL,
    WORD,
    V,
    columns,
)
from isologit.errors import SelectionError, TokenIdError
from isologit.selection import NAMES, parse_names, select


def ids(*names: str) -> list[int]:
    return [int(token_id) for token_id in select(columns(), names).token_ids]


@pytest.mark.parametrize(
    ("names", "selected"),
    [
        (("padding",), PADDING),
        (("special",), [0, EOS, RESERVED_SPECIAL]),
        (("byte",), [LETTER, DEAD_BYTE]),
        (("partial_utf8",), [PART]),
        (("unreachable",), [LOST]),
        (("ordinary",), list(range(8, 64))),
        # A special token with a reserved name is one, and no other special token is.
        (("reserved",), [RESERVED_SPECIAL, RESERVED]),
        (("padding", "unreachable"), [LOST, *PADDING]),
        (("padding,unreachable",), [LOST, *PADDING]),
        (("untrained",), [DEAD_BYTE, RESERVED, LOST, *PADDING]),
        (("duplicates",), [DEAD_BYTE, RESERVED, LOST, *PADDING]),
        (("class:2",), [DEAD_BYTE, RESERVED, LOST, *PADDING]),
        (("duplicates", "special"), sorted({0, EOS, *CLASS} - {WORD, PART})),
        (("duplicates", "reserved"), [RESERVED_SPECIAL, DEAD_BYTE, RESERVED, LOST, *PADDING]),
        (("duplicates", f"id:{WORD}"), [DEAD_BYTE, RESERVED, LOST, WORD, *PADDING]),
        (("id:1,5-7",), [1, 5, 6, 7]),
        (("id:1,5-7,padding,id:69",), [1, 5, 6, 7, *PADDING]),
        ((f"id:{V - 1}",), [V - 1]),
    ],
)
def test_a_name_takes_what_it_says(names: Sequence[str], selected: list[int]) -> None:
    found = select(columns(), names).token_ids
    assert found.tolist() == sorted(selected)
    assert found.dtype == np.int32


@pytest.mark.parametrize("name", ["untrained", "duplicates", "class:2"])
def test_special_tokens_and_those_of_text_are_left_out_and_counted(name: str) -> None:
    selection = select(columns(), [name])
    assert selection.special.tolist() == [RESERVED_SPECIAL]
    of_text = {"untrained": sorted([PART, LETTER, WORD])}.get(name, sorted([PART, WORD]))
    assert selection.of_text.tolist() == of_text
    assert not set(of_text) & set(selection.token_ids.tolist())


def test_an_ordinary_token_whose_reachability_is_unknown_is_left_out_too() -> None:
    table = columns(reachable=[None] * V)
    selection = select(table, ["duplicates"])
    assert selection.of_text.tolist() == sorted([DEAD_BYTE, PART, WORD])
    assert LETTER not in select(columns(), ["untrained"]).token_ids


def test_what_is_allowed_is_the_rest() -> None:
    selection = select(columns(), ["padding"])
    assert np.flatnonzero(~selection.allowed).tolist() == PADDING
    assert selection.allowed.shape == (V,)


def test_names_are_listed_once_in_the_order_given() -> None:
    assert parse_names(["padding,id:1,2-3,reserved", "padding"]) == (
        *("padding", "id:1,2-3", "reserved"),
    )


@pytest.mark.parametrize(
    "name",
    [
        *("", "paddings", "Padding", "class:", "class:x", "class:-1", "id:", "id:1-", "id:9-5"),
        *("id:1,9-5", "1", "id:٣", "id:99999999999", "padding,,", "id:1,,2", "x\x1b[2J"),
    ],
)
def test_an_unknown_name_is_refused_with_the_list_of_names(name: str) -> None:
    with pytest.raises(ValueError, match="expected one of padding, special, byte") as caught:
        parse_names([name])
    assert "\x1b" not in str(caught.value)
    assert all(known in str(caught.value) for known in NAMES)


@pytest.mark.parametrize("name", [f"id:{V}", f"id:0-{V}", "id:9999999999"])
def test_an_id_beyond_the_rows_is_refused(name: str) -> None:
    with pytest.raises(TokenIdError, match="from 0 to 69"):
        ids(name)


def test_a_row_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(SelectionError, match="no row class 59: labels go from 0 to 58"):
        ids("class:59")


class TestNothing:
    """An empty selection is an error that says why."""

    def test_where_no_token_has_the_category(self) -> None:
        table = columns(category=["special"] * 3 + ["ordinary"] * (V - 3))
        with pytest.raises(SelectionError, match="padding takes no token") as caught:
            select(table, ["padding"])
        assert "3 special, 67 ordinary" in str(caught.value)
        assert "GGUF" in str(caught.value)

    def test_where_all_is_left_out(self) -> None:
        table = columns(category=["special"] * 3 + ["ordinary"] * (V - 3))
        with pytest.raises(SelectionError, match="nothing but 1 special token and 11 tokens of te"):
            select(table, ["duplicates"])

    def test_everything_is_refused_too(self) -> None:
        with pytest.raises(SelectionError, match="takes all 70 rows"):
            ids(f"id:0-{V - 1}")
        assert len(ids(f"id:0-{V - 2}")) == V - 1


class TestWithoutATokenizer:
    """What the rows are cannot be told, so nothing is guessed."""

    @pytest.mark.parametrize("name", ["padding", "reserved", "duplicates", "untrained", "class:2"])
    def test_names_are_refused_with_the_next_step(self, name: str) -> None:
        with pytest.raises(SelectionError, match="--tokenizer"):
            select(columns().drop_columns(["category", "reserved_name"]), [name])

    def test_ids_are_taken(self) -> None:
        table = columns().select(["token_id", "row_class", "row_class_size"])
        assert select(table, ["id:3"]).token_ids.tolist() == [3]

    def test_untrained_needs_the_evidence(self) -> None:
        with pytest.raises(SelectionError, match="no column evidence"):
            select(columns().drop_columns(["evidence"]), ["untrained"])
