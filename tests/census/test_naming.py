"""What identifies a model: one name from anywhere, a version that files' changes change, steps."""

import os
from pathlib import Path

import pytest

from checkpoints import gaussian, write_llama
from isologit.census.naming import ANALYSIS, canonical, local_version, record_of, series_of


def test_a_path_has_one_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_llama(tmp_path / "models" / "a", gaussian(8, 4))
    (tmp_path / "link").symlink_to(model)
    monkeypatch.chdir(tmp_path / "models")
    assert {canonical(each) for each in ("a", "./a/", "../models/a", str(model))} == {str(model)}
    # What a link leads to may change.
    assert canonical("../link") == str(tmp_path / "link")
    assert canonical("/nowhere/at/all") == "/nowhere/at/all"
    assert canonical("models/typo.safetensors") == str(tmp_path / "models/models/typo.safetensors")


def test_a_model_of_a_hub_or_a_store_has_one_name() -> None:
    assert canonical("org/name") == canonical("hf://org/name") == "hf://org/name"
    assert canonical("org/name@step1000") == "hf://org/name@step1000"
    assert canonical("s3://bucket/run/step-1/") == "s3://bucket/run/step-1"
    # What is no name of anything is left for the job to refuse.
    assert canonical("hf://datasets/a/b") == "hf://datasets/a/b"


def test_a_version_changes_with_the_files_and_with_nothing_else(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "a", gaussian(8, 4))
    version = local_version(str(model))
    assert version is not None
    assert version == local_version(str(model))
    config = model / "config.json"
    kept = config.stat()
    config.write_text(config.read_text() + " ")
    assert local_version(str(model)) != version
    config.write_text(config.read_text()[:-1])
    os.utime(config, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert local_version(str(model)) == version
    # Other bytes of the same number are seen by their time.
    config.write_text(config.read_text().replace("llama", "mamba"))
    assert local_version(str(model)) != version
    os.utime(config, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    (model / "tokenizer.json").write_text("{}")
    assert local_version(str(model)) != version


def test_a_file_s_version_is_its_own_and_its_config_s(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "a", gaussian(8, 4))
    weights = str(model / "model.safetensors")
    version = local_version(weights)
    (model / "other.txt").write_text("x")
    assert local_version(weights) == version
    (model / "config.json").write_text("{}")
    assert local_version(weights) != version


@pytest.mark.parametrize("model", ["/nowhere/at/all", "hf://org/name", "s3://bucket/x", "a\0b"])
def test_what_is_not_here_has_no_version(model: str) -> None:
    assert local_version(model) is None


def test_a_record_is_of_a_model_a_version_a_tensor_and_an_analysis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = record_of("m", "v", "t")
    others = {record_of("n", "v", "t"), record_of("m", "w", "t"), record_of("m", "v", "u")}
    monkeypatch.setattr("isologit.census.naming.ANALYSIS", ANALYSIS + 1)
    others.add(record_of("m", "v", "t"))
    assert len({one, *others}) == 5
    # No two lists of texts run into each other.
    assert record_of("ab", "c", "") != record_of("a", "bc", "")


@pytest.mark.parametrize(
    ("name", "series", "step"),
    [
        ("hf://EleutherAI/pythia-70m@step1000", "hf://EleutherAI/pythia-70m@step*", 1000),
        ("/runs/a/checkpoint-500", "/runs/a/checkpoint-*", 500),
        ("/runs/a/iter_0001000/model.pt", "/runs/a/iter_*/model.pt", 1000),
        ("/runs/a/global_step7", "/runs/a/global_step*", 7),
        ("/runs/STEP=12", "/runs/STEP=*", 12),
        ("/x/stage1-step1000-tokens5B", "/x/stage1-step*-tokens5B", 1000),
        ("/runs/step-3/epoch-2", "/runs/step-3/epoch-*", 2),
        ("/runs/step0", "/runs/step*", 0),
        ("/models/llama-7b", None, None),
        ("/models/footstep2", None, None),
        ("/models/step-3x", None, None),
        ("/models/v1.2", None, None),
    ],
)
def test_a_step_is_told_from_a_name(name: str, series: str | None, step: int | None) -> None:
    assert series_of(name) == (series, step)
