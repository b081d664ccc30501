"""How names, shapes and lists of tensors are written in messages: always on one line.

Names come out of files that anyone may have made; a line feed or a terminal escape in one must not
reach the screen.
"""

import re
from collections.abc import Iterable, Sequence

_LONGEST_NAME = 200
# What Python calls printable and nobody sees: the marks and letters among the code points that the
# Unicode standard says to ignore in display (Default_Ignorable_Code_Point), which are joiners,
# fillers of Hangul, Khmer's inherent vowels and selectors of variants; and Braille's empty cell.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def is_plain(text: str) -> bool:
    """Whether all of a text can be seen, and none of it is an order to a terminal."""
    return text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None)


def shown(name: str) -> str:
    """Return a name fit for one line: escaped where not printable, cut where very long."""
    text = name if is_plain(name) else ascii(name)[1:-1]
    if len(text) > _LONGEST_NAME:
        text = f"{text[: _LONGEST_NAME - 20]}… ({len(name):,} characters)"
    return text or "''"


def shown_shape(shape: Sequence[int]) -> str:
    """Return a shape as ``[32000, 4096]``."""
    return f"[{listed(map(str, shape), at_most=8)}]"


def listed(items: Iterable[str], *, at_most: int = 20) -> str:
    """Return items joined by commas, the rest counted where there are more than `at_most`."""
    every = list(items)
    tail = f", and {len(every) - at_most:,} more" if len(every) > at_most else ""
    return ", ".join(every[:at_most]) + tail


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """Return ``1 file`` or ``2 files``."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"
