"""The steps that the jobs share: from a subject and a request to values, clusters and records."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isologit.checkpoint.wording import counted, listed
from isologit.clusters import ClusterChoice, comparison
from isologit.equivalence.axes import (
    PrincipalAxes,
    coordinates,
    direction,
    principal_axes,
    projections,
)
from isologit.equivalence.partition import Partition, TokenIds
from isologit.equivalence.refinement import Refinement, refine
from isologit.equivalence.rows import RowClasses
from isologit.equivalence.states import State, centroid_state, mean_state, reachability
from isologit.equivalence.values import TokenValues
from isologit.errors import UndeterminedAxesError
from isologit.findings import (
    ArithmeticFacts,
    AxesFacts,
    CentroidFacts,
    ClassRows,
    Comparison,
    MinMaxMean,
    PlacesFacts,
    Reference,
    RefinementFacts,
    RefinementStep,
    StateFacts,
    ValueClass,
    ValueFacts,
)
from isologit.numerics import exact
from isologit.numerics.formats import F32, Float64s
from isologit.numerics.scan import scan_rows
from isologit.numerics.stored import Matrix, Vector
from isologit.request import FileState, Pole
from isologit.subject import Subject
from isologit.tokens.evidence import Evidence
from isologit.tokens.table import TokenTable

# A thousandth of a picture's width is less than a pixel of it.
_SINE_OF_A_PICTURE = 1e-3
# The seed line's field of view in its iterated refinement (notebook 1.6a).
_FIELD_DEG = 3.0


@dataclass(frozen=True, eq=False)
class Arrays:
    """What the output files hold beside the findings.

    `norms` are of the rows, in W's format; `with_entries` says whether what `entries` gives is
    wanted too; `axes` are those of the pole; `tokens` are who the rows are, `evidence` traces of
    their training, and `meet` the tokens that no state of many told apart.
    """

    subject: Subject
    rows: RowClasses
    norms: Float64s | None = None
    with_entries: bool = False
    cosines: TokenValues | None = None
    logits: TokenValues | None = None
    cluster_ids: TokenIds | None = None
    cluster_cosine: float | None = None
    class_ids: TokenIds | None = None
    state: State | None = None
    pole: Pole | None = None
    axes: PrincipalAxes | None = None
    tokens: TokenTable | None = None
    evidence: Evidence | None = None
    meet: Partition | None = None

    def entries(self) -> dict[str, Float64s]:
        """Return what rows' entries come to under any arithmetic, ``[V]`` each, exact."""
        matrix = self.subject.head.matrix
        scan = scan_rows(matrix)
        return {
            "sum": exact.sums(matrix, matrix.format).values,
            "smallest": scan.smallest,
            "largest": scan.largest,
        }

    def placed(self) -> tuple[Float64s | None, PlacesFacts]:
        """Return each row's components along three principal axes, ``[V, 3]``, and what these are.

        None where the axes are not determined; the facts say why.
        """
        matrix = self.subject.head.matrix
        axes = self.axes
        if axes is None or len(axes.axes) < 3:
            try:
                axes = principal_axes(matrix, 3, tolerance=_SINE_OF_A_PICTURE)
            except UndeterminedAxesError as error:
                return None, PlacesFacts(axes=None, why=str(error))
        return projections(matrix, axes), PlacesFacts(axes=axes_facts(axes), why=None)


@dataclass(frozen=True, eq=False)
class AtState:
    """Everything about the logits at one state, as arrays and as records."""

    state: State
    logits: TokenValues
    class_ids: TokenIds
    state_facts: StateFacts
    logit_facts: ValueFacts
    own_class: ValueClass | None
    comparison: Comparison | None
    class_rows: ClassRows


def at_state(
    subject: Subject, rows: RowClasses, state: State, cluster: ClusterChoice | None
) -> AtState:
    """Compute the logits at a state, the modal class, and how it overlaps the cluster."""
    logits = logits_at(subject, state.vector)
    class_ids = logits.tokens_with(logits.mode.value)
    facts = state_facts(subject, state)
    return AtState(
        state=state,
        logits=logits,
        class_ids=class_ids,
        state_facts=facts,
        logit_facts=ValueFacts.of(logits),
        own_class=own_class(state, logits, facts.h_dot_h),
        comparison=comparison(cluster, class_ids),
        class_rows=class_rows(subject, rows.rows, class_ids, state.vector),
    )


def state_of_cluster(subject: Subject, rows: RowClasses, cluster: ClusterChoice | None) -> State:
    """Return the state of an audit: the cluster's centroid, or where there is none the mean row."""
    matrix, arithmetic = subject.head.matrix, subject.settings.arithmetic
    if cluster is None:
        return mean_state(matrix, rows.finite_rows, arithmetic)
    return centroid_state(matrix, cluster.token_ids, arithmetic)


