"""Which of a model's files is its tokenizer, and what a user may name instead."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isologit.checkpoint.open import open_checkpoint
from isologit.errors import TokenizerFileError, TokenizerNotFoundError
from isologit.tokens.byte_level import CHARACTER_OF
from isologit.tokens.open_tokenizer import open_tokenizer, open_tokenizer_at
from isologit.tokens.settings import Beside
from tokens.gguf_headers import header
from tokens.sentencepiece_models import trained
from tokens.small_tokenizers import byte_level, save

BYTES = [CHARACTER_OF[byte] for byte in range(256)]
CONFIG = {
    "tokenizer_class": "GPT2Tokenizer",
    "added_tokens_decoder": {"400": {"content": "<added>", "special": True}},
}


def write_config(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG))


def write_bpe(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(BYTES)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def write_ranks(path: Path) -> None:
    lines = [base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256)]
    path.write_bytes(b"".join(lines))


def write_json(folder: Path) -> None:
    save(byte_level(["he"], [("h", "e")]), folder)


def write_model(path: Path) -> None:
    path.write_bytes(trained(model_type="bpe"))


def recorded(folder: Path) -> tuple[Beside, list[str]]:
    """Return a `beside` of a folder, and what it has been asked for."""
    asked: list[str] = []

    def find(name: str) -> Path | None:
        asked.append(name)
        path = folder / name
        return path if path.is_file() else None

    return find, asked


class TestOrder:
    def test_the_first_kind_that_is_there_is_taken(self, tmp_path: Path) -> None:
        beside, _ = recorded(tmp_path)
        kinds = []
        writers: list[Callable[[], object]] = [
            lambda: write_bpe(tmp_path),
            lambda: write_ranks(tmp_path / "gpt2.tiktoken"),
            lambda: write_model(tmp_path / "spiece.model"),
            lambda: write_ranks(tmp_path / "tokenizer.model"),
            lambda: write_json(tmp_path),
        ]
        for write in writers:
            write()
            names = {path.name for path in tmp_path.iterdir()}
            kinds.append(Path(open_tokenizer(beside, names).source.split(" and ")[0]).name)
        assert kinds == [
            *("vocab.json", "gpt2.tiktoken", "spiece.model", "tokenizer.model", "tokenizer.json")
        ]

    def test_a_header_goes_before_all_files(self, tmp_path: Path) -> None:
        write_json(tmp_path)
        beside, asked = recorded(tmp_path)
        metadata = header("gpt2", BYTES, pre="gpt-2", merges=[])
        assert len(open_tokenizer(beside, gguf=metadata).vocabulary) == 256
        assert asked == []
        # A header without tokens leaves it to the files.
        assert len(open_tokenizer(beside, gguf={}).vocabulary) == 257

    def test_a_broken_header_is_not_passed_over(self, tmp_path: Path) -> None:
        write_json(tmp_path)
        with pytest.raises(TokenizerFileError, match="the header of here: tokenizer"):
            open_tokenizer(recorded(tmp_path)[0], gguf={"tokenizer.ggml.tokens": 3}, where="here")

    def test_nothing_is_asked_for_that_is_not_needed(self, tmp_path: Path) -> None:
        write_json(tmp_path)
        write_bpe(tmp_path)
        beside, asked = recorded(tmp_path)
        open_tokenizer(beside)
        assert asked[0] == "tokenizer.json"
        assert not {"vocab.json", "tokenizer.model"} & set(asked)
        beside, asked = recorded(tmp_path)
        open_tokenizer(beside, {"vocab.json", "merges.txt"})
        assert asked == ["vocab.json", "merges.txt"]

    def test_merges_without_a_vocabulary_are_not_asked_for(self, tmp_path: Path) -> None:
        beside, asked = recorded(tmp_path)
        with pytest.raises(TokenizerNotFoundError):
            open_tokenizer(beside)
        assert asked[-1] == "vocab.json"

    def test_the_config_and_the_models_type_are_used(self, tmp_path: Path) -> None:
        write_bpe(tmp_path)
        beside, _ = recorded(tmp_path)
        assert open_tokenizer(beside, model_type="qwen2").notes == ()
        assert "assumed" in open_tokenizer(beside).notes[0]
        write_config(tmp_path)
        writers: list[Callable[[], object]] = [
            lambda: None,
            lambda: write_ranks(tmp_path / "tiktoken.model"),
            lambda: write_model(tmp_path / "tokenizer.model"),
        ]
        for write in writers:
            write()
            found = open_tokenizer(beside)
            assert found.vocabulary.pieces[400] == "<added>", found.source
            assert found.vocabulary.types[400] == "control"

    def test_what_is_added_to_a_tokenizer_json_is_there(self, tmp_path: Path) -> None:
        write_json(tmp_path)
        write_config(tmp_path)
        assert "<added>" in open_tokenizer(recorded(tmp_path)[0]).vocabulary.pieces


class TestNotFound:
    def test_it_says_what_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizerNotFoundError) as caught:
            open_tokenizer(recorded(tmp_path)[0], [], where="org/name")
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        for name in ("org/name", "tokenizer.json", "*.tiktoken", "merges.txt", "--tokenizer"):
            assert name in message

    @pytest.mark.parametrize("name", ["tekken.json", "vocab.txt"])
    def test_a_kind_that_is_known_and_not_read_is_named(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("{}")
        openers: list[Callable[[], object]] = [
            lambda: open_tokenizer(recorded(tmp_path)[0], [name]),
            lambda: open_tokenizer_at(tmp_path),
            lambda: open_tokenizer_at(tmp_path / name),
        ]
        for open_it in openers:
            with pytest.raises(TokenizerNotFoundError, match=name):
                open_it()


class TestNamed:
    def test_the_word_bytes(self) -> None:
        assert len(open_tokenizer_at("bytes").vocabulary) == 256

    def test_a_file_of_each_kind(self, tmp_path: Path) -> None:
        write_json(tmp_path)
        write_bpe(tmp_path)
        write_model(tmp_path / "mine.model")
        write_ranks(tmp_path / "llama3.model")
        write_ranks(tmp_path / "qwen.tiktoken")
        shutil.copy(tmp_path / "tokenizer.json", tmp_path / "other.json")
        assert open_tokenizer_at(tmp_path / "other.json").vocabulary.pieces[256] == "he"
        assert open_tokenizer_at(tmp_path / "mine.model").kind == "SentencePiece BPE"
        assert open_tokenizer_at(tmp_path / "llama3.model", "llama").encoder is not None
        assert open_tokenizer_at(tmp_path / "qwen.tiktoken").encoder is not None
        for name in ("vocab.json", "merges.txt"):
            assert len(open_tokenizer_at(tmp_path / name).vocabulary) == 256

    def test_a_directory_is_searched_as_a_model_is(self, shared: Path) -> None:
        found = open_tokenizer_at(str(shared / "checkpoints" / "llama2xs-hf-bf16"))
        assert found.source.endswith("tokenizer.json")
        assert len(found.vocabulary) == 512

    def test_a_gguf_file(self, shared: Path) -> None:
        found = open_tokenizer_at(shared / "checkpoints" / "llama2xs-Q8_0.gguf")
        assert found.kind == "SentencePiece BPE"
        assert len(found.vocabulary) == 512

    def test_paths_that_are_none(self, tmp_path: Path) -> None:
        for spec in ("no/such/path", str(tmp_path / "x\ny"), str(tmp_path)):
            with pytest.raises(TokenizerNotFoundError) as caught:
                open_tokenizer_at(spec)
            assert len(str(caught.value).splitlines()) == 1

    def test_one_of_the_pair_needs_the_other(self, tmp_path: Path) -> None:
        write_bpe(tmp_path)
        (tmp_path / "merges.txt").unlink()
        with pytest.raises(TokenizerNotFoundError, match=r"needs merges\.txt beside it"):
            open_tokenizer_at(tmp_path / "vocab.json")

    @pytest.mark.parametrize("name", ["x.json", "x.model", "x.tiktoken", "x.bin"])
    def test_files_of_nothing(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"nothing at all")
        with pytest.raises(TokenizerFileError) as caught:
            open_tokenizer_at(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1

    def test_a_gguf_file_of_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "x.gguf").write_bytes(b"GGUF")
        with pytest.raises(Exception, match=r"x\.gguf"):
            open_tokenizer_at(tmp_path / "x.gguf")


def test_one_tokenizer_in_every_form(shared: Path) -> None:
    """Bytes are the same in tokenizer.json, tokenizer.model and the GGUF headers."""
    folder = shared / "checkpoints"
    first = open_tokenizer_at(folder / "llama2xs-hf-f32" / "tokenizer.json").vocabulary
    second = open_tokenizer_at(folder / "llama2xs-hf-f32" / "tokenizer.model").vocabulary
    assert first.token_bytes == second.token_bytes
    for form in ("BF16", "F16", "Q8_0", "Q4_0"):
        metadata = open_checkpoint(folder / f"llama2xs-{form}.gguf").gguf
        found = open_tokenizer(lambda _: None, gguf=metadata).vocabulary
        # Two of its tokens were written otherwise; see test_gguf_tokenizer.
        assert found.token_bytes[3:] == first.token_bytes[3:]
        assert found.token_bytes[0] == first.token_bytes[0]
