"""Masks and lists, as documents: what each format holds, by its own specification."""

import io
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from exportables import DEAD_BYTE, HOSTILE, PADDING, RESERVED, WORD, V, columns, small
from isologit.exportable import Exportable
from isologit.output.card import ranges
from isologit.output.exports import FORMATS, Request
from isologit.selection import select


def written(as_: str, *names: str, of: Exportable | None = None, **config: Any) -> Any:
    """Return what a format writes of a selection, padding by default."""
    of = of or small()
    selection = select(of.columns, names or ("padding",))
    return FORMATS[as_].write(Request(of, selection, config))


def document(as_: str, *names: str, **given: Any) -> Any:
    return json.loads(written(as_, *names, **given))


def mask(*names: str, of: Exportable | None = None) -> Any:
    """Return the words of a bitmask, read as NumPy reads a file."""
    return np.load(io.BytesIO(written("bitmask", *names, of=of)), allow_pickle=False)


def test_openai_biases_each_id_by_the_lowest_there_is() -> None:
    assert document("openai") == {"logit_bias": {str(i): -100 for i in PADDING}}


def test_vllm_gets_the_complement_without_padding() -> None:
    assert document("vllm-allowed") == {"allowed_token_ids": list(range(64))}
    # Padding is not allowed where something else was selected either: vLLM would refuse the list.
    allowed = [i for i in range(64) if i != RESERVED]
    assert document("vllm-allowed", f"id:{RESERVED}") == {"allowed_token_ids": allowed}


def test_vllm_gets_the_plain_complement_where_no_tokenizer_tells_padding() -> None:
    bare = small(columns().select(["token_id", "row_class", "row_class_size"]))
    expected = [i for i in range(V) if i != 3]
    assert document("vllm-allowed", "id:3", of=bare) == {"allowed_token_ids": expected}


def test_transformers_keeps_what_the_config_has() -> None:
    config = {"eos_token_id": [1, 2], "suppress_tokens": [3, 64], "top_p": 0.8}
    assert document("transformers", **config) == {
        **config,
        "suppress_tokens": [3, *PADDING],
    }
    assert document("transformers") == {"suppress_tokens": PADDING}
    assert document("transformers", suppress_tokens=None) == {"suppress_tokens": PADDING}


def test_llama_cpp_gets_an_argument_a_line() -> None:
    lines = written("llama.cpp").splitlines()
    assert lines == [f"--logit-bias {i}-inf" for i in PADDING]


def test_llama_cpp_s_server_gets_false_for_minus_infinity() -> None:
    assert document("llama.cpp-server") == {"logit_bias": [[i, False] for i in PADDING]}


