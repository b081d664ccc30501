"""``classes --explain --arithmetic torch:cpu``: the counts are those that the test computes."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from cli.command import isologit
from isologit.claims import EXACT, OBSERVED
from isologit.classes import classes
from isologit.numerics.exact import Rounded
from isologit.numerics.formats import Format
from isologit.numerics.observed import Observed, Product
from isologit.numerics.stored import Matrix, Vector
from isologit.request import FileState
from isologit.subject import Settings
from oracle.fraction_oracle import as_float, decode, dot, nearest
from output.test_summary_json import TIES, faults

torch = pytest.importorskip("torch")

V, D = 260, 64
Values = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of f32 that torch cannot sum exactly, the last hundred of them equal to the first."""
    values = np.random.default_rng(5).standard_normal((V, D)).astype(np.float32)
    values[-100:] = values[0]
    directory = tmp_path_factory.mktemp("m")
    save_file({"W": values}, directory / "W.safetensors")
    return directory


def tensors(model: Path, dtype: str) -> tuple[Any, Any]:
    from safetensors.torch import load_file

    W = load_file(model / "W.safetensors")["W"].to(getattr(torch, dtype))
    return W, W[3]


def exact_logits(W: Any, h: Any, name: str) -> Values:
    """Return the real dot products of a torch matrix, rounded once: by the oracle."""
    view = torch.int32 if name == "f32" else torch.int16
    mask = 0xFFFFFFFF if name == "f32" else 0xFFFF
    rows = [[decode(int(w) & mask, name) for w in row] for row in W.view(view).tolist()]
    state = [decode(int(w) & mask, name) for w in h.view(view).tolist()]
    return np.array([as_float(nearest(dot(row, state), name)) for row in rows])


def ulp(value: float, bits: int) -> Fraction:
    """Return the unit in the last place of an ordinary number of so many bits."""
    return Fraction(2) ** (int(np.floor(np.log2(abs(value)))) - bits + 1)


def test_counts_and_the_farthest_are_those_of_torch_and_the_oracle(model: Path) -> None:
    found = isologit(
        "classes", model, "--token", 3, "--explain", "--arithmetic", "torch:cpu", "--json"
    ).json["ties"]
    W, h = tensors(model, "float32")
    exact = exact_logits(W, h, "f32")
    linear = torch.nn.functional.linear
    products: dict[tuple[str, int | None, int], Any] = {
        ("W @ h", None, 0): (W @ h)[None],
        ("W[1:] @ h", None, 1): (W[1:] @ h)[None],
    }
    for batch in (1, 2, 8, 16):
        products["F.linear(h, W)", batch, 0] = linear(h.expand(batch, -1).contiguous(), W)
    assert faults(found, TIES) == []
    device = found["device"]
    assert (device["device"], device["environment"]["version"]) == ("cpu", torch.__version__)
    assert len(device["observations"]) == len(products)
    first = products["W @ h", None, 0][0].double().numpy()
    some = 0
    for each in device["observations"]:
        offset = each["row_offset"]
        given = products[each["op"], each["batch"], offset].double().numpy()
        own = given[0]
        differing = np.flatnonzero(own != exact[offset:])
        some += len(differing)
        assert each["differing"] == len(differing)
        assert each["unlike_first_op"] == (own != first[offset:]).sum()
        assert each["unlike_in_batch"] == (given != own).any(axis=0).sum()
        twins = own[[0 - offset, *range(V - 100 - offset, V - offset)][offset:]]
        assert each["split_row_classes"] == int(len(np.unique(twins)) > 1)
        if len(differing):
            apart = [
                abs(Fraction(own[n]) - Fraction(exact[offset + n])) / ulp(exact[offset + n], 24)
                for n in differing
            ]
            assert each["largest_ulp"] == max(apart)
            token = each["largest_token"]
            assert apart[differing.tolist().index(token - offset)] == max(apart)
            assert (each["observed"], each["exact"]) == (own[token - offset], exact[token])
    assert some  # or nothing was compared
    assert found["claims"] == {
        "classes": OBSERVED,
        "causes": OBSERVED,
        "reals": EXACT,
        "f32": EXACT,
        "device": OBSERVED,
    }


class Made(Observed):
    """A device of the test's own: torch's, but for what it is told to give."""

    def __init__(self, logits: Values) -> None:
        super().__init__("cpu")
        self._logits = logits

    def logits(self, matrix: Matrix, hidden_state: Vector, logit_format: Format) -> Rounded:
        """Return what it was told."""
        return Rounded(self._logits, 0)


class Wavering(Made):
    """A device that gives the second state of a batch another logit for one token."""

    def other_products(
        self, matrix: Matrix, hidden_state: Vector, logit_format: Format
    ) -> Iterator[Product]:
        """Return what it was told, twice, and one number besides."""
        values = np.stack([self._logits, self._logits])
        values[1, 2] += 1
        yield Product("an operation", 2, 0, values)


def test_tokens_whose_logit_depends_on_the_place_in_the_batch_are_counted(tmp_path: Path) -> None:
    save_file({"W": np.ones((4, 1), dtype=np.float32)}, tmp_path / "W.safetensors")
    record, _ = classes(
        str(tmp_path), Settings(arithmetic=Wavering(np.ones(4))), at=0, explain_top=1
    )
    assert record.ties is not None
    assert record.ties.device is not None
    first, second = record.ties.device.observations
    assert (first.op, first.unlike_in_batch, first.differing) == ("W @ h", 0, 0)
    assert (second.op, second.batch, second.unlike_in_batch) == ("an operation", 2, 1)
    assert (second.unlike_first_op, second.differing) == (0, 0)


