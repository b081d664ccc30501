"""The records of what the explorer says of a point: what is on screen, and nothing longer."""

from isologit.findings import ClassRows, StateFacts, ValueClass, ValueFacts
from isologit.gap_findings import GapPair
from isologit.record import Record
from isologit.states_findings import GreedyFacts
from isologit.tie_findings import Ties

VIEW_SCHEMA = "isologit.explore/1"


class TopLogit(Record, frozen=True, kw_only=True):
    """A token among the largest logits: ``rank`` counts distinct logits from 1.

    ``tied`` and ``same_row`` count other tokens with its logit, and with its row. ``kind`` is its
    script or category.
    """

    rank: int
    token: int
    text: str
    kind: str
    logit: float
    hex: str
    tied: int
    same_row: int


class Histogram(Record, frozen=True, kw_only=True):
    """Logits in bins of one width, a power of two: bin n holds [first + n, first + n + 1)·width.

    ``left_out`` counts tokens whose logit is no finite number. ``modal`` and ``maximum`` are the
    bins of the most common and of the largest logit; ``own`` that of the token that is pointed at.
    Null where there is none.
    """

    width: float
    first: int
    counts: list[int]
    left_out: int
    modal: int | None
    maximum: int | None
    own: int | None


class View(Record, frozen=True, kw_only=True):
    """What holds at a point: the figures that ``classes`` prints of the same state.

    ``title`` says in words what is pointed at, ``command`` what prints the same; ``needs_state``
    says that it reads the state from a file that the explorer exports. ``token`` is the token that
    is pointed at, null where it is none.
    """

    schema: str = VIEW_SCHEMA
    at: str
    title: str
    token: int | None
    state: StateFacts
    logits: ValueFacts
    own_class: ValueClass | None
    class_rows: ClassRows
    greedy: GreedyFacts | None
    histogram: Histogram | None
    top: list[TopLogit]
    command: str
    needs_state: bool
    claims: dict[str, str]
    notes: list[str]


class TiesView(Record, frozen=True, kw_only=True):
    """Why tokens tie at a point; apart, because it can take longer than the rest."""

    at: str
    ties: Ties


class Neighbours(Record, frozen=True, kw_only=True):
    """A token's twins: those of its row, and the nearest others by gap; ``why`` says why none."""

    token: int
    text: str
    row_class: int
    row_class_size: int
    twins: list[int]
    nearest: list[GapPair]
    texts: dict[str, str]
    why: str | None


class Visited(Record, frozen=True, kw_only=True):
    """What the states that were looked at leave together.

    ``tokens_in_classes`` tokens are in ``classes`` classes of two or more, of which
    ``rows_classes`` are one row each, so that no state can part them; ``sizes`` are those of the
    largest classes, and ``growth`` the number of classes after each state.
    """

    states: int
    tokens: int
    distinct: int
    classes: int
    tokens_in_classes: int
    rows_classes: int
    sizes: list[int]
    growth: list[int]
    told_apart_all: bool
    said: str
