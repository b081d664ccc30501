"""What the explorer says of a point is what ``classes`` says of the same state."""

import shlex
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import gaussian, write_llama
from cli.command import isologit
from isologit.checkpoint.state_file import read_states
from isologit.classes import classes
from isologit.equivalence.meet import LogitMeet
from isologit.equivalence.states import State, mixed_state
from isologit.errors import PointError, ResultsError, StateError
from isologit.explorer.opened import Explored, open_explored
from isologit.explorer.points import Point, parse_point
from isologit.explorer.view import Views
from isologit.near_twins import near_twins
from isologit.numerics.formats import BF16, F32, Format, round_fraction
from isologit.numerics.stored import Vector
from isologit.request import FileState, Members, Pole
from isologit.subject import Settings, open_subject
from tokens.small_tokenizers import byte_level, save

V, D = 300, 12


def rows() -> Any:
    """Return a cloud with a row class, a cluster, and axes that differ."""
    values = gaussian(V, D, seed=21) * np.array([4.0, 3, 2, *([1] * (D - 3))])
    values[40:70] = 0.25 + 0.03 * gaussian(30, D, seed=22)
    values[100:103] = values[7]
    return values


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_llama(tmp_path_factory.mktemp("model") / "m", rows())
    save(byte_level(["the"]), path)
    np.save(path.parent / "states.npy", gaussian(3, D, seed=5))
    return path


@pytest.fixture(scope="module")
def views(model: Path) -> Views:
    return Views(opened(model, states=model.parent / "states.npy"))


def opened(spec: Path, states: Path | None = None, settings: Settings | None = None) -> Explored:
    held = None if states is None else read_states(states)
    return open_explored(str(spec), settings or Settings(), open_subject, states=held)


def at(text: str) -> Point:
    return parse_point(text)


def asked(views: Views, model: Path, text: str) -> tuple[Any, bool]:
    """Return what ``classes`` is asked for at a point, by its own words."""
    cluster = views.explored.findings.cluster
    assert cluster is not None
    bare = text.removesuffix("!rim")
    stored = np.load(model.parent / "states.npy")
    of = {
        "token:5": 5,
        "class:7": 7,
        "cluster": Members(cluster.token_ids, "the audit"),
        "sphere:10,20": Pole(10.0, 20.0),
        "sphere:-5,3.5,2": Pole(-5.0, 3.5, 2.0),
        "state:2": FileState(stored[2], str(model.parent / "states.npy")),
    }
    return of[bare], text.endswith("!rim")


@pytest.mark.parametrize(
    "text",
    [
        *("token:5", "class:7", "cluster", "sphere:10,20", "sphere:-5,3.5,2", "state:2"),
        *("token:5!rim", "cluster!rim", "state:2!rim"),
    ],
)
def test_figures_are_those_of_classes(views: Views, model: Path, text: str) -> None:
    place, rim = asked(views, model, text)
    expected, arrays = classes(str(model), at=place, reachable=rim, explain_top=3)
    found = views.view(at(text), 20)
    assert arrays.logits is not None
    np.testing.assert_array_equal(views.logits(at(text)).values, arrays.logits.values)
    assert found.state.sha256 == expected.state.sha256 if expected.state else False
    assert found.logits == expected.logits
    assert found.class_rows == expected.class_rows
    assert found.greedy == expected.greedy
    ties = views.ties(at(text)).ties
    assert expected.ties is not None
    for mine, theirs in zip(
        [ties.modal, *ties.top], [expected.ties.modal, *expected.ties.top], strict=True
    ):
        assert (mine.value, mine.n_tokens, mine.causes) == (
            theirs.value,
            theirs.n_tokens,
            theirs.causes,
        )
    if text != "class:7":
        # The centroid of a class has the state of a token's row, and another name.
        assert found.state == expected.state
        assert found.own_class == expected.own_class


def test_logits_are_kept_as_they_are(tmp_path: Path) -> None:
    values = rows()
    values[5] *= 1e6
    path = write_llama(tmp_path / "m", values, "f32")
    expected, arrays = classes(str(path), at=5)
    views = Views(opened(path))
    assert arrays.logits is not None
    np.testing.assert_array_equal(views.logits(at("token:5")).values, arrays.logits.values)
    assert views.view(at("token:5"), 5).logits == expected.logits


def test_what_a_reader_has_to_know_is_said(views: Views, model: Path) -> None:
    place, _ = asked(views, model, "state:2")
    expected, _ = classes(str(model), at=place)
    found = views.view(at("state:2"), 5)
    assert found.notes
    assert set(found.notes) == {n for n in expected.notes if "norm" in n or "rounded" in n}
    assert found.claims == {
        **dict.fromkeys(("state", "logits", "own_class", "top", "histogram"), "exact"),
        "class_rows": "exact",
        "greedy": "certified bound",
    }


