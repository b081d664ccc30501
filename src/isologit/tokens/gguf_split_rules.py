"""How llama.cpp cuts text for the names that `tokenizer.ggml.pre` has in GGUF files.

The patterns are facts of llama.cpp (ggml-org/llama.cpp, src/llama-vocab.cpp, commit 00ad355e, where
a comment there gives the pattern of the tokenizer's own file, that one). A name that is not here
may be newer, or be cut by code of llama.cpp's that no pattern describes: kimi-k2, afmoe, superbpe.
"""

from collections.abc import Mapping

from isologit.tokens.split_rules import (
    GPT2_PATTERN,
    LLAMA3_PATTERN,
    O200K_PATTERN,
    QWEN2_PATTERN,
    QWEN35_PATTERN,
    TEKKEN_PATTERN,
    SplitRule,
)

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_DIGIT, _DIGITS = r"\p{N}", r"\p{N}+"
_THREE_DIGITS = "[0-9][0-9][0-9]"
_UP_TO_THREE = r"\p{N}{1,3}"
_KANA_AND_HAN = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_HAN_AND_MORE = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_SIGN_AND_WORD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_WORD_WITH_MARKS = r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"
_SPACES = r"|\s+(?!\S)|\s+"
_LINE_ENDS = r"|\s*[\r\n]+"
_SENTENCE_SIGNS = "[^(\\s|.,!?…。，、।۔،)]+"

# Cased letters, as DeepSeek's tokenizer.json lists them.
_DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd"
    "\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b"
    "\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787"
    "\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_DEEPSEEK_SIGNS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
_DEEPSEEK3 = (
    _UP_TO_THREE,
    _KANA_AND_HAN,
    _SIGN_AND_WORD + _WORD_WITH_MARKS + r"[\r\n]*" + _LINE_ENDS + _SPACES,
)
_JAIS2 = (
    _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    + "".join(rf"|\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
    + r"|\s{1,2}(?!\S)|\s{1}"
)

_PATTERNS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("default", ""): (r"[\p{P}\$\+<=>\^~\|]+", GPT2_PATTERN, _DIGITS, _THREE_DIGITS),
    (
        *("gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat"),
        *("a.x-4.0", "mellum", "modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe"),
        *("mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"),
    ): (GPT2_PATTERN,),
    (
        *("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"),
        "mellum2",
    ): (_DIGIT, GPT2_PATTERN),
    ("falcon",): (r"[\p{P}\$\+<=>\^~\|`]+", GPT2_PATTERN, _THREE_DIGITS),
    (
        *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0"),
        *("lfm2", "jina-v5-nano", "dbrx", "smaug-bpe", "glm4", "chatglm-bpe"),
    ): (LLAMA3_PATTERN,),
    (
        *("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "hunyuan", "solar-open"),
        *("megrez", "grok-2"),
    ): (QWEN2_PATTERN,),
    ("qwen35",): (QWEN35_PATTERN,),
    ("laguna",): (r"[^\n]+|[\n]+", QWEN2_PATTERN),
    ("ufakzeka",): (QWEN2_PATTERN.removeprefix(_CONTRACTIONS + "|"),),
    ("minicpm5",): (_UP_TO_THREE, QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}+|")),
    ("jais-2",): (_JAIS2,),
    ("tekken",): (TEKKEN_PATTERN,),
    ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"): (O200K_PATTERN,),
    ("tiny_aya", "cohere2moe"): (r"\d{1,3}(?=(?:\d{3})*\b)", O200K_PATTERN),
    ("deepseek-llm",): (
        r"[\r\n]",
        rf"\s?[{_DEEPSEEK_LETTERS}]+",
        _DEEPSEEK_SIGNS,
        r"\s+$",
        _HAN_AND_MORE,
        _DIGITS,
    ),
    ("deepseek-coder",): (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_AND_MORE, _DIGIT),
    ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"): _DEEPSEEK3,
    ("spark2_5",): (
        *(_UP_TO_THREE, _KANA_AND_HAN),
        _SIGN_AND_WORD + _WORD_WITH_MARKS + r"|[\r\n]" + _SPACES,
        _DIGIT,
    ),
    ("poro-chat", "bloom", "gpt3-finnish"): (f" ?{_SENTENCE_SIGNS}",),
    ("viking",): (f" ?{_SENTENCE_SIGNS}", _DIGIT),
    ("bailingmoe", "bailingmoe2", "llada-moe"): (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]"
        + _SPACES,
    ),
    ("seed-coder",): (
        _CONTRACTIONS
        + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+"
        + _LINE_ENDS
        + _SPACES,
    ),
    ("exaone-moe",): (
        _CONTRACTIONS
        + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
        + r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]"
        + _SPACES,
    ),
}
# llm_tokenizer_bpe takes a part that is a token as it is for these.
_IGNORE_MERGES = (
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0"),
    *("lfm2", "jina-v5-nano", "tekken", "minicpm5"),
)

RULES: Mapping[str, SplitRule] = {
    name: SplitRule(
        f"llama.cpp's {name or 'default'}", patterns, ignore_merges=name in _IGNORE_MERGES
    )
    for names, patterns in _PATTERNS.items()
    for name in names
}
# Pieces of these are text with ▁ for spaces, and not GPT-2's alphabet.
NOT_BYTE_LEVEL = (
    *("gemma4", "granite-embed-multi-311m", "sarvam-moe"),
    "whitespace",
)
