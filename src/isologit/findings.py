"""The records that a run returns and that ``--json`` prints: frozen, versioned, without arrays.

Field names are the keys of ``summary.json``; other programs rely on them. JSON has no NaN and no
infinities: where a figure is one, the text ``"nan"``, ``"inf"`` or ``"-inf"`` stands in its place.
"""

from typing import TYPE_CHECKING, Literal

from isologit.equivalence.partition import Relation
from isologit.record import Model, Record
from isologit.states_findings import GreedyFacts, MeetFacts, StatesFacts
from isologit.tie_findings import Ties
from isologit.token_findings import TokensFacts

if TYPE_CHECKING:
    # For annotations alone: these bring the compiler of the kernels with them, and a record must
    # be had without it.
    from isologit.equivalence.partition import Overlap, Partition
    from isologit.equivalence.rows import RowClasses
    from isologit.equivalence.values import TokenValues, ValueCount

AUDIT_SCHEMA = "isologit.audit/1"
CLASSES_SCHEMA = "isologit.classes/1"

# Enough to see which classes there are; the whole list is in classes.parquet.
_LARGEST_CLASSES = 20


class MatrixFacts(Record, frozen=True, kw_only=True):
    """Which tensor the unembedding matrix is, and why.

    ``dtype`` is what it is stored as, ``values_dtype`` the format of its values: another one where
    they are stored in blocks or with scales, or in a format that is not computed in.
    """

    tensor: str
    role: str
    tied: bool | None
    shape: list[int]
    dtype: str
    values_dtype: str
    sha256: str
    why: str


class NormFacts(Record, frozen=True, kw_only=True):
    """The final norm: ``gamma`` and ``beta`` say whether the checkpoint holds them."""

    kind: str
    source: str
    convention: str
    eps: float | None
    gamma: bool
    beta: bool


class HeadFacts(Record, frozen=True, kw_only=True):
    """What the head does to a logit after the product, recorded and not applied."""

    family: str | None
    bias: str | None
    logit_scale: float | None
    logit_scale_source: str | None
    softcap: float | None
    norm: NormFacts


class ArithmeticFacts(Record, frozen=True, kw_only=True):
    """How the figures were computed.

    ``refined`` counts logits that took the exact step; ``environment`` holds what observed
    arithmetic may depend on (versions, threads, precision settings), and is empty for exact.
    """

    name: str
    logit_dtype: str
    device: str
    refined: int
    environment: dict[str, str]


class SizedClass(Record, frozen=True, kw_only=True):
    """A class and its tokens; ``label`` is its label in ``tokens.parquet``."""

    label: int
    size: int
    token_ids: list[int]


class EqualRows(Record, frozen=True, kw_only=True):
    """Classes of two equal rows or more, and the largest of them."""

    classes: int
    tokens_in_classes: int
    redundant: int
    sizes: list[int]
    largest: list[SizedClass]

    @classmethod
    def of(cls, partition: "Partition") -> "EqualRows":
        """Count the classes of the whole vocabulary."""
        groups = partition.groups()
        return cls(
            classes=len(groups),
            tokens_in_classes=sum(len(group) for group in groups),
            redundant=partition.n_tokens - partition.n_classes,
            sizes=[len(group) for group in groups],
            largest=[
                SizedClass(
                    label=int(partition.labels[group[0]]),
                    size=len(group),
                    token_ids=group.tolist(),
                )
                for group in groups[:_LARGEST_CLASSES]
            ],
        )


