"""Which tokens survive a round trip through their text, and why the others do not.

A token is decoded alone and its text encoded again. Where something else comes out, and other text
around it does not help, the cause is the first step at which the token is lost: it is decoded,
added tokens are cut out, the text is normalized, cut into pre-tokens, and each of those composed of
pieces.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from isologit.tokens.utf8 import is_part_of_text
from isologit.tokens.vocabulary import Encoder, Vocabulary

Cause = Literal[
    "special_token",
    "only_inside_text",
    "decoding_loses_bytes",
    "added_token",
    "normalizer",
    "same_text",
    "pre_tokenizer",
    "no_merge_path",
    "unknown",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

# Texts to stand before and after one that a tokenizer treats otherwise at its beginning or end:
# letters, digits and signs that seldom merge with what is beside them. Where words are not marked
# the first two will do.
_CONTEXTS = (
    *(("«", ""), ("", "a"), ("\n", ""), ("0", ""), ("a", ""), ("Z", ""), (".", ""), ("中", "")),
    *(("", "0"), ("a", "a"), ("«", "»")),
)
_BATCH = 32768


@dataclass(frozen=True)
class Lost:
    """A token that does not survive.

    Parameters
    ----------
    cause
        The first step that loses it; of one with a witness ``only_inside_text``.
    text
        What it decodes to alone.
    reencoded
        The ids that come out instead.
    witness
        A text that is encoded with it all the same; None where none was found.
    """

    cause: Cause
    text: str
    reencoded: tuple[int, ...]
    witness: str | None


@dataclass(frozen=True, eq=False)
class Reachability:
    """What became of each id of a vocabulary.

    Parameters
    ----------
    survives
        ``[N]`` int8: 1 where encode(decode([i])) is [i], 0 where not, −1 where there is no token.
    reachable
        ``[N]`` int8: 1 where a text is known that is encoded with the token, 0 where its own text
        is encoded without it or no text has its bytes, −1 where its bytes are no text alone (what
        is around them decides), where it is special and whoever serves the model puts it in, or
        where there is no token.
    lost
        Those that do not survive, by id.
    """

    survives: npt.NDArray[np.int8]
    reachable: npt.NDArray[np.int8]
    lost: Mapping[int, Lost] = field(repr=False)

    def causes(self, n_rows: int) -> dict[str, int]:
        """Return how many tokens each cause loses, in the order of `CAUSES`, without zeros."""
        counts: dict[str, int] = dict.fromkeys(CAUSES, 0)
        for token_id, each in self.lost.items():
            counts[each.cause] += token_id < n_rows
        return {cause: n for cause, n in counts.items() if n}


def reachability(vocabulary: Vocabulary, encoder: Encoder) -> Reachability:
    """Send every token through its text and back, in batches.

    Parameters
    ----------
    vocabulary
        The ids.
    encoder
        The tokenizer at work.

    Notes
    -----
    A token that does not survive is tried behind and before other text; where it comes out there,
    that text is its witness and it is reachable. Special tokens are not tried.
    """
    ids = [i for i, piece in enumerate(vocabulary.pieces) if piece is not None]
    survives = np.full(len(vocabulary), -1, dtype=np.int8)
    failed: dict[int, tuple[str, tuple[int, ...]]] = {}
    batches = [ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]

    def sent(batch: list[int]) -> tuple[list[str], list[list[int]]]:
        texts = encoder.decode_each(batch)
        return texts, encoder.encode_each(texts)

    # Two at a time: while one makes lists, which Python does alone, the other is in the library.
    with ThreadPoolExecutor(2) as pool:
        for batch, (texts, again) in zip(batches, pool.map(sent, batches), strict=True):
            alike = [found == [i] for i, found in zip(batch, again, strict=True)]
            survives[batch] = alike
            lost_here = [n for n, same in enumerate(alike) if not same]
            failed |= {batch[n]: (texts[n], tuple(again[n])) for n in lost_here}
    shadows = _Shadows(vocabulary, encoder.matched_whole)
    witnesses = _witnesses(vocabulary, encoder, failed)
    lost = {
        token_id: Lost(
            "only_inside_text"
            if token_id in witnesses
            else _cause(vocabulary, encoder, shadows, token_id, text, found),
            text,
            found,
            witnesses.get(token_id),
        )
        for token_id, (text, found) in failed.items()
    }
    reachable = survives.copy()
    for token_id, each in lost.items():
        raw = vocabulary.token_bytes[token_id] or b""
        # Its own text need not come out as it alone: an unknown token's comes out as several of it.
        in_its_text = vocabulary.texts[token_id] is not None and token_id in each.reencoded
        if each.witness is not None or in_its_text:
            reachable[token_id] = 1
        elif each.cause == "special_token" or (
            vocabulary.texts[token_id] is None and is_part_of_text(raw)
        ):
            reachable[token_id] = -1
    return Reachability(survives, reachable, lost)


class _Shadows:
    """Added tokens, which take their text out of any text before the model sees it."""

    def __init__(self, vocabulary: Vocabulary, matched_whole: Iterable[str]) -> None:
        self._by_text = {
            piece: i
            for i, piece in enumerate(vocabulary.pieces)
            if piece is not None and vocabulary.types[i] not in ("normal", "byte")
        }
        longest_first = sorted({text for text in matched_whole if text}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        self._any = bool(longest_first)
        self._texts = frozenset(longest_first)

    def match(self, text: str | None) -> bool:
        """Whether a text is an added token's, all of it."""
        return text in self._texts

    def falls_on(self, text: str, token_id: int, found: Sequence[int]) -> bool:
        """Whether an added token other than this one was cut out of a text."""
        if not self._any:
            return False
        came_out = frozenset(found)
        cut = (self._by_text.get(match.group()) for match in self._pattern.finditer(text))
        return any(other is not None and other != token_id and other in came_out for other in cut)


