"""The command that prints what holds at a point."""

import shlex
from dataclasses import dataclass

from isologit import steps
from isologit.checkpoint.wording import is_plain
from isologit.explorer.opened import Explored
from isologit.explorer.points import ClassPoint, FilePoint, Point, SpherePoint, TokenPoint
from isologit.output import advice

#: What the explorer calls a state that it exports.
STATE_FILE = "state.safetensors"


@dataclass(frozen=True)
class Repeat:
    """A command line; `needs_state` says that it reads `STATE_FILE`, exported from the point."""

    line: str
    needs_state: bool


def command(explored: Explored, point: Point) -> Repeat:
    """Return the command that prints the figures of a point.

    The centroid of a row class is the row of its tokens; of a cluster and a mix no option tells the
    state, and the command reads it from a file.
    """
    findings = explored.findings
    arithmetic = steps.arithmetic_facts(explored.subject, 0)
    how = advice.computed_as(arithmetic, findings.matrix)
    rim, needs_state = ["--reachable"] if point.rim else [], False
    match point.at:
        case TokenPoint(token_id):
            state = ["--token", str(token_id)]
        case ClassPoint(label):
            state = ["--token", str(int(explored.rows.bits.members(label)[0]))]
        case SpherePoint() as at:
            state = [f"--pole={str(at).removeprefix('sphere:')}"]
        case FilePoint(index):
            assert explored.states is not None
            where = explored.states.where
            state = ["--state", shlex.quote(where) if is_plain(where) else "FILE"]
            state += ["--index", str(index)]
        case _:
            # It is on the rim already.
            state, rim, needs_state = ["--state", STATE_FILE], [], True
    words = ["isologit", "classes", advice.same_model(findings), *state, *rim, "--explain", *how]
    return Repeat(" ".join(words), needs_state)