@pytest.mark.parametrize("text", ["token:5", "class:7", "sphere:10,20", "state:1", "token:5!rim"])
def test_the_command_prints_the_same(views: Views, text: str) -> None:
    found = views.view(at(text), 20)
    assert not found.needs_state
    words = shlex.split(found.command)
    assert words[0] == "isologit"
    printed = isologit(*words[1:], "--json").json
    assert printed["state"]["sha256"] == found.state.sha256
    assert printed["logits"]["mode"]["n_tokens"] == found.logits.mode.n_tokens


def test_a_command_says_where_it_needs_the_state(views: Views) -> None:
    for text in ("cluster", "mix:0.5(token:1)(token:2)", "cluster!rim"):
        found = views.view(at(text), 5)
        assert found.needs_state
        assert "--state state.safetensors --explain" in found.command
        assert "--reachable" not in found.command


def test_the_largest_logits_are_listed_by_rank(views: Views) -> None:
    logits = views.logits(at("token:5")).values
    found = views.view(at("token:5"), 40).top
    order = np.lexsort((np.arange(V), -logits))[:40]
    assert [each.token for each in found] == order.tolist()
    assert [each.logit for each in found] == logits[order].tolist()
    distinct = sorted(set(logits.tolist()), reverse=True)
    for each in found:
        assert each.logit == distinct[each.rank - 1]
        assert each.tied == (logits == each.logit).sum() - 1
        assert each.hex == each.logit.hex()
    assert len(views.view(at("token:5"), 1000).top) == V
    row = next(each for each in views.view(at("token:7"), 1000).top if each.token == 7)
    assert (row.same_row, row.kind) == (3, "byte")


def test_the_histogram_holds_every_logit(views: Views) -> None:
    logits = views.logits(at("token:5")).values
    found = views.view(at("token:5"), 1).histogram
    assert found is not None
    edges = (found.first + np.arange(len(found.counts) + 1)) * found.width
    np.testing.assert_array_equal(np.histogram(logits, edges)[0], found.counts)
    assert sum(found.counts) + found.left_out == V
    common = views.logits(at("token:5")).mode.value
    assert common != logits.max()
    for place, value in (
        (found.maximum, logits.max()),
        (found.modal, common),
        (found.own, logits[5]),
    ):
        assert place is not None
        assert edges[place] <= value < edges[place + 1]
    assert views.view(at("cluster"), 1).histogram.own is None  # type: ignore[union-attr]


def test_rows_without_numbers_are_left_out_and_not_listed(tmp_path: Path) -> None:
    values = rows()
    values[3, 0] = np.nan
    values[4, 0] = np.inf
    views = Views(opened(write_llama(tmp_path / "m", values)))
    found = views.view(at("token:5"), 1000)
    assert found.histogram is not None
    assert found.histogram.left_out == 2
    assert 3 not in {each.token for each in found.top}
    assert len(found.top) == V - 1
    none = views.view(at("token:3"), 10)
    assert none.histogram is None
    assert none.top == []
    with pytest.raises(StateError, match="cannot be mixed"):
        views.view(at("mix:0.5(token:3)(token:5)"), 1)
    assert views.neighbours(3).why == "its row has an infinity or a NaN"


@pytest.mark.parametrize("format_", [BF16, F32])
def test_a_mix_is_the_real_number_rounded_once(format_: Format) -> None:
    a, b = (
        State("token", Vector.of_values(gaussian(1, 50, seed=n)[0], format_), np.empty(0, np.int32))
        for n in (1, 2)
    )
    for thousandths in (0, 1, 333, 500, 1000):
        t = Fraction(thousandths, 1000)
        found = mixed_state(a, b, t)
        expected = [
            round_fraction((1 - t) * Fraction(x) + t * Fraction(y), format_)
            for x, y in zip(a.vector.values.tolist(), b.vector.values.tolist(), strict=True)
        ]
        assert found.vector.values.tolist() == expected
        assert found.kind == "mix"
    np.testing.assert_array_equal(mixed_state(a, b, Fraction(0)).vector.words, a.vector.words)
    np.testing.assert_array_equal(mixed_state(a, b, Fraction(1)).vector.words, b.vector.words)


