"""Adversaries against the gap: torch's own norms, driven as far apart as they will go.

States of chance come to a tenth of the bound at the widths of real models, and would not notice a
bound far too small.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from equivalence.gap_cases import KINDS, Kind
from isologit.equivalence.gap import Gap
from isologit.equivalence.norm_range import NormRange
from isologit.numerics.formats import BF16, F16, F32, Format, round_to
from isologit.numerics.stored import Matrix

torch = pytest.importorskip("torch")

EPS = 1e-6
DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On small tensors threads of torch's own only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def llama_rms_norm(x: Any, gamma: Any, beta: Any) -> Any:
    """RMSNorm step by step, each rounded to the input's dtype, as many models compute it."""
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
    h = gamma * wide.to(x.dtype)
    return h if beta is None else h + beta


def gemma_rms_norm(x: Any, gamma: Any, beta: Any) -> Any:
    """RMSNorm in binary32, rounded once at the end."""
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
    h = (gamma.to(torch.float32) * wide).to(x.dtype)
    return h if beta is None else h + beta


def torch_rms_norm(x: Any, gamma: Any, beta: Any) -> Any:
    h = torch.nn.functional.rms_norm(x, (x.shape[-1],), gamma, EPS)
    return h if beta is None else h + beta


def torch_layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return torch.nn.functional.layer_norm(x, (x.shape[-1],), gamma, beta, EPS)


def layer_norm_by_steps(x: Any, gamma: Any, beta: Any) -> Any:
    """LayerNorm step by step, each rounded to the input's dtype."""
    wide = x.to(torch.float32)
    wide = wide - wide.mean(-1, keepdim=True)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
    h = gamma * wide.to(x.dtype)
    return h if beta is None else h + beta


NORMS: dict[Kind, tuple[Callable[..., Any], ...]] = {
    "rms": (torch_rms_norm, llama_rms_norm, gemma_rms_norm),
    "layer": (torch_layer_norm, layer_norm_by_steps),
}


def a_gap(kind: Kind, d: int, format_: Format, *, beta: bool, seed: int) -> Gap:
    """Return the gap of two rows of chance, whose norm's numbers have the compute format."""
    rng = np.random.default_rng(seed)
    gamma = round_to(rng.normal(1.0, 0.4, d), format_)
    added = round_to(rng.normal(0.0, 0.5, d), format_) if beta else None
    matrix = Matrix.of_values(rng.normal(size=(2, d)), BF16)
    return Gap(matrix, NormRange(kind, gamma, added, EPS), format_)


def bounds(gap: Gap) -> tuple[float, float]:
    nats, computed = gap.nats_and_computed(np.array([0]), np.array([1]))
    return float(nats[0]), float(computed[0])


def delta_of(gap: Gap) -> npt.NDArray[np.float64]:
    a, b = gap.matrix.rows([0, 1])
    return np.asarray(a - b)


def parameters(gap: Gap, dtype: Any) -> tuple[Any, Any]:
    norm_range = gap.norm_range
    gamma = torch.tensor(norm_range.gamma).to(dtype)
    beta = None if norm_range.beta is None else torch.tensor(norm_range.beta).to(dtype)
    return gamma, beta


def ascend(gap: Gap, norm: Callable[..., Any], dtype: Any, size: float, offset: float) -> float:
    """Return the largest difference of logits that gradient ascent on the norm's input reaches."""
    gamma, beta = parameters(gap, dtype)
    delta = torch.tensor(delta_of(gap))
    generator = torch.Generator().manual_seed(0)
    d = gap.matrix.width
    start = torch.randn(4, d, generator=generator, dtype=torch.float64)
    # Towards either sign from two of the starts each.
    sign = torch.tensor([1.0, -1.0] * 2, dtype=torch.float64)
    x = (start * size + offset * size).requires_grad_()
    best = 0.0
    for step in range(100):
        h = norm(x.to(dtype), gamma, beta).to(torch.float64)
        apart = h @ delta
        best = max(best, float(apart.detach().abs().max()))
        (gradient,) = torch.autograd.grad((sign * apart).sum(), x)
        length = gradient.norm(dim=1, keepdim=True).clamp_min(1e-300)
        with torch.no_grad():
            x += gradient / length * x.norm(dim=1, keepdim=True) * (0.5 if step < 60 else 0.05)
    return best