class RowFacts(Record, frozen=True, kw_only=True):
    """Row classes: ``classes`` and ``sizes`` count those of two or more, ``distinct`` all.

    Where the head has a bias a row counts with its bias, and ``distinct_without_bias`` says how
    many rows there are without; else that is null. ``by_value`` has the classes of equal values
    where there are more of those than of equal stored bits; else that is null.
    """

    distinct: int
    distinct_without_bias: int | None
    distinct_values: int
    classes: int
    tokens_in_classes: int
    redundant: int
    sizes: list[int]
    by_value: EqualRows | None
    zero: int
    subnormal: int
    nonfinite: int
    largest: list[SizedClass]

    @classmethod
    def of(cls, rows: "RowClasses", *, biased: bool) -> "RowFacts":
        """Count the classes of the whole vocabulary."""
        by_bits = EqualRows.of(rows.bits)
        coarser = rows.values.n_classes < rows.bits.n_classes
        return cls(
            distinct=rows.bits.n_classes,
            distinct_without_bias=rows.rows.n_classes if biased else None,
            distinct_values=rows.values.n_classes,
            classes=by_bits.classes,
            tokens_in_classes=by_bits.tokens_in_classes,
            redundant=by_bits.redundant,
            sizes=by_bits.sizes,
            by_value=EqualRows.of(rows.values) if coarser else None,
            zero=rows.zero,
            subnormal=rows.subnormal,
            nonfinite=rows.nonfinite,
            largest=by_bits.largest,
        )


class ClusterFacts(Record, frozen=True, kw_only=True):
    """The cluster: found, of a pole's fullest cosine, or given.

    ``cosine`` is the one that most members have with the reference, and ``cosine_tokens`` how many
    have it; null where a cluster file says it and it was not computed again. ``others`` holds the
    sizes of further clusters that were found, by prominence.
    """

    method: Literal["found", "pole", "members"]
    size: int
    excess: float | None
    cosine: float | None
    cosine_tokens: int | None
    token_ids: list[int]
    others: list[int]
    why: str


class Reference(Record, frozen=True, kw_only=True):
    """What the cosines are against."""

    kind: Literal["pole", "centroid", "mean"]
    lat_deg: float | None
    lon_deg: float | None
    axes: list[int] | None


class AxesFacts(Record, frozen=True, kw_only=True):
    """Leading principal axes: ``sine_bounds`` bound the sine of the angle to the true ones."""

    eigenvalues: list[float]
    variance_share: list[float]
    sine_bounds: list[float]
    rows_left_out: int


class PlacesFacts(Record, frozen=True, kw_only=True):
    """Along which axes ``pc1`` to ``pc3`` of ``tokens.parquet`` are; ``why`` says why not."""

    axes: AxesFacts | None
    why: str | None


class PairwiseFacts(Record, frozen=True, kw_only=True):
    """The cosines of all pairs of the cluster's tokens (the seed line's 1.4d)."""

    pairs: int
    exactly_one: int
    distinct: int
    min: float
    without: int


class StateFacts(Record, frozen=True, kw_only=True):
    """The hidden state; ``norm_ratio`` is ‖(h − β) ⊘ γ‖/√d, below 1 where a norm can output it.

    ``rescaled_from`` is that of the state that was asked for, where it was put on the rim of what
    the norm outputs; null where it was not.
    """

    kind: str
    token_ids: list[int]
    dtype: str
    norm: float
    h_dot_h: float
    sha256: str
    reachable: bool | None
    norm_ratio: float | None
    rescaled_from: float | None
    why: str


class Count(Record, frozen=True, kw_only=True):
    """A value, exactly as a hex float too, and how many tokens hold it."""

    value: float
    hex: str
    n_tokens: int

    @classmethod
    def of(cls, count: "ValueCount") -> "Count":
        """Take the figures of a counted value."""
        return cls(value=count.value, hex=count.value.hex(), n_tokens=count.n_tokens)


class ValueClass(Record, frozen=True, kw_only=True):
    """A value and the tokens that hold it."""

    value: float
    hex: str
    n_tokens: int
    token_ids: list[int]

    @classmethod
    def of(cls, values: "TokenValues", value: float) -> "ValueClass":
        """Take the class of a value."""
        ids = values.tokens_with(value)
        return cls(value=value, hex=value.hex(), n_tokens=len(ids), token_ids=ids.tolist())


