"""Simulated states, put where the final norm could output them; captured ones, held against it."""

from isologit.equivalence.norm_range import NormRange
from isologit.equivalence.states import State, looks_like_pre_norm, reachability, rescaled_state
from isologit.state_sources import before_the_head, before_the_head_notes, pre_norm_note
from isologit.states_findings import MinMedianMax
from isologit.subject import Subject


def on_the_rim(subject: Subject, state: State) -> State:
    """Return the state that the final norm outputs in a state's direction, rounded once.

    Raises
    ------
    StateError
        The state is not finite.
    """
    width = subject.head.matrix.width
    norm_range = NormRange.known_or_assumed(subject.head.norm, width)
    return rescaled_state(state, norm_range, subject.head.norm)


def assumed_norm_notes(subject: Subject) -> list[str]:
    """Say so where a state was rescaled for a norm that is not known."""
    if NormRange.of(subject.head.norm, subject.head.matrix.width) is not None:
        return []
    return ["the final norm is not known: the state was rescaled for an RMSNorm with γ = 1"]


def pre_norm_notes(subject: Subject, state: State) -> list[str]:
    """Warn where a captured state is none that a final norm outputs."""
    if state.rescaled_from is not None:
        return []
    head = subject.head
    told = before_the_head_notes(head)
    reach = reachability(state, head.norm)
    if not looks_like_pre_norm(reach, before_the_head(head)) or reach.norm_ratio is None:
        return told
    ratio = reach.norm_ratio
    return [*told, pre_norm_note(1, 1, MinMedianMax(min=ratio, median=ratio, max=ratio))]