def near_the_witness(gap: Gap, dtype: Any, offset: float) -> Any:
    """Return inputs along the witness, jittered, from where ε is all to where it is nothing."""
    inner = gap.norm_range.inner(gap.witness(0, 1))
    rng = np.random.default_rng(1)
    n = 400
    jitter = rng.normal(size=(n, len(inner))) * rng.choice([0, 1e-3, 1e-2, 0.05], (n, 1))
    sizes = rng.uniform(0.5, 1.0, (n, 1)) * 10.0 ** rng.integers(-9, 4, (n, 1))
    x = (inner + jitter) * sizes
    return torch.tensor(x + offset * sizes).to(dtype)


def farthest(gap: Gap, norm: Callable[..., Any], dtype: Any, offset: float) -> float:
    h = norm(near_the_witness(gap, dtype, offset), *parameters(gap, dtype)).to(torch.float64)
    return float((h @ torch.tensor(delta_of(gap))).abs().max())


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize("d", [7, 64, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_in_binary64_nothing_exceeds_the_gap_and_the_best_attains_it(
    kind: Kind, d: int, beta: bool
) -> None:
    gap = a_gap(kind, d, F32, beta=beta, seed=d)
    nats, _ = bounds(gap)
    norm = NORMS[kind][0]
    climbed = [ascend(gap, norm, torch.float64, size, 0.0) for size in (1e-3, 1.0, 1e3)]
    climbed.append(farthest(gap, norm, torch.float64, 0.0))
    assert max(climbed) <= nats * (1 + 1e-12)
    # A bound that is 1 % too small would have been exceeded, by ascent alone.
    assert max(climbed[:3]) > 0.99 * nats
    # Where ε is nothing the witness attains the gap.
    inner = gap.norm_range.inner(gap.witness(0, 1))
    h = norm(torch.tensor(inner * 1e6), *parameters(gap, torch.float64))
    reached = abs(float(torch.tensor(delta_of(gap)) @ h))
    assert reached == pytest.approx(nats, rel=1e-12)


def test_states_of_chance_come_nowhere_near() -> None:
    gap = a_gap("rms", 2560, F32, beta=False, seed=5)
    x = torch.randn(500, 2560, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    h = torch_rms_norm(x, *parameters(gap, torch.float64))
    assert float((h @ torch.tensor(delta_of(gap))).abs().max()) < 0.1 * bounds(gap)[0]


@pytest.mark.parametrize("format_", [BF16, F16, F32])
@pytest.mark.parametrize("kind", KINDS)
def test_no_computed_norm_exceeds_the_computed_bound(kind: Kind, format_: Format) -> None:
    dtype = DTYPES[format_.name]
    for d, beta in ((5, True), (12, False), (64, True), (700, False)):
        gap = a_gap(kind, d, format_, beta=beta, seed=d)
        nats, computed = bounds(gap)
        offsets = (0.0,) if kind == "rms" else (0.0, 3.0, 12.0)
        for norm in NORMS[kind]:
            reached = [farthest(gap, norm, dtype, offset) for offset in offsets]
            reached.append(ascend(gap, norm, dtype, 1.0, 0.0))
            assert max(reached) <= computed
            assert max(reached) > 0.97 * nats


def test_a_computed_norm_exceeds_the_real_gap_and_nearly_reaches_the_computed_one() -> None:
    """One entry that rounds up twice: the bound is not far above what roundings come to."""
    closest, beyond = 0.0, 0.0
    for d in range(2, 20):
        for kind in KINDS:
            for value in round_to(np.linspace(1.0, 1.99, 25), BF16):
                rows = np.zeros((2, d))
                rows[0, 0] = 1.0
                gamma = np.full(d, value)
                gap = Gap(Matrix.of_values(rows, BF16), NormRange(kind, gamma, None, EPS), BF16)
                nats, computed = bounds(gap)
                x = torch.tensor(rows[:1] * 64.0).to(torch.bfloat16)
                steps = {"rms": llama_rms_norm, "layer": layer_norm_by_steps}[kind]
                h = steps(x, *parameters(gap, torch.bfloat16))
                reached = abs(float(h[0, 0]))
                assert reached <= computed
                closest = max(closest, reached / computed)
                beyond = max(beyond, reached / nats)
    assert beyond > 1.004
    assert closest > 0.995
