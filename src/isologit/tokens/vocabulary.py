"""What a tokenizer knows of each id: its piece, its exact bytes, its type; and how it encodes.

Which file a tokenizer was read from is for the loaders beside this; what follows from it (category,
reachability, script) for the modules of these names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, get_args

from isologit.tokens.text import text_of

TokenType = Literal["normal", "unknown", "control", "user_defined", "added", "unused", "byte"]
TOKEN_TYPES: tuple[TokenType, ...] = get_args(TokenType)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The ids of a tokenizer, from 0 to its largest; N of them, with the holes.

    Parameters
    ----------
    pieces
        ``[N]`` each token as the tokenizer's file writes it; None where no token has the id.
    token_bytes
        ``[N]`` the bytes that a token stands for in a text, byte-level and byte-fallback maps
        undone and word-boundary marks turned into spaces; None where no token has the id.
    types
        ``[N]`` what the tokenizer's file declares a token to be: ``control`` are special tokens,
        ``byte`` those of a byte fallback, ``added`` what stands beside the model and is not
        special, ``user_defined`` SentencePiece's word for pieces that are matched whole.
    byte_level
        Whether text is made of bytes before it is merged, so that the base alphabet is the 256
        bytes and a piece of one byte is one of its letters.
    """

    pieces: Sequence[str | None] = field(repr=False)
    token_bytes: Sequence[bytes | None] = field(repr=False)
    types: Sequence[TokenType | None] = field(repr=False)
    byte_level: bool

    def __post_init__(self) -> None:
        if not len(self.pieces) == len(self.token_bytes) == len(self.types):
            raise ValueError("a vocabulary has as many pieces as bytes and types")

    def __len__(self) -> int:
        return len(self.pieces)

    def has(self, token_id: int) -> bool:
        """Whether a token has this id; any integer may be asked."""
        return 0 <= token_id < len(self.pieces) and self.pieces[token_id] is not None

    @cached_property
    def n_tokens(self) -> int:
        """How many ids have a token."""
        return sum(piece is not None for piece in self.pieces)

    @cached_property
    def texts(self) -> Sequence[str | None]:
        """``[N]`` the text that each token's bytes are; None where they are not valid alone."""
        return [None if raw is None else text_of(raw) for raw in self.token_bytes]

    @cached_property
    def spelled_out(self) -> frozenset[str]:
        """The texts of tokens that are not a byte fallback's."""
        each = zip(self.texts, self.types, strict=True)
        return frozenset(text for text, kind in each if text is not None and kind != "byte")


class Encoder(Protocol):
    """The tokenizer at work, as those who serve the model run it; special tokens are not added."""

    @property
    def marks_words(self) -> bool:
        """Whether pieces tell where a word begins or ends otherwise than by its own text.

        A space is put before every text, or parts of a word are marked (``##``, ``</w>``): then
        some tokens are met only beside other text.
        """

    def decode_each(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each id decoded alone, special tokens included."""

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""

    def normalized(self, text: str) -> str:
        """Return what the normalizer makes of a text, spaces written as spaces."""

    def pretokens(self, text: str) -> list[str]:
        """Return the parts that a text is cut into once normalized; no token crosses a cut."""

    @property
    def matched_whole(self) -> Sequence[str]:
        """The texts of added tokens, which are cut out of a text before anything else."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A tokenizer that was read.

    Parameters
    ----------
    vocabulary
        Its ids.
    encoder
        None where the files do not say how text is encoded; then `notes` says why.
    source
        The files it was read from, as messages show them.
    kind
        What it is, in words: ``byte-level BPE``, ``SentencePiece unigram``.
    notes
        What a reader of its figures has to know.
    """

    vocabulary: Vocabulary
    encoder: Encoder | None
    source: str
    kind: str
    notes: tuple[str, ...] = ()
