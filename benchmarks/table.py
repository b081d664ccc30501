"""The rows of the table of times, and the page that holds its last version."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turns import Turns

_BEGIN = "<!-- written by benchmarks/speed.py: begin -->"
_END = "<!-- written by benchmarks/speed.py: end -->"
_HEADINGS = ("what", "beside", "isologit", "the other", "ratio", "reach", "")


@dataclass(frozen=True)
class Row:
    """A measurement beside another one; `met` is None where no reach was set."""

    what: str
    beside: str
    own: str
    other: str
    ratio: str
    reach: str = ""
    met: bool | None = None


def times_row(
    turns: Turns, own: str, other: str, what: str, beside: str, at_most: float | None = None
) -> Row:
    """Return how many times as long as the other one took, the median turn and the extremes."""
    ratios = turns.ratios(own, other)
    ratio = statistics.median(ratios)
    return Row(
        what,
        beside,
        _time(turns.median(own)),
        _time(turns.median(other)),
        f"{ratio:.2f} × ({min(ratios):.2f} to {max(ratios):.2f})",
        "" if at_most is None else f"≤ {at_most:g} ×",
        None if at_most is None else ratio <= at_most,
    )


def faster_row(
    turns: Turns,
    own: str,
    other: str,
    what: str,
    beside: str,
    at_least: float | None = None,
    scale: float = 1.0,
) -> Row:
    """Return how many times faster than the other one it was, the other's time scaled."""
    ratios = [scale * ratio for ratio in turns.ratios(other, own)]
    ratio = statistics.median(ratios)
    return Row(
        what,
        beside,
        _time(turns.median(own)),
        _time(scale * turns.median(other)),
        f"{ratio:.1f} × faster ({min(ratios):.1f} to {max(ratios):.1f})",
        "" if at_least is None else f"≥ {at_least:g} × faster",
        None if at_least is None else ratio >= at_least,
    )


def size_row(what: str, beside: str, own: int, other: int, at_most: int | None = None) -> Row:
    """Return one amount of memory over another."""
    return Row(
        what,
        beside,
        megabytes(own),
        megabytes(other),
        f"{own / other:.2f} ×",
        "" if at_most is None else f"≤ {megabytes(at_most)}",
        None if at_most is None else own <= at_most,
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|---|---|---:|---:|---|---|---|"]
    for row in rows:
        verdict = {None: "", True: "met", False: "missed"}[row.met]
        cells = (row.what, row.beside, row.own, row.other, row.ratio, row.reach, verdict)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_into(page: Path, text: str) -> None:
    """Replace what stands between a page's two markers.

    Raises
    ------
    ValueError
        The page lacks one of them.
    """
    old = page.read_text(encoding="utf-8")
    before, begin, rest = old.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} lacks the lines {_BEGIN} and {_END}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def megabytes(size: float) -> str:
    """Return a number of bytes in millions."""
    return f"{size / 1e6:,.0f} MB"


def _time(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:,.1f} ms" if milliseconds < 100 else f"{milliseconds:,.0f} ms"
