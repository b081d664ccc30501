"""A bar in one line of text, for long searches, and how long they take in words."""

_CELLS = 24


def text_bar(done: int, total: int) -> str:
    """Return how much of a whole is done: ``━━━━╌╌╌╌ 12 of 24``."""
    filled = _CELLS * done // max(total, 1)
    return f"{'━' * filled}{'╌' * (_CELLS - filled)} {done:,} of {total:,}"


def duration(seconds: float) -> str:
    """Return seconds in the unit that fits: ``12 s``, ``5 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
