"""The device: detected as the seed detects it, named on the page, refused where it is not there."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoints import cluster_tensors, gaussian, write_cluster, write_matrix
from cli.command import isologit
from isologit.errors import DeviceError, MissingExtraError
from isologit.numerics.observed import detect_device

torch = pytest.importorskip("torch")

Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Return a function that makes torch find the devices that it is told, and no others.

    What torch is then asked to move to such a device stays where it is, so that whole commands
    run: which device is chosen and named is tested here, not what it computes.
    """

    def has(*, cuda: bool, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        move = torch.Tensor.to

        def to(tensor: Any, target: Any, *rest: Any) -> Any:
            return tensor if target in ("cuda", "mps") else move(tensor, target, *rest)

        monkeypatch.setattr(torch.Tensor, "to", to)

    return has


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_matrix(tmp_path / "m", gaussian(20, 8))


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_device_is_the_one_that_the_seed_would_take(
    pretend: Pretend, model: Path, cuda: bool, mps: bool, device: str
) -> None:
    pretend(cuda=cuda, mps=mps)
    assert detect_device() == device
    ran = isologit("classes", model, "--token", 3, "--arithmetic", "torch")
    assert (ran.code, ran.err) == (0, "")
    said = f"Using device: {device} (torch, as observed there, logits in bfloat16)"
    assert said in ran.out.splitlines()
    facts = isologit("audit", model, "--arithmetic", "torch", "--json").json["arithmetic"]
    assert (facts["name"], facts["device"], facts["refined"]) == ("torch", device, 0)
    assert facts["environment"]["version"] == torch.__version__
    assert ("device_name" in facts["environment"]) == (device == "cuda")


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_a_device_may_be_named(pretend: Pretend, model: Path, device: str) -> None:
    pretend(cuda=True, mps=True)
    ran = isologit("classes", model, "--token", 3, "--arithmetic", f"torch:{device}")
    assert f"Using device: {device} (torch, " in ran.out


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused_by_name(
    pretend: Pretend, model: Path, device: str
) -> None:
    pretend(cuda=False, mps=False)
    ran = isologit("audit", model, "--arithmetic", f"torch:{device}")
    assert (ran.code, ran.out) == (DeviceError.exit_code, "")
    assert ran.err.startswith(f"DeviceError: device '{device}' is not available: torch ")
    assert "finds cpu. Name one of these, or use exact arithmetic" in ran.err
    assert ran.err.count("\n") == 1


def test_exact_arithmetic_asks_torch_nothing(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = isologit("classes", model, "--token", 3)
    assert "Using device: none needed (exact arithmetic" in ran.out


def test_without_torch_observed_arithmetic_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = isologit("audit", model, "--arithmetic", "torch:cpu")
    assert (ran.code, ran.out) == (MissingExtraError.exit_code, "")
    assert ran.err.startswith("MissingExtraError: observed arithmetic needs torch")
    assert "pip install 'isologit[torch]'" in ran.err
    assert ran.err.count("\n") == 1


def test_the_files_of_an_observed_run_name_the_device(model: Path, tmp_path: Path) -> None:
    cluster = write_cluster(tmp_path / "c.safetensors", cluster_tensors([1, 2], 20))
    out = tmp_path / "out"
    ran = isologit("audit", model, "--members", cluster, "--arithmetic", "torch:cpu", "-o", out)
    assert ran.code == 0
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(out / "cluster_logits.safetensors", "pt") as file:
        metadata = file.metadata()
    assert (metadata["arithmetic"], metadata["device"]) == ("torch", "cpu")
