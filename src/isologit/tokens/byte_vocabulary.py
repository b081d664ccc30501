"""The vocabulary of models that read bytes: 256 ids, each of them the byte of its number."""

from collections.abc import Sequence

from isologit.tokens.byte_level import bytes_piece
from isologit.tokens.vocabulary import Tokenizer, Vocabulary

_N_BYTES = 256


class ByteEncoder:
    """UTF-8 as an `Encoder`."""

    marks_words = False
    matched_whole: Sequence[str] = ()

    def decode_each(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each byte alone: U+FFFD of those that are no text."""
        return [
            bytes([each]).decode("utf-8", "replace") if 0 <= each < _N_BYTES else ""
            for each in token_ids
        ]

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the bytes of each text."""
        return [list(text.encode("utf-8", "surrogatepass")) for text in texts]

    def normalized(self, text: str) -> str:
        """Return the text."""
        return text

    def pretokens(self, text: str) -> list[str]:
        """Return the text."""
        return [text]


def byte_tokenizer() -> Tokenizer:
    """Return the tokenizer of the 256 bytes, their pieces written in GPT-2's alphabet."""
    raw = [bytes([byte]) for byte in range(_N_BYTES)]
    vocabulary = Vocabulary(
        list(map(bytes_piece, raw)), raw, ["normal"] * _N_BYTES, byte_level=True
    )
    return Tokenizer(vocabulary, ByteEncoder(), "bytes", "bytes")
