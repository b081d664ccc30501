"""Audits of small checkpoints as pictures are made of them, and what stands in a figure."""

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken

from checkpoints import Values, gaussian, write_llama
from isologit.audit import audit
from isologit.audit_tables import AuditTables
from isologit.output.drawing import Drawing
from isologit.output.parquet import token_columns
from isologit.output.pictured import Pictured
from isologit.subject import Settings
from tokens.small_tokenizers import byte_level, save

Get = Callable[[str], Pictured]

# What plotly makes tags of, and the only ones that a figure uses.
_TAGS = re.compile(r"<br>|<extra></extra>")
_MANY = re.compile(r"^([0-9,]+) tokens")


def pictured(model: Path, **settings: Any) -> Pictured:
    """Audit a checkpoint."""
    findings, arrays = audit(str(model), Settings(**settings))
    return Pictured.of(AuditTables(findings, token_columns(arrays)))


def pictured_matrix(directory: Path, values: Values, dtype: str = "bf16") -> Pictured:
    """Audit a matrix that no tokenizer lies beside."""
    return pictured(write_llama(directory, values, dtype))


def small_model(directory: Path) -> Path:
    """Write a checkpoint of 280 rows that has something of everything.

    A cluster, row classes inside and outside, zero rows, a row without numbers, padding, special
    and reserved tokens, several scripts.
    """
    values = gaussian(280, 12, seed=21)
    values[40:70] = 0.25 + 0.03 * gaussian(30, 12, seed=22)
    values[50:58] = values[50]
    values[80:83] = values[7]
    values[100:102] = 0
    values[90] = np.nan
    made = byte_level(
        [" ที่", "שלום", "xy", "<unused7>", "日の"],
        added=[AddedToken("<s>", special=True), AddedToken("</s>", special=True)],
    )
    return save(made, write_llama(directory, values))


def texts_of(drawing: Drawing) -> Iterator[str]:
    """Yield every text of a figure that plotly reads."""
    for trace in drawing.figure.data:
        yield from (text for text in (trace.name, trace.hovertemplate) if text)
        yield from () if trace.hovertext is None else map(str, trace.hovertext)
    layout = drawing.figure.layout
    yield from (note.text for note in layout.annotations)
    yield from (layout.xaxis.title.text or "", layout.yaxis.title.text or "")
    if layout.yaxis.type == "category" or drawing.key == "categories_by_class":
        yield from (bar for trace in drawing.figure.data for bar in trace.y)


def untagged(text: str) -> str:
    """Return what plotly shows of a text, its own line breaks as line feeds."""
    return html.unescape(_TAGS.sub("\n", text))


def counted_by(trace: Any) -> list[int]:
    """Return how many tokens each of a trace's marks says that it stands for."""
    found = (_MANY.match(str(text)) for text in trace.hovertext)
    return [int(match[1].replace(",", "")) if match else 1 for match in found]


def number(text: str) -> int:
    """Return a number as figures write it: ``3,166``."""
    return int(text.replace(",", ""))


def found(pattern: str, text: str) -> str:
    """Return what a pattern's group matches, which it must."""
    match = re.search(pattern, text)
    assert match is not None, (pattern, text)
    return match[1]


def first_id(text: str) -> int:
    """Return the first token that a mark's text names."""
    return int(found(r"(?:token |: )(\d+)", text))


def traces(drawing: Drawing) -> list[Any]:
    return list(drawing.figure.data)


def named(drawing: Drawing, beginning: str) -> Any:
    (found,) = (trace for trace in drawing.figure.data if (trace.name or "").startswith(beginning))
    return found


def read_back(drawing: Drawing) -> Any:
    """Return the figure as a page has it, read as strict JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(drawing.page_json(), parse_constant=refuse)


def every_colouring(drawing: Drawing) -> list[list[Any]]:
    """Return the traces of marks that each button shows."""
    shown = []
    for button in drawing.figure.layout.updatemenus[0].buttons:
        assert button.method == "restyle"
        visible = button.args[0]["visible"]
        assert len(visible) == len(drawing.figure.data)
        shown.append(
            [
                trace
                for trace, is_shown in zip(drawing.figure.data, visible, strict=True)
                if is_shown and trace.hoverinfo != "skip"
            ]
        )
    return shown
