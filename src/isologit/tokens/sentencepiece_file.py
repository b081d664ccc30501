"""SentencePiece models, `tokenizer.model` or `spiece.model`, run by SentencePiece itself."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from isologit.checkpoint.wording import counted, shown
from isologit.errors import TokenizerFileError
from isologit.tokens.bounded_file import bounded_bytes
from isologit.tokens.huggingface import MAX_ID, WORD_BOUNDARY, fallback_byte
from isologit.tokens.sentencepiece_proto import SentencePieceModel, read_model
from isologit.tokens.settings import AddedToken
from isologit.tokens.vocabulary import Tokenizer, TokenType, Vocabulary

if TYPE_CHECKING:
    import sentencepiece

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class SentencePieceEncoder:
    """A SentencePiece model as an `Encoder`, with the tokens that a config adds to it.

    SentencePiece knows no added tokens. They are cut out of a text first, the longest that fits at
    a place, and what lies between them is encoded as a text of its own, with a space before it if
    the model puts one: as llama.cpp does, and transformers' LlamaTokenizer in its legacy mode.

    Parameters
    ----------
    processor
        The model.
    literal
        Texts of the ids that the model does not decode to text: control and unknown pieces, and
        added tokens.
    added
        Ids of added tokens by their texts.
    user_defined
        The texts of pieces that SentencePiece itself cuts out first.
    """

    processor: "sentencepiece.SentencePieceProcessor" = field(repr=False)
    literal: Mapping[int, str] = field(repr=False)
    added: Mapping[str, int] = field(default_factory=dict, repr=False)
    user_defined: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def marks_words(self) -> bool:
        """Whether a space is put before every text: seen from what becomes of a letter."""
        pieces = self.processor.encode("x", out_type=str)
        return bool(pieces) and pieces[0].startswith(WORD_BOUNDARY)

    @property
    def matched_whole(self) -> Sequence[str]:
        """The texts of added tokens and of user-defined pieces; control pieces match nothing."""
        return (*self.added, *self.user_defined)

    def decode_each(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text of each id decoded alone, special tokens included."""
        size = self.processor.get_piece_size()
        found = [self.literal.get(token_id, "") for token_id in token_ids]
        asked = [
            (n, token_id)
            for n, token_id in enumerate(token_ids)
            if token_id not in self.literal and 0 <= token_id < size
        ]
        if asked:
            decoded = self.processor.decode([[token_id] for _, token_id in asked])
            for (n, _), text in zip(asked, decoded, strict=True):
                found[n] = text
        return found

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        if not texts:
            return []
        if not self.added:
            return [list(ids) for ids in self.processor.encode(list(texts))]
        # Of the parts that a pattern in parentheses leaves, every second is what it matched.
        parts = [self._added_pattern.split(text) for text in texts]
        between = [part for split in parts for part in split[::2]]
        ids_between = iter(self.processor.encode(between))
        found = []
        for split in parts:
            ids: list[int] = []
            for n, part in enumerate(split):
                ids += [self.added[part]] if n % 2 else next(ids_between)
            found.append(ids)
        return found

    def normalized(self, text: str) -> str:
        """Return what the normalizer makes of a text, spaces written as spaces.

        The space that is put before a text is there: the normalizer is what puts it.
        """
        return str(self.processor.normalize(text)).replace(WORD_BOUNDARY, " ")

    def pretokens(self, text: str) -> list[str]:
        """Return the text: a piece may reach over everything in it."""
        return [text]

    @cached_property
    def _added_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.added, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")


def read_sentencepiece(
    path: Path,
    added: Iterable[AddedToken] = (),
    named: Iterable[str] = (),
    *,
    extra_ids: int = 0,
) -> Tokenizer:
    """Read a SentencePiece model, and add what the tokenizer's config adds to it.

    Parameters
    ----------
    path
        The model.
    added
        Added tokens, with their ids.
    named
        Texts of tokens that the config gives a role; transformers matches these whole too.
    extra_ids
        How many sentinels T5's class puts behind the pieces, the first of them last.

    Raises
    ------
    TokenizerFileError
        It cannot be read, SentencePiece does not take it, or the config numbers its pieces anew.
    """
    where = shown(str(path))
    content = bounded_bytes(path)
    model = read_model(content, where)
    if not model.pieces:
        raise TokenizerFileError(f"{where} holds no pieces; expected a SentencePiece model")
    for n, score in enumerate(model.scores):
        # SentencePiece checks this of unigram models alone.
        if not isfinite(score):
            raise TokenizerFileError(
                f"{where}: piece {n:,} has the score {score}, and no finite number; fetch the "
                "file again"
            )
    given, n = list(added), len(model.pieces)
    if not any(token.content == "<extra_id_0>" for token in given):
        # transformers, tokenization_t5.py, _convert_token_to_id.
        given += [
            AddedToken(n + extra_ids - 1 - i, f"<extra_id_{i}>", special=True)
            for i in range(extra_ids)
        ]
    return with_added(model, load(content, where), where, given, named)


