"""The records of many hidden states: what they are, what they tell apart, what is on top there."""

from typing import TYPE_CHECKING, Literal

from isologit.record import Record

if TYPE_CHECKING:
    from isologit.equivalence.greedy import Verdict
else:
    # The words themselves are checked where they are made.
    Verdict = str


class MinMedianMax(Record, frozen=True, kw_only=True):
    """Three figures of the states; the median is the lower of the two middle ones."""

    min: float
    median: float
    max: float


class DistinctLogits(Record, frozen=True, kw_only=True):
    """How many distinct logits there are at one state, over the ``n`` states that were counted."""

    n: int
    min: int
    median: int
    max: int


class StatesFacts(Record, frozen=True, kw_only=True):
    """K hidden states: ``n`` of the ``asked`` ones, all but where no further one could tell more.

    ``ratio`` is that of ‖(h − β) ⊘ γ‖/√d, null where no state has one; ``unreachable`` counts those
    that the final norm cannot output, ``undecided`` those of which that is not known, and
    ``pre_norm`` those whose ratio no norm of a trained model outputs. ``norm`` says whether the
    final norm was known, or γ = 1 was taken. ``rounded`` counts values that had to be rounded to
    the compute format. ``sha256`` is of the stored words of all, in their order.
    """

    n: int
    asked: int
    source: Literal["file", "random"]
    file: str | None
    seed: int | None
    dtype: str
    norm: Literal["known", "assumed"]
    ratio: MinMedianMax | None
    unreachable: int
    undecided: int
    pre_norm: int
    rounded: int
    distinct_logits: DistinctLogits | None
    sha256: str


class Growth(Record, frozen=True, kw_only=True):
    """How many classes the first ``states`` states make: all, and those of two tokens or more."""

    states: int
    distinct: int
    classes: int


class MeetClass(Record, frozen=True, kw_only=True):
    """Tokens that no state told apart; ``distinct_rows`` is 1 where they are one row class."""

    size: int
    distinct_rows: int
    token_ids: list[int]
    tokens: list[str]


class MeetFacts(Record, frozen=True, kw_only=True):
    """The meet of the logit partitions at the first ``states`` states.

    ``distinct`` counts all classes; ``classes``, ``tokens_in_classes`` and ``sizes`` those of two
    tokens or more, of which ``rows_classes`` hold tokens of one row (as values) and ``joined`` of
    several. ``distinct_rows`` is where the number of classes ends. ``last_growth`` is the number of
    the state that last told tokens apart. ``told_apart_all`` says that no state can tell more.
    """

    states: int
    distinct: int
    distinct_rows: int
    classes: int
    tokens_in_classes: int
    sizes: list[int]
    rows_classes: int
    joined: int
    largest: list[MeetClass]
    growth: list[Growth]
    last_growth: int
    told_apart_all: bool


class GreedyShare(Record, frozen=True, kw_only=True):
    """How many states have each verdict, for logits of one output format.

    ``tied_by_identical_rows`` are those of ``tied`` whose partners all have the top's own row.
    ``undefined`` are states where a logit is no finite number. ``certain_if_truncated`` counts
    those that are certain on tensor cores too.
    """

    dtype: str
    states: int
    certain: int
    order_dependent: int
    tied: int
    tied_by_identical_rows: int
    undefined: int
    certain_if_truncated: int


class GreedyFormat(Record, frozen=True, kw_only=True):
    """The verdict at one state for one output format.

    ``top_ids`` are the lowest ids of the ``n_top`` tokens that hold the largest exact logit on its
    grid.
    """

    verdict: Verdict
    if_truncated: Verdict
    margin_ulp: float
    n_top: int
    top_ids: list[int]


class GreedyState(Record, frozen=True, kw_only=True):
    """The top token of the real logits at one state, the next one, and by how much it leads."""

    state: int
    top: int
    runner_up: int | None
    margin_nats: float
    formats: dict[str, GreedyFormat]


class GreedyFacts(Record, frozen=True, kw_only=True):
    """The greedy certificate; ``assumes`` and ``assumes_if_truncated`` say of which devices."""

    assumes: list[str]
    assumes_if_truncated: list[str]
    shares: list[GreedyShare]
    states: list[GreedyState]