def test_a_mix_is_where_it_is_said_to_be(views: Views) -> None:
    state = views.state(at("mix:0.25(token:1)(token:2)"))
    one, two = (views.state(at(f"token:{n}")).vector.values for n in (1, 2))
    np.testing.assert_allclose(state.vector.values, 0.75 * one + 0.25 * two, rtol=2**-8)
    assert views.view(at("mix:0.25(token:1)(token:2)"), 1).title.startswith("75 % token 1 ")


def test_what_states_leave_together_is_their_meet(views: Views) -> None:
    points = tuple(at(text) for text in ("token:5", "cluster", "sphere:10,20", "token:9"))
    found = views.visited(points)
    meet, growth = LogitMeet.of_no_state(V), []
    for point in points:
        meet.add(views.logits(point).values[meet.tokens])
        growth.append(meet.n_classes)
    partition = meet.partition()
    assert (found.states, found.distinct, found.growth) == (4, partition.n_classes, growth)
    shared = sum(len(group) for group in partition.groups())
    assert found.tokens_in_classes == shared
    assert found.said == f"Of 300 tokens, {shared} still not told apart after 4 states."
    assert found.sizes == [len(group) for group in partition.groups()][:20]
    assert views.visited(()).said == "No state has been looked at yet."
    # The row class can never be parted.
    assert found.rows_classes >= 1
    (one,) = points[:1]
    assert not views.visited((one,)).told_apart_all
    many = tuple(at(f"token:{n}") for n in range(40))
    after = views.visited(many)
    assert after.told_apart_all == (after.rows_classes == after.classes)
    assert after.tokens_in_classes >= 4


def test_neighbours_are_those_of_gap(views: Views, model: Path) -> None:
    (expected,) = near_twins(str(model), token_ids=[100], within_nats=1e-3).tokens
    found = views.neighbours(100)
    assert found.twins == expected.row_class == [7, 100, 101, 102]
    assert found.nearest[: len(expected.nearest)] == expected.nearest
    assert found.row_class_size == 4
    assert found.texts["7"] == views.explored.pictured.shown(7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("token:300", "there is no token 300; this model has 0 to 299"),
        ("class:297", "there is no row class 297; this model has 0 to 296"),
        ("state:3", "there is no state 3; .*states.npy holds 0 to 2"),
        ("mix:0.5(token:1)(token:300)", "there is no token 300"),
    ],
)
def test_points_that_this_model_has_not_are_refused(views: Views, text: str, why: str) -> None:
    with pytest.raises(PointError, match=why):
        views.view(at(text), 5)


def test_without_a_cluster_or_a_file_it_is_said(tmp_path: Path) -> None:
    views = Views(opened(write_llama(tmp_path / "m", gaussian(V, D, seed=3))))
    with pytest.raises(PointError, match="no cluster of this model stands out"):
        views.view(at("cluster"), 5)
    with pytest.raises(PointError, match="no file of states is open"):
        views.view(at("state:0"), 5)
    assert views.view(at("token:1"), 1).top[0].kind == ""


def test_threads_that_ask_at_once_get_one_answer(model: Path) -> None:
    views = Views(opened(model))
    texts = [f"token:{n % 5}" for n in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: views.view(at(text), 5), texts))
    for text, each in zip(texts, found, strict=True):
        assert each is views.view(at(text), 5)


def test_no_more_is_kept_than_there_is_room_for(model: Path) -> None:
    views = Views(opened(model))
    for n in range(V):
        views.view(at(f"token:{n}"), 5)
    assert len(views._at) <= 65
    assert len(views._views) <= 200


# Opening


def test_the_directory_of_an_audit_is_its_model(model: Path, tmp_path: Path, views: Views) -> None:
    out = tmp_path / "out"
    assert isologit("audit", model, "-o", out, "--no-report").code == 0
    again = Views(opened(out))
    for text in ("token:5", "cluster", "sphere:10,20"):
        mine, theirs = again.view(at(text), 20), views.view(at(text), 20)
        assert mine == theirs
    assert again.neighbours(7) == views.neighbours(7)


def test_another_model_than_the_audited_one_is_refused(model: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", write_llama(tmp_path / "other", rows() + 1)
    assert isologit("audit", model, "-o", out, "--no-report").code == 0
    with pytest.raises(ResultsError, match="expected the model that was audited"):
        open_explored(str(out), Settings(), open_subject, model=str(other))
    assert open_explored(str(out), Settings(), open_subject, model=str(model)).n_tokens == V


def test_states_of_another_width_are_refused(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "states.npy", np.ones((2, D + 1)))
    with pytest.raises(StateError, match=r"2 states of 13 values; .* has 12"):
        opened(model, states=tmp_path / "states.npy")
