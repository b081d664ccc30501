"""What the processes of one machine share in asking a hub: turns, and waits that it asked for."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from isologit.checkpoint.hub import patience, sharing
from isologit.checkpoint.hub.cache import cache_folder
from isologit.checkpoint.hub.failures import Failure
from isologit.checkpoint.hub.patience import Patience
from isologit.checkpoint.hub.sharing import note_hold, seconds_held, turn
from isologit.errors import HubRateLimitError, OutputWriteError

HUB = "http://127.0.0.1:1234"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(patience, "_together", None)
    return tmp_path


def test_no_more_than_so_many_have_a_turn() -> None:
    having, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal having, most
        for _ in range(5):
            with turn(HUB, 2):
                with lock:
                    having += 1
                    most = max(most, having)
                time.sleep(0.002)
                with lock:
                    having -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 2


def test_each_hub_has_its_own_turns() -> None:
    with turn(HUB, 1), turn("https://elsewhere.example/mirror", 1):
        pass


HOLD = """
import sys, time
from isologit.checkpoint.hub.sharing import turn
with turn(sys.argv[1], 1):
    print("here", flush=True)
    time.sleep(60)
"""


def test_a_turn_of_a_process_that_was_killed_is_free() -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, HUB], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    got = threading.Event()

    def want() -> None:
        with turn(HUB, 1):
            got.set()

    waiting = threading.Thread(target=want)
    waiting.start()
    assert not got.wait(0.3)
    process.kill()
    process.wait()
    assert got.wait(10)
    waiting.join()
    process.stdout.close()


def test_where_there_is_no_room_for_turns_that_is_said(home: Path) -> None:
    (home / "isologit").write_text("in the way")
    with pytest.raises(OutputWriteError, match="set XDG_CACHE_HOME"), turn(HUB, 1):
        pass


def test_a_wait_is_heeded_until_it_is_over() -> None:
    assert seconds_held(HUB) == 0
    note_hold(HUB, 0.3)
    assert 0 < seconds_held(HUB) <= 0.3
    # The later end of two counts.
    note_hold(HUB, 0.1)
    assert seconds_held(HUB) > 0.1
    assert seconds_held("http://another") == 0
    time.sleep(0.35)
    assert seconds_held(HUB) == 0


@pytest.mark.parametrize("until", [1e18, "soon", None, float("nan")])
def test_a_wait_that_makes_no_sense_is_none(until: object) -> None:
    path = sharing._path(HUB, ".json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"until": until}))
    assert seconds_held(HUB) == 0
    path.write_text("{")
    assert seconds_held(HUB) == 0


def test_one_is_told_to_wait_and_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    patience.share_waits(3600)
    refused = Failure(HubRateLimitError("later"), wait=0.6)
    stop = threading.Event()
    told = threading.Thread(target=Patience(HUB).after, args=(refused, 1, stop))
    told.start()
    time.sleep(0.2)
    began = time.monotonic()
    Patience(HUB).wait(stop)
    assert 0.2 < time.monotonic() - began < 2
    told.join()
    # Long waits are granted, where nobody watches.
    assert Patience(HUB)._grant(3000)
    assert not Patience(HUB)._grant(3700)


def test_a_run_by_itself_shares_nothing(home: Path) -> None:
    note_hold(HUB, 30)
    began = time.monotonic()
    Patience(HUB).wait(threading.Event())
    assert time.monotonic() - began < 1
    assert not Patience(HUB)._grant(61)
    assert Patience("http://other")._grant(0.01)
    assert seconds_held("http://other") == 0
    assert cache_folder().parent == home / "isologit"
