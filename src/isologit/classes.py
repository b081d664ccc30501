"""The smaller job: row classes, and logit classes at one state or at many, without printing."""

from concurrent.futures import Future

from isologit import certificates, clusters, explaining, reachable_states, steps, token_steps
from isologit.across_states import AcrossStates, HowFar, across_states
from isologit.checkpoint.state_file import StoredStates
from isologit.claimed import with_claims
from isologit.equivalence.axes import principal_axes
from isologit.equivalence.rows import row_classes
from isologit.equivalence.states import (
    centroid_state,
    file_state,
    spherical_state,
    token_state,
)
from isologit.findings import Classes, RowFacts
from isologit.numerics.stored import Vector
from isologit.request import FileState, Members, Pole, RandomStates
from isologit.steps import Arrays
from isologit.subject import (
    Progress,
    Settings,
    Subject,
    head_facts,
    open_subject,
    silent,
)
from isologit.token_steps import Tokens

At = Members | Pole | FileState | StoredStates | RandomStates | int | None


def classes(
    spec: str,
    settings: Settings | None = None,
    *,
    at: At = None,
    reachable: bool = False,
    how_far: HowFar | None = None,
    explain_top: int | None = None,
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
        Many states, of a file or random ones, give their meet instead.
    reachable
        Put a single state on the rim of what the final norm outputs, in its direction, first.
    how_far
        How a run over many states goes.
    explain_top
        Explain the ties among so many of the largest logits, and in the modal class; None for none.
    progress
        Called with the name of each step.
    """
    subject = open_subject(spec, settings or Settings())
    return classes_of(
        subject,
        at=at,
        reachable=reachable,
        how_far=how_far,
        explain_top=explain_top,
        progress=progress,
    )


def classes_of(
    subject: Subject,
    *,
    at: At = None,
    reachable: bool = False,
    how_far: HowFar | None = None,
    explain_top: int | None = None,
    reading: "Future[Tokens] | None" = None,
    progress: Progress = silent,
) -> tuple[Classes, Arrays]:
    """Find the classes of an opened checkpoint; see `classes`.

    `reading` is who its rows are, or will be, where that is being found out already.
    """
    matrix, arithmetic = subject.head.matrix, subject.settings.arithmetic
    state = cluster = axes = None
    if isinstance(at, Members):
        given = clusters.checked_members(at, matrix.n_tokens)
        cluster = clusters.given_cluster(given, at)
        state = centroid_state(matrix, given, arithmetic)
    elif isinstance(at, FileState):
        state = file_state(at.values, matrix.width, matrix.format, at.where)
    elif isinstance(at, int):
        state = token_state(matrix, at)
    reading = reading or token_steps.begin_reading(subject)
    progress("row classes")
    rows = row_classes(matrix, subject.head.bias)
    norms = arithmetic.norms(matrix, matrix.format).values
    if isinstance(at, Pole):
        progress("principal axes")
        axes = principal_axes(matrix, max(abs(n) for n in at.axes))
        unit = steps.pole_direction(axes, at)
        cluster = clusters.pole_cluster(
            steps.cosines_at(subject, Vector.of_values(unit, matrix.format)), at
        )
        distance = at.distance
        if distance is None:
            distance = arithmetic.mean(norms[cluster.token_ids], matrix.format)
        state = spherical_state(unit, distance, matrix.format)
    here = greedy = None
    across: AcrossStates | None = None
    centre = state
    if reachable and state is not None:
        state = reachable_states.on_the_rim(subject, state)
    if isinstance(at, StoredStates | RandomStates):
        progress("logits at many states")
        across = across_states(subject, rows, at, lambda: reading.result().table, how_far)
    elif state is not None:
        progress("logits")
        here = steps.at_state(subject, rows, state, cluster)
        greedy = certificates.certificate_at(subject, rows, state, here.logits)
    progress("tokens")
    tokens = reading.result()
    ties = None
    if explain_top is not None and here is not None:
        progress("ties")
        ties = explaining.ties_at(
            subject, rows, here.state.vector, here.logits, top=explain_top, tokens=tokens.table
        )
    row_facts = RowFacts.of(rows, biased=subject.head.bias is not None)
    notes = clusters.other_matrix(at, subject.sha256) if isinstance(at, Members) else []
    if isinstance(at, FileState) and state is not None:
        notes = [*steps.rounded_state(at, state), *reachable_states.pre_norm_notes(subject, state)]
    if reachable:
        notes = [*notes, *reachable_states.assumed_norm_notes(subject)]
    if greedy is not None:
        notes = [*notes, *certificates.notes(subject)]
    if across is not None:
        notes, greedy = [*notes, *across.notes], across.greedy
    pole = at if isinstance(at, Pole) else None
    findings = Classes(
        isologit=subject.version,
        model=subject.model,
        matrix=subject.matrix_facts(),
        head=head_facts(subject.head),
        arithmetic=steps.arithmetic_facts(subject, here.logits.refined if here else 0),
        rows=row_facts,
        cluster=cluster.facts if cluster else None,
        reference=steps.reference(cluster, pole) if here else None,
        axes=steps.axes_facts(axes),
        state=here.state_facts if here else None,
        centroid=steps.centroid_facts(subject, centre, norms, cluster.token_ids)
        if centre and cluster
        else None,
        logits=here.logit_facts if here else None,
        own_class=here.own_class if here else None,
        class_rows=here.class_rows if here else None,
        comparison=here.comparison if here else None,
        states=across.states if across else None,
        meet=across.meet if across else None,
        greedy=greedy,
        ties=ties,
        tokens=token_steps.tokens_facts(
            tokens,
            rows=rows.bits,
            largest=[each.token_ids for each in row_facts.largest],
            cluster_ids=cluster.token_ids if cluster else None,
            class_ids=here.class_ids if here else None,
        ),
        claims=across.claims if across else {},
        notes=steps.notes(subject, rows, here.logits if here else None, [*notes, *tokens.notes]),
    )
    return with_claims(findings), Arrays(
        subject=subject,
        rows=rows,
        norms=norms,
        logits=here.logits if here else None,
        cluster_ids=cluster.token_ids if cluster else None,
        cluster_cosine=cluster.facts.cosine if cluster else None,
        class_ids=here.class_ids if here else None,
        state=state,
        pole=pole,
        tokens=tokens.table,
        meet=across.partition if across else None,
    )
