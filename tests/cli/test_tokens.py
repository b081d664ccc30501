"""`isologit tokens`: the page, `--json`, and what it says of wrong options."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.demo import checkpoint_path
from isologit.errors import NotACheckpointError, TokenizerFileError, TokenizerNotFoundError
from isologit.listing import Filters, listing
from isologit.output.json_text import listing_to_json, to_json
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
        (["--id", "5-3"], "'5-3' runs backwards"),
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


class TestOptions:
    """Lists between commas, repeated options, and what is not there."""

    def kept(self, model: Path, *options: object) -> list[int]:
        ran = isologit("tokens", model, *options, "--json")
        assert (ran.code, ran.err) == (0, "")
        return [token["id"] for token in ran.json["tokens"]]

    def test_names_may_stand_between_commas_or_in_several_options(self, model: Path) -> None:
        expected = list(range(262, 270))
        assert self.kept(model, "--category", "special,padding") == expected
        assert self.kept(model, "--category", "special", "--category", "padding") == expected
        partial = self.kept(model, "--category", "partial-utf8")
        assert partial == self.kept(model, "--category", "partial_utf8") == []
        assert self.kept(model, "--type", "control") == [262]
        assert self.kept(model, "--id", "1,2", "--id", "4-5") == [1, 2, 4, 5]
        some = self.kept(model, "--script", "Latin,Common")
        assert set(self.kept(model, "--script", "Latin")) < set(some)

    def test_a_row_class_that_is_not_there_is_an_error(self, model: Path) -> None:
        ran = isologit("tokens", model, "--class", "270")
        assert (ran.code, ran.out) == (13, "")
        assert "labels go from 0 to 269" in ran.err

    def test_a_long_list_is_not_laid_out_for_the_terminal(self, tmp_path: Path) -> None:
        texts = [f"t{n}" for n in range(1200)]
        folder = save(byte_level(texts), tmp_path / "t")
        lines = isologit("tokens", folder, "--limit", "0").section("1,456 tokens")
        assert len(lines) == 1457
        assert lines[0].split() == ["id", "token", "category", "script", "encoded", "again", "as"]
        assert lines[-1].split()[:2] == ["1455", '"t1199"']

    def test_a_listing_in_json_is_the_record(self, model: Path) -> None:
        found = listing(str(model), evidence=True)
        assert json.loads(listing_to_json(found)) == json.loads(to_json(found))
        none = listing(str(model), filters=Filters(token_ids=[]))
        assert json.loads(listing_to_json(none)) == json.loads(to_json(none))

    def test_a_lone_surrogate_in_a_piece_is_escaped(self, tmp_path: Path) -> None:
        vocab = {"a": 0, "\ud800": 1}
        (tmp_path / "vocab.json").write_text(json.dumps(vocab))
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
        ran = isologit("tokens", tmp_path, "--json")
        assert ran.code in (0, TokenizerFileError.exit_code)
        assert "\\ud800" not in ran.out or ran.json["tokens"][1]["piece"] == "\\ud800"

    def test_what_audit_wrote_is_no_model(self, model: Path, tmp_path: Path) -> None:
        assert isologit("audit", model, "-o", tmp_path / "out").code == 0
        for command in ("tokens", "inspect", "audit"):
            ran = isologit(command, tmp_path / "out")
            assert (ran.code, ran.out) == (NotACheckpointError.exit_code, "")
            assert "is what audit -o wrote, and no model" in ran.err

    def test_a_command_that_is_misspelt_is_told_the_nearest(self) -> None:
        ran = isologit("tokns", "x")
        assert ran.code == 2
        assert "did you mean tokens?" in ran.err


class TestWhatToDo:
    """The page names special tokens at fault, and ends with the commands that go on from there."""

    def test_special_tokens_that_share_a_row_are_named(self, tmp_path: Path) -> None:
        values = gaussian(270, 8, seed=3)
        values[[256, 265]] = values[97]
        made = byte_level(added=[AddedToken("<s>", special=True)])
        model = save(made, write_llama(tmp_path / "m", values))
        ran = isologit("audit", model)
        assert '⚠ 1 special token shares its row with others: 256 "<s>"' in ran.out.splitlines()
        told = ran.section("What to do")
        assert told[0].startswith("• 13 padding rows can be sampled: isologit export MODEL --as")
        assert told[-1] == "• isologit check MODEL --policy FILE holds a release to rules"

    def test_where_nothing_is_wrong_there_is_nothing_to_do(self, tmp_path: Path) -> None:
        model = save(byte_level(), write_llama(tmp_path / "m", gaussian(256, 8, seed=3)))
        assert "What to do" not in isologit("audit", model).out.splitlines()
