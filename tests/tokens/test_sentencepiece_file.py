"""SentencePiece models: a real one against its tokenizer.json, trained ones, and bad ones."""

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
import sentencepiece

from isologit.errors import TokenizerFileError
from isologit.tokens.huggingface import read_tokenizer_json
from isologit.tokens.sentencepiece_file import SentencePieceEncoder, load, read_sentencepiece
from isologit.tokens.sentencepiece_proto import read_model, sentencepiece_model
from isologit.tokens.settings import AddedToken
from isologit.tokens.vocabulary import Tokenizer, TokenType
from tokens.sample_texts import plain_sentences, random_texts
from tokens.sentencepiece_models import trained


def encoder_of(tokenizer: Tokenizer) -> SentencePieceEncoder:
    assert isinstance(tokenizer.encoder, SentencePieceEncoder)
    return tokenizer.encoder


def small(
    pieces: Sequence[str] = ("<unk>", "▁", "a", "b", "▁ab", "<s>"),
    types: Sequence[TokenType] = ("unknown", "normal", "normal", "normal", "normal", "control"),
) -> bytes:
    """Return a model of a few pieces, written by isologit."""
    scores = [float(-n) for n in range(len(pieces))]
    raw = [piece.encode() for piece in pieces]
    return sentencepiece_model(raw, scores, types, unigram=False, add_prefix_space=True)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "tokenizer.model"
    path.write_bytes(content)
    return path


class TestLlama2xs:
    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, shared: Path) -> Path:
        return shared / "checkpoints" / "llama2xs-hf-f32" / "tokenizer.model"

    def test_it_has_the_bytes_of_its_tokenizer_json(self, path: Path) -> None:
        found, other = (
            read_sentencepiece(path),
            read_tokenizer_json(path.with_name("tokenizer.json")),
        )
        assert found.vocabulary.pieces == other.vocabulary.pieces
        assert found.vocabulary.token_bytes == other.vocabulary.token_bytes
        assert found.vocabulary.types[:4] == ["unknown", "control", "control", "byte"]
        assert found.vocabulary.types[1:] == other.vocabulary.types[1:]
        assert found.kind == "SentencePiece BPE"
        assert found.notes == ()

    def test_it_encodes_and_decodes_as_its_tokenizer_json_does(self, path: Path) -> None:
        found, other = (
            encoder_of(read_sentencepiece(path)),
            read_tokenizer_json(path.with_name("tokenizer.json")).encoder,
        )
        assert other is not None
        # SentencePiece joins spaces here, and the other file does not say so.
        texts = [" ".join(text.replace("▁", "").split()) for text in random_texts(2000)]
        texts += plain_sentences()
        assert found.encode_each(texts) == other.encode_each(texts)
        # Its decoder drops the first space, be it a byte's.
        assert found.decode_each([35]) == [" "]
        ids = [i for i in range(512) if i != 35]
        assert found.decode_each(ids) == other.decode_each(ids)
        assert found.marks_words
        assert found.marks_words == other.marks_words

    def test_tokens_with_a_role_are_matched_whole(self, path: Path) -> None:
        named = ("<unk>", "<s>", "</s>", "<s>")
        found, other = (
            encoder_of(read_sentencepiece(path, named=named)),
            read_tokenizer_json(path.with_name("tokenizer.json")).encoder,
        )
        assert other is not None
        assert found.encode_each(["<s>", "</s>"]) == other.encode_each(["<s>", "</s>"])
        assert set(found.matched_whole) == set(other.matched_whole)

    def test_writing_it_anew_changes_nothing(self, path: Path) -> None:
        model = read_model(path.read_bytes(), "x")
        again = sentencepiece_model(
            model.pieces,
            model.scores,
            model.types,
            unigram=False,
            add_prefix_space=True,
            remove_extra_spaces=True,
        )
        real = sentencepiece.SentencePieceProcessor(model_file=str(path))
        mine = load(again, "x")
        ids = list(range(512))
        assert mine.get_piece_size() == real.get_piece_size()
        assert mine.id_to_piece(ids) == real.id_to_piece(ids)
        assert [mine.get_score(i) for i in ids] == [real.get_score(i) for i in ids]
        assert [mine.is_byte(i) for i in ids] == [real.is_byte(i) for i in ids]
        assert (mine.unk_id(), mine.is_control(1)) == (0, True)
        texts = [*random_texts(1000), *plain_sentences()]
        assert mine.encode(texts) == real.encode(texts)
        assert mine.decode(mine.encode(texts)) == real.decode(real.encode(texts))


