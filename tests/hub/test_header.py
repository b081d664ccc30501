"""The first bytes of a file on the hub: fetched as far as they are needed, and once."""

import hashlib
import logging
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub.utils.tqdm import are_progress_bars_disabled

from hub.hub_server import Hub, cuts, says
from hub.published import FILE, NORM, OTHER, W, folder_of, kept, opened, true_bytes
from isologit.errors import MalformedHeaderError, TruncatedFileError


@pytest.fixture
def folder(tmp_path: Path, hub: Hub) -> Path:
    """A small model, published as org/name."""
    folder = folder_of(tmp_path / "small", rows=64)
    hub.add("org/name", folder)
    return folder


class TestHeader:
    """The first bytes of a file: fetched as far as they are needed, and once."""

    def test_a_small_header_costs_one_request_of_64_kib(self, hub: Hub, folder: Path) -> None:
        opened("org/name").container(FILE)
        (request,) = hub.of("cdn")
        assert request.sent == 64 << 10
        assert hub.asked["resolve"] == 1

    @pytest.mark.parametrize("length", [70_000, 100_000, 300_000])
    def test_a_long_header_costs_its_size_and_at_most_64_kib(
        self, hub: Hub, folder: Path, length: int
    ) -> None:
        tensor = b'"a":{"dtype":"U8","shape":[999999],"data_offsets":[0,999999]}'
        raw = b'{"__metadata__":{"x":"' + b"y" * length + b'"},' + tensor + b"}"
        (folder / FILE).write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(999_999))
        hub.add("org/name", folder)
        assert list(opened("org/name").container(FILE).tensors) == ["a"]
        assert [seen.sent for seen in hub.of("cdn")] == [64 << 10, len(raw) + 8 - (64 << 10)]

    def test_one_that_is_cut_goes_on_where_it_broke(self, hub: Hub, folder: Path) -> None:
        noise = os.urandom(150_000).hex().encode()
        raw = b'{"__metadata__":{"x":"' + noise + b'"}}'
        (folder / FILE).write_bytes(len(raw).to_bytes(8, "little") + raw)
        hub.add("org/name", folder)
        hub.misbehave("cdn", cuts, times=3)
        source = opened("org/name").source(FILE)
        assert bytes(source.read(0, 8 + len(raw)))[8:] == raw
        assert hub.sent_as("cdn") == 8 + len(raw)

    def test_a_file_shorter_than_that_costs_its_size(self, hub: Hub, folder: Path) -> None:
        (folder / FILE).write_bytes((2).to_bytes(8, "little") + b"{}")
        hub.add("org/name", folder)
        opened("org/name").container(FILE)
        assert hub.sent_as("cdn") == 10

    def test_an_empty_file_costs_nothing(self, hub: Hub, folder: Path) -> None:
        (folder / FILE).write_bytes(b"")
        hub.add("org/name", folder)
        with pytest.raises(TruncatedFileError, match="has 0 bytes"):
            opened("org/name").container(FILE)
        assert hub.asked["cdn"] == 0

    def test_a_hostile_header_is_refused_by_the_name_of_its_file(
        self, hub: Hub, folder: Path
    ) -> None:
        (folder / FILE).write_bytes((9).to_bytes(8, "little") + b'{"a": 1}}')
        commit = hub.add("org/name", folder)
        with pytest.raises(MalformedHeaderError, match=f"hf://org/name@{commit}/{FILE}"):
            opened("org/name").container(FILE)
        huge = (99_999_999).to_bytes(8, "little") + b"{}"
        (folder / FILE).write_bytes(huge)
        hub.add("org/name", folder)
        with pytest.raises(TruncatedFileError, match="fetch it again"):
            opened("org/name").container(FILE)

    def test_a_second_run_asks_for_no_byte_of_it(self, hub: Hub, folder: Path) -> None:
        first = dict(opened("org/name").container(FILE).tensors)
        hub.forget()
        assert dict(opened("org/name").container(FILE).tensors) == first
        assert hub.asked["cdn"] == hub.asked["resolve"] == 0

    def test_one_that_was_damaged_in_the_cache_is_fetched_again(
        self, hub: Hub, folder: Path
    ) -> None:
        first = dict(opened("org/name").container(FILE).tensors)
        (header,) = kept(hub, ".header")
        sealed = bytearray(header.read_bytes())
        for damaged in (b"", bytes(sealed[:100]), bytes(sealed[:-1] + b"\0"), bytes(len(sealed))):
            header.write_bytes(damaged)
            hub.forget()
            assert dict(opened("org/name").container(FILE).tensors) == first
            assert hub.asked["cdn"] == 1

    def test_a_parser_that_steps_fetches_growing_pieces_and_little_in_vain(
        self, hub: Hub, folder: Path
    ) -> None:
        raw = os.urandom(5 << 20)
        (folder / "a.gguf").write_bytes(raw)
        hub.add("org/name", folder)
        model = opened("org/name")
        source = model.source("a.gguf")
        assert source.size == len(raw)
        needed = 3 << 20
        steps = [bytes(source.read(at, 24)) for at in range(0, needed, 24)]
        assert b"".join(steps)[:needed] == raw[:needed]
        assert hub.asked["cdn"] <= 10
        assert needed <= hub.sent_as("cdn") <= needed + (1 << 19)
        hub.forget()
        again = opened("org/name").source("a.gguf")
        assert bytes(again.read(0, needed)) == raw[:needed]
        assert hub.asked["cdn"] == hub.asked["resolve"] == 0

    def test_many_are_read_at_once_and_the_client_is_as_it_was_afterwards(
        self, hub: Hub, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        names = [f"model-{i:05}-of-00024.safetensors" for i in range(1, 25)]
        for name in names:
            shutil.copy(folder / FILE, folder / name)
        hub.add("org/name", folder)
        hub.misbehave("resolve", says(503), times=6)
        hub.warns = True
        logger = logging.getLogger("huggingface_hub")
        before = (logger.level, list(warnings.filters))
        model = opened("org/name")
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda name: set(model.container(name).tensors), names))
        assert found == [{W, NORM, OTHER}] * len(names)
        assert (logger.level, list(warnings.filters)) == before
        assert not are_progress_bars_disabled()
        assert caplog.records == []

    def test_a_range_far_off_is_fetched_exactly(self, hub: Hub, folder: Path) -> None:
        raw = os.urandom(5 << 20)
        (folder / "a.gguf").write_bytes(raw)
        hub.add("org/name", folder)
        source = opened("org/name").source("a.gguf")
        assert bytes(source.read(4 << 20, 1000)) == raw[4 << 20 :][:1000]
        assert hub.sent_as("cdn") == 1000
        with pytest.raises(TruncatedFileError, match="bytes 5,242,880 to 5,242,881 were asked"):
            source.read(5 << 20, 1)

    def test_tensors_of_a_header_that_was_read_elsewhere_are_fetched_alike(
        self, hub: Hub, folder: Path
    ) -> None:
        model = opened("org/name")
        tensors = model.container(FILE).tensors
        source = model.source(FILE)
        container = model.remote_tensors(source, tensors)
        assert container.name == source.name == tensors[W].file
        assert bytes(container.read(tensors[W])) == true_bytes(folder, model)
        expected = hashlib.sha256(true_bytes(folder, model)).hexdigest()
        assert container.digest(tensors[W]).result() == expected
