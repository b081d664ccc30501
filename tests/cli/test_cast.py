"""`isologit cast`: the page, `--json`, and what it says of wrong options."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.cast_findings import Casts
from isologit.errors import TensorShapeError
from isologit.numerics.cast_formats import CASTS
from tokens.small_tokenizers import byte_level, save

HOSTILE = ["\x1b[31mred", "[bold]x[/bold]", "\u202egnp.exe"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values: Any = gaussian(300, 32, seed=3)
    # Two neighbours of bf16 each, 15 rows of them.
    values[255:270] = 0.5 + 2.0**-8 * (gaussian(15, 32, seed=4) > 0)
    folder = write_llama(tmp_path_factory.mktemp("cast") / "m", values)
    return save(byte_level(HOSTILE, added=[AddedToken("<s>", special=True)]), folder)


def test_the_page_has_a_line_a_format(model: Path) -> None:
    ran = isologit("cast", model, "--states", 20)
    assert (ran.code, ran.err) == (0, "")
    table = [line.split() for line in ran.section("Casts")]
    names = [row[0] for row in table[3 : 3 + len(CASTS)]]
    assert table[1][:2] == ["format", "scaling"]
    assert table[2][:3] == ["as", "stored", "(bf16)"]
    assert names == list(CASTS)
    assert ran.out.splitlines()[0] == (
        "4 of 12 casts would merge rows that differ now; f8_e4m3fn merges the most: 14 distinct "
        "rows fewer, 15 tokens in 1 new class."
    )
    by_name = {row[0]: row for row in table}
    assert by_name["bf16"][-4:] == ["W", "is", "stored", "so"]
    assert by_name["f32"][-3:] == ["keeps", "every", "number"]
    assert by_name["q8_0"][1:4] == ["scale", "a", "block"]
    for heading in ("What becomes of the entries [exact]", "Classes born by f8_e5m2 [exact]"):
        assert heading in ran.out.splitlines()
    assert "[sampled (20)]" in ran.out


def test_hostile_text_stays_text(model: Path) -> None:
    ran = isologit("cast", model, "--to", "q4_0", "--states", 5)
    assert all(c.isprintable() or c == "\n" for c in ran.out)
    assert r"\u001b[31mred" in ran.out or "[bold]x[/bold]" in ran.out


def test_json_has_the_documented_keys_and_is_read_back(model: Path) -> None:
    ran = isologit("cast", model, "--to", "f8_e4m3fn", "--to", "Q8_0", "--json", "--states", 9)
    found = ran.json
    assert found["schema"] == "isologit.cast/1"
    assert list(found["formats"]) == ["f8_e4m3fn", "q8_0"]
    facts = found["formats"]["f8_e4m3fn"]
    assert {"distinct", "redundant", "sizes", "born", "rows_merged"} <= set(facts)
    assert facts["redundant"] == 300 - facts["distinct"]
    assert (facts["overflow"], facts["scaling"], facts["kind"]) == ("saturate", "none", "rounded")
    assert set(facts["entries"]) == {"total", "zeroed", "subnormal", "overflowed"}
    assert found["states"] == {
        "n": 9,
        "seed": 0,
        "norm": "model.norm.weight",
        "assumed": False,
    }
    again = msgspec.json.decode(ran.out, type=Casts)
    assert again.formats["q8_0"].distinct == found["formats"]["q8_0"]["distinct"]


def test_rules_of_8_bit_floats_are_named(tmp_path: Path) -> None:
    values = gaussian(64, 32)
    values[0, 0] = 1000
    model = write_llama(tmp_path / "m", values)
    for overflow, words in (
        ("saturate", "1 (0.05%) saturate at the largest number (--overflow saturate, as in torch)"),
        ("nan", "1 (0.05%) are too large and become NaN (--overflow nan, as in ml_dtypes)"),
    ):
        ran = isologit("cast", model, "--to", "f8_e4m3fn", "--overflow", overflow)
        assert words in ran.section("What becomes of the entries [exact]")[0]
    for scaling, words in (("tensor", "one scale"), ("row", "scale a row")):
        ran = isologit("cast", model, "--to", "f8_e4m3fn", "--scaling", scaling)
        line = next(line for line in ran.section("Casts") if line.startswith("f8_e4m3fn"))
        assert words in line
        entries = ran.section("What becomes of the entries [exact]")[0]
        assert "land in its subnormals" in entries
        assert "saturate" not in entries


def test_rows_and_margins_that_are_no_numbers_are_told_in_words(tmp_path: Path) -> None:
    values = gaussian(40, 32) * 1e30
    values[0, 0] = values[1, 1] = np.inf
    ran = isologit("cast", write_llama(tmp_path / "m", values), "--to", "f16", "--to", "q8_0")
    f16, q8_0 = ran.section("What becomes of the entries [exact]")
    assert f16.endswith(", 38 finite rows left with an infinity or a NaN")
    assert q8_0.endswith(", 38 finite rows left with an infinity or a NaN")
    ran = isologit("cast", write_llama(tmp_path / "m", values), "--to", "q8_0")
    assert "no logit is a number" in ran.out
    values = gaussian(40, 32)
    values[0, 0] = values[1, 1] = np.inf
    ran = isologit("cast", write_llama(tmp_path / "m", values), "--to", "q8_0")
    flips = ran.section("Flips by q8_0 [sampled (100)]")
    assert any("the other's logit is no number" in line for line in flips)
    assert "nan" not in ran.out


def test_a_format_that_is_not_possible_is_listed_or_alone_an_error(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", gaussian(40, 24))
    ran = isologit("cast", model, "--to", "q8_0", "--to", "bf16", "--states", 2)
    why = "not possible: rows of 24 numbers are not whole blocks of 32"
    assert f"q8_0  {why}" in ran.section("Casts")
    ran = isologit("cast", model, "--to", "q8_0")
    assert ran.code == TensorShapeError.exit_code
    assert ran.err.startswith("TensorShapeError: m: a cast to q8_0 is not possible: rows of 24")
    assert ran.out == ""


def test_the_format_that_loses_most_is_told_first(tmp_path: Path) -> None:
    values = gaussian(80, 32)
    # Eight bits part the first of these crowds, four bits none.
    values[:20] = 1 + 2.0**-5 * gaussian(20, 32, seed=1)
    values[20:40] = -1 - 2.0**-7 * gaussian(20, 32, seed=2)
    model = write_llama(tmp_path / "m", values)
    arguments = ["--to", "int8_row", "--to", "q4_0"]
    found = isologit("cast", model, *arguments, "--json").json["formats"]
    page = isologit("cast", model, *arguments).out
    assert found["q4_0"]["rows_merged"] > found["int8_row"]["rows_merged"] > 0
    assert found["q4_0"]["flipped"] > found["int8_row"]["flipped"] > 0
    born = [line.split()[3] for line in page.splitlines() if line.startswith("Classes born by ")]
    assert born == ["q4_0", "int8_row"]
    assert "q4_0 merges the most" in page.splitlines()[0]
    assert "Flips by q4_0 [sampled (100)]" in page


def test_no_cast_that_merges_says_so(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", np.eye(32))
    ran = isologit("cast", model, "--to", "f16", "--to", "q8_0", "--states", 2)
    assert ran.out.splitlines()[0] == "No cast would merge rows that differ now: f16, q8_0."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "q3"], "'q3' is not one of"),
        (["--states", "0"], "0 is not in the range"),
        (["--overflow", "wrap"], "'wrap' is not one of"),
        (["--seed", "-1"], "-1 is not in the range"),
    ],
)
def test_wrong_options_are_usage_errors(model: Path, arguments: list[str], message: str) -> None:
    ran = isologit("cast", model, *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_formats_go_by_the_names_that_others_use(model: Path) -> None:
    ran = isologit("cast", model, "--to", "BF16,torch.x", "--states", 1)
    assert (ran.code, ran.out) == (2, "")
    assert "'torch.x' is not one of" in ran.err
    found = isologit(
        "cast", model, "--to", "bfloat16, fp16", "--to", "F16", "--states", 1, "--json"
    )
    assert list(found.json["formats"]) == ["f16", "bf16"]
    assert "did you mean int8_row" in isologit("cast", model, "--to", "int8").err
