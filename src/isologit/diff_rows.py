"""What became of rows between two checkpoints, from both matrices or from figures of the rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isologit.claims import BOUND, EXACT
from isologit.diff_findings import (
    BiasMoves,
    Frozen,
    FrozenBy,
    Moved,
    MovedAtLeast,
    MovedRow,
    Scaled,
    UlpBin,
    ZeroRows,
)
from isologit.diff_sides import FIGURES, ROUNDED, RowNames, Side
from isologit.equivalence.deviations import differing
from isologit.equivalence.partition import Overlap, Partition
from isologit.findings import Comparison, MatrixFacts
from isologit.numerics.formats import F32, Float64s, Format, parse_format, round_to
from isologit.numerics.scaled_rows import scaled_rows
from isologit.numerics.stored import Matrix, Vector
from isologit.numerics.ulp_distances import RowMoves, coarser, row_moves, stored_alike
from isologit.tokens.categories import CATEGORIES

# Rows that are listed from either end of the distances.
_LISTED = 10
_QUANTILES = {"min": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RowsFound:
    """What is known of the rows of two sides; the fields of `Diff` that have these names."""

    why: str
    frozen_rows: int | None = None
    frozen: Frozen | None = None
    moved: Moved | None = None
    moved_at_least: MovedAtLeast | None = None
    bias: BiasMoves | None = None

    @property
    def claims(self) -> dict[str, str]:
        """What kind of claim each is, of those that there are."""
        kinds = {"frozen": EXACT, "moved": EXACT, "bias": EXACT, "moved_at_least": BOUND}
        named = {"frozen": "frozen_rows"}
        return {
            named.get(name, name): claim
            for name, claim in kinds.items()
            if getattr(self, name) is not None
        }


def rows_of_models(
    before: Side, after: Side, classes: Partition, names: RowNames, format_: Format | None
) -> RowsFound:
    """Compare the rows of two models, entry by entry.

    Parameters
    ----------
    before, after
        Sides with weights, of one width.
    classes
        The row classes after, of the rows that both have.
    names
        Who the rows are.
    format_
        The format whose numbers are counted; None stands for the coarser of the two.
    """
    assert before.subject is not None
    assert after.subject is not None
    one, other = before.subject.head, after.subject.head
    moves = row_moves(one.matrix, other.matrix, format_)
    frozen, bias = moves.frozen, None
    if one.bias is not None and other.bias is not None:
        of_bias = row_moves(_column(one.bias), _column(other.bias), format_)
        bias = BiasMoves(
            format=of_bias.format.name,
            same=int(of_bias.frozen.sum()),
            moved=int((of_bias.largest > 0).sum()),
            ulp=int(of_bias.largest.max(initial=0)),
        )
        frozen = frozen & of_bias.frozen
    return RowsFound(
        why=f"both matrices are there: rows are compared {_how(one.matrix, other.matrix)}",
        frozen_rows=int(frozen.sum()),
        frozen=_frozen(
            frozen,
            before,
            classes,
            names,
            by="values" if moves.same_bits is None else "bits",
            same_values=int(moves.same_values.sum()),
            without_bias=None if bias is None else int(moves.frozen.sum()),
        ),
        moved=_moved(moves, one.matrix, other.matrix, names),
        bias=bias,
    )


def rows_of_one_matrix(
    before: Side, classes: Partition, names: RowNames, *, biased: bool
) -> RowsFound:
    """Say that all rows are the same, of two sides whose W has one digest."""
    n_rows = classes.n_tokens
    same = np.ones(n_rows, dtype=np.bool_)
    why = "the stored bytes of both matrices have one sha256: every row is the same"
    if biased:
        why += "; the biases are not to be had, so rows with their biases are not compared"
    return RowsFound(
        why=why,
        frozen_rows=None if biased else n_rows,
        frozen=_frozen(
            same,
            before,
            classes,
            names,
            by="digest",
            same_values=n_rows,
            without_bias=n_rows if biased else None,
        ),
    )


def rows_of_figures(
    before: Side, after: Side, by_value: tuple[Partition, Partition], format_: Format | None
) -> RowsFound:
    """Say which rows certainly moved, by figures of their entries and by the classes.

    As many at most as `rows_of_models` would find: a row counts where an entry certainly has a
    distance of 1 at least, or is NaN in one of the two alone.

    Parameters
    ----------
    before, after
        Sides of one width, one of which at least has no weights.
    by_value
        Their classes of rows of equal values, of the rows that both have.
    format_
        The format whose numbers are counted; None stands for the coarser of the two.
    """
    n_rows = by_value[0].n_tokens
    one, other = (parse_format(each.facts().matrix.values_dtype) for each in (before, after))
    counted = format_ or coarser(one, other)
    # Else values may differ and be rounded to one.
    kept = counted.holds(one) and counted.holds(other)
    left, right = before.figures(), after.figures()
    usable = [
        name
        for name in FIGURES
        if name in left and name in right and (name not in ROUNDED or (kept and one == other))
    ]

    def figure(of: Mapping[str, Float64s], name: str) -> Float64s:
        # Rounding keeps the order: the extreme of the rounded entries is the extreme, rounded.
        values = of[name][:n_rows]
        return values if name in ROUNDED else round_to(values, counted)

    differs = {name: differing(figure(left, name), figure(right, name)) for name in usable}
    # With biases, which classes count, unlike classes mean that a row moved or one of these.
    alike = kept and before.bias is None and after.bias is None
    why = (
        "a result directory holds no rows: equal figures do not show that a row is the same, but "
        "unlike ones show that it is not"
    )
    if not usable and not alike:
        return RowsFound(why=f"{why}; these two have no figure in common that could be compared")
    seen = np.zeros(n_rows, dtype=np.bool_)
    for mask in differs.values():
        seen |= mask
    more = _moved_by_classes(*by_value, seen) if alike else 0
    return RowsFound(
        why=why,
        moved_at_least=MovedAtLeast(
            rows=int(seen.sum()) + more,
            by={name: int(mask.sum()) for name, mask in differs.items()},
            token_ids=np.flatnonzero(seen).tolist(),
        ),
    )


def has_scales_beside(matrix: MatrixFacts) -> bool:
    """Whether W's values take scales that lie in a tensor of their own: of 8-bit floats alone."""
    return matrix.dtype.startswith("f8") and matrix.values_dtype == F32.name


