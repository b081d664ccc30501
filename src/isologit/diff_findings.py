"""The records of ``diff``: what became of row classes and of rows between two checkpoints."""

from typing import Literal

import msgspec

from isologit.findings import Comparison, MatrixFacts, SizedClass
from isologit.record import Model, Record
from isologit.token_findings import TokenizerSource

DIFF_SCHEMA = "isologit.diff/1"

FrozenBy = Literal["bits", "values", "digest"]


class DiffSide(Record, frozen=True, kw_only=True):
    """One of the two that are compared; ``read`` says from what: its weights, or its results."""

    model: Model
    matrix: MatrixFacts
    bias: str | None
    read: Literal["model", "results"]


class Vocabulary(Record, frozen=True, kw_only=True):
    """Rows of W that both have, and that one alone has: ids from ``common`` on."""

    common: int
    only_before: int
    only_after: int


class NamedClass(SizedClass, frozen=True, kw_only=True):
    """A class, and its first tokens, escaped; ``first`` is null without a tokenizer."""

    first: list[str] | None


class Regrouped(NamedClass, frozen=True, kw_only=True):
    """A merged or a split class: ``parts`` are the other side's classes that it shares tokens with.

    A part's ``token_ids`` are the shared ones, ``size`` is its own. ``single_token_ids`` are in no
    class of the other side.
    """

    parts: list[SizedClass]
    single_token_ids: list[int]


class Continued(Record, frozen=True, kw_only=True):
    """A class before and the one class after that goes on from it; ``token_ids`` are in both.

    ``gained`` were single before, ``lost`` are single after.
    """

    label_before: int
    label_after: int
    size_before: int
    size_after: int
    token_ids: list[int]
    gained: list[int]
    lost: list[int]
    first: list[str] | None


class ClassCounts(Record, frozen=True, kw_only=True):
    """How many classes there are of each kind (`equivalence.transitions`), and before and after.

    ``tokens_changed`` counts tokens that have not the same others in their class as before.
    """

    before: int
    after: int
    born: int
    dissolved: int
    merged: int
    split: int
    absorbed: int
    fragment: int
    grown: int
    shrunk: int
    exchanged: int
    persistent: int
    tokens_changed: int


class Frozen(Record, frozen=True, kw_only=True):
    """The rows that are the same in both.

    ``by`` says how they were compared: ``bits`` as stored, ``values`` once decoded, or ``digest``
    of all of W. ``without_bias`` counts rows that are, whatever their biases; null without biases.
    ``categories`` counts them by category, ``of`` all rows that both have; null without a
    tokenizer. ``in_classes`` compares them, a, with the tokens that share their row after, b; null
    where none do.
    """

    by: FrozenBy
    same_values: int
    without_bias: int | None
    zero: int | None
    token_ids: list[int]
    categories: dict[str, int] | None
    of: dict[str, int] | None
    in_classes: Comparison | None


class UlpBin(Record, frozen=True, kw_only=True):
    """How many rows have a largest distance from one number of ULP to another, both included."""

    from_: int = msgspec.field(name="from")
    to: int
    rows: int


class MovedRow(Record, frozen=True, kw_only=True):
    """A row: its largest distance in ULP, and how many entries moved by 1 at least."""

    token_id: int
    ulp: int
    entries: int
    token: str | None


class Scaled(Record, frozen=True, kw_only=True):
    """Rows that one factor explains each: after is the factor times before, rounded once.

    ``least`` and ``greatest`` bound the factors of all, ``common`` those that do for all at once;
    rounded to binary64.
    """

    rows: int
    least: float | None
    greatest: float | None
    common: list[float] | None
    token_ids: list[int]


class Moved(Record, frozen=True, kw_only=True):
    """How far the rows moved that are not the same, by the largest distance of a row's entries.

    Distances are of the numbers of ``format`` (`numerics.ulp_distances`). Each row of W, without
    its bias, is the same, or one of ``rows`` (1 ULP or more), ``below_ulp`` (no entry moved by 1)
    and ``only_nan`` (nothing moved, but a NaN came or went). ``unlike_nan`` counts rows where one
    did, ``through_zero`` those where an entry is 0 in one of the two alone, or of another sign: all
    numbers between count, and there are many near 0. ``histogram`` has all but the same and
    ``only_nan``; ``quantiles`` are of ``rows``. ``scaled`` is null where values after are in a
    coding.
    """

    format: str
    rows: int
    below_ulp: int
    only_nan: int
    unlike_nan: int
    through_zero: int
    entries: int
    histogram: list[UlpBin]
    quantiles: dict[str, int] | None
    least: list[MovedRow]
    most: list[MovedRow]
    scaled: Scaled | None


class BiasMoves(Record, frozen=True, kw_only=True):
    """What became of the head's biases; ``ulp`` is the largest distance, of ``format``."""

    format: str
    same: int
    moved: int
    ulp: int


class MovedAtLeast(Record, frozen=True, kw_only=True):
    """Rows that certainly differ, from figures of rows alone; those that do not show it may too.

    ``by`` counts them by the figure that differs; ``token_ids`` are those of a figure. ``rows``
    counts beside them what the classes prove: of a class that came apart, all rows but one moved.
    """

    rows: int
    by: dict[str, int]
    token_ids: list[int]


class ZeroRows(Record, frozen=True, kw_only=True):
    """Rows whose every entry is ±0."""

    before: int
    after: int
    both: int


class Diff(Record, frozen=True, kw_only=True):
    """What became of the row classes and the rows of one checkpoint in another.

    ``persistent`` counts the classes of ``persistent_classes``. ``frozen_rows`` counts rows that
    are the same with their biases; it and ``frozen`` are null where ``rows_why`` says why rows
    could not be compared, as is ``moved``. ``moved_at_least`` takes their place where figures of
    rows are all there is.
    """

    schema: str = DIFF_SCHEMA
    isologit: str
    from_: DiffSide = msgspec.field(name="from")
    to: DiffSide
    vocabulary: Vocabulary
    classes: ClassCounts
    by_value: ClassCounts | None
    born: list[NamedClass]
    dissolved: list[NamedClass]
    merged: list[Regrouped]
    split: list[Regrouped]
    grown: list[Continued]
    shrunk: list[Continued]
    exchanged: list[Continued]
    persistent: int
    persistent_classes: list[Continued]
    frozen_rows: int | None
    frozen: Frozen | None
    moved: Moved | None
    moved_at_least: MovedAtLeast | None
    rows_why: str
    bias: BiasMoves | None
    zero: ZeroRows | None
    tokenizer: TokenizerSource | None
    claims: dict[str, str]
    notes: list[str]


class DiffSeries(Record, frozen=True, kw_only=True):
    """The steps from each of several checkpoints to the next, each a `Diff` of its own."""

    schema: str = DIFF_SCHEMA
    isologit: str
    steps: list[Diff]
