"""``isologit never-top``: its page, its JSON, its files."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from cli.command import finished, isologit, start

SQUARE = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 0], [1, 0], [0.5, 0.5]])


@pytest.fixture
def square(tmp_path: Path) -> Path:
    return write_matrix(tmp_path / "square", SQUARE)


def test_the_page_names_domain_claims_and_tokens(square: Path) -> None:
    ran = isologit("never-top", square)
    assert ran.code == 0
    first = "3 of 7 tokens can never be the one argmax over all states; 4 tokens can."
    assert ran.out.startswith(first)
    assert ran.section("Domain: all states") == ["every hidden state of R^d."]
    rows = [line.split()[:2] for line in ran.section("Tokens [exact]")]
    assert rows == [["won", "4"], ["shadowed", "1"], ["interior", "1"], ["boundary", "1"]]
    assert ran.section("Shadowed [exact]") == ["[5] by 0"]
    assert "its row is a mean of" in ran.section("Interior [exact]")[1]
    assert any("real logits" in line for line in ran.section("Notes"))


def test_the_json_has_the_documented_keys(square: Path) -> None:
    document = isologit("never-top", square, "--json", "--domain", "reachable").json
    assert document["schema"] == "isologit.never-top/1"
    assert document["domain"]["name"] == "reachable"
    assert document["shadowed"] == [{"token": 5, "by": 0}]
    assert [each["token"] for each in document["interior"]] == [4]
    assert document["interior"][0]["certificate"]["kind"] == "hull"
    assert [each["token"] for each in document["boundary"]] == [6]
    assert (document["n_won"], document["n_undecided"]) == (4, 0)
    assert document["claims"] == dict.fromkeys(
        ("n_won", "shadowed", "interior", "boundary"), "exact"
    )
    assert any("not known" in note for note in document["notes"])


def test_a_search_is_gone_on_with_from_its_file(tmp_path: Path) -> None:
    model, kept = write_llama(tmp_path / "model", gaussian(50, 3)), tmp_path / "kept"
    first = isologit("never-top", model, "--resume", kept, "--tokens", "0-20", "--json").json
    assert first["n_asked"] == 21
    second = isologit("never-top", model, "--resume", kept, "--json").json
    assert second["search"]["n_decided_before"] == 21
    whole = isologit("never-top", model, "--json").json
    for key in ("n_won", "interior", "boundary", "undecided"):
        assert second[key] == whole[key]
    again = isologit("never-top", model, "--resume", kept, "--time-limit", "0", "--json").json
    assert again["interior"] == whole["interior"]
    assert again["n_won"] == whole["n_won"]


def test_another_model_or_domain_is_refused(tmp_path: Path, square: Path) -> None:
    kept = tmp_path / "kept"
    assert isologit("never-top", square, "--resume", kept).code == 0
    before = kept.read_bytes()
    other = write_matrix(tmp_path / "other", SQUARE[::-1].copy())
    for arguments in ((other,), (square, "--domain", "reachable")):
        ran = isologit("never-top", *arguments, "--resume", kept)
        assert ran.code == 40, ran.err
        assert "Name another file" in ran.err
    wider = write_matrix(tmp_path / "wider", gaussian(9, 3))
    assert isologit("never-top", wider, "--resume", kept).code == 40
    assert kept.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08" + bytes(7) + b"{}      "])
def test_a_file_that_is_none_of_these_is_refused_and_left(
    tmp_path: Path, square: Path, content: bytes
) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(content)
    ran = isologit("never-top", square, "--resume", kept)
    assert ran.code == 40
    assert ran.err.startswith("ResultsError")
    assert kept.read_bytes() == content


def test_an_altered_file_is_refused(tmp_path: Path, square: Path) -> None:
    kept = tmp_path / "kept"
    assert isologit("never-top", square, "--resume", kept).code == 0
    content = bytearray(kept.read_bytes())
    place = content.index(b'"hull"')
    content[place : place + 6] = b'"hole"'
    kept.write_bytes(bytes(content))
    assert isologit("never-top", square, "--resume", kept).code == 40


def test_a_damaged_file_is_refused(tmp_path: Path, square: Path) -> None:
    kept = tmp_path / "kept"
    assert isologit("never-top", square, "--resume", kept).code == 0
    whole = kept.read_bytes()
    # One bit of a weight's digits: a file that still reads as one.
    place = whole.index(b"0.5")
    for content in (whole[:-1], whole[:place] + b"0.4" + whole[place + 3 :], whole + b"\0"):
        kept.write_bytes(content)
        ran = isologit("never-top", square, "--resume", kept)
        assert ran.code == 40, ran.err
        assert kept.read_bytes() == content


def test_an_interrupt_leaves_what_was_decided(tmp_path: Path) -> None:
    # Tokens in many dimensions: the programs take longer than the test.
    random = np.random.default_rng(0)
    values = random.normal(size=(3000, 60)) * random.uniform(0.1, 1, (3000, 1))
    model, kept = write_llama(tmp_path / "model", values), tmp_path / "kept"
    process = start("never-top", model, "--resume", kept, "-v", "--time-limit", "inf")
    assert process.stderr is not None
    seen = b""
    while b"each whitened row:" not in seen and (line := process.stderr.readline()):
        seen += line
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    ran = finished(process)
    # One that comes while a library is being imported can end the interpreter by the signal.
    assert ran.code in (130, -signal.SIGINT)
    assert ran.err.strip().endswith("interrupted")
    after = isologit("never-top", model, "--resume", kept, "--time-limit", "0", "--json").json
    assert after["n_won"] > 100
    assert after["n_undecided"] > 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_witnesses_are_written_once(tmp_path: Path, square: Path) -> None:
    target = tmp_path / "witnesses.safetensors"
    ran = isologit("never-top", square, "--witnesses", target)
    assert ran.code == 0
    assert str(target) in ran.err
    tensors = load_file(target)
    assert tensors["token_ids"].tolist() == [0, 1, 2, 3]
    logits = tensors["hidden_states"] @ SQUARE.T.astype(np.float32)
    assert np.array_equal(np.delete(logits, 5, axis=1).argmax(axis=1), [0, 1, 2, 3])
    assert isologit("never-top", square, "--witnesses", target).code == 22
    assert isologit("never-top", square, "--witnesses", target, "--force").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tokens", "5-"),
        ("--time-limit", "-1"),
        ("--time-limit", "nan"),
        ("--domain", "none"),
        ("--arithmetic", "torch:cpu"),
    ],
)
def test_bad_options_are_usage_errors(square: Path, arguments: tuple[str, ...]) -> None:
    assert isologit("never-top", square, *arguments).code in (2, 24)


def test_a_token_beyond_the_last_row_is_an_error(square: Path) -> None:
    ran = isologit("never-top", square, "--tokens", "7")
    assert ran.code == 13
    assert "--token" in ran.err


def test_an_estimate_is_said_where_no_bar_is_seen(
    square: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isologit.cli import never_top

    monkeypatch.setattr(never_top, "_LONG_SECONDS", 0.0)
    ran = isologit("never-top", square)
    assert "by a block that was timed" in ran.err
    assert "--time-limit 60 s" in ran.err
    assert isologit("never-top", square, "-q").err == ""


def test_a_place_that_cannot_be_written_is_told_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_matrix(tmp_path / "m", [[1.0, 0.0], [0.0, 1.0]])
    monkeypatch.setattr("isologit.never_top.answered", None)
    nowhere = tmp_path / "no" / "w.safetensors"
    for option in ("--witnesses", "--resume"):
        ran = isologit("never-top", model, option, nowhere)
        assert (ran.code, ran.out) == (23, "")
        assert "is no directory. Make it" in ran.err
    ran = isologit("never-top", model, "--witnesses", tmp_path / "w.npy")
    assert (ran.code, ran.out) == (2, "")
    assert "does not end in .safetensors" in ran.err


def test_rows_that_make_no_logits_are_said_to_make_none(tmp_path: Path) -> None:
    tensors = {"model.embed_tokens.weight": np.eye(4), "lm_head.weight": np.eye(4)[::-1].copy()}
    config = {"model_type": "llama", "tie_word_embeddings": False, "rms_norm_eps": 1e-5}
    model = write_tensors(tmp_path / "m", tensors, config=config)
    for command in ("never-top", "classes", "gap"):
        norm = ["--norm", "rms"] if command == "gap" else []
        ran = isologit(command, model, "--role", "input", *norm)
        assert ran.code == 0, ran.err
        assert "the model makes no logits with them" in ran.out
        assert "makes no logits" not in isologit(command, model, *norm).out
