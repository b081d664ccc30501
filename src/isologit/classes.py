"""The smaller job: row classes, and logit classes at one state, without printing."""

from isologit import steps
from isologit.equivalence.axes import principal_axes
from isologit.equivalence.rows import row_classes
from isologit.equivalence.states import (
    centroid_state,
    file_state,
    spherical_state,
    token_state,
)
from isologit.findings import Classes, RowFacts, ValueFacts
from isologit.numerics.stored import Vector
from isologit.request import FileState, Members, Pole
from isologit.steps import Arrays
from isologit.subject import (
    Progress,
    Settings,
    digest_beside,
    head_facts,
    open_subject,
    silent,
)


def classes(
    spec: str,
    settings: Settings | None = None,
    *,
    at: Members | Pole | FileState | int | None = None,
    progress: Progress = silent,
) -> tuple[Classes, Arrays]:
    """Find row classes, and the logit classes at one state if one is given.

    Parameters
    ----------
    spec
        The checkpoint.
    settings
        How to compute.
    at
        A token id (its own row is the state), members (their centroid: the seed's 1.5c), a pole
        (a state there: the seed line's 1.5a), a state of the user's, or None for row classes alone.
    progress
        Called with the name of each step.
    """
    settings = settings or Settings()
    subject = open_subject(spec, settings)
    matrix, arithmetic = subject.head.matrix, settings.arithmetic
    state = cluster = None
    if isinstance(at, Members):
        given = steps.checked_members(at, matrix.n_tokens)
        cluster = steps.given_cluster(given, at)
        state = centroid_state(matrix, given, arithmetic)
    elif isinstance(at, FileState):
        state = file_state(at.values, matrix.width, matrix.format, at.where)
    elif isinstance(at, int):
        state = token_state(matrix, at)
    digest = digest_beside(subject)
    progress("row classes")
    rows = row_classes(matrix, subject.head.bias)
    norms = arithmetic.norms(matrix, matrix.format).values
    if isinstance(at, Pole):
        progress("principal axes")
        axes = principal_axes(matrix, max(abs(n) for n in at.axes))
        unit = steps.pole_direction(axes, at)
        cluster = steps.pole_cluster(
            steps.cosines_at(subject, Vector.of_values(unit, matrix.format)), at
        )
        distance = at.distance
        if distance is None:
            distance = arithmetic.mean(norms[cluster.token_ids], matrix.format)
        state = spherical_state(unit, distance, matrix.format)
    logits = class_ids = None
    if state is not None:
        progress("logits")
        logits = steps.logits_at(subject, state.vector)
        class_ids = logits.tokens_with(logits.mode.value)
    findings = Classes(
        isologit=subject.version,
        model=subject.model,
        matrix=subject.matrix_facts(digest.result()),
        head=head_facts(subject.head),
        arithmetic=steps.arithmetic_facts(subject, logits),
        rows=RowFacts.of(rows),
        cluster=None if cluster is None else cluster.facts,
        reference=None
        if state is None
        else steps.reference(cluster, at if isinstance(at, Pole) else None),
        state=None if state is None else steps.state_facts(subject, state),
        centroid=None
        if state is None or cluster is None
        else steps.centroid_facts(subject, state, norms, cluster.token_ids),
        logits=None if logits is None else ValueFacts.of(logits),
        own_class=steps.own_class(subject, state, logits),
        class_rows=None
        if class_ids is None or state is None
        else steps.class_rows(subject, rows.bits, class_ids, state.vector),
        comparison=None if class_ids is None else steps.comparison(cluster, class_ids),
        notes=steps.notes(subject, rows, logits),
    )
    return findings, Arrays(
        subject=subject,
        rows=rows,
        norms=norms,
        logits=logits,
        cluster_ids=None if cluster is None else cluster.token_ids,
        cluster_cosine=None if cluster is None else cluster.facts.cosine,
        class_ids=class_ids,
        state=state,
        pole=at if isinstance(at, Pole) else None,
    )
