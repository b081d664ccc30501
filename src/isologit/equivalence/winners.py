"""Which token wins at each of many hidden states: the argmax of exact logits."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from isologit.numerics import exact
from isologit.numerics.formats import Float64s, Format
from isologit.numerics.many_states import logits_at_states
from isologit.numerics.stored import Matrix

# Bytes of the logits that are held at a time.
_LOGIT_BYTES = 64 << 20

# Where no logit is a number.
NOBODY = -1


def winners(matrix: Matrix, hidden_states: Matrix, logit_format: Format) -> npt.NDArray[np.int64]:
    """Return the winner at each state, ``[K]``: the lowest id of the largest logit.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    hidden_states
        ``[K, d]``.
    logit_format
        What a logit is rounded to.

    Returns
    -------
    ndarray
        Exact: of the real products, each rounded once. A logit that is no number (NaN) does not
        win; where none is one, `NOBODY`.
    """
    found = np.empty(hidden_states.n_tokens, dtype=np.int64)
    step = max(8, _LOGIT_BYTES // (4 * max(matrix.n_tokens, 1)))
    for start, some in _parts(hidden_states, step):
        values = logits_at_states(matrix, some, logit_format).values
        lost = np.isnan(values)
        if lost.any():
            values = np.where(lost, -np.inf, values)
        best = values.argmax(axis=1)
        best[lost.all(axis=1)] = NOBODY
        found[start : start + len(best)] = best
    return found


def _parts(hidden_states: Matrix, step: int) -> Iterator[tuple[int, Matrix]]:
    for start in range(0, hidden_states.n_tokens, step):
        stop = min(start + step, hidden_states.n_tokens)
        yield start, hidden_states.take(np.arange(start, stop))


def margin(
    matrix: Matrix, winner: int, other: int, hidden_state: Float64s, logit_format: Format
) -> float | None:
    """Return the difference of two tokens' exact rounded logits at a state.

    Exact, but for the subtraction's own rounding to binary64. 0 of two infinities of one sign,
    which tie; None where one of the logits is no number.
    """
    ids = np.array([winner, other], dtype=np.intp)
    values, _ = exact.decided_dots(matrix, ids, hidden_state, logit_format)
    if np.isnan(values).any():
        return None
    return 0.0 if values[0] == values[1] else float(values[0] - values[1])
