"""The hidden state of a point, and the point in words."""

from fractions import Fraction

from isologit import reachable_states, steps
from isologit.checkpoint.wording import counted
from isologit.clusters import pole_cluster
from isologit.equivalence.states import (
    State,
    centroid_state,
    file_state,
    mixed_state,
    spherical_state,
    token_state,
)
from isologit.errors import PointError
from isologit.explorer.opened import Explored
from isologit.explorer.points import (
    ClassPoint,
    ClusterPoint,
    FilePoint,
    MixPoint,
    Point,
    Single,
    SpherePoint,
    TokenPoint,
)
from isologit.numerics.stored import Vector
from isologit.request import Pole


def state_at(explored: Explored, point: Point) -> State:
    """Return the hidden state of a point.

    Raises
    ------
    PointError
        The model has no such token, class, cluster or state.
    StateError, UndeterminedAxesError
        There is no state of that kind.
    """
    if isinstance(point.at, MixPoint):
        a, b = (_single(explored, each) for each in (point.at.a, point.at.b))
        state = mixed_state(a, b, Fraction(point.at.thousandths, 1000))
    else:
        state = _single(explored, point.at)
    return reachable_states.on_the_rim(explored.subject, state) if point.rim else state


def _single(explored: Explored, at: Single) -> State:
    matrix, arithmetic = explored.subject.head.matrix, explored.subject.settings.arithmetic
    match at:
        case TokenPoint(token_id):
            check_token(explored, token_id)
            return token_state(matrix, token_id)
        case ClassPoint(label):
            labels = explored.rows.bits
            if label >= labels.n_classes:
                raise PointError(
                    f"there is no row class {label}; this model has 0 to {labels.n_classes - 1}"
                )
            return centroid_state(matrix, labels.members(label), arithmetic)
        case ClusterPoint():
            ids = explored.cluster_ids
            if ids is None:
                raise PointError("no cluster of this model stands out; point at a class of it")
            return centroid_state(matrix, ids, arithmetic)
        case SpherePoint(lat, lon, distance):
            return _on_sphere(explored, Pole(lat, lon, distance))
        case FilePoint(index):
            return _of_file(explored, index)


def _on_sphere(explored: Explored, pole: Pole) -> State:
    subject = explored.subject
    matrix, arithmetic = subject.head.matrix, subject.settings.arithmetic
    unit = steps.pole_direction(explored.axes, pole)
    distance = pole.distance
    if distance is None:
        cosines = steps.cosines_at(subject, Vector.of_values(unit, matrix.format))
        ids = pole_cluster(cosines, pole).token_ids
        norms = explored.audit.tokens["norm"].to_numpy()
        distance = arithmetic.mean(norms[ids], matrix.format)
    return spherical_state(unit, distance, matrix.format)


def _of_file(explored: Explored, index: int) -> State:
    states = explored.states
    if states is None:
        raise PointError("no file of states is open; begin again with --state FILE")
    if index >= states.n_states:
        raise PointError(
            f"there is no state {index}; {states.where} holds 0 to {states.n_states - 1}"
        )
    matrix = explored.subject.head.matrix
    values = states.part(index, index + 1)[0]
    return file_state(values, matrix.width, matrix.format, states.where)


def check_token(explored: Explored, token_id: int) -> None:
    """Refuse a token that the model has not."""
    if token_id >= explored.n_tokens:
        raise PointError(
            f"there is no token {token_id}; this model has 0 to {explored.n_tokens - 1}"
        )


def title(explored: Explored, point: Point) -> str:
    """Return what a point is, in words."""
    said = _named(explored, point.at)
    return f"{said}, put where the final norm can output it" if point.rim else said


def _named(explored: Explored, at: Single | MixPoint) -> str:
    match at:
        case TokenPoint(token_id):
            text = explored.pictured.shown(token_id)
            return f"token {token_id} {text}".strip()
        case ClassPoint(label):
            size = len(explored.rows.bits.members(label))
            return f"row class {label}, of {counted(size, 'token')}"
        case ClusterPoint():
            return "centroid of the cluster"
        case SpherePoint(lat, lon, distance):
            far = "" if distance is None else f", distance {distance:g}"
            return f"latitude {lat:g}°, longitude {lon:g}°{far}"
        case FilePoint(index):
            return f"state {index} of the file"
        case MixPoint(thousandths, a, b):
            share = thousandths / 10
            return f"{100 - share:g} % {_named(explored, a)} and {share:g} % {_named(explored, b)}"
