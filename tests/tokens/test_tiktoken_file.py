"""Files of ranks, against tiktoken itself."""

import base64
import json
import random
import time
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest
import tiktoken
import tiktoken_ext.openai_public

from isologit.errors import TokenizerFileError
from isologit.tokens.byte_level import bytes_piece, piece_bytes
from isologit.tokens.byte_level_bpe import byte_level_bpe
from isologit.tokens.settings import AddedToken, TokenizerSettings
from isologit.tokens.split_rules import SplitRule
from isologit.tokens.tiktoken_file import looks_like_tiktoken, merges_of, read_tiktoken
from isologit.tokens.vocabulary import Encoder, Tokenizer
from tokens.sample_texts import joined_pieces, random_texts, runs

NOTHING = TokenizerSettings()
# tokenization_qwen.py of Qwen's first models.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = {bytes([byte]): byte for byte in range(256)}


def ranks_of(vocab_path: Path) -> dict[bytes, int]:
    """Return the ranks of a byte-level vocabulary."""
    pieces = json.loads(vocab_path.read_text(encoding="utf-8"))
    pieces.pop("<|endoftext|>", None)
    return {piece_bytes(piece) or b"": rank for piece, rank in pieces.items()}


def write(path: Path, ranks: Mapping[bytes, int]) -> Path:
    """Write ranks as tiktoken's own `dump_tiktoken_bpe` does."""
    lines = sorted(ranks.items(), key=lambda each: each[1])
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in lines))
    return path


def encoder_of(tokenizer: Tokenizer) -> Encoder:
    assert tokenizer.encoder is not None
    return tokenizer.encoder


@pytest.fixture(scope="module")
def qwen_ranks(shared: Path) -> dict[bytes, int]:
    return ranks_of(shared / "tokenizers" / "qwen2" / "vocab.json")


