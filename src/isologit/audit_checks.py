"""What has to hold of an audit that is read back, so that no page of it fails or says two things.

A directory may come from anywhere. Its records have the right types already, and its table the
right columns; here the one is held against the other, and words and lengths against what pages look
up. Whatever is wrong is said in a sentence of what was found, and what was expected.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from isologit.claims import BOUND, ESTIMATED, EXACT, OBSERVED
from isologit.findings import Audit, AxesFacts, RowFacts, SizedClass, ValueFacts
from isologit.numerics.formats import FORMATS
from isologit.states_findings import GreedyFacts
from isologit.tie_findings import CauseFacts, TiedClassFacts
from isologit.token_findings import TokensFacts
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.evidence import GRADES
from isologit.tokens.reachability import CAUSES

_FORMAT_NAMES = {each.name for each in FORMATS}
_LARGEST = float(np.finfo(np.float32).max)
_CLAIMS = {EXACT, BOUND, ESTIMATED, OBSERVED}
_STATES = {"centroid", "token", "spherical", "file", "mean"}
_NORMS = {"rms", "layer", "none", "unknown"}
_SATURATIONS = {None, "overflow", "underflow"}
_MULTIPLICITIES = {"1", "2", "3", "4+", "100+", "1000+"}
# Where a number below zero means something: an axis that is flipped, and no token.
_MAY_BE_NEGATIVE = {"axes", "top", "runner_up"}

_K = TypeVar("_K")
#: What was got, and what was expected.
Wrong = tuple[str, str]


def wrong_in(findings: Audit, table: pa.Table) -> Iterator[Wrong]:
    """Yield what is wrong with the summary of an audit, beside its table of tokens."""
    yield from _token_ids(msgspec.to_builtins(findings), table.num_rows)
    yield from _counts(msgspec.to_builtins(findings))
    yield from _words(findings)
    yield from _values(findings)
    labels = table["row_class"].to_numpy()
    yield from _rows(findings.rows, labels)
    yield from _marked(findings, table)
    yield from _columns(table)
    yield from _state(findings)
    if findings.tokens is not None:
        yield from _tokens(findings.tokens, findings.rows, table)
    elif "category" in table.column_names:
        yield "categories in the table alone", "tokens in both or in neither"
    if findings.greedy is not None:
        yield from _greedy(findings.greedy)
    if findings.ties is not None and not {"causes", "reals"} <= findings.ties.claims.keys():
        yield "ties without claims", "a claim for each part"


def wrong_axes(axes: AxesFacts, at_least: int) -> Iterator[Wrong]:
    """Yield what is wrong with principal axes."""
    lengths = {len(axes.eigenvalues), len(axes.variance_share), len(axes.sine_bounds)}
    if len(lengths) > 1 or min(lengths) < at_least:
        yield "axes of different numbers", f"{at_least} or more of each figure"


def _token_ids(value: Any, n_tokens: int) -> Iterator[Wrong]:
    for key, item in _items(value):
        ids = item if key in ("token_ids", "top_ids") and isinstance(item, list) else []
        if ids and not (min(ids) >= 0 and max(ids) < n_tokens):
            yield f"token id {max(ids)}", f"0 to {n_tokens - 1}"


def _counts(value: Any) -> Iterator[Wrong]:
    for key, item in _items(value):
        if key in _MAY_BE_NEGATIVE:
            continue
        numbers = item if isinstance(item, list) else [item]
        if any(type(each) is int and each < 0 for each in numbers):
            yield f"{key} below zero", "a count"


def _words(findings: Audit) -> Iterator[Wrong]:
    dtypes = [
        findings.matrix.values_dtype,
        findings.arithmetic.logit_dtype,
        findings.state.dtype,
        *(each.dtype for each in _every(findings, ValueFacts)),
    ]
    yield from _among("a format", dtypes, _FORMAT_NAMES)
    yield from _among("a claim", findings.claims.values(), _CLAIMS)
    yield from _among("a role", [findings.matrix.role], {"output", "input"})
    yield from _among("a state", [findings.state.kind], _STATES)
    yield from _among("a final norm", [findings.head.norm.kind], _NORMS)
    causes = [each.saturation for each in _every(findings, CauseFacts)]
    yield from _among("a saturation", causes, _SATURATIONS)


def _values(findings: Audit) -> Iterator[Wrong]:
    """Yield numbers that no format has, which cannot be printed as one's."""
    own = findings.centroid.member_norm
    numbers = [findings.state.norm, own.min, own.max, own.mean]
    for each in _every(findings, ValueFacts):
        numbers += [each.min, each.max, each.mean, each.median, each.mode.value]
        numbers += [count.value for count in each.top]
        if each.multiplicity.keys() != _MULTIPLICITIES:
            yield "other multiplicities", ", ".join(sorted(_MULTIPLICITIES))
    numbers += [each.value for each in _every(findings, TiedClassFacts)]
    if findings.cluster is not None and findings.cluster.cosine is not None:
        numbers.append(findings.cluster.cosine)
    if findings.pairwise is not None:
        numbers.append(findings.pairwise.min)
    if findings.own_class is not None:
        numbers.append(findings.own_class.value)
    if any(_LARGEST < abs(each) < float("inf") for each in numbers):
        yield "a number that no format of logits has", f"up to {_LARGEST:.3g}"


