"""What every page is put together from."""

import io

import pytest
from rich.console import Console

from isologit.output.parts import PlainTable


@pytest.mark.parametrize("width", [12, 20, 40])
def test_a_narrow_terminal_loses_no_digit_of_a_table(width: int) -> None:
    table = PlainTable()
    for head in ("step", "frozen rows", "max ULP"):
        table.add_column(head, justify="right")
    table.add_row("llama2xs-hf-f32", "123,456", "15,267")
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    shown = "".join(c for c in out.getvalue() if not c.isspace())
    assert "…" not in shown
    assert sorted(shown) == sorted("stepfrozenrowsmaxULPllama2xs-hf-f32123,45615,267")
