"""Models and states on which the greedy certificate is hard, and what it should say of them.

The verdict here is the definition in rational numbers, over every token: slow, obvious, and apart
from the package.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from oracle import fraction_oracle as oracle

Floats = npt.NDArray[np.float64]
Ends = list[Fraction | float]
U = Fraction(1, 2**24)
PRECISION = {"bf16": 8, "f16": 11, "f32": 24}


def factor(n_terms: int, matrix_format: str, *, truncating: bool = False) -> Fraction:
    """Return what the sum of magnitudes is multiplied with."""
    if truncating:
        return 4 * n_terms * U / (1 - 4 * n_terms * U)
    if 2 * PRECISION[matrix_format] <= 24:
        return (n_terms - 1) * U
    return n_terms * U / (1 - n_terms * U)


def rounded(value: Fraction, format_name: str) -> Fraction | float:
    """Return a real number rounded once; an infinity as a float."""
    found = oracle.nearest(value, format_name)
    return found if isinstance(found, Fraction) else oracle.as_float(found)


def fractions(values: npt.ArrayLike) -> list[Fraction]:
    """Return values as rational numbers."""
    return [Fraction(float(x)) for x in np.asarray(values)]


class Model:
    """A matrix, a state, perhaps a bias, as rational numbers."""

    def __init__(
        self, rows: Floats, state: Floats, matrix_format: str, bias: Floats | None = None
    ) -> None:
        h = fractions(state)
        terms = [[a * b for a, b in zip(fractions(row), h, strict=True)] for row in rows]
        self.format = matrix_format
        self.products = [sum(row, Fraction(0)) for row in terms]
        self.sizes = [sum(map(abs, row), Fraction(0)) for row in terms]
        self.biases = [Fraction(0)] * len(rows) if bias is None else fractions(bias)
        self.biased = bias is not None
        self.n_terms = len(h) + self.biased
        self.logits = [a + b for a, b in zip(self.products, self.biases, strict=True)]

    def errors(self, *, truncating: bool = False) -> list[Fraction]:
        """Return the bounds, without what flushing may lose."""
        share = factor(self.n_terms, self.format, truncating=truncating)
        return [share * (size + abs(b)) for size, b in zip(self.sizes, self.biases, strict=True)]

    def ends(self, out: str, *, truncating: bool = False) -> tuple[Ends, Ends]:
        """Return the least and the largest that a device can compute, a token each."""
        lows: Ends = []
        highs: Ends = []
        for product, bias, logit, error in zip(
            self.products, self.biases, self.logits, self.errors(truncating=truncating), strict=True
        ):
            if out == "f32":
                lows.append(logit - error)
                highs.append(logit + error)
                continue
            both: list[Ends] = [[rounded(logit + sign * error, out)] for sign in (-1, 1)]
            if self.biased:
                for ends, sign in zip(both, (-1, 1), strict=True):
                    late = rounded(product + sign * error, out)
                    if isinstance(late, float):
                        ends.append(late)
                        continue
                    single = rounded(late + bias, "f32")
                    ends.append(rounded(late + bias, out))
                    ends.append(single if isinstance(single, float) else rounded(single, out))
            lows.append(min(both[0]))
            highs.append(max(both[1]))
        return lows, highs

    def on_grid(self, out: str) -> list[Fraction | float]:
        """Return the exact logits, rounded once."""
        return [rounded(logit, out) for logit in self.logits]

    def top(self) -> int:
        """Return the token of the largest real logit; of equal ones the lowest id."""
        return self.logits.index(max(self.logits))

    def verdict(self, out: str, *, truncating: bool = False) -> str:
        """Return the verdict by its definition."""
        lows, highs = self.ends(out, truncating=truncating)
        top = self.top()
        if all(lows[top] > high for n, high in enumerate(highs) if n != top):
            return "certain"
        grid = self.on_grid(out)
        return "tied" if grid.count(max(grid)) > 1 else "order-dependent"


def close_calls(rng: np.random.Generator, n_tokens: int, width: int) -> tuple[Floats, Floats]:
    """Return rows ``[V, d]`` and a state whose largest logits differ by next to nothing, if at all.

    Numbers of few bits over a range of exponents that reaches the last bits of binary32.
    """
    exponents = rng.choice([0, 0, -7, -8, -16, -21, -22, -23, -24], (n_tokens, width))
    rows = rng.choice([-1.0, 1.0, 1.25], (n_tokens, width)) * 2.0**exponents
    rows[:, 0] = rng.choice([1.0, 1.0, 1.0 + 2.0**-7, 0.5], n_tokens)
    rows[:, 1] = rng.choice([0.0, 0.0, 2.0**-8, 2.0**-9], n_tokens)
    # Most rows are alike but for their last bits, and some altogether.
    alike = rng.random(n_tokens) < 0.6
    rows[alike, :-1] = rows[np.argmax(rows[:, :2].sum(axis=1)), :-1]
    rows[alike, -1] = rng.choice([0, 1, 2, 3], alike.sum()) * 2.0 ** rng.integers(-26, -19)
    state = rng.choice([1.0, 1.0, 0.5, -1.0], width)
    state[0] = rng.choice([1.0, 1.5, 64.0])
    return rows, state
