"""Each sentence that a summary says, as a function of the figures alone.

The seed's own sentences are kept in its order and meaning: share of the vocabulary, perfect match,
larger, partial overlap, duplicates or pure rounding, the device.
"""

import numpy as np

from isologit.checkpoint.wording import counted as plural
from isologit.findings import (
    ArithmeticFacts,
    AxesFacts,
    ClassRows,
    ClusterFacts,
    Comparison,
    HeadFacts,
    MatrixFacts,
    PairwiseFacts,
    Reference,
    RefinementFacts,
    RowFacts,
    StateFacts,
    ValueClass,
    ValueFacts,
)
from isologit.inspection import Inspection, MatrixShape, TokenizerFacts
from isologit.numerics.formats import parse_format, round_to

FORMAT_NAMES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}


def number(value: float, dtype: str, decimals: int = 8) -> str:
    """Return a figure with the seed's decimals, or as many digits as tell it from its neighbours.

    Two different values of a format never print alike.
    """
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value and abs(value) < 1e-4:
        return f"{value:.8e}"
    text = f"{value:.{decimals}f}"
    if float(round_to(float(text), parse_format(dtype))) == value:
        return text
    # The shortest decimals that tell a binary32 number, the finest format here, from every other.
    return np.format_float_positional(np.float32(value), unique=True, min_digits=decimals)


def ids(token_ids: list[int], shown: int) -> str:
    """Return the first ids of a list, in brackets."""
    rest = ", …" if len(token_ids) > shown else ""
    return "[" + ", ".join(map(str, token_ids[:shown])) + rest + "]"


def matrix(facts: MatrixFacts | MatrixShape, model_name: str) -> list[str]:
    """Return which matrix was read, and its shape."""
    n_tokens, width = facts.shape
    tied = {True: "tied", False: "untied", None: "tied or not is unknown"}[facts.tied]
    return [
        f"Loaded {facts.tensor} from {model_name} ({facts.role}, {tied})",
        f"  why: {facts.why}",
        f"  Shape: [{n_tokens}, {width}]   Dtype: {_stored_as(facts)}",
        f"Token space: {plural(n_tokens, 'token')} in {plural(width, 'dimension')}",
    ]


def tokenizer(facts: TokenizerFacts | None) -> list[str]:
    """Return what tokenizer a GGUF header holds."""
    if facts is None:
        return []
    return [
        f"Tokenizer: {plural(facts.tokens, 'token')} in the header (tokenizer.ggml {facts.kind})"
    ]


def sizes(facts: Inspection) -> list[str]:
    """Return how much of a checkpoint W is, and how much of it has to be fetched."""
    assert facts.matrix is not None
    lines = [f"W is {facts.matrix.bytes:,} of {facts.bytes:,} bytes"]
    if facts.model.source == "hub" and facts.to_fetch is not None:
        here = "; the rest of what is needed is here" if facts.to_fetch < facts.matrix.bytes else ""
        lines.append(
            f"{n_bytes(facts.to_fetch)} of {n_bytes(facts.bytes)} to fetch{here}"
            if facts.to_fetch
            else "Nothing to fetch: what is needed is here"
        )
    return lines


