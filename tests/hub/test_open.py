"""Opening a model of the hub: the commit first, files where they lie, no request in vain."""

import os
import shutil
import time
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, snapshot_download

from hub.hub_server import Answer, Hub, sends_a_page
from hub.published import FILE, NORM, W, fetched, folder_of, kept, opened, true_bytes
from isologit.checkpoint.hub.remote import RemoteTensors
from isologit.checkpoint.hub.spec import looks_local, parse_hub_spec
from isologit.checkpoint.tensors import MappedTensors
from isologit.errors import (
    HubModelNotFoundError,
    HubOfflineError,
    HubTransferError,
)


@pytest.fixture
def folder(tmp_path: Path, hub: Hub) -> Path:
    """A small model, published as org/name."""
    folder = folder_of(tmp_path / "small", rows=64)
    hub.add("org/name", folder)
    return folder


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_branch_is_resolved_to_its_commit_in_one_request(hub: Hub, folder: Path) -> None:
    commit = hub.add("org/name", folder, "main", "refs/pr/1", "feature/x")
    for revision in (None, "main", "refs/pr/1", "feature/x", commit):
        hub.forget()
        model = opened("org/name" if revision is None else f"org/name@{revision}")
        assert (model.repo_id, model.revision, model.commit) == ("org/name", revision, commit)
        # What is known of the commit by now is not asked again.
        assert hub.asked["listing"] == (revision != commit)
        assert hub.asked["resolve"] == hub.asked["cdn"] == 0
    sizes = {p.name: p.stat().st_size for p in folder.iterdir()}
    assert model.files == sizes


def test_a_whole_commit_is_asked_about_once(hub: Hub, folder: Path) -> None:
    commit = hub.add("org/name", folder, "main")
    opened(f"org/name@{commit}")
    assert hub.asked["listing"] == 1
    opened(f"org/name@{commit}")
    assert hub.asked["listing"] == 1


def test_a_moved_branch_is_another_model(hub: Hub, folder: Path, tmp_path: Path) -> None:
    first = opened("org/name")
    before = fetched(first)
    other = folder_of(tmp_path / "other", seed=1, rows=64)
    hub.add("org/name", other)
    second = opened("org/name")
    assert second.commit != first.commit
    after = fetched(second)
    assert after == true_bytes(other, second) != before
    assert second.path("config.json").read_bytes() == (other / "config.json").read_bytes()
    # The first one is still what it was.
    assert fetched(opened(f"org/name@{first.commit}")) == before


