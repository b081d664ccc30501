"""The records of ``classes --explain``: which tokens tie, the one cause of each tie, the remedy."""

from isologit.record import Record


class TieFacts(Record, frozen=True, kw_only=True):
    """Two tokens that tie: ``margin_ulp`` is the difference of their reals, rounded for print.

    ``ends_in_f32`` says of rounding and saturation whether the reals differ once rounded to f32.
    """

    a: int
    b: int
    cause: str
    saturation: str | None
    margin_ulp: float | None
    ends_in_f32: bool | None


class CauseFacts(Record, frozen=True, kw_only=True):
    """How many of a class's ties have one cause, how many of these f32 ends, and the remedy."""

    cause: str
    saturation: str | None
    ties: int
    end_in_f32: int | None
    remedy: str


class TiedClassFacts(Record, frozen=True, kw_only=True):
    """The tokens of one logit, and the n − 1 ties that join them.

    ``ulp`` is the spacing of the logit format's numbers at the value, away from zero.
    ``token_ids`` and ``ties`` list the first of them; ``first`` shows the first tokens, escaped,
    null without a tokenizer. ``distinct_logits`` counts exact logits: more than one where a device
    joined them. ``distinct_f32`` counts the reals once rounded to f32. ``without_real`` counts rows
    whose dot product is no number, because of an infinity or a NaN. ``distinct_without_bias`` is
    null unless biases part equal rows.
    """

    value: float
    hex: str
    ulp: float
    n_tokens: int
    token_ids: list[int]
    first: list[str] | None
    distinct_rows: int
    distinct_without_bias: int | None
    distinct_reals: int
    without_real: int
    distinct_logits: int
    distinct_f32: int
    span_ulp: float | None
    closest_ulp: float | None
    causes: list[CauseFacts]
    ties: list[TieFacts]


class SoftcapMerge(Record, frozen=True, kw_only=True):
    """Distinct logits from ``low`` to ``high`` that are one number behind the softcap.

    ``distinct_f32`` counts their softcaps once rounded to f32 instead.
    """

    capped: float
    capped_hex: str
    low: float
    high: float
    distinct_logits: int
    distinct_f32: int
    n_tokens: int


class SoftcapFacts(Record, frozen=True, kw_only=True):
    """What c · tanh(ℓ / c), rounded once to the logit format, merges of the product's logits.

    ``top`` has the groups of two distinct logits or more among the largest, ``modal`` that of the
    modal class; null where nothing is merged with it. ``why`` says why none was computed.
    """

    cap: float
    modal: SoftcapMerge | None
    top: list[SoftcapMerge]
    why: str | None


class Observation(Record, frozen=True, kw_only=True):
    """What one operation of a device gave: tokens whose logit is not the exact one, and how far.

    ``batch`` is how many copies of the state there were, null for a product with a vector;
    ``row_offset`` the first row of W in the product. ``unlike_first_op`` counts tokens whose logit
    is not that of the first operation, ``unlike_in_batch`` those whose logit is not the same at
    every place in the batch.
    """

    op: str
    batch: int | None
    row_offset: int
    differing: int
    largest_ulp: float | None
    largest_token: int | None
    observed: float | None
    exact: float | None
    split_row_classes: int
    unlike_first_op: int
    unlike_in_batch: int


class SplitClass(Record, frozen=True, kw_only=True):
    """A row class whose tokens have several observed logits, and how many have each."""

    label: int
    size: int
    token_ids: list[int]
    logits: list[float]
    n_tokens: list[int]


class DeviceFacts(Record, frozen=True, kw_only=True):
    """What a device's logits do to the chain; ``split`` lists the first row classes it splits.

    ``parted_…`` count tokens of one exact logit that have several observed ones, and
    ``joined_logit_classes`` observed logits that stand for several exact ones.
    """

    device: str
    environment: dict[str, str]
    observations: list[Observation]
    split_row_classes: int
    split: list[SplitClass]
    parted_logit_classes: int
    parted_tokens: int
    joined_logit_classes: int


class Ties(Record, frozen=True, kw_only=True):
    """Why tokens tie at a state: among the largest distinct logits, and in the modal class.

    ``logits_of`` names what made the classes: ``exact``, or the operation of a device.
    """

    logits_of: str
    top: list[TiedClassFacts]
    maximum: TiedClassFacts | None
    modal: TiedClassFacts
    nan: int
    softcap: SoftcapFacts | None
    device: DeviceFacts | None
    claims: dict[str, str]
