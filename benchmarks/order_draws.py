"""Matrices and states on which the order and the kind of a device's additions show.

Each draw returns rows ``[V, d]`` and states ``[n, d]`` as values of the format. Their logits stay
within binary16, so that every draw serves every format.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.head import find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.demo import checkpoint_path
from isologit.numerics.formats import Format, decode, round_to

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, Format, int, int, int], tuple[Floats, Floats]]

# Entries of a row that tell it from its neighbours.
_OWN = 6


def gaussian(
    rng: np.random.Generator, format_: Format, n_tokens: int, width: int, n_states: int
) -> tuple[Floats, Floats]:
    """Return what an untrained model has."""
    rows = 0.02 * rng.standard_normal((n_tokens, width))
    return round_to(rows, format_), round_to(rng.standard_normal((n_states, width)), format_)


def wide(
    rng: np.random.Generator, format_: Format, n_tokens: int, width: int, n_states: int
) -> tuple[Floats, Floats]:
    """Return entries of magnitudes from 2⁻¹² to 1, each as likely: products span 24 bits."""

    def entries(shape: tuple[int, int]) -> Floats:
        return rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.uniform(-12, 0, shape)

    rows, states = entries((n_tokens, width)), entries((n_states, width))
    return round_to(rows, format_), round_to(states, format_)


def cancelling(
    rng: np.random.Generator, format_: Format, n_tokens: int, width: int, n_states: int
) -> tuple[Floats, Floats]:
    """Return terms that come twice, with either sign: of a large sum little is left or nothing."""
    half = width // 2
    rows = 0.02 * rng.standard_normal((n_tokens, width))
    states = rng.standard_normal((n_states, width))
    rows[:, half : 2 * half] = -rows[:, :half]
    states[:, half : 2 * half] = states[:, :half]
    # What is left is that of one term in 64.
    kept = rng.random((n_tokens, half)) < 1 / 64
    rows[:, half : 2 * half][kept] *= 1 + 2.0**-6
    order = rng.permutation(width)
    return round_to(rows[:, order], format_), round_to(states[:, order], format_)


def drowned(
    rng: np.random.Generator, format_: Format, n_tokens: int, width: int, n_states: int
) -> tuple[Floats, Floats]:
    """Return a large first term and small ones just below its last bits, all of one sign.

    A sum that keeps 24 bits of the largest term loses each small one whole, or one that keeps up to
    three bits more. In every other row the last term takes the large one away.
    """
    below = 2.0 ** -rng.integers(5, 9, (n_tokens, 1))
    rows = below * rng.choice([2 - 2.0**-7, 2 - 2.0**-6], (n_tokens, width))
    rows[:, 0] = 2.0**7 * rng.choice([1.0, 1 + 2.0**-7], n_tokens)
    rows[::2, -1] = -rows[::2, 0]
    states = np.full((n_states, width), 2.0**-5)
    states[:, [0, -1]] = 2.0 ** rng.integers(4, 8, (n_states, 1))
    return round_to(rows, format_), round_to(states, format_)


def neighbours(
    rng: np.random.Generator, format_: Format, n_tokens: int, width: int, n_states: int
) -> tuple[Floats, Floats]:
    """Return rows that differ in a few entries, and states with more or less of these.

    So the margins at the top run from far below the bound to far above it.
    """
    rows = np.tile(0.05 * rng.standard_normal(width), (n_tokens, 1))
    rows[:, -_OWN:] = rng.standard_normal((n_tokens, _OWN))
    states = rng.standard_normal((n_states, width))
    # A large logit that all rows share: the error of its sum beside a margin of any size.
    states[:, :-_OWN] += np.sign(rows[0, :-_OWN])
    states[:, -_OWN:] *= 2.0 ** rng.uniform(-22, 3, (n_states, 1))
    return round_to(rows, format_), round_to(states, format_)


def demo(
    rng: np.random.Generator, format_: Format, n_tokens: int, width: int, n_states: int
) -> tuple[Floats, Floats]:
    """Return the embedded model's W, whatever the size asked for, and Gaussian states."""
    matrix = find_head(open_checkpoint(checkpoint_path())).matrix
    rows = decode(matrix.block(0, matrix.n_tokens), matrix.format)
    states = rng.standard_normal((n_states, matrix.width))
    return round_to(rows, format_), round_to(states, format_)


DRAWS: dict[str, Draw] = {
    "Gaussian": gaussian,
    "wide": wide,
    "cancelling": cancelling,
    "drowned": drowned,
    "neighbours": neighbours,
}
