"""A tokenizer's config: added and named tokens, templates; what cannot be used is a note."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from isologit.errors import TokenizerFileError
from isologit.tokens.settings import AddedToken, TokenizerSettings, read_settings, read_vocab_json


def settings_in(folder: Path, **files: str | Mapping[str, Any]) -> TokenizerSettings:
    """Write files (their names with dots as two underscores) and read the settings there."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")

    def find(name: str) -> Path | None:
        path = folder / name
        return path if path.is_file() else None

    return read_settings(find)


def test_nothing_beside_says_nothing(tmp_path: Path) -> None:
    assert settings_in(tmp_path) == TokenizerSettings()


def test_added_tokens_come_with_their_flags(tmp_path: Path) -> None:
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": {
            "7": {"content": "<a>", "special": True, "lstrip": True, "normalized": False},
            "8": {"content": "<b>"},
            "x": {"content": "<c>"},
            "9": {"content": 3},
            "10": "<d>",
        },
    }
    found = settings_in(tmp_path, tokenizer_config__json=config)
    assert found.tokenizer_class == "Qwen2Tokenizer"
    assert found.added == (
        AddedToken(7, "<a>", True, {"lstrip": True, "normalized": False}),
        AddedToken(8, "<b>", False, {}),
    )


def test_the_config_goes_before_the_older_file(tmp_path: Path) -> None:
    found = settings_in(
        tmp_path,
        added_tokens__json={"<a>": 7, "<old>": 8, "<odd>": "9"},
        tokenizer_config__json={"added_tokens_decoder": {"7": {"content": "<new>"}}},
    )
    assert {token.token_id: token.content for token in found.added} == {7: "<new>", 8: "<old>"}


def test_named_tokens_are_texts_or_objects(tmp_path: Path) -> None:
    config = {
        "bos_token": None,
        "eos_token": {"content": "</s>"},
        "pad_token": "<pad>",
        "unk_token": "",
        "additional_special_tokens": ["<x>", {"content": "<y>"}, 3],
        "extra_special_tokens": {"image": "<i>"},
    }
    found = settings_in(tmp_path, tokenizer_config__json=config)
    assert found.named == (
        ("eos", "</s>"),
        ("pad", "<pad>"),
        ("additional", "<x>"),
        ("additional", "<y>"),
        ("additional", "<i>"),
    )


@pytest.mark.parametrize(
    ("given", "templates"),
    [
        ("{{ a }}", ("{{ a }}",)),
        ([{"name": "default", "template": "{{ a }}"}, {"name": "x"}], ("{{ a }}",)),
        ({"default": "{{ a }}", "tool": 3}, ("{{ a }}",)),
        (None, ()),
        (3, ()),
    ],
)
def test_templates_have_several_forms(given: Any, templates: Any, tmp_path: Path) -> None:
    found = settings_in(tmp_path, tokenizer_config__json={"chat_template": given})
    assert found.templates == templates


def test_a_template_in_a_file_of_its_own_is_read_too(tmp_path: Path) -> None:
    found = settings_in(
        tmp_path, tokenizer_config__json={"chat_template": "a"}, chat_template__jinja="b"
    )
    assert found.templates == ("a", "b")


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"a": 1, "a": 2}'])
def test_a_config_that_cannot_be_used_is_a_note(content: str, tmp_path: Path) -> None:
    found = settings_in(tmp_path, tokenizer_config__json=content)
    assert found.added == ()
    assert found.notes[0].startswith("tokenizer_config.json is left out: ")


def test_a_template_that_is_no_utf8_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    assert settings_in(tmp_path).notes[0].startswith("chat_template.jinja is left out: ")


@pytest.mark.parametrize("content", ["{", "[]", '{"a": "1"}', '{"a": true}', '{"a": 1.5}'])
def test_a_vocabulary_is_ids_by_piece(content: str, tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(content)
    with pytest.raises(TokenizerFileError, match=r"vocab\.json"):
        read_vocab_json(path)
    path.write_text('{"a": 1}')
    assert read_vocab_json(path) == {"a": 1}