def n_bytes(count: int) -> str:
    """Return a number of bytes with a unit of powers of 1,024, three digits of it."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1024
        units.pop(0)
    if units[0] == "bytes":
        return plural(count, "byte")
    return f"{size:.{max(0, 2 - int(np.log10(max(size, 1))))}f} {units[0]}"


def _stored_as(facts: MatrixFacts | MatrixShape) -> str:
    values = FORMAT_NAMES[facts.values_dtype]
    return values if facts.dtype == facts.values_dtype else f"{facts.dtype}, decoded into {values}"


def device(facts: ArithmeticFacts, *, any_logits: bool) -> str:
    """Return which arithmetic and device computed the figures."""
    how = arithmetic(facts, any_logits=any_logits)
    return f"Using device: {facts.device} ({how})"


def arithmetic(facts: ArithmeticFacts, *, any_logits: bool) -> str:
    """Return how the figures were computed, whatever the device."""
    logit = FORMAT_NAMES[facts.logit_dtype]
    if facts.name != "exact":
        return f"{facts.name}, as observed there, logits in {logit}"
    if not any_logits:
        return "exact arithmetic"
    refined = (
        "the bound certified every logit"
        if facts.refined == 0
        else f"{plural(facts.refined, 'logit')} took the exact step"
    )
    return f"exact arithmetic, logits rounded once to {logit}; {refined}"


def rows(facts: RowFacts, matrix: MatrixFacts) -> list[str]:
    """Return the row census."""
    n_tokens = matrix.shape[0]
    verb = "repeats" if facts.redundant == 1 else "repeat"
    with_bias = ", each with its bias" if facts.distinct_without_bias is not None else ""
    lines = [
        f"{plural(facts.distinct, 'distinct row')} of {n_tokens:,}{with_bias}; "
        f"{plural(facts.redundant, 'row')} {verb} another"
    ]
    if facts.distinct_without_bias is not None:
        lines.append(f"{plural(facts.distinct_without_bias, 'distinct row')} without the biases")
    if facts.by_value is not None:
        decoded = " once decoded" if matrix.dtype != matrix.values_dtype else ""
        verb = "repeats" if facts.by_value.redundant == 1 else "repeat"
        lines.append(
            f"{plural(facts.distinct_values, 'distinct row')} by value{decoded}, where −0 equals "
            f"+0; {plural(facts.by_value.redundant, 'row')} {verb} another: "
            f"{plural(facts.by_value.classes, 'class', 'classes')}, the largest of "
            f"{plural(facts.by_value.sizes[0], 'token')}"
        )
    elif matrix.dtype != matrix.values_dtype:
        lines.append(f"{plural(facts.distinct_values, 'distinct row')} once decoded, as many")
    kinds = [
        (facts.zero, "zero"),
        (facts.subnormal, "subnormal"),
        (facts.nonfinite, "non-finite"),
    ]
    special = [plural(n, f"{kind} row") for n, kind in kinds if n]
    if special:
        decoded = " once decoded" if matrix.dtype != matrix.values_dtype else ""
        lines.append(f"Of these{decoded}: " + ", ".join(special))
    return lines


def share(n_tokens: int, vocabulary: int) -> str:
    """Return a share of the vocabulary, as the seed prints it."""
    return f"{n_tokens / vocabulary * 100:.2f}% of vocabulary"


def comparison(facts: Comparison) -> list[str]:
    """Return how the cluster and the logit class overlap: the seed's branches."""
    if facts.relation == "identical":
        lines = ["✓ Perfect match: the cluster and the logit class are identical"]
    elif facts.relation == "contained":
        lines = [
            f"✓ Logit class is LARGER: it includes {plural(facts.only_b, 'additional token')}",
            f"  Logit-only tokens: {facts.only_b:,}",
        ]
    elif facts.relation == "contains":
        lines = [
            f"✓ The cluster is LARGER: it includes {plural(facts.only_a, 'additional token')}",
            f"  Cluster-only tokens: {facts.only_a:,}",
        ]
    elif facts.relation == "partial":
        lines = [
            "✓ Partial overlap",
            f"  Cluster-only: {plural(facts.only_a, 'token')}",
            f"  Logit-only: {plural(facts.only_b, 'token')}",
            f"  Both: {plural(facts.both, 'token')}",
        ]
    else:
        lines = ["✗ Disjoint: the cluster and the logit class share no token"]
    return [
        *lines,
        "Overlap percentage:",
        f"  Of the cluster in the logit class: {facts.share_of_a * 100:.1f}%",
        f"  Of the logit class in the cluster: {facts.share_of_b * 100:.1f}%",
    ]


def duplicates(facts: ClassRows, logits: ValueFacts) -> list[str]:
    """Return whether the class is made of duplicate rows or of rounding."""
    lines = [
        f"Tokens in logit equivalence class: {facts.n_tokens:,}",
        f"Unique embeddings: {facts.distinct:,}",
    ]
    if facts.n_tokens == 1:
        return [*lines, "✓ A single token: nothing shares its logit"]
    if facts.redundant:
        verb = "shares an embedding" if facts.redundant == 1 else "share embeddings"
        return [
            *lines,
            f"✓ Found duplicates: {plural(facts.redundant, 'token')} {verb} with others",
            f"  Average degeneracy: {facts.mean_multiplicity:.1f} tokens per unique embedding",
        ]
    format_name = FORMAT_NAMES[logits.dtype]
    why = f"  This is pure {format_name} quantization!"
    if facts.equal_reals is False and logits.mode.value in (float("inf"), float("-inf")):
        why = f"  Their dot products are beyond the largest {format_name} number"
    if facts.equal_reals:
        why = "  Their dot products are equal as real numbers: no rounding made them so"
    elif facts.equal_reals is None:
        why = "  An infinity or a NaN is involved, so nothing was rounded"
    return [
        *lines,
        "✓ No embedding duplicates: all tokens have distinct embeddings",
        "  These tokens are indistinguishable by DOT PRODUCT but not by EMBEDDING",
        why,
    ]


