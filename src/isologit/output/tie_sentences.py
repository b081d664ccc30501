"""Sentences about why tokens tie, as functions of the figures alone."""

from isologit.checkpoint.wording import counted
from isologit.output.sentences import FORMAT_NAMES, number
from isologit.tie_findings import (
    CauseFacts,
    DeviceFacts,
    SoftcapFacts,
    SoftcapMerge,
    TiedClassFacts,
    TieFacts,
    Ties,
)

# The switches that servers have for two of the remedies; docs/ties.md says where they are from.
_SWITCHES = {
    "f32": 'an f32 head: vLLM --hf-overrides \'{"head_dtype": "float32"}\', '
    "SGLang --enable-fp32-lm-head",
    "order": "a fixed accumulation order: vLLM VLLM_BATCH_INVARIANT=1, "
    "SGLang --enable-deterministic-inference",
}
_SATURATED = {
    "overflow": "overflow: they are beyond the largest number",
    "underflow": "underflow: they are below half the smallest number",
}


def opening(dtype: str, logits_of: str) -> str:
    """Return whose logits tie, and what a unit in the last place is."""
    whose = "" if logits_of == "exact" else f"Logits of {logits_of} on the device. "
    return (
        f"{whose}1 ULP is the distance from a logit to the next number of {FORMAT_NAMES[dtype]} "
        "away from 0"
    )


def value(facts: TiedClassFacts, dtype: str) -> str:
    """Return a class's logit and the unit in its last place."""
    return f"{number(facts.value, dtype)} (1 ULP = {facts.ulp:.4g})"


def tied_class(facts: TiedClassFacts) -> list[str]:
    """Return how many rows and reals a class has, what joins them, and what would part them."""
    if facts.n_tokens == 1:
        return ["1 token: nothing shares its logit"]
    parts = [counted(facts.distinct_rows, "distinct row")]
    parts.append(counted(facts.distinct_reals, "distinct real"))
    lines = [f"{counted(facts.n_tokens, 'token')}: {', '.join(parts)}"]
    if facts.distinct_without_bias is not None:
        lines.append(
            f"{counted(facts.distinct_without_bias, 'distinct row')} without the biases: where "
            "these alone differ the head's bias, which is not applied here, parts the tokens"
        )
    for cause in facts.causes:
        lines += [joined(cause, facts), f"  remedy: {cause.remedy}"]
    return lines


def joined(cause: CauseFacts, facts: TiedClassFacts) -> str:
    """Return what one cause joins."""
    match cause.cause:
        case "same row":
            return f"{counted(cause.ties, 'tie')} by the same row, bit for bit"
        case "equal reals":
            return f"{counted(cause.ties, 'tie')} by equal reals of different rows"
        case "non-finite":
            return f"{counted(cause.ties, 'tie')} of rows where an infinity or a NaN is involved"
        case "accumulation":
            several = counted(facts.distinct_logits, "exact logit")
            return (
                f"{counted(cause.ties, 'tie')} by accumulation: {several}, one on the device"
                f"{_spread(facts)}"
            )
    how = f" ({_SATURATED[cause.saturation]})" if cause.saturation else ""
    return f"{counted(cause.ties, 'tie')} by {cause.cause}{how}{_spread(facts)}"


def _spread(facts: TiedClassFacts) -> str:
    if facts.span_ulp is None or facts.closest_ulp is None:
        return ""
    return (
        f"; the reals span {facts.span_ulp:.3g} ULP, the closest two differ by "
        f"{facts.closest_ulp:.3g} ULP"
    )


def causes(facts: TiedClassFacts) -> str:
    """Return a class's causes in a few words, for a table."""
    return ", ".join(
        f"{cause.ties:,} {cause.cause}" + (f" ({cause.saturation})" if cause.saturation else "")
        for cause in facts.causes
    )


def margin(facts: TieFacts) -> str:
    """Return how far apart two tied tokens' reals are."""
    if facts.margin_ulp is None:
        return "no number"
    return f"{facts.margin_ulp:.3g} ULP"


def in_f32(facts: TieFacts) -> str:
    """Return whether a tie ends in f32."""
    return {None: "", True: "ends in f32", False: "ties in f32 too"}[facts.ends_in_f32]


def softcap(facts: SoftcapFacts, dtype: str) -> list[str]:
    """Return what the softcap merges of what the product kept apart."""
    name = f"Softcap {facts.cap:g}·tanh(ℓ/{facts.cap:g}), rounded once to {FORMAT_NAMES[dtype]}"
    if facts.why is not None:
        return [f"{name}: not looked at, for {facts.why}"]
    lines = [f"{name}:"]
    if not facts.top:
        lines.append("  merges none of the largest logits with another")
    lines += [f"  {_merge(group, dtype)}" for group in facts.top]
    if facts.modal is None:
        lines.append("  merges nothing with the modal class's logit")
    else:
        lines.append(f"  the modal class's logit: {_merge(facts.modal, dtype)}")
    if facts.top or facts.modal is not None:
        lines.append(
            "  cause: saturation (softcap); remedy: compare the logits before the softcap, which "
            "keeps their order, or compute it in f32"
        )
    return lines


def _merge(facts: SoftcapMerge, dtype: str) -> str:
    low, high, capped = (number(x, dtype) for x in (facts.low, facts.high, facts.capped))
    return (
        f"{facts.distinct_logits:,} distinct logits from {low} to {high} become {capped} "
        f"({counted(facts.n_tokens, 'token')}; {facts.distinct_f32:,} in f32)"
    )


def of_device(facts: DeviceFacts) -> list[str]:
    """Return what a device does to classes that exact arithmetic has."""
    parted = (
        f"{counted(facts.parted_logit_classes, 'exact logit')} with several observed ones "
        f"({counted(facts.parted_tokens, 'token')})"
    )
    return [
        f"{counted(facts.joined_logit_classes, 'observed logit')} of several exact ones; {parted}",
        f"{counted(facts.split_row_classes, 'row class', 'row classes')} whose tokens, bit for bit "
        "the same, got different logits",
    ]


def switches(facts: Ties) -> list[str]:
    """Return what servers call the remedies of the causes that were found."""
    found = {
        cause.cause
        for each in [*facts.top, facts.modal]
        for cause in each.causes
        if cause.end_in_f32 != 0
    }
    lines = []
    if found & {"rounding", "saturation"}:
        lines.append(_SWITCHES["f32"])
    device = facts.device
    if "accumulation" in found or (
        device is not None and (device.split_row_classes or device.parted_logit_classes)
    ):
        lines.append(_SWITCHES["order"])
    return lines
