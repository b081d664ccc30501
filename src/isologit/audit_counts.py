"""What the summary of an audit counts, counted again in its table of tokens.

`audit_checks` has made sure before that the two can be laid beside each other.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isologit.equivalence.partition import Overlap, Partition
from isologit.equivalence.values import TokenValues
from isologit.findings import Audit, Comparison, EqualRows, ValueClass, ValueFacts
from isologit.numerics.formats import parse_format
from isologit.record import Record
from isologit.states_findings import GreedyFacts
from isologit.table_words import Codes, Words, kinds_of, words_in
from isologit.tie_findings import Ties
from isologit.token_findings import ClassTokens, TokensFacts
from isologit.tokens.categories import CATEGORIES, PADDING, SPECIAL
from isologit.tokens.evidence import GRADES

#: What was got, and what was expected.
Wrong = tuple[str, str]
Mask = npt.NDArray[np.bool_]


def miscounted(findings: Audit, table: pa.Table) -> Iterator[Wrong]:
    """Yield the figures of a summary that its table shows to be others."""
    modal = findings.logits.mode.token_ids
    for name, facts in (("logit", findings.logits), ("cosine", findings.cosines)):
        yield from _values(name, facts, table[name].to_numpy())
    yield from _row_classes(findings, table)
    yield from _cluster(findings, table)
    yield from _pairwise(findings)
    if findings.own_class is not None:
        again = ValueClass.of(
            _of(findings.logits, table["logit"].to_numpy()), findings.own_class.value
        )
        yield from _unlike("own_class", findings.own_class, again)
    if findings.comparison is not None and findings.cluster is not None:
        overlap = Overlap.of(findings.cluster.token_ids, modal)
        yield from _unlike("comparison", findings.comparison, Comparison.of(overlap))
    yield from _class_rows(findings, table)
    if findings.ties is not None:
        yield from _ties(findings.ties, findings.logits, table)
    if findings.greedy is not None:
        yield from _greedy(findings.greedy, findings)
    if findings.tokens is not None:
        yield from _tokens(findings.tokens, findings, table)


def _values(name: str, facts: ValueFacts, values: npt.NDArray[np.float64]) -> Iterator[Wrong]:
    again = ValueFacts.of(_of(facts, values))
    yield from _unlike(f"{name}s", facts, again)
    numbers = np.sort(values[~np.isnan(values)])
    if not len(numbers):
        return
    median = float(numbers[(len(numbers) - 1) // 2])
    yield from _other(f"{name}s.median", facts.median, median)
    if np.isfinite(numbers).all() and not facts.min <= facts.mean <= facts.max:
        yield f"{name}s.mean {facts.mean!r}", f"from {facts.min!r} to {facts.max!r}"


def _of(facts: ValueFacts, values: npt.NDArray[np.float64]) -> TokenValues:
    # Mean and median depend on the arithmetic, and are held against the values apart.
    return TokenValues(values, parse_format(facts.dtype), 0, facts.mean, facts.median)


def _row_classes(findings: Audit, table: pa.Table) -> Iterator[Wrong]:
    rows = findings.rows
    if (rows.by_value is not None) != ("row_value_class" in table.column_names):
        yield "classes of equal values in one of the two alone", "in both or in neither"
    elif rows.by_value is not None:
        by_value = Partition.of_keys(table["row_value_class"].to_numpy())
        yield from _other("rows.distinct_values", rows.distinct_values, by_value.n_classes)
        yield from _unlike("rows.by_value", rows.by_value, EqualRows.of(by_value))
    else:
        yield from _other("rows.distinct_values", rows.distinct_values, rows.distinct)
    if {"smallest", "largest"} <= set(table.column_names):
        ends = np.stack([table[name].to_numpy() for name in ("smallest", "largest")])
        yield from _other("rows.zero", rows.zero, int((ends == 0).all(axis=0).sum()))
        odd = int((~np.isfinite(ends)).any(axis=0).sum())
        yield from _other("rows.nonfinite", rows.nonfinite, odd)


def _cluster(findings: Audit, table: pa.Table) -> Iterator[Wrong]:
    found = findings.cluster
    if found is None:
        return
    cosines = table["cosine"].to_numpy()[found.token_ids]
    if found.cosine_tokens is not None and found.cosine is not None:
        with_it = int((cosines == found.cosine).sum())
        yield from _other("cluster.cosine_tokens", found.cosine_tokens, with_it)
    if findings.state.kind == "centroid" and findings.state.token_ids != found.token_ids:
        yield "state.token_ids of other tokens than the cluster's", "the same"
    norms, own = table["norm"].to_numpy()[found.token_ids], findings.centroid.member_norm
    if findings.state.kind != "mean" and np.isfinite(norms).all():
        yield from _other("centroid.member_norm.min", own.min, float(norms.min()))
        yield from _other("centroid.member_norm.max", own.max, float(norms.max()))


def _pairwise(findings: Audit) -> Iterator[Wrong]:
    found, cluster = findings.pairwise, findings.cluster
    if found is not None and cluster is not None:
        pairs = cluster.size * (cluster.size - 1) // 2
        yield from _other("pairwise.pairs", found.pairs, pairs)


def _class_rows(findings: Audit, table: pa.Table) -> Iterator[Wrong]:
    found, ids = findings.class_rows, findings.logits.mode.token_ids
    yield from _other("class_rows.n_tokens", found.n_tokens, len(ids))
    # With a bias row classes count it, and these do not.
    if findings.head.bias is None:
        distinct = len(np.unique(table["row_class"].to_numpy()[ids]))
        yield from _other("class_rows.distinct", found.distinct, distinct)
    yield from _other("class_rows.redundant", found.redundant, found.n_tokens - found.distinct)
    if found.distinct:
        mean = found.n_tokens / found.distinct
        yield from _other("class_rows.mean_multiplicity", found.mean_multiplicity, mean)


def _ties(ties: Ties, logits: ValueFacts, table: pa.Table) -> Iterator[Wrong]:
    values, labels = table["logit"].to_numpy(), table["row_class"].to_numpy()
    yield from _other("ties.nan", ties.nan, logits.nan)
    if not logits.distinct:
        return
    yield from _other("ties.modal.value", ties.modal.value, logits.mode.value)
    if ties.maximum is not None:
        yield from _other("ties.maximum.value", ties.maximum.value, logits.max)
    told = [("modal", ties.modal), ("maximum", ties.maximum)]
    told += [(f"top[{n}]", each) for n, each in enumerate(ties.top)]
    for name, each in told:
        if each is not None:
            ids = np.flatnonzero(values == each.value)
            first = ids[: len(each.token_ids)].tolist()
            yield from _other(f"ties.{name}.n_tokens", each.n_tokens, len(ids))
            yield from _other(f"ties.{name}.token_ids", each.token_ids, first)
            distinct = len(np.unique(labels[ids]))
            yield from _other(f"ties.{name}.distinct_rows", each.distinct_rows, distinct)


def _greedy(greedy: GreedyFacts, findings: Audit) -> Iterator[Wrong]:
    logits, (state,) = findings.logits, greedy.states
    for share in greedy.shares:
        yield from _other("greedy.shares.states", share.states, 1)
        told = share.certain + share.order_dependent + share.tied + share.undefined
        yield from _other("verdicts of greedy.shares", told, 1)
        exact = findings.arithmetic.name == "exact" and findings.head.bias is None
        if exact and share.dtype == logits.dtype and not share.undefined:
            n_top = state.formats[share.dtype].n_top
            yield from _other("greedy.states.n_top", n_top, logits.max_class.n_tokens)


def _tokens(tokens: TokensFacts, findings: Audit, table: pa.Table) -> Iterator[Wrong]:
    kinds = _Kinds(table)
    if tokens.rows is not None:
        yield from _other("tokens.rows", tokens.rows, table.num_rows)
    if tokens.rows is not None and tokens.padding is not None:
        with_row = tokens.rows - tokens.padding
        told = with_row + tokens.beyond_rows
        yield from _other("tokens.in_tokenizer", tokens.in_tokenizer, told)
    if tokens.padding is not None:
        yield from _other("tokens.padding", tokens.padding, kinds.counts[PADDING])
    if "survives" in table.column_names:
        lost = table.num_rows - (table["survives"].null_count + _true(table["survives"]))
        yield from _other("tokens.unreachable", tokens.unreachable, lost)
        if "cause" in table.column_names:
            causes = _counted(words_in(table, "cause", None))
            yield from _other("tokens.causes", _nonzero(tokens.causes), causes)
    elif tokens.unreachable is not None:
        yield "tokens.unreachable in the summary alone", "in both or in neither"
    if "script" in table.column_names:
        yield from _other("tokens.scripts", _nonzero(tokens.scripts), _counted(kinds.scripts))
    shared = table["row_class_size"].to_numpy() > 1
    if tokens.in_classes is not None:
        yield from _other("tokens.in_classes", tokens.in_classes, kinds.mix(shared))
    if tokens.special_in_classes is not None:
        special = np.flatnonzero(shared & (kinds.categories == SPECIAL)).tolist()
        named = [each.partition(" ")[0] for each in tokens.special_in_classes]
        yield from _other("ids of tokens.special_in_classes", named, [str(i) for i in special])
    cluster_ids = None if findings.cluster is None else findings.cluster.token_ids
    groups: list[tuple[str, ClassTokens | None, list[int] | None]] = [
        *(
            (f"tokens.classes[{n}]", each, of.token_ids)
            for n, (each, of) in enumerate(zip(tokens.classes, findings.rows.largest, strict=False))
        ),
        ("tokens.cluster", tokens.cluster, cluster_ids),
        ("tokens.modal_class", tokens.modal_class, findings.logits.mode.token_ids),
    ]
    for name, each, ids in groups:
        if (each is None) != (ids is None):
            yield f"{name} in one of two places alone", "in both or in neither"
        elif each is not None and ids is not None:
            yield from _other(f"{name}.size", each.size, len(ids))
            yield from _other(f"{name}.mix", each.mix, kinds.mix(np.array(ids, dtype=np.int64)))
    grades = words_in(table, "evidence", GRADES)
    if tokens.evidence is not None and grades is not None:
        counts = np.bincount(grades.codes[grades.codes >= 0], minlength=len(GRADES)).tolist()
        again = dict(zip(GRADES, counts, strict=True))
        yield from _other("tokens.evidence.grades", tokens.evidence.grades, again)


class _Kinds:
    """What each token is: its script where it is text, else its category."""

    def __init__(self, table: pa.Table) -> None:
        categories = words_in(table, "category", CATEGORIES)
        assert categories is not None
        self.categories = categories.codes
        self.counts = np.bincount(categories.codes, minlength=len(CATEGORIES)).tolist()
        self.scripts = words_in(table, "script", None)
        self._kinds = kinds_of(categories, self.scripts)

    def mix(self, which: Mask | Codes) -> dict[str, int]:
        """Return how many of some tokens are of each kind that there is among them."""
        found: dict[str, int] = {}
        names = self._kinds.names
        counts = np.bincount(self._kinds.codes[which], minlength=len(names)).tolist()
        for name, n in zip(names, counts, strict=True):
            if n:
                found[name] = found.get(name, 0) + n
        return found


def _unlike(name: str, got: Record, expected: Record) -> Iterator[Wrong]:
    """Yield the fields in which two records of a kind differ; a NaN is like a NaN."""
    for field in got.__struct_fields__:
        yield from _other(f"{name}.{field}", getattr(got, field), getattr(expected, field))


def _other(name: str, got: Any, expected: Any) -> Iterator[Wrong]:
    if _plain(got) != _plain(expected):
        yield f"{name} {_brief(got)}", f"{_brief(expected)}, as the table has it"


def _plain(value: Any) -> Any:
    """Return a value as what can be compared: a NaN as a word, −0 as 0."""
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    if isinstance(value, Record):
        return _plain(msgspec.structs.asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _true(column: pa.ChunkedArray) -> int:
    return int(np.count_nonzero(column.drop_null().to_numpy()))


def _counted(words: Words | None) -> dict[str, int]:
    if words is None:
        return {}
    counts = np.bincount(words.codes[words.codes >= 0], minlength=len(words.names)).tolist()
    return _nonzero(dict(zip(words.names, counts, strict=True)))


def _nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: n for name, n in counts.items() if n}
