"""`tokens`: who each token is, with weights and without, and which a filter keeps."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama, write_matrix
from isologit.demo import checkpoint_path
from isologit.errors import (
    CheckpointNotFoundError,
    NotACheckpointError,
    TokenIdError,
    TokenizerFileError,
    TokenizerNotFoundError,
)
from isologit.listing import Filters, listing
from isologit.subject import Settings
from tokens.small_tokenizers import byte_level, save

N_ROWS = 270


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 270 rows with a tokenizer of 260 ids; 260 to 269 are one row."""
    values = gaussian(N_ROWS, 8, seed=3)
    values[260:] = values[260]
    folder = write_llama(tmp_path_factory.mktemp("listing") / "m", values)
    made = byte_level([" ที่", "ab", "xy"], [("a", "b")], added=[AddedToken("<s>", special=True)])
    return save(made, folder)


def ids(model: Path, **filters: object) -> list[int]:
    found = listing(str(model), filters=Filters(**filters))  # type: ignore[arg-type]
    assert found.matched == len(found.tokens)
    return [token.id for token in found.tokens]


def test_every_row_of_w_has_its_line(model: Path) -> None:
    found = listing(str(model))
    assert [token.id for token in found.tokens] == list(range(N_ROWS))
    assert found.tensor == "model.embed_tokens.weight"
    assert found.summary.rows == N_ROWS
    assert found.summary.padding == 10
    thai, padding = found.tokens[256], found.tokens[265]
    assert (thai.text, thai.bytes, thai.script) == (" ที่", " ที่".encode().hex(), "Thai")
    assert (padding.text, padding.bytes, padding.category) == (None, None, "padding")
    # W was not read: it says nothing.
    assert (thai.row_class, thai.evidence) == (None, None)


def test_filters_keep_what_all_of_them_keep(model: Path) -> None:
    assert ids(model, categories=["special"]) == [259]
    assert ids(model, categories=["special", "padding"]) == list(range(259, 270))
    # Merging ที่ from bytes has no merges here, so no text is encoded with it.
    assert ids(model, categories=["unreachable"]) == [256, 258]
    assert ids(model, scripts=["thai"]) == [256]
    assert ids(model, causes=["no_merge_path"]) == [256, 258]
    assert ids(model, pattern="^(ab|xy)$") == [257, 258]
    assert ids(model, token_ids=[5, 3]) == [3, 5]
    assert ids(model, pattern="^ab$", categories=["padding"]) == []


def test_a_token_of_several_scripts_has_each_of_them(tmp_path: Path) -> None:
    folder = save(byte_level(["日の"]), tmp_path / "t")
    for name in ("Han", "hiragana"):
        assert ids(folder, scripts=[name]) == [256]
    assert ids(folder, scripts=["Katakana"]) == []


def test_a_row_class_is_kept_by_its_label(model: Path) -> None:
    every = listing(str(model), evidence=True)
    label = every.tokens[265].row_class
    assert label is not None
    assert ids(model, row_class=label) == list(range(260, 270))
    assert every.summary.in_classes == {"padding": 10}


def test_evidence_comes_with_its_reasons() -> None:
    demo = checkpoint_path()
    record = json.loads((demo / "training_record.json").read_text())
    found = listing(str(demo), evidence=True, filters=Filters(grades=["strong"]))
    known = set(record["never_seen_ids"]) | set(record["padding_ids"])
    strong = {token.id for token in found.tokens}
    # One token that was seen lies among them: the cluster's only stranger.
    assert len(strong - known) <= 1
    assert len(strong) > 0.95 * len(known)
    assert all(token.evidence_flags and token.evidence_why for token in found.tokens)
    # Low norm alone is never the verdict.
    assert all(token.evidence_flags != ["low_norm"] for token in found.tokens)


def test_a_tokenizer_is_listed_without_weights(tmp_path: Path) -> None:
    folder = save(byte_level(["ab"], [("a", "b")]), tmp_path / "t")
    found = listing(str(folder))
    assert (found.tensor, found.summary.rows, found.summary.padding) == (None, None, None)
    assert found.notes == ["nothing says how many rows W has; padding rows cannot be told"]
    (folder / "config.json").write_text(json.dumps({"vocab_size": 260}))
    found = listing(str(folder))
    assert (found.summary.rows, found.summary.padding) == (260, 3)
    assert found.notes == ["W has 260 rows by config.json"]
    of_the_file = listing(str(folder / "tokenizer.json"))
    assert of_the_file.summary.categories == found.summary.categories


def test_what_is_of_w_needs_w(tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path / "t")
    for filters in (Filters(row_class=0), Filters(grades=["strong"])):
        with pytest.raises(NotACheckpointError, match="has no weights that could be read"):
            listing(str(folder), filters=filters)
    with pytest.raises(NotACheckpointError):
        listing(str(folder), evidence=True)


def test_another_tokenizer_can_be_named(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", gaussian(256, 4))
    with pytest.raises(TokenizerNotFoundError, match="name one with --tokenizer"):
        listing(str(model))
    found = listing(str(model), Settings(tokenizer="bytes"))
    assert found.summary.categories["byte"] == 256
    other = save(byte_level(["ab"], [("a", "b")]), tmp_path / "t")
    for spec in (other, other / "tokenizer.json"):
        found = listing(str(model), Settings(tokenizer=str(spec)))
        assert found.summary.beyond_rows == 1
        assert found.notes[0].startswith("the tokenizer has 1 id beyond the last row of W, 255:")
    with pytest.raises(CheckpointNotFoundError, match="--tokenizer"):
        listing(str(model), Settings(tokenizer="./nowhere"))


def test_a_tokenizer_that_does_not_load_is_an_error_here(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", gaussian(256, 4))
    (model / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerFileError):
        listing(str(model))


@pytest.mark.parametrize("token_id", [-1, N_ROWS])
def test_an_id_that_is_no_row_is_refused(model: Path, token_id: int) -> None:
    with pytest.raises(TokenIdError, match=f"token {token_id} is outside 0 to 269"):
        listing(str(model), filters=Filters(token_ids=[token_id]))


def test_one_head_from_every_form_has_one_tokenizer(shared: Path) -> None:
    """The GGUF files' bos and eos have other names; all else is the same."""
    forms = {}
    for name in ("llama2xs-hf-bf16", "llama2xs-hf-bf16/tokenizer.model", "llama2xs-Q8_0.gguf"):
        found = listing(str(shared / "checkpoints" / name))
        forms[name] = [(token.bytes, token.category) for token in found.tokens]
    json_, model, gguf = forms.values()
    assert json_ == model
    differ = [i for i, (one, other) in enumerate(zip(json_, gguf, strict=True)) if one != other]
    # The header has no scores: without them 376 is composed of other pieces.
    assert differ == [1, 2, 376]
