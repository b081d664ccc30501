"""Signs that training hardly touched a token's row: a grade for every token, with its reasons.

The indicators are those of Land and Bartolo, *Fishing for Magikarp* (2024, arXiv 2405.05417):
norms, and distances and cosines to the mean of tokens that are known to be unused, also without
what all rows share. There the unused tokens are registered by hand for each model; here they are
found (`isologit.tokens.reference`). A grade rests on reasons that do not follow from each other:

- where the row lies: among the reference set, or in a cluster that is packed apart from the rest;
- what it equals: the very bits of other rows, or zero, which no gradient of its own left behind;
- what the tokenizer says of the token, or of one with the very same row.

The tokenizer's word alone gives no grade, because trained tokens are named too; a low norm, a
direction or a short way from the reference set alone are weak.
docs/undertrained.md has the thresholds, the calibration and the limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.numerics.dots import dots_double
from isologit.numerics.formats import Float64s
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix
from isologit.tokens.directions import directions
from isologit.tokens.duplicates import Mask, RowDuplicates, zero_rows_are_no_chance
from isologit.tokens.evidence import Evidence
from isologit.tokens.reference import MOST_STRANGERS, Reference, find_reference
from isologit.tokens.shells import prediction_factor

# Of the way that other rows have gone from the reference set.
_NEAR = 0.1
# Of the median norm of the rows that nothing else is said of. Norms of Gaussian rows are
# 1 ± 1/√(2d) of their mean: from d = 30 on this is five deviations below.
_LOW = 1 / 3
# What rounding may do to a cosine near 1.
_COSINE_ERROR = 2.0**-40


def undertrained_evidence(
    matrix: Matrix,
    candidates: Mapping[str, Mask],
    row_labels: npt.NDArray[np.int32],
    clusters: Sequence[npt.NDArray[np.int32]] = (),
) -> Evidence:
    """Grade every token by what its row, its duplicates and the tokenizer say of its training.

    Parameters
    ----------
    matrix
        ``[V, d]``: the unembedding, or the input embedding; tied or not.
    candidates
        Masks ``[V]`` by source of suspicion: ``padding``, ``never_in_utf8``, ``reserved``,
        ``unreachable``, or others. Any may be empty; without a tokenizer there are none.
    row_labels
        ``[V]`` labels of the classes of bit-identical rows.
    clusters
        The tokens ``[n]`` of each cluster that was found, most prominent first.

    Returns
    -------
    Evidence
        The same for any number of threads.

    Raises
    ------
    ValueError
        A mask or the labels are not of V tokens, or a source has the name of a reason.

    Notes
    -----
    Time: some ten passes over W. Extra memory: some 40 numbers a token.
    """
    n_tokens = matrix.n_tokens
    for name, array in {**candidates, "row_labels": row_labels}.items():
        if array.shape != (n_tokens,):
            raise ValueError(f"{name} has shape {array.shape}, expected ({n_tokens},)")
    scan = scan_rows(matrix)
    masks = {name: np.asarray(mask, dtype=np.bool_) for name, mask in candidates.items()}
    duplicates = RowDuplicates.of(row_labels, scan.zero)
    notable = duplicates.notable & ~scan.zero
    # In binary64: the squares of a scan are binary32 in part, and may leave its range.
    squares = dots_double(matrix, np.arange(n_tokens), np.zeros(matrix.width)).squares
    norms = np.sqrt(np.where(scan.finite, squares, np.nan))
    reference = find_reference(matrix, norms, masks, row_labels, notable, clusters)
    cluster_sizes = np.zeros(n_tokens, dtype=np.int64)
    for cluster in clusters:
        cluster_sizes[cluster] = len(cluster)
    indicators = {"norm": norms, **_indicators(matrix, squares, reference)}

    place = _place(reference, masks, scan.zero)
    named = np.zeros(n_tokens, dtype=np.bool_)
    for mask in masks.values():
        named |= mask
    twin = _twins(duplicates, masks) & scan.finite
    several = (duplicates.sizes > 1) & ~scan.zero
    quiet = scan.finite & ~(place.reference | place.shell | (cluster_sizes > 0) | several)
    low_norm = _low_norm(norms[quiet])
    reasons = {
        "reference": place.reference,
        "shell": place.shell,
        "cluster": cluster_sizes > 0,
        "zero": scan.zero,
        "row_class": notable,
        "twin": twin & ~scan.zero,
        "small_row_class": several & ~notable & ~twin,
        "near": place.near,
        **_alike(reference, indicators),
        "low_norm": (norms < low_norm) & ~scan.zero,
        "nonfinite": ~scan.finite,
    }
    if clash := sorted(masks.keys() & reasons.keys()):
        raise ValueError(f"a source of candidates is called as a reason is: {clash[0]}")
    zero_counts = scan.zero & zero_rows_are_no_chance(matrix)
    grades = _grades(reasons, named | twin, zero_counts)
    flags = {**masks, **reasons}
    return Evidence(grades, indicators, flags, reference, duplicates, cluster_sizes, low_norm)


def _low_norm(norms: Float64s) -> float:
    """Return the norm below which one is low; 0 where more than one in ten would be."""
    low = _LOW * float(np.median(norms)) if len(norms) else 0.0
    return low if np.count_nonzero(norms < low) <= MOST_STRANGERS * len(norms) else 0.0


def _twins(duplicates: RowDuplicates, masks: Mapping[str, Mask]) -> Mask:
    """Return which tokens are in a class with a candidate, ``[V]``, and not by chance.

    That is a class larger than chance makes them, or of a source so small that at most one matrix
    in ten would have any of its tokens in a class by chance.
    """
    twins = np.zeros(len(duplicates.labels), dtype=np.bool_)
    for mask in masks.values():
        rare = duplicates.rate * mask.sum() <= MOST_STRANGERS
        twins |= duplicates.hold(mask) & (duplicates.notable | rare)
    return twins


def _grades(flags: Mapping[str, Mask], named: Mask, zero: Mask) -> npt.NDArray[np.int8]:
    """Combine reasons: what counts by itself, what the tokenizer adds, and what is weak."""
    itself = np.sum(
        [
            flags["reference"],
            flags["cluster"],
            flags["row_class"] | flags["twin"] | zero,
        ],
        axis=0,
    )
    doubtful = flags["shell"] | flags["near"]
    weak = doubtful | flags["zero"] | flags["small_row_class"]
    weak |= flags["direction"] | flags["centred_direction"] | flags["low_norm"]
    grades = np.select(
        [
            (itself >= 2) | ((itself >= 1) & named),
            (itself >= 1) | (doubtful & named),
            weak,
        ],
        [3, 2, 1],
    )
    return np.where(flags["nonfinite"], 0, grades).astype(np.int8)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where rows lie beside the reference set: ``[V]`` each."""

    reference: Mask
    shell: Mask
    near: Mask


