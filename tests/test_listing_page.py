"""What the listing finds and shows of single tokens."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.cli import tokens as tokens_command
from isologit.listing import Filters, listing
from isologit.output.json_text import to_json
from isologit.token_findings import ClassTokens
from isologit.tokens.evidence import GRADES
from isologit.tokens.text import visible, visible_bytes
from tokens.small_tokenizers import BYTES, byte_level, save


def test_where_there_is_no_text_the_piece_is_searched(tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path / "t")
    piece = BYTES[0xA4]
    found = listing(str(folder), filters=Filters(pattern=piece)).tokens
    assert [token.id for token in found] == [0xA4]


def test_a_script_of_two_words_may_be_written_with_a_space(tmp_path: Path) -> None:
    folder = save(byte_level(["𐌀"]), tmp_path / "t")
    for name in ("Old Italic", "old_italic"):
        ran = isologit("tokens", folder, "--script", name, "--json")
        assert [token["id"] for token in ran.json["tokens"]] == [256]


def test_what_comes_out_again_is_shown_where_w_has_no_row_for_it(tmp_path: Path) -> None:
    made = byte_level(["<x>!"], added=[AddedToken("<x>")])
    folder = save(made, write_llama(tmp_path / "m", gaussian(257, 8)))
    (token,) = listing(str(folder), filters=Filters(token_ids=[256])).tokens
    assert (token.reencoded, token.reencoded_tokens) == ([257, ord("!")], ['"<x>"', '"!"'])


def test_a_witness_is_listed(tmp_path: Path) -> None:
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##z": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    (token,) = listing(str(save(made, tmp_path / "t")), filters=Filters(token_ids=[2])).tokens
    assert token.witness == "az"


def test_tokens_that_share_no_row_are_in_no_class(tmp_path: Path) -> None:
    values = gaussian(256, 8, seed=3)
    values[7] = values[9]
    folder = save(byte_level(), write_llama(tmp_path / "m", values))
    assert listing(str(folder), evidence=True).summary.in_classes == {"byte": 2}


def test_bytes_of_no_text_are_what_others_are_held_against(tmp_path: Path) -> None:
    folder = save(byte_level(), write_llama(tmp_path / "m", gaussian(256, 8, seed=3)))
    why = listing(str(folder), evidence=True, filters=Filters(token_ids=[0xC0])).tokens[0]
    assert any("UTF-8" in each for each in why.evidence_why or [])


def test_the_kind_of_model_says_how_text_is_cut(tmp_path: Path) -> None:
    vocab = {piece: n for n, piece in enumerate([*BYTES, "12"])}
    for folder in (tmp_path / "t", write_llama(tmp_path / "m", gaussian(257, 8))):
        folder.mkdir(exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(vocab))
        (folder / "merges.txt").write_text("#version: 0.2\n1 2\n")
        config = folder / "config.json"
        known = json.loads(config.read_text()) if config.exists() else {}
        config.write_text(json.dumps({**known, "model_type": "qwen2"}))
        (token,) = listing(str(folder), filters=Filters(token_ids=[256])).tokens
        assert token.cause == "pre_tokenizer"


@pytest.mark.parametrize("n_rows", [True, 0, -1, 3.5, "300", None])
def test_a_number_of_rows_that_is_none_is_not_known(n_rows: object, tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path / "t")
    (folder / "config.json").write_text(json.dumps({"vocab_size": n_rows}))
    assert listing(str(folder)).summary.rows is None


def test_a_weight_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path / "t")
    (folder / "x.safetensors").write_bytes(b"\x10")
    assert isologit("tokens", folder / "x.safetensors").code not in (0, 70)


def test_the_page_says_that_more_came_out_again(tmp_path: Path) -> None:
    folder = save(byte_level(["abcd", "abcde"]), tmp_path / "t")
    four, five = isologit("tokens", folder, "--id", "256-257").section("2 tokens kept")[1:3]
    assert " … (" not in four
    assert " … (" in five


def test_reasons_are_told_of_few_tokens_alone(tmp_path: Path) -> None:
    folder = save(byte_level(), write_llama(tmp_path / "m", gaussian(260, 8, seed=3)))
    assert "256: " in isologit("tokens", folder, "--id", "256-258", "--evidence").out
    assert "256: " not in isologit("tokens", folder, "--id", "256-259", "--evidence").out


def test_causes_come_with_the_most_frequent_first(tmp_path: Path) -> None:
    folder = save(byte_level(["xy", "xyz", "e\u0301"], nfc=True), tmp_path / "t")
    assert (
        "131 tokens do not survive encode(decode([id])): 128 bytes lost in decoding, "
        "2 composed of other pieces, 1 changed by the normalizer"
    ) in isologit("tokens", folder).out


def test_the_grades_of_the_command_are_those_of_the_evidence() -> None:
    assert tokens_command._GRADES == GRADES


def test_what_fits_is_not_cut() -> None:
    assert visible("abc", 3) == '"abc"'
    assert visible_bytes(b"\x80\x81", 2) == "<80 81>"


def test_json_escapes_what_latin_1_has_of_control_characters(tmp_path: Path) -> None:
    folder = save(byte_level(["x\x9b31m", "\x7f"]), tmp_path / "t")
    ran = isologit("tokens", folder, "--id", "127,256", "--json")
    assert all(c.isprintable() or c == "\n" for c in ran.out)
    assert ran.json["tokens"][1]["text"] == "x\x9b31m"


def test_keys_that_are_no_utf8_are_escaped_too() -> None:
    record = ClassTokens(size=1, mix={"\udc80": 1}, first=["\udc80"])
    assert json.loads(to_json(record))["mix"] == {"\\udc80": 1}
