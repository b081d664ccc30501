"""The tokenizer in a GGUF header, run by the library that it comes from.

``llama`` and ``t5`` are SentencePiece's models, and are written as such; ``gpt2`` are byte-level
merges, in the `tokenizers` library. Of the others the ids are known, and not how text is encoded.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from isologit.checkpoint.wording import counted, shown
from isologit.errors import TokenizerFileError
from isologit.tokens.byte_level_bpe import byte_level_bpe
from isologit.tokens.gguf_split_rules import RULES
from isologit.tokens.gguf_vocabulary import (
    KEY,
    GgufVocabulary,
    flag_of_key,
    numbers_of_key,
    read_gguf_vocabulary,
    strings_of_key,
)
from isologit.tokens.huggingface import WORD_BOUNDARY, LibraryEncoder
from isologit.tokens.sentencepiece_file import SentencePieceEncoder, encoder_of, load
from isologit.tokens.sentencepiece_proto import sentencepiece_model
from isologit.tokens.settings import AddedToken
from isologit.tokens.vocabulary import Encoder, Tokenizer

_KINDS = {
    "llama": "SentencePiece BPE",
    "t5": "SentencePiece unigram",
    "gpt2": "byte-level BPE",
    "bert": "WordPiece",
    "rwkv": "RWKV's trie",
}


class _NoEncoderError(Exception):
    """Why the header does not say how text is encoded, in words."""


def read_gguf_tokenizer(metadata: Mapping[str, Any], where: str) -> Tokenizer | None:
    """Return the tokenizer of a GGUF header.

    Parameters
    ----------
    metadata
        The header's key-value pairs.
    where
        The file, for messages.

    Returns
    -------
    Tokenizer | None
        None where the header holds no tokens. Without an encoder, and with a note that says why,
        where the kind is not one that a library runs here, or the library does not take it.

    Raises
    ------
    TokenizerFileError
        A value has another type than its key says, or there are fewer types or scores than tokens.
    """
    where = shown(where)
    found = read_gguf_vocabulary(metadata, where)
    if found is None:
        return None
    notes: list[str] = []
    encoder: Encoder | None = None
    try:
        if found.model in ("llama", "t5"):
            encoder = _sentencepiece(found, metadata, notes)
        elif found.model == "gpt2":
            encoder = _byte_level(found, metadata, notes)
        else:
            raise _NoEncoderError(
                f"how a tokenizer of the kind {shown(found.model)} encodes is not known here"
            )
    except _NoEncoderError as error:
        notes.append(f"reachability is not checked: {error}")
    kind = _KINDS.get(found.model, f"GGUF's {shown(found.model)}")
    if found.model == "gpt2" and not found.byte_level:
        kind = f"BPE ({found.pre})"
    return Tokenizer(found.vocabulary, encoder, where, kind, tuple(notes))


def _sentencepiece(
    found: GgufVocabulary, metadata: Mapping[str, Any], notes: list[str]
) -> SentencePieceEncoder:
    unigram = found.model == "t5"
    if fault := found.fault():
        raise _NoEncoderError(f"{fault}, which SentencePiece refuses")
    n_unknown, n_bytes = found.types.count("unknown"), found.types.count("byte")
    if n_unknown != 1 or n_bytes not in (0, 256):
        raise _NoEncoderError(
            f"{found.where} has {counted(n_unknown, 'unknown token')} and "
            f"{counted(n_bytes, 'token')} for bytes; SentencePiece needs 1, and 256 or none"
        )
    scores = numbers_of_key(metadata, "scores", found.where, len(found.pieces))
    if scores is None:
        scores = np.zeros(len(found.pieces), np.float32)
    if not np.isfinite(scores).all() or np.abs(scores).max() > np.finfo(np.float32).max:
        raise _NoEncoderError(f"{found.where} has scores that are no finite numbers of 32 bits")
    if not unigram and not scores.any():
        notes.append(
            f"all scores in {found.where} are 0: pieces are merged from left to right, as "
            "llama.cpp does then, and not in the order that the tokenizer was trained with"
        )
    character_map = numbers_of_key(metadata, "precompiled_charsmap", found.where)
    if character_map is not None and character_map.dtype.itemsize != 1:
        raise _NoEncoderError(f"{KEY}precompiled_charsmap is not made of bytes")
    # llama.cpp's name for an empty token, and the converter's spaces in user-defined ones undone.
    pieces = [
        (raw or b"[EMPTY_%d]" % n)
        if kind != "user_defined"
        else raw.replace(b" ", WORD_BOUNDARY.encode())
        for n, (raw, kind) in enumerate(zip(found.raw_pieces, found.types, strict=True))
    ]
    content = sentencepiece_model(
        pieces,
        scores.tolist(),
        found.types,
        unigram=unigram,
        # llama_vocab::impl::load: the defaults where the header is silent.
        add_prefix_space=flag_of_key(metadata, "add_space_prefix", found.where, not unigram),
        remove_extra_spaces=flag_of_key(metadata, "remove_extra_whitespaces", found.where, False),
        character_map=b"" if character_map is None else character_map.tobytes(),
    )
    try:
        processor = load(content, found.where)
    except TokenizerFileError as error:
        raise _NoEncoderError(str(error)) from error
    return encoder_of(found.vocabulary, processor, {})


def _byte_level(
    found: GgufVocabulary, metadata: Mapping[str, Any], notes: list[str]
) -> LibraryEncoder:
    rule = RULES.get(found.pre)
    if rule is None:
        raise _NoEncoderError(
            f"how text is cut for the name {shown(found.pre)} in {KEY}pre is not known here"
        )
    if fault := found.fault():
        raise _NoEncoderError(f"{fault}, which llama.cpp refuses")
    strings = strings_of_key(metadata, "merges", found.where)
    if strings is None:
        raise _NoEncoderError(f"{found.where} holds no {KEY}merges")
    if not found.pre:
        notes.append(
            f"{found.where} does not say how text is cut ({KEY}pre): llama.cpp's default was taken"
        )
    vocabulary = {piece: n for n, piece in enumerate(found.pieces) if piece}
    merges, left_out = [], 0
    for n in range(len(strings)):
        # llama.cpp too looks for the space from the second character on.
        text = strings[n]
        at = text.find(" ", 1)
        pair = (text[:at], text[at + 1 :])
        if at > 0 and all(each in vocabulary for each in (*pair, "".join(pair))):
            merges.append(pair)
        else:
            left_out += 1
    if left_out:
        notes.append(
            f"{counted(left_out, 'merge')} of {found.where} were left out: they do not join two "
            "tokens to a third"
        )
    added = [
        AddedToken(n, piece, special=kind != "user_defined", flags={"normalized": False})
        for n, (piece, kind) in enumerate(zip(found.pieces, found.types, strict=True))
        if kind in ("control", "user_defined", "unknown")
    ]
    try:
        return LibraryEncoder(byte_level_bpe(vocabulary, merges, rule, found.where, added=added))
    except TokenizerFileError as error:
        raise _NoEncoderError(str(error)) from error
