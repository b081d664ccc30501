"""Hidden states: where logits are asked for, and whether a norm could output them."""

from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Literal

import numpy as np
import numpy.typing as npt

from isologit.checkpoint.head import FinalNorm
from isologit.equivalence.norm_range import ComputedNorm, NormRange
from isologit.equivalence.partition import TokenIds
from isologit.errors import DuplicateTokenError, EmptyClusterError, StateError, TokenIdError
from isologit.numerics.arithmetic import Arithmetic
from isologit.numerics.formats import FORMATS, Float64s, Format, round_fraction, round_to
from isologit.numerics.stored import Matrix, Vector

# See `looks_like_pre_norm`.
PRE_NORM_BELOW, PRE_NORM_ABOVE = 0.8, 1.25

StateKind = Literal["centroid", "token", "spherical", "file", "mean", "mix"]


@dataclass(frozen=True, eq=False)
class State:
    """A hidden state, rounded to the compute format.

    Parameters
    ----------
    kind
        Where it comes from.
    vector
        ``[d]`` in the compute format; every figure at the state is exact given these bits.
    token_ids
        The tokens whose rows it was made from; empty where it was not.
    rescaled_from
        The norm ratio that it had before it was put on the rim of what the final norm outputs; None
        where it was not, NaN where it had none.
    """

    kind: StateKind
    vector: Vector
    token_ids: TokenIds
    rescaled_from: float | None = None

    @property
    def sha256(self) -> str:
        """The digest of the stored words, little-endian."""
        return sha256(np.ascontiguousarray(self.vector.words).tobytes()).hexdigest()


@dataclass(frozen=True)
class Reachability:
    """Whether the final norm can output a state, in real arithmetic or as it is computed.

    Parameters
    ----------
    reachable
        None where the norm is not known.
    norm_ratio
        ‖(h − β) ⊘ γ‖/√d, the radius of the state before γ and β; a norm outputs radii below 1.
        None where it is not defined.
    why
        One sentence.
    least, most
        Between which radii it lies before what a computed norm rounds; no more than a bound where γ
        is 0 and the state says nothing of u: then `most` is infinite.
    """

    reachable: bool | None
    norm_ratio: float | None
    why: str
    least: float = 0.0
    most: float = np.inf


def token_id_list(token_ids: npt.ArrayLike, n_tokens: int, where: str) -> TokenIds:
    """Return token ids as a sorted array, after checking them.

    Parameters
    ----------
    token_ids
        Integers.
    n_tokens
        V.
    where
        Where the ids come from, for the message.

    Raises
    ------
    EmptyClusterError, TokenIdError, DuplicateTokenError
    """
    ids = np.asarray(token_ids)
    if ids.size == 0:
        raise EmptyClusterError(f"{where}: no token ids; expected at least one")
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TokenIdError(
            f"{where}: token ids must be a list of integers, got {ids.dtype} of shape {ids.shape}"
        )
    outside = ids[(ids < 0) | (ids >= n_tokens)]
    if len(outside):
        raise TokenIdError(
            f"{where}: token id {outside[0]} is outside the vocabulary; expected 0 to "
            f"{n_tokens - 1} ({len(outside)} of {len(ids)} ids are outside)"
        )
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        repeated = distinct[counts > 1]
        raise DuplicateTokenError(
            f"{where}: token id {repeated[0]} is given {counts.max()} times "
            f"({len(repeated)} ids are repeated); list each id once"
        )
    return distinct.astype(np.int32)


def centroid_state(matrix: Matrix, token_ids: TokenIds, arithmetic: Arithmetic) -> State:
    """Return the mean of some rows as a state, rounded to W's format."""
    vector, _ = arithmetic.mean_row(matrix, token_ids)
    return State("centroid", vector, token_ids)


def mean_state(matrix: Matrix, finite: npt.NDArray[np.bool_], arithmetic: Arithmetic) -> State:
    """Return the mean of all finite rows (of all rows where none is finite) as a state."""
    rows = np.flatnonzero(finite) if finite.any() else np.arange(matrix.n_tokens)
    vector, _ = arithmetic.mean_row(matrix, rows)
    return State("mean", vector, np.empty(0, dtype=np.int32))


def token_state(matrix: Matrix, token_id: int) -> State:
    """Return one token's own row as a state.

    Raises
    ------
    TokenIdError
        The id is outside the vocabulary.
    """
    ids = token_id_list([token_id], matrix.n_tokens, "--token")
    return State("token", matrix.row(token_id), ids)


def spherical_state(direction: Float64s, distance: float, format_: Format) -> State:
    """Return a unit direction ``[d]`` times a distance as a state, rounded once to a format.

    Raises
    ------
    StateError
        The distance is not a positive finite number.
    """
    if not np.isfinite(distance) or distance <= 0:
        raise StateError(f"distance {distance} must be a positive number; got it from --pole")
    vector = Vector.of_values(direction * distance, format_)
    return State("spherical", vector, np.empty(0, dtype=np.int32))


def file_state(values: Float64s, width: int, format_: Format, where: str) -> State:
    """Return a user's vector as a state, rounded once to the compute format.

    Raises
    ------
    StateError
        It does not have d values.
    """
    if values.shape != (width,):
        raise StateError(
            f"{where}: a state of {values.shape[-1]} values; this model's hidden state has {width}"
        )
    return State("file", Vector.of_values(values, format_), np.empty(0, dtype=np.int32))


