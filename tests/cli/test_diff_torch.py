"""`isologit diff` with a device's arithmetic, which has no part in it; results of such an audit."""

from pathlib import Path

import pytest

from cli.command import isologit
from diff_models import two

pytest.importorskip("torch")


def test_a_device_has_no_part_in_what_is_stored(tmp_path: Path) -> None:
    ran = isologit("diff", *two(tmp_path), "--arithmetic", "torch:cpu")
    assert ran.code == 2
    assert "leave out --arithmetic" in ran.err
    assert ran.out == ""


def test_norms_of_a_device_show_nothing(tmp_path: Path) -> None:
    model, other = two(tmp_path)
    results = tmp_path / "results"
    assert isologit("audit", model, "-o", results, "-q", "--arithmetic", "torch:cpu").code == 0
    found = isologit("diff", results, other, "--json").json
    assert set(found["moved_at_least"]["by"]) == {"smallest", "largest", "sum"}
