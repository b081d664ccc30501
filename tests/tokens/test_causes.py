"""Each branch of a cause, by tokenizers of the library, else by an encoder that is made up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from isologit.tokens.reachability import Reachability, reachability
from isologit.tokens.table import describe
from isologit.tokens.vocabulary import TokenType, Vocabulary
from tokens.small_tokenizers import byte_level, read


@dataclass
class Encoding:
    """An encoder that has its answers in tables; texts encode to nothing unless they are there."""

    decoded: Sequence[str]
    encoded: Mapping[str, list[int]] = field(default_factory=dict)
    matched_whole: Sequence[str] = ()
    marks_words: bool = False

    def decode_each(self, token_ids: Sequence[int]) -> list[str]:
        return [self.decoded[i] for i in token_ids]

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encoded.get(text, []) for text in texts]

    def normalized(self, text: str) -> str:
        return text

    def pretokens(self, text: str) -> list[str]:
        return [text]


def made_up(encoder: Encoding, *tokens: tuple[str, bytes, TokenType]) -> Reachability:
    pieces, raw, types = zip(*tokens, strict=True)
    return reachability(Vocabulary(pieces, raw, types, byte_level=False), encoder)


def of(tokenizer: Tokenizer) -> Reachability:
    known = read(tokenizer)
    assert known.encoder is not None
    return reachability(known.vocabulary, known.encoder)


def test_a_special_token_that_is_matched_nowhere() -> None:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    assert of(made).lost[0].cause == "special_token"
    # So it is where its bytes are no text.
    found = made_up(Encoding(["\ufffd"]), ("<x>", b"\xff", "control"))
    assert found.lost[0].cause == "special_token"


def test_a_special_token_whose_text_is_matched_for_another() -> None:
    encoder = Encoding(["<s>", "<s>"], {"<s>": [0]}, ("<s>",))
    found = made_up(encoder, ("<s>", b"<s>", "control"), ("<s>", b"<s>", "control"))
    assert found.lost[1].cause == "same_text"


def test_the_text_of_an_added_token_that_is_not_cut_out_is_no_cause() -> None:
    found = of(byte_level(["a<x>b"], added=[AddedToken("<x>", single_word=True)]))
    assert found.lost[256].reencoded == tuple(b"a<x>b")
    assert found.lost[256].cause == "no_merge_path"


def test_the_longest_added_token_is_cut_out() -> None:
    found = of(byte_level(["a<x>>b"], added=[AddedToken("<x>"), AddedToken("<x>>")]))
    assert found.lost[256].reencoded == (ord("a"), 258, ord("b"))
    assert found.lost[256].cause == "added_token"


def test_a_token_does_not_take_itself_out() -> None:
    found = made_up(
        Encoding(["<x>", " "], {"<x>": [1, 0], " ": [1]}, ("<x>",)),
        ("<x>", b"<x>", "added"),
        ("_", b" ", "normal"),
    )
    assert found.lost[0].cause != "added_token"


def test_another_token_that_is_no_byte_has_the_text() -> None:
    made = Tokenizer(models.BPE(vocab={"▁": 0, "a": 1, "▁a": 2, " a": 3}, merges=[("▁", "a")]))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    found = of(made)
    assert found.lost[3].reencoded == (2,)
    assert found.lost[3].cause == "same_text"


def test_a_text_of_nothing_is_encoded_as_nothing() -> None:
    made = Tokenizer(models.WordLevel({"a": 0, "": 1}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    found = of(made)
    assert (found.lost[1].cause, found.lost[1].reencoded) == ("unknown", ())
    assert found.reachable[1] == 0


def test_a_space_that_decoding_drops_leaves_nothing_to_encode() -> None:
    found = made_up(Encoding([""]), ("▁", b" ", "normal"))
    assert found.lost[0].cause == "decoding_loses_bytes"


def test_special_tokens_have_no_witnesses_and_others_do() -> None:
    encoder = Encoding(["x"], {"«x": [0]})
    found = made_up(encoder, ("x", b"x", "normal"))
    assert (found.lost[0].cause, found.lost[0].witness) == ("only_inside_text", "«x")
    assert found.reachable.tolist() == [1]
    found = made_up(encoder, ("x", b"x", "control"))
    assert (found.lost[0].cause, found.lost[0].witness) == ("special_token", None)


def test_a_witness_is_a_text_that_has_the_token() -> None:
    encoder = Encoding(["x"], {"«x": [1], "\nx": [1, 0]}, marks_words=True)
    found = made_up(encoder, ("x", b"x", "normal"))
    assert found.lost[0].witness == "\nx"


def test_causes_are_counted_in_their_order_without_zeros() -> None:
    found = of(byte_level(["xy", "e\u0301"], nfc=True))
    assert list(found.causes(258).items()) == [
        ("decoding_loses_bytes", 128),
        ("normalizer", 1),
        ("no_merge_path", 1),
    ]


def test_a_token_has_not_its_own_text_twice() -> None:
    """A byte fallback, or a piece of another type, that nothing else is written like."""
    found = made_up(
        Encoding(["A", "gone"], {"A": [], "gone": []}),
        ("<0x41>", b"A", "byte"),
        ("gone", b"gone", "unused"),
    )
    assert [found.lost[i].cause for i in (0, 1)] == ["no_merge_path"] * 2


def test_what_is_reached_beside_other_text_is_ordinary() -> None:
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##z": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    table = describe(read(made))
    assert (table.survives(2), table.reachable(2), table.category(2)) == (False, True, "ordinary")