class ValueFacts(Record, frozen=True, kw_only=True):
    """The figures of one rounded number a token."""

    dtype: str
    min: float
    max: float
    mean: float
    median: float
    hex: dict[str, str]
    distinct: int
    share_of_vocabulary: float
    nan: int
    mode: ValueClass
    max_class: Count
    top: list[Count]
    multiplicity: dict[str, int]

    @classmethod
    def of(cls, values: "TokenValues") -> "ValueFacts":
        """Take every figure that the seed prints, and its multiplicities."""
        figures = {
            "min": values.min,
            "max": values.max.value,
            "mean": values.mean,
            "median": values.median,
        }
        return cls(
            dtype=values.format.name,
            **figures,
            hex={name: figure.hex() for name, figure in figures.items()},
            distinct=values.n_distinct,
            share_of_vocabulary=values.n_distinct / values.n_tokens,
            nan=values.n_nan,
            mode=ValueClass.of(values, values.mode.value),
            max_class=Count.of(values.max),
            top=[Count.of(count) for count in values.top(10)],
            multiplicity=values.multiplicity(),
        )


class MinMaxMean(Record, frozen=True, kw_only=True):
    """Three figures of the members' norms."""

    min: float
    max: float
    mean: float


class CentroidFacts(Record, frozen=True, kw_only=True):
    """The centroid and its members' norms, in the matrix's format."""

    norm: float
    member_norm: MinMaxMean


class Comparison(Record, frozen=True, kw_only=True):
    """How the cluster, a, and the logit class, b, overlap."""

    a: int
    b: int
    both: int
    only_a: int
    only_b: int
    relation: Relation
    share_of_a: float
    share_of_b: float

    @classmethod
    def of(cls, overlap: "Overlap") -> "Comparison":
        """Take the figures of an overlap."""
        return cls(
            a=overlap.a,
            b=overlap.b,
            both=overlap.both,
            only_a=overlap.only_a,
            only_b=overlap.only_b,
            relation=overlap.relation,
            share_of_a=overlap.share_of_a,
            share_of_b=overlap.share_of_b,
        )


class ClassRows(Record, frozen=True, kw_only=True):
    """How many distinct rows a class of tokens has.

    ``equal_reals`` says whether their dot products with the state are one real number, so that no
    rounding made the class; None where an infinity or a NaN is involved.
    """

    n_tokens: int
    distinct: int
    redundant: int
    mean_multiplicity: float
    equal_reals: bool | None


class RefinementStep(Record, frozen=True, kw_only=True):
    """One step of the iterated refinement."""

    n_members: int
    n_class: int
    shift: float


class RefinementFacts(Record, frozen=True, kw_only=True):
    """The iterated refinement of the cluster (the seed line's 1.6a)."""

    start: str
    steps: list[RefinementStep]
    converged: bool
    size: int
    why: str


class Audit(Record, frozen=True, kw_only=True):
    """The main job's findings: ``summary.json``. ``claims`` says of what kind each figure is."""

    schema: str = AUDIT_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixFacts
    head: HeadFacts
    arithmetic: ArithmeticFacts
    rows: RowFacts
    cluster: ClusterFacts | None
    reference: Reference
    axes: AxesFacts | None
    state: StateFacts
    cosines: ValueFacts
    centroid: CentroidFacts
    logits: ValueFacts
    own_class: ValueClass | None
    comparison: Comparison | None
    class_rows: ClassRows
    pairwise: PairwiseFacts | None
    refinement: RefinementFacts | None
    greedy: GreedyFacts | None
    ties: Ties | None
    tokens: TokensFacts | None
    claims: dict[str, str]
    notes: list[str]


class Classes(Record, frozen=True, kw_only=True):
    """Row classes, and logit classes at one state where one was given, or the meet of many.

    ``ties`` explains those at one state where that was asked for.
    """

    schema: str = CLASSES_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixFacts
    head: HeadFacts
    arithmetic: ArithmeticFacts
    rows: RowFacts
    cluster: ClusterFacts | None
    reference: Reference | None
    axes: AxesFacts | None
    state: StateFacts | None
    centroid: CentroidFacts | None
    logits: ValueFacts | None
    own_class: ValueClass | None
    class_rows: ClassRows | None
    comparison: Comparison | None
    states: StatesFacts | None
    meet: MeetFacts | None
    greedy: GreedyFacts | None
    ties: Ties | None
    tokens: TokensFacts | None
    claims: dict[str, str]
    notes: list[str]
