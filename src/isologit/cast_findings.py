"""The records of what casts of W would merge: what ``cast --json`` prints."""

from isologit.findings import ArithmeticFacts, HeadFacts, MatrixFacts, StateFacts
from isologit.record import Model, Record
from isologit.token_findings import ClassTokens

CAST_SCHEMA = "isologit.cast/1"


class TiedLogits(Record, frozen=True, kw_only=True):
    """The logits at the state: how many values there are, and tokens that share theirs.

    ``newly_tied`` counts tokens whose logit is now that of a token that had another one before;
    null where nothing has changed yet.
    """

    distinct: int
    tied: int
    newly_tied: int | None


class StoredRows(Record, frozen=True, kw_only=True):
    """The census of the rows as they are stored, before any cast."""

    distinct: int
    distinct_values: int
    redundant: int
    sizes: list[int]
    logits: TiedLogits


class Born(Record, frozen=True, kw_only=True):
    """A row class that a cast makes of several; ``parts`` counts these."""

    size: int
    parts: int
    token_ids: list[int]
    tokens: ClassTokens | None


class Entries(Record, frozen=True, kw_only=True):
    """What became of finite entries of W.

    ``zeroed`` were not 0 and are now, ``subnormal`` are subnormal numbers of the format,
    ``overflowed`` rounded beyond its largest number (of blocks: are in one whose scale did).
    """

    total: int
    zeroed: int
    subnormal: int
    overflowed: int


class Flip(Record, frozen=True, kw_only=True):
    """A state at which another token wins; margins are the winner's over the other one.

    ``state`` is its number, ``before`` and ``after`` are token ids, or −1 where no logit is a
    number, and then there are no margins; nor is there one where the other's logit is no number.
    """

    state: int
    before: int
    after: int
    margin_before: float | None
    margin_after: float | None
    tokens: list[str] | None


class CastFacts(Record, frozen=True, kw_only=True):
    """What one cast does.

    ``kind`` is ``identity`` where W is of the format already, ``exact`` where every number is kept,
    else ``rounded``. ``distinct`` to ``sizes`` are of stored bits, and ``distinct_values`` of
    decoded values. ``rows_merged`` is how many distinct rows are lost. ``entries`` is null where
    every number is kept. ``made_non_finite`` counts rows that were finite and hold an infinity or a
    NaN now.
    """

    kind: str
    scheme: str
    scaling: str
    overflow: str | None
    distinct: int
    distinct_values: int
    redundant: int
    sizes: list[int]
    rows_merged: int
    born_classes: int
    born_tokens: int
    born: list[Born]
    entries: Entries | None
    made_non_finite: int
    logits: TiedLogits
    flipped: int
    flips: list[Flip]


class RandomStates(Record, frozen=True, kw_only=True):
    """The random states: how many, and which norm outputs them."""

    n: int
    seed: int
    norm: str
    assumed: bool


class Casts(Record, frozen=True, kw_only=True):
    """What casts of W would merge; ``claims`` says of each figure what kind of claim it is."""

    schema: str = CAST_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixFacts
    head: HeadFacts
    arithmetic: ArithmeticFacts
    state: StateFacts
    states: RandomStates
    before: StoredRows
    formats: dict[str, CastFacts]
    not_possible: dict[str, str]
    claims: dict[str, str]
    notes: list[str]