def zero_rows(before: Side, after: Side, n_rows: int) -> ZeroRows | None:
    """Count the zero rows of two sides, among the rows that both have."""
    left, right = before.zero_rows(), after.zero_rows()
    if left is None or right is None:
        return None
    left, right = left[:n_rows], right[:n_rows]
    return ZeroRows(before=int(left.sum()), after=int(right.sum()), both=int((left & right).sum()))


def _how(before: Matrix, after: Matrix) -> str:
    if stored_alike(before, after):
        return "bit for bit as stored"
    if before.stored_as == after.stored_as:
        return f"once decoded, since each matrix of {after.stored_as} may have scales of its own"
    two = f"{before.stored_as} and {after.stored_as}"
    return f"once decoded, by value, since bits of {two} cannot be compared"


def _moved_by_classes(before: Partition, after: Partition, seen: Mask) -> int:
    """Return how many rows moved at least, beside those that were seen to, by classes alone.

    Tokens that share their class before and after move together, or not at all. Of the pieces that
    a class of before is in after, all of which had one row, one at most still has it; of those that
    a class of after was in before, all of which have one row, one at most had it.
    """
    pieces = before.meet(after)
    sizes = np.bincount(pieces.labels[~seen], minlength=pieces.n_classes)
    bounds = []
    for side in (before, after):
        whole = side.labels[pieces.firsts()]
        total = np.bincount(whole, weights=sizes, minlength=side.n_classes)
        largest = np.zeros(side.n_classes)
        np.maximum.at(largest, whole, sizes)
        bounds.append(int((total - largest).sum()))
    return max(bounds)


def _column(bias: Vector) -> Matrix:
    return Matrix(bias.words.reshape(-1, 1), bias.format)


def _frozen(
    frozen: Mask,
    before: Side,
    classes: Partition,
    names: RowNames,
    *,
    by: FrozenBy,
    same_values: int,
    without_bias: int | None,
) -> Frozen:
    ids, shared = np.flatnonzero(frozen), np.flatnonzero(classes.n_others())
    zero = before.zero_rows()
    return Frozen(
        by=by,
        same_values=same_values,
        without_bias=without_bias,
        zero=None if zero is None else int(zero[: len(frozen)][frozen].sum()),
        token_ids=ids.tolist(),
        categories=_counts(names, frozen),
        of=_counts(names, np.ones_like(frozen)),
        in_classes=Comparison.of(Overlap.of(ids, shared)) if len(shared) else None,
    )


def _counts(names: RowNames, mask: Mask) -> dict[str, int] | None:
    if names.categories is None:
        return None
    n_rows = min(len(mask), len(names.categories))
    found = np.bincount(names.categories[:n_rows][mask[:n_rows]], minlength=len(CATEGORIES))
    return dict(zip(CATEGORIES, found.tolist(), strict=True))


def _moved(moves: RowMoves, before: Matrix, after: Matrix, names: RowNames) -> Moved:
    changed, far = ~moves.frozen, moves.largest
    moved, nan = far > 0, moves.unlike_nan > 0
    below = changed & ~moved & ~nan
    ids = np.flatnonzero(moved)
    order = np.lexsort((ids, moves.entries[ids], far[ids]))
    most = np.lexsort((ids, -moves.entries[ids], -far[ids]))
    return Moved(
        format=moves.format.name,
        rows=len(ids),
        below_ulp=int(below.sum()),
        only_nan=int((nan & ~moved).sum()),
        unlike_nan=int(nan.sum()),
        through_zero=int((moves.through_zero > 0).sum()),
        entries=int(moves.entries.sum()),
        histogram=_histogram(far[below | moved]),
        quantiles=_quantiles(far[ids]),
        least=_rows(ids[order[:_LISTED]], moves, names),
        most=_rows(ids[most[:_LISTED]], moves, names),
        scaled=None if after.coding is not None else _scaled(before, after, ids),
    )


def _histogram(distances: npt.NDArray[np.int64]) -> list[UlpBin]:
    """Return how many rows lie in 0, 1, 2, 3–4, 5–8, … up to the largest."""
    if not len(distances):
        return []
    # frexp's exponent of a whole number is how many bits it has.
    bins = np.where(distances > 0, np.frexp(np.maximum(distances - 1, 0))[1] + 1, 0)
    counts = np.bincount(bins).tolist()
    bounds = [(0, 0), (1, 1), *((2**n // 2 + 1, 2**n) for n in range(1, len(counts)))]
    return [
        UlpBin(from_=low, to=high, rows=count)
        for (low, high), count in zip(bounds, counts, strict=False)
    ]


def _quantiles(distances: npt.NDArray[np.int64]) -> dict[str, int] | None:
    """Return the smallest distances that so large a share of rows does not exceed."""
    if not len(distances):
        return None
    ranked = np.sort(distances)
    ranks = {name: max(int(np.ceil(share * len(ranked))), 1) for name, share in _QUANTILES.items()}
    return {name: int(ranked[rank - 1]) for name, rank in ranks.items()}


def _rows(ids: Iterable[int], moves: RowMoves, names: RowNames) -> list[MovedRow]:
    return [
        MovedRow(
            token_id=int(i),
            ulp=int(moves.largest[i]),
            entries=int(moves.entries[i]),
            token=names.shown(int(i)),
        )
        for i in ids
    ]


def _scaled(before: Matrix, after: Matrix, ids: npt.NDArray[np.int64]) -> Scaled:
    found = scaled_rows(before, after, ids)
    ends, common = found.range, found.common()
    return Scaled(
        rows=len(found.token_ids),
        least=None if ends is None else ends[0],
        greatest=None if ends is None else ends[1],
        common=None if common is None else [float(end) for end in common],
        token_ids=found.token_ids.tolist(),
    )
