"""``classes`` at many states: what it takes, what it shows, cut short and gone on with."""

import os
import pty
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from checkpoints import gaussian, write_llama
from cli.command import isologit, read_terminal, start
from isologit import across_states
from isologit.numerics.many_states import logits_at_states
from isologit.output.resume_file import read_kept

V, D = 300, 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = gaussian(V, D, seed=3)
    values[40:44] = 4 * values[40]
    # Twins that no logit of bf16 tells apart.
    values[50:52] = values[50]
    values[50:52, 0], values[50:52, 1] = 1, [2.0**-60, 2.0**-61]
    return write_llama(tmp_path_factory.mktemp("many") / "m", values)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(across_states, "_PART_BYTES", 4 * V * 6)
    monkeypatch.setattr(across_states, "_FIRST_PART", 4)
    monkeypatch.setattr(across_states, "_MOST_IN_PART", 20)


def test_the_page_says_what_was_told_apart_and_what_is_on_top(model: Path) -> None:
    ran = isologit("classes", model, "--random", 30, "--seed", 2)
    assert (ran.code, ran.err) == (0, "")
    states = ran.section("Hidden states")
    assert states[0] == "30 states random, seed 2, in bfloat16"
    assert states[1].endswith("; all of them reachable")
    meet = ran.section("Tokens that no state told apart [sampled (30)]")
    assert meet[0] == (
        "6 tokens in 2 classes of two or more: 1 of these are one row class, 1 hold different rows"
    )
    assert "[50, 51]" in meet[3]
    assert "[40, 41, 42, 43]" in meet[4]
    growth = ran.section("How the number of classes grows [sampled (30)]")
    assert [line.split()[0] for line in growth[1:]] == ["1", "2", "5", "10", "20", "30"]
    greedy = ran.section("Greedy certificate [certified bound]")
    assert greedy[0].startswith("the top token at 30 states is")
    assert greedy[1].startswith("certain, in any order of summation")
    assert greedy[-1].startswith("Assumed: products and sums in float32 in any order, no TF32")


def test_one_state_has_its_certificate_too(model: Path) -> None:
    ran = isologit("classes", model, "--token", 41)
    lines = ran.section("Greedy certificate [certified bound]")
    assert "tied" in lines[1]
    assert "4 tokens [40, 41, 42, 43]" in lines[1]
    assert "Remedy for identical rows: mask all but one of them (isologit export)" in lines
    observed = isologit("classes", model, "--token", 41, "--random", 2)
    assert observed.code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--random", "3", "--token", "1"], "at most one of"),
        (["--seed", "3"], "--seed is that of --random K"),
        (["--token", "1", "--resume", "x"], "--resume and --no-greedy are for many states"),
        (["--no-greedy"], "--resume and --no-greedy are for many states"),
        (["--random", "3", "--reachable"], "--reachable is for one state"),
        (["--reachable"], "--reachable is for one state"),
        (["--random", "0"], "0 is not in the range"),
        (["--random", "3", "--index", "0"], "--index chooses among the states of --state FILE"),
    ],
)
def test_what_does_not_go_together_is_refused(model: Path, options: list[str], words: str) -> None:
    ran = isologit("classes", model, *options)
    assert (ran.code, ran.out) == (2, "")
    assert words in " ".join(ran.err.split())


def test_the_tables_hold_the_meet(model: Path, tmp_path: Path) -> None:
    ran = isologit("classes", model, "--random", 9, "-o", tmp_path / "out", "--json")
    assert ran.code == 0
    tokens = pq.read_table(tmp_path / "out" / "tokens.parquet").to_pydict()
    assert tokens["meet_class_size"][41] == 4
    assert tokens["meet_class"][50] == tokens["meet_class"][51]
    assert "logit" not in tokens
    classes = pq.read_table(tmp_path / "out" / "classes.parquet").to_pylist()
    meets = [row["token_ids"] for row in classes if row["relation"] == "meet"]
    assert [len(ids) for ids in meets] == ran.json["meet"]["sizes"]
    assert [50, 51] in meets