def state(facts: StateFacts) -> list[str]:
    """Return what the state is, and whether a final norm could output it."""
    of = f" of {plural(len(facts.token_ids), 'token')}" if facts.token_ids else ""
    kinds = {
        "centroid": f"centroid{of}",
        "token": f"row of token {facts.token_ids[0]}" if facts.token_ids else "a token's row",
        "spherical": "a point on the sphere of principal axes",
        "file": "read from a file",
        "mean": "mean of all finite rows (no cluster stands out)",
        "mix": "mix of two states",
    }
    reach = {
        True: f"reachable: {facts.why}",
        False: f"not reachable: {facts.why}",
        None: f"reachable or not is unknown: {facts.why}",
    }[facts.reachable]
    kind = kinds[facts.kind]
    if facts.rescaled_from is not None:
        before = facts.rescaled_from
        ratio = "" if np.isnan(before) else f" (from {before:.4g})"
        kind += f", rescaled to where the final norm can output it{ratio}"
    return [
        f"{kind[0].upper()}{kind[1:]}",
        f"  Norm: {number(facts.norm, facts.dtype, 6)}   Dtype: {FORMAT_NAMES[facts.dtype]}",
        f"  {reach[0].upper()}{reach[1:]}",
    ]


def distribution(facts: ValueFacts, what: str) -> list[str]:
    """Return range, mean and median, as the seed prints them."""
    if not facts.distinct:
        return [f"None: no {what.lower()} is a number ({plural(facts.nan, 'token')} with NaN)"]
    lines = [
        f"{what} distribution ({FORMAT_NAMES[facts.dtype]}):",
        f"  Range: [{number(facts.min, facts.dtype)}, {number(facts.max, facts.dtype)}]",
        f"  Mean: {number(facts.mean, facts.dtype)}",
        f"  Median: {number(facts.median, facts.dtype)}",
    ]
    if facts.nan:
        lines.append(f"  {plural(facts.nan, 'token')} without a number (NaN), not counted here")
    return lines


def mode(facts: ValueFacts, what: str, vocabulary: int) -> list[str]:
    """Return the fullest class of equal values, and the maximum's for comparison."""
    if not facts.distinct:
        return [f"✓ {plural(facts.nan, 'token')} without a {what} are taken as one class"]
    common, largest = (number(value, facts.dtype) for value in (facts.mode.value, facts.max))
    other = "; no other value has more" if several_modes(facts) else ""
    return [
        f"✓ Found {plural(facts.mode.n_tokens, 'token')} with {what} = {common}",
        f"  ({share(facts.mode.n_tokens, vocabulary)}{other})",
        f"  Token IDs (first 20): {ids(facts.mode.token_ids, 20)}",
        "For comparison:",
        f"  Maximum {what}: {largest} ({plural(facts.max_class.n_tokens, 'token')})",
    ]


def several_modes(values: ValueFacts) -> bool:
    """Whether another value is held by as many tokens as the one that is called most common."""
    return len(values.top) > 1 and values.top[1].n_tokens == values.mode.n_tokens


def cluster(facts: ClusterFacts | None, dtype: str) -> list[str]:
    """Return what the cluster is and why, or that there is none."""
    if facts is None:
        return [
            "None: no group of distinct rows stands out from the rest of the vocabulary "
            "(the tokens of a row class are one row)"
        ]
    lines = [f"Cluster size: {plural(facts.size, 'token')}", f"  why: {facts.why}"]
    if facts.cosine is not None:
        shown = number(facts.cosine, dtype)
        if facts.cosine_tokens is None:
            lines.append(f"Cosine: {shown} (says that file; not computed here)")
        elif facts.cosine_tokens == facts.size:
            lines.append(f"Shared cosine: {shown}")
        else:
            lines.append(
                f"Most common cosine among them: {shown} ({plural(facts.cosine_tokens, 'token')})"
            )
    lines.append(f"Token IDs (first 10): {ids(facts.token_ids, 10)}")
    if facts.others:
        others = ", ".join(f"{size:,}" for size in facts.others)
        lines.append(f"Further clusters, less prominent, of {others} tokens")
    return lines


