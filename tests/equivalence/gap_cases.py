"""Heads on which gaps are hard, for the tests of gaps and of their search."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np

from isologit.equivalence.gap import Gap
from isologit.equivalence.norm_range import NormRange
from isologit.numerics.formats import BF16, F16, F32, Float64s, Format, round_to
from isologit.numerics.stored import Matrix
from oracle.gap_oracle import TrueGap, true_gap

Kind = Literal["rms", "layer"]
KINDS: tuple[Kind, ...] = ("rms", "layer")


@dataclass(frozen=True, eq=False)
class Case:
    """A head: rows, norm, scales, biases."""

    name: str
    values: Float64s
    format_: Format
    kind: Kind
    gamma: Float64s
    beta: Float64s | None = None
    biases: Float64s | None = None
    scale: Fraction = Fraction(1)
    bias_scale: Fraction = Fraction(1)

    def __str__(self) -> str:
        return f"{self.name}-{self.kind}-{self.format_.name}"

    @property
    def gap(self) -> Gap:
        norm_range = NormRange(self.kind, self.gamma, self.beta, 1e-6)
        matrix = Matrix.of_values(self.values, self.format_)
        return Gap(matrix, norm_range, BF16, self.scale, self.bias_scale, self.biases)

    def true(self, a: int, b: int) -> TrueGap:
        rows = Matrix.of_values(self.values, self.format_).rows([a, b])
        biases = (0.0, 0.0) if self.biases is None else (self.biases[a], self.biases[b])
        return true_gap(
            rows[0].tolist(),
            rows[1].tolist(),
            layer=self.kind == "layer",
            gamma=self.gamma.tolist(),
            beta=None if self.beta is None else self.beta.tolist(),
            scale=self.scale,
            bias_scale=self.bias_scale,
            biases=biases,
        )

    @cached_property
    def all_true(self) -> dict[tuple[int, int], TrueGap]:
        return {(a, b): self.true(a, b) for a, b in combinations(range(len(self.values)), 2)}


def cases() -> Iterator[Case]:
    """Yield heads of every kind, the same every time."""
    for kind in KINDS:
        for format_ in (BF16, F32):
            yield from _cases(kind, format_)
        yield from (each for each in _cases(kind, F16) if each.name in ("all", "cluster"))


def _cases(kind: Kind, format_: Format) -> Iterator[Case]:
    rng = np.random.default_rng([KINDS.index(kind), format_.precision])
    v, d = 11, 37

    def rounded(values: Float64s) -> Float64s:
        return round_to(values, format_)

    plain = rounded(rng.normal(size=(v, d)) * 0.1)
    gamma = round_to(rng.normal(1.0, 0.5, d), BF16)
    yield Case("plain", plain, format_, kind, gamma)
    biases = round_to(rng.normal(size=v), format_)
    beta = round_to(rng.normal(size=d), F32)
    yield Case("beta", plain, format_, kind, gamma, beta=beta)
    yield Case(
        *("all", plain, format_, kind, gamma, beta, biases),
        scale=Fraction(-1, 3),
        bias_scale=Fraction(-1, 3),
    )
    yield Case("state-scale", plain, format_, kind, gamma, beta, biases, Fraction(1, 12))
    # A cluster whose rows differ in the last bits, beside others of sizes of their own.
    tight = np.repeat(plain[:1], v, axis=0)
    tight[: v - 4] += plain[0] * 2.0 ** (1 - format_.precision) * rng.integers(-2, 3, (v - 4, d))
    tight[v - 2] *= 0
    tight[v - 1] *= 2.0**12
    tight[v - 4] *= 2.0**-9
    yield Case("cluster", rounded(tight), format_, kind, gamma, beta=beta)
    # What differs is killed by γ in some pairs, and by P in others.
    killed = gamma.copy()
    killed[3:9] = 0
    same = np.repeat(plain[:1], v, axis=0)
    same[1::3, 3:9] = rounded(rng.normal(size=(len(same[1::3]), 6)))
    same[2::3, 10] += 0.25
    yield Case("killed", rounded(same), format_, kind, killed)
    ones = np.ones(d)
    shifted = np.repeat(rounded(np.round(plain[:1] * 64) / 64), v, axis=0)
    shifted += np.arange(v)[:, None] % 5 / 4
    shifted[v - 1, 0] += 2.0**-6
    yield Case("constants", rounded(shifted), format_, kind, ones)
    # A bias that makes up for β · Δ, exactly in some pairs and nearly in others.
    steps = np.zeros((v, d))
    steps[:, 0] = np.arange(v) / 8
    other = killed * 0
    other[1] = 1.0
    steps[:, 1] = rounded(rng.normal(size=v) * 2.0**-9)
    makes_up = -np.arange(v) / 8
    makes_up[v // 2 :] += 2.0**-10
    first = np.zeros(d)
    first[0] = 1.0
    yield Case("made-up", rounded(steps), format_, kind, other, first, makes_up)
    # The same where the sums are rounded, so that binary64 has hardly a digit of what is left.
    dots = -round_to(plain @ beta, F32)
    yield Case("nearly", plain, format_, kind, killed * 0, beta, dots)
    if format_ is F32:
        # γ ⊙ Δ is the same in every entry, and its sum has more than 53 bits.
        wide = np.zeros((8, 600)) + np.arange(600) % 2 / 2
        wide += rng.integers(0, 2**22, (8, 1)) * 2.0**-23
        yield Case("wide", rounded(wide), format_, kind, round_to(np.full(600, 1.1), F32))
    if format_ is not F16:
        # From subnormal to nearly infinite.
        sizes = 2.0 ** np.linspace(format_.quantum_exponent + 2, 120, v)
        yield Case("sizes", rounded(plain * sizes[:, None]), format_, kind, gamma * 2.0**60)
