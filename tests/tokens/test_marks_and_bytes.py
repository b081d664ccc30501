"""How a tokenizer of the library marks words, and what bytes its pieces stand for."""

from typing import Any

import pytest
from tokenizers import AddedToken as LibraryToken
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from isologit.errors import TokenizerFileError
from isologit.tokens.huggingface import MAX_ID, LibraryEncoder, add_missing, of_library
from isologit.tokens.settings import AddedToken
from tokens.small_tokenizers import byte_level, read


def bpe(**more: object) -> Tokenizer:
    return Tokenizer(models.BPE(vocab={"x": 0, "▁x": 1, "▁": 2}, merges=[("▁", "x")], **more))


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "marks"),
    [
        (None, None, False),
        (normalizers.Prepend("▁"), None, True),
        (normalizers.Replace(" ", "▁"), None, False),
        (None, pre_tokenizers.Metaspace(prepend_scheme="always"), True),
        (None, pre_tokenizers.Metaspace(prepend_scheme="never"), False),
        (None, pre_tokenizers.ByteLevel(add_prefix_space=True), True),
        (None, pre_tokenizers.ByteLevel(add_prefix_space=False), False),
        # What the normalizer puts there may be cut off again.
        (normalizers.Prepend(" "), pre_tokenizers.Whitespace(), False),
        (normalizers.Prepend(" "), pre_tokenizers.Metaspace(prepend_scheme="never"), True),
    ],
)
def test_whether_words_are_marked_is_seen_from_a_letter(
    normalizer: Any, pre_tokenizer: Any, marks: bool
) -> None:
    made = bpe()
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    assert LibraryEncoder(made).marks_words is marks


def test_words_whose_parts_are_marked() -> None:
    assert LibraryEncoder(bpe(end_of_word_suffix="</w>")).marks_words
    # Merges of pieces without the prefix would make the library panic.
    made = Tokenizer(models.BPE(vocab={"x": 0}, merges=[], continuing_subword_prefix="##"))
    assert LibraryEncoder(made).marks_words


def test_an_unknown_token_that_is_added_is_unknown() -> None:
    made = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    made.add_special_tokens(["<unk>"])
    assert read(made).vocabulary.types == ["unknown"]


def test_an_added_token_that_looks_like_a_byte_is_none() -> None:
    made = Tokenizer(models.BPE(vocab={"<0x0A>": 0}, merges=[], byte_fallback=True))
    made.add_tokens([LibraryToken("<0x0B>")])
    known = read(made).vocabulary
    assert known.types == ["byte", "added"]
    assert known.token_bytes == [b"\n", b"<0x0B>"]


def test_what_a_file_declares_goes_before_what_is_added() -> None:
    made = byte_level(added=[LibraryToken("<a>", special=True)])
    assert (
        of_library(made, "x", types={256: "user_defined"}).vocabulary.types[256] == "user_defined"
    )


def test_the_largest_id_that_is_read() -> None:
    made = Tokenizer(models.WordLevel({"a": 0, "b": MAX_ID + 1}, unk_token="a"))
    with pytest.raises(TokenizerFileError, match=f"{MAX_ID + 1:,}"):
        read(made)


def test_a_mark_of_words_is_taken_off_once_and_where_the_decoder_does_it() -> None:
    vocab = {"[UNK]": 0, "##a##b": 1}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    assert read(made).vocabulary.token_bytes[1] == b"##a##b"
    made.decoder = decoders.WordPiece()
    assert read(made).vocabulary.token_bytes[1] == b"a##b"


def test_a_decoder_that_falls_back_is_enough() -> None:
    made = Tokenizer(models.BPE(vocab={"<0x0A>": 0}, merges=[]))
    made.decoder = decoders.ByteFallback()
    assert read(made).vocabulary.token_bytes == [b"\n"]


def test_the_decoder_says_what_pieces_are_written_in() -> None:
    made = byte_level()
    made.decoder = decoders.Fuse()
    assert not read(made).vocabulary.byte_level
    made.decoder = None
    assert read(made).vocabulary.byte_level


def test_an_added_token_that_is_not_special_is_text_as_it_stands() -> None:
    assert (
        read(byte_level(added=[LibraryToken("<é>")])).vocabulary.token_bytes[256] == "<é>".encode()
    )


def test_tokens_are_added_in_the_order_of_their_ids_with_their_flags() -> None:
    made = byte_level()
    late = AddedToken(257, "<b>", special=False, flags={"lstrip": True})
    add_missing(made, [late, AddedToken(256, "<a>", special=False)])
    assert [made.id_to_token(i) for i in (256, 257)] == ["<a>", "<b>"]
    assert made.encode("x <b>").ids == [ord("x"), 257]
