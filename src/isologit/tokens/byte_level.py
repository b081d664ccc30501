"""GPT-2's alphabet, which writes every byte as one printable character.

Printable bytes of Latin-1 stand for themselves; the others, in order, for the characters from
U+0100 on (openai/gpt-2, encoder.py, `bytes_to_unicode`). Byte-level vocabularies are written in it.
"""

_THEMSELVES = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = [byte for byte in range(256) if byte not in set(_THEMSELVES)]

BYTE_OF = {chr(byte): byte for byte in _THEMSELVES} | {
    chr(0x100 + n): byte for n, byte in enumerate(_OTHERS)
}
CHARACTER_OF = {byte: character for character, byte in BYTE_OF.items()}

# As `str.translate` takes it. Latin-1 characters that are not in the alphabet (U+0000 to U+0020,
# U+007F to U+00A0, U+00AD) would pass for bytes, and are sent out of Latin-1.
_TO_LATIN_1 = {ord(character): byte for character, byte in BYTE_OF.items()} | {
    code: 0xFFFF for code in range(256) if chr(code) not in BYTE_OF
}


def piece_bytes(piece: str) -> bytes | None:
    """Return the bytes that a piece is written for; None where it is not in the alphabet."""
    try:
        return piece.translate(_TO_LATIN_1).encode("latin-1")
    except UnicodeEncodeError:
        return None


def bytes_piece(raw: bytes) -> str:
    """Return the piece that bytes are written as."""
    return "".join([CHARACTER_OF[byte] for byte in raw])