def interrupt_at_call(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a run interrupted as it begins its so-manieth part."""
    calls = 0

    def interrupted(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KeyboardInterrupt
        return logits_at_states(*given)

    monkeypatch.setattr(across_states, "logits_at_states", interrupted)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("options", [(), ("--no-greedy",)])
def test_an_interrupted_run_goes_on_to_the_same_page(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    arguments = ["classes", model, "--random", 120, *options, "--json"]
    whole = isologit(*arguments)
    interrupt_at_call(3, monkeypatch)
    kept = tmp_path / "kept"
    ran = isologit(*arguments, "--resume", kept)
    assert (ran.code, ran.out) == (130, "")
    left = read_kept(kept)
    assert left is not None
    assert 4 < left.n_states < 120
    again = isologit(*arguments, "--resume", kept)
    assert (again.code, again.out) == (0, whole.out)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    # Nothing is left to do: nothing is computed.
    monkeypatch.setattr(across_states, "logits_at_states", None)
    assert isologit(*arguments, "--resume", kept).out == whole.out


def test_a_place_that_cannot_be_written_is_one_line(model: Path, tmp_path: Path) -> None:
    ran = isologit("classes", model, "--random", 3, "--resume", tmp_path / "nowhere" / "kept")
    assert (ran.code, ran.out) == (23, "")
    # Before anything is computed.
    assert "nowhere is no directory. Make it, or name a file elsewhere for --resume" in ran.err
    assert ran.err.count("\n") == 1


def test_a_killed_process_leaves_a_file_to_go_on_from(model: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = start("classes", model, "--random", 100_000, "--resume", kept, "-q")
    try:
        until = time.monotonic() + 60
        while not kept.exists() and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    left = read_kept(kept)
    assert left is not None
    more = left.n_states + 3
    again = isologit("classes", model, "--random", more, "--resume", kept, "--json")
    assert again.code == 0
    assert again.out == isologit("classes", model, "--random", more, "--json").out


def test_a_terminal_shows_how_far_it_is(model: Path) -> None:
    # What is shown for less than a tenth of a second may not be seen.
    slowly = (
        "import sys, time\n"
        "from isologit.cli import many_states\n"
        "from isologit.cli.main import run\n"
        "advance = many_states._Shown.advance\n"
        "def slow(*given):\n"
        "    advance(*given)\n"
        "    time.sleep(0.3)\n"
        "many_states._Shown.advance = slow\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    leader, follower = pty.openpty()
    process = start(
        *("classes", model, "--random", 40, "--json"), program=("-c", slowly), stderr=follower
    )
    os.close(follower)
    out, _ = process.communicate(timeout=60)
    shown = read_terminal(leader).decode()
    assert process.returncode == 0
    assert out
    assert "of 40" in shown


def test_states_of_a_file_are_named_and_counted(model: Path, tmp_path: Path) -> None:
    h = gaussian(5, D, seed=1)
    h /= np.sqrt((h * h).mean(axis=1, keepdims=True))
    np.save(tmp_path / "h.npy", h.astype(np.float16))
    ran = isologit("classes", model, "--state", tmp_path / "h.npy")
    assert f"5 states from {tmp_path / 'h.npy'}, in bfloat16" in ran.out
    assert "Tokens that no state told apart [exact]" in ran.out


def test_states_of_no_numbers_are_named(model: Path, tmp_path: Path) -> None:
    states = gaussian(6, D, seed=2)
    states[2, 3], states[4], states[5] = np.nan, 0, 0
    np.save(tmp_path / "h.npy", states)
    ran = isologit("classes", model, "--state", tmp_path / "h.npy")
    assert ran.code == 0
    notes = ran.section("Notes")
    assert "• 1 state holds an infinity or a NaN: state 2, from 0" in notes
    zero = "• 2 states hold nothing but 0, at which all tokens tie: state 4 and others, from 0"
    assert zero in notes


def test_an_interrupt_says_what_is_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at_call(2, monkeypatch)
    ran = isologit("classes", model, "--random", 200, "--resume", tmp_path / "kept")
    assert ran.code == 130
    assert f"is kept in {tmp_path / 'kept'}; the same command goes on from there" in ran.err


def test_the_first_line_says_what_was_told_apart(model: Path) -> None:
    first = isologit("classes", model, "--random", 12).out.splitlines()[0]
    assert first.endswith("; 12 states left 6 tokens in classes of two or more.")
