"""The job behind ``classes --explain``: why tokens tie at a state, as records."""

from collections import Counter
from fractions import Fraction
from functools import cache

import numpy as np

from isologit import claims, token_steps
from isologit.equivalence.deviations import deviations, differing, split_classes, tokens_in
from isologit.equivalence.partition import Partition, TokenIds
from isologit.equivalence.rows import RowClasses
from isologit.equivalence.softcapped import merged_with
from isologit.equivalence.ties import Tie, TiedClass, tied_class
from isologit.equivalence.values import TokenValues
from isologit.numerics import exact
from isologit.numerics.formats import F32, Float64s
from isologit.numerics.stored import Vector
from isologit.subject import Subject
from isologit.tie_findings import (
    CauseFacts,
    DeviceFacts,
    Observation,
    SoftcapFacts,
    SoftcapMerge,
    SplitClass,
    TiedClassFacts,
    TieFacts,
    Ties,
)
from isologit.tokens.table import TokenTable

# Enough to see what ties; the modal class's ids are all under `logits`.
_IDS_OF_A_SPLIT = 100
_LISTED = 10_000
_CLASSES_LISTED = 20
# What `Observed.logits` computes, as the seed does.
_FIRST_OP = "W @ h"

_TIE_BREAK = "a fixed tie-break (lowest id), or mask all but one (isologit export)"
_REMEDIES = {
    "same row": "mask all but one (isologit export): no arithmetic parts them",
    "equal reals": f"no arithmetic parts them: {_TIE_BREAK}",
    "accumulation": "a fixed accumulation order (batch-invariant kernels)",
    "non-finite": "repair the row or the state: an infinity or a NaN is involved",
}
_ORDER = (
    *("same row", "equal reals", "rounding", "saturation:overflow", "saturation:underflow"),
    *("accumulation", "non-finite"),
)


def ties_at(
    subject: Subject,
    rows: RowClasses,
    hidden_state: Vector,
    logits: TokenValues,
    *,
    top: int,
    listed: int = _LISTED,
    tokens: TokenTable | None = None,
) -> Ties:
    """Explain the ties among the largest logits and in the modal class.

    Parameters
    ----------
    subject
        The checkpoint, its head and the arithmetic.
    rows
        Its row classes.
    hidden_state
        ``[d]``.
    logits
        The logits there, in the subject's arithmetic: these make the classes.
    top
        How many of the largest distinct logits to look at.
    listed
        How many ties and ids of a class are listed; all are counted.
    tokens
        Who the tokens are, where that is known.
    """
    observed = subject.settings.arithmetic.name != "exact"
    exact_logits = logits.values
    if observed:
        exact_logits = exact.logits(subject.head.matrix, hidden_state, subject.logit_format).values

    @cache
    def explained(value: float) -> TiedClassFacts:
        return _class_facts(
            tied_class(
                subject.head.matrix,
                rows.bits,
                rows.finite_rows,
                hidden_state,
                exact_logits,
                logits.tokens_with(value),
                value,
                subject.logit_format,
            ),
            rows,
            tokens,
            listed,
        )

    distinct = np.unique(logits.values[~np.isnan(logits.values)] + 0.0)
    largest = [explained(float(value)) for value in distinct[::-1][:top]]
    return Ties(
        logits_of=_FIRST_OP if observed else "exact",
        top=largest,
        maximum=largest[0] if largest else None,
        modal=explained(logits.mode.value),
        nan=logits.n_nan,
        softcap=_softcap_facts(subject, logits, distinct, top),
        device=_device_facts(subject, rows, hidden_state, logits, exact_logits)
        if observed
        else None,
        claims=_claims(observed=observed, capped=subject.head.softcap is not None),
    )


def _claims(*, observed: bool, capped: bool) -> dict[str, str]:
    """Return what kind of claim each part is; which logits tie is as good as the logits are."""
    made = claims.EXACT if not observed else claims.OBSERVED
    found = {"classes": made, "causes": made, "reals": claims.EXACT, "f32": claims.EXACT}
    if capped:
        found["softcap"] = made
    if observed:
        found["device"] = claims.OBSERVED
    return found


def _class_facts(
    tied: TiedClass, rows: RowClasses, tokens: TokenTable | None, listed_at_most: int
) -> TiedClassFacts:
    counts: Counter[str] = Counter()
    in_f32: Counter[str] = Counter()
    listed: list[Tie] = []
    for tie in tied.ties():
        if len(listed) < listed_at_most:
            listed.append(tie)
        key = _key(tie)
        counts[key] += 1
        in_f32[key] += bool(tie.ends_in_f32)
    n_tokens = len(tied.token_ids)
    return TiedClassFacts(
        value=tied.value,
        hex=tied.value.hex(),
        ulp=tied.ulp,
        n_tokens=n_tokens,
        token_ids=tied.token_ids[:listed_at_most].tolist(),
        first=None if tokens is None else token_steps.class_tokens(tokens, tied.token_ids).first,
        distinct_rows=len(tied.row_tokens),
        distinct_without_bias=_without_bias(rows, tied.token_ids),
        distinct_reals=len(tied.real_tokens),
        without_real=len(tied.without_real),
        distinct_logits=len(np.unique(tied.exact_logits)),
        distinct_f32=len(np.unique(tied.f32_logits)),
        span_ulp=_printed(tied.span_ulp),
        closest_ulp=_printed(tied.closest_ulp),
        causes=[
            CauseFacts(
                cause=key.partition(":")[0],
                saturation=key.partition(":")[2] or None,
                ties=counts[key],
                end_in_f32=in_f32[key] if _is_rounding(key) else None,
                remedy=_remedy(key, counts[key], in_f32[key], already=tied.format is F32),
            )
            for key in _ORDER
            if counts[key]
        ],
        ties=[
            TieFacts(
                a=tie.a,
                b=tie.b,
                cause=tie.cause,
                saturation=tie.saturation,
                margin_ulp=_printed(tie.margin_ulp),
                ends_in_f32=tie.ends_in_f32,
            )
            for tie in listed
        ],
    )


