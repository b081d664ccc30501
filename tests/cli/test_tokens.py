"""`isologit tokens`: the page, `--json`, and what it says of wrong options."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.demo import checkpoint_path
from isologit.errors import TokenizerFileError, TokenizerNotFoundError
from tokens.small_tokenizers import byte_level, save

# What a terminal, or the reader of a page, could be misled by.
HOSTILE = [
    *("\x1b[31mred", "\u202egnp.exe", "</script><img onerror=alert(1)>", "a\nb", "\u200b"),
    "[bold]x[/bold]",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_llama(tmp_path_factory.mktemp("tokens") / "m", gaussian(270, 8, seed=3))
    return save(byte_level(HOSTILE, added=[AddedToken("<s>", special=True)]), folder)


def test_the_page_says_who_the_tokens_are(model: Path) -> None:
    ran = isologit("tokens", model, "--id", "97,259-264,269")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "Tokens of m, the rows of model.embed_tokens.weight"
    assert lines[1] == (
        "263 tokens in tokenizer.json (byte-level BPE) for 270 rows: 7 padding rows"
    )
    listed = {line.split()[0]: line for line in ran.section("8 tokens kept")[1:]}
    assert list(listed) == ["97", *map(str, range(259, 265)), "269"]
    assert listed["97"].split() == ["97", '"a"', "byte", "Latin", "itself"]
    assert listed["269"].split() == ["269", "no", "token", "padding"]


def test_hostile_text_stays_text(model: Path) -> None:
    ran = isologit("tokens", model, "--id", "256-262")
    assert all(c.isprintable() or c == "\n" for c in ran.out)
    for shown in (
        *(r"\u001b[31mred", r"\u202egnp.exe", r"a\nb", r"\u200b", "[bold]x[/bold]"),
        "</script><img onerror=alert(1)>",
    ):
        assert f'"{shown}"' in ran.out
    found = isologit("tokens", model, "--id", "256-261", "--json")
    assert all(c.isprintable() or c == "\n" for c in found.out)
    assert [token["text"] for token in found.json["tokens"]] == HOSTILE


def test_json_has_every_key_that_others_rely_on(model: Path) -> None:
    found = isologit("tokens", model, "--evidence", "--json").json
    assert found["schema"] == "isologit.tokens/1"
    assert found["matched"] == len(found["tokens"]) == 270
    keys = {"id", "text", "bytes", "category", "reachable", "cause", "reencoded", "script"}
    for token in found["tokens"]:
        assert token.keys() >= keys | {"row_class", "evidence"}
    assert isologit("tokens", model, "--grep", "a", "--json").json["filters"] == {"grep": "a"}


def test_the_page_shows_as_many_as_asked_for(model: Path) -> None:
    few = isologit("tokens", model, "--limit", "2").out.splitlines()
    assert "… and 268 more (--limit 0 lists them all, --json too)" in few
    assert len(isologit("tokens", model, "--limit", "0").section("270 tokens")) == 271


def test_few_tokens_are_told_with_their_reasons() -> None:
    ran = isologit("tokens", checkpoint_path(), "--id", "4", "--evidence")
    (line,) = [line for line in ran.out.splitlines() if line.startswith("4: among")]
    assert "from the reference set's centre" in line


def test_qwen3s_published_numbers_are_on_the_page(shared: Path) -> None:
    ran = isologit("tokens", shared / "tokenizers" / "qwen3", "--category", "unreachable")
    assert ran.code == 0
    assert "3,357 tokens do not survive encode(decode([id])): 1,661 split by" in ran.out
    assert "1,909 tokens kept" in ran.out.splitlines()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--category", "odd"], "'odd' is not one of"),
        (["--script", "Klingon"], "'Klingon' is no script of Unicode"),
        (["--grep", "("], "'(': missing )"),
        (["--id", "1-"], "'1-': expected ids like 124 or 180-187"),
        (["--id", "5-3"], "'5-3' is no range"),
        (["--id", "1,,2"], "'': expected ids"),
        (["--id", "٣"], "expected ids"),
        (["--class", "-1"], "-1"),
    ],
)
def test_a_wrong_option_is_a_usage_error(model: Path, options: list[str], said: str) -> None:
    ran = isologit("tokens", model, *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_no_tokenizer_and_a_broken_one_have_codes_of_their_own(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", gaussian(8, 4))
    ran = isologit("tokens", model)
    assert (ran.code, ran.out) == (TokenizerNotFoundError.exit_code, "")
    (model / "tokenizer.json").write_text('{"a":')
    ran = isologit("tokens", model)
    assert (ran.code, ran.out) == (TokenizerFileError.exit_code, "")
    assert ran.err.count("\n") == 1


class TestAudit:
    """The classes show their tokens, and a tokenizer that does not load stops nothing."""

    def test_a_broken_tokenizer_leaves_the_audit_running(self, tmp_path: Path) -> None:
        model = write_llama(tmp_path / "m", gaussian(30, 4))
        (model / "tokenizer.json").write_text("{")
        ran = isologit("audit", model, "--json")
        assert ran.code == 0
        assert ran.json["tokens"] is None
        (note,) = [n for n in ran.json["notes"] if n.startswith("the tokenizer is left out")]
        assert "tokenizer.json is not a tokenizer" in note

    def test_one_that_was_named_is_an_error_still(self, tmp_path: Path) -> None:
        model = write_llama(tmp_path / "m", gaussian(30, 4))
        (tmp_path / "tokenizer.json").write_text("{")
        ran = isologit("audit", model, "--tokenizer", tmp_path / "tokenizer.json")
        assert (ran.code, ran.out) == (TokenizerFileError.exit_code, "")

    def test_classes_show_their_tokens(self, tmp_path: Path) -> None:
        values = gaussian(270, 8, seed=3)
        values[[256, 265, 266]] = values[97]
        model = save(byte_level([" ที่"]), write_llama(tmp_path / "m", values))
        ran = isologit("audit", model)
        (line,) = [each for each in ran.section("Row classes") if '"a" " ที่"' in each]
        assert "2 padding, 1 Thai, 1 byte, first" in line
        found = isologit("classes", model, "--json").json
        assert found["tokens"]["classes"] == [
            {"size": 4, "mix": {"padding": 2, "Thai": 1, "byte": 1}, "first": ['"a"', '" ที่"']}
        ]
        assert found["tokens"]["in_classes"] == {"padding": 2, "Thai": 1, "byte": 1}

    def test_ids_beyond_the_rows_are_a_warning(self, tmp_path: Path) -> None:
        model = save(byte_level(), write_llama(tmp_path / "m", gaussian(200, 4)))
        found = json.loads(isologit("audit", model, "--json").out)
        assert found["tokens"]["beyond_rows"] == 56
        assert any(n.startswith("the tokenizer has 56 ids beyond") for n in found["notes"])
        assert "⚠ 56 tokens beyond the last row of W" in isologit("audit", model).out
