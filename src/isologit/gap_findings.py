"""The records of ``gap``: pairs, classes and nearest twins over all that the final norm outputs."""

from typing import Literal

from isologit.findings import HeadFacts, MatrixFacts
from isologit.record import Model, Record
from isologit.token_findings import ClassTokens

GAP_SCHEMA = "isologit.gap/1"


class GapNorm(Record, frozen=True, kw_only=True):
    """The norm whose outputs the gaps are over.

    ``assumed`` says that γ is 1 because its numbers are not to be had, or were set aside; ``why``
    then says why. ``compute_dtype`` is the format that ``gap_nats_computed`` is for.
    """

    kind: Literal["rms", "layer"]
    source: str
    convention: str
    eps: float | None
    beta: bool
    assumed: bool
    why: str | None
    compute_dtype: str


class GapPair(Record, frozen=True, kw_only=True):
    """Two tokens, each the first of its row class, and their gap."""

    a: int
    b: int
    gap_nats: float
    gap_nats_computed: float


class CountWithin(Record, frozen=True, kw_only=True):
    """How many pairs of distinct rows lie within a gap."""

    nats: float
    pairs: int


class GapClass(Record, frozen=True, kw_only=True):
    """Tokens that a chain of gaps within the threshold connects.

    ``distinct`` counts their distinct rows. The widest gap between any two members is
    ``widest_nats``, or lies between that and ``widest_at_most_nats`` where this is another number.
    ``tokens`` says who the members are; null of classes past the first.
    """

    size: int
    distinct: int
    token_ids: list[int]
    widest_nats: float
    widest_at_most_nats: float
    tokens: ClassTokens | None


class NearestTwin(Record, frozen=True, kw_only=True):
    """The nearest other row of a token that is the first of its row class."""

    token: int
    twin: int
    gap_nats: float


class EqualForAll(Record, frozen=True, kw_only=True):
    """Tokens of different rows that every state gives the same real logit: their gap is 0."""

    size: int
    distinct: int
    token_ids: list[int]


class TokenTwins(Record, frozen=True, kw_only=True):
    """A token that was asked for: who shares its row, and the nearest other rows.

    ``row_class`` lists the tokens of its row, itself among them; ``why`` says why there is no
    nearest, where there is none.
    """

    token: int
    row_class: list[int]
    nearest: list[GapPair]
    why: str | None


class GapFindings(Record, frozen=True, kw_only=True):
    """What ``isologit gap`` finds; what ``--json`` prints.

    ``complete`` says whether every pair within the gap was looked at: if not, ``n_pairs`` and
    ``n_within`` are of those that were (at least so many), ``nearest`` is the closest of these,
    and ``classes`` are exact still. ``closest`` says whether ``pairs`` are the closest there are;
    if not, they are the closest seen. ``texts`` shows the tokens named here, escaped.
    """

    schema: str = GAP_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixFacts
    head: HeadFacts
    norm: GapNorm
    within_nats: float
    distinct: int
    complete: bool
    closest: bool
    n_pairs: int
    n_within: list[CountWithin]
    pairs: list[GapPair]
    classes: list[GapClass]
    nearest: list[NearestTwin]
    equal_for_all: list[EqualForAll]
    tokens: list[TokenTwins]
    texts: dict[str, str]
    claims: dict[str, str]
    assumptions: list[str]
    notes: list[str]
