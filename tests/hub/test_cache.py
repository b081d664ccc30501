"""What is kept: bounded, listed, removed, and never what was not fetched whole."""

import os
import time
from pathlib import Path

import pytest

from hub.hub_server import Hub, cuts
from hub.published import FILE, NORM, OTHER, W, fetched, folder_of, kept, opened, true_bytes
from isologit.checkpoint.hub import cache
from isologit.checkpoint.hub.cache import cache_bound, cache_folder, entries, remove
from isologit.checkpoint.hub.store import Key, claim, find_tensor, keep
from isologit.errors import CacheBoundError, HubError

NAMES = ("org/a", "org/b", "org/c", "other/a")
ROWS = 512
W_BYTES = ROWS * 1024


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four models of 4.7 MB, of which W is half a megabyte."""
    place = tmp_path_factory.mktemp("models")
    return {name: folder_of(place / str(seed), seed, ROWS) for seed, name in enumerate(NAMES)}


@pytest.fixture
def commits(hub: Hub, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The models, published; nothing that other tests fetched counts as in use."""
    monkeypatch.setattr(cache, "_in_use", set())
    return {name: hub.add(name, folder) for name, folder in folders.items()}


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was fetched so far be in nobody's use."""
    monkeypatch.setattr(cache, "_in_use", set())


def age(entry_of: str, seconds: float) -> None:
    """Let a model's entries have been used so long ago."""
    then = time.time() - seconds
    for entry in entries():
        if entry.repo_id == entry_of:
            os.utime(entry.path.with_suffix(".json"), (then, then))


