"""The job of ``never-top``: which tokens can be the one argmax, and proof where they cannot."""

from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from math import isfinite
from time import perf_counter

import numpy as np
import numpy.typing as npt

from isologit import steps, token_steps
from isologit.checkpoint.wording import counted
from isologit.claims import EXACT
from isologit.equivalence.argmax import Standing, Status, Witness, collapse
from isologit.equivalence.argmax_search import (
    Watch,
    centre_of,
    own_states,
    proof_of,
    search,
)
from isologit.equivalence.domain import Domain, DomainName, all_states, reachable_states
from isologit.equivalence.hull_certificate import Proof
from isologit.equivalence.norm_range import NormRange
from isologit.equivalence.states import token_id_list
from isologit.errors import ConfigError
from isologit.never_top_findings import (
    NEVER_TOP_SCHEMA,
    CertificateFacts,
    DomainFacts,
    NeverTop,
    NeverTopFindings,
    SearchFacts,
    Shadowed,
)
from isologit.subject import Settings, Subject, head_facts, open_subject
from isologit.tokens.text import LONGEST_NAMED

#: Seconds of the search, where nobody says.
TIME_LIMIT = 60.0
_ROUNDING = (
    "these are claims about real logits: computed ones are rounded, and of tokens that tie then "
    "the lowest id is often taken, so a token that is listed here can still be produced"
)


class _Timed:
    """A watch within a watch: it ends when the time is over, and remembers what was planned."""

    def __init__(self, watch: Watch, seconds: float) -> None:
        self._watch, self._end = watch, perf_counter() + seconds
        self.estimates: dict[str, list[float | None]] = {}
        self.ended = True

    def planned(
        self, kind: Witness, n_tokens: int, least_seconds: float | None, most_seconds: float | None
    ) -> None:
        """Remember the estimate, and pass it on."""
        self.estimates[kind.name.lower()] = [least_seconds, most_seconds]
        self._watch.planned(kind, n_tokens, least_seconds, most_seconds)

    def advanced(self, n_tokens: int) -> None:
        """Pass it on."""
        self._watch.advanced(n_tokens)

    def going_on(self, needed_seconds: float = 0.0) -> bool:
        """Say whether there is time."""
        going_on = self._watch.going_on(needed_seconds) and (
            perf_counter() + needed_seconds < self._end
        )
        self.ended &= going_on
        return going_on


class Unwatched:
    """A watch that goes on for ever and tells nobody."""

    def planned(
        self, kind: Witness, n_tokens: int, least_seconds: float | None, most_seconds: float | None
    ) -> None:
        """Do nothing."""

    def advanced(self, n_tokens: int) -> None:
        """Do nothing."""

    def going_on(self, needed_seconds: float = 0.0) -> bool:
        """Say yes."""
        return True


@dataclass(eq=False)
class Question:
    """A subject, the states that are meant, and what is known of its tokens so far.

    Parameters
    ----------
    standing
        May be replaced by what an earlier search left.
    notes
        What a reader has to know.
    """

    subject: Subject
    domain: Domain
    standing: Standing
    notes: list[str]

    def identity(self) -> dict[str, str]:
        """Return what an earlier search must have been about to be gone on with."""
        domain = self.domain
        return {
            "schema": NEVER_TOP_SCHEMA,
            "tensor": self.subject.head.tensor,
            "matrix_sha256": self.subject.sha256,
            "domain": domain.name,
            "gamma_sha256": _digest(domain.gamma),
            "beta_sha256": _digest(domain.beta),
            "bias_sha256": _digest(None if domain.bias is None else domain.bias.values),
            "bias_factor": str(domain.bias_factor),
        }


