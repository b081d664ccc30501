"""Servers that do not send what was asked for: refused at once, and nothing of it is kept."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hub import hub_server
from hub.hub_server import Answer, Hub
from hub.published import (
    FILE,
    NORM,
    W_BYTES,
    W,
    fetched,
    folder_of,
    kept,
    opened,
    true_bytes,
    wait_until,
)
from isologit.checkpoint.hub import transfer
from isologit.errors import HubTransferError

LIES: dict[str, tuple[Callable[[Answer], None], str]] = {
    "the whole file": (hub_server.ignores_the_range, "ignores ranges and sends the whole file"),
    "half, announced": (hub_server.sends_less, "announces [0-9]+ bytes; expected"),
    "half, in chunks": (hub_server.sends_less_unannounced, "the server sent [0-9,]+ bytes of"),
    "more, announced": (hub_server.announces_more, "announces [0-9]+ bytes; expected"),
    "more, in chunks": (hub_server.sends_more, "sent more than the [0-9,]+ bytes asked for"),
    "another range": (hub_server.shifts_the_range, "says that it sends bytes [0-9]+-"),
    "another beginning": (hub_server.begins_elsewhere, "says that it sends bytes [0-9]+-"),
    "a shorter range": (hub_server.shortens_the_range, "says that it sends bytes [0-9]+-"),
    "another total": (hub_server.says_another_total, "says that it sends bytes .*/9999999"),
    "no range": (hub_server.says_no_range, "says that it sends no range"),
    "compressed": (hub_server.compresses, "sent gzip where it was asked for plain bytes"),
    "a page": (hub_server.sends_a_page, "ignores ranges and sends the whole file"),
    "no content": (lambda answer: answer.send(204, b""), "answered with HTTP 204"),
    "beyond the end": (lambda answer: answer.send(416, b""), "answered with HTTP 416"),
    "nowhere": (lambda answer: answer.send(302, b""), "answered with HTTP 302"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 12 MB, of which W is 8."""
    return folder_of(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def commit(hub: Hub, folder: Path) -> str:
    """The model as org/name."""
    return hub.add("org/name", folder)


@pytest.mark.parametrize("lie", LIES)
def test_a_tensor_that_is_answered_with_a_lie_is_refused(
    hub: Hub, folder: Path, commit: str, lie: str
) -> None:
    does, says = LIES[lie]
    hub.misbehave("cdn", does, after=1)
    with pytest.raises(HubTransferError, match=says) as refused:
        fetched(opened("org/name"))
    message = str(refused.value)
    assert f"hf://org/name@{commit}/{FILE}" in message
    assert "nothing of it was kept as good" in message
    assert message.isprintable()
    # At once: no connection asks again.
    assert hub.asked["cdn"] <= 1 + transfer.CONNECTIONS
    assert kept(hub, ".tensor") == kept(hub, ".part") == kept(hub, ".journal") == []
    hub.behave()
    model = opened("org/name")
    assert fetched(model) == true_bytes(folder, model)


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_is_answered_with_a_lie_is_refused(
    hub: Hub, folder: Path, commit: str, lie: str
) -> None:
    does, says = LIES[lie]
    hub.misbehave("cdn", does)
    with pytest.raises(HubTransferError, match=says):
        opened("org/name").container(FILE)
    assert hub.asked["cdn"] == 1
    assert kept(hub, ".header") == []


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_server_that_takes_to_lying_half_way_spoils_nothing(
    hub: Hub, folder: Path, commit: str, after: int
) -> None:
    hub.misbehave("cdn", hub_server.shifts_the_range, after=after)
    with pytest.raises(HubTransferError):
        fetched(opened("org/name"))
    assert kept(hub, ".tensor") == kept(hub, ".part") == []
    hub.behave()
    model = opened("org/name")
    assert fetched(model) == true_bytes(folder, model)


def test_one_lie_ends_the_fetch_while_other_connections_hang(
    hub: Hub, folder: Path, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 20)
    hub.misbehave("cdn", hub_server.hangs, after=1)
    hub.misbehave("cdn", hub_server.shifts_the_range, after=3, times=1)
    model = opened("org/name")
    begun = time.monotonic()
    with pytest.raises(HubTransferError, match="says that it sends"):
        fetched(model)
    assert time.monotonic() - begun < 2
    assert kept(hub, ".tensor") == kept(hub, ".part") == []


def test_a_whole_file_is_not_downloaded_before_it_is_refused(hub: Hub, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    header = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % ((96 << 20,) * 2)
    with (big / FILE).open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (96 << 20))
    hub.add("org/big", big)
    hub.misbehave("cdn", hub_server.ignores_the_range, after=1)
    container = opened("org/big").container(FILE)
    with pytest.raises(HubTransferError, match="ignores ranges"):
        container.read(container.tensors["a"])
    # What lay in the system's buffers, of six connections: not 6 × 96 MB.
    assert hub.sent_as("cdn") < 64 << 20
    # The connections are closed: nobody goes on sending.
    wait_until(lambda: all(seen.is_over for seen in hub.of("cdn")), seconds=3)


def test_an_etag_that_changes_half_way_is_refused(hub: Hub, folder: Path, commit: str) -> None:
    def changes(answer: Answer) -> None:
        assert answer.file is not None
        hub.etags[answer.file.content] = "another"
        answer.properly()

    hub.misbehave("cdn", changes, after=3, times=1)
    with pytest.raises(HubTransferError, match=r'ETag was "[0-9a-f]{64}" and became "another"'):
        fetched(opened("org/name"))
    assert kept(hub, ".tensor") == kept(hub, ".part") == []
    # From now on it is that one.
    model = opened("org/name")
    assert fetched(model) == true_bytes(folder, model)


def test_an_etag_that_differs_from_the_header_s_is_refused(
    hub: Hub, folder: Path, commit: str
) -> None:
    container = opened("org/name").container(FILE)
    (content,) = (f.content for f in hub.files_of("org/name", commit).values() if f.is_large)
    hub.etags[content] = "another"
    with pytest.raises(HubTransferError, match="has changed on the server"):
        container.read(container.tensors[NORM])
    assert kept(hub, ".tensor") == []


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"X_Repo_Commit": "b" * 40}, f"commit {'b' * 40}"),
        ({"X_Repo_Commit": ""}, "commit None"),
        ({"X_Linked_Size": "7"}, "7 bytes, and 12,"),
        ({"X_Linked_Etag": f'"{"e" * 64}"'}, "content eee"),
    ],
    ids=["another commit", "no commit", "another size", "another hash"],
)
def test_a_hub_that_speaks_of_another_file_is_refused(
    hub: Hub, folder: Path, commit: str, headers: dict[str, str], says: str
) -> None:
    size = str((folder / FILE).stat().st_size)
    said = {"X_Repo_Commit": commit, "X_Linked_Size": size, "X_Linked_Etag": '"x"', **headers}

    def speaks(answer: Answer) -> None:
        answer.send(302, b"", Location=hub.cdn, **said)

    hub.misbehave("resolve", speaks)
    with pytest.raises(HubTransferError, match=says):
        opened("org/name").container(FILE)
    assert hub.asked["cdn"] == 0


def test_an_address_that_nobody_answers_at_is_an_error_in_one_line(
    hub: Hub, folder: Path, commit: str
) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        where = f"http://127.0.0.1:{unused.getsockname()[1]}"
    size = str((folder / FILE).stat().st_size)

    def points(answer: Answer) -> None:
        answer.send(302, b"", Location=where, X_Repo_Commit=commit, X_Linked_Size=size)

    hub.misbehave("resolve", points)
    with pytest.raises(Exception, match="cannot be reached") as refused:
        opened("org/name").container(FILE)
    assert type(refused.value).__name__ == "HubOfflineError"
    assert str(refused.value).isprintable()


def test_a_tensor_that_the_file_cannot_hold_is_not_asked_for(
    hub: Hub, folder: Path, commit: str
) -> None:
    container = opened("org/name").container(FILE)
    info = container.tensors[W]
    assert info.length == W_BYTES
    assert info.offset + info.length <= (folder / FILE).stat().st_size
