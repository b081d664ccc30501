"""Texts that tokenizers are compared on: the same on every machine."""

import random
from collections.abc import Sequence

_ALPHABET = "aabcdeéßÅſ  \n\t'sSlL0123日本語テ한국😀—“”.,!?=_-/\u3000\u200d"


def plain_sentences() -> list[str]:
    """Return sentences of single spaces, as children's stories have."""
    return [
        "Once upon a time there was a little girl named Lily.",
        "She liked to play outside in the park with her dog",
        "One day, Tom saw a big red ball and he was so happy!",
        'Her mom said, "Do not be sad. We can find it."',
        "They went to the tree, and the bird sang 123 songs.",
        "日本語 and émigré",
    ]


def random_texts(n: int, seed: int = 0, alphabet: str = _ALPHABET) -> list[str]:
    """Return n texts of up to 60 characters of several scripts, spaces and line ends."""
    draw = random.Random(seed)
    return ["".join(draw.choice(alphabet) for _ in range(draw.randrange(60))) for _ in range(n)]


def joined_pieces(pieces: Sequence[str], n: int, seed: int = 0) -> list[str]:
    """Return n texts, each of six pieces."""
    draw = random.Random(seed)
    return ["".join(draw.choice(pieces) for _ in range(6)) for _ in range(n)]


def runs() -> list[str]:
    """Return one thing many times over, where merges tie."""
    return [unit * n for unit in ("a", "ab", " ", "=", "\n", "é") for n in range(1, 80)]