class TestTrained:
    def test_a_unigram_model_with_its_normalization(self, tmp_path: Path) -> None:
        content = trained(model_type="unigram", user_defined_symbols=["<tool>", "▁▁"])
        found = read_sentencepiece(write(tmp_path, content))
        encoder = encoder_of(found)
        real = sentencepiece.SentencePieceProcessor(model_proto=content)
        assert found.kind == "SentencePiece unigram"
        assert encoder.normalized("ﬁn ①") == " fin 1"
        assert encoder.pretokens("a b") == ["a b"]
        texts = random_texts(300)
        assert encoder.encode_each(texts) == [real.encode(text) for text in texts]
        assert set(encoder.matched_whole) == {"<tool>", "  "}
        at = list(found.vocabulary.pieces).index("<tool>")
        assert found.vocabulary.types[at] == "user_defined"
        assert at in encoder.encode_each(["the<tool>cat"])[0]

    @pytest.mark.parametrize(
        ("model_type", "kind"),
        [("bpe", "BPE"), ("word", "word"), ("char", "character"), ("unigram", "unigram")],
    )
    def test_kinds(self, tmp_path: Path, model_type: str, kind: str) -> None:
        content = trained(model_type=model_type, hard_vocab_limit=False)
        assert read_sentencepiece(write(tmp_path, content)).kind == f"SentencePiece {kind}"

    def test_types_are_the_librarys(self, tmp_path: Path) -> None:
        content = trained(model_type="bpe", byte_fallback=True, control_symbols=["<c>"])
        real = sentencepiece.SentencePieceProcessor(model_proto=content)
        vocabulary = read_sentencepiece(write(tmp_path, content)).vocabulary
        for n in range(real.get_piece_size()):
            assert (vocabulary.types[n] == "control") == real.is_control(n)
            assert (vocabulary.types[n] == "byte") == real.is_byte(n)
            assert (vocabulary.types[n] == "unknown") == real.is_unknown(n)

    def test_a_model_may_put_no_space_before_a_text(self, tmp_path: Path) -> None:
        content = trained(model_type="bpe", add_dummy_prefix=False)
        encoder = encoder_of(read_sentencepiece(write(tmp_path, content)))
        assert not encoder.marks_words
        assert encoder.normalized("cat") == "cat"


class TestAdded:
    def read(self, folder: Path, *added: AddedToken) -> Tokenizer:
        return read_sentencepiece(write(folder, small()), added)

    def test_tokens_behind_the_model_and_between(self, tmp_path: Path) -> None:
        found = self.read(
            tmp_path,
            AddedToken(8, "<tool>", special=False),
            AddedToken(7, "<tool>s", special=True),
            AddedToken(5, "<s>", special=True),
            AddedToken(3, "<b>", special=True),
        )
        assert found.vocabulary.pieces == [
            *("<unk>", "▁", "a", "<b>", "▁ab", "<s>", None, "<tool>s", "<tool>")
        ]
        assert found.vocabulary.types[3:] == [
            *("control", "normal", "control", None, "control", "added")
        ]
        assert found.vocabulary.token_bytes[4:9] == [b" ab", b"<s>", None, b"<tool>s", b"<tool>"]
        encoder = encoder_of(found)
        assert encoder.decode_each([0, 3, 4, 5, 6, 7, 8, 9, -1]) == [
            *("<unk>", "<b>", "ab", "<s>", "", "<tool>s", "<tool>", "", "")
        ]
        # The longest that fits at a place; what is between is a text of its own.
        assert encoder.encode_each(["<tool>s", "a<tool>a<b>", "<s>", ""]) == [
            *([7], [1, 2, 8, 1, 2, 3], [5], [])
        ]
        assert set(encoder.matched_whole) == {"<tool>", "<tool>s", "<s>", "<b>"}

    def test_control_pieces_match_nothing_unless_added(self, tmp_path: Path) -> None:
        encoder = encoder_of(self.read(tmp_path))
        assert encoder.matched_whole == ()
        assert encoder.encode_each(["<s>"]) != [[5]]
        assert encoder.encode_each([]) == []

    def test_pieces_numbered_anew_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizerFileError, match="numbers the pieces anew") as caught:
            self.read(tmp_path, AddedToken(0, "<s>", special=True))
        assert len(str(caught.value).splitlines()) == 1

    def test_an_id_beyond_all_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizerFileError, match="beyond"):
            self.read(tmp_path, AddedToken(1 << 40, "<x>", special=True))

    def test_named_tokens_that_have_no_id_are_said(self, tmp_path: Path) -> None:
        found = read_sentencepiece(write(tmp_path, small()), named=("<s>", "<pad>"))
        assert "1 special token that" in found.notes[0]
        assert "<pad>" in found.notes[0]


