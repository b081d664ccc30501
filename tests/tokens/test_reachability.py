"""What survives a round trip, and why the rest does not: small tokenizers, and real ids."""

from collections import Counter
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from isologit.checkpoint.open import open_checkpoint
from isologit.token_steps import read_tokens
from isologit.tokens.open_tokenizer import open_tokenizer_at
from isologit.tokens.reachability import Reachability, reachability
from isologit.tokens.vocabulary import Tokenizer as Read
from real_tokenizers import magikarp_counts, qwen3
from tokens.small_tokenizers import byte_level, read


def sent(tokenizer: Tokenizer) -> tuple[Read, Reachability]:
    """Return a tokenizer as read, and what became of its ids."""
    known = read(tokenizer)
    assert known.encoder is not None
    return known, reachability(known.vocabulary, known.encoder)


def test_bytes_that_are_no_text_are_lost_by_decoding() -> None:
    _, found = sent(byte_level())
    assert found.survives.tolist() == [1] * 128 + [0] * 128
    assert {each.cause for each in found.lost.values()} == {"decoding_loses_bytes"}
    # Bytes of no text are never reached; of the others what stands around them decides.
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}
    assert {i for i in range(128, 256) if found.reachable[i] == 0} == never
    assert {i for i in range(128, 256) if found.reachable[i] == -1} == set(range(128, 256)) - never


def test_a_text_that_the_normalizer_changes() -> None:
    decomposed = "e\u0301"
    # No merge makes it either; the normalizer comes first.
    _, found = sent(byte_level([decomposed], nfc=True))
    assert found.lost[256].cause == "normalizer"
    assert bytes(found.lost[256].reencoded) == "\u00e9".encode()


def test_a_text_that_the_pre_tokenizer_splits() -> None:
    known, found = sent(byte_level(["12"], [("1", "2")], split=r"\p{N}"))
    assert known.vocabulary.texts[256] == "12"
    assert found.lost[256].cause == "pre_tokenizer"
    assert found.lost[256].reencoded == (ord("1"), ord("2"))
    _, unsplit = sent(byte_level(["12"], [("1", "2")]))
    assert 256 not in unsplit.lost


def test_a_piece_that_no_merge_makes() -> None:
    _, found = sent(byte_level(["ab", "xy"], [("a", "b")]))
    assert 256 not in found.lost
    assert found.lost[257].cause == "no_merge_path"
    assert found.lost[257].reencoded == (ord("x"), ord("y"))


def test_a_piece_whose_merge_comes_too_late() -> None:
    # "bc" is made before "ab" can be, so "abc" as ab + c is never met.
    _, found = sent(byte_level(["bc", "ab", "abc"], [("b", "c"), ("a", "b"), ("ab", "c")]))
    assert found.lost[258].cause == "no_merge_path"
    assert found.lost[258].reencoded == (ord("a"), 256)


def test_a_text_that_an_added_token_takes_out() -> None:
    tokenizer = byte_level(["<x>!"], [], added=[AddedToken("<x>", special=True, normalized=False)])
    _, found = sent(tokenizer)
    assert found.lost[256].cause == "added_token"
    assert found.lost[256].reencoded == (257, ord("!"))
    assert 257 not in found.lost


def test_an_added_token_is_not_shadowed_by_itself() -> None:
    _, found = sent(byte_level(added=[AddedToken("<x>", special=True), AddedToken("<y>")]))
    assert {i for i in found.lost if i >= 256} == set()


def word_piece() -> Tokenizer:
    vocab = {"[UNK]": 0, "play": 1, "##ing": 2, "a": 3, "##z": 4, "##a": 5}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    return made


def test_a_continuation_is_reached_behind_other_text() -> None:
    known, found = sent(word_piece())
    assert known.vocabulary.texts[2] == "ing"
    assert found.reachable[2] == 1
    assert found.lost[2].witness == "aing"
    assert found.lost[2].cause == "only_inside_text"