def _place(reference: Reference, masks: Mapping[str, Mask], zero: Mask) -> _Place:
    """Say which tokens are among the reference set, or doubtfully so, or near it.

    A cluster that stands in for a reference set is a reason already, and not a second one; and so
    is a zero row, wherever the reference set is.
    """
    nowhere = np.zeros(len(reference.distances), dtype=np.bool_)
    if reference.band is None or reference.by == "cluster":
        return _Place(nowhere, nowhere, nowhere)
    inside = reference.band.holds(reference.distances)
    inside[reference.token_ids] = True
    clear = nowhere | reference.is_clear
    for name, mask in masks.items():
        clear |= mask & reference.names(name)
    near = nowhere
    if reference.kind == "packed":
        near = (reference.distances <= _NEAR * reference.typical) & ~inside & ~zero
    inside &= ~zero
    return _Place(inside & clear, inside & ~clear, near)


def _indicators(matrix: Matrix, squares: Float64s, reference: Reference) -> dict[str, Float64s]:
    """Return the numbers that are measured beside the reference set, ``[V]`` each."""
    distances = reference.distances
    nothing = np.full(len(distances), np.nan)
    if reference.centre is None or reference.mean is None:
        names = ("distance", "share_of_way", "offset", "cosine", "centred_cosine")
        return dict.fromkeys(names, nothing)
    own = distances[reference.token_ids]
    spread = float(own.std(ddof=1))
    offset = (distances - own.mean()) / spread if spread > 0 else nothing
    found = directions(matrix, squares, reference.mean)
    cosine = found.cosine if reference.has_direction else nothing
    return {
        "distance": distances,
        "share_of_way": distances / reference.typical,
        "offset": offset,
        "cosine": cosine,
        "centred_cosine": found.centred_cosine,
    }


def _alike(reference: Reference, indicators: Mapping[str, Float64s]) -> dict[str, Mask]:
    """Say which rows point where the reference set does, as closely as its own rows do.

    Directions are only worth a flag beside a packed core, and where few other rows share them: at
    most one in ten of those outside the band.
    """
    cosine, centred = indicators["cosine"], indicators["centred_cosine"]
    nowhere = np.zeros(len(cosine), dtype=np.bool_)
    flags = {"direction": nowhere, "centred_direction": nowhere}
    band, centre = reference.band, reference.centre
    if reference.kind != "packed" or band is None or centre is None:
        return flags
    outside = reference.distances > band.high
    # The cone that the ball subtends from the origin.
    sine = band.high / float(np.linalg.norm(centre)) if centre.any() else 1.0
    own = centred[reference.token_ids]
    own = own[np.isfinite(own)]
    least = {"direction": float(np.sqrt(1 - sine**2)) if sine < 1 else 2.0}
    least["centred_direction"] = (
        float(own.mean() - prediction_factor(len(own)) * own.std(ddof=1)) if len(own) > 2 else 2.0
    )
    for name, cosines in (("direction", cosine), ("centred_direction", centred)):
        alike = cosines >= least[name] - _COSINE_ERROR
        if alike[outside].sum() <= MOST_STRANGERS * outside.sum():
            flags[name] = alike
    return flags
