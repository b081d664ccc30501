"""`vocab.json` and `merges.txt`: GPT-2's pair of files, which say nothing of how text is cut.

That is the tokenizer class's business, and the class is in the tokenizer's config, or follows from
the model's; the classes that are known here are transformers' own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isologit.checkpoint.wording import counted, shown
from isologit.errors import TokenizerFileError
from isologit.tokens.bounded_file import bounded_bytes, require_bounded
from isologit.tokens.byte_level_bpe import byte_level_bpe
from isologit.tokens.huggingface import MAX_ID, of_library
from isologit.tokens.settings import AddedToken, TokenizerSettings, read_vocab_json
from isologit.tokens.split_rules import GPT2, QWEN2, QWEN35, SplitRule
from isologit.tokens.vocabulary import Tokenizer, TokenType, Vocabulary

_END_OF_WORD = "</w>"


@dataclass(frozen=True)
class _Class:
    """A tokenizer class: how it cuts text, and its special tokens where no config names any."""

    rule: SplitRule
    special: tuple[str, ...]


_GPT2 = _Class(GPT2, ("<|endoftext|>",))
_ROBERTA = _Class(GPT2, ("<s>", "</s>", "<unk>", "<pad>", "<mask>"))
_QWEN2 = _Class(QWEN2, ("<|endoftext|>",))

# transformers 4 and 5, models/*/tokenization_*.py, by the class's name without Tokenizer(Fast).
_CLASSES: Mapping[str, _Class] = {
    **dict.fromkeys(("GPT2", "GPTNeoX", "CodeGen", "Whisper"), _GPT2),
    **dict.fromkeys(("Roberta", "Bart", "Longformer", "LED", "MVP"), _ROBERTA),
    "Qwen2": _QWEN2,
    "Qwen3_5": _Class(QWEN35, ("<|endoftext|>",)),
}
# transformers, models/auto/tokenization_auto.py: the class of each model.
_OF_MODEL: Mapping[str, str] = {
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "opt", "phi", "starcoder2", "codegen"), "GPT2"),
    "gpt_neox": "GPTNeoX",
    "whisper": "Whisper",
    "roberta": "Roberta",
    "bart": "Bart",
    "longformer": "Longformer",
    "led": "LED",
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen2_audio"), "Qwen2"),
    **dict.fromkeys(("qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl", "qwen3_vl_moe"), "Qwen2"),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text"), "Qwen3_5"),
}
# These say that there is a tokenizer, and not which.
_SAY_NOTHING = ("PreTrained", "PreTrainedTokenizerFast", "TokenizersBackend", "")


def read_bpe_files(
    vocab_path: Path, merges_path: Path, settings: TokenizerSettings, model_type: str | None
) -> Tokenizer:
    """Read a vocabulary with its merges, and add what the tokenizer's config adds.

    Parameters
    ----------
    vocab_path, merges_path
        The two files.
    settings
        The tokenizer's config: its class goes first.
    model_type
        config.json's, which goes second; where both are silent the class is taken to be GPT-2's.

    Returns
    -------
    Tokenizer
        Without an encoder where the pieces are no byte-level ones.

    Raises
    ------
    TokenizerFileError
        A file cannot be read, or the library does not take them.
    """
    where = f"{shown(str(vocab_path))} and {shown(merges_path.name)}"
    require_bounded(vocab_path)
    pieces = read_vocab_json(vocab_path)
    if not pieces or any(not 0 <= token_id <= MAX_ID for token_id in pieces.values()):
        fault = f"an id below 0 or beyond {MAX_ID:,}" if pieces else "no pieces"
        raise TokenizerFileError(f"{shown(str(vocab_path))} has {fault}; expected ids from 0 on")
    if sum(piece.endswith(_END_OF_WORD) for piece in pieces) > len(pieces) // 10:
        return _with_word_ends(pieces, shown(str(vocab_path)))
    known, said = _class_of(settings, model_type)
    added = [*_named(settings, known, pieces, assumed=bool(said)), *settings.added]
    tokenizer = byte_level_bpe(pieces, _read_merges(merges_path), known.rule, where, added=added)
    return of_library(tokenizer, where, notes=said)


def _class_of(settings: TokenizerSettings, model_type: str | None) -> tuple[_Class, list[str]]:
    """Return the class, and what there is to say where it had to be assumed."""
    named = settings.tokenizer_class or ""
    plain = named.removesuffix("Fast").removesuffix("Tokenizer")
    if plain in _CLASSES:
        return _CLASSES[plain], []
    if named and plain not in _SAY_NOTHING and named not in _SAY_NOTHING:
        return _GPT2, [
            f"how {shown(named)} cuts text is not known here: GPT-2's way was taken, and what is "
            "said of reachability holds for that alone"
        ]
    if model_type is not None and model_type in _OF_MODEL:
        return _CLASSES[_OF_MODEL[model_type]], []
    return _GPT2, [
        "nothing says how text is cut before it is merged: GPT-2's way was assumed; a "
        "tokenizer_config.json with its tokenizer_class would say it"
    ]


def _named(
    settings: TokenizerSettings, known: _Class, pieces: Mapping[str, int], *, assumed: bool
) -> list[AddedToken]:
    """Return the special tokens that have a role: the config's, or else the class's own.

    Those that are not in the vocabulary come behind it, in order, as transformers adds them.
    """
    ids = dict(pieces) | {token.content: token.token_id for token in settings.added}
    contents = [content for _, content in settings.named]
    if not contents and not settings.added:
        contents = [each for each in known.special if each in ids or not assumed]
    for content in contents:
        ids.setdefault(content, max(ids.values(), default=-1) + 1)
    return [AddedToken(ids[content], content, special=True) for content in dict.fromkeys(contents)]


def _read_merges(path: Path) -> list[tuple[str, str]]:
    where = shown(str(path))
    try:
        text = bounded_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerFileError(f"{where} is not UTF-8: {error.reason}") from error
    merges = []
    # Not splitlines: it cuts at characters that may stand in a piece.
    for n, line in enumerate(text.split("\n"), 1):
        pair = line.rstrip("\r").split(" ")
        if line.startswith("#version") or pair == [""]:
            continue
        if len(pair) != 2 or not all(pair):
            raise TokenizerFileError(
                f"{where}, line {n:,}: {shown(line)}; expected two pieces and one space between"
            )
        merges.append((pair[0], pair[1]))
    return merges


def _with_word_ends(pieces: Mapping[str, int], where: str) -> Tokenizer:
    """Return a vocabulary of pieces that mark a word's end, as GPT-1's and CLIP's do."""
    size = max(pieces.values(), default=-1) + 1
    by_id: list[str | None] = [None] * size
    for piece, token_id in pieces.items():
        by_id[token_id] = piece
    raw = [
        None if piece is None else _without_mark(piece).encode("utf-8", "surrogatepass")
        for piece in by_id
    ]
    marked = sum(piece.endswith(_END_OF_WORD) for piece in pieces)
    note = (
        f"reachability is not checked: {counted(marked, 'piece')} of {where} end in "
        f"{_END_OF_WORD}, and how such tokenizers cut text is not known here"
    )
    types: list[TokenType | None] = [None if piece is None else "normal" for piece in by_id]
    vocabulary = Vocabulary(by_id, raw, types, byte_level=False)
    return Tokenizer(vocabulary, None, where, "BPE with ends of words", (note,))


def _without_mark(piece: str) -> str:
    return piece[: -len(_END_OF_WORD)] + " " if piece.endswith(_END_OF_WORD) else piece
