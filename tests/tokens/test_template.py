"""The tokens that a chat needs: what templates write, what is named, and what is lacking."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from tokenizers import AddedToken

from isologit.tokens.settings import TokenizerSettings
from isologit.tokens.template import TemplateTokens, template_tokens
from isologit.tokens.vocabulary import Vocabulary
from tokens.small_tokenizers import byte_level, read

TEXTS = ("<|start|>", "<|end|>", "<|user|>", "<|assistant|>", "<|fim|>", "<s>", "</s>")
START, END, USER, ASSISTANT, FIM, BOS, EOS = range(258, 265)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    added = [AddedToken(text, special=True) for text in TEXTS]
    spaces = [AddedToken("  ", special=False), AddedToken("<|start|>x", special=False)]
    return read(byte_level(added=[*added, *spaces])).vocabulary


def needed(
    vocabulary: Vocabulary,
    *templates: str,
    named: tuple[tuple[str, str], ...] = (),
    gguf: Mapping[str, Any] | None = None,
) -> TemplateTokens:
    return template_tokens(vocabulary, TokenizerSettings(named=named, templates=templates), gguf)


def ids(vocabulary: Vocabulary, *templates: str) -> list[int | None]:
    return [token.token_id for token in needed(vocabulary, *templates).tokens]


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("<|start|>{{ x }}<|end|>", {START, END}),
        ("{{ '<|start|>' + x }}", {START}),
        ('{%- set a = "<|end|>" -%}', {END}),
        (r"{{ '\'<|end|>\n' }}", {END}),
        # White space that indents the template is no token, nor is what a comment holds.
        ("  {# <|fim|> #}  {{ x }}", set()),
        # Signs of Jinja's and names are not written.
        ("{{ start }}{% end %}", set()),
        # What two literals touch across a value is not known.
        ("{{ '<|st' + x + 'art|>' }}", set()),
        # But a message's role is.
        ("{{ '<|' + message['role'] + '|>' }}", {USER, ASSISTANT}),
        ('{{- "<|" ~ messages[0]["role"] ~ "|>" }}', {USER, ASSISTANT}),
        ("{{ '<|' ~ m.role ~ '|>' }}", {USER, ASSISTANT}),
        ("{{ '<|' + m.rolex + '|>' }}", set()),
        # Of tokens that begin at one place the tokenizer cuts out the longest.
        ("<|start|>y", {START}),
        # A tag and a literal that do not end.
        ("<|end|>{{ '<|start|>", {START, END}),
        ("<|end|>{# <|fim|>", {END}),
        ("", set()),
    ],
)
def test_what_a_template_writes_is_seen_and_nothing_else(
    vocabulary: Vocabulary, template: str, written: set[int]
) -> None:
    assert set(ids(vocabulary, template)) == written


def test_the_longest_token_at_a_place_is_cut_out(vocabulary: Vocabulary) -> None:
    (only,) = needed(vocabulary, "<|start|>x").tokens
    assert only.text == "<|start|>x"


def test_every_template_counts_and_tokens_come_by_id(vocabulary: Vocabulary) -> None:
    found = needed(vocabulary, "<|end|>", "<|start|><|end|>")
    assert found.n_templates == 2
    assert [token.token_id for token in found.tokens] == [START, END]
    assert needed(vocabulary) == TemplateTokens(0, ())


def test_bos_eos_and_pad_are_always_needed(vocabulary: Vocabulary) -> None:
    named = (("bos", "<s>"), ("eos", "</s>"), ("pad", "</s>"), ("unk", "<|fim|>"))
    found = needed(vocabulary, named=named)
    assert [(t.token_id, t.roles) for t in found.tokens] == [(BOS, ("bos",)), (EOS, ("eos", "pad"))]


def test_another_named_token_is_needed_where_a_template_asks(vocabulary: Vocabulary) -> None:
    named = (("unk", "<|fim|>"), ("sep", "<|user|>"), ("additional", "<|end|>"))
    assert needed(vocabulary, "{{ unk }}", named=named).tokens == ()
    found = needed(vocabulary, "{{ unk_token }}<|end|>", named=named)
    assert [(t.token_id, t.roles) for t in found.tokens] == [
        (END, ("additional",)),
        (FIM, ("unk",)),
    ]


def test_a_named_token_that_the_tokenizer_lacks_has_no_id(vocabulary: Vocabulary) -> None:
    named = (("eos", "<|eot|>"), ("additional", "<|tool|>"), ("additional", "<|far|>"))
    found = needed(vocabulary, "<|tool|>", named=named)
    assert [(t.text, t.token_id) for t in found.tokens] == [("<|eot|>", None), ("<|tool|>", None)]


def test_a_header_says_it_for_itself(vocabulary: Vocabulary) -> None:
    gguf = {
        "tokenizer.ggml.tokens": [],
        "tokenizer.ggml.bos_token_id": BOS,
        "tokenizer.ggml.eos_token_id": 9999,
        "tokenizer.ggml.eot_token_id": END,
        "tokenizer.ggml.padding_token_id": 0xFFFFFFFF,
        "tokenizer.ggml.eom_token_id": "5",
        "tokenizer.chat_template": "<|end|>",
        "tokenizer.chat_template.tool_use": "<|user|>",
        "tokenizer.chat_templates": ["tool_use"],
    }
    found = needed(vocabulary, "<|fim|>", named=(("pad", "<|pad|>"),), gguf=gguf)
    assert found.n_templates == 2
    assert [(t.token_id, t.text, t.roles) for t in found.tokens] == [
        (END, "<|end|>", ("eot",)),
        (USER, "<|user|>", ()),
        (BOS, "<s>", ("bos",)),
        (9999, None, ("eos",)),
    ]


def test_a_header_without_a_tokenizer_leaves_it_to_the_config(vocabulary: Vocabulary) -> None:
    gguf = {"tokenizer.chat_template": "<|end|>"}
    (only,) = needed(vocabulary, "<|fim|>", gguf=gguf).tokens
    assert only.token_id == FIM


@pytest.mark.parametrize(
    "hostile",
    [
        "{{" + "'\\" * 200_000,
        "{{" * 200_000,
        "{%" + "a[ " * 200_000,
        "{{" + "m['role'" * 100_000,
        "{#" * 400_000,
    ],
    ids=lambda text: text[:8],
)
def test_a_hostile_template_is_read_once(vocabulary: Vocabulary, hostile: str) -> None:
    # Reading each place again from every place before it would take an hour.
    since = time.perf_counter()
    assert ids(vocabulary, hostile) == []
    assert time.perf_counter() - since < 20