def logits_at(subject: Subject, hidden_state: Vector) -> TokenValues:
    """Return the logits of all tokens at a state, with their figures."""
    arithmetic = subject.settings.arithmetic
    rounded = arithmetic.logits(subject.head.matrix, hidden_state, subject.logit_format)
    return TokenValues.of(rounded.values, subject.logit_format, rounded.refined, arithmetic)


def cosines_at(subject: Subject, reference: Vector) -> TokenValues:
    """Return the cosines of all rows with a reference direction, with their figures."""
    arithmetic = subject.settings.arithmetic
    rounded = arithmetic.cosines(subject.head.matrix, reference, subject.logit_format)
    return TokenValues.of(rounded.values, subject.logit_format, rounded.refined, arithmetic)


def pole_direction(axes: PrincipalAxes, pole: Pole) -> Float64s:
    """Return the unit vector ``[d]`` at a pole."""
    north, meridian, equinox = pole.axes
    return direction(
        axes, pole.lat_deg, pole.lon_deg, north=north, meridian=meridian, equinox=equinox
    )


def pole_vector(matrix: Matrix, axes: PrincipalAxes, pole: Pole) -> Vector:
    """Return the unit vector at a pole, rounded to W's format as the seed's reference is."""
    return Vector.of_values(pole_direction(axes, pole), matrix.format)


def refine_cluster(
    subject: Subject, cluster: ClusterChoice, axes: PrincipalAxes | None, pole: Pole | None
) -> RefinementFacts:
    """Refine from the field of view around the pole, or from the cluster where there is no pole."""
    start_ids, start = cluster.token_ids, "the cluster's own tokens"
    if axes is not None and pole is not None:
        start_ids = field_of_view(subject.head.matrix, axes, pole, _FIELD_DEG)
        start = f"the {len(start_ids)} tokens within {_FIELD_DEG / 2:g}° of the pole"
        if not len(start_ids):
            return RefinementFacts(
                start=start, steps=[], converged=False, size=0, why="the field of view is empty"
            )
    return refinement_facts(
        refine(subject.head.matrix, start_ids, subject.settings.arithmetic, subject.logit_format),
        start,
    )


def field_of_view(matrix: Matrix, axes: PrincipalAxes, pole: Pole, field_deg: float) -> TokenIds:
    """Return the tokens in the closed square of latitudes and longitudes around a pole."""
    north, meridian, equinox = pole.axes
    lat, lon, _ = coordinates(matrix, axes, north=north, meridian=meridian, equinox=equinox)
    half = field_deg / 2
    inside = (np.abs(lat - pole.lat_deg) <= half) & (np.abs(lon - pole.lon_deg) <= half)
    return np.flatnonzero(inside).astype(np.int32)


def refinement_facts(refinement: Refinement, start: str) -> RefinementFacts:
    """Return a refinement as a record."""
    return RefinementFacts(
        start=start,
        steps=[
            RefinementStep(n_members=step.n_members, n_class=step.n_class, shift=step.shift)
            for step in refinement.steps
        ],
        converged=refinement.converged,
        size=len(refinement.token_ids),
        why=refinement.reason,
    )


def reference(cluster: ClusterChoice | None, pole: Pole | None) -> Reference:
    """Return what the cosines are against: the pole before the centroid, else the mean."""
    if pole is not None:
        return Reference(
            kind="pole", lat_deg=pole.lat_deg, lon_deg=pole.lon_deg, axes=list(pole.axes)
        )
    return Reference(
        kind="mean" if cluster is None else "centroid", lat_deg=None, lon_deg=None, axes=None
    )


def state_facts(subject: Subject, state: State) -> StateFacts:
    """Return a state as a record, with whether a final norm could output it."""
    arithmetic = subject.settings.arithmetic
    reach = reachability(state, subject.head.norm)
    vector = state.vector
    return StateFacts(
        kind=state.kind,
        token_ids=state.token_ids.tolist(),
        dtype=vector.format.name,
        norm=arithmetic.norm(vector, vector.format),
        h_dot_h=arithmetic.dot(vector, vector, subject.logit_format),
        sha256=state.sha256,
        reachable=reach.reachable,
        norm_ratio=reach.norm_ratio,
        rescaled_from=state.rescaled_from,
        why=reach.why,
    )


def centroid_facts(
    subject: Subject, state: State, norms: Float64s, member_ids: TokenIds
) -> CentroidFacts:
    """Return the state's norm and its members' norms; of no members, those of all rows."""
    arithmetic = subject.settings.arithmetic
    own = norms[member_ids] if len(member_ids) else norms
    return CentroidFacts(
        norm=arithmetic.norm(state.vector, state.vector.format),
        member_norm=MinMaxMean(
            min=float(own.min()),
            max=float(own.max()),
            mean=arithmetic.mean(own, subject.head.matrix.format),
        ),
    )