class TestBitmask:
    """int32 [1, ⌈V/32⌉], bit v % 32 of word v // 32, 1 = allowed, nothing beyond V."""

    @pytest.mark.parametrize("names", ["padding", "id:0", "id:31,32", "id:0-31", "duplicates"])
    def test_every_bit_by_its_definition(self, names: str) -> None:
        words = mask(names)
        assert (words.dtype, words.shape) == (np.dtype("<i4"), (1, 3))
        selected = set(select(columns(), [names]).token_ids.tolist())
        for v in range(96):
            bit = (int(words[0, v // 32]) & 0xFFFFFFFF) >> (v % 32) & 1
            assert bit == (v < V and v not in selected), v

    def test_the_words_are_these(self) -> None:
        assert mask("padding").tolist() == [[-1, -1, 0]]
        assert mask("id:31").tolist() == [[0x7FFFFFFF, -1, 0b111111]]
        assert mask("id:0,69").tolist() == [[-2, -1, 0b011111]]

    @pytest.mark.parametrize(("n_rows", "n_words"), [(2, 1), (31, 1), (32, 1), (33, 2), (64, 2)])
    def test_rows_that_end_with_a_word_or_beside_it(self, n_rows: int, n_words: int) -> None:
        table = columns().slice(0, n_rows)
        words = mask("id:0", of=small(table))
        assert words.shape == (1, n_words)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")
        assert bits.tolist() == [0] + [1] * (n_rows - 1) + [0] * (n_words * 32 - n_rows)


class TestReusable:
    """What may be had for new tokens."""

    def test_each_id_with_its_evidence_and_what_becomes_of_it(self) -> None:
        found = document("reusable", "padding", "reserved")
        assert (found["schema"], found["rows"], found["next_new_id"]) == (
            *("isologit.reusable/1", V, 64),
        )
        by_id = {token["id"]: token for token in found["tokens"]}
        assert by_id[65] == {
            "id": 65,
            "category": "padding",
            "token": "no token",
            "row_class": 2,
            "row_class_size": 12,
            "evidence": "strong",
            "evidence_why": None,
            "add_tokens": "takes it for new token 2, in the order in which they are added",
        }
        assert by_id[RESERVED]["add_tokens"].startswith("does not take it: the id has a token")

    def test_ids_among_the_tokens_are_left_open(self) -> None:
        category = columns()["category"].to_pylist()
        category[20] = "padding"
        found = document("reusable", "id:20,69", of=small(columns(category=category)))
        assert found["next_new_id"] is None
        assert {token["add_tokens"][:9] for token in found["tokens"]} == {"not known"}

    def test_token_text_is_escaped(self) -> None:
        token = document("reusable", f"id:{WORD}")["tokens"][0]["token"]
        assert token == '"`|<script>\\u001b[31m\\u202e\\n[x](http://x)"'

    def test_without_a_tokenizer_ids_alone(self) -> None:
        bare = small(columns().select(["token_id", "row_class", "row_class_size"]))
        (token,) = document("reusable", "id:3", of=bare)["tokens"]
        assert (token["category"], token["token"], token["evidence"]) == (None, None, None)
        assert token["add_tokens"] == "not known: no tokenizer"


class TestCard:
    """Markdown that says what was found, and nothing that a token says."""

    def test_it_names_the_commit_the_padding_the_classes_and_the_command(self) -> None:
        text = written("card")
        assert f"commit `{'0' * 40}`" in text
        assert "6 padding" in text
        assert "12 tokens share their row with another, bit for bit: 1 row class" in text
        assert "Selected (`padding`): 6 ids, 64–69" in text
        command = f"isologit export hf://org/tiny@{'0' * 40} --as card --select padding"
        assert f"```sh\n{command}\n```\n" in text

    def test_a_hostile_token_stays_in_its_cell(self) -> None:
        table = columns(bytes=[HOSTILE.encode()] * V)
        (row,) = [line for line in written("card", of=small(table)).splitlines() if "…" in line]
        # What a reader of GFM takes for a cell's end is a bar that no backslash is before.
        assert len(re.findall(r"(?<!\\)\|", row)) == 4
        assert row.count("`") == 2
        assert row.endswith('| `"\\u0060\\|<script>\\u001b[31m\\u202e\\n[x](htt"…` |')

    def test_bytes_that_are_no_text_are_shown_as_bytes(self) -> None:
        table = columns(bytes=[b"\xe0\xb8"] * V)
        assert "| `<E0 B8>` |" in written("card", of=small(table))

    def test_names_of_files_cannot_write_either(self) -> None:
        name = "m`|\n# Heading\n<b>\x1b[2J"
        of = small(spec=name, name=name, source="directory", revision=None)
        text = written("card", of=of)
        assert "# Heading\n" not in text.replace("## Tokens", "")
        assert "\x1b" not in text
        assert "in `m\\u0060\\u007c\\n# Heading\\n<b>\\u001b[2J`:" in text
        assert "\nisologit export MODEL --as card --select padding\n" in text

    def test_a_path_is_quoted_for_the_shell(self) -> None:
        of = small(spec="my `model`; rm -rf .", source="directory", revision=None)
        assert "isologit export 'my `model`; rm -rf .' --as card" in written("card", of=of)

    def test_distinct_rows_have_no_table(self) -> None:
        of = small()
        rows = type(of.rows)(**{**_fields(of.rows), "classes": 0, "sizes": [], "largest": []})
        text = written("card", of=_with_rows(of, rows))
        assert "- No two rows are the same" in text
        assert "|" not in text

    def test_it_does_without_a_tokenizer(self) -> None:
        bare = small(columns().select(["token_id", "row_class", "row_class_size"]))
        text = written("card", "id:3", of=bare)
        assert "Selected (`id:3`): 1 id, 3" in text
        assert f"| 12 | {ranges([2, 4, 5, 6, 7, 9, *PADDING], 4)} |  |" in text


def parsed(text: str) -> tuple[list[str], list[str]]:
    """Return the kinds of everything in a Markdown text, and what its code spans hold."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    kinds = [token.type for token in [*tokens, *inline]]
    return kinds, [token.content for token in inline if token.type == "code_inline"]


@given(
    st.one_of(st.binary(min_size=1, max_size=40), st.text("`|\\<>[]()!*_~#-\n\r$&;:@ ", min_size=1))
)
@example(HOSTILE)
@example("``` ```\n```\n# x")
@example("\\`|` \\|")
@example("<!--")
def test_no_token_changes_what_the_card_is(content: bytes | str) -> None:
    raw = content.encode() if isinstance(content, str) else content
    tame = parsed(written("card", of=small(columns(bytes=[b"tame"] * V))))
    found = parsed(written("card", of=small(columns(bytes=[raw] * V))))
    assert found[0] == tame[0]
    assert len(found[1]) == len(tame[1])
    assert found[1][:-1] == tame[1][:-1]


@given(st.text(min_size=1, max_size=60))
@example("x\n```\n<script>")
@example("-- `")
def test_no_name_changes_what_the_card_is(name: str) -> None:
    given = {"spec": name, "name": name, "source": "directory", "revision": None}
    tame = parsed(written("card", of=small(**(given | {"spec": "m", "name": "m"}))))
    assert parsed(written("card", of=small(**given)))[0] == tame[0]


def test_ranges_are_short() -> None:
    assert ranges([]) == ""
    assert ranges([3]) == "3"
    assert ranges([3, 5, 6, 7, 9]) == "3, 5–7, 9"
    assert ranges([1, 3, 5, 6], 2) == "1, 3 and 2 more"


def test_every_text_ends_its_line() -> None:
    for name in FORMATS:
        if name != "bitmask":
            assert written(name).endswith("\n")
            assert written(name, f"id:{WORD},{DEAD_BYTE}").isascii() or name == "card"


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _with_rows(of: Exportable, rows: Any) -> Exportable:
    return Exportable(of.columns, of.model, of.matrix, rows, of.tokens, of.version)