def _cause(
    vocabulary: Vocabulary,
    encoder: Encoder,
    shadows: _Shadows,
    token_id: int,
    text: str,
    found: tuple[int, ...],
) -> Cause:
    whole = vocabulary.texts[token_id]
    if vocabulary.types[token_id] in ("control", "unknown") and not shadows.match(whole):
        return "special_token"
    if whole and encoder.marks_words and text.endswith(whole):
        text = whole  # the mark of a word's part, which decoding leaves on a token that is alone
    if whole is None or not _same_text(text, whole):
        return "decoding_loses_bytes"
    if shadows.falls_on(text, token_id, found):
        return "added_token"
    normalized = encoder.normalized(text)
    if normalized != text and not (encoder.marks_words and normalized == " " + text):
        return "normalizer"
    others = (each for each in found if each != token_id and vocabulary.has(each))
    if _is_spare(vocabulary, token_id) or any(vocabulary.texts[i] == whole for i in others):
        return "same_text"
    parts = encoder.pretokens(text)
    if len(parts) > 1:
        return "pre_tokenizer"
    return "no_merge_path" if parts else "unknown"


def _is_spare(vocabulary: Vocabulary, token_id: int) -> bool:
    """Whether a token is a byte fallback of a character that has a token of its own."""
    text = vocabulary.texts[token_id]
    return vocabulary.types[token_id] == "byte" and text in vocabulary.spelled_out


def _same_text(decoded: str, whole: str) -> bool:
    # Decoders drop the space that encoding puts before a text, and the one after a word's end; of a
    # token that is no more than that nothing is left to encode.
    return decoded.strip(" ") == whole.strip(" ") and bool(decoded) == bool(whole)


def _witnesses(
    vocabulary: Vocabulary, encoder: Encoder, failed: Mapping[int, tuple[str, tuple[int, ...]]]
) -> dict[int, str]:
    """Return texts that are encoded with tokens that do not survive alone."""
    found: dict[int, str] = {}
    waiting = dict(_texts(vocabulary, failed))
    for before, after in _CONTEXTS if encoder.marks_words else _CONTEXTS[:2]:
        texts = [before + text + after for text in waiting.values()]
        each = zip(list(waiting), texts, encoder.encode_each(texts), strict=True)
        found |= {token_id: text for token_id, text, ids in each if token_id in ids}
        waiting = {i: text for i, text in waiting.items() if i not in found}
    return found


def _texts(vocabulary: Vocabulary, ids: Iterable[int]) -> Iterator[tuple[int, str]]:
    for token_id in ids:
        text, special = vocabulary.texts[token_id], ("control", "unknown")
        if text and vocabulary.types[token_id] not in special:
            yield token_id, text
