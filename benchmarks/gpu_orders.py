"""Hold the greedy certificate's bounds against what a device's matrix products really do.

    python benchmarks/gpu_orders.py [--device cuda] [--small]

On adversarial draws (`order_draws.py`), Gaussian matrices and the embedded model's W, in bf16, f16
and f32, the same logits are computed by several operations of torch, at several batch sizes and on
a GPU with both of its libraries, so that kernels for vectors, for matrices and for split sums take
their turns. Each logit is held against the real one (binary64, whose own error is allowed for), and
each top token against its verdict.

Exits 1 if a logit exceeds the bound that `docs/greedy.md` claims for that way of computing it, or
if a state that is certified `certain` has another top token, or one more. What is not claimed
(TF32, partial sums in 16 bits) is listed beside the wider bound and never fails.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch

from isologit.equivalence.device_sums import (
    ROUNDING,
    TRUNCATING,
    SumModel,
    lost,
    products_are_exact,
)
from isologit.equivalence.greedy import Certifier, TopToken, output_formats
from isologit.equivalence.rows import row_classes
from isologit.numerics import exact
from isologit.numerics.formats import F32, FORMATS, Float64s, Format, round_to
from isologit.numerics.stored import Matrix, Vector
from order_draws import DRAWS, demo, gaussian

Tensor = Any

_SEED = 7
_STATES = 16
_BATCHES: Final = (1, 2, 8, 16, 64, 256)
# Products of each batch size; the states of the later ones are others.
_TIMES = 4
# (V, d). Long sums of few rows are split, and an odd width is not aligned.
_SHAPES: Final = ((4096, 256), (2047, 1023), (1024, 4096), (512, 8192))
# Of Gaussian rows alone: the certificate takes long where everything cancels.
_LARGE: Final = (16384, 2048)
_SMALL_SHAPES: Final = ((256, 192), (127, 257))


@dataclass(frozen=True)
class Way:
    """How a device is made to compute logits.

    Parameters
    ----------
    name
        For the table.
    output
        The format of the results.
    copies
        Whether W and h are cast to float32 first.
    claimed
        The model whose bound holds, by docs/greedy.md; None where none is claimed.
    tf32, reduced
        Whether the device may round the factors to TF32, and partial sums to 16 bits.
    """

    name: str
    output: Format
    copies: bool
    claimed: SumModel | None
    tf32: bool = False
    reduced: bool = False


@dataclass
class Tally:
    """What one way gave for weights of one format."""

    logits: int = 0
    beyond: int = 0
    certain: int = 0
    changed: int = 0
    shares: dict[str, tuple[float, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What is claimed of logits by one model and output format, ``[n, V]`` on the device."""

    error: Tensor
    low: Tensor
    high: Tensor
    certain: Tensor
    top: Tensor


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="small matrices, in seconds")
    options = parser.parse_args()
    rng = np.random.default_rng(_SEED)
    shapes = _SMALL_SHAPES if options.small else _SHAPES
    tallies: dict[tuple[str, str], tuple[Way, Tally]] = {}
    orders = Orders()
    begin = time.perf_counter()
    print(_where(options.device), flush=True)
    for format_ in FORMATS:
        for shape in shapes:
            for name, draw in DRAWS.items():
                rows, states = draw(rng, format_, *shape, _STATES)
                case = Case(rows, states, format_, f"{name} {shape[0]} × {shape[1]}")
                case.judge(options.device, tallies, orders)
        if not options.small:
            name = f"Gaussian {_LARGE[0]} × {_LARGE[1]}"
            case = Case(*gaussian(rng, format_, *_LARGE, _STATES), format_, name)
            case.judge(options.device, tallies, orders)
        case = Case(*demo(rng, format_, 0, 0, _STATES), format_, "the embedded model's W")
        case.judge(options.device, tallies, orders)
        print(f"{format_.name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    _print_table(tallies)
    for name, why in sorted(orders.refused.items()):
        print(f"\nnot computed: {name}: {why}")
    print(
        f"\nOf {orders.states:,} states with logits of one output format, {orders.differ:,} got "
        f"logits that differ between ways; {orders.open_top:,} are order-dependent, and on "
        f"{orders.other_top:,} of these the ways put different tokens on top."
    )
    wrong = [
        f"{weights}, {way.name}: {tally.beyond:,} logits beyond the bound, "
        f"{tally.changed:,} certain states with another top token"
        for (weights, _), (way, tally) in tallies.items()
        if way.claimed and (tally.beyond or tally.changed)
    ]
    print(
        "\n".join(["", "WRONG", *wrong] if wrong else ["", "Nothing contradicts what is claimed."])
    )
    sys.exit(bool(wrong))


def _ways(format_: Format, *, on_gpu: bool) -> list[Way]:
    tensor_cores = TRUNCATING if on_gpu else ROUNDING
    ways = [Way("float32", F32, True, ROUNDING)]
    if format_.bits == 16:
        ways.append(Way(f"{format_.name} out", format_, False, tensor_cores))
    if on_gpu:
        ways.append(Way("TF32", F32, True, None, tf32=True))
        if format_.bits == 16:
            ways.append(Way(f"{format_.name} in, float32 out", F32, False, tensor_cores))
            name = f"{format_.name} out, partial sums too"
            ways.append(Way(name, format_, False, None, reduced=True))
    return ways


class Orders:
    """Whether the ways differ at all: without that, agreement would say nothing.

    `refused` has what a library does not compute, and what it says then.
    """

    def __init__(self) -> None:
        self.states = self.differ = self.open_top = self.other_top = 0
        self.refused: dict[str, str] = {}

    def add(self, differ: Tensor, other_top: Tensor, is_open: Tensor) -> None:
        """Count some states, given by masks ``[n]``."""
        self.states += len(differ)
        self.differ += int(differ.sum())
        self.open_top += int(is_open.sum())
        self.other_top += int((other_top & is_open).sum())


class Case:
    """One matrix and its states: their real logits, bounds and certificates.

    Parameters
    ----------
    rows, states
        ``[V, d]`` and ``[n, d]``, values of the format.
    format_
        Of both.
    name
        For the table.
    """

    def __init__(self, rows: Float64s, states: Float64s, format_: Format, name: str) -> None:
        self.rows, self.states, self.format, self.name = rows, states, format_, name
        width = rows.shape[1]
        self.logits = states @ rows.T
        sizes = np.abs(states) @ np.abs(rows).T
        entries = np.abs(states).sum(axis=1)[:, None] + np.abs(rows).sum(axis=1)
        # Of these two products and of the sums with them, generously.
        self.slack = sizes * (4 * width * 2.0**-53)
        flushed = float(lost(width, Fraction(1)) / (2 * width + 1)) * (2 * width + entries)
        exact_products = products_are_exact(format_, format_)
        self.errors = {
            model.name: float(model.factor(width, exact_products=exact_products)) * sizes + flushed
            for model in (ROUNDING, TRUNCATING)
        }
        self.certificates = self._certify()

    def _certify(self) -> list[TopToken]:
        matrix = Matrix.of_values(self.rows, self.format)
        certifier = Certifier(
            matrix,
            None,
            norms=exact.norm_bounds(matrix),
            same=row_classes(matrix).values,
            formats=output_formats(self.format, self.format),
        )
        vectors = [Vector.of_values(state, self.format) for state in self.states]
        return [
            certifier.at(h, exact.logits(matrix, h, self.format).values, self.format)
            for h in vectors
        ]

    def judge(
        self, device: str, tallies: dict[tuple[str, str], tuple[Way, Tally]], orders: Orders
    ) -> None:
        """Compute the logits in every way on a device, and count what contradicts a claim."""
        on_gpu = device.startswith("cuda")
        rows, states = (
            torch.from_numpy(values).to(getattr(torch, self.format.torch)).to(device)
            for values in (self.rows, self.states)
        )
        logits, slack = (torch.from_numpy(v).to(device) for v in (self.logits, self.slack))
        limits: dict[tuple[str, str], Limits] = {}
        first: dict[str, Tensor] = {}
        differ: dict[str, Tensor] = {}
        other_top: dict[str, Tensor] = {}
        for way in _ways(self.format, on_gpu=on_gpu):
            model = way.claimed or TRUNCATING
            key = (way.output.name, model.name)
            if key not in limits:
                limits[key] = self._limits(way.output, model, device)
            here = limits[key]
            _, tally = tallies.setdefault((self.format.name, way.name), (way, Tally()))
            a, b = (rows.float(), states.float()) if way.copies else (rows, states)
            for chosen, found in _products(a, b, way, orders.refused, on_gpu=on_gpu):
                out = found.double()
                low, high, error = here.low[chosen], here.high[chosen], here.error[chosen]
                tally.logits += out.numel()
                tally.beyond += int(((out < low) | (out > high) | out.isnan()).sum())
                # What the output's own rounding does not account for.
                excess = (out - logits[chosen]).abs() - slack[chosen] - _half_ulp(out, way.output)
                for other in (ROUNDING, TRUNCATING):
                    bound = error if other is model else self._error(other, device)[chosen]
                    share = (float((excess / bound).max()), self.name)
                    tally.shares[other.name] = max(tally.shares.get(other.name, share), share)
                best = out.max(dim=1)
                alone = (out == best.values[:, None]).sum(dim=1) == 1
                right = alone & (best.indices == here.top[chosen])
                tally.certain += int(here.certain[chosen].sum())
                tally.changed += int((here.certain[chosen] & ~right).sum())
                if way.claimed is None:
                    continue
                name = way.output.name
                if name not in first:
                    first[name] = torch.full_like(logits, torch.nan)
                    differ[name] = torch.zeros(len(states), dtype=torch.int64, device=device)
                    other_top[name] = differ[name].clone()
                fresh = first[name][chosen, 0].isnan()
                first[name][chosen[fresh]] = out[fresh]
                known = first[name][chosen]
                differ[name].index_add_(0, chosen, (known != out).any(dim=1).long())
                moved = known.argmax(dim=1) != best.indices
                other_top[name].index_add_(0, chosen, moved.long())
        for name, counts in differ.items():
            verdicts = [found.formats[name].verdict for found in self.certificates]
            is_open = torch.tensor([v == "order-dependent" for v in verdicts], device=device)
            orders.add(counts > 0, other_top[name] > 0, is_open)

    def _limits(self, output: Format, model: SumModel, device: str) -> Limits:
        error = self.errors[model.name]
        # Wider by what binary64 may have lost of the real logit.
        ends = (self.logits - error - self.slack, self.logits + error + self.slack)
        low, high = (end if output is F32 else round_to(end, output) for end in ends)
        found = [certificate.formats[output.name] for certificate in self.certificates]
        truncated = model is TRUNCATING
        certain = [
            (each.if_truncated if truncated else each.verdict) == "certain" for each in found
        ]
        top = [certificate.token_id for certificate in self.certificates]
        arrays = (error, low, high, np.array(certain), np.array(top))
        return Limits(*(torch.from_numpy(each).to(device) for each in arrays))

    def _error(self, model: SumModel, device: str) -> Tensor:
        return torch.from_numpy(self.errors[model.name]).to(device)


def _products(
    rows: Tensor, states: Tensor, way: Way, refused: dict[str, str], *, on_gpu: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield which states took part, ``[b]``, and their logits, ``[b, V]``, by every operation.

    What a library does not have is noted in `refused`.
    """
    libraries = ("cublas", "cublaslt") if on_gpu else ("",)
    n = len(states)
    for library in libraries:
        for batch in _BATCHES:
            for k in range(_TIMES):
                # The same state may stand in a batch more than once.
                chosen = (torch.arange(batch, device=rows.device) + k * batch) % n
                h = states[chosen]
                operations = _operations(rows, h, wide=way.output is F32 and not way.copies)
                for name, compute in operations.items():
                    try:
                        with _settings(way, library):
                            found = compute()
                    except RuntimeError as error:
                        where = f"{name} of {way.name}, batch {batch} {library}".rstrip()
                        refused[where] = str(error).splitlines()[0]
                    else:
                        yield chosen, found


def _operations(rows: Tensor, h: Tensor, *, wide: bool) -> dict[str, Callable[[], Tensor]]:
    """Return operations that give the logits of a batch, ``[b, V]``."""
    if wide:
        return {
            "mm(h, W.T)": lambda: torch.mm(h, rows.T, out_dtype=torch.float32),
            "mm(W, h.T)": lambda: torch.mm(rows, h.T, out_dtype=torch.float32).T,
        }
    found = {
        "F.linear(h, W)": lambda: torch.nn.functional.linear(h, rows),
        "h @ W.T": lambda: h @ rows.T,
        "W @ h.T": lambda: (rows @ h.T).T,
    }
    if len(h) == 1:
        found["W @ h[0]"] = lambda: (rows @ h[0])[None]
        found["F.linear(h[0], W)"] = lambda: torch.nn.functional.linear(h[0], rows)[None]
    return found


@contextmanager
def _settings(way: Way, library: str) -> Iterator[None]:
    """Set torch to compute in a way, with a library of the GPU's, and put it back after."""
    if not library:
        yield
        return
    matmul = torch.backends.cuda.matmul
    names = ("allow_bf16_reduced_precision_reduction", "allow_fp16_reduced_precision_reduction")
    before = [getattr(matmul, name) for name in names]
    precision = torch.get_float32_matmul_precision()
    preferred = torch.backends.cuda.preferred_blas_library()
    for name in names:
        setattr(matmul, name, way.reduced)
    torch.set_float32_matmul_precision("high" if way.tf32 else "highest")
    torch.backends.cuda.preferred_blas_library(library)
    try:
        yield
    finally:
        torch.backends.cuda.preferred_blas_library(preferred)
        torch.set_float32_matmul_precision(precision)
        for name, value in zip(names, before, strict=True):
            setattr(matmul, name, value)


def _half_ulp(values: Tensor, format_: Format) -> Tensor | float:
    """Return how far a real number can be from the value that it was rounded to, at most."""
    if format_ is F32:
        # The sum itself is a binary32 number: there is no other rounding.
        return 0.0
    exponents = torch.frexp(values.abs()).exponent.clamp(min=format_.min_exponent + 1)
    return torch.exp2(exponents.double() - (format_.precision + 1))


def _where(device: str) -> str:
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    return f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}"


def _print_table(tallies: dict[tuple[str, str], tuple[Way, Tally]]) -> None:
    print(
        "\n| weights | way | claimed | logits | beyond | largest error / bound to nearest "
        "| / bound cut off | certain | another top |\n|---|---|---|--:|--:|---|---|--:|--:|"
    )
    for (weights, name), (way, tally) in tallies.items():
        shares = [
            f"{max(share, 0):.3f} ({case})"
            for share, case in (tally.shares[model.name] for model in (ROUNDING, TRUNCATING))
        ]
        claimed = "nothing" if way.claimed is None else way.claimed.name
        counts = (tally.logits, tally.beyond)
        tops = (tally.certain, tally.changed)
        cells = (weights, name, claimed, *map(_whole, counts), *shares, *map(_whole, tops))
        print("| " + " | ".join(cells) + " |")


def _whole(count: int) -> str:
    return f"{count:,}"


if __name__ == "__main__":
    main()
