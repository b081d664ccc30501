"""`isologit gap`: the page, `--json`, and what it says of wrong options."""

import sys
from pathlib import Path

import numpy as np
import pytest

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from cli.command import isologit
from isologit.demo import checkpoint_path
from isologit.errors import TokenIdError, UnclearHeadError
from isologit.output import parts
from tokens.small_tokenizers import byte_level, save

HOSTILE = ["\x1b[31mred", "</script><b>", "[bold]x[/bold]"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = gaussian(270, 8, seed=3)
    values[256:259] = values[256]
    values[257, 0] += 2.0**-6
    values[258, 1] += 2.0**-6
    values[260:265] = values[7]
    folder = write_llama(tmp_path_factory.mktemp("gap") / "m", values, "f32")
    return save(byte_level(HOSTILE), folder)


def test_the_page_says_what_the_gap_means(model: Path) -> None:
    ran = isologit("gap", model)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "Near twins of m, the rows of model.embed_tokens.weight"
    assert lines[1] == (
        "3 rows of 265 distinct rows have another within 0.1 nats, whatever the prompt: 1 class, "
        "the largest of 3 tokens, no two of which are ever more than 0.06251 nats apart."
    )
    assert "for 0.1 nats between 1/1.105 and 1.105." in lines[2]
    assert ran.section("The norm") == ["RMSNorm, γ = weight, model.norm.weight; computed in f32"]
    pairs = ran.section("Pairs of distinct rows [exact]")
    assert pairs[0] == "0 within 0.001, 0 within 0.01, 3 within 0.1"
    assert pairs[1].split("as computed")[0].strip() == "gap [certified bound]"
    assert [line.split()[0] for line in pairs[2:]] == ["0.0442", "0.0442", "0.06251"]
    classes = ran.section("Classes [exact]")
    assert classes[2].split()[:3] == ["3", "3", "0.06251"]
    assert classes[3] == "1 class of tokens of one row, at a gap of 0"
    assert ran.section("Assumed")


def test_hostile_text_stays_text(model: Path) -> None:
    for option in ((), ("--json",)):
        ran = isologit("gap", model, *option)
        assert all(c.isprintable() or c == "\n" for c in ran.out)
    page = isologit("gap", model).out
    for shown in (r"\u001b[31mred", "</script><b>", "[bold]x[/bold]"):
        assert f'"{shown}"' in page


def test_json_has_every_key_that_others_rely_on(model: Path) -> None:
    found = isologit("gap", model, "--json", "--within", "0.05").json
    assert found["schema"] == "isologit.gap/1"
    assert {"kind", "source"} <= found["norm"].keys()
    assert found["within_nats"] == 0.05
    assert [sorted(pair) for pair in found["pairs"]] == [
        ["a", "b", "gap_nats", "gap_nats_computed"]
    ] * 2
    assert [(e["size"], e["token_ids"]) for e in found["classes"]] == [
        (6, [7, *range(260, 265)]),
        (3, [256, 257, 258]),
    ]
    assert all("widest_nats" in each for each in found["classes"])
    assert {"claims", "assumptions", "nearest", "n_pairs", "complete"} <= found.keys()


def test_tokens_that_are_asked_for_have_a_section(model: Path) -> None:
    ran = isologit("gap", model, "--token", "261,9", "--within", "0")
    (title,) = [line for line in ran.out.splitlines() if line.startswith("Nearest to 261")]
    lines = ran.section(title)
    assert lines[0] == "5 other tokens of its row, at a gap of 0: 7, 260, 262, 263, 264"
    assert len(lines) == 7
    assert len(isologit("gap", model, "--token", "9", "--json").json["tokens"]) == 1


def test_a_limit_says_what_is_not_listed(model: Path) -> None:
    ran = isologit("gap", model, "--limit", "1")
    assert "… and 2 more (--limit N lists more, 0 all)" in ran.out
    assert len(isologit("gap", model, "--limit", "0", "--json").json["pairs"]) == 3


def test_no_twins_are_said_to_be_none(model: Path) -> None:
    ran = isologit("gap", model, "--within", "1e-9")
    assert "No two of 265 distinct rows lie within 1e-09 nats of each other" in ran.out


def test_the_demo_has_a_cluster_that_no_prompt_tells_apart() -> None:
    ran = isologit("gap", checkpoint_path())
    assert "the largest of 900 tokens" in ran.out
    assert "54" in ran.section("Classes [exact]")[2].split()


def test_an_unknown_norm_is_one_line_with_a_next_step(tmp_path: Path) -> None:
    bare = write_matrix(tmp_path / "bare", np.ones((3, 4)))
    ran = isologit("gap", bare)
    assert ran.code == UnclearHeadError.exit_code
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1
    assert "--norm rms or --norm layer assumes one with γ = 1" in ran.err
    assumed = isologit("gap", bare, "--norm", "rms")
    assert assumed.code == 0
    assert "⚠ γ = 1 is assumed" in assumed.out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--within", "-1"), 2, "not in the range"),
        (("--within", "nan"), 2, "nats"),
        (("--within", "inf"), 2, "not a number of nats"),
        (("--token", "9-3"), 2, "runs backwards"),
        (("--token", "270"), TokenIdError.exit_code, "outside the vocabulary"),
        (("--limit", "-1"), 2, "not in the range"),
        (("--arithmetic", "torch"), 2, "no device observes them"),
    ],
)
def test_wrong_options_are_usage_or_an_error_of_their_own(
    model: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    ran = isologit("gap", model, *options)
    assert ran.code == code
    assert words in ran.err


def test_a_gap_beyond_all_numbers_is_no_fault(model: Path) -> None:
    for within in ("1e200", "1e308"):
        found = isologit("gap", model, "--within", within, "--json").json
        assert found["n_pairs"] == 265 * 264 // 2


def test_rows_too_wide_for_the_bounds_are_told_of_in_one_line(tmp_path: Path) -> None:
    values = np.ones((2, 123_356))
    tensors = {"wte.weight": values, "ln_f.weight": values[0]}
    config = {"model_type": "gpt2", "tie_word_embeddings": True, "layer_norm_epsilon": 1e-5}
    wide = write_tensors(tmp_path / "m", tensors, config=config)
    ran = isologit("gap", wide)
    assert (ran.code, len(ran.err.splitlines())) == (UnclearHeadError.exit_code, 1)
    assert "nothing bounds what a norm over 123,356 values rounds" in ran.err
    state = isologit("classes", wide, "--token", 0, "--json").json["state"]
    assert (state["reachable"], state["norm_ratio"]) == (None, None)


def test_a_gap_of_next_to_nothing_is_not_called_nothing(model: Path) -> None:
    said = isologit("gap", model, "--within", 1e-6).out.splitlines()[1:3]
    assert any("for 1e-06 nats between 1/(1 + 1e-06) and (1 + 1e-06)." in line for line in said)
    assert "for 1 nat between 1/2.718 and 2.718." in isologit("gap", model, "--within", 1).out


def test_a_list_of_many_pairs_has_the_lines_of_a_short_one(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = isologit("gap", model, "--within", 100, "--limit", 40).section("Pairs of distinct rows")
    monkeypatch.setattr(parts, "_MOST_LAID_OUT", 3)
    long = isologit("gap", model, "--within", 100, "--limit", 40).section("Pairs of distinct rows")
    assert [line.split() for line in long] == [line.split() for line in short]
    assert len(long) > 40


def test_a_device_is_refused_before_its_library_is_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for command in (["gap", model], ["never-top", model], ["diff", model, model]):
        ran = isologit(*command, "--arithmetic", "torch:cpu")
        assert (ran.code, ran.out) == (2, "")
        assert "leave out --arithmetic" in ran.err
