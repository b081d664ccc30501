"""A census of a hub's models: asked once, in turns, with patience, and little is kept."""

import re
import shutil
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from census.many_models import begin, finished, rows, write_models
from checkpoints import gaussian, write_llama
from hub.hub_server import Hub, running, says
from isologit.demo import checkpoint_path

N = 6


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with six models, each with a tokenizer; the i-th has i rows that repeat another."""
    with running() as hub:
        hub.home = tmp_path / "home"
        for n, each in enumerate(write_models(tmp_path / "models", N)):
            shutil.copy(checkpoint_path() / "tokenizer.json", each.path)
            (each.path / "number.txt").write_text(str(n))
            hub.add(f"org/model-{n}", each.path)
        (tmp_path / "list").write_text("".join(f"org/model-{n}\n" for n in range(N)))
        (tmp_path / "tmp").mkdir()
        yield hub


def census(tmp_path: Path, hub: Hub, *options: str, **environment: str) -> tuple[int, str, str]:
    arguments: list[str | Path] = [tmp_path / "list", "-o", tmp_path / "out", *options]
    surroundings = {"TMPDIR": str(tmp_path / "tmp"), **hub.environment(), **environment}
    return finished(begin(*arguments, **surroundings))


def models_asked(hub: Hub) -> list[str]:
    """Return the models that requests were for, in their order."""
    found = [re.search(r"org/(model-\d)", each.path) for each in hub.seen]
    return [each[1] for each in found if each is not None]


def test_each_is_asked_once(tmp_path: Path, hub: Hub) -> None:
    code, _, err = census(tmp_path, hub, "--workers", "2")
    assert code == 0, err
    found = {row["model"]: row for row in rows(tmp_path / "out")}
    assert set(found) == {f"hf://org/model-{n}" for n in range(N)}
    for n in range(N):
        row = found[f"hf://org/model-{n}"]
        assert (row["redundant_rows"], row["source"]) == (n, "hub")
        assert re.fullmatch("[0-9a-f]{40}", row["commit"])
        assert row["in_tokenizer"] == 4080
    hub.forget()
    code, out, err = census(tmp_path, hub, "--workers", "2")
    assert (code, "\n0 done by this run" in out, hub.seen) == (0, True, []), err


def test_to_refresh_asks_which_commit_it_is_and_does_what_is_new(tmp_path: Path, hub: Hub) -> None:
    census(tmp_path, hub, "--workers", "1")
    values = gaussian(40, 8, seed=99)
    values[1:12] = values[0]
    hub.add("org/model-3", write_llama(tmp_path / "new", values))
    hub.forget()
    code, out, err = census(tmp_path, hub, "--workers", "1", "--refresh")
    assert (code, "\n1 done by this run" in out) == (0, True), err
    assert {row["redundant_rows"] for row in rows(tmp_path / "out") if "-3" in row["model"]} == {
        3,
        11,
    }
    # Of the others nothing but the commit, and what its headers say, which is kept.
    assert len(hub.of("cdn")) <= 3


def test_models_are_fetched_in_turns(tmp_path: Path, hub: Hub) -> None:
    hub.bytes_a_second = 2_000_000
    code, _, err = census(tmp_path, hub, "--workers", "3", "--downloads", "1")
    assert code == 0, err
    asked = [model for model, _ in groupby(models_asked(hub))]
    # One is fetched before the next one is asked for.
    assert sorted(asked) == [f"model-{n}" for n in range(N)]


def test_little_is_kept(tmp_path: Path, hub: Hub) -> None:
    code, _, err = census(tmp_path, hub, "--workers", "1", ISOLOGIT_CACHE_BYTES="3kB")
    assert code == 0, err
    kept = [path for path in hub.home.rglob("*") if path.is_file()]
    tensors = sum(path.stat().st_size for path in kept if path.suffix in (".tensor", ".part"))
    # The last model's, at most.
    assert tensors <= 3000 + 2 * 40 * 8
    # No tokenizer stays: a thousand of them fill a disk.
    assert [path for path in kept if path.stat().st_size > 50_000] == []
    assert list((tmp_path / "tmp").glob("isologit-*")) == []


def test_a_hub_that_asks_to_wait_is_waited_for_by_all(tmp_path: Path, hub: Hub) -> None:
    times: list[float] = []

    def asks_to_wait(answer: Any) -> None:
        times.append(time.monotonic())
        says(429, Retry_After="3")(answer)

    hub.misbehave("listing", asks_to_wait, after=1, times=1)
    noted: list[float] = []
    real = hub.fault_for

    def noting(seen: Any) -> Any:
        noted.append(time.monotonic())
        return real(seen)

    hub.fault_for = noting  # type: ignore[method-assign]
    code, _, err = census(tmp_path, hub, "--workers", "2")
    assert code == 0, err
    (refused,) = times
    # What was under way may end; nothing else is asked before the three seconds are over.
    early = [each - refused for each in noted if refused + 0.7 < each < refused + 2.5]
    assert early == []
    assert max(noted) > refused + 2.5


def test_what_a_hub_refuses_is_a_row(tmp_path: Path, hub: Hub) -> None:
    hub.misbehave("listing", says(404, "RepoNotFound"), when=lambda seen: "model-2" in seen.path)
    code, _, err = census(tmp_path, hub, "--workers", "1")
    assert code == 47, err
    (row,) = (row for row in rows(tmp_path / "out") if row["status"] == "failed")
    assert row["model"] == "hf://org/model-2"
    assert row["error_class"] in ("HubModelNotFoundError", "HubAccessError")
    hub.behave()
    code, out, err = census(tmp_path, hub, "--workers", "1", "--retry-failed")
    assert (code, "\n1 done by this run" in out) == (0, True), err