def metaspace() -> Tokenizer:
    """Return a BPE that puts a space before a text, with a byte fallback."""
    vocab = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    for piece in ("▁", "a", "b", "▁a", "ab"):
        vocab[piece] = len(vocab)
    made = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=[("▁", "a"), ("a", "b")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return made


def test_a_prefixed_space_makes_nothing_unreachable_that_stands_behind_other_text() -> None:
    known, found = sent(metaspace())
    a, b, ab = (known.vocabulary.pieces.index(piece) for piece in ("a", "b", "ab"))
    for token_id in (a, b, ab):
        assert found.survives[token_id] == 0
        assert found.lost[token_id].cause == "only_inside_text"
        assert found.reachable[token_id] == 1
        witness = found.lost[token_id].witness
        assert witness is not None
        assert known.encoder is not None
        assert token_id in known.encoder.encode_each([witness])[0]


def test_the_spare_byte_of_a_letter_has_its_text() -> None:
    known, found = sent(metaspace())
    letter = known.vocabulary.pieces.index("<0x61>")
    assert found.lost[letter].cause == "same_text"
    assert found.reachable[letter] == 0
    other = known.vocabulary.pieces.index("<0x7A>")  # z has no token of its own
    assert found.reachable[other] == 1


def test_holes_are_neither_lost_nor_found() -> None:
    made = Tokenizer(models.WordLevel({"a": 0, "b": 3}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    _, found = sent(made)
    assert found.survives.tolist() == [1, -1, -1, 1]


@pytest.fixture(scope="module", name="found")
def of_qwen3(shared: Path) -> tuple[Read, Reachability]:
    """Return Qwen3's tokenizer, and what became of its ids."""
    known = qwen3(shared)
    assert known.encoder is not None
    return known, reachability(known.vocabulary, known.encoder)


class TestQwen3:
    """The published counts, and real ids of each cause."""

    def test_the_published_number_does_not_survive(self, found: tuple[Read, Reachability]) -> None:
        # Azimuth_II, Qwen3-4B-Instruct-2507: 3,357 of 151,669.
        assert len(found[0].vocabulary) == 151_669
        assert len(found[1].lost) == 3_357

    def test_each_cause_it_knows_has_a_real_id(self, found: tuple[Read, Reachability]) -> None:
        _, reached = found
        assert reached.causes(151_669) == {
            "decoding_loses_bytes": 1_448,
            "normalizer": 248,
            "pre_tokenizer": 1_661,
        }
        # ể as ê and a hook above: NFC makes one letter of them, which has a token.
        assert reached.lost[138_068].cause == "normalizer"
        assert reached.lost[138_068].text == "ê\u0309"
        assert reached.lost[138_068].reencoded == (33_450,)
        # Two fullwidth digits: \p{N} takes one at a time.
        assert reached.lost[77_150].cause == "pre_tokenizer"
        assert reached.lost[77_150].text == "１０"
        assert reached.lost[77_150].reencoded == (20_109, 26_022)
        # The second and third byte of a letter.
        assert reached.lost[97].cause == "decoding_loses_bytes"

    def test_magikarps_own_categories(self, found: tuple[Read, Reachability]) -> None:
        known, reached = found
        assert magikarp_counts(known, reached) == {
            "unreachable": 1_906,
            "partial_utf8": 1_320,
            "unreachable_special": 3,
            "byte": 128,
        }


@pytest.mark.parametrize(
    ("file", "token_id", "cause", "reencoded"),
    [
        ("llama2xs-hf-bf16", 302, "only_inside_text", (410, 302)),
        ("llama2xs-hf-bf16", 40, "same_text", (410, 501)),
        ("llama2xs-hf-bf16", 35, "decoding_loses_bytes", ()),
        ("llama2xs-Q8_0.gguf", 376, "no_merge_path", (397, 413, 413, 305)),
        ("llama2xs-Q8_0.gguf", 1, "special_token", (410, 13, 504, 419, 505, 13)),
    ],
)
def test_causes_that_qwen3_and_gpt2_do_not_know_have_a_real_id_of_llama2xs(
    shared: Path, file: str, token_id: int, cause: str, reencoded: tuple[int, ...]
) -> None:
    """The table of docs/tokens.md."""
    tokens = read_tokens(open_checkpoint(shared / "checkpoints" / file), 512)
    assert tokens.table is not None
    lost = tokens.table.lost(token_id)
    assert lost is not None
    assert (lost.cause, lost.reencoded) == (cause, reencoded)
    encoder = tokens.table.tokenizer.encoder
    assert encoder is not None
    if lost.witness is not None:
        assert token_id in encoder.encode_each([lost.witness])[0]


def test_gpt2_knows_one_cause(shared: Path) -> None:
    known = open_tokenizer_at(shared / "tokenizers" / "gpt2")
    assert known.encoder is not None
    found = reachability(known.vocabulary, known.encoder)
    assert found.causes(50_257) == {"decoding_loses_bytes": 344}
    assert sum(len(known.vocabulary.token_bytes[i] or b"") > 1 for i in found.lost) == 216


def test_every_cause_of_qwen3_is_what_the_pipeline_does(shared: Path) -> None:
    """Hold each cause against the library's steps, in an order and a code of the test's own."""
    known = qwen3(shared)
    library = Tokenizer.from_file(str(shared / "tokenizers" / "qwen3" / "tokenizer.json"))
    assert known.encoder is not None
    found = reachability(known.vocabulary, known.encoder)
    seen: Counter[str] = Counter()
    for token_id, lost in found.lost.items():
        text = library.decode([token_id], skip_special_tokens=False)
        assert library.encode(text, add_special_tokens=False).ids == list(lost.reencoded)
        normal = library.normalizer.normalize_str(text)
        parts = library.pre_tokenizer.pre_tokenize_str(normal)
        piece = library.id_to_token(token_id)
        if lost.cause == "decoding_loses_bytes":
            assert "\ufffd" in text
        elif lost.cause == "normalizer":
            assert normal != text
        else:
            assert lost.cause == "pre_tokenizer"
            assert normal == text
            assert len(parts) > 1
            assert "".join(part for part, _ in parts) == piece
        seen[lost.cause] += 1
    assert seen == found.causes(151_669)


def test_the_loader_and_the_library_know_the_same_ids(shared: Path) -> None:
    known = qwen3(shared).vocabulary
    library = Tokenizer.from_file(str(shared / "tokenizers" / "qwen3" / "tokenizer.json"))
    assert list(known.pieces) == [library.id_to_token(i) for i in range(151_669)]
    # Whatever is text decodes to itself; the library's decoder is another code than ours.
    whole = [i for i, text in enumerate(known.texts) if text is not None]
    assert library.decode_batch([[i] for i in whole], skip_special_tokens=False) == [
        known.texts[i] for i in whole
    ]
