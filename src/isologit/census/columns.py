"""The columns of a census, each with what it says and where in the findings it is from.

The schemas of the three tables, the rows that are written, and the page of the docs all follow
from the lists here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from isologit.census.summary import CENSUS_SCHEMA
from isologit.findings import Audit, Classes
from isologit.gap_findings import GapFindings

_TEXT, _COUNT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()


@dataclass(frozen=True)
class Findings:
    """What was found of one model: by an audit, or its row classes alone.

    `gap` is None where that was not asked for, or no final norm is known.
    """

    job: Audit | Classes
    gap: GapFindings | None


@dataclass(frozen=True)
class Column:
    """A column of figures: its name and type, what it says, and how it is had from the findings.

    A figure that a model has not, as a cluster where none stands out, is null.
    """

    name: str
    type: pa.DataType
    what: str
    of: Callable[[Findings], Any]


def _job(name: str, type_: pa.DataType, what: str, of: Callable[[Any], Any]) -> Column:
    return Column(name, type_, what, lambda found: of(found.job))


def _of(part: str, name: str, type_: pa.DataType, what: str, of: Callable[[Any], Any]) -> Column:
    """Return a figure of a part of the findings that may be missing."""

    def figure(found: Findings) -> Any:
        there = getattr(found.job, part, None)
        return None if there is None else of(there)

    return Column(name, type_, what, figure)


def _gap(name: str, type_: pa.DataType, what: str, of: Callable[[GapFindings], Any]) -> Column:
    return Column(name, type_, what, lambda found: None if found.gap is None else of(found.gap))


def _grade(grade: str) -> Callable[[Any], Any]:
    return lambda tokens: None if tokens.evidence is None else tokens.evidence.grades.get(grade, 0)


#: Of every row, failed ones included: what was asked, and how it went.
BOOKKEEPING: Mapping[str, tuple[pa.DataType, str]] = {
    "model": (_TEXT, "the model as it is known everywhere: an absolute path, `hf://…` or a URL"),
    "status": (_TEXT, "`ok` or `failed`"),
    "error_class": (_TEXT, "of a failed one: the class of the error, as on the page of exit codes"),
    "error_message": (_TEXT, "of a failed one: what, where, got, expected, next step"),
    "name": (_TEXT, "a short name"),
    "source": (_TEXT, "`file`, `directory`, `hub` or `store`"),
    "commit": (
        _TEXT,
        "which version: a hub's commit; of files here and of a store a digest of their names, "
        "sizes and times or ETags",
    ),
    "step": (_COUNT, "the step of training that the name tells, as in `step1000`"),
    "series": (_TEXT, "the name with `*` for the step: what the checkpoints of one run share"),
    "record": (_TEXT, "a digest of model, commit, tensor and analysis: no two rows share one"),
    "analysis": (_COUNT, "the version of the analysis; it rises when a figure's meaning changes"),
    "isologit": (_TEXT, "the version of isologit"),
    "finished": (pa.timestamp("ms", tz="UTC"), "when it was done"),
    "seconds": (_REAL, "how long it took, fetching included"),
    "worker": (_TEXT, "host and process that did it"),
}

FIGURES: tuple[Column, ...] = (
    _job("tensor", _TEXT, "the tensor that was taken as W", lambda a: a.matrix.tensor),
    _job("role", _TEXT, "`output` or `input`", lambda a: a.matrix.role),
    _job("tied", _FLAG, "whether W is the input embedding too", lambda a: a.matrix.tied),
    _job("vocabulary", _COUNT, "V, rows of W", lambda a: a.matrix.shape[0]),
    _job("width", _COUNT, "d, entries of a row", lambda a: a.matrix.shape[1]),
    _job("dtype", _TEXT, "what W is stored as", lambda a: a.matrix.dtype),
    _job("values_dtype", _TEXT, "the format of its values", lambda a: a.matrix.values_dtype),
    _job("sha256", _TEXT, "of W's stored bytes", lambda a: a.matrix.sha256),
    _job("family", _TEXT, "what the config names the model's kind", lambda a: a.head.family),
    _job("norm", _TEXT, "the final norm's kind", lambda a: a.head.norm.kind),
    _job("bias", _FLAG, "whether the head has one", lambda a: a.head.bias is not None),
    _job("logit_scale", _REAL, "what logits are multiplied by", lambda a: a.head.logit_scale),
    _job("softcap", _REAL, "what logits are capped at", lambda a: a.head.softcap),
    _job("logit_dtype", _TEXT, "the format of a logit", lambda a: a.arithmetic.logit_dtype),
    _job("distinct_rows", _COUNT, "row classes, single ones too", lambda a: a.rows.distinct),
    _job("row_classes", _COUNT, "row classes of two or more", lambda a: a.rows.classes),
    _job("rows_in_classes", _COUNT, "tokens in these", lambda a: a.rows.tokens_in_classes),
    _job("redundant_rows", _COUNT, "rows that repeat an earlier one", lambda a: a.rows.redundant),
    _job(
        "largest_row_class",
        _COUNT,
        "tokens of the largest of these; 1 where there is none",
        lambda a: max(a.rows.sizes, default=1),
    ),
    _job("distinct_values", _COUNT, "rows by value, −0 = +0", lambda a: a.rows.distinct_values),
    _job("zero_rows", _COUNT, "rows of zeros", lambda a: a.rows.zero),
    _job("subnormal_rows", _COUNT, "rows with a subnormal", lambda a: a.rows.subnormal),
    _job("nonfinite_rows", _COUNT, "rows with an infinity or a NaN", lambda a: a.rows.nonfinite),
    _of(
        "cluster", "cluster_size", _COUNT, "tokens of the cluster that stands out", lambda c: c.size
    ),
    _of("cluster", "cluster_excess", _REAL, "the evidence for it, in nats", lambda c: c.excess),
    _of("cluster", "cluster_cosine", _REAL, "the cosine that most of it have", lambda c: c.cosine),
    _of("state", "state", _TEXT, "the hidden state of the logits", lambda it: it.kind),
    _of("state", "state_norm", _REAL, "its norm", lambda it: it.norm),
    _of("state", "state_reachable", _FLAG, "could a final norm output it", lambda it: it.reachable),
    _of("logits", "distinct_logits", _COUNT, "logit classes there", lambda it: it.distinct),
    _of("logits", "logit_min", _REAL, "the smallest", lambda it: it.min),
    _of("logits", "logit_max", _REAL, "the largest", lambda it: it.max),
    _of("logits", "logit_mean", _REAL, "their mean", lambda it: it.mean),
    _of("logits", "logit_median", _REAL, "the lower of the middle ones", lambda it: it.median),
    _of("logits", "logit_nan", _COUNT, "logits that are no number", lambda it: it.nan),
    _of("logits", "modal_logit", _REAL, "the commonest one", lambda it: it.mode.value),
    _of("logits", "modal_tokens", _COUNT, "tokens that have it", lambda it: it.mode.n_tokens),
    _of("class_rows", "modal_rows", _COUNT, "distinct rows of these", lambda it: it.distinct),
    _of(
        "logits",
        "top_tokens",
        _COUNT,
        "tokens at the largest logit",
        lambda it: it.max_class.n_tokens,
    ),
    _of(
        "logits",
        "single_logits",
        _COUNT,
        "logits that one token alone has",
        lambda it: it.multiplicity.get("1", 0),
    ),
    _of("cosines", "distinct_cosines", _COUNT, "with the centroid", lambda it: it.distinct),
    _of("tokens", "tokenizer", _TEXT, "the tokenizer's kind", lambda t: t.tokenizer.kind),
    _of("tokens", "in_tokenizer", _COUNT, "ids that have a token", lambda t: t.in_tokenizer),
    _of("tokens", "padding", _COUNT, "rows without a token", lambda t: t.padding),
    _of("tokens", "beyond_rows", _COUNT, "ids without a row", lambda t: t.beyond_rows),
    _of(
        "tokens",
        "unreachable",
        _COUNT,
        "tokens that do not survive a round trip",
        lambda t: t.unreachable,
    ),
    _of(
        "tokens",
        "special_in_classes",
        _COUNT,
        "special tokens that share a row",
        lambda t: None if t.special_in_classes is None else len(t.special_in_classes),
    ),
    _of("tokens", "undertrained_likely", _COUNT, "rows likely under-trained", _grade("likely")),
    _of("tokens", "undertrained_strong", _COUNT, "rows with strong signs of it", _grade("strong")),
    _gap("gap_within_nats", _REAL, "the gap that the next ones are of", lambda g: g.within_nats),
    _gap("gap_pairs", _COUNT, "pairs of distinct rows within it", lambda g: g.n_pairs),
    _gap("gap_pairs_all", _FLAG, "whether that is all of them, or at least", lambda g: g.complete),
    _gap("gap_classes", _COUNT, "classes that such pairs connect", lambda g: len(g.classes)),
    _gap(
        "gap_tokens",
        _COUNT,
        "tokens in these",
        lambda g: sum(each.size for each in g.classes),
    ),
    _gap(
        "gap_largest_class",
        _COUNT,
        "tokens of the largest; 1 where there is none",
        lambda g: max((each.size for each in g.classes), default=1),
    ),
    _gap(
        "gap_widest_nats",
        _REAL,
        "the widest gap between two tokens of the largest, from below",
        lambda g: g.classes[0].widest_nats if g.classes else None,
    ),
    _gap(
        "gap_norm_assumed",
        _FLAG,
        "whether γ = 1 was taken for want of the norm's numbers",
        lambda g: g.norm.assumed,
    ),
    Column(
        "notes",
        pa.list_(_TEXT),
        "what a reader has to know",
        lambda found: list(
            dict.fromkeys([*found.job.notes, *(found.gap.notes if found.gap else ())])
        ),
    ),
)

MODELS = pa.schema(
    [pa.field(name, type_) for name, (type_, _) in BOOKKEEPING.items()]
    + [pa.field(each.name, each.type) for each in FIGURES],
    metadata={b"isologit": CENSUS_SCHEMA.encode()},
)

_IDS = pa.list_(pa.int32())

CLASSES = pa.schema(
    [
        pa.field("record", _TEXT),
        pa.field("model", _TEXT),
        pa.field("relation", _TEXT),
        pa.field("label", pa.int32()),
        pa.field("size", pa.int32()),
        pa.field("token_ids", _IDS),
        pa.field("first", pa.list_(_TEXT)),
        pa.field("widest_nats", _REAL),
    ],
    metadata=MODELS.metadata,
)

# As `output.parquet.token_columns` makes them; what a model has not is null.
_INTEGERS = ("token_id", "row_class", "row_class_size", "row_value_class", "row_value_class_size")
_NUMBERS = ("norm", "sum", "smallest", "largest")
_EVIDENCE = ("distance", "share_of_way", "offset", "cosine", "centred_cosine")
TOKENS = pa.schema(
    [
        pa.field("record", _TEXT),
        pa.field("model", _TEXT),
        *(pa.field(name, pa.int32()) for name in _INTEGERS),
        *(pa.field(name, _REAL) for name in _NUMBERS),
        *(pa.field(name, pa.float32()) for name in ("pc1", "pc2", "pc3")),
        pa.field("logit", _REAL),
        *(pa.field(name, pa.int32()) for name in ("logit_class", "logit_class_size")),
        pa.field("cosine", _REAL),
        *(pa.field(name, _FLAG) for name in ("in_cluster", "in_modal_class")),
        pa.field("text", _TEXT),
        pa.field("bytes", pa.binary()),
        *(pa.field(name, _TEXT) for name in ("type", "category")),
        pa.field("reserved_name", _FLAG),
        pa.field("script", _TEXT),
        *(pa.field(name, _FLAG) for name in ("survives", "reachable")),
        pa.field("cause", _TEXT),
        pa.field("reencoded", _IDS),
        *(pa.field(name, _TEXT) for name in ("evidence", "evidence_why")),
        *(pa.field(f"evidence_{name}", _REAL) for name in _EVIDENCE),
    ],
    metadata=MODELS.metadata,
)

#: What the columns of the classes table hold.
OF_CLASSES: Mapping[str, str] = {
    "record": "of which row of models",
    "model": "of which model",
    "relation": "`row` (equal stored bits), `row_value` (equal values, where these are more), "
    "`gap` (near twins)",
    "label": "of `row` and `row_value` the label in `tokens`; of `gap` its place, the largest 0",
    "size": "tokens of the class",
    "token_ids": "all of them, ascending",
    "first": "the first five as text, escaped; null without a tokenizer",
    "widest_nats": "of `gap`: the widest gap between two of them, from below",
}

TABLES: Mapping[str, pa.Schema] = {"models": MODELS, "classes": CLASSES, "tokens": TOKENS}


def figures_of(found: Findings) -> dict[str, Any]:
    """Return the figures of a model by column."""
    return {each.name: each.of(found) for each in FIGURES}


def models_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table; what a row does not have is null."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=MODELS)


def as_in(schema: pa.Schema, table: pa.Table, *, record: str, model: str) -> pa.Table:
    """Return a table of one model with the columns of a census; those that it has not are null.

    Raises
    ------
    ValueError
        It has a column that the schema lacks.
    """
    if strangers := set(table.column_names) - set(schema.names):
        raise ValueError(f"no column of a census: {sorted(strangers)}")
    whose = {"record": record, "model": model}
    columns = [
        pa.array([whose[field.name]] * len(table), field.type)
        if field.name in whose
        else table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
