"""The main job: the seed's analysis of a checkpoint, in the seed's order, without printing."""

from concurrent.futures import Future

import numpy as np

from isologit import certificates, clusters, explaining, reachable_states, steps, token_steps
from isologit.claimed import with_claims
from isologit.clusters import ClusterChoice
from isologit.equivalence.axes import principal_axes
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.rows import row_classes
from isologit.findings import Audit, RowFacts, ValueFacts
from isologit.request import Members, Pole
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

# Of each class; `classes --explain` lists them.
_TIES_LISTED = 50


def audit(
    spec: str,
    settings: Settings | None = None,
    *,
    pole: Pole | None = None,
    members: Members | None = None,
    reachable: bool = False,
    progress: Progress = silent,
) -> tuple[Audit, Arrays]:
    """Run the whole analysis on a checkpoint.

    The cluster is the given members; or the fullest cosine class at the pole, as the seed line
    takes it; or what the finder finds. Without one, the state is the mean of all rows. With
    `reachable` the logits are at the state that the final norm outputs in that one's direction.

    Raises
    ------
    IsologitError
        The checkpoint cannot be read, or the members or the pole cannot be used.
    """
    return audit_of(
        open_subject(spec, settings or Settings()),
        pole=pole,
        members=members,
        reachable=reachable,
        progress=progress,
    )


def audit_of(
    subject: Subject,
    *,
    pole: Pole | None = None,
    members: Members | None = None,
    reachable: bool = False,
    reading: "Future[Tokens] | None" = None,
    progress: Progress = silent,
) -> tuple[Audit, Arrays]:
    """Run the whole analysis on an opened checkpoint; see `audit`.

    `reading` is who its rows are, or will be, where that is being found out already.
    """
    matrix, arithmetic = subject.head.matrix, subject.settings.arithmetic
    # Checked before the passes over W, so that a wrong list costs nothing.
    given = None if members is None else clusters.checked_members(members, matrix.n_tokens)
    reading = reading or token_steps.begin_reading(subject)

    progress("row classes")
    rows = row_classes(matrix, subject.head.bias)
    norms = arithmetic.norms(matrix, matrix.format).values
    axes = None
    at_pole = None
    if pole is not None:
        progress("principal axes")
        axes = principal_axes(matrix, max(abs(n) for n in pole.axes))
        at_pole = steps.cosines_at(subject, steps.pole_vector(matrix, axes, pole))

    progress("cluster")
    found = find_clusters(matrix, rows.row_values)
    if members is not None and given is not None:
        cluster: ClusterChoice | None = clusters.given_cluster(given, members)
    elif pole is not None and at_pole is not None:
        cluster = clusters.pole_cluster(at_pole, pole)
    else:
        cluster = clusters.standing_out(found)

    progress("logits")
    centre = steps.state_of_cluster(subject, rows, cluster)
    cosines = at_pole if at_pole is not None else steps.cosines_at(subject, centre.vector)
    # A cluster file's own cosine is not this run's: it is computed again.
    cluster = None if cluster is None else clusters.with_cosine(cluster, cosines)
    state = reachable_states.on_the_rim(subject, centre) if reachable else centre
    here = steps.at_state(subject, rows, state, cluster)

    refinement = None
    if cluster is not None:
        progress("iterated refinement")
        refinement = steps.refine_cluster(subject, cluster, axes, pole)

    greedy = certificates.certificate_at(subject, rows, state, here.logits)
    progress("tokens")
    tokens = reading.result()
    evidence = token_steps.evidence_of(matrix, rows, found, tokens.table)

    finite = np.flatnonzero(rows.finite_rows).astype(np.int32)
    member_ids = finite if cluster is None else cluster.token_ids
    elsewhere = [] if members is None else clusters.other_matrix(members, subject.sha256)
    if reachable:
        elsewhere += reachable_states.assumed_norm_notes(subject)
    if greedy is not None:
        elsewhere += certificates.notes(subject)
    ties = None
    if arithmetic.name == "exact":
        progress("ties")
        # Of a device's logits `classes --explain` observes several operations, which takes longer.
        ties = explaining.ties_at(
            subject,
            rows,
            state.vector,
            here.logits,
            top=1,
            listed=_TIES_LISTED,
            tokens=tokens.table,
        )
    row_facts = RowFacts.of(rows, biased=subject.head.bias is not None)
    findings = Audit(
        isologit=subject.version,
        model=subject.model,
        matrix=subject.matrix_facts(),
        head=head_facts(subject.head),
        arithmetic=steps.arithmetic_facts(subject, here.logits.refined),
        rows=row_facts,
        cluster=None if cluster is None else cluster.facts,
        reference=steps.reference(cluster, pole),
        axes=steps.axes_facts(axes),
        state=here.state_facts,
        cosines=ValueFacts.of(cosines),
        centroid=steps.centroid_facts(subject, centre, norms, member_ids),
        logits=here.logit_facts,
        own_class=here.own_class,
        comparison=here.comparison,
        class_rows=here.class_rows,
        pairwise=clusters.pairwise_facts(subject, rows, cluster),
        refinement=refinement,
        greedy=greedy,
        ties=ties,
        tokens=token_steps.tokens_facts(
            tokens,
            rows=rows.bits,
            largest=[each.token_ids for each in row_facts.largest],
            cluster_ids=None if cluster is None else cluster.token_ids,
            class_ids=here.class_ids,
            evidence=evidence,
        ),
        claims={},
        notes=steps.notes(subject, rows, here.logits, [*elsewhere, *tokens.notes]),
    )
    return with_claims(findings), Arrays(
        subject=subject,
        rows=rows,
        norms=norms,
        with_entries=True,
        cosines=cosines,
        logits=here.logits,
        cluster_ids=None if cluster is None else cluster.token_ids,
        cluster_cosine=None if cluster is None else cluster.facts.cosine,
        class_ids=here.class_ids,
        state=state,
        pole=pole,
        axes=axes,
        tokens=tokens.table,
        evidence=evidence,
    )
