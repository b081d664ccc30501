"""What kind of claim a figure is: the words that every page and every document uses.

Documents say it under the key ``claims``, figure by figure; pages in brackets behind a heading or a
figure.
"""

from typing import Final

#: The real number, rounded once as the figure says; or a comparison of real numbers or bits.
EXACT: Final = "exact"
#: A number that is proved to be on the safe side of the real one.
BOUND: Final = "certified bound"
#: A number whose error is estimated, with room, and not proved.
ESTIMATED: Final = "estimated"
#: What a device was seen to do, once.
OBSERVED: Final = "observed"


def sampled(n: int) -> str:
    """Return the claim of what was found at n states, and may be otherwise at others."""
    return f"sampled ({n:,})"


def tagged(heading: str, claim: str) -> str:
    """Return a heading with its claim in brackets."""
    return f"{heading} [{claim}]"
