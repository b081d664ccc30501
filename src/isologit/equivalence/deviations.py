"""How a device's logits differ from the exact ones, and which classes it splits or joins."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.equivalence.coarsening import part_counts
from isologit.equivalence.partition import Partition, TokenIds
from isologit.numerics.formats import Float64s, Format, ulp


@dataclass(frozen=True, eq=False)
class Deviations:
    """Tokens whose observed logit is another number than the exact one.

    Parameters
    ----------
    token_ids
        Which tokens, ascending.
    largest_token
        The one whose logits lie farthest apart, counted in units in the last place of its exact
        logit; None where no difference is finite.
    largest_ulp
        How far.
    """

    token_ids: TokenIds
    largest_token: int | None
    largest_ulp: float | None


def differing(left: Float64s, right: Float64s) -> npt.NDArray[np.bool_]:
    """Return where two arrays hold other numbers; a NaN equals a NaN."""
    return np.not_equal(left, right) & ~(np.isnan(left) & np.isnan(right))


def deviations(observed: Float64s, exact: Float64s, format_: Format) -> Deviations:
    """Compare two ``[V]`` arrays of logits of one format."""
    tokens = np.flatnonzero(differing(observed, exact))
    with np.errstate(invalid="ignore"):
        apart = np.abs(observed[tokens] - exact[tokens]) / ulp(exact[tokens], format_)
    finite = np.isfinite(apart)
    if not finite.any():
        return Deviations(tokens.astype(np.int32), None, None)
    largest = int(np.argmax(np.where(finite, apart, -1.0)))
    return Deviations(tokens.astype(np.int32), int(tokens[largest]), float(apart[largest]))


def split_classes(classes: Partition, observed: Float64s) -> list[tuple[int, int]]:
    """Return the classes whose tokens do not all have one observed logit.

    Returns
    -------
    list of (label, number of observed logits)
        By the number, largest first, then by label.
    """
    parts = part_counts(Partition.of_values(observed), classes)
    split = np.flatnonzero(parts > 1)
    split = split[np.argsort(-parts[split], kind="stable")]
    return [(int(label), int(parts[label])) for label in split]


def tokens_in(classes: Partition, split: list[tuple[int, int]]) -> int:
    """Return how many tokens some classes have together."""
    labels: npt.NDArray[np.intp] = np.array([label for label, _ in split], dtype=np.intp)
    return int(classes.sizes()[labels].sum())
