"""What an audit needs is bounded by what its headers say; mapped pages are nobody's."""

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from census.many_models import write_enormous
from checkpoints import gaussian, write_llama
from isologit.census import memory
from isologit.census.memory import available_bytes, held_to, needed_bytes
from isologit.subject import Settings, locate_subject

MIB = 1 << 20


def need(model: Path) -> int:
    return needed_bytes(locate_subject(str(model), Settings()))


def test_needs_grow_with_what_is_held_and_not_with_what_is_mapped(tmp_path: Path) -> None:
    small = need(write_llama(tmp_path / "small", gaussian(100, 8)))
    assert 128 * MIB < small < 512 * MIB
    tall = need(write_llama(tmp_path / "tall", np.zeros((100_000, 8))))
    assert tall > small + 100_000 * 1024
    # 1 TiB of rows is mapped; what is a number a token is not.
    enormous = need(write_enormous(tmp_path / "enormous"))
    assert (1 << 27) * 1024 < enormous < 1 << 40


def test_a_copy_counts(tmp_path: Path) -> None:
    values = np.zeros((100_000, 64), dtype=np.float32)
    np.save(tmp_path / "mapped.npy", values)
    np.savez_compressed(tmp_path / "unpacked.npz", values)
    assert need(tmp_path / "unpacked.npz") >= need(tmp_path / "mapped.npy") + values.nbytes


PEAK = Path(__file__).resolve().parents[2] / "benchmarks" / "own_memory.py"


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
@pytest.mark.parametrize(("n_tokens", "width"), [(300, 8), (60_000, 64), (4_000, 2_048)])
def test_an_audit_takes_no_more_than_it_is_said_to_need(
    tmp_path: Path, n_tokens: int, width: int
) -> None:
    values = np.random.default_rng(0).normal(size=(n_tokens, width))
    values[: n_tokens // 10] = values[0]
    model = write_llama(tmp_path / "m", values)
    ran = subprocess.run([sys.executable, PEAK, model], capture_output=True, text=True, check=True)
    peak, declared = map(int, ran.stdout.split())
    assert 0 < peak < declared == need(model)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
def test_own_memory_is_bounded_and_mapped_memory_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_RESERVED", 0)
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(512 * MIB)
    with held_to(128 * MIB), path.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert mapped[-1] == 0
        with pytest.raises(MemoryError):
            np.ones(256 * MIB, dtype=np.uint8)
    # Afterwards it is as it was.
    assert np.ones(256 * MIB, dtype=np.uint8)[-1] == 1


def test_there_is_no_bound_where_none_is_declared() -> None:
    with held_to(0):
        assert np.ones(256 * MIB, dtype=np.uint8)[-1] == 1


def test_what_there_is_is_less_than_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 64 * MIB < available_bytes() < 1 << 45
    whole = available_bytes()
    # A control group that allows less counts.
    monkeypatch.setattr(memory, "_left_in_group", lambda: [100 * MIB])
    assert available_bytes() == 80 * MIB
    assert available_bytes() < whole


def test_a_control_group_s_bound_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    line = Path("/proc/self/cgroup").read_text().split("::", 1)[-1].split("\n")[0]
    group = tmp_path / line.strip("/")
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text("1000\n")
    (group / "memory.stat").write_text("anon 300\nfile 500\n")
    assert memory._left_in_group() == [700]
    (group / "memory.max").write_text("max\n")
    assert memory._left_in_group() == []