def test_bytes_stand_for_bytes_and_marks_for_spaces(tmp_path: Path) -> None:
    fallback: list[TokenType] = ["byte"] * 256
    types: list[TokenType] = ["unknown", *fallback, "control", "user_defined", "normal"]
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁c", "▁u", "▁n▁"]
    found = read_sentencepiece(write(tmp_path, small(pieces, types)))
    assert found.vocabulary.types == types
    assert list(found.vocabulary.token_bytes[1:257]) == [bytes([byte]) for byte in range(256)]
    assert found.vocabulary.token_bytes[257:] == ["▁c".encode(), b" u", b" n "]
    # The space before it has no piece of its own here.
    assert encoder_of(found).encode_each(["é"]) == [[1 + byte for byte in "▁é".encode()]]


class TestHostile:
    def refused(self, path: Path) -> str:
        with pytest.raises(TokenizerFileError) as caught:
            read_sentencepiece(path)
        assert len(str(caught.value).splitlines()) == 1
        assert str(path) in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"garbage" * 10, b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05abc", b"\x08"),
            *(b"\xff" * 40, b"\x0d\x00", b"\x09\x00", b"\x12\x02\x18\x09", b"\x0a\x02\x18\x63"),
            b'{"model": {}}',
        ],
    )
    def test_no_model(self, tmp_path: Path, content: bytes) -> None:
        self.refused(write(tmp_path, content))

    @pytest.mark.parametrize(
        ("pieces", "types", "said"),
        [
            (["<unk>", "a", "a"], ["unknown", "normal", "normal"], "already defined"),
            (["a"], ["normal"], "unk"),
            (["<unk>", ""], ["unknown", "normal"], "empty"),
            (["<unk>", "a\0"], ["unknown", "normal"], "null"),
            (["<unk>", "<0x41>"], ["unknown", "byte"], "byte"),
            (["<unk>", "<u2>"], ["unknown", "unknown"], "defined"),
        ],
    )
    def test_what_sentencepiece_refuses_is_told_in_its_words(
        self, tmp_path: Path, pieces: list[str], types: list[TokenType], said: str
    ) -> None:
        message = self.refused(write(tmp_path, small(pieces, types)))
        assert "not a model that SentencePiece takes" in message
        assert said in message

    def test_pieces_that_are_no_text(self, tmp_path: Path) -> None:
        content = sentencepiece_model(
            [b"<unk>", b"\xff\xfe"],
            [0, 0],
            ["unknown", "normal"],
            unigram=False,
            add_prefix_space=True,
        )
        self.refused(write(tmp_path, content))

    @pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("unigram", [False, True])
    def test_scores_that_are_no_numbers(self, tmp_path: Path, score: float, unigram: bool) -> None:
        content = sentencepiece_model(
            [b"<unk>", b"a", b"aa"],
            [0, score, score],
            ["unknown", "normal", "normal"],
            unigram=unigram,
            add_prefix_space=False,
        )
        assert "no finite number" in self.refused(write(tmp_path, content))

    @pytest.mark.parametrize("cut", [1, 100, 4000, 7521])
    def test_a_file_that_was_cut(self, shared: Path, tmp_path: Path, cut: int) -> None:
        whole = (shared / "checkpoints" / "llama2xs-hf-f32" / "tokenizer.model").read_bytes()
        self.refused(write(tmp_path, whole[:cut]))

    def test_a_thousand_damaged_files_end_in_a_line_or_a_tokenizer(
        self, shared: Path, tmp_path: Path
    ) -> None:
        whole = (shared / "checkpoints" / "llama2xs-hf-f32" / "tokenizer.model").read_bytes()
        read = 0
        for seed in range(1000):
            draw = random.Random(seed)
            content = bytearray(whole)
            for _ in range(draw.choice((1, 2, 8))):
                at = draw.randrange(len(content))
                content[at : at + draw.randrange(2)] = draw.randbytes(draw.randrange(3))
            path = write(tmp_path, bytes(content))
            try:
                found = read_sentencepiece(path)
            except TokenizerFileError:
                self.refused(path)
                continue
            read += 1
            encoder = encoder_of(found)
            encoder.encode_each(["the cat\n", *encoder.decode_each(range(512))])
        assert read > 50

    def test_a_file_larger_than_any(self, tmp_path: Path) -> None:
        path = write(tmp_path, b"")
        with path.open("r+b") as file:
            file.truncate((256 << 20) + 1)
        assert "files of up to" in self.refused(path)

    def test_a_path_that_is_no_file(self, tmp_path: Path) -> None:
        self.refused(tmp_path)
        self.refused(tmp_path / "none")


def test_fields_that_are_not_known_are_passed_over() -> None:
    extra = b"\x0a\x01\x62" + b"\x0d" + struct.pack("<f", 1.5) + b"\x11" + bytes(8)
    content = small() + b"\xc2\x0c" + bytes([len(extra)]) + extra
    assert len(read_model(content, "x").pieces) == 6
