"""Small parts of the page and of the folder that no other test looks at."""

from pathlib import Path

import pytest

from checkpoints import gaussian, write_llama
from isologit.checkpoint.folder import LocalFolder
from isologit.errors import ChangedFileError
from isologit.listing import listing
from isologit.output.parts import text
from isologit.output.token_sentences import first
from isologit.token_findings import ClassTokens
from tokens.small_tokenizers import byte_level, save


def test_a_class_with_more_tokens_than_are_shown_says_so() -> None:
    assert first(ClassTokens(size=2, mix={}, first=['"a"', '"b"'])) == 'first "a" "b"'
    assert first(ClassTokens(size=3, mix={}, first=['"a"', '"b"'])) == 'first "a" "b" …'


def test_what_a_terminal_would_obey_is_escaped_and_not_dropped() -> None:
    assert text("a\x1b[2J\u202e").plain == "a\\x1b[2J\\u202e"


def test_a_directory_is_no_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    assert LocalFolder(tmp_path).find("tokenizer.json") is None


def test_a_weight_file_written_to_meanwhile_is_noticed(tmp_path: Path) -> None:
    model = save(byte_level(), write_llama(tmp_path / "m", gaussian(256, 8)))

    def write(step: str) -> None:
        if step == "traces of training":
            with (model / "model.safetensors").open("ab") as file:
                file.write(b"x")

    with pytest.raises(ChangedFileError):
        listing(str(model), evidence=True, progress=write)
