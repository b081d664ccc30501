"""Ctrl-C, also where Python would lose it.

One that comes while the compiler calls back into Python is printed there and forgotten. Here it is
remembered, and the next step of the job, or its end, finds it.
"""

import signal
import sys

_seen: list[int] = []


def watch() -> None:
    """Begin to remember interrupts, for a process of isologit's own."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # whoever started this wants it ignored, or handles it

    def interrupt(number: int, _frame: object) -> None:
        _seen.append(number)
        raise KeyboardInterrupt

    def unraisable(given: "sys.UnraisableHookArgs") -> None:
        if given.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(given)

    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = unraisable


def raise_any() -> None:
    """Raise KeyboardInterrupt if one has been lost."""
    if _seen:
        raise KeyboardInterrupt


def ignore() -> None:
    """Let no interrupt in any more: all that was asked for is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
