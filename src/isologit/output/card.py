"""A section for a model card, in Markdown, into which no token can write.

What comes out of a model's files is shown in code spans, where Markdown, HTML, links and mentions
mean nothing. What would end one (a backtick) or a table's cell (a bar) is written as an escape, as
is whatever no reader could see.
"""

import shlex
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec.structs import replace

from isologit.checkpoint.wording import counted
from isologit.exportable import Exportable
from isologit.output.advice import model_argument
from isologit.record import Model
from isologit.selection import Selection
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.text import visible, visible_token

_CLASSES_SHOWN = 10
_RANGES_SHOWN = 12
_LONGEST_TOKEN = 24


def card(of: Exportable, selection: Selection) -> str:
    """Return the section: commit, padding, row classes, what was selected, how to repeat it.

    Parameters
    ----------
    of
        The tokens of a model.
    selection
        Those that are not meant to be generated.
    """
    parts = [
        "## Tokens that are not meant to be generated",
        "",
        *_source(of),
        "",
        *_figures(of),
        "",
        f"Selected ({_code(', '.join(selection.names))}): "
        f"{counted(len(selection.token_ids), 'id')}, {ranges(selection.token_ids)}",
        "",
        *_classes(of),
        "To repeat it:",
        "",
        "```sh",
        _command(of.model, selection.names),
        "```",
    ]
    return "\n".join(parts) + "\n"


def ranges(token_ids: Sequence[int] | npt.NDArray[np.int32], at_most: int = _RANGES_SHOWN) -> str:
    """Return ascending ids as ``3, 7–9``, the rest of very many counted."""
    ids = np.asarray(token_ids)
    cuts = np.flatnonzero(np.diff(ids) > 1) + 1
    runs = [(int(run[0]), int(run[-1])) for run in np.split(ids, cuts)] if len(ids) else []
    shown = [f"{low}" if low == high else f"{low}–{high}" for low, high in runs[:at_most]]
    rest = sum(high - low + 1 for low, high in runs[at_most:])
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def _source(of: Exportable) -> list[str]:
    matrix, model = of.matrix, of.model
    commit = f", commit {_code(model.revision)}" if model.revision else ""
    return [
        f"Found by isologit {_code(of.version)} in {_code(model.name)}{commit}: the rows of "
        f"{_code(matrix.tensor)}, {matrix.shape[0]:,} × {matrix.shape[1]:,} in "
        f"{_code(matrix.dtype)}, sha256 {_code(matrix.sha256)}."
    ]


def _figures(of: Exportable) -> list[str]:
    rows = of.rows
    lines = []
    if of.tokens is not None:
        kinds = [f"{n:,} {name.replace('_', ' ')}" for name, n in _categories(of) if n]
        lines.append(
            f"- {of.n_rows:,} rows for {counted(of.tokens.in_tokenizer, 'token')} of "
            f"{_code(of.tokens.tokenizer.source)}: {', '.join(kinds)}"
        )
    if rows.classes:
        lines.append(
            f"- {counted(rows.tokens_in_classes, 'token')} share their row with another, bit for "
            f"bit: {counted(rows.classes, 'row class', 'row classes')}, the largest of "
            f"{counted(rows.sizes[0], 'token')}. The model cannot tell the tokens of one apart"
        )
    else:
        lines.append("- No two rows are the same")
    return lines


def _categories(of: Exportable) -> list[tuple[str, int]]:
    counts = of.tokens.categories if of.tokens is not None else {}
    return [(name, counts.get(name, 0)) for name in CATEGORIES]


def _classes(of: Exportable) -> list[str]:
    """Return a table of the largest row classes, and an empty line behind it."""
    largest = of.rows.largest[:_CLASSES_SHOWN]
    if not largest:
        return []
    lines = ["| row class of | ids | first token |", "|--:|:--|:--|"]
    raw = of.columns["bytes"] if "bytes" in of.columns.column_names else None
    for group in largest:
        first = "" if raw is None else _token(raw, group.token_ids[0])
        lines.append(f"| {group.size:,} | {ranges(group.token_ids, 4)} | {first} |")
    hidden = of.rows.classes - len(largest)
    more = [f"… and {counted(hidden, 'smaller class', 'smaller classes')}.", ""] if hidden else []
    return [*lines, "", *more]


def _token(raw: pa.ChunkedArray, token_id: int) -> str:
    content = raw[token_id].as_py()
    if content is None:
        return "no token"
    # In a cell a bar is escaped, in a code span too (GFM, 4.10).
    bars = visible_token(content, _LONGEST_TOKEN).split("|")
    return _span("\0".join(bars)).replace("\0", "\\|")


def _code(text: str) -> str:
    """Return text out of a file as a code span, without the quotes."""
    return _span(visible(text)[1:-1] or " ")


def _span(escaped: str) -> str:
    # Inside of a code span a backtick would end it, and a bar the cell around it.
    return "`" + escaped.replace("`", "\\u0060").replace("|", "\\u007c") + "`"


def _command(model: Model, names: Sequence[str]) -> str:
    """Return the command, of the commit where there is one; on one line, whatever the names are."""
    if model.source != "hub" or not model.revision:
        # Where it lies on this machine is nobody's business.
        model = replace(model, spec=PurePath(model.spec).name)
    selected = shlex.quote(",".join(names))
    return f"isologit export {model_argument(model)} --as card --select {selected}"
