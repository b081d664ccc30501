"""`vocab.json` with `merges.txt`: GPT-2's and Qwen2's own files, small ones, and bad ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from isologit.errors import TokenizerFileError
from isologit.tokens.bpe_files import read_bpe_files
from isologit.tokens.byte_level import CHARACTER_OF
from isologit.tokens.huggingface import read_tokenizer_json
from isologit.tokens.settings import AddedToken, TokenizerSettings
from isologit.tokens.vocabulary import Encoder, Tokenizer
from tokens.sample_texts import joined_pieces, plain_sentences, random_texts

BYTES = [CHARACTER_OF[byte] for byte in range(256)]
NOTHING = TokenizerSettings()


def write(
    folder: Path, more: Sequence[str] = (), merges: Sequence[str] = (), **vocab: int
) -> tuple[Path, Path]:
    """Write the 256 bytes, more pieces and merges."""
    pieces = {piece: i for i, piece in enumerate([*BYTES, *more])} | vocab
    (folder / "vocab.json").write_text(json.dumps(pieces), encoding="utf-8")
    lines = "".join(f"{line}\n" for line in ("#version: 0.2", *merges))
    (folder / "merges.txt").write_text(lines, encoding="utf-8")
    return folder / "vocab.json", folder / "merges.txt"


def encoder_of(tokenizer: Tokenizer) -> Encoder:
    assert tokenizer.encoder is not None
    return tokenizer.encoder


def failures(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that do not survive a round trip."""
    encoder, ids = encoder_of(tokenizer), range(len(tokenizer.vocabulary))
    found = encoder.encode_each(encoder.decode_each(ids))
    return [i for i in ids if found[i] != [i]]


@pytest.fixture(scope="module")
def gpt2(shared: Path) -> Tokenizer:
    folder = shared / "tokenizers" / "gpt2"
    return read_bpe_files(folder / "vocab.json", folder / "merges.txt", NOTHING, "gpt2")


@pytest.fixture(scope="module")
def qwen2(shared: Path) -> Tokenizer:
    folder = shared / "tokenizers" / "qwen2"
    return read_bpe_files(folder / "vocab.json", folder / "merges.lf.txt", NOTHING, "qwen2")


class TestGpt2:
    def test_its_end_of_text_is_special_though_no_config_says_so(self, gpt2: Tokenizer) -> None:
        assert len(gpt2.vocabulary) == gpt2.vocabulary.n_tokens == 50257
        assert gpt2.vocabulary.pieces[50256] == "<|endoftext|>"
        assert gpt2.vocabulary.types[50256] == "control"
        assert encoder_of(gpt2).encode_each(["a<|endoftext|>b"]) == [[64, 50256, 65]]

    def test_all_survive_but_parts_of_characters(self, gpt2: Tokenizer) -> None:
        def is_text(raw: bytes | None) -> bool:
            try:
                return raw is not None and raw.decode() is not None
            except UnicodeDecodeError:
                return False

        no_text = [i for i, raw in enumerate(gpt2.vocabulary.token_bytes) if not is_text(raw)]
        assert failures(gpt2) == no_text
        longer = [i for i in no_text if len(gpt2.vocabulary.token_bytes[i] or b"") > 1]
        assert (len(no_text), len(longer)) == (344, 216)

    def test_known_ids(self, gpt2: Tokenizer) -> None:
        # tiktoken's README and tests: what gpt2 makes of these.
        found = encoder_of(gpt2).encode_each(["hello world", " \u00850"])
        assert found == [[31373, 995], [220, 126, 227, 15]]

    def test_nothing_is_said_where_the_model_is_known(self, gpt2: Tokenizer) -> None:
        assert gpt2.notes == ()
        assert gpt2.kind == "byte-level BPE"


class TestQwen2:
    def test_it_encodes_as_qwen3_does(self, qwen2: Tokenizer, shared: Path) -> None:
        qwen3 = read_tokenizer_json(shared / "tokenizers" / "qwen3" / "tokenizer.json")
        texts = [*random_texts(1000), *plain_sentences(), "e\u0301 12345 I'LL  x\n\n y"]
        texts += joined_pieces(encoder_of(qwen2).decode_each(range(0, 151643, 7)), 1000)
        ordinary = [text for text in texts if "<" not in text]
        assert len(ordinary) > 1800
        assert encoder_of(qwen2).encode_each(ordinary) == encoder_of(qwen3).encode_each(ordinary)
        assert qwen2.vocabulary.token_bytes == qwen3.vocabulary.token_bytes[: 151643 + 1]

    def test_its_end_of_text_comes_behind_the_vocabulary(self, qwen2: Tokenizer) -> None:
        assert qwen2.vocabulary.pieces[151643] == "<|endoftext|>"

    def test_as_many_do_not_survive_as_is_published_of_qwen3(self, qwen2: Tokenizer) -> None:
        assert len(failures(qwen2)) == 3357