def never_top(
    spec: str,
    settings: Settings | None = None,
    *,
    domain: DomainName = "all",
    tokens: list[int] | None = None,
    time_limit: float = TIME_LIMIT,
) -> NeverTopFindings:
    """Find the tokens that can never be the one argmax.

    Parameters
    ----------
    spec
        The checkpoint.
    settings
        Which matrix is meant.
    domain
        Every state of R^d, or those that the final norm can output.
    tokens
        The tokens to decide; None stands for all.
    time_limit
        Seconds after which what is not decided stays so.

    Raises
    ------
    TokenIdError, EmptyClusterError, DuplicateTokenError
        `tokens` is no list of distinct ids.
    ConfigError
        The head multiplies by a negative number, which makes the lowest product the top.
    """
    question = asked(open_subject(spec, settings or Settings()), domain)
    return answered(question, tokens=tokens, time_limit=time_limit)


def asked(subject: Subject, domain: DomainName) -> Question:
    """Find what needs no search: which states there are, and the shadowed tokens."""
    head, notes = subject.head, [*subject.head.warnings, *steps.input_notes(subject)]
    factor = Fraction(1)
    if head.scale is not None:
        if head.scale.multiply < 0:
            raise ConfigError(
                f"{head.scale.source} makes the head multiply by {head.scale.multiply}, and the "
                "token of the lowest product is on top; expected a positive number"
            )
        if head.scale.applies_to == "state":
            given = head.scale.divisor
            factor = Fraction(given) if given else 1 / Fraction(head.scale.multiply)
    if head.softcap is not None:
        notes.append("the softcap keeps the order of real logits")
    if domain == "all":
        states = all_states(head.matrix, head.bias)
    else:
        if NormRange.of(head.norm, head.matrix.width) is None:
            notes.append(
                f"the final norm is not known ({head.norm.source}): reachable states are taken to "
                "be an RMSNorm's with γ = 1"
            )
        norm_range = NormRange.known_or_assumed(head.norm, head.matrix.width)
        states = reachable_states(head.matrix, norm_range, head.bias, factor)
    standing = collapse(states)
    if left_out := len(standing.ids(Status.LEFT_OUT)):
        notes.append(
            f"{counted(left_out, 'token')} with an infinity or a NaN in row or bias: what is said "
            "is said of the others, among themselves"
        )
    return Question(subject, states, standing, notes)


def answered(
    question: Question,
    *,
    tokens: list[int] | None = None,
    time_limit: float = TIME_LIMIT,
    watch: Watch | None = None,
) -> NeverTopFindings:
    """Search until all is decided or time is over; see `never_top`."""
    subject, standing = question.subject, question.standing
    n_rows = subject.head.matrix.n_tokens
    wanted = None
    if tokens is not None:
        wanted = token_id_list(tokens, n_rows, "--token").astype(np.int64)
    before = int((standing.status == Status.WON).sum()) + len(standing.certificates)
    reading = token_steps.begin_reading(subject)
    timed = _Timed(watch or Unwatched(), time_limit)
    since = perf_counter()
    if time_limit > 0:
        search(question.domain, standing, wanted, timed)
    seconds = perf_counter() - since
    read = reading.result()
    table = read.table

    def text_of(token: int) -> str | None:
        return None if table is None else table.shown(token, LONGEST_NAMED)

    mask = np.ones(n_rows, dtype=np.bool_)
    if wanted is not None:
        mask[:] = False
        mask[wanted] = True
    of = {status: np.flatnonzero(mask & (standing.status == status)) for status in Status}
    kinds = standing.kind[of[Status.WON]]

    def excluded(status: Status) -> list[NeverTop]:
        return [
            NeverTop(
                token=token,
                text=text_of(token),
                certificate=CertificateFacts.of(standing.certificates[token]),
            )
            for token in of[status].tolist()
        ]

    undecided = of[Status.UNDECIDED]
    if len(undecided) and time_limit < float("inf"):
        question.notes.append(
            f"{counted(len(undecided), 'token')} not decided: a longer --time-limit decides more, "
            "--token LIST some of them first, and --resume FILE keeps what is known"
        )
    return NeverTopFindings(
        isologit=subject.version,
        model=subject.model,
        matrix=subject.matrix_facts(),
        head=head_facts(subject.head),
        domain=DomainFacts(
            name=question.domain.name, shape=question.domain.shape, why=question.domain.why
        ),
        n_asked=int(mask.sum()),
        n_won=len(of[Status.WON]),
        n_shadowed=len(of[Status.SHADOWED]),
        n_interior=len(of[Status.INTERIOR]),
        n_boundary=len(of[Status.BOUNDARY]),
        n_undecided=len(undecided),
        n_left_out=len(of[Status.LEFT_OUT]),
        witnesses={
            kind.name.lower(): int((kinds == kind).sum())
            for kind in Witness
            if kind is not Witness.NONE
        },
        shadowed=[
            Shadowed(token=token, by=int(standing.shadowed_by[token]))
            for token in of[Status.SHADOWED].tolist()
        ],
        interior=excluded(Status.INTERIOR),
        boundary=excluded(Status.BOUNDARY),
        undecided=ranges(undecided),
        search=SearchFacts(
            seconds=seconds,
            time_limit_s=time_limit,
            ended=timed.ended and not len(undecided),
            n_decided_before=before,
            estimates=timed.estimates,
        ),
        claims=dict.fromkeys(("n_won", "shadowed", "interior", "boundary"), EXACT),
        notes=[*question.notes, _ROUNDING, *read.notes],
    )


