"""The job of `cast`: censuses before and after, flips and ties, against brute force."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from isologit.audit import audit
from isologit.cast_findings import CastFacts, Casts
from isologit.casting import Sample, casts
from isologit.errors import TensorShapeError
from isologit.numerics import exact
from isologit.numerics.cast_formats import CASTS, Rules
from isologit.numerics.casts import cast
from isologit.subject import Settings, open_subject
from tokens.small_tokenizers import byte_level, save

V, D = 300, 64


def crowd() -> Any:
    """Return rows of which 40 are nearly equal, and ten of these equal."""
    values = gaussian(V, D, seed=7)
    values[100:140] = 0.5 + 2.0**-12 * gaussian(40, D, seed=8)
    values[130:140] = values[130]
    return values


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_llama(tmp_path_factory.mktemp("casting") / "m", crowd(), "f32")
    return save(byte_level([]), folder)


@pytest.fixture(scope="module")
def found(model: Path) -> Casts:
    return casts(str(model), sample=Sample(n=25, seed=3))


def by_bytes(words: Any) -> dict[bytes, list[int]]:
    """Return the tokens of each distinct row."""
    classes: dict[bytes, list[int]] = {}
    for n, row in enumerate(words):
        classes.setdefault(row.tobytes(), []).append(n)
    return classes


def test_the_rows_before_are_those_of_an_audit(model: Path, found: Casts) -> None:
    summary, _ = audit(str(model))
    assert found.before.distinct == summary.rows.distinct == V - 9
    assert found.before.sizes == summary.rows.sizes == [10]
    assert found.state == summary.state
    assert found.before.logits.distinct == summary.logits.distinct
    assert found.matrix == summary.matrix


@pytest.mark.parametrize("name", CASTS)
def test_the_census_after_is_of_the_cast_words(model: Path, found: Casts, name: str) -> None:
    facts = found.formats[name]
    matrix = open_subject(str(model), Settings()).head.matrix
    made = cast(matrix, name, Rules())
    rows = made.matrix.words
    if name == "int8_row":
        coding: Any = made.matrix.coding
        rows = np.concatenate([rows, coding.scale.view(np.uint8).reshape(V, 4)], axis=1)
    classes = by_bytes(rows)
    assert facts.distinct == len(classes)
    assert facts.redundant == V - len(classes)
    sizes = sorted((len(c) for c in classes.values() if len(c) > 1), reverse=True)
    assert facts.sizes == sizes
    assert facts.rows_merged == found.before.distinct - facts.distinct
    values = made.matrix.rows(np.arange(V)) + 0.0
    assert facts.distinct_values == len(by_bytes(values))
    before = {n: row for row, ids in by_bytes(matrix.words).items() for n in ids}
    born = {}
    for ids in classes.values():
        parts = len({before[n] for n in ids})
        if parts > 1:
            born[tuple(ids)] = parts
    assert {tuple(each.token_ids): each.parts for each in facts.born} == born
    assert facts.born_classes == len(born)
    assert facts.born_tokens == sum(map(len, born))


def test_some_casts_merge_the_crowd_and_finer_ones_do_not(found: Casts) -> None:
    merged = {name: facts.rows_merged for name, facts in found.formats.items()}
    assert merged["f32"] == 0
    assert merged["q4_0"] > 10
    assert merged["f8_e5m2"] > 10
    assert merged["q4_0"] >= merged["q8_0"]
    crowd_ids = set(range(100, 140))
    assert set(found.formats["f8_e5m2"].born[0].token_ids) <= crowd_ids


@pytest.mark.parametrize("name", CASTS)
def test_logits_and_winners_are_those_of_the_decoded_cast(
    model: Path, found: Casts, name: str
) -> None:
    facts = found.formats[name]
    subject = open_subject(str(model), Settings())
    matrix, to = subject.head.matrix, subject.logit_format
    made = cast(matrix, name, Rules()).matrix
    from isologit.equivalence.norm_range import NormRange
    from isologit.equivalence.states import centroid_state

    norm_range = NormRange.of(subject.head.norm, D)
    assert norm_range is not None
    states = norm_range.random_states(0, 25, seed=3, format_=matrix.format)
    flips = []
    for k in range(25):
        old = exact.logits(matrix, states.row(k), to).values
        new = exact.logits(made, states.row(k), to).values
        i, j = int(old.argmax()), int(new.argmax())
        if i != j:
            flips.append((k, i, j, old[i] - old[j], new[j] - new[i]))
    assert flips == [
        (f.state, f.before, f.after, f.margin_before, f.margin_after) for f in facts.flips
    ]
    assert facts.flipped == len(flips)
    members = np.array(found.state.token_ids, dtype=np.int32)
    state = centroid_state(matrix, members, subject.settings.arithmetic)
    values = exact.logits(made, state.vector, to).values
    _, counts = np.unique(values, return_counts=True)
    assert facts.logits.distinct == len(counts)
    assert facts.logits.tied == counts[counts > 1].sum()
    before = exact.logits(matrix, state.vector, to).values
    newly = [n for n in range(V) if len(set(before[values == values[n]])) > 1]
    assert facts.logits.newly_tied == len(newly)


def test_a_format_that_w_has_already_changes_nothing(found: Casts) -> None:
    same = found.formats["f32"]
    assert (same.kind, same.entries, same.flips) == ("identity", None, [])
    assert (same.logits.distinct, same.logits.tied, same.logits.newly_tied) == (
        found.before.logits.distinct,
        found.before.logits.tied,
        0,
    )


def test_born_classes_say_who_their_tokens_are(found: Casts) -> None:
    born = found.formats["q4_0"].born[0]
    assert born.tokens is not None
    assert born.tokens.size == born.size == len(born.token_ids)
    assert born.tokens.first


def test_what_kind_of_claim_each_figure_is(found: Casts) -> None:
    assert found.claims == {
        "distinct": "exact",
        "born": "exact",
        "entries": "exact",
        "made_non_finite": "exact",
        "logits": "exact",
        "flips": "sampled (25)",
    }
    assert (found.states.n, found.states.seed, found.states.assumed) == (25, 3, False)


def test_without_a_known_norm_the_states_are_of_gamma_1_and_it_is_said(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", crowd())
    result = casts(str(model), to=["q8_0"], sample=Sample(n=3))
    assert result.states.assumed
    assert any("an RMSNorm with γ = 1" in note for note in result.notes)


def test_where_a_row_is_not_whole_blocks_the_other_formats_go_on(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", gaussian(50, 33))
    result = casts(str(model), to=["q8_0", "f16"], sample=Sample(n=2))
    assert list(result.formats) == ["f16"]
    assert result.not_possible == {"q8_0": "rows of 33 numbers are not whole blocks of 32"}
    every = casts(str(model), sample=Sample(n=2))
    assert list(every.not_possible) == ["q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]


def test_alone_it_is_an_error_that_names_those_that_fit(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", gaussian(50, 33))
    with pytest.raises(TensorShapeError) as caught:
        casts(str(model), to=["q8_0"])
    assert str(caught.value) == (
        "m: a cast to q8_0 is not possible: rows of 33 numbers are not whole blocks of 32; "
        "expected a multiple. These fit: f32, f16, bf16, f8_e4m3fn, f8_e5m2, int8_row, int8_channel"
    )


def test_classes_are_of_stored_bits_and_a_note_tells_of_equal_values(tmp_path: Path) -> None:
    values = gaussian(40, 32)
    # Under e4m3fn ±2⁻²⁰ becomes ±0: other words, the same number.
    values[:3] = 2.0**-20
    values[1, 0] *= -1
    result = casts(str(write_llama(tmp_path / "m", values)), to=["f8_e4m3fn"], sample=Sample(n=2))
    facts = result.formats["f8_e4m3fn"]
    assert (result.before.distinct, facts.distinct, facts.distinct_values) == (39, 39, 38)
    assert (facts.rows_merged, facts.born) == (0, [])
    note = "f8_e4m3fn: 38 distinct rows by decoded value, 1 fewer than by stored bits"
    assert note in result.notes


def test_a_row_counts_with_its_bias(tmp_path: Path) -> None:
    values = np.zeros((40, 32))
    values[:, 0] = 1 + 2.0**-12 * np.arange(40)
    tensors = {"lm_head.weight": values, "lm_head.bias": np.arange(40) % 2}
    tensors |= {"model.norm.weight": np.ones(32), "model.embed_tokens.weight": values}
    config = {"model_type": "llama", "vocab_size": 40, "hidden_size": 32}
    config |= {"tie_word_embeddings": False}
    model = write_tensors(tmp_path / "m", tensors, "f32", config=config)
    result = casts(str(model), to=["f8_e4m3fn"], sample=Sample(n=2))
    assert result.before.distinct == 40
    facts = result.formats["f8_e4m3fn"]
    assert (facts.distinct, facts.sizes) == (2, [20, 20])
    assert any("the bias, lm_head.bias, is kept as it is stored" in note for note in result.notes)


def test_a_quantised_matrix_is_cast_from_its_decoded_values(shared: Path) -> None:
    checkpoints = shared / "checkpoints"
    result = casts(str(checkpoints / "llama2xs-Q8_0.gguf"), sample=Sample(n=3))
    assert result.formats["q8_0"].kind == "identity"
    assert result.formats["f32"].kind == "exact"
    assert any("W is stored as q8_0: what is cast are its decoded" in n for n in result.notes)


def test_entries_that_are_no_numbers_are_cast_and_counted_as_rows(tmp_path: Path) -> None:
    values = crowd()
    values[3, 5], values[4, 5], values[5, 5] = np.nan, np.inf, -np.inf
    model = write_llama(tmp_path / "m", values)
    result = casts(str(model), sample=Sample(n=8))
    assert set(result.formats) == set(CASTS)
    assert all(facts.distinct > 100 for facts in result.formats.values())
    assert any("rows with an infinity or a NaN" in note for note in result.notes)


def test_rows_that_a_cast_leaves_without_numbers_are_counted(tmp_path: Path) -> None:
    values = crowd()
    values[3, 5], values[4, 5] = np.inf, 1e30
    model = write_llama(tmp_path / "m", values)
    sample = Sample(n=1)
    plain = casts(str(model), to=["f16", "int8_row", "int8_channel"], sample=sample).formats
    assert {name: facts.made_non_finite for name, facts in plain.items()} == {
        "f16": 1,
        "int8_row": 0,
        "int8_channel": V - 1,
    }
    # One scale of an infinity serves them all.
    scaled = casts(str(model), to=["f8_e4m3fn"], rules=Rules(scaling="tensor"), sample=sample)
    assert scaled.formats["f8_e4m3fn"].made_non_finite == V - 1


@pytest.mark.parametrize(
    ("stored", "name"),
    [("Q8_0", "q8_0"), ("Q4_0", "q4_0"), ("F16", "f16"), ("BF16", "bf16")],
)
def test_a_real_head_becomes_the_head_that_its_publisher_stored(
    shared: Path, stored: str, name: str
) -> None:
    def matrix_of(model: str) -> Any:
        return open_subject(str(shared / "checkpoints" / model), Settings()).head.matrix

    made = cast(matrix_of("llama2xs-hf-f32"), name, Rules())
    published = matrix_of(f"llama2xs-{stored}.gguf")
    assert published.stored_as == name
    np.testing.assert_array_equal(made.matrix.words, published.words)


def test_a_real_head_keeps_its_512_rows_under_q8_0_and_loses_47_under_e5m2(shared: Path) -> None:
    result = casts(str(shared / "checkpoints" / "llama2xs-hf-f32"), sample=Sample(n=2))
    distinct = {name: facts.distinct for name, facts in result.formats.items()}
    assert distinct["q8_0"] == distinct["f16"] == 512
    assert (distinct["f8_e4m3fn"], distinct["f8_e5m2"], distinct["q5_0"]) == (508, 465, 510)


def test_f64_is_cast_from_what_is_stored(tmp_path: Path) -> None:
    rows = np.ones((40, 32))
    rows[1, 0] += 2.0**-30
    rows[2:] = gaussian(38, 32)
    (tmp_path / "m").mkdir()
    save_file({"W": rows}, tmp_path / "m" / "W.safetensors")
    assert load_file(tmp_path / "m" / "W.safetensors")["W"].dtype == np.float64
    facts: CastFacts = casts(str(tmp_path / "m"), to=["f32"], sample=Sample(n=2)).formats["f32"]
    assert facts.kind == "rounded"
    assert [each.token_ids for each in facts.born] == [[0, 1]]
