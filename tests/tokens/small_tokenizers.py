"""Small tokenizers for tests, made with the library itself."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from isologit.tokens.byte_level import CHARACTER_OF, bytes_piece
from isologit.tokens.huggingface import of_library
from isologit.tokens.vocabulary import Tokenizer as Read

BYTES = [CHARACTER_OF[byte] for byte in range(256)]


def byte_level(
    more: Sequence[str] = (),
    merges: Sequence[tuple[str, str]] = (),
    *,
    added: Sequence[AddedToken] = (),
    nfc: bool = False,
    split: str | None = None,
) -> Tokenizer:
    """Return a byte-level BPE: the 256 bytes (id = byte), more texts, and merges of pieces.

    `more` and `merges` are written as text; every text gets the next id.
    """
    pieces = [*BYTES, *(bytes_piece(text.encode()) for text in more)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    pairs = [(bytes_piece(a.encode()), bytes_piece(b.encode())) for a, b in merges]
    made = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    if nfc:
        made.normalizer = normalizers.NFC()
    parts = [] if split is None else [pre_tokenizers.Split(Regex(split), "isolated")]
    byte_part = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([*parts, byte_part])
    made.decoder = decoders.ByteLevel()
    made.add_tokens([token for token in added if not token.special])
    made.add_special_tokens([token for token in added if token.special])
    return made


def read(tokenizer: Tokenizer) -> Read:
    """Return it as isologit reads it."""
    return of_library(tokenizer, "tokenizer.json")


def save(tokenizer: Tokenizer, directory: Path) -> Path:
    """Write `tokenizer.json` into a directory, and return the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory
