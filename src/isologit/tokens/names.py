"""Tokens that their names call reserved or unused, in the ways in which published models do.

The names are those of vocabularies: ``[unused7]`` (BERT), ``<unused7>`` (Gemma), ``<|unused_7|>``,
``[UNUSED_TOKEN_7]`` (InternLM), ``>>UNUSED_7<<`` (Falcon 3), ``<|reserved_special_token_7|>``
(Llama 3), ``<|reserved_7|>`` (o200k), ``<reserved_7>`` (Baichuan), ``<|placeholder7|>`` (Phi 3),
``<｜place▁holder▁no▁7｜>`` (DeepSeek), ``<|dummy_7|>`` (Phi 4), ``<|extra_7|>`` (Qwen 1),
``<EXTRA_7>`` (Command R), ``<SPECIAL_7>`` and ``[control_7]`` (Mistral),
``<[PLHD7_never_used]>`` (Seed). T5's ``<extra_id_7>`` is a sentinel that T5 is trained on, and is
not among them.
"""

import re

_OPEN, _CLOSE = r"[<\[>|｜]+", r"[>\]<|｜]+"
# Words that say it, and words that say it of a token with a number.
_SAYS = r"unused|reserved|place[\W_]?holder|never_used|dummy"
_SAYS_WITH_NUMBER = r"extra|special|control"
_RESERVED = re.compile(
    rf"{_OPEN}(?:[\w▁ :.-]*?(?:{_SAYS})[\w▁ :.-]*"
    rf"|(?:{_SAYS_WITH_NUMBER})_?\d+(?:_token)?){_CLOSE}",
    re.IGNORECASE,
)


# No name is longer, and the pattern takes a time that grows with the square of the length.
_LONGEST = 100


def is_reserved_name(piece: str) -> bool:
    """Whether a piece is the name of a reserved or unused token, all of it."""
    return len(piece) <= _LONGEST and _RESERVED.fullmatch(piece) is not None
