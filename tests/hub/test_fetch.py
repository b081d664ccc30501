"""Fetching one tensor: its bytes and no others, several connections, and on from where it broke."""

import hashlib
import json
import os
import time
from itertools import pairwise
from pathlib import Path
from threading import current_thread, main_thread

import numpy as np
import pytest
from safetensors.numpy import save_file

from hub.hub_server import Answer, Hub, cuts
from hub.published import (
    FILE,
    NORM,
    OTHER,
    W_BYTES,
    W,
    fetched,
    folder_of,
    forget_everything,
    kept,
    opened,
    true_bytes,
)
from isologit.checkpoint.hub import transfer
from isologit.checkpoint.hub.part import RUN_BYTES
from isologit.checkpoint.hub.progress import Fetch
from isologit.errors import ChangedFileError, HubTransferError

MEGABYTE = 1_000_000
# What each connection may lose of what it had begun: less than a run of the journal.
LOST = transfer.CONNECTIONS * RUN_BYTES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 12 MB, of which W is 8."""
    return folder_of(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def commit(hub: Hub, folder: Path) -> str:
    """The model as org/name."""
    return hub.add("org/name", folder)


def total_of(folder: Path) -> int:
    return (folder / FILE).stat().st_size


def test_a_tensor_costs_its_bytes_and_less_than_a_megabyte(
    hub: Hub, folder: Path, commit: str
) -> None:
    model = opened("org/name")
    model.path("config.json")
    container = model.container(FILE)
    w, norm = container.tensors[W], container.tensors[NORM]
    assert (container.missing(w), container.missing(norm)) == (W_BYTES, 1024)
    assert bytes(container.read(w)) == true_bytes(folder, model)
    assert bytes(container.read(norm)) == true_bytes(folder, model, NORM)
    assert (container.missing(w), container.missing(norm)) == (0, 0)
    assert W_BYTES + 1024 <= hub.sent <= W_BYTES + 1024 + MEGABYTE
    # Beyond the tensors: 64 KiB for the header, and no byte more of the file.
    assert hub.sent_as("cdn") == W_BYTES + 1024 + (64 << 10)
    assert hub.sent < total_of(folder)
    assert {seen.headers["accept-encoding"] for seen in hub.of("cdn")} == {"identity"}
    hub.forget()
    assert bytes(container.read(w)) == true_bytes(folder, model)
    assert hub.seen == []


def test_a_large_tensor_comes_over_several_connections_in_pieces_that_tile_it(
    hub: Hub, folder: Path, commit: str
) -> None:
    container = opened("org/name").container(FILE)
    w = container.tensors[W]
    hub.forget()
    container.read(w)
    ranges = sorted(seen.range or (0, 0) for seen in hub.of("cdn"))
    assert len(ranges) == transfer.CONNECTIONS
    assert ranges[0][0] == w.offset
    assert ranges[-1][1] == w.offset + w.length
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    # The address was asked for once, with the header.
    assert hub.asked["resolve"] == 0


def test_a_second_run_fetches_nothing(hub: Hub, folder: Path, commit: str) -> None:
    content = fetched(opened("org/name"))
    hub.forget()
    told: list[Fetch] = []
    again = opened("org/name", told.append)
    assert fetched(again) == content
    assert hub.asked["cdn"] == hub.asked["resolve"] == 0
    assert told == []


def test_shards_of_a_real_model_are_fetched_as_they_are(hub: Hub, shared: Path) -> None:
    folder = shared / "checkpoints" / "llama2xs-hf-bf16-untied-sharded"
    hub.add("org/llama", folder)
    model = opened("org/llama")
    index = model.path("model.safetensors.index.json")
    assert index.read_bytes() == (folder / index.name).read_bytes()
    weight_map = json.loads(index.read_bytes())["weight_map"]
    size = 0
    for tensor in ("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"):
        shard = weight_map[tensor]
        content = fetched(model, tensor, shard)
        assert content == true_bytes(folder, model, tensor, shard)
        size += len(content)
    assert len(set(weight_map.values())) == 2
    assert hub.sent <= size + MEGABYTE


def test_a_digest_is_that_of_the_stored_bytes(hub: Hub, folder: Path, commit: str) -> None:
    model = opened("org/name")
    container = model.container(FILE)
    expected = hashlib.sha256(true_bytes(folder, model)).hexdigest()
    assert container.digest(container.tensors[W]).result(timeout=20) == expected


def test_a_tensor_that_somebody_writes_to_is_noticed(hub: Hub, folder: Path, commit: str) -> None:
    container = opened("org/name").container(FILE)
    container.require_unchanged()
    container.read(container.tensors[NORM])
    container.require_unchanged()
    # What a second run does, to note that it was used, is no change.
    fetched(opened("org/name"), NORM)
    container.require_unchanged()
    (path,) = kept(hub, ".tensor")
    path.write_bytes(bytes(1024))
    with pytest.raises(ChangedFileError):
        container.require_unchanged()


def test_a_tensor_without_bytes_costs_none(hub: Hub, tmp_path: Path) -> None:
    save_file({"a": np.empty((0, 4), np.float32)}, tmp_path / FILE)
    hub.add("org/empty", tmp_path)
    container = opened("org/empty").container(FILE)
    hub.forget()
    info = container.tensors["a"]
    assert container.missing(info) == 0
    assert bytes(container.read(info)) == b""
    assert container.digest(info).result(timeout=20) == hashlib.sha256(b"").hexdigest()
    assert hub.seen == []


def test_a_file_that_the_hub_gives_out_itself_is_fetched_by_ranges_too(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.holdings._LARGE", ())
    hub.add("org/small", folder)
    model = opened("org/small")
    assert fetched(model) == true_bytes(folder, model)
    assert hub.asked["cdn"] == 0
    assert hub.sent_as("resolve") == W_BYTES + (64 << 10)


def test_an_address_is_followed_where_it_leads(hub: Hub, folder: Path, commit: str) -> None:
    # Mirrors send on what they do not have.
    def sends_on(answer: Answer) -> None:
        where = answer.path.replace("/org/", "/elsewhere/org/")
        answer.send(302, b"", Location=f"{hub.cdn}{where}")

    hub.misbehave("cdn", sends_on, when=lambda seen: "elsewhere" not in seen.path)
    model = opened("org/name")
    assert fetched(model) == true_bytes(folder, model)


class TestProgress:
    """Whoever waits is told how far things are, by the thread that asked."""

    def test_it_begins_and_ends_and_grows(self, hub: Hub, folder: Path, commit: str) -> None:
        hub.bytes_a_second = 2_000_000  # of each connection
        told: list[tuple[float, Fetch]] = []
        threads = set()

        def arrived(fetch: Fetch) -> None:
            told.append((time.monotonic(), fetch))
            threads.add(current_thread())

        fetched(opened("org/name", arrived))
        here = [fetch.here for _, fetch in told]
        assert here[0] == 0
        assert here[-1] == W_BYTES
        assert here == sorted(here)
        assert len(set(here)) > 3
        assert {(fetch.name, fetch.total) for _, fetch in told} == {(W, W_BYTES)}
        assert threads == {main_thread()}
        seconds = told[-1][0] - told[0][0]
        assert len(told) <= seconds * 10 + transfer.CONNECTIONS + 4

    def test_what_an_earlier_run_had_counts(self, hub: Hub, folder: Path, commit: str) -> None:
        hub.misbehave("cdn", cuts, after=3)
        with pytest.raises(HubTransferError):
            fetched(opened("org/name"))
        hub.behave()
        told: list[Fetch] = []
        model = opened("org/name", told.append)
        container = model.container(FILE)
        missing = container.missing(container.tensors[W])
        assert 0 < missing < W_BYTES
        fetched(model)
        assert told[0] == Fetch(W, W_BYTES - missing, W_BYTES)
        assert told[-1] == Fetch(W, W_BYTES, W_BYTES)

    def test_an_error_of_whoever_is_told_ends_the_fetch(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        hub.bytes_a_second = 500_000

        def arrived(fetch: Fetch) -> None:
            if fetch.here:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fetched(opened("org/name", arrived))
        hub.bytes_a_second = None
        model = opened("org/name")
        assert fetched(model) == true_bytes(folder, model)


class TestExpiry:
    """Addresses are signed and good for a while; the hub gives new ones."""

    def test_one_that_expires_half_way_is_asked_for_anew(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        def expires(answer: Answer) -> None:
            hub.expire()
            answer.properly()

        hub.misbehave("cdn", expires, after=4, times=1)
        model = opened("org/name")
        assert fetched(model) == true_bytes(folder, model)
        # All connections share the new one.
        assert hub.asked["resolve"] == 2
        assert sum(seen.status == 403 for seen in hub.of("cdn")) >= 1
        good = sum(seen.sent for seen in hub.of("cdn") if seen.status == 206)
        assert good == W_BYTES + (64 << 10)

    def test_one_that_expired_since_the_header_was_read_is_too(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        container = opened("org/name").container(FILE)
        hub.expire()
        assert len(container.read(container.tensors[NORM])) == 1024
        assert hub.asked["resolve"] == 2

    def test_an_address_that_is_never_good_is_given_up(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        container = opened("org/name").container(FILE)
        hub.misbehave("cdn", lambda answer: answer.send(403, b"no"))
        hub.forget()
        with pytest.raises(HubTransferError, match=r"refuses them with HTTP 403.*4 new") as refused:
            container.read(container.tensors[W])
        assert hub.asked["resolve"] <= 5
        assert hub.asked["cdn"] <= 6 * transfer.CONNECTIONS
        assert "Signature" not in str(refused.value)

    def test_a_file_that_was_withdrawn_meanwhile_is_said_to_be(
        self, hub: Hub, folder: Path, commit: str
    ) -> None:
        container = opened("org/name").container(FILE)
        hub.expire()
        hub.misbehave("resolve", lambda answer: answer.refuse(404, "EntryNotFound"))
        with pytest.raises(Exception, match=f"{FILE} is not there") as refused:
            container.read(container.tensors[W])
        assert type(refused.value).__name__ == "HubModelNotFoundError"


def test_the_third_tensor_is_never_asked_for(hub: Hub, folder: Path, commit: str) -> None:
    container = opened("org/name").container(FILE)
    for name in (W, NORM):
        container.read(container.tensors[name])
    other = container.tensors[OTHER]
    for seen in hub.of("cdn"):
        start, stop = seen.range or (0, 0)
        if start >= 64 << 10:
            assert stop <= other.offset or start >= other.offset + other.length


def test_a_fetch_begins_anew_when_the_caches_are_gone(hub: Hub, folder: Path, commit: str) -> None:
    content = fetched(opened("org/name"))
    forget_everything(hub)
    assert os.listdir(hub.home.parent) is not None  # noqa: PTH208
    assert fetched(opened("org/name")) == content
    assert hub.sent_as("cdn") == W_BYTES + (64 << 10)