def load(content: bytes, where: str) -> "sentencepiece.SentencePieceProcessor":
    """Return a model as SentencePiece runs it.

    Raises
    ------
    TokenizerFileError
        SentencePiece refuses it.
    """
    import sentencepiece

    return _asked(lambda: sentencepiece.SentencePieceProcessor(model_proto=content), where)


def with_added(
    model: SentencePieceModel,
    processor: "sentencepiece.SentencePieceProcessor",
    where: str,
    added: Iterable[AddedToken] = (),
    named: Iterable[str] = (),
) -> Tokenizer:
    """Return a model's vocabulary and encoder, together with added tokens.

    An added token with a piece's id takes the piece's place, as in transformers.

    Raises
    ------
    TokenizerFileError
        A piece is not UTF-8; or an added token is another piece than its id says, which is so where
        a tokenizer class of transformers numbers the pieces anew (XLM-RoBERTa, mBART, Pegasus).
    """
    ids: dict[str, int] = {}
    pieces: list[str | None] = []
    for n, piece in enumerate(model.pieces):
        try:
            text = piece.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TokenizerFileError(
                f"{where}: piece {n:,} is not UTF-8 ({error.reason}); fetch the file again"
            ) from error
        pieces.append(text)
        ids[text] = n
    raw: list[bytes | None] = [
        piece_text_bytes(text or "", kind) for text, kind in zip(pieces, model.types, strict=True)
    ]
    types: list[TokenType | None] = list(model.types)
    every = [token for token in added if token.content]
    roles = dict.fromkeys(named)
    absent = roles.keys() - ids.keys() - {token.content for token in every}
    every += [AddedToken(ids[text], text, special=True) for text in roles if text in ids]
    for token in every:
        at, known = token.token_id, ids.get(token.content)
        if at < len(ids) and known is not None and known != at:
            raise TokenizerFileError(
                f"{where}: {shown(token.content)} is piece {known:,}, and {at:,} by the "
                "tokenizer's config: its class numbers the pieces anew; save it as tokenizer.json "
                "with AutoTokenizer, and name that with --tokenizer"
            )
        if at > MAX_ID:
            raise TokenizerFileError(
                f"{where}: the tokenizer's config adds the id {at:,}, beyond {MAX_ID:,}"
            )
        for column in (pieces, raw, types):
            column += [None] * (at + 1 - len(column))
        if types[at] in (None, "normal") or pieces[at] != token.content:
            types[at] = "control" if token.special else "added"
        pieces[at] = token.content
        raw[at] = token.content.encode("utf-8", "surrogatepass")
    by_text = {token.content: token.token_id for token in every}
    vocabulary = Vocabulary(pieces, raw, types, byte_level=False)
    notes = []
    if absent:
        notes.append(
            f"{counted(len(absent), 'special token')} that the tokenizer's config names without an "
            f"id, as {shown(min(absent))}, are no pieces of {where} and were left out"
        )
    return Tokenizer(
        vocabulary,
        encoder_of(vocabulary, processor, by_text),
        where,
        f"SentencePiece {model.model_type}",
        tuple(notes),
    )


def encoder_of(
    vocabulary: Vocabulary,
    processor: "sentencepiece.SentencePieceProcessor",
    added: Mapping[str, int],
) -> SentencePieceEncoder:
    """Return the encoder of a vocabulary that a SentencePiece model runs.

    Parameters
    ----------
    vocabulary
        Its ids, those of added tokens included.
    processor
        The model.
    added
        Ids of added tokens by their texts.
    """
    literal = {token_id: text for text, token_id in added.items()}
    whole = []
    for n, (piece, kind) in enumerate(zip(vocabulary.pieces, vocabulary.types, strict=True)):
        if piece is not None and kind in ("control", "unknown"):
            literal[n] = piece
        elif piece is not None and kind == "user_defined" and piece not in added:
            whole.append(piece.replace(WORD_BOUNDARY, " "))
    return SentencePieceEncoder(processor, literal, added, tuple(whole))


def piece_text_bytes(piece: str, kind: TokenType) -> bytes:
    """Return the bytes that a piece of a type stands for in a text."""
    if kind == "byte" and (byte := fallback_byte(piece)) is not None:
        return bytes([byte])
    if kind in ("normal", "user_defined", "unused"):
        piece = piece.replace(WORD_BOUNDARY, " ")
    return piece.encode("utf-8", "surrogatepass")


def _asked(question: Callable[[], _T], where: str) -> _T:
    """Ask SentencePiece something, and turn what it raises into one line."""
    try:
        return question()
    except (RuntimeError, OSError, ValueError, TypeError, IndexError) as error:
        raise TokenizerFileError(
            f"{where} is not a model that SentencePiece takes: {shown(str(error))}; fetch it "
            "again, or name another tokenizer with --tokenizer"
        ) from error