def test_a_branch_that_moves_without_touching_the_weights_costs_no_second_fetch(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    content = fetched(opened("org/name"))
    other = shutil.copytree(folder, tmp_path / "with a readme")
    (other / "README.md").write_text("new")
    hub.add("org/name", other)
    hub.forget()
    assert fetched(opened("org/name")) == content
    assert hub.asked["cdn"] == hub.asked["resolve"] == 0


def test_a_small_file_is_fetched_into_the_hugging_face_cache_once(hub: Hub, folder: Path) -> None:
    model = opened("org/name")
    path = model.path("config.json")
    assert path.read_bytes() == (folder / "config.json").read_bytes()
    assert path.is_relative_to(Path(constants.HF_HUB_CACHE))
    assert model.commit in path.parts
    hub.forget()
    assert model.path("config.json") == path
    assert model.local("config.json") == path
    assert hub.seen == []


def test_files_that_lie_in_the_hugging_face_cache_are_used_there(hub: Hub, folder: Path) -> None:
    model = opened("org/name")
    snapshot = Path(snapshot_download("org/name", revision=model.commit))
    hub.forget()
    assert model.local(FILE) == snapshot / FILE
    container = model.container(FILE)
    assert isinstance(container, MappedTensors)
    assert container.name == str(snapshot / FILE)
    assert fetched(model) == true_bytes(folder, model)
    assert model.path("config.json") == snapshot / "config.json"
    assert hub.seen == []
    assert kept(hub, ".tensor") == []


def test_the_same_file_of_another_commit_is_used_where_it_lies(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    snapshot_download("org/name")
    other = shutil.copytree(folder, tmp_path / "with a readme")
    (other / "README.md").write_text("new")
    hub.add("org/name", other)
    hub.forget()
    model = opened("org/name")
    assert model.local(FILE) is None
    assert fetched(model) == true_bytes(folder, model)
    assert hub.asked["cdn"] == hub.asked["resolve"] == 0


def test_a_file_of_the_wrong_size_in_the_hugging_face_cache_is_not_used(
    hub: Hub, folder: Path
) -> None:
    model = opened("org/name")
    lies = Path(hf_hub_download("org/name", FILE, revision=model.commit))
    with lies.resolve().open("r+b") as file:
        file.truncate(1000)
    assert model.local(FILE) is None
    assert fetched(model) == true_bytes(folder, model)
    assert isinstance(model.container(FILE), RemoteTensors)


def test_a_file_that_the_model_has_not_is_named_without_a_request(hub: Hub, folder: Path) -> None:
    model = opened("org/name")
    hub.forget()
    for ask in (model.path, model.local, model.container, model.source):
        with pytest.raises(
            HubModelNotFoundError, match=r"nowhere\.json is not there.*config\.json"
        ):
            ask("nowhere.json")
    assert hub.seen == []


def test_nothing_is_asked_of_the_hub_for_a_typo(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ("./org/name", "org/name/", "org", "small/modl", "small/a.safetensors", "~/x", "a/b/c")
    for text in texts:
        assert looks_local(text) or parse_hub_spec(text) is None
    assert hub.seen == []


class TestOffline:
    """HF_HUB_OFFLINE: what was fetched before is used, and nobody is asked."""

    @pytest.mark.parametrize("text", ["org/name", "org/name@main", "org/name@refs/pr/1", "commit"])
    def test_a_second_run_needs_no_request(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        commit = hub.add("org/name", folder, "main", "refs/pr/1")
        text = text.replace("commit", f"org/name@{commit}")
        first = opened(text)
        content, norm = fetched(first), fetched(first, NORM)
        config = first.path("config.json")
        hub.forget()
        go_offline(monkeypatch)
        second = opened(text)
        assert (second.commit, second.files) == (first.commit, first.files)
        assert second.path("config.json") == config
        assert (fetched(second), fetched(second, NORM)) == (content, norm)
        container = second.container(FILE)
        assert container.missing(container.tensors[W]) == 0
        assert hub.seen == []

    def test_a_second_run_of_a_commit_needs_none_either_way(self, hub: Hub, folder: Path) -> None:
        commit = hub.add("org/name", folder, "main")
        first = opened(f"org/name@{commit}")
        content, config = fetched(first), first.path("config.json")
        hub.forget()
        second = opened(f"org/name@{commit}")
        assert (fetched(second), second.path("config.json")) == (content, config)
        assert hub.seen == []

    def test_what_others_fetched_is_found(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = Path(snapshot_download("org/name"))
        hub.forget()
        go_offline(monkeypatch)
        model = opened("org/name")
        assert model.commit == snapshot.name
        assert model.files == {p.name: p.stat().st_size for p in folder.iterdir()}
        assert fetched(model) == true_bytes(folder, model)
        assert hub.seen == []

    @pytest.mark.parametrize("ours_is_newer", [True, False])
    def test_of_two_memories_of_a_branch_the_newer_counts(
        self,
        hub: Hub,
        folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        ours_is_newer: bool,
    ) -> None:
        snapshot = Path(snapshot_download("org/name"))
        hub.add("org/name", folder_of(tmp_path / "other", seed=1, rows=64))
        ours = opened("org/name")
        assert ours.commit != snapshot.name
        (note,) = (hub.home / "cache").rglob("ref-*.json")
        moved = time.time() + (10 if ours_is_newer else -10)
        os.utime(note, (moved, moved))
        go_offline(monkeypatch)
        assert opened("org/name").commit == (ours.commit if ours_is_newer else snapshot.name)

    @pytest.mark.parametrize("text", ["org/name", "org/name@v2", "org/name@" + "0" * 40])
    def test_what_was_never_fetched_is_an_error(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        go_offline(monkeypatch)
        with pytest.raises(HubOfflineError, match=r"HF_HUB_OFFLINE.*in no cache.*run once"):
            opened(text)
        assert hub.seen == []

    def test_a_file_or_tensor_that_was_never_fetched_is_named(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened("org/name").container(FILE)
        hub.forget()
        go_offline(monkeypatch)
        model = opened("org/name")
        container = model.container(FILE)
        with pytest.raises(HubOfflineError, match=rf"{W} \(65,536 bytes\) is in no cache"):
            container.read(container.tensors[W])
        with pytest.raises(HubOfflineError, match=r"config\.json: offline mode"):
            model.path("config.json")
        assert hub.seen == []

    def test_a_header_that_was_never_fetched_is_named(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened("org/name")
        go_offline(monkeypatch)
        with pytest.raises(HubOfflineError, match="its header is in no cache"):
            opened("org/name").container(FILE)


# Notes whose entries are not what was written.
ODD = (
    b'{"files": {"../evil": [1, null]}}',
    b'{"files": {"a": ["1", null]}}',
    b'{"files": {"a": [1, 2]}}',
)


class TestListing:
    """What the hub says of a model may be anything."""

    def test_a_name_that_leaves_the_folder_is_nobody_s_file(self, hub: Hub, folder: Path) -> None:
        names = ["../../evil", "/etc/passwd", "a\\b", "C:/x", "", "..", "a//b", "a\nb", "good.json"]

        def lists(answer: Answer) -> None:
            siblings = [{"rfilename": name, "size": 3} for name in names]
            answer.say(200, {"id": "org/name", "sha": "a" * 40, "siblings": siblings})

        hub.misbehave("listing", lists)
        assert list(opened("org/name").files) == ["good.json"]
        assert list(opened(f"org/name@{'a' * 40}").files) == ["good.json"]

    @pytest.mark.parametrize("sha", ["", "main", "a" * 39, "../" * 13 + "a", "A" * 40, None, 7])
    def test_a_commit_that_is_none_is_refused(self, hub: Hub, folder: Path, sha: object) -> None:
        told = {"id": "org/name", "sha": sha, "siblings": []}
        hub.misbehave("listing", lambda answer: answer.say(200, told))
        with pytest.raises(HubTransferError, match="says that this is commit"):
            opened("org/name")

    def test_a_commit_other_than_asked_for_is_refused(self, hub: Hub, folder: Path) -> None:
        told = {"id": "org/name", "sha": "a" * 40, "siblings": []}
        hub.misbehave("listing", lambda answer: answer.say(200, told))
        with pytest.raises(HubTransferError, match=r"says that this is commit a+"):
            opened(f"org/name@{'b' * 40}")

    @pytest.mark.parametrize(
        "told",
        [{}, {"id": "org/name"}, {"id": "x", "siblings": [{}]}, {"id": "x", "siblings": [1]}],
        ids=str,
    )
    def test_what_is_no_listing_is_refused(
        self, hub: Hub, folder: Path, told: dict[str, object]
    ) -> None:
        hub.misbehave("listing", lambda answer: answer.say(200, told))
        with pytest.raises(HubTransferError, match="org/name"):
            opened("org/name")

    def test_a_page_instead_of_a_listing_is_refused(self, hub: Hub, folder: Path) -> None:
        hub.misbehave("listing", sends_a_page)
        with pytest.raises(HubTransferError, match="something else than a model's listing"):
            opened("org/name")

    def test_sizes_that_the_hub_does_not_list_are_asked_for(self, hub: Hub, folder: Path) -> None:
        commit = hub.commit_of("org/name", "main")
        told = {"id": "org/name", "sha": commit, "siblings": [{"rfilename": FILE}]}
        hub.misbehave("listing", lambda answer: answer.say(200, told))
        model = opened("org/name")
        assert model.files == {FILE: None}
        assert model.source(FILE).size == (folder / FILE).stat().st_size
        assert fetched(model) == true_bytes(folder, model)

    def test_a_size_that_the_hub_contradicts_is_refused(self, hub: Hub, folder: Path) -> None:
        commit = hub.commit_of("org/name", "main")
        told = {"id": "x", "sha": commit, "siblings": [{"rfilename": FILE, "size": 12_345}]}
        hub.misbehave("listing", lambda answer: answer.say(200, told))
        with pytest.raises(HubTransferError, match="bytes, and 12,345"):
            fetched(opened("org/name"))

    def test_a_note_that_was_damaged_is_asked_for_again(self, hub: Hub, folder: Path) -> None:
        commit = opened("org/name").commit
        for damaged in (b"", b"{", b"[]", b'{"files": 1}', b'{"files": {"a": 1}}', *ODD, b"\xff"):
            (note,) = (hub.home / "cache").rglob(f"files-{commit}.json")
            note.write_bytes(damaged)
            hub.forget()
            assert FILE in opened(f"org/name@{commit}").files
            assert hub.asked["listing"] == 1