def mixed_state(a: State, b: State, share: Fraction) -> State:
    """Return (1 − share)·a + share·b as a state, each component the real number rounded once.

    Raises
    ------
    StateError
        A state is not finite.
    """
    left, right = a.vector.values, b.vector.values
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise StateError("a state holds an infinity or a NaN and cannot be mixed with another")
    format_ = a.vector.format
    mixed = [
        round_fraction((1 - share) * Fraction(x) + share * Fraction(y), format_)
        for x, y in zip(left.tolist(), right.tolist(), strict=True)
    ]
    return State("mix", Vector.of_values(np.array(mixed), format_), np.empty(0, dtype=np.int32))


def rescaled_state(state: State, norm_range: NormRange, norm: FinalNorm) -> State:
    """Return the state that a final norm outputs in a state's direction, rounded once.

    The direction is that before γ and β, without its mean where the norm is a LayerNorm.

    Raises
    ------
    StateError
        The state is not finite.
    """
    h = state.vector.values
    if not np.isfinite(h).all():
        raise StateError(
            "the state holds an infinity or a NaN, so no norm outputs anything in its direction; "
            "expected finite numbers. Leave out --reachable"
        )
    before = reachability(state, norm).norm_ratio
    vector = Vector.of_values(norm_range.rescaled(h), state.vector.format)
    return State(state.kind, vector, state.token_ids, np.nan if before is None else before)


def looks_like_pre_norm(reach: Reachability, factor: float = 1.0) -> bool:
    """Return whether a captured state's length is none that a trained model's norm outputs.

    Nor is it one times `factor`: what a model multiplies the norm's output with before the head.

    A norm's roundings add a share of a few hundredths at most, so 1.25 is far above what it can
    output. A ratio of 0.8 is √(1 − ε/(m + ε)) for an input whose mean square m is 1.8 ε: entries of
    about 0.001 for ε = 1e-6, where trained models have some of 1 or more.
    """
    if reach.norm_ratio is None:
        return False
    return not any(
        reach.most >= PRE_NORM_BELOW * each and reach.least <= PRE_NORM_ABOVE * each
        for each in (1.0, abs(factor))
    )


def reachability(state: State, norm: FinalNorm) -> Reachability:
    """Say whether a final norm can output a state, in real arithmetic or as it is computed.

    What a norm outputs is in `isologit.equivalence.norm_range`; what it computes may lie a little
    outside of that set, and counts as reachable within the proved bounds of `ComputedNorm`, for
    whichever format that holds the state they are widest. Where γ is 0 the state says nothing
    of u: RMSNorm may then have any value there, and LayerNorm's are as small as the mean allows.
    """
    if norm.kind not in ("rms", "layer"):
        return Reachability(None, None, "the final norm is not known, so neither is its range")
    h = state.vector.values
    norm_range = NormRange.of(norm, len(h))
    if norm_range is None or not np.isfinite(h).all():
        return Reachability(False, None, "the state or the norm's weight is not finite")
    if not ComputedNorm.covers(norm_range):
        return Reachability(None, None, f"nothing bounds what a norm over {len(h):,} values rounds")
    # Of bfloat16 and float16 one is coarser, and the other ends sooner.
    computed = [
        ComputedNorm.of(norm_range, f) for f in FORMATS if np.array_equal(round_to(h, f), h)
    ]
    if not any(each.holds_beta(norm_range, h) for each in computed):
        return Reachability(
            False, None, "it is not what the norm adds in a dimension that its weight kills"
        )
    inner = norm_range.inner(h)
    moved = np.max([each.of_states(norm_range, inner) for each in computed], axis=0)
    n_killed = int((norm_range.gamma == 0).sum())
    square, total = inner @ inner, inner.sum()
    if norm.kind == "layer" and n_killed:
        # The dimensions that γ kills make up for the others' sum, in equal parts where shortest.
        square += total * total / n_killed
    ratio = float(np.sqrt(square / len(h)))
    slack = float(np.linalg.norm(moved) / np.sqrt(len(h)))
    # One dimension that LayerNorm's γ kills is what the mean makes it; more of them are not.
    told = n_killed == 0 or (norm.kind == "layer" and n_killed == 1)
    most = ratio + slack if told else np.inf
    measured = f"‖(h − β) ⊘ γ‖/√d is {ratio:.4g}"

    def found(reachable: bool, why: str) -> Reachability:
        return Reachability(reachable, ratio, why, max(ratio - slack, 0.0), most)

    if ratio > 1 + slack:
        return found(False, f"{measured}, and the final norm outputs at most 1")
    if norm.eps == 0 and not n_killed and ratio < 1 - slack:
        return found(False, f"{measured}, and without ε the norm outputs 1")
    if norm.kind == "layer" and not n_killed and abs(total) > moved.sum():
        return found(False, "its mean before the norm's weight is not zero")
    if ratio >= 1:
        return found(True, f"{measured}, within rounding of the norm's most, 1")
    return found(True, f"{measured}, and the final norm outputs up to 1")
