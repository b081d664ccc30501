"""Logits at many hidden states at once: a product of matrices, certified like a single one.

A block of rows is widened to binary64 once and multiplied with all states by BLAS, so W is read
once instead of once a state. What its bound does not decide goes the way of a single state's.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from isologit.numerics import exact, kernels
from isologit.numerics.certify import round_one, rounding_of
from isologit.numerics.compilation import kernel
from isologit.numerics.formats import Float64s, Format
from isologit.numerics.ieee_mode import require_ieee_mode
from isologit.numerics.lanes import ROOM, U_DOUBLE
from isologit.numerics.parallel import for_blocks
from isologit.numerics.stored import Matrix

# Fewer than this are faster one by one.
_FEWEST_STATES = 8
# Rows and states of one product of matrices: its operands stay in the caches' upper levels.
_BLOCK_ROWS = 512
_BLOCK_STATES = 1024


@dataclass(frozen=True, eq=False)
class RoundedAtStates:
    """Correctly rounded logits at K states.

    Parameters
    ----------
    values
        ``[K, V]`` binary32, which holds every value of every logit format.
    refined
        ``[K]``, how many took the exact step.
    """

    values: npt.NDArray[np.float32]
    refined: npt.NDArray[np.int64]


def logits_at_states(
    matrix: Matrix, hidden_states: Matrix, logit_format: Format
) -> RoundedAtStates:
    """Return ``W · h`` for many states, each the real dot product rounded once to the logit format.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    hidden_states
        ``[K, d]``, in any of the formats read here.
    logit_format
        The format that a logit is rounded to.

    Returns
    -------
    RoundedAtStates
        The values are exact, and those of `isologit.numerics.exact.logits` at each state alone.
        `refined` may differ from what that counts: another bound came first.

    Notes
    -----
    Time: K·V·d multiplications in binary64. Memory: 4·K·V bytes for the result, 8·K·d for the
    states, and for each thread 4·d kB and some 5 MB; give many states in parts.

    BLAS may add the terms of a dot product in any order: |error| ≤ (d − 1)·u·Σ|w_k h_k|.
    """
    if hidden_states.width != matrix.width:
        raise ValueError(
            f"hidden states have {hidden_states.width} values, expected d = {matrix.width}"
        )
    n_states, n_tokens = hidden_states.n_tokens, matrix.n_tokens
    values = np.empty((n_states, n_tokens), dtype=np.float32)
    refined = np.zeros(n_states, dtype=np.int64)
    if n_states < _FEWEST_STATES:
        for k in range(n_states):
            one = exact.logits(matrix, hidden_states.row(k), logit_format)
            values[k], refined[k] = one.values, one.refined
        return RoundedAtStates(values, refined)
    require_ieee_mode()
    for first in range(0, n_states, _BLOCK_STATES):
        some = hidden_states.rows(np.arange(first, min(first + _BLOCK_STATES, n_states)))
        part = slice(first, first + len(some))
        _fill(matrix, some, logit_format, values[part], refined[part])
    return RoundedAtStates(values, refined)


def _fill(
    matrix: Matrix,
    states: Float64s,
    logit_format: Format,
    values: npt.NDArray[np.float32],
    refined: npt.NDArray[np.int64],
) -> None:
    """Fill ``[K, V]`` values, and ``[K]`` how many were refined."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("kd,kd->k", states, states))
    lengths *= (matrix.width + 4) * U_DOUBLE * ROOM
    left: list[npt.NDArray[np.intp]] = []

    def multiply(start: int, stop: int) -> None:
        for begin in range(start, stop, _BLOCK_ROWS):
            end = min(begin + _BLOCK_ROWS, stop)
            rows = np.empty((end - begin, matrix.width))
            squares = np.empty(end - begin)
            _widen_rows(kernels.typed_block(matrix, begin, end), rows, squares)
            # An infinity times a zero is no news here: such rows are not certified.
            with np.errstate(over="ignore", invalid="ignore"):
                dots = states @ rows.T
            unsure = np.empty(dots.shape, dtype=np.bool_)
            rounding = rounding_of(logit_format)
            _certify_block(dots, lengths, squares, *rounding, values[:, begin:end], unsure)
            if unsure.any():
                left.append(np.argwhere(unsure) + np.array([0, begin]))

    # Our own threads share out the rows; BLAS would start as many again for each of them.
    with threadpool_limits(1, user_api="blas"):
        for_blocks(multiply, matrix.n_tokens, matrix.row_bytes)
    pairs = np.concatenate(left) if left else np.empty((0, 2), dtype=np.intp)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    bounds = np.searchsorted(pairs[:, 0], np.arange(len(states) + 1))
    for k, h in enumerate(states):
        tokens = np.ascontiguousarray(pairs[bounds[k] : bounds[k + 1], 1])
        decided, refined[k] = exact.decided_dots(matrix, tokens, h, logit_format)
        values[k, tokens] = decided


@kernel(fastmath={"reassoc", "contract"})
def _widen_rows(words, rows, squares):  # type: ignore[no-untyped-def]
    """Fill rows with the values of stored ones, and their sums of squares."""
    for n in range(rows.shape[0]):
        total = 0.0
        for k in range(rows.shape[1]):
            value = kernels.widen(words[n, k])
            rows[n, k] = value
            total += value * value
        squares[n] = total


@kernel()
def _certify_block(dots, lengths, squares, dropped, quantum, smallest, largest, values, unsure):  # type: ignore[no-untyped-def]
    """Round ``[K, n]`` dot products whose errors are below ``lengths · √squares``."""
    roots = np.sqrt(squares)
    for k in range(dots.shape[0]):
        for n in range(dots.shape[1]):
            dot = dots[k, n]
            error = lengths[k] * roots[n]
            low = round_one(dot - error, dropped, quantum, smallest, largest)
            high = round_one(dot + error, dropped, quantum, smallest, largest)
            values[k, n] = low + 0.0
            # A NaN, and what is infinite, differ from everything.
            unsure[k, n] = not (low == high and abs(dot) < np.inf and error < np.inf)