def _rows(rows: RowFacts, labels: Any) -> Iterator[Wrong]:
    counts = np.bincount(labels)
    sizes = np.sort(counts[counts > 1])[::-1].tolist()
    in_table = (int((counts > 0).sum()), len(sizes), sum(sizes), sizes)
    if (rows.distinct, rows.classes, rows.tokens_in_classes, rows.sizes) != in_table:
        yield "other row classes than the table's", "the same in both"
    if rows.redundant != len(labels) - in_table[0]:
        yield f"{rows.redundant} redundant rows", f"{len(labels) - in_table[0]}"
    yield from _largest(rows.largest)
    for each in rows.largest:
        if each.token_ids != np.flatnonzero(labels == each.label).tolist():
            yield f"row class {each.label} of other tokens than the table's", "the same in both"
    if rows.by_value is not None:
        yield from _largest(rows.by_value.largest)
        if not rows.by_value.sizes:
            yield "no class of equal values", "null where there are no more than of equal bits"


def _largest(largest: list[SizedClass]) -> Iterator[Wrong]:
    if any(each.size != len(each.token_ids) or not each.token_ids for each in largest):
        yield "a class of another size than its tokens", "as many as there are"


def _marked(findings: Audit, table: pa.Table) -> Iterator[Wrong]:
    """Yield sets of tokens that the summary lists otherwise than the table marks them."""
    cluster, logits = findings.cluster, findings.logits
    listed = {
        "in_cluster": None if cluster is None else cluster.token_ids,
        "in_modal_class": logits.mode.token_ids,
    }
    for name, ids in listed.items():
        if (name in table.column_names) != (ids is not None):
            yield f"{name} in one of the two alone", "in both or in neither"
        elif ids is not None and np.flatnonzero(table[name].to_numpy()).tolist() != ids:
            yield f"other tokens {name} than the table's", "the same in both"
    if cluster is not None and cluster.size != len(cluster.token_ids):
        yield f"a cluster of {cluster.size}", f"{len(cluster.token_ids)}, as it lists"
    if logits.mode.n_tokens != len(logits.mode.token_ids):
        yield f"a class of {logits.mode.n_tokens}", f"{len(logits.mode.token_ids)}, as it lists"


def _columns(table: pa.Table) -> Iterator[Wrong]:
    for name in ("norm", "logit", "cosine"):
        if name not in table.column_names:
            yield f"no column {name}", "one of the table of every audit"
        else:
            sizes = np.abs(table[name].to_numpy())
            if ((sizes > _LARGEST) & np.isfinite(sizes)).any():
                yield f"a {name} that no format has", f"up to {_LARGEST:.3g}"


def _state(findings: Audit) -> Iterator[Wrong]:
    if findings.state.kind == "token" and not findings.state.token_ids:
        yield "a token's state without the token", "its id"
    if findings.axes is not None:
        yield from wrong_axes(findings.axes, 1)
    reference = findings.reference
    if reference.kind == "pole" and None in (reference.lat_deg, reference.lon_deg):
        yield "a pole without its place", "lat_deg and lon_deg"


def _tokens(tokens: TokensFacts, rows: RowFacts, table: pa.Table) -> Iterator[Wrong]:
    if "category" not in table.column_names or "bytes" not in table.column_names:
        yield "tokens in the summary alone", "tokens in both or in neither"
        return
    if tokens.categories.keys() != set(CATEGORIES):
        yield "other categories", ", ".join(CATEGORIES)
    else:
        counts = {each["values"]: each["counts"] for each in _value_counts(table["category"])}
        if any(n != counts.get(name, 0) for name, n in tokens.categories.items()):
            yield "other categories than the table's", "the same in both"
    yield from _among("a cause", tokens.causes, set(CAUSES))
    if len(tokens.classes) != len(rows.largest):
        yield f"{len(tokens.classes)} classes of tokens", f"{len(rows.largest)}, as of rows"
    if tokens.evidence is not None:
        if tokens.evidence.grades.keys() != set(GRADES):
            yield "other grades", ", ".join(GRADES)
        if "evidence" not in table.column_names:
            yield "evidence in the summary alone", "in both"


def _greedy(greedy: GreedyFacts) -> Iterator[Wrong]:
    dtypes = [share.dtype for share in greedy.shares]
    yield from _among("a format", dtypes, _FORMAT_NAMES)
    if len(dtypes) != 2 or len(greedy.states) != 1:
        yield "a greedy certificate of other states", "one state and two formats"
    if any(not set(dtypes) <= state.formats.keys() for state in greedy.states):
        yield "a greedy certificate without a format", " and ".join(dtypes)
    if any(not share.states for share in greedy.shares):
        yield "a greedy certificate of no state", "one"


def _among(what: str, found: Any, known: set[Any]) -> Iterator[Wrong]:
    for each in found:
        if each not in known:
            yield f"{what} called {each}", ", ".join(sorted(str(word) for word in known))


def _value_counts(column: pa.ChunkedArray) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = column.value_counts().to_pylist()
    return found


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and what it holds, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _items(item)
    elif isinstance(value, list):
        for item in value:
            yield from _items(item)


def _every(value: Any, kind: type[_K]) -> Iterator[_K]:
    """Yield every record of a kind, however deep."""
    if isinstance(value, kind):
        yield value
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _every(getattr(value, name), kind)
    elif isinstance(value, list):
        for item in value:
            yield from _every(item, kind)
    elif isinstance(value, dict):
        yield from _every(list(value.values()), kind)
