"""SentencePiece's model file: a protocol buffer, as far as a vocabulary is in it.

The numbers of the fields are those of sentencepiece_model.proto (google/sentencepiece). Reading is
for what the library does not tell of a model: its kind, and each piece's type. Writing is for
vocabularies that come in another file, so that the library runs them.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from isologit.errors import TokenizerFileError
from isologit.tokens.vocabulary import TokenType

ModelType = Literal["unigram", "BPE", "word", "character"]

# TrainerSpec.ModelType and SentencePiece.Type.
_MODEL_TYPES: dict[int, ModelType] = {1: "unigram", 2: "BPE", 3: "word", 4: "character"}
PIECE_TYPES: dict[int, TokenType] = {
    1: "normal",
    2: "unknown",
    3: "control",
    4: "user_defined",
    5: "unused",
    6: "byte",
}
_NUMBERS = {name: number for number, name in PIECE_TYPES.items()}
# Fields of ModelProto, of a piece, of TrainerSpec and of NormalizerSpec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _VOCABULARY_SIZE, _BYTE_FALLBACK, _UNKNOWN_ID = 3, 4, 35, 40
_BEGIN_ID, _END_ID, _PADDING_ID, _UNKNOWN_PIECE = 41, 42, 43, 45
_NAME, _CHARACTER_MAP, _ADD_PREFIX, _REMOVE_EXTRA, _ESCAPE = 1, 2, 3, 4, 5
# Wire types.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, eq=False)
class SentencePieceModel:
    """What a model file says of its pieces.

    Parameters
    ----------
    pieces
        ``[N]`` each piece, in UTF-8 if the file is what it should be.
    scores
        ``[N]`` the greater the sooner a piece is taken.
    types
        ``[N]`` what each piece is.
    model_type
        How text is composed of them.
    """

    pieces: Sequence[bytes] = field(repr=False)
    scores: Sequence[float] = field(repr=False)
    types: Sequence[TokenType] = field(repr=False)
    model_type: ModelType


def read_model(content: bytes, where: str) -> SentencePieceModel:
    """Read the pieces of a model file.

    Raises
    ------
    TokenizerFileError
        The bytes are no protocol buffer, or hold a type that SentencePiece does not have.
    """
    pieces: list[bytes] = []
    scores: list[float] = []
    types: list[TokenType] = []
    kind = 1
    try:
        for number, value in _fields(content):
            if number == _PIECES and isinstance(value, bytes):
                piece, score, type_number = b"", 0.0, 1
                for part, each in _fields(value):
                    if part == _PIECE and isinstance(each, bytes):
                        piece = each
                    elif part == _SCORE and isinstance(each, float):
                        score = each
                    elif part == _TYPE and isinstance(each, int):
                        type_number = each
                pieces.append(piece)
                scores.append(score)
                types.append(PIECE_TYPES[type_number])
            elif number == _TRAINER and isinstance(value, bytes):
                found = [v for n, v in _fields(value) if n == _MODEL_TYPE and isinstance(v, int)]
                kind = (found or [kind])[-1]
        return SentencePieceModel(pieces, scores, types, _MODEL_TYPES[kind])
    except (_NoMessageError, KeyError) as error:
        fault = f"it has a type {error}" if isinstance(error, KeyError) else str(error)
        raise TokenizerFileError(
            f"{where} is not a SentencePiece model: {fault}; fetch it again, or name another "
            "tokenizer with --tokenizer"
        ) from error


def sentencepiece_model(
    pieces: Sequence[bytes],
    scores: Sequence[float],
    types: Sequence[TokenType],
    *,
    unigram: bool,
    add_prefix_space: bool,
    remove_extra_spaces: bool = False,
    character_map: bytes = b"",
) -> bytes:
    """Return a model file of a vocabulary.

    Parameters
    ----------
    pieces, scores, types
        ``[N]`` as in `SentencePieceModel`. Exactly one is to be unknown; of bytes there are to be
        all 256 or none, which decides whether there is a fallback to them.
    unigram
        Whether text is composed by the unigram model, else by merges.
    add_prefix_space
        Whether a space is put before every text.
    remove_extra_spaces
        Whether runs of spaces become one, and those at the ends none.
    character_map
        The compiled normalization; none leaves text as it is.
    """
    content = bytearray()
    for piece, score, kind in zip(pieces, scores, types, strict=True):
        body = _bytes(_PIECE, piece) + b"\x15" + struct.pack("<f", score)
        if kind != "normal":
            body += _number(_TYPE, _NUMBERS[kind])
        content += _bytes(_PIECES, body)
    unknown = types.index("unknown") if "unknown" in types else -1
    trainer = _number(_MODEL_TYPE, 1 if unigram else 2) + _number(_VOCABULARY_SIZE, len(pieces))
    trainer += _number(_BYTE_FALLBACK, int("byte" in types))
    if unknown >= 0:
        trainer += _number(_UNKNOWN_ID, unknown) + _bytes(_UNKNOWN_PIECE, pieces[unknown])
    # None of these is looked for by its default name or id.
    trainer += b"".join(_number(each, -1) for each in (_BEGIN_ID, _END_ID, _PADDING_ID))
    normalizer = (
        _bytes(_NAME, b"identity" if not character_map else b"user_defined")
        + (_bytes(_CHARACTER_MAP, character_map) if character_map else b"")
        + _number(_ADD_PREFIX, int(add_prefix_space))
        + _number(_REMOVE_EXTRA, int(remove_extra_spaces))
        + _number(_ESCAPE, 1)
    )
    return bytes(content + _bytes(_TRAINER, trainer) + _bytes(_NORMALIZER, normalizer))


class _NoMessageError(Exception):
    """Bytes that are no protocol buffer."""


def _fields(content: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield the fields of a message: numbers, and bytes of what has a length."""
    position, size = 0, len(content)
    while position < size:
        tag, position = _varint(content, position)
        number, wire = tag >> 3, tag & 7
        value: int | float | bytes
        if wire == _BYTES:
            length, position = _varint(content, position)
            value = content[position : position + length]
            position += length
        elif wire == _VARINT:
            value, position = _varint(content, position)
        elif wire == _FIXED32:
            if position + 4 > size:
                raise _NoMessageError(f"it ends within a number, at byte {size:,}")
            (value,) = struct.unpack_from("<f", content, position)
            position += 4
        elif wire == _FIXED64:
            value = 0
            position += 8
        else:
            raise _NoMessageError(f"byte {position - 1:,} begins a field of wire type {wire}")
        if position > size:
            raise _NoMessageError(f"a field reaches to byte {position:,} of {size:,}")
        yield number, value


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(content) and shift < 64:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _NoMessageError(f"the number at byte {position:,} has no end")


def _encoded(value: int) -> bytes:
    value &= (1 << 64) - 1
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)


def _number(field_number: int, value: int) -> bytes:
    return _encoded(field_number << 3 | _VARINT) + _encoded(value)


def _bytes(field_number: int, value: bytes) -> bytes:
    return _encoded(field_number << 3 | _BYTES) + _encoded(len(value)) + value
