"""The 8-bit floating-point formats that heads are cast to, and what becomes of what is too large.

Facts: OCP 8-bit Floating Point Specification 1.0 (2023), after Micikevicius and others, FP8 formats
for deep learning (arXiv:2209.05433). e4m3fn has no infinity, and one NaN of either sign; e5m2 has
infinities and six NaNs, as IEEE 754 would have it.

Libraries agree on every number that is in range, and differ beyond it:

    =================  ============  ==============  =============  =============
    format, library    too large     an infinity     a NaN          name here
    =================  ============  ==============  =============  =============
    e4m3fn, torch      ±448          ±448            7F, FF         saturate
    e4m3fn, ml_dtypes  NaN           NaN             7F, FF         nan
    e5m2, torch        an infinity   an infinity     7F, FF         saturate
    e5m2, ml_dtypes    an infinity   an infinity     7E, FE         nan
    =================  ============  ==============  =============  =============

(torch 2.13, c10/util/Float8_e4m3fn.h and Float8_e5m2.h; ml_dtypes 0.6.) "Too large" is what rounds
beyond the largest number: 464 is a tie and becomes 448. The specification's own saturation of e5m2,
to 57,344, is neither's.
"""

from dataclasses import dataclass
from typing import Literal

from isologit.numerics.cast_formats import OverflowRule
from isologit.numerics.encodings import Encoding, encoding


@dataclass(frozen=True)
class Float8:
    """An 8-bit floating-point format.

    Parameters
    ----------
    name
        As a cast's name.
    coding
        What `isologit.numerics.codings.ScaledFloat8` calls it, as safetensors does.
    precision
        Significant bits, the hidden one included.
    bias
        Of the exponent.
    largest_word
        The largest finite number's word.
    largest
        That number.
    infinity_word
        None where there is no infinity.
    nan_words
        What a NaN becomes, by the rule.
    """

    name: str
    coding: str
    precision: int
    bias: int
    largest_word: int
    largest: float
    infinity_word: int | None
    nan_words: dict[OverflowRule, int]

    def encoding(self, overflow: OverflowRule) -> Encoding:
        """Return how a number becomes a word under a rule."""
        beyond = self.infinity_word
        if beyond is None:
            beyond = self.largest_word if overflow == "saturate" else self.nan_words[overflow]
        return encoding(
            bits=8,
            precision=self.precision,
            min_exponent=1 - self.bias,
            largest=self.largest_word,
            overflow=beyond,
            infinity=beyond,
            nan=self.nan_words[overflow],
            keeps_nan_sign=True,
        )

    def becomes(self, overflow: OverflowRule) -> Literal["saturate", "nan", "infinity"]:
        """Return what becomes of a number that is too large."""
        return overflow if self.infinity_word is None else "infinity"


E4M3FN = Float8("f8_e4m3fn", "f8_e4m3", 4, 7, 0x7E, 448.0, None, {"saturate": 0x7F, "nan": 0x7F})
E5M2 = Float8("f8_e5m2", "f8_e5m2", 3, 15, 0x7B, 57344.0, 0x7C, {"saturate": 0x7F, "nan": 0x7E})
