"""Small SentencePiece models for tests, trained by the library itself."""

import io
import random
from typing import Any

import sentencepiece

_WORDS = ("the", "cat", "sat", "on", "mat", "héllo", "ﬁn", "①", "Ａbc", "world", "token")


def trained(**options: Any) -> bytes:
    """Return a model of some 350 pieces, the same each time."""
    draw = random.Random(0)
    words = [*_WORDS, *("".join(draw.choices("abcdefghij", k=5)) for _ in range(300))]
    lines = [" ".join(draw.choices(words, k=12)) for _ in range(600)]
    model = io.BytesIO()
    settings = {
        "vocab_size": 360,
        "character_coverage": 1.0,
        "minloglevel": 2,
        "num_threads": 1,
        **options,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, **settings
    )
    return model.getvalue()
