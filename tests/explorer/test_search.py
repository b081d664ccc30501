"""Tokens are found by text, id and bytes, the best first, and nothing typed is an error."""

from pathlib import Path

import pytest

from checkpoints import gaussian, write_llama
from isologit.explorer.opened import open_explored
from isologit.explorer.search import Search
from isologit.subject import Settings, open_subject
from tokens.small_tokenizers import byte_level, save

V = 300
# With bytes of its alphabet in front, 256 of them.
WORDS = ["the", "The", "then", "bathe", "LATHE", "3"]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    path = write_llama(tmp_path_factory.mktemp("model") / "m", gaussian(V, 8, seed=1))
    save(byte_level(WORDS), path)
    return Search(open_explored(str(path), Settings(), open_subject))


def texts(search: Search, typed: str, limit: int = 50) -> list[str]:
    return [each.text.strip('"') for each in search.find(typed, limit)]


def test_what_is_the_text_comes_first_then_what_begins_with_it(search: Search) -> None:
    assert texts(search, "the") == ["the", "then", "bathe", "The", "LATHE"]
    assert texts(search, "the", 2) == ["the", "then"]
    assert texts(search, "The") == ["The", "the", "then", "bathe", "LATHE"]
    assert texts(search, "absent") == []
    assert texts(search, "") == []


def test_a_number_is_an_id_and_text_too(search: Search) -> None:
    found = search.find("3")
    assert found[0].token == 3
    assert "3" in [each.text.strip('"') for each in found[1:]]
    assert search.find("#3")[0].token == 3
    assert [each.token for each in search.find("299")] == [299]
    assert search.find("299")[0].text == "no token"
    assert search.find("300") == []
    assert search.find("9" * 10) == []


def test_bytes_are_found_as_they_are_shown_and_as_hex(search: Search) -> None:
    for typed in ("<FF>", "<ff>", "0xFF", "0xff"):
        (found,) = search.find(typed)
        assert found.text == "<FF>"
        assert found.kind == "byte"
    assert "the" in texts(search, "0x746865")
    assert "the" in texts(search, "<74 68 65>")


@pytest.mark.parametrize("typed", ["\ud800", "\x00", "%", "(", "<>", "0x", "<F>", "é" * 1000, "\\"])
def test_nothing_that_is_typed_is_an_error(search: Search, typed: str) -> None:
    search.find(typed)


def test_without_a_tokenizer_ids_are_found(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "m", gaussian(V, 8, seed=1))
    search = Search(open_explored(str(path), Settings(), open_subject))
    assert search.find("the") == []
    assert [each.token for each in search.find("17")] == [17]
    assert search.find("17")[0].text == ""
