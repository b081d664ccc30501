"""Which models a list, a pattern or stdin names."""

from pathlib import Path

import pytest

from census.many_models import write_models
from checkpoints import gaussian, write_llama
from isologit.census.listing import models_of
from isologit.errors import EmptyListError, ListFileError


def of(asked: object, stdin: bytes = b"") -> list[str]:
    return models_of(str(asked), lambda: stdin)


def test_a_list_has_a_model_a_line(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("\ufeff/a\n\n  # a comment\n/b  \r\norg/name@step1\n/a\n")
    assert of(file) == ["/a", "/b", "hf://org/name@step1"]
    assert of("-", b"/c\n/d") == ["/c", "/d"]


def test_a_pattern_matches_checkpoints_alone(tmp_path: Path) -> None:
    planted = write_models(tmp_path / "runs", 3)
    (tmp_path / "runs" / "logs").mkdir()
    (tmp_path / "runs" / "logs" / "events.txt").write_text("x")
    (tmp_path / "runs" / "notes.txt").write_text("x")
    assert of(tmp_path / "runs" / "*") == [str(each.path) for each in planted]


def test_a_pattern_for_files_leaves_parts_of_models_out(tmp_path: Path) -> None:
    names = [
        "step-1.safetensors",
        "step-2.gguf",
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
        "model-00001-of-00002.safetensors",
        "consolidated.00.pth",
        "optimizer.pt",
        "rng_state_0.pth",
        "config.json",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert [Path(each).name for each in of(tmp_path / "*")] == [
        "big-00001-of-00002.gguf",
        "step-1.safetensors",
        "step-2.gguf",
    ]


def test_a_pattern_may_go_deep(tmp_path: Path) -> None:
    write_models(tmp_path / "a" / "b", 2)
    assert len(of(tmp_path / "**" / "*.safetensors")) == 2


def test_what_names_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    for asked in (tmp_path / "empty.txt", tmp_path / "*.safetensors"):
        with pytest.raises(EmptyListError, match="expected a model a line, or a pattern"):
            of(asked)


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "a", gaussian(8, 4))
    with pytest.raises(ListFileError, match=r"is a directory; .* is for isologit audit"):
        of(model)
    with pytest.raises(ListFileError, match="is not there; expected a file"):
        of(tmp_path / "nothing")
    with pytest.raises(ListFileError, match=r"is not UTF-8 at line 1; .* isologit audit"):
        of(model / "model.safetensors")
    (tmp_path / "large").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(ListFileError, match="1,073,741,825 bytes"):
        of(tmp_path / "large")
