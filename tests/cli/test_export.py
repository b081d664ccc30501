"""``isologit export``: from a directory or a model to a file or a pipe, and what is refused."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from checkpoints import gaussian, write_llama
from cli.command import finished, isologit, start
from exportables import PADDING, RESERVED, V, columns, small, write_results
from isologit.cli import export
from isologit.demo import checkpoint_path
from isologit.errors import (
    ConfigError,
    OutputExistsError,
    OutputWriteError,
    ResultsError,
    SelectionError,
    TokenIdError,
)
from isologit.output.exports import FORMATS
from tokens.small_tokenizers import byte_level, save


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "out", small())


def test_the_formats_of_the_option_are_those_that_are_written() -> None:
    assert tuple(FORMATS) == export.FORMATS
    text = [name for name in FORMATS if name not in export.BINARY]
    assert len(text) == len(FORMATS) - 1


@pytest.mark.parametrize("as_", [name for name in export.FORMATS if name != "bitmask"])
def test_text_goes_to_stdout_and_words_to_stderr(results: Path, as_: str) -> None:
    ran = isologit("export", results, "--as", as_)
    assert ran.code == 0
    assert ran.err.startswith("6 tokens of 70: padding\n")
    quiet = isologit("export", results, "--as", as_, "-q")
    assert (quiet.code, quiet.err, quiet.out) == (0, "", ran.out)
    assert ran.out.endswith("\n")


def test_padding_is_what_is_selected_by_default(results: Path) -> None:
    ran = isologit("export", results, "--as", "llama.cpp-server")
    assert ran.json == {"logit_bias": [[i, False] for i in PADDING]}


def test_names_may_be_repeated_and_listed(results: Path) -> None:
    names = ("--select", "padding,id:5-6,8", "--select", "reserved")
    ran = isologit("export", results, "--as", "transformers", *names)
    assert ran.json == {"suppress_tokens": [2, 5, 6, 8, *PADDING]}
    assert "10 tokens of 70: padding, id:5-6,8, reserved\n" in ran.err


def test_what_was_left_out_is_counted_with_the_way_to_take_it(results: Path) -> None:
    ran = isologit("export", results, "--as", "transformers", "--select", "untrained")
    assert ran.code == 0
    assert (
        "left out: 1 special token and 3 tokens that text may need; --select special, "
        "ordinary, byte or id:… takes them in\n"
    ) in ran.err
    assert 2 not in ran.json["suppress_tokens"]
    assert "left out" not in isologit("export", results, "--as", "transformers").err


@pytest.mark.parametrize(
    ("as_", "told"),
    [
        ("openai", "a bias of -100 is soft"),
        ("llama.cpp", "older versions of llama-server forget --logit-bias"),
        ("transformers", "hides config.json's eos_token_id"),
    ],
)
def test_what_a_format_cannot_do_is_told(results: Path, as_: str, told: str) -> None:
    assert told in isologit("export", results, "--as", as_).err


class TestFile:
    """``-o FILE``: all of it or nothing."""

    def test_a_file_is_written_and_listed(self, results: Path, tmp_path: Path) -> None:
        target = tmp_path / "bias.json"
        ran = isologit("export", results, "--as", "openai", "-o", target)
        assert (ran.code, ran.out) == (0, "")
        assert f"✓ {target}" in ran.err
        assert target.read_text() == isologit("export", results, "--as", "openai").out
        beside = tmp_path / "beside"
        beside.touch()
        assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["beside", "bias.json", "out"]

    def test_a_mask_is_what_numpy_reads(self, results: Path, tmp_path: Path) -> None:
        target = tmp_path / "mask.npy"
        assert isologit("export", results, "--as", "bitmask", "-o", target).code == 0
        assert np.load(target, allow_pickle=False).tolist() == [[-1, -1, 0]]

    def test_an_existing_file_is_replaced_only_by_force(
        self, results: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "bias.json"
        target.write_text("mine")
        ran = isologit("export", results, "--as", "openai", "-o", target)
        assert ran.code == OutputExistsError.exit_code
        assert ran.err == (
            f"OutputExistsError: {target} exists; nothing was touched. Choose another name, or "
            "replace it with --force\n"
        )
        assert target.read_text() == "mine"
        ran = isologit("export", results, "--as", "openai", "-o", target, "--force")
        assert ran.code == 0
        assert json.loads(target.read_text())["logit_bias"]["64"] == -100

    def test_a_directory_is_never_replaced(self, results: Path, tmp_path: Path) -> None:
        ran = isologit("export", results, "--as", "openai", "-o", tmp_path, "--force")
        assert ran.code == OutputExistsError.exit_code
        assert "is a directory; expected the name of a file" in ran.err

    def test_a_link_is_replaced_and_not_written_through(
        self, results: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "mine").write_text("mine")
        target = tmp_path / "link"
        target.symlink_to(tmp_path / "mine")
        ran = isologit("export", results, "--as", "openai", "-o", target, "--force")
        assert ran.code == 0
        assert (tmp_path / "mine").read_text() == "mine"
        assert not target.is_symlink()

    def test_a_directory_that_is_not_there_is_one_line(self, results: Path, tmp_path: Path) -> None:
        target = tmp_path / "no" / "bias.json"
        ran = isologit("export", results, "--as", "openai", "-o", target)
        assert ran.code == OutputWriteError.exit_code
        assert "no is no directory. Make it, or name a file elsewhere" in ran.err

    def test_what_fails_leaves_nothing(
        self, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(Path, "replace", refuse)
        ran = isologit("export", results, "--as", "openai", "-o", tmp_path / "x")
        assert ran.code == OutputWriteError.exit_code
        assert "No space left on device" in ran.err
        assert sorted(each.name for each in tmp_path.iterdir()) == ["out"]


class TestUsage:
    """What is refused before anything is read."""

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ((), "Missing option '--as'"),
            (("--as", "gguf"), "'gguf' is not one of 'openai'"),
            (("--as", "bitmask"), "bitmask is no text: give -o FILE"),
            (("--as", "openai", "--force"), "--force is for -o FILE"),
            (("--as", "openai", "--select", "paddings"), "paddings: expected one of padding, spe"),
            (("--as", "openai", "--select", ""), "expected one of padding"),
            (("--as", "openai", "--tensor", "x"), "are for a MODEL, and DIR has been audited"),
            (("--as", "openai", "--role", "input"), "are for a MODEL, and DIR has been audited"),
            (("--as", "openai", "--tokenizer", "x"), "are for a MODEL, and DIR has been audited"),
        ],
    )
    def test_misuse_is_told(self, results: Path, arguments: tuple[str, ...], told: str) -> None:
        ran = isologit("export", results, *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert told in ran.err

    def test_ids_and_classes_that_are_not_there(self, results: Path) -> None:
        ran = isologit("export", results, "--as", "openai", "--select", f"id:{V}")
        assert ran.code == TokenIdError.exit_code
        ran = isologit("export", results, "--as", "openai", "--select", "class:59")
        assert (ran.code, ran.out) == (SelectionError.exit_code, "")

    def test_a_vocabulary_without_padding_is_told_what_there_is(self, tmp_path: Path) -> None:
        table = columns(category=["special"] * 3 + ["ordinary"] * (V - 3))
        ran = isologit("export", write_results(tmp_path / "o", small(table)), "--as", "openai")
        assert (ran.code, ran.out) == (SelectionError.exit_code, "")
        assert "padding takes no token; the rows are 3 special, 67 ordinary" in ran.err
        assert ran.err.count("\n") == 1

    def test_results_without_a_tokenizer_say_the_next_step(self, tmp_path: Path) -> None:
        bare = small(columns().select(["token_id", "row_class", "row_class_size"]))
        ran = isologit("export", write_results(tmp_path / "o", bare), "--as", "openai")
        assert ran.code == SelectionError.exit_code
        assert "Name one with --tokenizer" in ran.err


def damage(results: Path, **columns_of_another: Any) -> None:
    """Replace columns of a table, whatever their type."""
    table = pq.read_table(results / "tokens.parquet")
    for name, values in columns_of_another.items():
        table = table.set_column(table.column_names.index(name), name, [values])
    pq.write_table(table, results / "tokens.parquet")


class TestDamage:
    """A directory that is not what an audit writes is refused in one line."""

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"schema": "isologit.classes/1"}, "schema isologit.classes/1; expected isologit.audi"),
            ({"schema": 1}, "no document of isologit"),
            ({"matrix": {}}, "missing required field"),
            ({"model": "x"}, "Expected `object`, got `str`"),
            ({"tokens": []}, "Expected `object | null`, got `array`"),
        ],
    )
    def test_a_summary(self, tmp_path: Path, changed: dict[str, Any], told: str) -> None:
        ran = isologit("export", write_results(tmp_path / "o", small(), **changed), "--as", "card")
        assert (ran.code, ran.out) == (ResultsError.exit_code, "")
        assert told in ran.err
        assert ran.err.count("\n") == 1

    @pytest.mark.parametrize(
        "shape", [[], [V], [V, 0], [V, 8, 1], [-V, 8], [V + 1, 8], [1 << 40, 8]], ids=str
    )
    def test_a_shape_that_is_not_the_table_s(self, tmp_path: Path, shape: list[int]) -> None:
        of = small()
        matrix = {name: getattr(of.matrix, name) for name in of.matrix.__struct_fields__}
        results = write_results(tmp_path / "o", of, matrix=matrix | {"shape": shape})
        assert isologit("export", results, "--as", "card").code == ResultsError.exit_code

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"schema":"\x1b"}', b"[" * 100_000]
    )
    def test_a_summary_that_is_no_json(self, results: Path, content: bytes) -> None:
        (results / "summary.json").write_bytes(content)
        ran = isologit("export", results, "--as", "card")
        assert (ran.code, ran.out) == (ResultsError.exit_code, "")
        assert ran.err.count("\n") == 1

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"x" * 5000])
    def test_a_table_that_is_no_parquet(self, results: Path, content: bytes) -> None:
        (results / "tokens.parquet").write_bytes(content)
        ran = isologit("export", results, "--as", "card")
        assert (ran.code, ran.out) == (ResultsError.exit_code, "")
        assert ran.err.count("\n") == 1

    @pytest.mark.parametrize("at", [5, 200, 900, 1500, -1, -5, -30, -200])
    def test_a_table_with_other_bytes_is_refused_or_the_same(self, results: Path, at: int) -> None:
        path = results / "tokens.parquet"
        content = bytearray(path.read_bytes())
        content[at] ^= 0xFF
        path.write_bytes(content)
        ran = isologit("export", results, "--as", "llama.cpp", "-q")
        assert ran.code in (0, ResultsError.exit_code, SelectionError.exit_code)
        assert ran.err.count("\n") == (ran.code != 0)

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"token_id": pa.array(range(V), pa.int64())}, "token_id of int64"),
            ({"token_id": pa.array([0] * V, pa.int32())}, "token_id out of order"),
            ({"token_id": pa.array([None] * V, pa.int32())}, "token_id with nulls"),
            ({"row_class": pa.array([-1] * V, pa.int32())}, "row_class beyond"),
            ({"row_class": pa.array([V] * V, pa.int32())}, "row_class beyond"),
            ({"row_class_size": pa.array([1] * V, pa.int32())}, "row_class_size unlike"),
            ({"category": pa.array(["x\x1b"] * V, pa.string())}, "category x\\x1b"),
            ({"category": pa.array([None] * V, pa.string())}, "category with nulls"),
            ({"category": pa.array([1] * V, pa.int32())}, "category of int32"),
            ({"evidence": pa.array(["sure"] * V, pa.string())}, "evidence sure"),
            ({"reserved_name": pa.array([None] * V, pa.bool_())}, "reserved_name with nulls"),
            ({"reachable": pa.array(["yes"] * V, pa.string())}, "reachable of string"),
        ],
    )
    def test_a_column(self, results: Path, changed: dict[str, Any], told: str) -> None:
        damage(results, **changed)
        ran = isologit("export", results, "--as", "card")
        assert (ran.code, ran.out) == (ResultsError.exit_code, "")
        assert told in ran.err
        assert "Audit the model again with -o DIR" in ran.err
        assert ran.err.count("\n") == 1

    def test_columns_that_are_not_used_may_be_anything(self, results: Path) -> None:
        table = pq.read_table(results / "tokens.parquet")
        table = table.append_column("norm", [pa.array(["x"] * V)]).drop_columns(["evidence_why"])
        pq.write_table(table, results / "tokens.parquet")
        assert isologit("export", results, "--as", "card").code == 0

    @pytest.mark.parametrize("name", ["token_id", "row_class", "reserved_name"])
    def test_a_column_that_is_needed(self, results: Path, name: str) -> None:
        table = pq.read_table(results / "tokens.parquet").drop_columns([name])
        pq.write_table(table, results / "tokens.parquet")
        assert isologit("export", results, "--as", "card").code == ResultsError.exit_code


class TestModel:
    """A MODEL is audited, and its own settings of generation are kept."""

    @pytest.fixture
    def model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("isologit.output.exported_model.exportable_of", lambda *_given: small())
        return write_llama(tmp_path / "m", gaussian(V, 4))

    def exported(self, model: Path) -> Any:
        ran = isologit("export", model, "--as", "transformers", "--select", f"id:{RESERVED}")
        assert ran.code == 0, ran.err
        return ran.json

    def test_its_generation_config_is_merged(self, model: Path) -> None:
        own = {"eos_token_id": 1, "suppress_tokens": [69], "temperature": 0.7}
        (model / "generation_config.json").write_text(json.dumps(own))
        assert self.exported(model) == own | {"suppress_tokens": [RESERVED, 69]}

    def test_without_one_the_ids_of_its_config_are_carried_over(self, model: Path) -> None:
        config = json.loads((model / "config.json").read_text())
        config |= {"eos_token_id": [1, 2], "bos_token_id": 0, "pad_token_id": None}
        (model / "config.json").write_text(json.dumps(config))
        assert self.exported(model) == {
            "bos_token_id": 0,
            "eos_token_id": [1, 2],
            "suppress_tokens": [RESERVED],
        }
        ran = isologit("export", model, "--as", "transformers")
        assert "hides" not in ran.err

    @pytest.mark.parametrize(
        "own", ["[]", "{", '{"suppress_tokens": 3}', '{"suppress_tokens": [true]}']
    )
    def test_a_generation_config_that_cannot_be_merged(self, model: Path, own: str) -> None:
        (model / "generation_config.json").write_text(own)
        ran = isologit("export", model, "--as", "transformers")
        assert (ran.code, ran.out) == (ConfigError.exit_code, "")
        # No other format needs it.
        assert isologit("export", model, "--as", "openai").code == 0

    def test_a_model_that_is_not_there(self, tmp_path: Path) -> None:
        assert isologit("export", tmp_path / "no", "--as", "openai").code == 3


def test_a_reader_that_goes_away_is_no_fault(results: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("export", results, "--as", "card", "-q", stdout=write)
    os.close(write)
    assert finished(process).code == 141


@pytest.mark.parametrize("name", ["llama2xs", "demo"])
def test_every_letter_can_still_be_written_under_a_mask_of_what_is_untrained(
    shared: Path, name: str
) -> None:
    model = checkpoint_path() if name == "demo" else shared / "checkpoints" / "llama2xs-hf-bf16"
    ran = isologit("export", model, "--as", "openai", "--select", "untrained,duplicates")
    # Of llama2xs the bytes of no text are untrained; of the embedded model padding is, too.
    masked = {int(token_id) for token_id in ran.json["logit_bias"]}
    assert masked
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    for text in ("😀", "東京", "Ж", "ი", "ที่", "e\u0301", "\x00\x7f", "ñ€", "مرحبا", "𐌀"):
        assert not masked & set(tokenizer.encode(text, add_special_tokens=False).ids), text


class TestNamedByTheConfig:
    """Ids that a model's config gives a role are never taken for padding."""

    @pytest.fixture
    def chat(self, tmp_path: Path) -> Path:
        """A model of 300 rows whose tokenizer's files lack what its configs name."""
        model = save(byte_level(), write_llama(tmp_path / "m", gaussian(300, 8)))
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"bos_token_id": 260}))
        own = {"eos_token_id": [257, 258], "pad_token_id": 299, "do_sample": True}
        (model / "generation_config.json").write_text(json.dumps(own))
        return model

    def test_they_are_not_suppressed(self, chat: Path) -> None:
        ran = isologit("export", chat, "--as", "transformers")
        assert ran.code == 0
        expected = sorted(set(range(256, 300)) - {257, 258, 260, 299})
        assert ran.json["suppress_tokens"] == expected
        assert "note: the model's config gives a role to 260 (bos), 257 (eos), 258 (eos)" in ran.err

    def test_they_are_left_out_of_what_is_untrained(self, chat: Path) -> None:
        ran = isologit("export", chat, "--as", "openai", "--select", "padding,untrained")
        assert not {"257", "258", "260", "299"} & ran.json["logit_bias"].keys()

    def test_a_gate_looks_at_them(self, chat: Path, tmp_path: Path) -> None:
        policy = tmp_path / "policy.toml"
        policy.write_text("[rules]\ntemplate-tokens-trained = true\n")
        ran = isologit("check", chat, "--policy", policy, "--json")
        assert ran.code == 1
        assert {token["id"] for token in ran.json["rules"][0]["tokens"]} == {257, 258, 260, 299}

    def test_another_tokenizer_changes_nothing_about_that(self, chat: Path, tmp_path: Path) -> None:
        other = save(byte_level(), tmp_path / "other")
        one = isologit("export", chat, "--as", "transformers").json
        assert isologit("export", chat, "--as", "transformers", "--tokenizer", other).json == one

    def test_nor_does_naming_the_tokenizers_file(self, chat: Path) -> None:
        counts = [
            isologit("tokens", each, "--json").json["summary"]["categories"]
            for each in (chat, chat / "tokenizer.json")
        ]
        assert counts[0] == counts[1]
        assert counts[0]["special"] == 4
