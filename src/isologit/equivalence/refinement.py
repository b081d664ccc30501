"""Iterated refinement: from a set of tokens to those that its own centroid cannot tell apart.

The steps are those of the seed line's notebook 1.6a (Embedding-Space/Azimuth_II).
"""

from dataclasses import dataclass

import numpy as np

from isologit.equivalence.partition import TokenIds, token_mask
from isologit.numerics.arithmetic import Arithmetic
from isologit.numerics.formats import Format
from isologit.numerics.stored import Matrix, Vector


@dataclass(frozen=True)
class Step:
    """One step: members left, tokens of the whole vocabulary in the class, centroid's shift."""

    n_members: int
    n_class: int
    shift: float


@dataclass(frozen=True, eq=False)
class Refinement:
    """What the refinement came to.

    Parameters
    ----------
    steps
        In order.
    converged
        Whether the last shift was below the tolerance.
    reason
        One sentence: why it stopped.
    token_ids
        ``[n]`` int32, the members in the end, ascending.
    centroid
        ``[d]``, the centroid whose class they are.
    """

    steps: tuple[Step, ...]
    converged: bool
    reason: str
    token_ids: TokenIds
    centroid: Vector


def refine(
    matrix: Matrix,
    start_ids: TokenIds,
    arithmetic: Arithmetic,
    logit_format: Format,
    *,
    max_iterations: int = 10,
    tolerance: float = 1e-3,
) -> Refinement:
    """Keep of some tokens those whose logit at their centroid h is h·h, and repeat.

    Parameters
    ----------
    matrix
        ``[V, d]``.
    start_ids
        The tokens to begin with; only they can be members.
    arithmetic
        Exact or observed.
    logit_format
        The format in which a logit equals h·h.
    max_iterations
        Steps at most.
    tolerance
        A shift of the centroid below this ends it.

    Returns
    -------
    Refinement
        With exact arithmetic every number is the real one rounded once: the logits and h·h to the
        logit format, the centroid and its shift to W's.
    """
    inside = token_mask(start_ids, matrix.n_tokens)
    members = np.flatnonzero(inside).astype(np.int32)
    centroid, _ = arithmetic.mean_row(matrix, members)
    moved = centroid
    steps: list[Step] = []
    for _ in range(max_iterations):
        centroid = moved
        logits = arithmetic.logits(matrix, centroid, logit_format).values
        same = logits == arithmetic.dot(centroid, centroid, logit_format)
        members = np.flatnonzero(inside & same).astype(np.int32)
        if not len(members):
            steps.append(Step(0, int(same.sum()), float("nan")))
            reason = "no member has the centroid's own logit"
            return Refinement(tuple(steps), False, reason, members, centroid)
        moved, _ = arithmetic.mean_row(matrix, members)
        difference = Vector.of_values(moved.values - centroid.values, matrix.format)
        shift = arithmetic.norm(difference, matrix.format)
        steps.append(Step(len(members), int(same.sum()), shift))
        if shift < tolerance:
            reason = f"the centroid moved by {shift:.3g}, less than {tolerance:g}"
            return Refinement(tuple(steps), True, reason, members, centroid)
    reason = "the centroid still moved"
    return Refinement(tuple(steps), False, reason, members, centroid)
