"""Many states: the meet is that of each alone, in parts or at once, cut short or not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from isologit import across_states
from isologit.across_states import HowFar, Kept
from isologit.checkpoint.state_file import StoredStates, read_states
from isologit.claims import EXACT, sampled
from isologit.classes import classes
from isologit.equivalence.norm_range import NormRange
from isologit.equivalence.partition import Partition
from isologit.errors import ResultsError, StateError
from isologit.findings import Classes
from isologit.numerics import exact
from isologit.numerics.formats import BF16, F16, F32
from isologit.numerics.many_states import logits_at_states
from isologit.output.json_text import to_json
from isologit.request import RandomStates
from isologit.subject import Settings, open_subject

V, D, K = 120, 8, 23


def close_rows() -> Any:
    """Return rows with duplicates, with twins that few states tell apart, and a −0."""
    values = gaussian(V, D, seed=3)
    values[10:13] = values[10]
    values[30:40] = values[30] * (1 + 2.0 ** -np.arange(4, 14)[:, None] * gaussian(10, D, seed=4))
    # No state tells these apart: what differs is lost in every logit's rounding.
    values[60:63] = values[60]
    values[60:63, 0] = 1
    values[60:63, 1] = 2.0 ** -np.arange(60, 63)
    values[70:72] = 0
    values[71] = -0.0
    return values


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_llama(tmp_path / "m", close_rows()))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take few states at a time, so that there are several parts."""
    monkeypatch.setattr(across_states, "_PART_BYTES", 4 * V * 5)
    monkeypatch.setattr(across_states, "_FIRST_PART", 3)
    monkeypatch.setattr(across_states, "_MOST_IN_PART", 6)


def found(model: str, at: Any, how: HowFar | None = None, **settings: Any) -> Classes:
    return classes(model, Settings(**settings), at=at, how_far=how)[0]


def one_by_one(model: str, states: Any, to: Any) -> list[Partition]:
    """Return the meet after each state, from the whole partitions of single states."""
    matrix = open_subject(model, Settings()).head.matrix
    meets = [Partition(np.zeros(V, dtype=np.int32))]
    for k in range(states.n_tokens):
        logits = exact.logits(matrix, states.row(k), to).values
        meets.append(meets[-1].meet(Partition.of_values(logits)))
    return meets[1:]


@pytest.mark.parametrize("to", [BF16, F16, F32], ids=lambda f: f.name)
@pytest.mark.parametrize("with_greedy", [True, False])
def test_the_meet_is_that_of_each_state_alone(model: str, to: Any, with_greedy: bool) -> None:
    norm_range = NormRange.of(open_subject(model, Settings()).head.norm, D)
    assert norm_range is not None
    states = norm_range.random_states(0, K, seed=5, format_=BF16)
    meets = one_by_one(model, states, to)
    here = found(model, RandomStates(K, 5), HowFar(with_greedy), logit_format=to)
    assert here.meet is not None
    last = meets[here.meet.states - 1]
    assert here.meet.distinct == last.n_classes == meets[-1].n_classes
    assert here.meet.sizes == [len(group) for group in last.groups()]
    listed = {tuple(group.token_ids) for group in here.meet.largest}
    assert listed == {tuple(group.tolist()) for group in last.groups()}
    for step in here.meet.growth:
        meet = meets[step.states - 1]
        assert (step.distinct, step.classes) == (meet.n_classes, len(meet.groups()))
    steps = [step.states for step in here.meet.growth]
    assert steps == sorted({*(k for k in (1, 2, 5, 10, 20) if k <= steps[-1]), here.meet.states})
    grew = [k for k in range(1, K + 1) if k == 1 or meets[k - 1] != meets[k - 2]]
    grew = [k for k in grew if k == 1 or meets[k - 1].n_classes > meets[k - 2].n_classes]
    assert here.meet.last_growth == grew[-1]
    rows = found(model, None).rows
    assert here.meet.distinct_rows == rows.distinct_values
    assert here.meet.told_apart_all == (last.n_classes == rows.distinct_values)
    assert here.meet.rows_classes + here.meet.joined == here.meet.classes
    joined = [group for group in here.meet.largest if group.distinct_rows > 1]
    assert len(joined) == here.meet.joined


