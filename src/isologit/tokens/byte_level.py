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


def piece_bytes(piece: str) -> bytes | None:
    """Return the bytes that a piece is written for; None where it is not in the alphabet."""
    try:
        return bytes([BYTE_OF[character] for character in piece])
    except KeyError:
        return None


def bytes_piece(raw: bytes) -> str:
    """Return the piece that bytes are written as."""
    return "".join([CHARACTER_OF[byte] for byte in raw])
