"""What a run over many states keeps: comes back as it was, and what is none is refused."""

from pathlib import Path

import numpy as np
import pytest

from isologit.across_states import Kept
from isologit.errors import OutputWriteError, ResultsError
from isologit.output import resume_file
from isologit.output.resume_file import read_kept, write_kept

KEPT = Kept(
    identity={"matrix": "abc 4 × 2 bf16", "norm": "rms … None"},
    n_states=3,
    states_sha256="d1ge57",
    labels=np.array([0, 1, 0, 2], dtype=np.int32),
    growth=((1, 2, 1), (2, 3, 1)),
    last_growth=2,
    columns={"ratio": np.array([1.0, np.nan, 0.5]), "greedy.top": np.array([3, 1, -1], np.int32)},
)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_kept(tmp_path / "kept") is None
    write_kept(tmp_path / "kept", KEPT)
    found = read_kept(tmp_path / "kept")
    assert found is not None
    for name in ("identity", "n_states", "states_sha256", "growth", "last_growth"):
        assert getattr(found, name) == getattr(KEPT, name)
    assert found.labels.tolist() == KEPT.labels.tolist()
    assert found.columns.keys() == KEPT.columns.keys()
    for name, column in KEPT.columns.items():
        assert found.columns[name].dtype == column.dtype
        assert np.array_equal(found.columns[name], column, equal_nan=True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_kept(path, KEPT)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ResultsError, match="Name another file"):
            read_kept(path)


def test_a_file_with_any_byte_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_kept(path, KEPT)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ResultsError, match="Name another file"):
            read_kept(path)
    path.write_bytes(content.replace(b'"n_states":"3"', b'"n_states":"4"'))
    with pytest.raises(ResultsError, match="changed or damaged"):
        read_kept(path)
    with pytest.raises(ResultsError):
        read_kept(tmp_path)


def test_what_another_schema_wrote_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kept(tmp_path / "kept", KEPT)
    monkeypatch.setattr(resume_file, "SCHEMA", "isologit.many-states/9")
    with pytest.raises(ResultsError, match="its schema is not"):
        read_kept(tmp_path / "kept")


def test_a_place_that_refuses_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept"
    write_kept(path, KEPT)
    before = path.read_bytes()

    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputWriteError, match="No space left on device; nothing was left behind"):
        write_kept(path, KEPT)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
