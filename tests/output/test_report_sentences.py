"""What the first screen says is true of each kind of model, and never says more than that."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import save_file

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from isologit.audit import audit
from isologit.claims import BOUND, ESTIMATED, EXACT, OBSERVED
from isologit.findings import Audit
from isologit.output import advice
from isologit.output.report_sections import distribution, equal_values, logit_class
from isologit.output.report_sentences import (
    CLAIMS,
    at_the_state,
    because,
    headline,
    key_numbers,
    nothing_to_do,
)
from isologit.output.verdicts import verdict
from isologit.record import Model
from isologit.request import Members, Pole
from isologit.subject import Settings
from tokens.small_tokenizers import byte_level, save

V, D = 300, 12


def rows_of(*, same: int = 0, cluster: int = 0) -> Any:
    """Return a cloud; `same` rows are one, and `cluster` lie close together."""
    values = gaussian(V, D, seed=21)
    values[40 : 40 + cluster] = 0.25 + 0.03 * gaussian(cluster, D, seed=22)
    values[100 : 100 + same] = values[7]
    return values


def audited(model: Path, settings: Settings | None = None, **options: Any) -> Audit:
    return audit(str(model), settings, **options)[0]


@pytest.fixture(scope="module")
def with_all(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Row classes, a cluster, padding, a tokenizer."""
    model = write_llama(tmp_path_factory.mktemp("all") / "m", rows_of(same=3, cluster=30))
    save(byte_level(["the"]), model)
    return audited(model)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Nothing of all that, in f32: no two logits tie."""
    return audited(write_matrix(tmp_path_factory.mktemp("bare") / "m", rows_of(), "f32"))


def test_row_classes_are_said_with_their_number(with_all: Audit) -> None:
    assert headline(with_all) == (
        "The model cannot tell 4 of its 300 tokens from others: they come in one group, and the "
        "tokens of a group get the same score, whatever the prompt."
    )
    more = replace(with_all, rows=replace(with_all.rows, classes=2, tokens_in_classes=6))
    assert "6 of its 300 tokens from others: they come in 2 groups" in headline(more)


def test_no_row_class_is_said_as_no_more_than_it_is(bare: Audit) -> None:
    assert headline(bare) == (
        "No two of the model’s 300 tokens have the same output row: none is a copy of another."
    )


def test_a_row_with_a_nan_is_said_to_have_no_score(tmp_path: Path) -> None:
    values = rows_of(same=3)
    values[100:103] = np.nan
    found = audited(write_llama(tmp_path / "m", values))
    assert found.rows.nonfinite == 3
    assert "score, whatever the prompt" not in headline(found)
    assert "3 rows hold an infinity or a NaN" in " ".join(because(found))


def test_rows_that_a_bias_parts_are_not_said_to_be_told_apart_by_themselves(
    tmp_path: Path,
) -> None:
    bias = np.zeros(V)
    bias[101] = 1
    tensors = {"lm_head.weight": rows_of(same=2), "lm_head.bias": bias}
    found = audited(write_tensors(tmp_path / "m", tensors))
    assert found.rows.distinct_without_bias == V - 2
    said = " ".join(because(found))
    assert "4 of its" not in headline(found)
    assert "2 of its 300 tokens" in headline(found)
    assert (
        "Without the bias that the model adds to each score 1 row fewer would be distinct" in said
    )


def test_rows_of_equal_numbers_count_though_their_bits_differ(tmp_path: Path) -> None:
    values = rows_of()
    values[4:6] = 0.0
    values[5] = -0.0
    found = audited(write_llama(tmp_path / "m", values))
    assert (found.rows.classes, found.rows.by_value is not None) == (0, True)
    assert "cannot tell 2 of its 300 tokens" in headline(found)
    assert "bit for bit 0 tokens share their row" in " ".join(because(found))
    assert key_numbers(found)[0].value == 2
    assert [each.value for each in key_numbers(found) if "distinct rows" in each.label] == [V - 1]
    # A terminal says the same.
    assert verdict(found).startswith("2 tokens of 300 share their row with another token, number")
    # Which of them no command can list: the labels are not those of --class.
    assert found.rows.by_value is not None
    assert equal_values(found.rows.by_value).heads[0] == "row_value_class"
    (asked,) = [each for each in advice.further_questions(found) if "argmax" in each.why]
    assert asked.why.startswith("1 row repeats another's and is never the one argmax (exact)")


def test_numbers_that_were_rounded_when_read_are_not_said_to_be_one(tmp_path: Path) -> None:
    values = rows_of()
    values[5] = values[4]
    values[5, 0] += 1e-12 * abs(values[5, 0])
    path = tmp_path / "m"
    path.mkdir()
    save_file({"W": values}, path / "W.safetensors")
    found = audited(path)
    assert (found.matrix.dtype, found.matrix.values_dtype) == ("f64", "f32")
    assert found.rows.by_value is not None
    assert headline(found).startswith("No two of the model’s 300 tokens have the same output row")
    assert verdict(found).startswith("No two of 300 tokens share a row: every row is distinct")
    said = "rounded to float32, as they are read here, 2 tokens share their row."
    assert said in " ".join(because(found))
    assert key_numbers(found)[0].value == 0


def test_one_token_is_no_group(tmp_path: Path) -> None:
    found = audited(write_matrix(tmp_path / "m", [[1.0, 2.0]]))
    assert headline(found) == "The model has one token, which is a copy of no other."
    assert verdict(found).startswith("There is one token, which is alone;")


def test_ids_without_a_row_are_on_the_first_screen(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "m", rows_of()[:250])
    save(byte_level(["the"]), path)
    found = audited(path)
    assert found.tokens is not None
    n = found.tokens.beyond_rows
    assert n > 1
    said = " ".join(because(found))
    assert f"{n} ids of the tokenizer have no row: the model cannot output such a token" in said
    assert ("ids of the tokenizer that have no row", n) in [
        (each.label, each.value) for each in key_numbers(found)
    ]


def test_an_input_embedding_that_makes_no_scores_is_not_said_to_score(tmp_path: Path) -> None:
    tensors = {
        "model.embed_tokens.weight": rows_of(same=3),
        "lm_head.weight": gaussian(V, D, seed=2),
        "model.norm.weight": np.ones(D),
    }
    config = {"model_type": "llama", "tie_word_embeddings": False}
    model = write_tensors(tmp_path / "m", tensors, config=config)
    save(byte_level(), model)
    found = audited(model, Settings(role="input"))
    assert found.tokens is not None
    assert found.tokens.padding
    assert headline(found).startswith("The model reads 4 of its 300 tokens as others")
    said = " ".join(because(found))
    assert "score" not in headline(found) + said
    assert "sampled" not in said
    assert not any("sampled" in each.why for each in advice.what_to_do(found))
    other = replace(found, rows=replace(found.rows, classes=0, tokens_in_classes=0))
    assert "row of the input embedding" in headline(other)


def test_a_cluster_is_said_to_be_found_only_where_it_was(with_all: Audit, bare: Audit) -> None:
    assert with_all.cluster is not None
    assert "A cluster of 30 tokens stands out" in " ".join(because(with_all))
    assert "No cluster of nearly equal rows stands out" in " ".join(because(bare))
    given = replace(with_all, cluster=replace(with_all.cluster, method="members"))
    assert "The cluster of 30 tokens was given as a list." in because(given)
    pole = replace(with_all, cluster=replace(with_all.cluster, method="pole"))
    assert "The cluster of 30 tokens lies in the given direction." in because(pole)


def test_padding_and_untrained_rows_are_said_where_they_are(with_all: Audit, bare: Audit) -> None:
    tokens = with_all.tokens
    assert tokens is not None
    assert tokens.padding == V - 257
    assert "43 rows stand for no token at all, and can be sampled" in " ".join(because(with_all))
    without = replace(with_all, tokens=replace(tokens, padding=0))
    assert "no token at all" not in " ".join(because(without))
    assert not any("token at all" in line or "training" in line for line in because(bare)[2:])
    assert tokens.evidence is not None
    grades = {**tokens.evidence.grades, "strong": 1}
    one = replace(tokens, evidence=replace(tokens.evidence, grades=grades))
    assert "1 row bears strong signs of no training." in because(replace(with_all, tokens=one))


def test_there_are_five_numbers_whatever_there_is(with_all: Audit, bare: Audit) -> None:
    for found in (with_all, bare, replace(with_all, tokens=None, cluster=None)):
        numbers = key_numbers(found)
        assert len(numbers) == 5
        assert len({each.label for each in numbers}) == 5
        assert {each.claim for each in numbers} <= {EXACT, BOUND, OBSERVED}
        # Whether tokens share rows is what was asked: it is said where the answer is no, too.
        assert numbers[0].label == "tokens share their row with another"
        assert all(each.value for each in numbers[1:])
    assert [each.value for each in key_numbers(bare)] == [0, V, V, V, D]


def test_ties_at_the_state_are_said_only_where_there_are_any(with_all: Audit, bare: Audit) -> None:
    assert at_the_state(bare) == (
        "At the mean of all finite rows no two tokens have the same score in float32."
    )
    mode = with_all.logits.mode.n_tokens
    assert mode > 1
    assert at_the_state(with_all) == (
        f"At the mean of the cluster’s rows the 300 tokens have {with_all.logits.distinct} "
        f"distinct scores in bfloat16, and {mode} share the most common one."
    )
    logits = with_all.logits
    others = [replace(each, n_tokens=mode) for each in logits.top]
    many = replace(with_all, logits=replace(logits, top=others))
    assert at_the_state(many).endswith(f", and {mode} share one, as many as share any.")
    facts = {each.name: each.value for each in distribution(many.logits, V)}
    assert facts["most common value"].endswith("; other values have as many")
    assert f"{mode} tokens share one logit, as many as share any." in logit_class(many)
    facts = {each.name: each.value for each in distribution(bare.logits, V)}
    assert facts["most common value"] == "none: no two tokens have the same"
    none = replace(with_all, logits=replace(with_all.logits, distinct=0))
    assert at_the_state(none) == "At the mean of the cluster’s rows no score is a number."
    moved = replace(with_all, state=replace(with_all.state, rescaled_from=2.0))
    assert "rescaled to where the final norm can output it" in at_the_state(moved)


def test_without_a_tokenizer_one_is_asked_for(with_all: Audit, bare: Audit) -> None:
    assert "--tokenizer" in nothing_to_do(bare)[0]
    assert nothing_to_do(with_all) == ["Nothing that was found asks for a change."]


def test_every_kind_of_claim_is_explained() -> None:
    assert CLAIMS.keys() == {EXACT, BOUND, ESTIMATED, OBSERVED}


# Commands


def model(spec: str, source: str = "directory", revision: str | None = None) -> Model:
    return Model(spec=spec, source=source, revision=revision, name="name")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (model("a b/$(rm)"), "'a b/$(rm)'"),
        (model("bad\u202ename"), "MODEL"),
        (model(""), "MODEL"),
        (model("org/name", "hub", "a" * 40), f"hf://org/name@{'a' * 40}"),
        (model("org/name@main", "hub", "b" * 40), f"hf://org/name@{'b' * 40}"),
        (model("org/name", "hub"), "org/name"),
    ],
)
def test_a_command_names_the_model_as_a_shell_takes_it(given: Model, expected: str) -> None:
    assert advice.model_argument(given) == expected


def test_the_command_of_an_audit_repeats_it(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "m", rows_of(cluster=30))
    plain = audited(path)
    assert advice.audit_again(plain) == f"isologit audit {path} -o DIR"
    pole = audited(path, pole=Pole(-7.5, 6.0, None, (1, -2, 3)))
    assert "--pole=-7.5,6.0 --axes=1,-2,3 " in advice.audit_again(pole)
    given = audited(path, members=Members([1, 2, 3], "a file"), reachable=True)
    assert advice.audit_again(given).endswith("--members FILE --reachable -o DIR")
    named = audited(path, Settings(tensor="model.embed_tokens.weight", role="input"))
    assert "--role input --tensor model.embed_tokens.weight" in advice.audit_again(named)
    other = save(byte_level(["the"]), tmp_path / "other tokenizer")
    chosen = audited(path, Settings(tokenizer=str(other)))
    assert advice.audit_again(chosen) == f"isologit audit {path} --tokenizer '{other}' -o DIR"
    told = [*advice.what_to_do(chosen, advice.same_model(chosen)), *questions(chosen)]
    assert len(told) > 6
    assert all(f"{path} --tokenizer '{other}'" in each.command for each in told)
    assert questions(named)[0].command == (
        f"isologit gap {path} --role input --tensor model.embed_tokens.weight --within 1"
    )
    device = replace(plain.arithmetic, name="torch", device="cuda:0", logit_dtype="f32")
    seen = advice.audit_again(replace(plain, arithmetic=device))
    assert "--arithmetic torch:cuda:0 --dtype f32" in seen


def questions(found: Audit) -> list[advice.Advice]:
    return advice.further_questions(found, advice.same_model(found))


def test_advice_reads_as_one_line_and_as_parts() -> None:
    each = advice.Advice("why", "isologit x", " does it")
    assert each.line() == "why: isologit x does it"
    assert advice.Advice("", "isologit x", " does it").line() == "isologit x does it"
