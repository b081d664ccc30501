"""Tokenizers that are hostile, broken or odd: a line or a note, the truth, and no long time."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.listing import Filters, listing
from isologit.subject import Settings
from isologit.tokens.huggingface import fallback_byte
from isologit.tokens.names import is_reserved_name
from isologit.tokens.reachability import Reachability, reachability
from isologit.tokens.text import visible
from tokens.small_tokenizers import BYTES, byte_level, read, save


def of(tokenizer: Tokenizer) -> Reachability:
    known = read(tokenizer)
    assert known.encoder is not None
    return reachability(known.vocabulary, known.encoder)


def word_level_without_its_unknown_token() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"a": 0, "b c": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def unigram_without_an_unknown_token() -> Tokenizer:
    made = Tokenizer(models.Unigram([("a", -2.0), ("zb", -1.5)]))
    made.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("z")
    return made


def panics() -> Tokenizer:
    made = byte_level(["x" * 40])
    byte_part = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(Regex(r"(x+x+)+y"), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, byte_part])
    return made


@pytest.mark.parametrize(
    "made", [word_level_without_its_unknown_token, unigram_without_an_unknown_token, panics]
)
def test_an_encoder_that_fails_is_no_fault_of_isologit(
    made: Callable[[], Tokenizer], tmp_path: Path
) -> None:
    model = save(made(), write_llama(tmp_path / "m", gaussian(300, 8)))
    ran = isologit("tokens", model)
    assert "fault in isologit" not in ran.err
    assert "Traceback" not in ran.err
    # In an audit it is a note.
    assert isologit("audit", model, "--json").code == 0


@pytest.mark.parametrize(
    "config",
    [
        '{"added_tokens_decoder": {"256": {"content": "\\ud800"}}}',
        json.dumps({"added_tokens_decoder": {"1" * 5000: {"content": "<x>"}}}),
    ],
)
def test_a_hostile_config_ends_in_a_line(config: str, tmp_path: Path) -> None:
    model = save(byte_level(), write_llama(tmp_path / "m", gaussian(260, 8)))
    (model / "tokenizer_config.json").write_text(config)
    assert "fault in isologit" not in isologit("tokens", model).err
    assert isologit("audit", model, "--json").code == 0


def test_an_id_of_many_digits_is_a_usage_error(tmp_path: Path) -> None:
    model = save(byte_level(), tmp_path / "t")
    assert isologit("tokens", model, "--id", "1" * 5000).code == 2


def test_more_rows_than_any_vocabulary_has_are_not_believed(tmp_path: Path) -> None:
    # 2**31 - 1 rows are 17 GB for one list; try it with RLIMIT_AS only.
    model = save(byte_level(), tmp_path / "t")
    (model / "config.json").write_text(json.dumps({"vocab_size": (1 << 24) + 1}))
    assert listing(str(model), filters=Filters(token_ids=[1])).summary.rows is None


def test_a_tensor_that_is_named_and_not_there_is_an_error(tmp_path: Path) -> None:
    model = save(byte_level(), write_llama(tmp_path / "m", gaussian(260, 8)))
    assert isologit("tokens", model, "--tensor", "nope").code != 0


def test_causes_add_up_to_what_does_not_survive(tmp_path: Path) -> None:
    model = save(byte_level(), write_llama(tmp_path / "m", gaussian(200, 8)))
    summary = listing(str(model)).summary
    assert summary.unreachable == sum(summary.causes.values()) == 72


def test_spaces_that_the_normalizer_has_marked_are_not_cut_at() -> None:
    """Gemma's pipeline: the pre-tokenizer never meets a space."""
    made = Tokenizer(
        models.BPE(vocab={"▁": 0, "o": 1, "f": 2, "of": 3, "of▁of": 4}, merges=[("o", "f")])
    )
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    assert made.encode("of of").tokens == ["of", "▁", "of"]
    assert of(made).lost[4].cause == "no_merge_path"


def test_a_text_with_the_mark_itself_is_not_changed_by_a_normalizer_that_is_not_there() -> None:
    assert of(byte_level(["▁1"])).lost[256].cause == "no_merge_path"


def test_a_word_piece_that_is_lost_has_not_lost_bytes() -> None:
    """bert-base-chinese has thousands: ## before a character that always stands alone."""
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "中": 1, "##中": 2}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    assert of(made).lost[2].cause != "decoding_loses_bytes"


def test_a_token_that_comes_out_of_its_own_text_is_reachable() -> None:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    found = of(made)
    assert 0 in found.lost[0].reencoded
    assert found.reachable[0] == 1


def test_one_directory_has_one_tokenizer_however_it_is_named(tmp_path: Path) -> None:
    vocab = {piece: n for n, piece in enumerate([*BYTES, "12"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n1 2\n")
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    one = listing(str(tmp_path), filters=Filters(token_ids=[256])).tokens
    assert (
        one
        == listing(
            str(tmp_path), Settings(tokenizer=str(tmp_path)), filters=Filters(token_ids=[256])
        ).tokens
    )
    assert one == listing(str(tmp_path / "vocab.json"), filters=Filters(token_ids=[256])).tokens


def test_a_template_that_is_too_large_is_told(tmp_path: Path) -> None:
    model = save(byte_level(), tmp_path / "t")
    (model / "chat_template.jinja").write_text("x" * ((4 << 20) + 1))
    assert any(
        note.startswith("chat_template.jinja is left out") for note in listing(str(model)).notes
    )


def test_two_pieces_of_one_text_are_both_tokens() -> None:
    known = read(Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("a", -2.0)], unk_id=0)))
    assert known.vocabulary.n_tokens == 3


@pytest.mark.parametrize("piece", ["<0x 1>", "<0x٣٣>"])
def test_a_byte_has_two_digits_of_ascii(piece: str) -> None:
    assert fallback_byte(piece) is None


@pytest.mark.parametrize(
    "text", ["a\ufe0f", "\u3164", "a\u034f", "\u115f", "\u2800", "x\U000e0101"]
)
def test_what_cannot_be_seen_is_escaped(text: str) -> None:
    assert "\\" in visible(text)


def test_a_long_text_is_no_name_and_is_not_looked_through() -> None:
    # Its pattern would take minutes.
    assert not is_reserved_name("<" + "unused" * 50_000 + ">")


def test_the_page_cuts_what_a_token_is_encoded_again_as(tmp_path: Path) -> None:
    long = "y" * 5_000
    made = byte_level([long, long + "é"], added=[AddedToken(long)])
    ran = isologit("tokens", save(made, tmp_path / "t"), "--limit", "0")
    assert ran.out.count("y") < 600