def test_states_are_taken_in_parts_and_without_the_certificate_few_tokens_are_computed(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []

    def seen(matrix: Any, states: Any, to: Any) -> Any:
        shapes.append((states.n_tokens, matrix.n_tokens))
        return logits_at_states(matrix, states, to)

    monkeypatch.setattr(across_states, "logits_at_states", seen)
    found(model, RandomStates(K, 0))
    assert sum(n for n, _ in shapes) == K
    assert max(n * v for n, v in shapes) <= 5 * V
    assert {v for _, v in shapes} == {V}
    shapes.clear()
    # In bf16 some twins are never told apart: it goes on to the end.
    here = found(model, RandomStates(K, 0), HowFar(with_greedy=False))
    assert here.meet is not None
    assert not here.meet.told_apart_all
    assert shapes[0] == (3, V)
    assert max(v for _, v in shapes[1:]) < V
    assert max(n * v for n, v in shapes) <= 5 * V
    assert here.greedy is None
    assert here.states is not None
    assert here.states.distinct_logits is not None
    assert here.states.distinct_logits.n < K


def test_it_ends_where_no_state_can_tell_more(tmp_path: Path) -> None:
    values = gaussian(V, D, seed=1)
    # Other bits, and the same logits everywhere.
    values[70:72] = 0
    values[71] = -0.0
    model = str(write_llama(tmp_path / "plain", values, "f32"))
    without = found(model, RandomStates(K, 0), HowFar(with_greedy=False))
    assert without.meet is not None
    assert without.states is not None
    assert (without.meet.told_apart_all, without.meet.distinct) == (True, V - 1)
    assert (without.states.n, without.states.asked) == (3, K)
    # Nothing that other states could add: what was found of some holds for all.
    assert without.claims == {
        "rows": EXACT,
        "states": EXACT,
        "meet": EXACT,
        "meet.growth": sampled(3),
    }
    # The certificate needs every state.
    whole = found(model, RandomStates(K, 0))
    assert whole.states is not None
    assert whole.greedy is not None
    assert (whole.states.n, len(whole.greedy.states)) == (K, K)
    assert whole.claims["greedy.shares"] == sampled(K)


def test_claims_say_what_was_sampled(model: str, tmp_path: Path) -> None:
    assert found(model, RandomStates(K, 0)).claims == {
        "rows": EXACT,
        "states": EXACT,
        "meet": sampled(K),
        "meet.growth": sampled(K),
        "greedy": "certified bound",
        "greedy.shares": sampled(K),
    }
    np.save(tmp_path / "h.npy", gaussian(K, D, seed=2))
    of_file = found(model, read_states(tmp_path / "h.npy"))
    assert of_file.claims == {
        "rows": EXACT,
        "states": EXACT,
        "meet": EXACT,
        "meet.growth": EXACT,
        "greedy": "certified bound",
    }


def test_distinct_logits_are_those_of_each_state(model: str) -> None:
    norm_range = NormRange.of(open_subject(model, Settings()).head.norm, D)
    assert norm_range is not None
    states = norm_range.random_states(0, K, seed=0, format_=BF16)
    matrix = open_subject(model, Settings()).head.matrix
    counts = sorted(
        Partition.of_values(exact.logits(matrix, states.row(k), BF16).values).n_classes
        for k in range(K)
    )
    here = found(model, RandomStates(K, 0)).states
    assert here is not None
    assert here.distinct_logits is not None
    assert (here.distinct_logits.min, here.distinct_logits.max) == (counts[0], counts[-1])
    assert here.distinct_logits.median == counts[(K - 1) // 2]


def test_a_nan_is_one_distinct_logit(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1, 1], [np.nan, 1], [1, np.nan], [2, 1]])
    here = found(str(model), RandomStates(2, 0))
    assert here.states is not None
    assert here.states.distinct_logits is not None
    assert here.states.distinct_logits.max == 3
    assert here.greedy is not None
    assert here.greedy.shares[0].undefined == 2


class StoppedError(Exception):
    """What cuts a run short."""


def cut_short(model: str, at: Any, after: int, *, with_greedy: bool, **settings: Any) -> Kept:
    """Return what a run had kept when it was cut short after some parts."""
    kept: list[Kept] = []

    def keep(what: Kept) -> None:
        kept.append(what)
        if len(kept) == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        found(model, at, HowFar(with_greedy, keep=keep), **settings)
    return kept[-1]


@pytest.mark.parametrize("with_greedy", [True, False])
@pytest.mark.parametrize("after", [1, 2])
def test_a_run_cut_short_goes_on_to_the_same_end(model: str, with_greedy: bool, after: int) -> None:
    at = RandomStates(K, 1)
    whole = found(model, at, HowFar(with_greedy))
    kept = cut_short(model, at, after, with_greedy=with_greedy)
    assert 0 < kept.n_states < K
    done: list[int] = []
    how = HowFar(with_greedy, kept=kept, advance=lambda n, _total: done.append(n))
    again = found(model, at, how)
    assert done[0] == kept.n_states
    assert to_json(again) == to_json(whole)


@pytest.mark.parametrize("first", [1, 7, 10])
def test_more_states_of_the_same_seed_go_on(model: str, first: int) -> None:
    kept: list[Kept] = []
    found(model, RandomStates(first, 1), HowFar(keep=kept.append))
    more = found(model, RandomStates(K, 1), HowFar(kept=kept[-1]))
    assert to_json(more) == to_json(found(model, RandomStates(K, 1)))


