"""The commands on a hub's models: what is printed, what is fetched, what each refusal says."""

import json
import os
import pty
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np
import pytest
from huggingface_hub import snapshot_download
from safetensors import safe_open
from safetensors.numpy import save_file

from checkpoints import gaussian, write_llama, write_matrix, write_tensors
from cli.command import finished, isologit, read_terminal, start
from hub.hub_server import Answer, Hub, ignores_the_range, says
from isologit import errors

MIB = 1 << 20


@pytest.fixture
def sharded(hub: Hub, shared: Path) -> tuple[Path, str]:
    """A real sharded model, published; its folder and its commit."""
    folder = shared / "checkpoints" / "llama2xs-hf-bf16-untied-sharded"
    return folder, hub.add("org/llama", folder)


@pytest.fixture
def large(hub: Hub, tmp_path: Path) -> Path:
    """A model with a head of 8 MiB, published; its folder."""
    folder = write_llama(tmp_path / "large", gaussian(4096, 1024))
    hub.add("org/large", folder)
    return folder


def test_a_sharded_model_is_audited_as_if_it_were_here(
    hub: Hub, sharded: tuple[Path, str], tmp_path: Path
) -> None:
    folder, commit = sharded
    ran = isologit("audit", "org/llama", "--json", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    found, expected = ran.json, isologit("audit", folder, "--json").json
    assert found["model"] == {
        "spec": "org/llama",
        "source": "hub",
        "revision": commit,
        "name": "org/llama",
    }
    for key in expected.keys() - {"model"}:
        assert found[key] == expected[key], key
    with safe_open(tmp_path / "out" / "cluster_logits.safetensors", "np") as file:
        assert file.metadata()["revision"] == commit


def test_an_audit_fetches_w_the_norm_and_less_than_a_mebibyte(
    hub: Hub, sharded: tuple[Path, str]
) -> None:
    inspected = isologit("inspect", "org/llama", "--json").json
    w, norm = 512 * 64 * 2, 64 * 2
    assert inspected["to_fetch"] == w + norm
    assert inspected["bytes"] == sum(p.stat().st_size for p in sharded[0].glob("*.safetensors"))
    assert not [seen for seen in hub.of("cdn") if seen.range and seen.range[0] > 1 << 17]
    assert isologit("audit", "org/llama").code == 0
    assert hub.sent <= w + norm + MIB
    whole = sum(p.stat().st_size for p in sharded[0].iterdir())
    assert hub.sent < whole / 2


def test_no_more_is_fetched_of_a_large_head_either(hub: Hub, large: Path) -> None:
    said = isologit("inspect", "org/large").out.splitlines()
    assert "8.00 MiB of 8.00 MiB to fetch" in said
    assert hub.sent < 1 << 17
    assert isologit("classes", "org/large").code == 0
    assert hub.sent <= 4096 * 1024 * 2 + 1024 * 2 + MIB
    assert "Nothing to fetch: what is needed is here" in isologit("inspect", "org/large").out


def test_the_head_comes_first_and_alone_where_no_weights_are_wanted(
    hub: Hub, sharded: tuple[Path, str]
) -> None:
    ran = isologit("audit", "org/llama", "--no-weights")
    lines = ran.out.splitlines()
    assert lines[0] == "Loaded lm_head.weight from org/llama (output, untied)"
    assert f"Commit: {sharded[1]}" in lines
    assert "64.1 KiB of 614 KiB to fetch" in lines
    assert "Row classes" not in lines
    fetched = {seen.range for seen in hub.of("cdn")}
    audited = isologit("audit", "org/llama").out
    assert audited.startswith("\n".join(lines[: lines.index("64.1 KiB of 614 KiB to fetch") + 1]))
    assert "Row classes" in audited
    assert {seen.range for seen in hub.of("cdn")} - fetched
    found = isologit("audit", "org/llama", "--no-weights", "--json").json
    assert found["schema"] == "isologit.inspect/1"
    assert [tensor["name"] for tensor in found["tensors"]] == [
        "lm_head.weight",
        "model.norm.weight",
    ]


def test_no_weights_has_nothing_to_write(hub: Hub, tmp_path: Path) -> None:
    ran = isologit("audit", "org/llama", "--no-weights", "-o", tmp_path / "out")
    assert (ran.code, hub.seen) == (2, [])
    assert "finds nothing that -o could write" in ran.err


def test_a_local_model_has_a_head_without_weights_too(large: Path) -> None:
    ran = isologit("audit", large, "--no-weights")
    assert ran.code == 0
    assert "model.embed_tokens.weight ← W  BF16   [4096, 1024]  8,388,608" in ran.out
    assert "to fetch" not in ran.out


def test_only_the_headers_that_are_needed_are_read(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    weight_map: dict[str, str] = {}
    for n in range(6):
        tensors = {f"model.layers.{n}.w.weight": gaussian(8, 8)}
        if n == 5:
            tensors |= {"lm_head.weight": gaussian(300, 8), "model.norm.weight": np.ones(8)}
        if n == 0:
            tensors |= {"model.embed_tokens.weight": gaussian(300, 8)}
        file = f"model-0000{n + 1}-of-00006.safetensors"
        write_tensors(folder, tensors, file=file)
        weight_map |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    config = {"model_type": "llama", "tie_word_embeddings": False, "vocab_size": 300}
    (folder / "config.json").write_text(json.dumps(config))
    hub.add("org/many", folder)
    assert isologit("classes", "org/many").code == 0
    assert hub.asked["cdn"] == 3  # one header, W and the norm
    assert isologit("inspect", "org/many", "-v").out.count("model.layers.") == 6
    assert hub.asked["cdn"] == 8


def test_an_8_bit_head_is_fetched_with_its_scales(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "fp8"
    folder.mkdir()
    weights = np.random.default_rng(0).integers(0, 120, (2000, 128)).astype(np.uint8)
    tensors = {
        "lm_head.weight": weights.view(ml_dtypes.float8_e4m3fn),
        "lm_head.weight_scale": np.full((2000, 1), 0.5, np.float32),
        "model.norm.weight": np.ones(128, np.float32),
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama", "tie_word_embeddings": false}')
    hub.add("org/fp8", folder)
    needed = weights.nbytes + 2000 * 4 + 128 * 4
    assert isologit("inspect", "org/fp8", "--json").json["to_fetch"] == needed
    before = hub.sent_as("cdn")
    assert isologit("classes", "org/fp8", "--json").json["rows"]["distinct"] == 2000
    assert hub.sent_as("cdn") - before == needed


def test_a_file_in_a_folder_is_read_with_the_config_beside_it(hub: Hub, tmp_path: Path) -> None:
    write_tensors(tmp_path / "repo" / "a", {"W": gaussian(40, 4)}, config={"vocab_size": 30})
    write_tensors(tmp_path / "repo", {"lm_head.weight": gaussian(50, 4)}, config={"vocab_size": 50})
    hub.add("org/folders", tmp_path / "repo")
    found = isologit("inspect", "hf://org/folders/a/model.safetensors", "--json").json
    assert found["matrix"]["shape"] == [40, 4]
    assert any("a vocab_size of 30" in note for note in found["notes"])
    assert isologit("inspect", "org/folders", "--json").json["matrix"]["shape"] == [50, 4]
    shutil.rmtree(tmp_path / "repo" / "a")
    (tmp_path / "repo" / "deep").mkdir()
    (tmp_path / "repo" / "model.safetensors").rename(tmp_path / "repo" / "deep" / "x.safetensors")
    hub.add("org/deep", tmp_path / "repo")
    ran = isologit("inspect", "org/deep")
    assert ran.code == errors.NotACheckpointError.exit_code


@pytest.mark.parametrize(
    ("file", "size", "error"),
    [
        ("config.json", 5 << 20, errors.ConfigError),
        ("model.safetensors.index.json", 33 << 20, errors.MalformedHeaderError),
    ],
)
def test_what_is_larger_than_is_read_is_not_downloaded(
    hub: Hub, tmp_path: Path, file: str, size: int, error: type[errors.CheckpointError]
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / file).write_bytes(b"{" + b" " * size + b"}")
    if file == "config.json":
        write_matrix(folder, [[1, 2]])
    hub.add("org/wide", folder)
    ran = isologit("inspect", "org/wide")
    assert ran.code == error.exit_code
    assert f"{size + 2:,} bytes" in ran.err
    assert hub.sent < 1 << 18


def test_a_part_of_a_split_gguf_file_stands_for_all(hub: Hub, tmp_path: Path) -> None:
    for n, name in ((1, "token_embd.weight"), (2, "output.weight")):
        writer = gguf.GGUFWriter(tmp_path / f"m-0000{n}-of-00002.gguf", "llama")
        writer.add_tensor(name, gaussian(40, 32).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    hub.add("org/split", tmp_path)
    for spec in ("hf://org/split/m-00001-of-00002.gguf", "org/split"):
        found = isologit("inspect", spec, "--json").json
        assert found["matrix"]["tensor"] == "output.weight"


def test_a_file_that_the_model_does_not_have_is_named(hub: Hub, sharded: tuple[Path, str]) -> None:
    ran = isologit("inspect", "hf://org/llama/nope.safetensors")
    assert ran.code == errors.HubModelNotFoundError.exit_code
    assert "model-00001-of-00002.safetensors" in ran.err


def stalls(answer: Answer) -> None:
    """Begin to send a range, and stop for longer than a user waits."""
    told = {"Content_Range": answer.content_range, "ETag": answer.etag}
    answer.begin(206, Content_Length=str(len(answer.asked)), **told)
    answer.body(answer.asked[:100])
    time.sleep(8)
    answer.close_connection = True


def test_ctrl_c_ends_the_reading_of_headers(hub: Hub, sharded: tuple[Path, str]) -> None:
    hub.misbehave("cdn", stalls)
    process = start("inspect", "org/llama", environment=hub.environment())
    end = time.monotonic() + 30
    while hub.sent_as("cdn") < 200 and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    ran = finished(process)
    assert (ran.code, ran.out, ran.err.splitlines()[-1:]) == (130, "", ["interrupted"])
    assert time.monotonic() - sent < 5


def test_of_two_matrices_of_a_tied_model_one_is_fetched(hub: Hub, tmp_path: Path) -> None:
    head = gaussian(4096, 512)
    folder = write_tensors(
        tmp_path / "both",
        {"lm_head.weight": head, "model.embed_tokens.weight": head, "model.norm.weight": head[0]},
        config={"model_type": "llama", "tie_word_embeddings": True},
    )
    hub.add("org/both", folder)
    found = isologit("classes", "org/both", "--json").json
    assert (found["matrix"]["tensor"], found["matrix"]["tied"]) == (
        "model.embed_tokens.weight",
        True,
    )
    assert found["notes"] == [
        "lm_head.weight and model.embed_tokens.weight are both stored; only "
        "model.embed_tokens.weight is fetched, so whether they are the same is not known",
        "no tokenizer lies beside the weights: tokens are ids (--tokenizer names one)",
    ]
    assert hub.sent < head.size * 2 + MIB


def test_a_gguf_file_is_read_by_ranges_too(hub: Hub, shared: Path, tmp_path: Path) -> None:
    path = shared / "checkpoints" / "llama2xs-BF16.gguf"
    folder = tmp_path / "gguf"
    folder.mkdir()
    shutil.copy(path, folder)
    hub.add("org/gguf", folder)
    expected = isologit("audit", path, "--json").json
    for spec in ("org/gguf", "hf://org/gguf/llama2xs-BF16.gguf", "hf://org/gguf@main"):
        found = isologit("audit", spec, "--json")
        assert found.code == 0, found.err
        assert found.json["logits"] == expected["logits"]
        assert found.json["matrix"]["sha256"] == expected["matrix"]["sha256"]


def test_what_cannot_be_read_by_ranges_says_how_to_fetch_it(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "pickle"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + bytes(100_000))
    commit = hub.add("org/pickle", folder)
    ran = isologit("inspect", "org/pickle")
    assert ran.code == errors.UnsupportedFormatError.exit_code
    assert f"hf download org/pickle pytorch_model.bin --revision {commit}" in ran.err
    assert hub.asked["cdn"] == 0


def test_a_model_in_the_hub_s_own_cache_is_read_there(hub: Hub, sharded: tuple[Path, str]) -> None:
    snapshot_download("org/llama")
    hub.forget()
    ran = isologit("audit", "org/llama")
    assert ran.code == 0, ran.err
    assert "Nothing to fetch: what is needed is here" in ran.out
    assert hub.sent_as("cdn") == 0
    assert "0 bytes of at most" in isologit("cache", "ls").out


def test_a_second_run_offline_asks_nothing(
    hub: Hub, sharded: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = isologit("audit", "org/llama", "--json").out
    hub.forget()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert isologit("audit", "org/llama", "--json").out == first
    assert hub.seen == []
    ran = isologit("audit", "org/other")
    assert ran.code == errors.HubOfflineError.exit_code
    assert hub.seen == []


def gated(hub: Hub) -> None:
    hub.misbehave("listing", says(403, "GatedRepo", "Access to model org/llama is restricted"))


def private(hub: Hub) -> None:
    hub.tokens["org/llama"] = "hf_right"


def rate_limited(hub: Hub) -> None:
    hub.misbehave("listing", says(429, "", "slow down", Retry_After="900"))


def range_ignored(hub: Hub) -> None:
    hub.misbehave("cdn", ignores_the_range)


REFUSALS: list[tuple[Any, type[errors.HubError], str]] = [
    (gated, errors.HubGatedError, "org/llama"),
    (private, errors.HubAccessError, "HF_TOKEN"),
    (rate_limited, errors.HubRateLimitError, "900"),
    (range_ignored, errors.HubTransferError, "nothing of it was kept as good"),
]


@pytest.mark.parametrize(
    ("wrong", "error", "told"), REFUSALS, ids=[r[0].__name__ for r in REFUSALS]
)
def test_each_refusal_has_a_code_and_one_line(
    hub: Hub, sharded: tuple[Path, str], wrong: Any, error: type[errors.HubError], told: str
) -> None:
    wrong(hub)
    for command in ("audit", "inspect"):
        ran = isologit(command, "org/llama")
        assert (ran.code, ran.out) == (error.exit_code, "")
        assert ran.err.count("\n") == 1
        assert told in ran.err


def test_a_hub_that_is_not_there_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ran = isologit("audit", "org/llama")
    assert ran.code == errors.HubOfflineError.exit_code
    assert "127.0.0.1:9" in ran.err


def test_what_looks_like_a_path_is_never_asked_for(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for spec in ("./org/llama", "models/llama", "org/llama.safetensors", "a/b/c", "llama", "/o/l"):
        ran = isologit("inspect", spec)
        assert ran.code == errors.CheckpointNotFoundError.exit_code, spec
    assert hub.seen == []


def test_ctrl_c_keeps_what_arrived(hub: Hub, large: Path) -> None:
    hub.bytes_a_second = 2e6
    process = start("classes", "org/large", environment=hub.environment())
    end = time.monotonic() + 30
    while hub.sent_as("cdn") < 2 * MIB and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    ran = finished(process)
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "interrupted")
    hub.bytes_a_second = None
    kept = [e for e in isologit("cache", "ls", "--json").json["entries"] if not e["complete"]]
    assert sum(entry["bytes"] for entry in kept) > 0
    hub.forget()
    again = isologit("classes", "org/large", "--json")
    assert again.code == 0, again.err
    assert hub.sent_as("cdn") <= 8 * MIB - sum(entry["bytes"] for entry in kept) + 4096
    assert again.json["rows"] == isologit("classes", large, "--json").json["rows"]


def test_what_is_fetched_is_told_on_stderr(hub: Hub, large: Path) -> None:
    ran = isologit("classes", "org/large")
    lines = ran.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("fetched model.embed_tokens.weight: 8.00 MiB in ")
    assert lines[0].endswith("iB/s")
    assert isologit("cache", "rm", "--all").code == 0
    assert isologit("classes", "org/large", "-q").err == ""


def test_a_terminal_shows_a_bar_with_the_rate_and_the_time_left(hub: Hub, large: Path) -> None:
    hub.bytes_a_second = 1e6
    leader, follower = pty.openpty()
    process = start(
        "classes",
        "org/large",
        stderr=follower,
        environment=hub.environment() | {"TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(follower)
    drawn = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", read_terminal(leader)).decode()
    assert finished(process).code == 0
    states = [line for line in re.split(r"[\r\n]+", drawn) if "model.embed_tokens.weight" in line]
    on_the_way = [line for line in states if re.search(r" [1-7]\.\d\d MiB of 8\.00 MiB ", line)]
    assert on_the_way, states
    assert any(re.search(r"\d [KM]iB/s", line) for line in on_the_way)
    assert any(re.search(r"0:00:0\d", line) for line in on_the_way)
    assert "asking the hub, reading headers" in drawn[: drawn.index("model.embed_tokens.weight")]
    assert "fetched model" not in drawn


def test_the_matrix_is_left_as_the_seed_s_notebooks_load_it(
    hub: Hub, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ran = isologit("inspect", "org/large", "--fetch", "-q")
    assert ran.code == 0, ran.err
    with (
        safe_open(Path("large") / "W.safetensors", "np") as written,
        safe_open(large / "model.safetensors", "np") as published,
    ):
        assert list(written.keys()) == ["W"]
        expected = published.get_tensor("model.embed_tokens.weight")
        np.testing.assert_array_equal(written.get_tensor("W"), expected)
        assert written.metadata()["source"] == "org/large"
    again = isologit("inspect", "org/large", "--fetch")
    assert again.code == errors.OutputExistsError.exit_code
    assert isologit("inspect", "org/large", "--fetch", "--force", "-q").code == 0


def test_the_cache_is_listed_and_emptied(hub: Hub, sharded: tuple[Path, str], large: Path) -> None:
    for model in ("org/llama", "org/large"):
        assert isologit("classes", model).code == 0
    listed = isologit("cache", "ls", "--json").json
    assert listed["schema"] == "isologit.cache/1"
    assert {entry["model"] for entry in listed["entries"]} == {"org/llama", "org/large"}
    tensors = {e["tensor"]: e["bytes"] for e in listed["entries"] if e["tensor"]}
    assert tensors["lm_head.weight"] == 512 * 64 * 2
    assert listed["bytes"] == sum(entry["bytes"] for entry in listed["entries"])
    assert listed["bound"] == 20 << 30
    page = isologit("cache", "ls").out
    assert "lm_head.weight" in page
    assert page.splitlines()[0].endswith(listed["directory"])
    assert isologit("cache", "rm").code == 2
    freed = isologit("cache", "rm", "org/large", "--json").json["freed"]
    assert freed >= 8 * MIB
    left = isologit("cache", "ls", "--json").json["entries"]
    assert {entry["model"] for entry in left} == {"org/llama"}
    assert isologit("cache", "rm", "--all").code == 0
    assert isologit("cache", "ls", "--json").json["entries"] == []