@pytest.fixture(scope="module")
def qwen(qwen_ranks: dict[bytes, int], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = write(tmp_path_factory.mktemp("qwen") / "qwen.tiktoken", qwen_ranks)
    return read_tiktoken(path, NOTHING, None)


class TestQwen:
    def test_bytes_and_special_tokens(self, qwen: Tokenizer, qwen_ranks: dict[bytes, int]) -> None:
        vocabulary = qwen.vocabulary
        assert all(vocabulary.token_bytes[rank] == token for token, rank in qwen_ranks.items())
        assert len(vocabulary) == 151851
        assert vocabulary.pieces[151643:151647] == [
            *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|extra_0|>")
        ]
        assert vocabulary.types[151644] == "control"
        assert encoder_of(qwen).encode_each(["<|im_start|>"]) == [[151644]]

    def test_every_token_and_thousands_of_texts_are_encoded_as_tiktoken_does(
        self, qwen: Tokenizer, qwen_ranks: dict[bytes, int]
    ) -> None:
        peer = tiktoken.Encoding("q", pat_str=QWEN, mergeable_ranks=qwen_ranks, special_tokens={})
        each = encoder_of(qwen).decode_each(range(len(qwen_ranks)))
        texts = [*each, *random_texts(3000), *joined_pieces(each, 3000), *runs()]
        normal = [unicodedata.normalize("NFC", text) for text in texts]
        assert encoder_of(qwen).encode_each(texts) == [peer.encode_ordinary(n) for n in normal]

    def test_it_is_read_in_seconds(self, qwen_ranks: dict[bytes, int]) -> None:
        pieces = {bytes_piece(token): rank for token, rank in qwen_ranks.items()}
        start = time.perf_counter()
        assert sum(1 for _ in merges_of(pieces)) == 294_166
        # 0.5 s where nothing else runs.
        assert time.perf_counter() - start < 5


class TestOpenAi:
    """The encodings by their names, with GPT-2's ranks: how they cut text is what differs."""

    @pytest.fixture(scope="class")
    @classmethod
    def ranks(cls, shared: Path) -> dict[bytes, int]:
        found = ranks_of(shared / "tokenizers" / "gpt2" / "vocab.json")
        # Tokens for what only some of the encodings keep in one part.
        more = (b"\n  ", b"\n\n\n ", b" \n\n", b"\t\n", b"'LL", b"1234", b"aB", b"?\n", b"a's")
        return found | {token: 60_000 + n for n, token in enumerate(more) if token not in found}

    @pytest.mark.parametrize("name", ["gpt2", "r50k_base", "cl100k_base", "o200k_base"])
    def test_text_is_cut_as_tiktoken_cuts_it(
        self,
        name: str,
        ranks: dict[bytes, int],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # The package's own definitions, without their files, which lie on a server.
        module = tiktoken_ext.openai_public
        monkeypatch.setattr(module, "load_tiktoken_bpe", lambda *_, **__: ranks)
        monkeypatch.setattr(module, "data_gym_to_mergeable_bpe_ranks", lambda **_: ranks)
        known = module.ENCODING_CONSTRUCTORS[name]()
        peer = tiktoken.Encoding(
            name, pat_str=known["pat_str"], mergeable_ranks=ranks, special_tokens={}
        )
        found = read_tiktoken(write(tmp_path / f"{name}.tiktoken", ranks), NOTHING, None)
        texts = [
            *random_texts(3000, seed=1),
            *runs(),
            "a\n  ",
            " \n\n b",
            "\t\n",
            "WE'LL a's",
            "1234",
            "aB?\n",
        ]
        assert encoder_of(found).encode_each(texts) == peer.encode_ordinary_batch(texts)
        for text, token_id in known["special_tokens"].items():
            assert found.vocabulary.pieces[token_id] == text


def test_any_ranks_are_merged_as_tiktoken_merges_them() -> None:
    # Ranks that no training gave: a token may be out of reach of its parts, and come before them.
    everything = SplitRule("none", (r"[\s\S]+",), ignore_merges=True)
    for seed in range(100):
        draw = random.Random(seed)
        letters = b"ab" if seed % 2 else b"abc"
        more = {bytes(draw.choices(letters, k=draw.randrange(2, 6))) for _ in range(20)}
        numbers = list(range(256 + len(more)))
        if seed % 3 == 0:
            draw.shuffle(numbers)
        tokens = [*BYTES, *draw.sample(sorted(more), len(more))]
        ranks = dict(zip(tokens, numbers, strict=True))
        peer = tiktoken.Encoding(
            str(seed), pat_str=r"[\s\S]+", mergeable_ranks=ranks, special_tokens={}
        )
        pieces = {bytes_piece(token): rank for token, rank in ranks.items()}
        found = byte_level_bpe(pieces, list(merges_of(pieces)), everything, "x")
        for text in random_texts(30, seed, letters.decode()):
            assert found.encode(text).ids == peer.encode_ordinary(text), (seed, text)


class TestSettings:
    RANKS = BYTES | {b"he": 256}

    def test_the_models_type_says_how_text_is_cut(self, tmp_path: Path) -> None:
        path = write(tmp_path / "tokenizer.model", self.RANKS)
        found = read_tiktoken(path, NOTHING, "llama")
        assert encoder_of(found).pretokens("1234") == ["123", "4"]
        assert "names no special tokens" in found.notes[0]

    def test_without_it_there_is_no_encoder(self, tmp_path: Path) -> None:
        path = write(tmp_path / "tokenizer.model", self.RANKS)
        settings = TokenizerSettings(added=(AddedToken(300, "<x>", special=True),))
        found = read_tiktoken(path, settings, None)
        assert found.encoder is None
        assert found.notes == (
            f"reachability is not checked: nothing says how {path} cuts text before it is merged",
        )
        assert found.vocabulary.token_bytes[256:258] == [b"he", None]
        assert found.vocabulary.pieces[300] == "<x>"
        assert found.vocabulary.types[300] == "control"

    def test_bytes_without_a_token_leave_no_encoder(self, tmp_path: Path) -> None:
        ranks = {token: rank for token, rank in self.RANKS.items() if rank not in (7, 8)}
        found = read_tiktoken(write(tmp_path / "cl100k_base.tiktoken", ranks), NOTHING, None)
        assert found.encoder is None
        assert "2 bytes of 256" in found.notes[0]

    def test_the_config_names_tokens_before_the_files_name_does(self, tmp_path: Path) -> None:
        path = write(tmp_path / "gpt2.tiktoken", self.RANKS)
        settings = TokenizerSettings(added=(AddedToken(50256, "<end>", special=True),))
        found = read_tiktoken(path, settings, None)
        assert found.vocabulary.pieces[50256] == "<end>"
        assert encoder_of(found).encode_each(["he<end>he"]) == [[256, 50256, 256]]


class TestHostile:
    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"\n\n", b"IQ==", b"IQ== x", b"IQ== -1", b"IQ== 0 0", b"!!!! 0", b"\xff\xfe 0"),
            *(b"IQ== 0\nIQ== 1", b"IQ== 0\nIg== 0", b"IQ== 99999999999999999999", b"IQ= 0"),
            *(b"IQ== 16777217", b"= 0", b"IQ== \xc2\xb2"),
        ],
    )
    def test_each_ends_in_one_line(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "qwen.tiktoken"
        path.write_bytes(content)
        with pytest.raises(TokenizerFileError) as caught:
            read_tiktoken(path, NOTHING, None)
        assert len(str(caught.value).splitlines()) == 1
        assert str(path) in str(caught.value)

    def test_an_id_beyond_all_is_refused(self, tmp_path: Path) -> None:
        settings = TokenizerSettings(added=(AddedToken(1 << 40, "<x>", special=True),))
        for name in ("gpt2.tiktoken", "other.tiktoken"):
            with pytest.raises(TokenizerFileError):
                read_tiktoken(write(tmp_path / name, BYTES), settings, None)

    @pytest.mark.parametrize(
        ("content", "looks"),
        [
            *((b"IQ== 0\nIg== 1\n", True), (b"IQ== 0", True), (b"", False), (b"IQ==", False)),
            *((b"\n\x0e\n\x05<unk>\x15", False), (b"hello 1", False), (b"aGVsbG8= x", False)),
        ],
    )
    def test_what_looks_like_ranks(self, tmp_path: Path, content: bytes, looks: bool) -> None:
        path = tmp_path / "tokenizer.model"
        path.write_bytes(content)
        assert looks_like_tiktoken(path) == looks

    def test_a_file_that_is_gone(self, tmp_path: Path) -> None:
        assert not looks_like_tiktoken(tmp_path / "none")
        with pytest.raises(TokenizerFileError, match="cannot be read"):
            read_tiktoken(tmp_path / "none", NOTHING, None)


def test_a_sentencepiece_model_does_not_look_like_ranks(shared: Path) -> None:
    assert not looks_like_tiktoken(shared / "checkpoints" / "llama2xs-hf-f32" / "tokenizer.model")
