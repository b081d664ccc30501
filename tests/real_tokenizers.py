"""Real tokenizers, beside the real checkpoints, and what others have counted in them."""

from collections import Counter
from functools import cache
from pathlib import Path

from isologit.tokens.huggingface import read_tokenizer_json
from isologit.tokens.reachability import Reachability
from isologit.tokens.vocabulary import Tokenizer


@cache
def qwen3(shared: Path) -> Tokenizer:
    """Return Qwen3's tokenizer, 151,669 ids, out of the shared folder."""
    return read_tokenizer_json(shared / "tokenizers" / "qwen3" / "tokenizer.json")


def magikarp_counts(known: Tokenizer, reached: Reachability) -> dict[str, int]:
    """Count what does not survive by magikarp's own definitions (its tokenization.py).

    In its order: a name in brackets is a special token; text with U+FFFD is partial UTF-8, bytes of
    the alphabet counted apart; anything else is unreachable.
    """
    counts: Counter[str] = Counter()
    for token_id, lost in reached.lost.items():
        text, raw = lost.text, known.vocabulary.token_bytes[token_id]
        if len(text) >= 3 and text[0] in "[<" and text[-1] in "]>" and any(map(str.isalpha, text)):
            counts["unreachable_special"] += 1
        elif "\ufffd" in text:
            counts["byte" if raw is not None and len(raw) == 1 else "partial_utf8"] += 1
        else:
            counts["unreachable"] += 1
    return dict(counts)