class TestClass:
    """Which way of cutting text is taken, and what is said of it."""

    def cuts(
        self, folder: Path, name: str | None, model: str | None
    ) -> tuple[str, tuple[str, ...]]:
        settings = TokenizerSettings(tokenizer_class=name)
        found = read_bpe_files(*write(folder, ["<|endoftext|>"]), settings, model)
        parts = encoder_of(found).pretokens("12\n\n")
        return {3: "Qwen2", 2: "GPT-2"}[len(parts)], found.notes

    @pytest.mark.parametrize("name", ["GPT2Tokenizer", "GPT2TokenizerFast", "RobertaTokenizer"])
    def test_a_known_class_goes_before_the_model(self, tmp_path: Path, name: str) -> None:
        assert self.cuts(tmp_path, name, "qwen2") == ("GPT-2", ())

    @pytest.mark.parametrize("name", ["Qwen2Tokenizer", "Qwen2TokenizerFast"])
    def test_qwen2s_class_is_known(self, tmp_path: Path, name: str) -> None:
        assert self.cuts(tmp_path, name, None) == ("Qwen2", ())

    @pytest.mark.parametrize("name", [None, "PreTrainedTokenizerFast", "TokenizersBackend"])
    def test_a_class_that_says_nothing_leaves_it_to_the_model(
        self, tmp_path: Path, name: str | None
    ) -> None:
        assert self.cuts(tmp_path, name, "qwen3") == ("Qwen2", ())

    def test_an_unknown_class_is_named_in_a_note(self, tmp_path: Path) -> None:
        cut, notes = self.cuts(tmp_path, "OddTokenizer", "qwen2")
        assert cut == "GPT-2"
        assert len(notes) == 1
        assert "OddTokenizer" in notes[0]

    def test_an_assumption_is_a_note(self, tmp_path: Path) -> None:
        cut, notes = self.cuts(tmp_path, None, "newcomer")
        assert cut == "GPT-2"
        assert "assumed" in notes[0]


class TestAdded:
    def test_added_tokens_have_the_ids_of_the_config_holes_and_all(self, tmp_path: Path) -> None:
        settings = TokenizerSettings(
            tokenizer_class="GPT2Tokenizer",
            added=(
                AddedToken(300, "<pad>", special=True),
                AddedToken(258, "<tool>", special=False, flags={"normalized": False}),
            ),
        )
        found = read_bpe_files(*write(tmp_path, ["he"], ["h e"]), settings, None)
        vocabulary = found.vocabulary
        assert len(vocabulary) == 301
        assert vocabulary.pieces[257] is None
        assert not vocabulary.has(299)
        assert [vocabulary.types[i] for i in (256, 257, 258, 300)] == [
            *("normal", None, "added", "control")
        ]
        assert vocabulary.token_bytes[258] == b"<tool>"
        assert encoder_of(found).encode_each(["he<tool><pad>"]) == [[256, 258, 300]]
        assert set(encoder_of(found).matched_whole) == {"<tool>", "<pad>"}

    def test_a_named_token_is_special_in_its_place_or_behind(self, tmp_path: Path) -> None:
        settings = TokenizerSettings(
            tokenizer_class="GPT2Tokenizer", named=(("eos", "<e>"), ("pad", "<p>"), ("bos", "<e>"))
        )
        found = read_bpe_files(*write(tmp_path, ["<e>"]), settings, None)
        assert found.vocabulary.pieces[256:] == ["<e>", "<p>"]
        assert found.vocabulary.types[256:] == ["control", "control"]

    def test_a_default_is_not_added_where_the_class_was_assumed(self, tmp_path: Path) -> None:
        assert len(read_bpe_files(*write(tmp_path), NOTHING, None).vocabulary) == 256

    def test_pieces_that_mark_ends_of_words_have_no_encoder(self, tmp_path: Path) -> None:
        ends = [f"{piece}</w>" for piece in BYTES]
        found = read_bpe_files(*write(tmp_path, ends), NOTHING, "clip")
        assert found.encoder is None
        assert "reachability is not checked" in found.notes[0]
        assert found.vocabulary.token_bytes[256 + 65 - 33 + 33 - 65] == "Ā ".encode()


class TestHostile:
    def refused(self, paths: tuple[Path, Path]) -> str:
        with pytest.raises(TokenizerFileError) as caught:
            read_bpe_files(*paths, NOTHING, "gpt2")
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("h", "line 2: h; expected two pieces"),
            ("h e l", "expected two pieces"),
            (" e", "expected two pieces"),
            ("h zz", "not a tokenizer that the tokenizers library takes"),
            ("h e", "not a tokenizer that the tokenizers library takes"),
        ],
    )
    def test_merges(self, tmp_path: Path, line: str, said: str) -> None:
        assert said in self.refused(write(tmp_path, [], [line]))

    def test_merges_that_are_no_text(self, tmp_path: Path) -> None:
        paths = write(tmp_path)
        paths[1].write_bytes(b"#version: 0.2\n\xff \xfe\n")
        assert "is not UTF-8" in self.refused(paths)

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"[", b"[]", b'{"a": "b"}', b'{"a": 1.5}', b'{"a": true}', b"\xff", b"[" * 9999),
            *(b'{"a": -1}', b'{"a": 99999999999999999999}', b'{"a": 16777217}', b"{}"),
        ],
    )
    def test_vocabularies(self, tmp_path: Path, content: bytes) -> None:
        paths = write(tmp_path)
        paths[0].write_bytes(content)
        self.refused(paths)

    def test_two_pieces_of_one_id_are_said(self, tmp_path: Path) -> None:
        found = read_bpe_files(*write(tmp_path, again=5), NOTHING, "gpt2")
        assert "has the id of another piece" in found.notes[0]

    def test_a_file_that_is_gone(self, tmp_path: Path) -> None:
        paths = write(tmp_path)
        paths[1].unlink()
        assert "cannot be read" in self.refused(paths)


def test_a_config_adds_no_id_beyond_all(tmp_path: Path) -> None:
    added: Mapping[str, int] = {"<x>": 1 << 40}
    settings = TokenizerSettings(added=tuple(AddedToken(n, t, True) for t, n in added.items()))
    with pytest.raises(TokenizerFileError):
        read_bpe_files(*write(tmp_path), settings, "gpt2")