def test_what_a_device_splits_and_joins_is_listed(tmp_path: Path) -> None:
    values = np.array([[1.0], [1.0], [1.0], [2.0], [2.5], [1.5], [1.5]], dtype=np.float32)
    save_file({"W": values}, tmp_path / "W.safetensors")
    state = 3  # h = 2, so the exact logits are 2, 2, 2, 4, 5, 3, 3
    given = np.array([2.0, 2.0, 2.0 + 2**-22, 4.0, 4.0, 3.0, 3.0])
    settings = Settings(arithmetic=Made(given))
    record, _ = classes(str(tmp_path), settings, at=state, explain_top=3)
    assert record.ties is not None
    device = record.ties.device
    assert device is not None
    assert (device.split_row_classes, device.parted_logit_classes) == (1, 1)
    assert (device.parted_tokens, device.joined_logit_classes) == (3, 1)
    (split,) = device.split
    assert (split.label, split.size, split.token_ids) == (0, 3, [0, 1, 2])
    assert (split.logits, split.n_tokens) == ([2.0, 2.0 + 2**-22], [2, 1])
    four = record.ties.maximum
    assert four is not None
    assert (four.value, four.distinct_logits, four.token_ids) == (4.0, 2, [3, 4])
    # A unit of f32 at 4 is 2^-21.
    assert [(t.a, t.b, t.cause, t.margin_ulp) for t in four.ties] == [
        (3, 4, "accumulation", 2.0**21)
    ]
    assert [cause.remedy for cause in four.causes] == [
        "a fixed accumulation order (batch-invariant kernels)"
    ]
    first = device.observations[0]
    assert (first.op, first.batch, first.row_offset, first.differing) == ("W @ h", None, 0, 2)
    assert (first.largest_token, first.largest_ulp) == (4, 2.0**21)
    assert [each.unlike_first_op for each in device.observations] == [0, 2, 2, 2, 2, 2]


def test_the_page_names_the_operations_the_split_classes_and_the_switches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.array([[1.0], [1.0], [2.0], [2.5]], dtype=np.float32)
    save_file({"W": values}, tmp_path / "W.safetensors")
    given = np.array([2.0, 2.0 + 2**-22, 4.0, 4.0])
    monkeypatch.setattr(Observed, "logits", lambda *_: Rounded(given, 0), raising=True)
    ran = isologit("classes", tmp_path, "--token", 2, "--explain", "--arithmetic", "torch:cpu")
    assert (ran.code, ran.err) == (0, "")
    assert "The device, cpu [observed]" in ran.out
    assert "F.linear(h, W), batch 16" in ran.out
    assert "1 tie by accumulation: 2 exact logits, one on the device" in ran.out
    assert "1 row class whose tokens, bit for bit the same, got different logits" in ran.out
    assert "1 of 2.00000000, 1 of 2.00000024" in ran.out
    assert "VLLM_BATCH_INVARIANT=1" in ran.out


def test_bf16_counts_too(model: Path) -> None:
    found = isologit(
        *("classes", model, "--token", 3, "--explain", "--dtype", "bf16"),
        *("--arithmetic", "torch:cpu", "--json"),
    ).json["ties"]["device"]["observations"][0]
    # W and h stay f32 numbers for exact arithmetic; torch casts them to bf16 first.
    W, h = tensors(model, "float32")
    view = torch.int32
    rows = [[decode(int(w) & 0xFFFFFFFF, "f32") for w in row] for row in W.view(view).tolist()]
    state = rows[3]
    exact = np.array([as_float(nearest(dot(row, state), "bf16")) for row in rows])
    own = (W.to(torch.bfloat16) @ h.to(torch.bfloat16)).double().numpy()
    assert found["differing"] == (own != exact).sum()


def test_a_matrix_of_one_row_is_split_as_torch_splits_it(tmp_path: Path) -> None:
    # Torch's product in float32 was seen to give three logits here.
    rng = np.random.default_rng(0)
    values = np.tile(rng.standard_normal(64).astype(np.float32), (814, 1))
    save_file({"W": values}, tmp_path / "W.safetensors")
    W, _ = tensors(tmp_path, "float32")
    state = rng.standard_normal(64).astype(np.float32)
    h = torch.from_numpy(state)
    distinct, counts = (x.tolist() for x in torch.unique(W @ h, return_counts=True))
    at = FileState(state.astype(np.float64), "drawn")
    record, _ = classes(str(tmp_path), Settings(arithmetic=Observed("cpu")), at=at, explain_top=9)
    assert record.ties is not None
    device = record.ties.device
    assert device is not None
    assert [(s.label, s.size, s.logits, s.n_tokens) for s in device.split] == (
        [(0, 814, distinct, counts)] if len(distinct) > 1 else []
    )
    assert device.parted_tokens == (814 if len(distinct) > 1 else 0)
    # Whatever the device made of them, within each logit they tie by their row alone.
    assert [each.n_tokens for each in record.ties.top] == counts[::-1]
    assert {cause.cause for each in record.ties.top for cause in each.causes} <= {"same row"}
