"""`tokenizer.json` as the library reads it: exact bytes, types, and what cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken as LibraryToken
from tokenizers import Tokenizer, decoders, models

from isologit.errors import TokenizerFileError
from isologit.tokens.huggingface import add_missing, fallback_byte, of_library, read_tokenizer_json
from isologit.tokens.settings import AddedToken
from tokens.small_tokenizers import byte_level, read, save


def test_byte_level_pieces_are_their_bytes() -> None:
    known = read(byte_level([" ที่"], added=[LibraryToken("<é>", special=True)])).vocabulary
    assert [known.token_bytes[i] for i in range(256)] == [bytes([i]) for i in range(256)]
    assert known.token_bytes[256] == " ที่".encode()
    # An added token is text as it stands, though é is a letter of the byte alphabet too.
    assert known.token_bytes[257] == "<é>".encode()
    assert known.types[256:] == ["normal", "control"]
    assert known.byte_level


def test_an_added_token_that_is_not_special_is_told_so() -> None:
    known = read(byte_level(added=[LibraryToken("<think>")])).vocabulary
    assert known.types[256] == "added"


def test_marks_of_words_become_spaces_and_fallback_bytes_bytes(shared: Path) -> None:
    path = shared / "checkpoints" / "llama2xs-hf-bf16" / "tokenizer.json"
    known = read_tokenizer_json(path).vocabulary
    assert known.types[:3] == ["control", "control", "control"]
    assert known.types[3:259] == ["byte"] * 256
    assert known.token_bytes[3:259] == [bytes([byte]) for byte in range(256)]
    assert known.token_bytes[known.pieces.index("▁the")] == b" the"
    assert not known.byte_level


def test_word_pieces_lose_their_mark() -> None:
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "play": 1, "##ing": 2}, unk_token="[UNK]"))
    made.decoder = decoders.WordPiece()
    known = read(made).vocabulary
    assert known.token_bytes == [b"[UNK]", b"play", b"ing"]
    assert known.types[0] == "unknown"


def test_ends_of_words_become_spaces() -> None:
    made = Tokenizer(models.BPE(vocab={"a": 0, "a</w>": 1}, merges=[], end_of_word_suffix="</w>"))
    made.decoder = decoders.BPEDecoder("</w>")
    assert read(made).vocabulary.token_bytes == [b"a", b"a "]


@pytest.mark.parametrize(
    ("piece", "byte"),
    [
        ("<0x0A>", 10),
        ("<0xFF>", 255),
        ("<0xFG>", None),
        ("<0x0A", None),
        ("0x0A", None),
        ("", None),
    ],
)
def test_only_a_byte_in_brackets_is_a_fallback(piece: str, byte: int | None) -> None:
    assert fallback_byte(piece) == byte


def test_holes_in_the_ids_are_holes() -> None:
    made = Tokenizer(models.WordLevel({"a": 0, "b": 4}, unk_token="a"))
    known = read(made).vocabulary
    assert known.pieces == ["a", None, None, None, "b"]
    assert known.n_tokens == 2
    assert known.has(4)
    assert not any(known.has(i) for i in (-1, 1, 5))


def test_two_pieces_of_one_id_are_told() -> None:
    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 1}, unk_token="a"))
    known = read(made)
    assert known.notes == ("1 piece of tokenizer.json has the id of another piece",)


def test_tokens_of_the_config_are_added_once_and_in_the_order_of_their_ids() -> None:
    made = byte_level(added=[LibraryToken("<a>", special=True)])
    given = [AddedToken(258, "<c>", special=False), AddedToken(257, "<b>", special=True)]
    add_missing(made, [*given, AddedToken(256, "<a>", special=True)])
    assert [made.id_to_token(i) for i in (256, 257, 258)] == ["<a>", "<b>", "<c>"]
    known = of_library(made, "x").vocabulary
    assert known.types[256:] == ["control", "control", "added"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "{}", '{"model": null}', '{"model": {"type": "BPE"}}'),
        '{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}',
        '{"version": "1.0", "model": {"type": "Nonsense"}}',
        '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {}, "unk_token": "a"}}',
        '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": -1}, "unk_token": "a"}}',
    ],
)
def test_what_is_no_tokenizer_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(TokenizerFileError) as refused:
        read_tokenizer_json(path)
    assert "tokenizer.json" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_id_beyond_all_vocabularies_allocates_nothing(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 4_000_000_000}, "unk_token": "a"}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "model": model}))
    with pytest.raises(TokenizerFileError, match="4,000,000,000"):
        read_tokenizer_json(path)


def test_bytes_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b'{"model": "\xff"}')
    with pytest.raises(TokenizerFileError, match="cannot be read"):
        read_tokenizer_json(path)


def test_what_the_library_panics_on_is_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        pass

    def panics(_text: str) -> Any:
        raise Panic("index out of bounds")

    monkeypatch.setattr("tokenizers.Tokenizer.from_str", panics)
    path = save(byte_level(), tmp_path) / "tokenizer.json"
    with pytest.raises(TokenizerFileError, match="index out of bounds"):
        read_tokenizer_json(path)
