"""tiktoken's files of ranks: a line for each token, its bytes in base64, and its rank: its id.

They are run by the `tokenizers` library. tiktoken joins at each step the two neighbours that make
the token of the lowest rank, the leftmost where it occurs twice. A list of merges does the same if
it holds, in the order of the ranks, every way to make a token of two others: by the time that a
token is made, only joins of lower rank have happened within its bytes, as they would have happened
to these bytes alone, and so the two parts are always the same two. The other ways in the list never
come up, and neither does a choice between two ways of one token.
"""

import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path

from isologit.checkpoint.wording import counted, shown
from isologit.errors import TokenizerFileError
from isologit.tokens.bounded_file import bounded_bytes
from isologit.tokens.byte_level import bytes_piece
from isologit.tokens.byte_level_bpe import byte_level_bpe
from isologit.tokens.huggingface import MAX_ID, of_library
from isologit.tokens.settings import AddedToken, TokenizerSettings
from isologit.tokens.split_rules import (
    CL100K_PATTERN,
    GPT2_PATTERN,
    LLAMA3_PATTERN,
    O200K_PATTERN,
    QWEN2_PATTERN,
    SplitRule,
)
from isologit.tokens.vocabulary import Tokenizer, TokenType, Vocabulary

_END, _PROMPT_END = "<|endoftext|>", "<|endofprompt|>"
_FILL = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")

_GPT2 = SplitRule("GPT-2's", (GPT2_PATTERN,), ignore_merges=True)
_CL100K = SplitRule("cl100k_base's", (CL100K_PATTERN,), ignore_merges=True)
_O200K = SplitRule("o200k_base's", (O200K_PATTERN,), ignore_merges=True)
_LLAMA3 = SplitRule("Llama 3's", (LLAMA3_PATTERN,), ignore_merges=True)
_QWEN = SplitRule("Qwen's", (QWEN2_PATTERN,), nfc=True, ignore_merges=True)

# By the file's name, with the special tokens that belong to it: openai/tiktoken,
# tiktoken_ext/openai_public.py; QwenLM/Qwen, tokenization_qwen.py.
_OF_FILE: Mapping[str, tuple[SplitRule, Mapping[str, int]]] = {
    "gpt2": (_GPT2, {_END: 50256}),
    "r50k_base": (_GPT2, {_END: 50256}),
    "p50k_base": (_GPT2, {_END: 50256}),
    "cl100k_base": (
        _CL100K,
        {_END: 100257} | {text: 100258 + n for n, text in enumerate(_FILL)} | {_PROMPT_END: 100276},
    ),
    "o200k_base": (_O200K, {_END: 199999, _PROMPT_END: 200018}),
    "qwen": (
        _QWEN,
        {_END: 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}
        | {f"<|extra_{n}|>": 151646 + n for n in range(205)},
    ),
}
# By config.json's model_type: meta-llama/llama3, llama/tokenizer.py; GLM-4's own
# tokenization_chatglm.py.
_OF_MODEL: Mapping[str, SplitRule] = {
    "qwen": _QWEN,
    "llama": _LLAMA3,
    "mllama": _LLAMA3,
    "chatglm": _LLAMA3,
}


def looks_like_tiktoken(path: Path) -> bool:
    """Whether a file begins with bytes in base64, a space and a number, as no other model does."""
    try:
        with path.open("rb") as file:
            line = file.readline(4096)
    except OSError:
        return False
    fields = line.split()
    return len(fields) == 2 and fields[1].isdigit() and _decoded(fields[0]) is not None