class TestFolder:
    """Where it is, and how large it may become."""

    def test_it_follows_the_xdg_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "isologit" / "tensors"
        for given in ("", "relative/path"):
            monkeypatch.setenv("XDG_CACHE_HOME", given)
            monkeypatch.setenv("HOME", str(tmp_path))
            assert cache_folder() == tmp_path / ".cache" / "isologit" / "tensors"

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("", 20 << 30),
            ("0", 0),
            ("12345", 12345),
            ("5GiB", 5 << 30),
            ("5 GB", 5 * 10**9),
            ("1.5k", 1500),
            ("0.5KiB", 512),
            ("2t", 2 * 10**12),
            ("7b", 7),
            (" 3mib ", 3 << 20),
        ],
    )
    def test_its_bound_is_a_number_of_bytes(
        self, monkeypatch: pytest.MonkeyPatch, given: str, expected: int
    ) -> None:
        monkeypatch.setenv("ISOLOGIT_CACHE_BYTES", given)
        assert cache_bound() == expected

    @pytest.mark.parametrize("given", ["lots", "-1", "5 PiB", "1e9", "0x10", "nan", "5GiB!", "९"])
    def test_a_bound_that_is_none_is_refused_before_anything_is_fetched(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        monkeypatch.setenv("ISOLOGIT_CACHE_BYTES", given)
        with pytest.raises(CacheBoundError, match=r"ISOLOGIT_CACHE_BYTES is .*; expected a number"):
            opened("org/a")
        assert hub.seen == []


class TestListing:
    """`entries` and `remove`, for the commands."""

    def test_what_is_kept_is_listed_with_where_it_is_from(
        self, hub: Hub, commits: dict[str, str], folders: dict[str, Path]
    ) -> None:
        assert entries() == []
        fetched(opened("org/a"))
        fetched(opened("org/a"), NORM)
        hub.misbehave("cdn", cuts, after=1)
        with pytest.raises(HubError):
            fetched(opened("org/b"), OTHER)
        by_name = {(entry.repo_id, entry.tensor): entry for entry in entries()}
        assert set(by_name) == {
            ("org/a", ""),
            ("org/a", W),
            ("org/a", NORM),
            ("org/b", ""),
            ("org/b", OTHER),
        }
        w = by_name["org/a", W]
        assert (w.commit, w.file, w.bytes, w.complete) == (
            commits["org/a"],
            FILE,
            W_BYTES,
            True,
        )
        assert abs(w.last_used - time.time()) < 60
        other = by_name["org/b", OTHER]
        assert not other.complete
        assert 0 < other.bytes < 4_096 * 1024
        assert by_name["org/a", ""].complete

    def test_the_least_recently_used_goes_first(self, hub: Hub, commits: dict[str, str]) -> None:
        for name in ("org/a", "org/b"):
            fetched(opened(name))
        age("org/a", 100)
        age("org/b", 200)
        assert [entry.repo_id for entry in entries()][0::2] == ["org/b", "org/a"]
        fetched(opened("org/b"))
        assert [entry.repo_id for entry in entries()][0::2] == ["org/a", "org/b"]

    @pytest.mark.parametrize(
        ("patterns", "removed"),
        [
            (["org/a"], {"org/a"}),
            (["hf://org/a"], {"org/a"}),
            (["org/*"], {"org/a", "org/b", "org/c"}),
            (["*/a"], {"org/a", "other/a"}),
            (["org/a", "org/b"], {"org/a", "org/b"}),
            (["ORG/A"], set()),
            (["org"], set()),
            (["org/a@{org/a}"], {"org/a"}),
            (["org/a@{short}"], {"org/a"}),
            (["org/a@{org/b}"], set()),
            (["org/a@{org/a}/" + FILE], {"org/a"}),
            (["org/a@{org/a}/x.bin"], set()),
            (["hf://org/a@{short}*/*"], {"org/a"}),
            ([], set()),
            (None, set(NAMES)),
        ],
        ids=lambda names: ",".join(sorted(names)) if names else repr(names),
    )
    def test_what_a_pattern_names_is_removed(
        self,
        hub: Hub,
        commits: dict[str, str],
        patterns: list[str] | None,
        removed: set[str],
    ) -> None:
        for name in NAMES:
            fetched(opened(name))
        named = {**commits, "short": commits["org/a"][:7]}
        if patterns is not None:
            for name, commit in named.items():
                patterns = [pattern.replace(f"{{{name}}}", commit) for pattern in patterns]
        before = {entry.repo_id: 0 for entry in entries()}
        for entry in entries():
            before[entry.repo_id] += entry.bytes
        assert remove(patterns) == sum(before[name] for name in removed)
        assert {entry.repo_id for entry in entries()} == set(NAMES) - removed
        left = {path.name for path in cache_folder().iterdir()}
        assert left == {f"models--{n.replace('/', '--')}" for n in set(NAMES) - removed}

    def test_removing_everything_leaves_nothing_behind(
        self, hub: Hub, commits: dict[str, str]
    ) -> None:
        fetched(opened("org/a"))
        opened("org/b")  # of which there are notes alone
        hub.misbehave("cdn", cuts, after=1)
        with pytest.raises(HubError):
            fetched(opened("org/c"), OTHER)
        assert remove() > 0
        assert list(cache_folder().iterdir()) == []
        assert remove() == 0

    def test_what_another_process_fetches_stays(self, hub: Hub, commits: dict[str, str]) -> None:
        key = Key("org/a", commits["org/a"], FILE, None, "x", 0, 3_000_000)
        with claim(key, lambda: None) as part:
            assert part is not None
            part.write(0, bytes(2_000_000))
            assert remove() == 0
            assert [entry.bytes for entry in entries()] == [2_000_000]
        assert remove() == 2_000_000

    def test_what_is_mapped_may_be_removed(self, hub: Hub, commits: dict[str, str]) -> None:
        container = opened("org/a").container(FILE)
        content = container.read(container.tensors[W])
        before = bytes(content)
        remove()
        container.require_unchanged()
        assert bytes(content) == before

    def test_what_has_lost_its_description_is_removed_with_its_model(
        self, hub: Hub, commits: dict[str, str], folders: dict[str, Path]
    ) -> None:
        model = opened("org/a")
        fetched(model)
        for path in kept(hub, ".json"):
            path.write_bytes(b"\xff{")
        assert {(e.repo_id, e.commit, e.tensor) for e in entries()} == {("org/a", "", "")}
        assert remove(["org/a"]) > W_BYTES
        assert list(cache_folder().iterdir()) == []
        assert fetched(opened("org/a")) == true_bytes(folders["org/a"], model)


class TestBound:
    """Old tensors make room for new ones."""

    def test_the_least_recently_used_make_room(
        self, hub: Hub, commits: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ISOLOGIT_CACHE_BYTES", str(2 * (W_BYTES + 66_000)))
        for name, used in (("org/a", 100), ("org/b", 300)):
            fetched(opened(name))
            age(name, used)
        another_process(monkeypatch)
        fetched(opened("org/c"))
        assert {entry.repo_id for entry in entries() if entry.tensor} == {"org/a", "org/c"}
        assert sum(entry.bytes for entry in entries()) <= cache_bound()

    def test_what_this_run_uses_stays(
        self, hub: Hub, commits: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ISOLOGIT_CACHE_BYTES", "1")
        model = opened("org/a")
        w, norm = fetched(model), fetched(model, NORM)
        hub.forget()
        assert (fetched(model), fetched(model, NORM)) == (w, norm)
        assert hub.seen == []
        another_process(monkeypatch)
        fetched(opened("org/b"))
        assert {entry.repo_id for entry in entries()} == {"org/b"}

    def test_one_that_was_used_in_an_earlier_run_is_used_now(
        self, hub: Hub, commits: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetched(opened("org/a"))
        another_process(monkeypatch)
        age("org/a", 1000)
        monkeypatch.setenv("ISOLOGIT_CACHE_BYTES", "1")
        fetched(opened("org/a"))
        fetched(opened("org/b"))
        assert {entry.repo_id for entry in entries() if entry.tensor} == {"org/a", "org/b"}

    def test_whole_tensors_go_before_unfinished_ones(
        self, hub: Hub, commits: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.misbehave("cdn", cuts, after=1)
        with pytest.raises(HubError):
            fetched(opened("org/b"), OTHER)
        hub.behave()
        fetched(opened("org/a"))
        age("org/b", 1000)
        another_process(monkeypatch)
        unfinished = sum(entry.bytes for entry in entries() if not entry.complete)
        monkeypatch.setenv("ISOLOGIT_CACHE_BYTES", str(unfinished + W_BYTES + 140_000))
        fetched(opened("org/c"))
        assert {(e.repo_id, e.complete) for e in entries() if e.tensor} == {
            ("org/b", False),
            ("org/c", True),
        }
        another_process(monkeypatch)
        monkeypatch.setenv("ISOLOGIT_CACHE_BYTES", "1")
        fetched(opened("other/a"))
        assert {e.repo_id for e in entries()} == {"other/a"}


class TestKeys:
    """What is another's is never found."""

    KEY = Key("org/a", "c" * 40, "a.safetensors", None, "w", 10, 100)

    def test_every_part_of_the_address_counts(self) -> None:
        other = [
            Key("org/b", "c" * 40, "a.safetensors", None, "w", 10, 100),
            Key("org/a", "d" * 40, "a.safetensors", None, "w", 10, 100),
            Key("org/a", "c" * 40, "b.safetensors", None, "w", 10, 100),
            Key("org/a", "c" * 40, "a.safetensors", "e" * 64, "w", 10, 100),
            Key("org/a", "c" * 40, "a.safetensors", None, "w", 11, 100),
            Key("org/a", "c" * 40, "a.safetensors", None, "w", 10, 101),
        ]
        assert len({key.digest for key in [self.KEY, *other]}) == 7

    def test_names_of_the_same_bytes_share_them(self) -> None:
        tied = Key("org/a", "c" * 40, "a.safetensors", None, "lm_head", 10, 100)
        assert tied.digest == self.KEY.digest

    @pytest.mark.parametrize(
        "name", ["../../../evil", "/etc/passwd", "a\0b", "\ud800", "x" * 5000, "con", "a\nb", "*"]
    )
    def test_a_hostile_name_stays_inside_the_cache(
        self, hub: Hub, tmp_path: Path, name: str
    ) -> None:
        key = Key("org/a", "c" * 40, name, None, name, 0, 3)
        with claim(key, lambda: None) as part:
            assert part is not None
            part.write(0, b"abc")
            path = keep(key, part)
        assert path.parent.parent == cache_folder()
        assert find_tensor(key) == path
        assert path.read_bytes() == b"abc"
        (entry,) = entries()
        assert (entry.file, entry.tensor) == (name, name)
        assert remove() == 3
        assert [p.name for p in tmp_path.iterdir()] == ["home"]
