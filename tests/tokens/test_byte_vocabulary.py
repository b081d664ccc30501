"""The 256 bytes as a vocabulary."""

import pytest

from isologit.tokens.byte_vocabulary import byte_tokenizer
from isologit.tokens.vocabulary import Encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    found = byte_tokenizer().encoder
    assert found is not None
    return found


def test_every_id_is_its_byte() -> None:
    vocabulary = byte_tokenizer().vocabulary
    assert list(vocabulary.token_bytes) == [bytes([byte]) for byte in range(256)]
    assert vocabulary.n_tokens == 256
    assert vocabulary.byte_level
    assert len(set(vocabulary.pieces)) == 256


def test_bytes_of_ascii_survive_and_the_others_are_no_text(encoder: Encoder) -> None:
    texts = encoder.decode_each(range(256))
    found = encoder.encode_each(texts)
    assert [byte for byte in range(256) if found[byte] == [byte]] == list(range(128))
    assert set(texts[128:]) == {"\ufffd"}


def test_text_becomes_its_utf8(encoder: Encoder) -> None:
    assert encoder.encode_each(["é\0", ""]) == [[0xC3, 0xA9, 0], []]
    assert encoder.pretokens(encoder.normalized("a b")) == ["a b"]
    assert not encoder.marks_words
    assert list(encoder.matched_whole) == []


def test_ids_beyond_have_no_text(encoder: Encoder) -> None:
    assert encoder.decode_each([256, -1, 65]) == ["", "", "A"]
