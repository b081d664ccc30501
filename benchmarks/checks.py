"""What a result must be before it is worth timing, held against torch or against what was planted.

Each check raises `WrongResultError`.
"""

from collections.abc import Mapping
from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt

import peers
from isologit.equivalence.rows import RowClasses
from isologit.numerics.exact import Rounded
from isologit.numerics.formats import BF16, round_to
from isologit.numerics.scan import RowScan
from isologit.numerics.stored import Matrix, Vector
from twin import Truth

_U_SINGLE = 2.0**-24
_U_DOUBLE = 2.0**-53
_SAMPLE = 1000
# Of tokens in either class, the share that may be in one alone: torch rounds along the way.
_CLASS_SLACK = 0.02
_SHARED_TENSORS = ("cluster_centroid", "logit_equiv_dot_product")


class WrongResultError(AssertionError):
    """A result is not what it must be."""


def require(holds: object, claim: str) -> None:
    """Raise unless a claim holds."""
    if not holds:
        raise WrongResultError(f"does not hold: {claim}")


def check_logits(
    matrix: Matrix, h: Vector, own: Rounded, other: peers.Tensor, norms: npt.NDArray[np.float64]
) -> None:
    """Hold exact bf16 logits against torch's, and some of them against sums without rounding."""
    theirs = other.double().numpy()
    # torch adds in float32 in some order, then rounds: |t1| + … + |td| is at most ‖w‖·‖h‖.
    size = norms * np.linalg.norm(h.values)
    bound = 2 * matrix.width * _U_SINGLE * size + _spacing(np.maximum(abs(own.values), abs(theirs)))
    require(
        (np.abs(own.values - theirs) <= bound).all(),
        "torch's logits are the exact ones within what float32 sums and one rounding may lose",
    )
    rows = np.linspace(0, matrix.n_tokens - 1, _SAMPLE).astype(np.int64)
    sums = np.array([fsum(row * h.values) for row in matrix.rows(rows)])
    require(
        np.array_equal(own.values[rows], round_to(sums, BF16) + 0.0),
        f"{_SAMPLE} logits are the sums without rounding error, rounded once",
    )


def check_rows(own: RowClasses, inverse: npt.NDArray[np.int64], truth: Truth) -> None:
    """Hold row classes against the inverse of `torch.unique` and against what was planted."""
    # torch compares numbers, so that −0 is +0.
    require(
        np.array_equal(own.row_values.labels, _canonical(inverse)),
        "the row classes are those of torch.unique",
    )
    found = sorted(ids.tolist() for ids in own.bits.groups())
    require(found == sorted(truth.populations), "the row classes are the planted populations")


def check_scan(own: RowScan, other: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Hold the figures of rows against torch's in float64."""
    width = own.matrix.width
    depth = own.sum_depth + width * _U_DOUBLE
    squares, sums = other["squares"], other["sums"]
    require(
        (np.abs(own.squares - squares) <= depth * squares + own.square_loss).all(),
        "squared norms are torch's within their bound",
    )
    magnitudes = np.sqrt(width * squares)
    require((np.abs(own.sums - sums) <= depth * magnitudes).all(), "sums are, too")
    require(np.array_equal(own.smallest, other["smallest"]), "smallest entries are torch's")
    require(np.array_equal(own.largest, other["largest"]), "largest entries are torch's")
    largest = np.maximum(np.abs(other["smallest"]), np.abs(other["largest"]))
    subnormal = (largest > 0) & (largest < 2.0**-126)
    require(np.array_equal(own.zero, largest == 0), "zero rows are torch's")
    require(np.array_equal(own.subnormal, subnormal), "subnormal rows are torch's")
    require(np.array_equal(own.finite, np.isfinite(largest)), "finite rows are torch's")


def check_axes(
    own: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.float64],
    other: npt.NDArray[np.float32],
) -> None:
    """Hold principal axes against eigenvectors in float32, up to sign."""
    require((bounds <= 1e-6).all(), "the sine of each axis's error is bounded by 1e-6")
    others = other.astype(np.float64)
    others /= np.linalg.norm(others, axis=1)[:, None]
    along = (own * others).sum(axis=1)
    sines = np.linalg.norm(others - along[:, None] * own, axis=1)
    require((sines <= 1e-4).all(), f"torch's axes are within a sine of 1e-4, not {sines.max():.1g}")


def check_class_files(
    own: Mapping[str, peers.Tensor], other: Mapping[str, peers.Tensor], exact: Rounded
) -> None:
    """Hold the seed's file as isologit writes it against the one that torch's script writes."""
    require(set(own) == set(other), "both files hold the same tensors")
    same = all(peers.same_bits(own[k], other[k]) for k in _SHARED_TENSORS)
    require(same, f"{' and '.join(_SHARED_TENSORS)} are the same bits")
    mode = own["logit_equiv_dot_product"].item()
    ids = own["logit_equiv_token_ids"].numpy()
    require(np.array_equal(ids, np.flatnonzero(exact.values == mode)), "the class is the exact one")
    theirs = other["logit_equiv_token_ids"].numpy()
    apart = len(np.setxor1d(ids, theirs))
    require(
        apart <= _CLASS_SLACK * len(np.union1d(ids, theirs)),
        f"torch's class is the same but for {_CLASS_SLACK:.0%} (they differ by {apart} tokens)",
    )


def check_audit(summary: Mapping[str, Any], truth: Truth) -> None:
    """Hold an audit's summary against what was planted."""
    sizes = sorted(map(len, truth.populations), reverse=True)
    require(summary["rows"]["sizes"] == sizes, "the audit finds the planted row classes")
    require(summary["cluster"] is not None, "the audit finds a cluster")
    members, planted = set(summary["cluster"]["token_ids"]), set(truth.cluster.tolist())
    share = len(members & planted) / len(members | planted)
    require(share >= 0.99, f"the audit finds the planted cluster (share in common {share:.4f})")


def _spacing(sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the distance from bf16 numbers of a size to the next."""
    exponents = np.maximum(np.frexp(sizes)[1] - 1, -126)
    return np.asarray(np.ldexp(1.0, exponents - 7))


def _canonical(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number classes by their first token."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