def against(reference: Reference) -> str:
    """Return what the cosines are with."""
    return {
        "centroid": "the cluster's centroid",
        "mean": "the mean of all finite rows",
        "pole": f"{reference.lat_deg}°, {reference.lon_deg}° (axes {reference.axes})",
    }[reference.kind]


def axes(facts: AxesFacts) -> list[str]:
    """Return the principal axes' share of the variance, and how well they are determined."""
    left_out = f"; {plural(facts.rows_left_out, 'row')} left out" if facts.rows_left_out else ""
    return [
        "Eigenvalues: " + ", ".join(f"{value:.6g}" for value in facts.eigenvalues),
        "Variance: " + ", ".join(f"{100 * share:.2f}%" for share in facts.variance_share),
        f"Each within {max(facts.sine_bounds):.1g} of the true axis (sine of the angle){left_out}",
    ]


def pairwise(facts: PairwiseFacts, dtype: str) -> list[str]:
    """Return the rounded cosines of all pairs of the cluster (the seed line's 1.4d)."""
    if not facts.pairs:
        return []
    without = f"; {facts.without:,} without a cosine" if facts.without else ""
    return [
        f"{plural(facts.pairs, 'pair')}: {facts.exactly_one:,} with a cosine of 1 in "
        f"{FORMAT_NAMES[dtype]}, "
        f"{plural(facts.distinct, 'distinct cosine')}, the smallest "
        f"{number(facts.min, dtype)}{without}"
    ]


def own_class(facts: ValueClass, state: StateFacts, dtype: str, vocabulary: int) -> list[str]:
    """Return which tokens cannot be told from the state's own (the seed line's 1.5d, 1.6a)."""
    whose = f"token {state.token_ids[0]}" if state.kind == "token" else "the centroid"
    own = len(set(facts.token_ids) & set(state.token_ids))
    lines = [
        f"{plural(facts.n_tokens, 'token')} with the dot product of {whose} with itself, "
        f"{number(facts.value, dtype)}",
        f"  ({share(facts.n_tokens, vocabulary)})",
    ]
    if state.kind == "centroid":
        lines.append(f"  {own:,} of the {len(state.token_ids):,} that it is the centroid of")
    if facts.n_tokens:
        lines.append(f"  Token IDs (first 20): {ids(facts.token_ids, 20)}")
    return lines


def refinement(facts: RefinementFacts) -> list[str]:
    """Return what the iterated refinement did, step by step."""
    lines = [f"Start: {facts.start}"]
    if not facts.steps:
        return [*lines, f"⚠ Not begun: {facts.why}"]
    lines += [
        "  Cluster size by iteration: " + ", ".join(f"{step.n_members:,}" for step in facts.steps),
        "  Indistinguishable (total): " + ", ".join(f"{step.n_class:,}" for step in facts.steps),
        "  Centroid shift: " + ", ".join(f"{step.shift:.3g}" for step in facts.steps),
    ]
    sign = "✓ Converged" if facts.converged else "⚠ Did not converge"
    steps = plural(len(facts.steps), "iteration")
    why = "" if facts.converged or not facts.why else f": {facts.why}"
    return [*lines, f"{sign} after {steps}{why}; {plural(facts.size, 'token')} remain"]


def head(facts: HeadFacts) -> list[str]:
    """Return what the head does besides the product, and what the final norm is."""
    norm = facts.norm
    names = {"rms": "RMSNorm", "layer": "LayerNorm", "none": "none", "unknown": "unknown"}
    lines = [f"Family: {facts.family or 'unknown'}"]
    if facts.bias:
        lines.append(f"Bias: {facts.bias} (row classes count it, logits are without it)")
    if facts.logit_scale is not None:
        lines.append(f"Logit scale: × {facts.logit_scale:g} ({facts.logit_scale_source})")
    if facts.softcap is not None:
        lines.append(f"Softcap: {facts.softcap:g}")
    parts = [names[norm.kind]]
    if norm.gamma:
        parts.append(f"γ = {norm.convention}")
    if norm.beta:
        parts.append("with β")
    if norm.eps is not None:
        parts.append(f"ε = {norm.eps:g}")
    lines.append(f"Final norm: {', '.join(parts)} ({norm.source})")
    return lines
