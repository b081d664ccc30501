"""Tokenizers in GGUF headers: the real ones, one of each kind, and bad ones."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from gguf import GGUFWriter

from isologit.checkpoint.open import open_checkpoint
from isologit.errors import TokenizerFileError
from isologit.tokens.bpe_files import read_bpe_files
from isologit.tokens.byte_level import CHARACTER_OF
from isologit.tokens.gguf_split_rules import RULES
from isologit.tokens.gguf_tokenizer import read_gguf_tokenizer
from isologit.tokens.sentencepiece_file import read_sentencepiece
from isologit.tokens.sentencepiece_proto import read_model
from isologit.tokens.settings import TokenizerSettings
from isologit.tokens.vocabulary import Encoder, Tokenizer
from tokens.gguf_headers import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    header,
    strings,
)
from tokens.sample_texts import plain_sentences, random_texts
from tokens.sentencepiece_models import trained

BYTES = [CHARACTER_OF[byte] for byte in range(256)]
FALLBACK = [f"<0x{byte:02X}>" for byte in range(256)]
FORMS = ("BF16", "F16", "Q8_0", "Q4_0")


def read(metadata: Mapping[str, Any]) -> Tokenizer:
    found = read_gguf_tokenizer(metadata, "model.gguf")
    assert found is not None
    return found


def encoder_of(tokenizer: Tokenizer) -> Encoder:
    assert tokenizer.encoder is not None, tokenizer.notes
    return tokenizer.encoder


def why_none(tokenizer: Tokenizer) -> str:
    """Return the note that says why there is no encoder."""
    assert tokenizer.encoder is None
    (note,) = [each for each in tokenizer.notes if "reachability is not checked" in each]
    assert len(note.splitlines()) == 1
    return note


class TestLlama2xs:
    @pytest.fixture(scope="class", params=FORMS)
    @classmethod
    def metadata(cls, shared: Path, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        path = shared / "checkpoints" / f"llama2xs-{request.param}.gguf"
        found = open_checkpoint(path).gguf
        assert found is not None
        return found

    def test_it_has_the_bytes_of_its_tokenizer_model(
        self, metadata: Mapping[str, Any], shared: Path
    ) -> None:
        found = read(metadata)
        other = read_sentencepiece(
            shared / "checkpoints" / "llama2xs-hf-f32" / "tokenizer.model"
        ).vocabulary
        assert found.kind == "SentencePiece BPE"
        assert found.vocabulary.types == other.types
        # The converter of this file wrote line feeds around these two.
        assert found.vocabulary.pieces[1:3] == ["\n<s>\n", "\n</s>\n"]
        assert found.vocabulary.token_bytes[3:] == other.token_bytes[3:]

    def test_with_the_scores_of_the_model_it_encodes_as_the_model_does(
        self, metadata: Mapping[str, Any], shared: Path
    ) -> None:
        # In all four files the scores are 0, and then it does not; see the next test.
        path = shared / "checkpoints" / "llama2xs-hf-f32" / "tokenizer.model"
        scores = np.array(read_model(path.read_bytes(), "x").scores, np.float32)
        flag = {"tokenizer.ggml.remove_extra_whitespaces": True}
        found = read({**metadata, "tokenizer.ggml.scores": scores, **flag})
        texts = [*random_texts(2000), *plain_sentences()]
        real = sentencepiece.SentencePieceProcessor(model_file=str(path))
        assert encoder_of(found).encode_each(texts) == real.encode(texts)
        assert found.notes == ()

    def test_without_scores_merges_go_from_left_to_right_and_that_is_said(
        self, metadata: Mapping[str, Any]
    ) -> None:
        found = read(metadata)
        assert not metadata["tokenizer.ggml.scores"].any()
        assert "all scores in model.gguf are 0" in found.notes[0]
        ids = encoder_of(found).encode_each(["little"])[0]
        assert [found.vocabulary.pieces[i] for i in ids] == ["▁li", "t", "t", "le"]


class TestSentencePiece:
    def test_a_unigram_model_runs_with_its_normalization(self) -> None:
        # As the converter of llama.cpp takes a T5's spiece.model apart.
        content = trained(model_type="unigram", user_defined_symbols=["<tool>", "▁▁"])
        real = sentencepiece.SentencePieceProcessor(model_proto=content)
        model = read_model(content, "x")
        numbers = {"unknown": UNKNOWN, "control": CONTROL, "user_defined": USER_DEFINED}
        found = read(
            header(
                "t5",
                model.pieces,
                scores=list(model.scores),
                token_type=[numbers.get(kind, NORMAL) for kind in model.types],
                add_space_prefix=True,
                remove_extra_whitespaces=True,
                precompiled_charsmap=np.frombuffer(_character_map(content), np.int8),
            )
        )
        encoder = encoder_of(found)
        texts = [*random_texts(500), "ﬁn ①  Ａ the<tool>cat"]
        assert found.kind == "SentencePiece unigram"
        assert encoder.encode_each(texts) == real.encode(texts)
        assert encoder.normalized("ﬁn") == " fin"
        assert "<tool>" in encoder.matched_whole

    def test_defaults_are_llama_cpps(self) -> None:
        tokens = ["<unk>", "▁", "a", "▁a"]
        more = {"scores": [0, 0, 0, -1], "token_type": [UNKNOWN, NORMAL, NORMAL, NORMAL]}
        assert encoder_of(read(header("llama", tokens, **more))).marks_words
        assert not encoder_of(read(header("t5", tokens, **more))).marks_words
        without = header("llama", tokens, add_space_prefix=False, **more)
        assert not encoder_of(read(without)).marks_words
        # llama.cpp leaves spaces as they are.
        assert encoder_of(read(without)).encode_each(["  a"]) == [[1, 3]]

    def test_bytes_fall_back(self) -> None:
        tokens = ["<unk>", *FALLBACK, "a"]
        types = [UNKNOWN, *[BYTE] * 256, NORMAL]
        found = read(header("llama", tokens, token_type=types, add_space_prefix=False))
        assert encoder_of(found).encode_each(["é"]) == [[1 + byte for byte in "é".encode()]]
        assert list(found.vocabulary.token_bytes[1:257]) == [bytes([byte]) for byte in range(256)]

    def test_user_defined_pieces_have_spaces_in_the_header(self) -> None:
        types = [UNKNOWN, USER_DEFINED, NORMAL, UNUSED]
        metadata = header("llama", ["<unk>", "  ", "a", ""], token_type=types, scores=[0, 0, 1, 2])
        found = read({**metadata, "tokenizer.ggml.add_space_prefix": False})
        assert encoder_of(found).encode_each(["a  a"]) == [[2, 1, 2]]
        assert found.vocabulary.token_bytes == [b"<unk>", b"  ", b"a", b""]

    @pytest.mark.parametrize(
        ("tokens", "types", "said"),
        [
            (["a"], [NORMAL], "0 unknown tokens"),
            (["a", "b"], [UNKNOWN, UNKNOWN], "2 unknown tokens"),
            (["a", "<0x00>"], [UNKNOWN, BYTE], "1 token for bytes"),
            (["u", "a", "a"], [UNKNOWN, NORMAL, NORMAL], "tokens 1 and 2 are both a"),
            (["u", b"\xff"], [UNKNOWN, NORMAL], "token 1 is not UTF-8"),
            (["u", "a\0"], [UNKNOWN, NORMAL], "SentencePiece takes"),
        ],
    )
    def test_what_sentencepiece_refuses_has_no_encoder(
        self, tokens: list[str | bytes], types: list[int], said: str
    ) -> None:
        found = read(header("llama", tokens, token_type=types))
        assert said in why_none(found)
        assert len(found.vocabulary) == len(tokens)

    @pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
    def test_scores_that_are_no_numbers(self, score: float) -> None:
        found = read(header("t5", ["<unk>", "a"], token_type=[UNKNOWN, 1], scores=[0, score]))
        assert "no finite numbers" in why_none(found)

    def test_a_character_map_is_made_of_bytes_and_is_checked(self) -> None:
        metadata = header("t5", ["<unk>", "a"], token_type=[UNKNOWN, NORMAL])
        key = "tokenizer.ggml.precompiled_charsmap"
        assert "made of bytes" in why_none(read({**metadata, key: np.zeros(4, np.float32)}))
        damaged = np.full(4096, 255, np.uint8)
        assert "SentencePiece takes" in why_none(read({**metadata, key: damaged}))


class TestByteLevel:
    TOKENS = (*BYTES, "he", "ĠĠ", "<|end|>", "<tool Ġ>", "[PAD260]", "éĠ")
    TYPES = (*[NORMAL] * 258, CONTROL, USER_DEFINED, UNUSED, USER_DEFINED)

    def metadata(self, pre: str = "qwen2", **more: Any) -> dict[str, Any]:
        made = {"merges": ["h e", "Ġ Ġ"], "token_type": list(self.TYPES), "pre": pre, **more}
        return header("gpt2", self.TOKENS, **made)

    def test_merges_and_tokens_that_are_matched_whole(self) -> None:
        found = read(self.metadata())
        encoder = encoder_of(found)
        assert found.kind == "byte-level BPE"
        assert found.vocabulary.byte_level
        assert encoder.encode_each(["he  <|end|><tool Ġ>"]) == [[256, 257, 258, 259]]
        assert encoder.decode_each([258, 259, 257]) == ["<|end|>", "<tool Ġ>", "  "]
        assert set(encoder.matched_whole) == {"<|end|>", "<tool Ġ>", "éĠ"}
        assert found.notes == ()

    def test_only_normal_tokens_are_written_in_the_alphabet(self) -> None:
        vocabulary = read(self.metadata()).vocabulary
        assert vocabulary.token_bytes[255:] == [
            *(b"\xff", b"he", b"  ", b"<|end|>", "<tool Ġ>".encode(), b"[PAD260]", "éĠ".encode())
        ]
        assert vocabulary.types[255:] == [
            *("normal", "normal", "normal", "control", "user_defined", "unused", "user_defined")
        ]

    @pytest.mark.parametrize(
        ("pre", "parts"),
        [
            ("gpt-2", ["Hi", " 1234", "'", "LL", " x"]),
            ("llama-bpe", ["Hi", " ", "123", "4", "'LL", " x"]),
            ("qwen2", ["Hi", " ", "1", "2", "3", "4", "'LL", " x"]),
            ("qwen35", ["Hi", " ", "1", "2", "3", "4", "'LL", " x"]),
            ("starcoder", ["Hi", " ", "1", "2", "3", "4", "'", "LL", " x"]),
            ("falcon", ["Hi", " ", "123", "4", "'", "LL", " x"]),
            ("default", ["Hi", " ", "123", "4", "'", "LL", " x"]),
            ("deepseek-llm", ["Hi", " ", "1234", "'", "LL", " x"]),
            ("deepseek-coder", ["Hi", " ", "1", "2", "3", "4", "'", "LL", " x"]),
            ("deepseek-v3", ["Hi", " ", "123", "4", "'LL", " x"]),
            ("tekken", ["Hi", " ", "1", "2", "3", "4", "'LL", " x"]),
            ("gpt-4o", ["Hi", " ", "123", "4", "'LL", " x"]),
            ("bloom", ["Hi", " 1234'LL", " x"]),
        ],
    )
    def test_text_is_cut_by_the_name_of_the_rule(self, pre: str, parts: list[str]) -> None:
        found = encoder_of(read(self.metadata(pre))).pretokens("Hi 1234'LL x")
        assert [part.replace("Ġ", " ") for part in found] == parts

    @pytest.mark.parametrize(("pre", "whole"), [("llama-bpe", True), ("qwen2", False)])
    def test_a_part_that_is_a_token_may_need_no_merges(self, pre: str, whole: bool) -> None:
        ids = encoder_of(read(self.metadata(pre, merges=["Ġ Ġ"]))).encode_each(["he"])
        assert ids == ([[256]] if whole else [[ord("h"), ord("e")]])

    @pytest.mark.parametrize("pre", sorted(RULES))
    def test_every_rule_keeps_all_of_a_text(self, pre: str) -> None:
        encoder = encoder_of(read(self.metadata(pre)))
        text = "It's  12345\n\n日本 émigré, Ⅷ\u0301…\t«q»  "
        assert "".join(encoder.pretokens(text)) == "".join(BYTES[byte] for byte in text.encode())
        (ids,) = encoder.encode_each([text])
        raw = read(self.metadata(pre)).vocabulary.token_bytes
        assert b"".join(raw[i] or b"" for i in ids) == text.encode()

    def test_letters_of_deepseek_are_cased_ones(self) -> None:
        encoder = encoder_of(read(self.metadata("deepseek-llm")))
        assert len(encoder.pretokens("ωжß")) == 1
        assert len(encoder.pretokens("ωא")) == 2

    def test_no_name_is_llama_cpps_default_and_is_said(self) -> None:
        found = read({k: v for k, v in self.metadata().items() if not k.endswith("pre")})
        assert "llama.cpp's default was taken" in found.notes[0]
        assert encoder_of(found).pretokens("a12345") == ["a", "123", "45"]

    @pytest.mark.parametrize("pre", ["kimi-k2", "newcomer\n", "gemma4"])
    def test_a_name_that_is_not_known_has_no_encoder(self, pre: str) -> None:
        note = why_none(read(self.metadata(pre)))
        assert pre.strip() in note

    def test_merges_of_no_tokens_are_left_out_and_counted(self) -> None:
        found = read(self.metadata(merges=["h e", "z z", "x", "", "q ħ", "h e l"]))
        assert "5 merges of model.gguf were left out" in found.notes[0]
        assert encoder_of(found).encode_each(["he"]) == [[256]]

    def test_a_merge_is_parted_at_its_first_space_behind_a_character(self) -> None:
        tokens = [*BYTES, "e e", "he e"]
        assert read(header("gpt2", tokens, pre="gpt-2", merges=["h e e"])).notes == ()

    def test_without_merges_there_is_no_encoder(self) -> None:
        metadata = self.metadata()
        del metadata["tokenizer.ggml.merges"]
        assert "holds no tokenizer.ggml.merges" in why_none(read(metadata))

    def test_a_token_twice_has_no_encoder(self) -> None:
        found = read(header("gpt2", ["a", "a"], pre="gpt-2", merges=[]))
        assert "both a" in why_none(found)
        assert found.vocabulary.token_bytes == [b"a", b"a"]

    def test_qwen2_in_a_header_encodes_as_its_files_do(self, shared: Path) -> None:
        folder = shared / "tokenizers" / "qwen2"
        pieces = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.lf.txt").read_text(encoding="utf-8").split("\n")[1:]
        other = read_bpe_files(
            folder / "vocab.json", folder / "merges.lf.txt", TokenizerSettings(), "qwen2"
        )
        tokens = [*sorted(pieces, key=pieces.__getitem__), "<|endoftext|>"]
        found = read(
            header(
                "gpt2",
                tokens,
                pre="qwen2",
                merges=[line for line in lines if line],
                token_type=[*[NORMAL] * len(pieces), CONTROL],
            )
        )
        assert found.vocabulary.token_bytes == other.vocabulary.token_bytes
        assert found.vocabulary.types == other.vocabulary.types
        texts = [text for text in random_texts(1000) if "\u0301" not in text]
        assert encoder_of(found).encode_each(texts) == encoder_of(other).encode_each(texts)


class TestOtherKinds:
    def test_rwkv(self) -> None:
        tokens = ["<s>", r"\x00", r"\n", r"\xe4\xbd", "a", r"\\", r"\'"]
        found = read(header("rwkv", tokens, token_type=[CONTROL, *[NORMAL] * 6]))
        assert found.vocabulary.token_bytes == [
            *(b"<s>", b"\0", b"\n", b"\xe4\xbd", b"a", b"\\", b"'")
        ]
        assert "of the kind rwkv" in why_none(found)

    def test_bert(self) -> None:
        found = read(header("bert", ["[CLS]", "▁the", "ing"], token_type=[CONTROL, 1, 1]))
        assert found.vocabulary.token_bytes == [b"[CLS]", b" the", b"ing"]
        assert found.kind == "WordPiece"
        assert "of the kind bert" in why_none(found)

    def test_pieces_of_gemma4_are_text(self) -> None:
        found = read(header("gpt2", ["▁the", "<0x41>"], token_type=[1, BYTE], pre="gemma4"))
        assert found.vocabulary.token_bytes == [b" the", b"A"]
        assert not found.vocabulary.byte_level
        why_none(found)

    def test_a_kind_nobody_knows(self) -> None:
        found = read(header("new\x1bcomer", ["a"]))
        assert "new\\x1bcomer" in why_none(found)
        assert found.vocabulary.types == ["normal"]

    @pytest.mark.parametrize("model", ["none", "no_vocab"])
    def test_no_vocabulary(self, model: str) -> None:
        assert read_gguf_tokenizer(header(model, ["a"]), "x") is None

    def test_no_tokens(self) -> None:
        assert read_gguf_tokenizer({}, "x") is None
        assert read_gguf_tokenizer({"tokenizer.ggml.model": "llama"}, "x") is None


class TestHostile:
    """Headers come from strangers."""

    BASE = header(
        "gpt2", [*BYTES, "<|x|>"], pre="gpt-2", merges=[], token_type=[*[NORMAL] * 256, CONTROL]
    )

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("tokens", 5), ("tokens", "abc"), ("tokens", np.zeros(3)), ("tokens", ())),
            *(("tokens", strings([])), ("model", 5), ("model", strings(["gpt2"]))),
            *(("token_type", strings(["1"])), ("token_type", 1), ("token_type", np.ones(3, "i4"))),
            *(("token_type", np.array([True] * 257)), ("pre", 7), ("pre", True)),
            *(("merges", "a b"), ("merges", np.zeros(2)), ("merges", (strings([]),))),
        ],
    )
    def test_values_of_another_type_or_length(self, key: str, value: object) -> None:
        with pytest.raises(TokenizerFileError) as caught:
            read_gguf_tokenizer({**self.BASE, f"tokenizer.ggml.{key}": value}, "model.gguf")
        assert len(str(caught.value).splitlines()) == 1
        assert f"model.gguf: tokenizer.ggml.{key}" in str(caught.value)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("scores", np.zeros(1, "f4")), ("scores", strings(["1"])), ("scores", "x")),
            *(("add_space_prefix", 1), ("add_space_prefix", "yes")),
            *(("remove_extra_whitespaces", 2.0), ("precompiled_charsmap", "abc")),
        ],
    )
    def test_the_same_of_sentencepiece(self, key: str, value: object) -> None:
        base = header("llama", ["<unk>", "a"], token_type=[UNKNOWN, NORMAL])
        with pytest.raises(TokenizerFileError) as caught:
            read_gguf_tokenizer({**base, f"tokenizer.ggml.{key}": value}, "model.gguf")
        assert len(str(caught.value).splitlines()) == 1

    def test_more_types_than_tokens_are_passed_over(self) -> None:
        types = np.full(400, NORMAL, np.int64)
        found = read({**self.BASE, "tokenizer.ggml.token_type": types})
        assert set(found.vocabulary.types) == {"normal"}

    def test_types_that_are_none(self) -> None:
        types = np.arange(257) * 1000 - 5
        found = read({**self.BASE, "tokenizer.ggml.token_type": types.astype("f8")})
        assert set(found.vocabulary.types) == {"normal"}

    def test_bytes_that_are_no_text_leave_the_vocabulary(self) -> None:
        tokens = strings([b"\xff\xfe", "a\nb", b"\xed\xa0\x80"])
        found = read({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens})
        assert "token 0 is not UTF-8" in why_none(found)
        assert found.vocabulary.token_bytes[0] == b"\xff\xfe"
        assert found.vocabulary.pieces[0] == "\ufffd\ufffd"

    def test_tens_of_thousands_of_added_tokens(self) -> None:
        tokens = [f"<|{n}|>" for n in range(30_000)]
        types = [CONTROL, USER_DEFINED] * 15_000
        found = read(header("gpt2", tokens, pre="gpt-2", merges=[], token_type=types))
        assert encoder_of(found).encode_each(["<|7|><|29999|>"]) == [[7, 29999]]


def test_a_file_of_the_gguf_library(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*BYTES, "he", "<e>"])
    writer.add_token_types([*[NORMAL] * 257, CONTROL])
    writer.add_token_merges(["h e"])
    writer.add_tensor("token_embd.weight", np.zeros((258, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = open_checkpoint(path).gguf
    assert metadata is not None
    assert encoder_of(read(metadata)).encode_each(["he<e>"]) == [[256, 257]]


def _character_map(content: bytes) -> bytes:
    """Return a model's compiled normalization: what follows its name in NormalizerSpec."""
    name = b"\n\x08nmt_nfkc\x12"
    at = content.index(name) + len(name)
    length = shift = 0
    while True:
        byte = content[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return content[at : at + length]
