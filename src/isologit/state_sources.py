"""Where many hidden states come from, and what is measured of each: a figure a state.

From a file of the user's own, or random ones that the final norm can output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isologit.certificates import Columns
from isologit.checkpoint.head import Head
from isologit.checkpoint.state_file import StoredStates
from isologit.checkpoint.wording import counted
from isologit.equivalence.norm_range import NormRange
from isologit.equivalence.states import (
    PRE_NORM_ABOVE,
    PRE_NORM_BELOW,
    Reachability,
)
from isologit.errors import StateError
from isologit.numerics.formats import Float64s
from isologit.numerics.stored import Matrix
from isologit.request import RandomStates
from isologit.states_findings import DistinctLogits, MinMedianMax, StatesFacts
from isologit.subject import Subject


@dataclass(frozen=True, eq=False)
class Source:
    """States in the compute format, in parts, with how many values of each had to be rounded."""

    n_states: int
    kind: Literal["file", "random"]
    file: str | None
    seed: int | None
    part: Callable[[int, int], tuple[Matrix, list[int]]]


def source_of(subject: Subject, asked: StoredStates | RandomStates) -> Source:
    """Return the states that are asked for.

    Raises
    ------
    StateError
        Those of a file have another width.
    """
    matrix = subject.head.matrix
    if isinstance(asked, RandomStates):
        drawn = NormRange.known_or_assumed(subject.head.norm, matrix.width)
        seed = asked.seed

        def random_part(first: int, stop: int) -> tuple[Matrix, list[int]]:
            states = drawn.random_states(first, stop, seed=seed, format_=matrix.format)
            return states, [0] * (stop - first)

        return Source(asked.n_states, "random", None, seed, random_part)
    if asked.width != matrix.width:
        raise StateError(
            f"{asked.where}: states of {asked.width} values; this model's hidden state has "
            f"{matrix.width}"
        )
    stored = asked

    def file_part(first: int, stop: int) -> tuple[Matrix, list[int]]:
        values = stored.part(first, stop)
        states = Matrix.of_values(values, matrix.format)
        kept = states.rows(np.arange(stop - first))
        changed = ~((values == kept) | np.isnan(values))
        return states, changed.sum(axis=1).tolist()

    return Source(asked.n_states, "file", asked.where, None, file_part)


def identity_of(subject: Subject, source: Source, *, with_greedy: bool) -> dict[str, str]:
    """Return what the figures depend on besides the states, by the word that an error uses."""
    head, norm = subject.head, subject.head.norm
    numbers = sha256()
    for vector in (norm.gamma, norm.beta):
        numbers.update(b"none" if vector is None else np.ascontiguousarray(vector).tobytes())
    bias = "none" if head.bias is None else sha256(head.bias.words.tobytes()).hexdigest()
    shape = f"{head.matrix.n_tokens} × {head.matrix.width}"
    return {
        "matrix": f"{subject.sha256} {shape} {head.matrix.stored_as}",
        "norm": f"{norm.kind} {numbers.hexdigest()[:16]} {norm.eps}",
        "bias": bias,
        "scale": "none" if head.scale is None else f"{head.scale.multiply} {head.scale.applies_to}",
        "logit format": subject.logit_format.name,
        "source of states": source.kind if source.seed is None else f"random, seed {source.seed}",
        "greedy certificate": "asked for" if with_greedy else "left out",
        "version of isologit": subject.version,
    }


def before_the_head(head: Head) -> float:
    """Return what a model multiplies the norm's output with before the head: 1 in most of them."""
    scale = head.scale
    return scale.multiply if scale is not None and scale.applies_to == "state" else 1.0


