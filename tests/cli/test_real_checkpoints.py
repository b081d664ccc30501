"""On real checkpoints the command runs with no option."""

import json
from pathlib import Path

import pytest

from cli.command import finished, isologit, start
from isologit.demo import checkpoint_path

REAL = {
    "llama2xs-hf-bf16": ([512, 64], "bf16", True),
    "llama2xs-hf-bf16-untied-sharded": ([512, 64], "bf16", False),
    "llama2xs-hf-f32": ([512, 64], "f32", True),
    "rwkv-4v0-660K-fp16": ([256, 128], "f16", False),
}


@pytest.mark.parametrize("name", REAL)
def test_audit_runs_with_no_option(shared: Path, name: str) -> None:
    model = shared / "checkpoints" / name
    page = isologit("audit", model)
    assert (page.code, page.err) == (0, "")
    found = isologit("audit", model, "--json").json
    shape, dtype, tied = REAL[name]
    matrix = found["matrix"]
    assert (matrix["shape"], matrix["dtype"], matrix["tied"]) == (shape, dtype, tied)
    config = json.loads((model / "config.json").read_text())
    assert found["head"]["family"] == config["model_type"]
    # Untrained rows are what both models are known for; the audit finds them unaided.
    assert found["cluster"]["method"] == "found"
    assert f"; a cluster of {found['cluster']['size']} tokens stands out." in page.out


def test_one_model_in_two_layouts_has_one_answer(shared: Path) -> None:
    checkpoints = shared / "checkpoints"
    one, two = (
        isologit("audit", checkpoints / name, "--json").json
        for name in ("llama2xs-hf-bf16", "llama2xs-hf-bf16-untied-sharded")
    )
    for part in ("rows", "cluster", "state", "cosines", "logits", "comparison", "refinement"):
        assert one[part] == two[part]
    assert one["matrix"]["sha256"] == two["matrix"]["sha256"]


def test_as_a_process_it_prints_the_same(shared: Path) -> None:
    model = shared / "checkpoints" / "rwkv-4v0-660K-fp16"
    ran = finished(start("audit", model))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == isologit("audit", model).out


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("command", ["classes", "inspect"])
def test_the_smaller_commands_run_too(shared: Path, name: str, command: str) -> None:
    ran = isologit(command, shared / "checkpoints" / name)
    assert (ran.code, ran.err) == (0, "")


def test_the_number_of_threads_changes_nothing(shared: Path) -> None:
    model = shared / "checkpoints" / "llama2xs-hf-bf16"
    outs = {isologit("audit", model, "--json", "--threads", n).out for n in (1, 2, 5)}
    assert len(outs) == 1


def test_the_demo_is_the_audit_of_the_embedded_checkpoint(tmp_path: Path) -> None:
    demo = isologit("demo")
    assert (demo.code, demo.err) == (0, "")
    assert demo.out == isologit("audit", checkpoint_path()).out
    assert "row classes" in demo.out.splitlines()[0]
    assert isologit("demo", "-o", tmp_path / "out", "-q").err == ""
    assert (tmp_path / "out" / "summary.json").is_file()