def test_what_another_run_left_is_refused_and_says_what_differs(model: str, tmp_path: Path) -> None:
    at = RandomStates(K, 1)
    kept = cut_short(model, at, 2, with_greedy=True)
    other = close_rows()
    other[0, 0] += 1
    elsewhere = str(write_llama(tmp_path / "other", other))
    np.save(tmp_path / "h.npy", gaussian(K, D, seed=2))
    file = read_states(tmp_path / "h.npy")

    def refused(model: str, at: Any, how: HowFar, words: str, **settings: Any) -> None:
        with pytest.raises(ResultsError, match=words):
            found(model, at, how, **settings)

    refused(elsewhere, at, HowFar(kept=kept), "is of another matrix")
    refused(model, RandomStates(K, 2), HowFar(kept=kept), "another source of states")
    refused(model, file, HowFar(kept=kept), "another source of states")
    refused(model, at, HowFar(kept=kept), "another logit format", logit_format=F32)
    refused(model, at, HowFar(with_greedy=False, kept=kept), "another greedy certificate")
    aged = replace(kept, identity=kept.identity | {"version of isologit": "0.0"})
    refused(model, at, HowFar(kept=aged), "another version of isologit")
    refused(model, RandomStates(2, 1), HowFar(kept=kept), r"8 states are done .* and 2 were asked")
    odd = replace(kept, labels=kept.labels[::-1])
    refused(model, at, HowFar(kept=odd), "classes in the file there are none")
    of_file = cut_short(model, file, 2, with_greedy=True)
    np.save(tmp_path / "h.npy", gaussian(K, D, seed=6))
    changed = read_states(tmp_path / "h.npy")
    refused(model, changed, HowFar(kept=of_file), "not the first of this run")


def test_another_norm_is_another_run(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "m", close_rows())
    kept = cut_short(str(model), RandomStates(K, 1), 1, with_greedy=True)
    tensors = {"model.embed_tokens.weight": close_rows(), "model.norm.weight": np.full(D, 2.0)}
    config = {"model_type": "llama", "tie_word_embeddings": True, "rms_norm_eps": 1e-5}
    write_tensors(model, tensors, config=config)
    with pytest.raises(ResultsError, match="another norm"):
        found(str(model), RandomStates(K, 1), HowFar(kept=kept))


def test_states_of_a_file_are_held_against_the_norm(model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    h = rng.normal(size=(6, D))
    h /= np.sqrt((h * h).mean(axis=1, keepdims=True))
    h[4] *= 40
    h[5] *= 0.01
    np.save(tmp_path / "h.npy", h)
    here = found(model, read_states(tmp_path / "h.npy"))
    states = here.states
    assert states is not None
    assert states.ratio is not None
    assert (states.n, states.source, states.seed) == (6, "file", None)
    assert states.ratio.min == pytest.approx(0.01, rel=1e-2)
    assert states.ratio.median == pytest.approx(1, rel=1e-2)
    assert states.ratio.max == pytest.approx(40, rel=1e-2)
    assert (states.unreachable, states.pre_norm, states.undecided) == (1, 2, 0)
    assert states.rounded > 0
    assert any(note.startswith("2 of 6 states look like pre-norm states") for note in here.notes)
    assert any("forward pre-hook on model.get_output_embeddings()" in note for note in here.notes)
    assert any("had to be rounded to bfloat16" in note for note in here.notes)


def test_states_of_another_width_and_observed_logits_are_refused(model: str) -> None:
    wrong = StoredStates(2, 5, "h.npy", lambda first, stop: np.ones((stop - first, 5)))
    with pytest.raises(StateError, match=r"h\.npy: states of 5 values; .* has 8"):
        found(model, wrong)


def test_without_a_known_norm_gamma_is_taken_for_one_and_that_is_said(tmp_path: Path) -> None:
    model = str(write_matrix(tmp_path / "bare", close_rows()))
    here = found(model, RandomStates(4, 0))
    assert here.states is not None
    assert (here.states.norm, here.states.ratio, here.states.undecided) == ("assumed", None, 4)
    said = "the random states are those of an RMSNorm with γ = 1"
    assert any(said in note for note in here.notes)


def test_a_head_that_turns_the_order_has_no_certificate(tmp_path: Path) -> None:
    tensors = {"model.embed_tokens.weight": close_rows(), "model.norm.weight": np.ones(D)}
    config = {
        "model_type": "cohere",
        "tie_word_embeddings": True,
        "layer_norm_eps": 1e-5,
        "logit_scale": -1.0,
    }
    model = str(write_tensors(tmp_path / "m", tensors, config=config))
    here = found(model, RandomStates(4, 0))
    assert here.greedy is None
    assert any("turns the order" in note for note in here.notes)
    kept = cut_short(model, RandomStates(K, 0), 1, with_greedy=True)
    config["logit_scale"] = 0.5
    write_tensors(tmp_path / "m", tensors, config=config)
    scaled = found(model, RandomStates(4, 0))
    assert scaled.greedy is not None
    assert any("before the head's scale" in note for note in scaled.notes)
    # What was kept has no certificates, and these are of another model.
    with pytest.raises(ResultsError, match="of another"):
        found(model, RandomStates(K, 0), HowFar(kept=kept))
