"""A disk that refuses is an error that says what to do, and leaves nothing that looks good."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from hub.hub_server import Hub
from hub.published import FILE, W, fetched, folder_of, kept, opened, true_bytes
from isologit.checkpoint.hub.cache import entries
from isologit.checkpoint.hub.part import Part, cannot_write
from isologit.errors import OutputWriteError

ROWS = 512
W_BYTES = ROWS * 1024


@pytest.fixture
def folder(tmp_path: Path, hub: Hub) -> Path:
    """A model of 4.7 MB, of which W is half a megabyte, as org/a."""
    folder = folder_of(tmp_path / "model", rows=ROWS)
    hub.add("org/a", folder)
    return folder


@pytest.fixture
def locked(hub: Hub, folder: Path) -> Path:
    """A cache folder in which a file stands where a folder has to be made."""
    folder = hub.home / "cache"
    folder.mkdir(parents=True)
    (folder / "isologit").write_text("in the way")
    return folder


def test_a_cache_that_cannot_be_written_to_is_said_to_be(
    hub: Hub, folder: Path, locked: Path
) -> None:
    # Headers need no cache.
    container = opened("org/a").container(FILE)
    with pytest.raises(OutputWriteError, match=r"cannot be kept in .*XDG_CACHE_HOME") as refused:
        container.read(container.tensors[W])
    assert str(refused.value).isprintable()
    assert entries() == []


def test_a_hugging_face_cache_that_cannot_be_written_to_is_named(hub: Hub, folder: Path) -> None:
    model = opened("org/a")
    cache = Path(constants.HF_HUB_CACHE)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("in the way")
    with pytest.raises(OutputWriteError, match=f"the disk refuses {cache}.*HF_HOME") as refused:
        model.path("config.json")
    assert str(refused.value).isprintable()


def test_too_small_a_disk_is_noticed_before_anything_is_fetched(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = opened("org/a").container(FILE)
    usage = shutil.disk_usage(hub.home)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    hub.forget()
    with pytest.raises(OutputWriteError, match=r"takes 524,288 more bytes .* room for 1,000"):
        container.read(container.tensors[W])
    assert hub.seen == []


@pytest.mark.parametrize("after", [0, 3])
def test_a_disk_that_becomes_full_meanwhile_is_an_error(
    hub: Hub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    writes = [0]

    def refuses(part: Part, start: int, content: bytes) -> None:
        writes[0] += 1
        if writes[0] > after:
            raise cannot_write(part.path.parent, OSError(errno.ENOSPC, "No space left"))
        real(part, start, content)

    real: Callable[[Part, int, bytes], None] = Part.write
    with monkeypatch.context() as patched:
        patched.setattr(Part, "write", refuses)
        with pytest.raises(OutputWriteError, match=r"No space left.*make room"):
            fetched(opened("org/a"))
    assert kept(hub, ".tensor") == []
    model = opened("org/a")
    assert fetched(model) == true_bytes(folder, model)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs a limit of the system")
def test_a_file_that_the_system_does_not_let_grow_is_an_error(hub: Hub, folder: Path) -> None:
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from isologit.checkpoint.hub.model import open_hub\n"
        "from isologit.checkpoint.hub.spec import parse_hub_spec\n"
        "from isologit.errors import OutputWriteError\n"
        "container = open_hub(parse_hub_spec('org/a')).container('model.safetensors')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        f"    container.read(container.tensors['{W}'])\n"
        "except OutputWriteError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=hub.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "File too large" in ran.stdout
    assert ran.stderr == ""
    assert kept(hub, ".tensor") == []


def test_a_tensor_of_the_wrong_size_is_not_used(hub: Hub, folder: Path) -> None:
    model = opened("org/a")
    fetched(model)
    (path,) = kept(hub, ".tensor")
    with path.open("r+b") as file:
        file.truncate(1000)
    model = opened("org/a")
    container = model.container(FILE)
    assert container.missing(container.tensors[W]) == W_BYTES
    assert fetched(model) == true_bytes(folder, model)
