"""Fetches that break off: what has arrived stays, whoever stopped it, and is gone on from."""

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.hub_server import Hub, cuts, hangs
from hub.published import FILE, W_BYTES, W, fetched, folder_of, kept, opened, true_bytes, wait_until
from isologit.checkpoint.hub import transfer
from isologit.checkpoint.hub.part import RUN_BYTES, journaled_bytes
from isologit.checkpoint.hub.progress import Fetch
from isologit.errors import HubTransferError

MEGABYTE = 1_000_000
# What each connection may lose of what it had begun: less than a run of the journal.
LOST = transfer.CONNECTIONS * RUN_BYTES

FETCH = """
import hashlib, sys
from isologit.checkpoint.hub.model import open_hub
from isologit.checkpoint.hub.spec import parse_hub_spec
container = open_hub(parse_hub_spec("org/name")).container(sys.argv[1])
print(hashlib.sha256(container.read(container.tensors[sys.argv[2]])).hexdigest())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 12 MB, of which W is 8."""
    return folder_of(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def commit(hub: Hub, folder: Path) -> str:
    """The model as org/name."""
    return hub.add("org/name", folder)


Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def start(hub: Hub) -> Iterator[Start]:
    """Return a function that starts a process that fetches W and prints its digest."""
    started: list[subprocess.Popen[str]] = []

    def start_fetch() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", FETCH, FILE, W],
            env=hub.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process

    yield start_fetch
    for process in started:
        process.kill()
        with process:
            process.communicate()


def hub_is_quiet(hub: Hub) -> bool:
    """Whether nothing is being sent."""
    before = hub.sent
    time.sleep(0.2)
    return hub.sent == before


class TestResuming:
    """What has arrived is not fetched again."""

    def test_a_cut_connection_goes_on_where_it_broke(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        hub.misbehave("cdn", cuts, after=1, times=8)
        model = opened("org/name")
        assert fetched(model) == true_bytes(folder, model)
        # Not a byte twice.
        assert hub.sent_as("cdn") == W_BYTES + (64 << 10)

    def test_a_second_run_goes_on_where_the_first_broke(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        hub.misbehave("cdn", cuts, after=3)
        with pytest.raises(HubTransferError, match="broke off"):
            fetched(opened("org/name"))
        assert kept(hub, ".tensor") == []
        first = hub.sent_as("cdn")
        hub.behave()
        hub.forget()
        model = opened("org/name")
        assert fetched(model) == true_bytes(folder, model)
        second = hub.sent_as("cdn")
        assert second < W_BYTES
        assert first + second <= W_BYTES + (64 << 10) + LOST
        assert kept(hub, ".part") == kept(hub, ".journal") == []

    def test_a_process_that_was_killed_is_gone_on_from(
        self, hub: Hub, folder: Path, commit: str, start: Start
    ) -> None:
        hub.bytes_a_second = 1_500_000
        process = start()
        wait_until(lambda: any(journaled_bytes(path) > 0 for path in kept(hub, ".part")))
        process.kill()
        process.wait(10)
        hub.bytes_a_second = None
        wait_until(lambda: hub_is_quiet(hub))
        first = hub.sent_as("cdn")
        hub.forget()
        model = opened("org/name")
        assert fetched(model) == true_bytes(folder, model)
        second = hub.sent_as("cdn")
        assert second < W_BYTES
        assert first + second <= W_BYTES + (64 << 10) + LOST + 6 * MEGABYTE  # in flight

    @pytest.mark.parametrize("damage", ["zeros", "shorter", "other sum", "nonsense", "no journal"])
    def test_what_a_crash_has_damaged_is_fetched_again(
        self, hub: Hub, folder: Path, commit: str, damage: str
    ) -> None:
        hub.misbehave("cdn", cuts, after=3)
        with pytest.raises(HubTransferError):
            fetched(opened("org/name"))
        hub.behave()
        (part,), (journal,) = kept(hub, ".part"), kept(hub, ".journal")
        assert journaled_bytes(part) > 0
        match damage:
            case "zeros":
                part.write_bytes(bytes(part.stat().st_size))
            case "shorter":
                part.write_bytes(b"")
            case "other sum":
                journal.write_bytes(journal.read_bytes() + b"0 8388608 00000000\n0 83886")
            case "nonsense":
                journal.write_bytes(b"\xff\xfe\n-1 7 00000000\n9 3 00000000\n0 99999999 00000000\n")
            case "no journal":
                journal.unlink()
        model = opened("org/name")
        assert fetched(model) == true_bytes(folder, model)

    def test_what_is_of_another_version_is_fetched_again(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        hub.misbehave("cdn", cuts, after=3)
        with pytest.raises(HubTransferError):
            fetched(opened("org/name"))
        hub.behave()
        (journal,) = kept(hub, ".journal")
        journal.write_text(journal.read_text().replace("etag ", "etag of-another-"))
        hub.forget()
        model = opened("org/name")
        assert fetched(model) == true_bytes(folder, model)
        assert hub.sent_as("cdn") >= W_BYTES


class TestInterrupt:
    """Ctrl-C stops at once, and loses next to nothing."""

    def test_the_connections_stop_and_what_arrived_stays(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        hub.bytes_a_second = 400_000  # of each connection: what is left takes seconds
        pressed = 0.0

        def arrived(fetch: Fetch) -> None:
            nonlocal pressed
            if fetch.here > 2 * MEGABYTE and not pressed:
                pressed = time.monotonic()
                signal.raise_signal(signal.SIGINT)

        model = opened("org/name", arrived)
        with pytest.raises(KeyboardInterrupt):
            fetched(model)
        assert time.monotonic() - pressed < 1.5
        wait_until(lambda: all(seen.is_over for seen in hub.of("cdn")), seconds=1)
        hub.bytes_a_second = None
        container = opened("org/name").container(FILE)
        missing = container.missing(container.tensors[W])
        assert missing <= W_BYTES - 2 * MEGABYTE
        hub.forget()
        assert fetched(opened("org/name")) == true_bytes(folder, model)
        assert hub.sent_as("cdn") == missing

    def test_a_server_that_hangs_does_not_hold_it_up(
        self, hub: Hub, folder: Path, commit: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 20)
        hub.misbehave("cdn", hangs, after=1)
        pressed = 0.0

        def arrived(fetch: Fetch) -> None:
            nonlocal pressed
            if fetch.here >= 600_000 and not pressed:
                pressed = time.monotonic()
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            fetched(opened("org/name", arrived))
        assert time.monotonic() - pressed < 2
        container = opened("org/name").container(FILE)
        assert container.missing(container.tensors[W]) <= W_BYTES - 600_000

    def test_a_process_ends_with_it_promptly(
        self, hub: Hub, folder: Path, commit: str, start: Start
    ) -> None:
        hub.misbehave("cdn", hangs, after=1)
        process = start()
        wait_until(lambda: hub.sent_as("cdn") > 400_000)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(10)
        assert time.monotonic() - begun < 2
        assert process.returncode != 0


class TestTwoAtOnce:
    """Processes that want the same tensor do not spoil it, and do not fetch it twice."""

    def test_the_second_waits_for_the_first(
        self, hub: Hub, folder: Path, commit: str, start: Start
    ) -> None:
        hub.bytes_a_second = 2_000_000
        processes = [start() for _ in range(2)]
        expected = hashlib.sha256(true_bytes(folder, opened("org/name"))).hexdigest()
        outputs = [process.communicate(timeout=30)[0].strip() for process in processes]
        assert outputs == [expected] * 2
        assert hub.sent_as("cdn") <= W_BYTES + 3 * (64 << 10)
        assert kept(hub, ".part") == []
        assert len(kept(hub, ".tensor")) == 1

    def test_when_the_first_dies_the_second_goes_on(
        self, hub: Hub, folder: Path, commit: str, start: Start
    ) -> None:
        hub.bytes_a_second = 1_500_000
        first = start()
        wait_until(lambda: any(journaled_bytes(path) > 0 for path in kept(hub, ".part")))
        second = start()
        time.sleep(0.5)
        first.kill()
        first.wait(10)
        expected = hashlib.sha256(true_bytes(folder, opened("org/name"))).hexdigest()
        assert second.communicate(timeout=30)[0].strip() == expected

    def test_one_that_makes_no_headway_is_not_waited_for(
        self, hub: Hub, folder: Path, commit: str, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("isologit.checkpoint.hub.store.STALLED_SECONDS", 0.8)
        hub.misbehave("cdn", lambda answer: time.sleep(8), after=1, times=transfer.CONNECTIONS)
        stuck = start()
        wait_until(lambda: hub.asked["cdn"] >= 2)
        told: list[Fetch] = []
        model = opened("org/name", told.append)
        begun = time.monotonic()
        assert fetched(model) == true_bytes(folder, model)
        assert 0.8 < time.monotonic() - begun < 5
        # Also while it waited.
        assert sum(fetch.here == 0 for fetch in told) > 5
        stuck.kill()
        stuck.wait(10)
        assert len(kept(hub, ".tensor")) == 1
        assert len(kept(hub, ".part")) <= 1  # the dead one's