def ranges(token_ids: npt.NDArray[np.integer]) -> str:
    """Return ascending ids as ``0-7,9``: what ``--token`` takes."""
    if not len(token_ids):
        return ""
    groups = np.split(token_ids, np.flatnonzero(np.diff(token_ids) != 1) + 1)
    return ",".join(
        str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups
    )


@dataclass(frozen=True, eq=False)
class WitnessStates:
    """The states at which tokens win.

    Parameters
    ----------
    token_ids
        ``[n]``.
    states
        ``[n, d]`` binary32: hidden states h, or u of h = γ ⊙ u + β.
    inner
        Whether they are u.
    """

    token_ids: npt.NDArray[np.int32]
    states: npt.NDArray[np.float32]
    inner: bool


def witness_states(question: Question, tokens: list[int] | None = None) -> WitnessStates:
    """Return the states at which tokens were found to win, as they were checked.

    Where no constants matter, reachable hidden states are scaled by a power of two into the norm's
    range, which changes the order of no logits.
    """
    standing, domain = question.standing, question.domain
    ids = standing.ids(Status.WON)
    if tokens is not None:
        ids = np.intersect1d(ids, np.array(tokens, dtype=np.int64))
    kept = np.zeros((len(ids), int(domain.kept.sum())), dtype=np.float32)
    again = np.array([token not in standing.states for token in ids.tolist()], dtype=np.bool_)
    if again.any() and kept.shape[1] and len(standing.rivals) > 1:
        centre = centre_of(domain, standing.rivals)
        kept[again] = own_states(domain, centre, ids[again])
    for n in np.flatnonzero(~again).tolist():
        kept[n] = standing.states[int(ids[n])]
    states = np.zeros((len(ids), domain.matrix.width), dtype=np.float32)
    states[:, domain.kept] = kept
    if domain.name == "reachable" and domain.shape == "space":
        states = _into_range(question, states)
    return WitnessStates(ids.astype(np.int32), states, inner=not domain.of_hidden_states)


def _into_range(question: Question, states: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    head = question.subject.head
    norm_range = NormRange.known_or_assumed(head.norm, head.matrix.width)
    for n, state in enumerate(states):
        inner = norm_range.inner(state.astype(np.float64))
        ratio = float(np.linalg.norm(inner)) / norm_range.radius
        if isfinite(ratio) and ratio > 0:
            states[n] = np.ldexp(state, -int(np.frexp(ratio)[1]) - 1)
    return states


def proved(question: Question, token: int, facts: CertificateFacts) -> Proof:
    """Return what a certificate out of a document proves of a token, by the checker alone."""
    return proof_of(question.domain, token, facts.certificate())


def _digest(values: npt.NDArray[np.float64] | None) -> str:
    return "none" if values is None else sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
