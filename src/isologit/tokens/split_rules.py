"""How byte-level tokenizers cut a text before they merge: the rules that have a name.

The patterns are facts of the tokenizers that were trained with them; the source of each is named.
They are written for Oniguruma, which the `tokenizers` library runs: there ``$`` ends a line and not
the text, and ``{1,3}+`` repeats and does not forbid going back.
"""

from dataclasses import dataclass

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_PUNCTUATION = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"


@dataclass(frozen=True)
class SplitRule:
    """How a text is cut.

    Parameters
    ----------
    name
        What messages call it.
    patterns
        Regular expressions, one after the other: what one matches is a part, and so is what lies
        between two matches.
    nfc
        Whether the text is brought into Unicode's form C first.
    ignore_merges
        Whether a part that is a token is that token, whatever the merges would make of it.
    """

    name: str
    patterns: tuple[str, ...]
    nfc: bool = False
    ignore_merges: bool = False


# openai/gpt-2, src/encoder.py; the library's own ByteLevel has it too.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# meta-llama/llama3, llama/tokenizer.py.
LLAMA3_PATTERN = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _PUNCTUATION + _TAIL
# transformers, models/qwen2/tokenization_qwen2.py; Qwen's own tokenization_qwen.py has the same.
QWEN2_PATTERN = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _PUNCTUATION + _TAIL
# transformers, models/qwen3_5/tokenization_qwen3_5.py.
QWEN35_PATTERN = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _TAIL
)
# openai/tiktoken, tiktoken_ext/openai_public.py, whose possessive quantifiers change no match.
# There white space at the end of a text is one part, line ends and all.
CL100K_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    + _PUNCTUATION
    + r"|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"
)
O200K_PATTERN = (
    f"{_BEFORE}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_BEFORE}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _TAIL
)
# Mistral's tekken, as llama.cpp quotes its tokenizer.json (src/llama-vocab.cpp).
TEKKEN_PATTERN = (
    f"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _TAIL
)

GPT2 = SplitRule("GPT-2's", (GPT2_PATTERN,))
QWEN2 = SplitRule("Qwen2's", (QWEN2_PATTERN,), nfc=True)
QWEN35 = SplitRule("Qwen3.5's", (QWEN35_PATTERN,), nfc=True)
