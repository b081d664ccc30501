"""One protocol for exact and observed arithmetic, and the reading of --arithmetic."""

import subprocess
import sys

import numpy as np
import pytest

from isologit.errors import MissingExtraError
from isologit.numerics import exact
from isologit.numerics.arithmetic import Arithmetic, Exact, parse_arithmetic
from isologit.numerics.formats import BF16, F32
from isologit.numerics.observed import Observed, detect_device
from isologit.numerics.stored import Matrix, Vector

UNKNOWN = ["", "Exact", "exact:cpu", "torch:", "torch:tpu", "torch:cuda:", "torch:cuda:x", "numpy"]


def test_exact_delegates_each_question() -> None:
    arithmetic: Arithmetic = Exact()
    rng = np.random.default_rng(3)
    matrix = Matrix.of_values(rng.normal(size=(40, 12)), BF16)
    h = Vector.of_values(rng.normal(size=12), BF16)
    for ask in ("logits", "cosines"):
        answer = getattr(arithmetic, ask)(matrix, h, F32)
        assert answer.values.tolist() == getattr(exact, ask)(matrix, h, F32).values.tolist()
    norms = exact.norms(matrix, BF16).values
    assert arithmetic.norms(matrix, BF16).values.tolist() == norms.tolist()
    mean, refined = exact.mean_row(matrix, [1, 2, 4])
    assert arithmetic.mean_row(matrix, [1, 2, 4])[0].values.tolist() == mean.values.tolist()
    assert arithmetic.mean_row(matrix, [1, 2, 4])[1] == refined
    assert arithmetic.mean(norms, BF16) == exact.mean(norms, BF16)
    assert arithmetic.median(norms, BF16) == exact.median(norms, BF16)
    assert arithmetic.dot(h, h, BF16) == exact.dot(h, h, BF16)
    assert arithmetic.norm(h, BF16) == exact.norm(h, BF16)


def test_exact_needs_no_device() -> None:
    arithmetic = parse_arithmetic("exact")
    assert isinstance(arithmetic, Exact)
    assert (arithmetic.name, arithmetic.device) == ("exact", "none needed")
    assert arithmetic.environment == {}


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_arithmetic_is_refused_by_name(text: str) -> None:
    with pytest.raises(
        ValueError, match="is not known; expected exact, torch, torch:cpu"
    ) as caught:
        parse_arithmetic(text)
    assert f"arithmetic {text!r} is" in str(caught.value)


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_arithmetic_is_refused_without_torch(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match="is not known"):
        parse_arithmetic(text)


def test_missing_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes the import fail as that of a module that is not installed does.
    monkeypatch.setitem(sys.modules, "torch", None)
    for ask in (detect_device, Observed, lambda: parse_arithmetic("torch:cuda")):
        with pytest.raises(MissingExtraError) as caught:
            ask()
        assert str(caught.value) == (
            "observed arithmetic needs torch, which is not installed. Install it with: "
            "pip install 'isologit[torch]', or use exact arithmetic"
        )


def test_torch_is_parsed_with_and_without_a_device() -> None:
    torch = pytest.importorskip("torch")
    assert parse_arithmetic("torch:cpu").device == "cpu"
    assert parse_arithmetic("torch").device == detect_device()
    assert parse_arithmetic("torch").name == "torch"
    assert parse_arithmetic("torch:cpu").environment["version"] == torch.__version__


def test_importing_the_arithmetic_does_not_import_torch() -> None:
    program = "import sys, isologit.numerics.arithmetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], 3.0),
        ([4.0, 1.0], 1.0),
        ([5.0, -1.0, 2.0], 2.0),
        ([4.0, 3.0, 2.0, 1.0], 2.0),
        ([np.inf, -np.inf, 0.5], 0.5),
    ],
)
def test_the_median_is_the_lower_of_two_middle_values(values: list[float], expected: float) -> None:
    assert exact.median(np.array(values), BF16) == expected


def test_the_median_leaves_its_argument_in_order() -> None:
    values = np.array([3.0, 1.0, 2.0])
    exact.median(values, BF16)
    assert values.tolist() == [3.0, 1.0, 2.0]


def test_the_median_with_nan_is_nan_wherever_it_stands() -> None:
    for place in range(4):
        values = np.insert(np.array([1.0, 2.0, 3.0]), place, np.nan)
        assert np.isnan(exact.median(values, BF16))


def test_the_median_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="the median of no values is not defined"):
        exact.median(np.empty(0), BF16)