def _printed(exactly: Fraction | None) -> float | None:
    return None if exactly is None else float(exactly)


def _key(tie: Tie) -> str:
    return tie.cause if tie.saturation is None else f"{tie.cause}:{tie.saturation}"


def _is_rounding(key: str) -> bool:
    return key.startswith(("rounding", "saturation"))


def _remedy(key: str, ties: int, in_f32: int, *, already: bool) -> str:
    """Return what ends the ties of one cause."""
    if not _is_rounding(key):
        return _REMEDIES[key]
    if already:
        return f"the logits are f32 already: {_TIE_BREAK}"
    if in_f32 == ties:
        return "an f32 head (logits kept in f32) ends them"
    if not in_f32:
        return f"they tie in f32 too: {_TIE_BREAK}"
    return (
        f"an f32 head (logits kept in f32) ends {in_f32:,} of {ties:,}; the others tie in f32 too"
    )


def _without_bias(rows: RowClasses, token_ids: TokenIds) -> int | None:
    """Return how many distinct rows there are where biases are not looked at, if that is fewer."""
    with_bias, without = (len(np.unique(each.labels[token_ids])) for each in (rows.bits, rows.rows))
    return without if without < with_bias else None


def _softcap_facts(
    subject: Subject, logits: TokenValues, distinct: Float64s, top: int
) -> SoftcapFacts | None:
    """Return which distinct logits the head's softcap makes equal; None where it has none."""
    head, format_ = subject.head, subject.logit_format
    if head.softcap is None or not len(distinct):
        return None
    cap = head.softcap
    if head.bias is not None or head.scale is not None:
        return SoftcapFacts(
            cap=cap,
            modal=None,
            top=[],
            why="the head's bias or scale comes before its softcap, and is not applied here",
        )

    def merged(place: int) -> SoftcapMerge:
        found = merged_with(distinct, place, cap, format_)
        values = distinct[found.first : found.stop]
        n_tokens = int(((logits.values >= values[0]) & (logits.values <= values[-1])).sum())
        return SoftcapMerge(
            capped=found.capped,
            capped_hex=found.capped.hex(),
            low=float(values[0]),
            high=float(values[-1]),
            distinct_logits=len(values),
            distinct_f32=found.distinct_f32,
            n_tokens=n_tokens,
        )

    groups = []
    place = len(distinct) - 1
    while place >= max(len(distinct) - top, 0):
        groups.append(merged(place))
        place -= groups[-1].distinct_logits
    modal = merged(int(np.searchsorted(distinct, logits.mode.value)))
    return SoftcapFacts(
        cap=cap,
        modal=modal if modal.distinct_logits > 1 else None,
        top=[group for group in groups if group.distinct_logits > 1],
        why=None,
    )


def _device_facts(
    subject: Subject,
    rows: RowClasses,
    hidden_state: Vector,
    logits: TokenValues,
    exact_logits: Float64s,
) -> DeviceFacts:
    """Compare what the device gave with the exact logits, and with other operations there."""
    # Not before: only who asked for it has torch.
    from isologit.numerics.observed import Observed, Product

    arithmetic, format_ = subject.settings.arithmetic, subject.logit_format
    assert isinstance(arithmetic, Observed)
    first = logits.values

    def observation(product: Product) -> Observation:
        """Return figures of the first state's logits, and how the others of the batch differ."""
        offset, own = product.row_offset, product.values[0]
        found = deviations(own, exact_logits[offset:], format_)
        worst = found.largest_token
        return Observation(
            op=product.op,
            batch=product.batch,
            row_offset=offset,
            differing=len(found.token_ids),
            largest_ulp=found.largest_ulp,
            largest_token=None if worst is None else worst + offset,
            observed=None if worst is None else float(own[worst]),
            exact=None if worst is None else float(exact_logits[worst + offset]),
            split_row_classes=len(split_classes(Partition.of_keys(rows.bits.labels[offset:]), own)),
            unlike_first_op=int(differing(own, first[offset:]).sum()),
            unlike_in_batch=int(differing(product.values, own[None]).any(axis=0).sum()),
        )

    split = split_classes(rows.bits, first)
    of_equal_logits = Partition.of_values(exact_logits)
    parted = split_classes(of_equal_logits, first)
    return DeviceFacts(
        device=arithmetic.device,
        environment=arithmetic.environment,
        observations=[
            observation(Product(_FIRST_OP, None, 0, first[None])),
            *map(
                observation, arithmetic.other_products(subject.head.matrix, hidden_state, format_)
            ),
        ],
        split_row_classes=len(split),
        split=[_split_class(rows.bits, label, first) for label, _ in split[:_CLASSES_LISTED]],
        parted_logit_classes=len(parted),
        parted_tokens=tokens_in(of_equal_logits, parted),
        joined_logit_classes=len(split_classes(Partition.of_values(first), exact_logits)),
    )


def _split_class(rows: Partition, label: int, observed: Float64s) -> SplitClass:
    tokens = rows.members(label)
    values, counts = np.unique(observed[tokens], return_counts=True)
    return SplitClass(
        label=label,
        size=len(tokens),
        token_ids=tokens[:_IDS_OF_A_SPLIT].tolist(),
        logits=values.tolist(),
        n_tokens=counts.tolist(),
    )