def own_class(state: State, logits: TokenValues, square: float) -> ValueClass | None:
    """Return the tokens whose logit at a centroid or a token's row h is h·h itself.

    They are what the seed line's 1.5d and 1.6a count: what cannot be told from the state's own
    tokens. Other states are not made of tokens, and have no such class; nor has one that was
    rescaled, whose h·h is no row's logit.
    """
    if state.kind not in ("centroid", "token") or state.rescaled_from is not None:
        return None
    return None if np.isnan(square) else ValueClass.of(logits, square)


def axes_facts(axes: PrincipalAxes | None) -> AxesFacts | None:
    """Return principal axes as a record, without the vectors."""
    if axes is None:
        return None
    return AxesFacts(
        eigenvalues=axes.eigenvalues.tolist(),
        variance_share=axes.variance_share.tolist(),
        sine_bounds=axes.sine_bounds.tolist(),
        rows_left_out=axes.rows_left_out,
    )


def arithmetic_facts(subject: Subject, refined: int) -> ArithmeticFacts:
    """Return how the figures were computed; `refined` logits took the exact step."""
    arithmetic = subject.settings.arithmetic
    return ArithmeticFacts(
        name=arithmetic.name,
        logit_dtype=subject.logit_format.name,
        device=arithmetic.device,
        refined=refined,
        environment=arithmetic.environment,
    )


def notes(
    subject: Subject, rows: RowClasses, logits: TokenValues | None, others: Sequence[str] = ()
) -> list[str]:
    """Say what a reader of the figures has to know."""
    head, notes = subject.head, [*subject.head.warnings, *others]
    notes += input_notes(subject)
    if more := rows.bits.n_classes - rows.rows.n_classes:
        notes.append(
            f"a row counts with its bias, {head.bias_tensor}: there are "
            f"{counted(more, 'more distinct row')} than without"
        )
    if fewer := rows.bits.n_classes - rows.values.n_classes:
        why = "the sign of zeros is all that differs"
        if head.matrix.stored_as == "f64":
            why = "what differs is lost when the numbers are rounded"
        elif head.matrix.coding is not None:
            why = "other stored bits stand for the same numbers"
        notes.append(f"{counted(fewer, 'fewer distinct row')} by value than by bits: {why}")
    if rows.nonfinite:
        notes.append(f"{counted(rows.nonfinite, 'row')} with an infinity or a NaN")
    if logits is not None and logits.n_nan:
        rest = "the figures are of the others" if logits.n_distinct else "there are no others"
        notes.append(f"{counted(logits.n_nan, 'logit')} without a number (NaN); {rest}")
    if logits is not None and logits.mode.n_tokens == 1:
        hint = " (--dtype bf16 gives those of 16 bits)" if logits.format is F32 else ""
        notes.append(f"no two logits are equal: the most common one is merely the smallest{hint}")
    after = {"bias": head.bias is not None, "scale": head.scale, "softcap": head.softcap}
    if logits is not None and any(after.values()):
        named = listed([name for name, there in after.items() if there])
        notes.append(f"logits are the product's, before the head's {named}")
    return notes


def input_notes(subject: Subject) -> list[str]:
    """Say so where the rows are those of an input embedding, which no state is multiplied with."""
    if subject.head.role != "input" or subject.head.tied is not False:
        return []
    return [
        "these are rows of the input embedding, which is not tied to the head: the model makes no "
        "logits with them, and what is said of logits and states is as if it did"
    ]


def rounded_state(given: FileState, state: State) -> list[str]:
    """Say so where a user's state had to be rounded to the compute format."""
    rounded = state.vector.values
    changed = int((~((given.values == rounded) | np.isnan(given.values))).sum())
    if not changed:
        return []
    return [
        f"{counted(changed, 'value')} of {given.where} had to be rounded to "
        f"{state.vector.format.torch}, the format of W; the figures are of the rounded state"
    ]


def class_rows(
    subject: Subject, rows: Partition, token_ids: TokenIds, hidden_state: Vector
) -> ClassRows:
    """Count the distinct rows of a class of tokens, and say whether rounding made the class."""
    labels, first = np.unique(rows.labels[token_ids], return_index=True)
    return ClassRows(
        n_tokens=len(token_ids),
        distinct=len(labels),
        redundant=len(token_ids) - len(labels),
        mean_multiplicity=len(token_ids) / len(labels) if len(labels) else 0.0,
        equal_reals=exact.equal_dots(subject.head.matrix, token_ids[first], hidden_state),
    )
