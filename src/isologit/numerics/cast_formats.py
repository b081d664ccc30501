"""The formats that a matrix can be cast to, by name, and what has to be chosen of a cast.

Apart from `isologit.numerics.casts` because that brings the compiler, and a command line is read
without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

OverflowRule = Literal["saturate", "nan"]
Scaling = Literal["none", "tensor", "row"]

_FLOATS = ("f32", "f16", "bf16")
_FLOAT8 = ("f8_e4m3fn", "f8_e5m2")
_INT8 = ("int8_row", "int8_channel")
_BLOCKS = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
# Numbers in each of these blocks.
_BLOCK_VALUES = 32

#: Every format that a matrix can be cast to.
CASTS: tuple[str, ...] = (*_FLOATS, *_FLOAT8, *_INT8, *_BLOCKS)

#: What a cast is, in a sentence, and whose scheme it is.
SCHEMES: Mapping[str, str] = {
    "f32": "IEEE 754 binary32, each number rounded once",
    "f16": "IEEE 754 binary16, each number rounded once",
    "bf16": "bfloat16, each number rounded once",
    **dict.fromkeys(
        _FLOAT8, "8-bit floats of OCP's OFP8 1.0 (Micikevicius et al., arXiv:2209.05433)"
    ),
    "int8_row": "integers to ±127, a scale max|w|/127 in f32 for each row of W (symmetric, per "
    "output channel: Wu et al., arXiv:2004.09602; LLM.int8(), arXiv:2208.07339)",
    "int8_channel": "the same with a scale for each column of W, an input channel",
    **dict.fromkeys(_BLOCKS, "ggml's blocks of 32, as ggml-quants.c's reference makes them"),
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What has to be chosen of casts to 8-bit floats.

    Parameters
    ----------
    overflow
        What becomes of a number that is too large for e4m3fn, which has no infinity: ``saturate``,
        as in torch, or ``nan``, as in ml_dtypes. See `isologit.numerics.float8` for e5m2.
    scaling
        ``none``: the numbers as they are. ``tensor``, ``row``: their quotients by a scale
        max|w| / (the format's largest number) in binary32, of all or of each row.
    """

    overflow: OverflowRule = "saturate"
    scaling: Scaling = "none"


def is_float8(name: str) -> bool:
    """Return whether the rules are about a format."""
    return name in _FLOAT8


def why_impossible(name: str, width: int) -> str | None:
    """Return why rows of d numbers cannot be cast to a format; None where they can."""
    if name in _BLOCKS and width % _BLOCK_VALUES:
        return f"rows of {width:,} numbers are not whole blocks of {_BLOCK_VALUES}"
    return None
