"""GPT-2's alphabet of bytes."""

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from isologit.tokens.byte_level import BYTE_OF, CHARACTER_OF, bytes_piece, piece_bytes


def test_the_alphabet_is_the_librarys() -> None:
    assert set(BYTE_OF) == set(pre_tokenizers.ByteLevel.alphabet())
    made = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for code in (*range(0x80), 0xE9, 0x4E2D, 0x1F600):
        ((piece, _),) = made.pre_tokenize_str(chr(code))
        assert piece == bytes_piece(chr(code).encode())


def test_every_byte_has_a_character_of_its_own_that_can_be_seen() -> None:
    assert sorted(BYTE_OF.values()) == list(range(256))
    assert all(character.isprintable() and character != " " for character in CHARACTER_OF.values())


@given(st.binary(max_size=12))
def test_bytes_come_back(raw: bytes) -> None:
    assert piece_bytes(bytes_piece(raw)) == raw


def test_what_is_not_in_the_alphabet_has_no_bytes() -> None:
    for character in (" ", "\n", "\x00", "\x7f", "\xa0", "\xad", "\u0144", "中", "▁"):
        assert (character in BYTE_OF) == (piece_bytes(character) is not None), character
    outside = [chr(code) for code in range(0x250) if chr(code) not in BYTE_OF]
    assert all(piece_bytes(character) is None for character in outside)
    assert piece_bytes("Ġa b") is None
