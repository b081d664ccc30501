"""The tokenizer of a hub's model: fetched whole and once, W only where it is asked for."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama
from cli.command import isologit
from hub.hub_server import Hub
from isologit.errors import HubAccessError
from tokens.small_tokenizers import byte_level, save

ROWS, WIDTH = 2_048, 512
W_BYTES = ROWS * WIDTH * 2


@pytest.fixture
def model(hub: Hub, tmp_path: Path) -> Path:
    """A model of 2,048 rows with a tokenizer of 257 ids, published; its folder."""
    folder = write_llama(tmp_path / "model", gaussian(ROWS, WIDTH))
    save(byte_level(added=[AddedToken("<s>", special=True)]), folder)
    hub.add("org/model", folder)
    return folder


def test_an_audit_of_the_hub_says_who_its_rows_are(hub: Hub, model: Path) -> None:
    found = isologit("audit", "org/model", "--json")
    assert found.code == 0, found.err
    assert found.json["tokens"] == isologit("audit", model, "--json").json["tokens"]
    assert found.json["tokens"]["padding"] == ROWS - 257
    asked = len(hub.seen)
    assert isologit("audit", "org/model", "--json").json["tokens"] is not None
    # The second time the tokenizer is in the hub's own cache, and W in isologit's.
    assert not [seen for seen in hub.seen[asked:] if "tokenizer" in seen.path]


def test_tokens_fetch_nothing_of_w(hub: Hub, model: Path) -> None:
    ran = isologit("tokens", "org/model", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["model"]["source"] == "hub"
    assert ran.json["summary"]["rows"] == ROWS
    assert hub.sent < W_BYTES / 4
    assert isologit("tokens", "org/model", "--evidence", "--json").code == 0
    assert hub.sent > W_BYTES


def test_a_repository_without_weights_has_a_tokenizer_still(hub: Hub, tmp_path: Path) -> None:
    folder = save(byte_level(["ab"], [("a", "b")]), tmp_path / "t")
    (folder / "config.json").write_text(json.dumps({"vocab_size": 300}))
    hub.add("org/tokenizer", folder)
    found = isologit("tokens", "org/tokenizer", "--json")
    assert found.code == 0, found.err
    assert (found.json["summary"]["rows"], found.json["summary"]["padding"]) == (300, 43)


def test_a_tokenizer_of_the_hub_can_be_named(hub: Hub, model: Path, tmp_path: Path) -> None:
    bare = write_llama(tmp_path / "bare", gaussian(300, 8))
    found = isologit("audit", bare, "--tokenizer", "org/model", "--json")
    assert found.code == 0, found.err
    assert found.json["tokens"]["padding"] == 43
    ran = isologit("audit", bare, "--tokenizer", "org/none")
    assert (ran.code, ran.out) == (HubAccessError.exit_code, "")


def test_one_that_is_too_large_is_not_fetched(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (model / "tokenizer.json").stat().st_size
    monkeypatch.setattr("isologit.checkpoint.hub.folder.LARGEST_FILE", size - 1)
    found = isologit("audit", "org/model", "--json")
    assert found.code == 0
    assert found.json["tokens"] is None
    assert any(f"has {size:,} bytes" in note for note in found.json["notes"])
    assert not [seen for seen in hub.seen if "tokenizer.json" in seen.path]