def figures_of(
    state: Float64s, reach: Reachability, n_distinct: int, rounded: int, *, pre_norm: bool
) -> dict[str, Any]:
    """Return what is measured of a state ``[d]``, a number each; −1 distinct: not counted."""
    ratio = np.nan if reach.norm_ratio is None else reach.norm_ratio
    code = -1 if reach.reachable is None else int(reach.reachable)
    return {
        "ratio": np.float64(ratio),
        "reachable": np.int8(code),
        "pre_norm": np.int8(pre_norm),
        "distinct": np.int32(n_distinct),
        "rounded": np.int32(rounded),
        "nonfinite": np.int8(not np.isfinite(state).all()),
        "zero": np.int8(not state.any()),
    }


def odd_states_notes(columns: Columns) -> list[str]:
    """Say which states hold no numbers, or nothing but 0: a capture that went wrong."""
    notes = []
    for name, what in (
        ("nonfinite", "an infinity or a NaN"),
        ("zero", "nothing but 0, at which all tokens tie"),
    ):
        found = np.flatnonzero(columns[name])
        if len(found):
            verb = "holds" if len(found) == 1 else "hold"
            notes.append(
                f"{counted(len(found), 'state')} {verb} {what}: state {found[0]}"
                + (" and others" if len(found) > 1 else "")
                + ", from 0"
            )
    return notes


def n_distinct(logits: npt.NDArray[np.float32]) -> int:
    """Return how many distinct logits there are; NaN is one."""
    ascending = np.sort(logits)
    n_nan = int(np.isnan(logits).sum())
    steps = int((ascending[1:] != ascending[:-1]).sum())
    # Each NaN differs from its neighbour.
    return 1 + steps - max(n_nan - 1, 0)


def states_facts(
    subject: Subject, source: Source, done: int, columns: Columns, digest: str
) -> StatesFacts:
    """Return the states as a record, from the columns of `figures_of`."""
    ratios = columns["ratio"][~np.isnan(columns["ratio"])]
    counted_distinct = columns["distinct"][columns["distinct"] >= 0]
    known = NormRange.of(subject.head.norm, subject.head.matrix.width) is not None
    return StatesFacts(
        n=done,
        asked=source.n_states,
        source=source.kind,
        file=source.file,
        seed=source.seed,
        dtype=subject.head.matrix.format.name,
        norm="known" if known else "assumed",
        ratio=MinMedianMax(**_extent(ratios)) if len(ratios) else None,
        unreachable=int((columns["reachable"] == 0).sum()),
        undecided=int((columns["reachable"] < 0).sum()),
        pre_norm=int(columns["pre_norm"].sum()),
        rounded=int(columns["rounded"].sum()),
        distinct_logits=DistinctLogits(n=len(counted_distinct), **_extent(counted_distinct))
        if len(counted_distinct)
        else None,
        sha256=digest,
    )


def before_the_head_notes(head: Head) -> list[str]:
    """Say what stands between the norm and the head, where a captured state may be either's."""
    factor = before_the_head(head)
    if factor == 1:
        return []
    return [
        f"the model multiplies the norm's output by {factor:.6g} before the head: a state that a "
        "hook on the head captured has a ratio of that, and figures are of the states as given"
    ]


def pre_norm_note(count: int, total: int, ratio: MinMedianMax) -> str:
    """Return the warning that states are none that a final norm outputs, and what to do."""
    which = "the state looks like a pre-norm state"
    if total > 1:
        which = f"{count:,} of {total:,} states look like pre-norm states"
    extent = f"{ratio.min:.4g}" if total == 1 else f"{ratio.min:.4g} to {ratio.max:.4g}"
    return (
        f"{which}: ‖(h − β) ⊘ γ‖/√d is {extent}, and a trained model's final norm outputs about 1 "
        f"(not below {PRE_NORM_BELOW:g} nor above {PRE_NORM_ABOVE:g}); capture what the head gets, "
        "with a forward pre-hook on model.get_output_embeddings() (docs/states.md)"
    )


def _extent(values: npt.NDArray[Any]) -> dict[str, Any]:
    ascending = np.sort(values)
    median = ascending[(len(ascending) - 1) // 2]
    return {
        "min": ascending[0].item(),
        "median": median.item(),
        "max": ascending[-1].item(),
    }
