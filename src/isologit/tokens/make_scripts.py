"""Make `scripts.txt` anew: ``python -m isologit.tokens.make_scripts Scripts.txt [--out FILE]``.

`Scripts.txt` is the Unicode Character Database's table of the property Script (UAX #24), of any
version. What is made of it has a header of lines that begin with ``#``: the version, then whose
the data is and what was changed. Every other line is the first code point of a range, in hex, and
the range's script; a range ends where the next one begins, and the last at U+10FFFF.

Ranges that touch and have one script are merged, and what `Scripts.txt` does not list is
``Unknown``, its default, so every code point is in a range. The same input gives the same bytes.

The table that is shipped was made from the ranges of Scripts-18.0.0.txt as fontTools 4.68 carries
them; of 17.0.0, fontTools' ranges and the file itself give the same bytes.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from isologit.tokens.scripts import N_CODE_POINTS, UNKNOWN

_TITLE = re.compile(
    r"# Scripts-(?P<version>\d+\.\d+\.\d+)\.txt\n"
    r"# Date: (?P<date>\d{4}-\d\d-\d\d).*\n"
    r"# (?P<copyright>©.*)\n"
)
_ASSIGNMENT = re.compile(r"([0-9A-F]{4,6})(?:\.\.([0-9A-F]{4,6}))?\s*;\s*(\w+)\s*")
_LAST_LINE = "# EOF"


def scripts_table(text: str) -> str:
    """Return the content of `scripts.txt` for that of `Scripts.txt`.

    Raises
    ------
    ValueError
        The text is not a whole `Scripts.txt`, or gives a code point two scripts.
    """
    title = _TITLE.match(text)
    if title is None:
        raise ValueError(
            "expected a Scripts.txt, which begins with its version, date and copyright; "
            f"got {text[:40]!r}"
        )
    if not text.rstrip().endswith(_LAST_LINE):
        raise ValueError(f"Scripts.txt is cut short: its last line is not {_LAST_LINE!r}")
    header = [
        f"# The property Script (UAX #24) of Unicode {title['version']}, made from "
        f"Scripts-{title['version']}.txt of {title['date']}",
        f"# {title['copyright']} Under the Unicode License v3, in LICENSE.unicode beside this file",
        "# Changed: ranges merged, gaps filled in. By isologit.tokens.make_scripts, which says how",
    ]
    lines = [f"{first:04X} {script}" for first, script in _merged(sorted(_assignments(text)))]
    return "\n".join([*header, *lines]) + "\n"


def _assignments(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the first code point, the last and the script of every range, in the file's order."""
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = _ASSIGNMENT.fullmatch(content)
        if match is None:
            raise ValueError(f"line {number}: expected 'FIRST..LAST ; Script', got {content!r}")
        first, last = int(match[1], 16), int(match[2] or match[1], 16)
        if not first <= last < N_CODE_POINTS:
            raise ValueError(f"line {number}: {content!r} is no range of code points")
        yield first, last, match[3]


def _merged(ranges: list[tuple[int, int, str]]) -> Iterator[tuple[int, str]]:
    """Yield where the script changes, and to which, from U+0000 on."""
    end, before = 0, ""
    for first, last, script in [*ranges, (N_CODE_POINTS, N_CODE_POINTS, "")]:
        if first < end:
            raise ValueError(f"U+{first:04X} is in two ranges, of {before} and of {script}")
        if first > end and before != UNKNOWN:
            yield end, UNKNOWN
            before = UNKNOWN
        if script != before and first < N_CODE_POINTS:
            yield first, script
        end, before = last + 1, script


def main() -> None:
    """Read the table that the command line names, and write `scripts.txt`."""
    parser = argparse.ArgumentParser(
        prog="python -m isologit.tokens.make_scripts",
        description="Make the table of scripts from the Unicode Character Database's Scripts.txt.",
    )
    parser.add_argument("source", type=Path, metavar="Scripts.txt")
    beside = Path(__file__).with_name("scripts.txt")
    parser.add_argument("--out", type=Path, default=beside, metavar="FILE")
    arguments = parser.parse_args()
    try:
        table = scripts_table(arguments.source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"{arguments.source}: {error}")
    arguments.out.write_text(table, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