def read_tiktoken(path: Path, settings: TokenizerSettings, model_type: str | None) -> Tokenizer:
    """Read a file of ranks, and add what the tokenizer's config adds to it.

    Parameters
    ----------
    path
        The file; of one that has the name of an encoding, how it cuts text and its special tokens
        are known.
    settings
        The tokenizer's config.
    model_type
        config.json's, which tells how text is cut where the file's name does not.

    Returns
    -------
    Tokenizer
        Without an encoder, and with a note, where neither tells, or a byte has no token.

    Raises
    ------
    TokenizerFileError
        A line is not what it should be.
    """
    where = shown(str(path))
    ranks = dict(_ranks(bounded_bytes(path), where))
    if len(set(ranks.values())) != len(ranks) or not ranks:
        raise TokenizerFileError(
            f"{where} holds {counted(len(ranks), 'token')} of {len(set(ranks.values())):,} ranks; "
            "expected a rank of its own for each"
        )
    rule, special = _OF_FILE.get(path.name.removesuffix(".tiktoken"), (None, {}))
    rule = rule or _OF_MODEL.get(model_type or "")
    taken = {token.token_id for token in settings.added} | set(ranks.values())
    added = list(settings.added)
    added += [AddedToken(n, text, special=True) for text, n in special.items() if n not in taken]
    notes = []
    if not added:
        notes.append(
            f"{where} names no special tokens, and no tokenizer_config.json beside it does: ids "
            "behind its own look like padding"
        )
    without = 256 - sum(bytes([byte]) in ranks for byte in range(256))
    if rule is None or without:
        why = f"{counted(without, 'byte')} of 256 have no token in {where}"
        if rule is None:
            why = f"nothing says how {where} cuts text before it is merged"
        notes.append(f"reachability is not checked: {why}")
        return Tokenizer(_vocabulary(ranks, added), None, where, "byte-level BPE", tuple(notes))
    pieces = {bytes_piece(token): rank for token, rank in ranks.items()}
    tokenizer = byte_level_bpe(pieces, list(merges_of(pieces)), rule, where, added=added)
    return of_library(tokenizer, where, notes=notes)


def merges_of(ranks: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield every way to make a token of two others, the tokens in the order of their ranks."""
    for token in sorted(ranks, key=ranks.__getitem__):
        for cut in range(1, len(token)):
            left = token[:cut]
            if left in ranks:
                right = token[cut:]
                if right in ranks:
                    yield left, right


def _ranks(content: bytes, where: str) -> Iterator[tuple[bytes, int]]:
    """Yield each token with its rank."""
    seen: set[bytes] = set()
    for n, line in enumerate(content.split(b"\n"), 1):
        fields = line.split()
        if not fields:
            continue
        token = _decoded(fields[0])
        if len(fields) != 2 or not token or not fields[1].isdigit() or len(fields[1]) > 9:
            raise TokenizerFileError(
                f"{where}, line {n:,}: {shown(line[:200].decode('latin-1'))}; expected a token in "
                "base64, a space and its rank"
            )
        rank = int(fields[1])
        if token in seen or rank > MAX_ID:
            fault = f"the rank {rank:,}, beyond {MAX_ID:,}" if rank > MAX_ID else "a token again"
            raise TokenizerFileError(f"{where}, line {n:,} holds {fault}; fetch the file again")
        seen.add(token)
        yield token, rank


def _decoded(text: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _vocabulary(ranks: Mapping[bytes, int], added: list[AddedToken]) -> Vocabulary:
    largest = max([*ranks.values(), *(token.token_id for token in added)])
    if largest > MAX_ID:
        raise TokenizerFileError(
            f"the tokenizer's config adds the id {largest:,}, beyond {MAX_ID:,}"
        )
    pieces: list[str | None] = [None] * (largest + 1)
    raw: list[bytes | None] = [None] * (largest + 1)
    types: list[TokenType | None] = [None] * (largest + 1)
    for token, rank in ranks.items():
        pieces[rank], raw[rank], types[rank] = bytes_piece(token), token, "normal"
    for each in added:
        pieces[each.token_id] = each.content
        raw[each.token_id] = each.content.encode("utf-8", "surrogatepass")
        types[each.token_id] = "control" if each.special else "added"
    return Vocabulary(pieces, raw, types, byte_level=True)
