"""What ``diff`` compares: a model with its weights, or the result directory of one."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isologit import token_steps
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.checkpoint.wording import shown
from isologit.diff_findings import DiffSide
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import row_classes
from isologit.errors import ResultsError
from isologit.findings import (
    AUDIT_SCHEMA,
    CLASSES_SCHEMA,
    ArithmeticFacts,
    HeadFacts,
    MatrixFacts,
    RowFacts,
)
from isologit.numerics import exact
from isologit.numerics.formats import FORMATS, Float64s
from isologit.numerics.scan import scan_rows
from isologit.record import Model, Record
from isologit.result_files import SUMMARY, TABLE, damaged, read_summary, read_table
from isologit.subject import Settings, Subject, open_subject
from isologit.token_findings import TokenizerSource, TokensFacts
from isologit.token_steps import Tokens
from isologit.tokens.categories import CATEGORIES
from isologit.tokens.text import LONGEST_NAMED, visible_token

#: Figures of a row's entries, in the order in which they are asked.
FIGURES = ("smallest", "largest", "sum", "norm")
#: Those that are rounded to W's format, and so compare within one format alone.
ROUNDED = ("sum", "norm")

_COLUMNS: dict[str, pa.DataType] = {
    "row_value_class": pa.int32(),
    **{name: pa.float64() for name in FIGURES},
    "bytes": pa.binary(),
    "category": pa.string(),
    "reserved_name": pa.bool_(),
}
# What values are of, however they are stored.
_VALUES = tuple(format_.name for format_ in FORMATS)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Side:
    """One checkpoint of a comparison.

    Parameters
    ----------
    spec
        As the user wrote it.
    rows
        Its row classes, by stored bits; rows count with their biases.
    values
        The same by value; None where that is the same relation.
    subject
        The model; None of a result directory.
    results
        What was read of a result directory; None of a model.
    """

    spec: str
    rows: Partition
    values: Partition | None
    subject: Subject | None
    results: "Results | None"

    @property
    def n_tokens(self) -> int:
        """V."""
        return self.rows.n_tokens

    @property
    def bias(self) -> str | None:
        """The name of the head's bias."""
        if self.subject is not None:
            return self.subject.head.bias_tensor
        assert self.results is not None
        return self.results.bias

    def facts(self) -> DiffSide:
        """Return which checkpoint this is; of a model only once its digest is known.

        Raises
        ------
        ChangedFileError
            A weight file has been written to since it was opened.
        """
        if self.subject is not None:
            model, matrix = self.subject.model, self.subject.matrix_facts()
            return DiffSide(model=model, matrix=matrix, bias=self.bias, read="model")
        assert self.results is not None
        model, matrix = self.results.model, self.results.matrix
        return DiffSide(model=model, matrix=matrix, bias=self.bias, read="results")

    def figures(self) -> Mapping[str, Float64s]:
        """Return exact figures of the rows' entries, ``[V]`` each: those that there are."""
        if self.results is not None:
            return self.results.figures
        assert self.subject is not None
        matrix = self.subject.head.matrix
        scan = scan_rows(matrix)
        return {
            "smallest": scan.smallest,
            "largest": scan.largest,
            "sum": exact.sums(matrix, matrix.format).values,
            "norm": exact.norms(matrix, matrix.format).values,
        }

    def zero_rows(self) -> Mask | None:
        """Return which rows are zero, ``[V]``; None where no figure tells."""
        if self.subject is not None:
            return scan_rows(self.subject.head.matrix).zero
        figures = self.figures()
        if "norm" in figures:
            # A norm is no less than any entry, so that only a zero row's is rounded to 0.
            return np.asarray(figures["norm"] == 0)
        if "smallest" in figures and "largest" in figures:
            return np.asarray((figures["smallest"] == 0) & (figures["largest"] == 0))
        return None


@dataclass(frozen=True, eq=False)
class Results:
    """What is used of a result directory; `figures` are the exact ones."""

    directory: Path
    model: Model
    matrix: MatrixFacts
    bias: str | None
    figures: Mapping[str, Float64s]
    columns: pa.Table
    tokenizer: TokenizerSource | None


class _Summary(Record, frozen=True, kw_only=True):
    """What is used of ``summary.json``."""

    model: Model
    matrix: MatrixFacts
    head: HeadFacts
    arithmetic: ArithmeticFacts
    rows: RowFacts
    tokens: TokensFacts | None = None


@dataclass(frozen=True, eq=False)
class RowNames:
    """Who the rows are.

    Parameters
    ----------
    categories
        ``[V]`` int8, an index into `CATEGORIES`; None without a tokenizer.
    show
        A token's text or bytes by its id, escaped.
    tokenizer
        Where that is from.
    notes
        What a reader has to know.
    """

    categories: npt.NDArray[np.int8] | None
    show: Callable[[int], str]
    tokenizer: TokenizerSource | None
    notes: tuple[str, ...] = ()

    def shown(self, token_id: int) -> str | None:
        """Return a token fit for a line; None without a tokenizer."""
        if self.categories is None or token_id >= len(self.categories):
            return None
        return self.show(token_id)

    def first(self, token_ids: Sequence[int], at_most: int = 5) -> list[str] | None:
        """Return the first of some tokens that there are; None without a tokenizer."""
        if self.categories is None:
            return None
        shown = (self.shown(i) for i in token_ids[:at_most])
        return [each for each in shown if each is not None]


def open_side(spec: str, settings: Settings, arrived: Arrived = nothing) -> Subject | Results:
    """Open a model, or read the directory that ``audit -o`` or ``classes -o`` wrote.

    Parameters
    ----------
    spec
        A path, or a model of the hub.
    settings
        Which matrix is meant.
    arrived
        Told how far a tensor has been fetched.

    Raises
    ------
    ResultsError
        A directory with results is damaged, or is about another matrix than the one meant.
    IsologitError
        The model cannot be read.
    """
    # One of the two is half of a result directory, unless a model has a file of that name.
    summary, table, model = (_has(spec, name) for name in (SUMMARY, TABLE, "config.json"))
    if (summary and table) or ((summary or table) and not model):
        return read_side(Path(spec), settings)
    return open_subject(spec, settings, arrived)


def _has(directory: str, name: str) -> bool:
    # os.path's own is false, and no error, for names too long.
    return os.path.isfile(os.path.join(directory, name))  # noqa: PTH113, PTH118


def read_side(directory: Path, settings: Settings) -> Results:
    """Read a result directory; see `open_side`."""
    summary = read_summary(directory, _Summary, (AUDIT_SCHEMA, CLASSES_SCHEMA))
    matrix = summary.matrix
    asked = {"role": settings.role, "tensor": settings.tensor or matrix.tensor}
    for what, wanted in asked.items():
        if (got := getattr(matrix, what)) != wanted:
            raise ResultsError(
                f"{shown(str(directory))} is about the {what} {shown(got)}, and what is compared "
                f"is {shown(wanted)}. Audit that model again with --{what} {shown(wanted)}"
            )
    if matrix.values_dtype not in _VALUES:
        raise damaged(
            directory / SUMMARY, f"values_dtype {shown(matrix.values_dtype)}", " or ".join(_VALUES)
        )
    columns = read_table(directory, matrix, _COLUMNS)
    labels = columns["row_class"].to_numpy()
    rows = Partition.of_keys(labels)
    if not np.array_equal(rows.labels, labels):
        raise damaged(directory / TABLE, "row_class in another order", "labels by the first token")
    if rows.n_classes != summary.rows.distinct:
        got, expected = f"{rows.n_classes:,} distinct rows", f"{summary.rows.distinct:,}"
        raise damaged(directory / TABLE, got, f"{expected}, as {SUMMARY} has them")
    if "row_value_class" in columns.column_names:
        values = Partition.of_keys(columns["row_value_class"].to_numpy())
        if not rows.refines(values):
            got = "row_value_class that splits a row_class"
            raise damaged(directory / TABLE, got, "equal rows to have equal values")
    found = {name: columns[name].to_numpy() for name in FIGURES if name in columns.column_names}
    if summary.arithmetic.name != "exact":
        # Of these the norm alone is computed as a device would.
        found.pop("norm", None)
    return Results(
        directory=directory,
        model=summary.model,
        matrix=matrix,
        bias=summary.head.bias,
        figures=found,
        columns=columns,
        tokenizer=None if summary.tokens is None else summary.tokens.tokenizer,
    )


def side_of(spec: str, opened: Subject | Results) -> Side:
    """Find the row classes of what was opened."""
    if isinstance(opened, Results):
        columns = opened.columns
        values = None
        if "row_value_class" in columns.column_names:
            values = Partition.of_keys(columns["row_value_class"].to_numpy())
        rows = Partition.of_keys(columns["row_class"].to_numpy())
        return Side(spec, rows, values, None, opened)
    found = row_classes(opened.head.matrix, opened.head.bias)
    values = found.values if found.values.n_classes < found.bits.n_classes else None
    return Side(spec, found.bits, values, opened, None)


def names_in(tokens: Tokens) -> RowNames | None:
    """Return who the rows are by a tokenizer that was read; None where there is none."""
    table = tokens.table
    if table is None:
        return None
    return RowNames(
        categories=table.categories,
        show=lambda token_id: table.shown(token_id, LONGEST_NAMED),
        tokenizer=token_steps.source_of(table.tokenizer, tokens.chosen),
        notes=tokens.notes,
    )


def names_in_results(results: Results) -> RowNames | None:
    """Return who the rows are by what an audit found; None where it had no tokenizer."""
    columns = results.columns
    if "category" not in columns.column_names or "bytes" not in columns.column_names:
        return None
    codes = {name: code for code, name in enumerate(CATEGORIES)}
    raw = columns["bytes"]
    return RowNames(
        categories=np.array([codes[each] for each in columns["category"].to_pylist()], np.int8),
        show=lambda token_id: visible_token(raw[token_id].as_py(), LONGEST_NAMED),
        tokenizer=results.tokenizer,
    )


def names_of(opened: Sequence[Subject | Results], settings: Settings) -> Callable[[], RowNames]:
    """Begin to find out who the rows are, by the last that tells; returns what waits for it.

    A tokenizer that the user named goes before all.

    Raises
    ------
    TokenizerError
        Of what is returned: a tokenizer that the user named cannot be used.
    """
    last = opened[-1]
    reading = token_steps.begin_reading(last) if isinstance(last, Subject) else None

    def found() -> RowNames:
        notes: tuple[str, ...] = ()
        if reading is not None:
            tokens = reading.result()
            notes = tokens.notes
            if (names := names_in(tokens)) is not None:
                return names
        if settings.tokenizer is not None:
            n_rows = max(_n_rows(each) for each in opened)
            names = names_in(token_steps.tokens_at(settings.tokenizer, n_rows, {}))
            assert names is not None  # one that does not load is an error
            return names
        for each in reversed(opened):
            if isinstance(each, Results):
                names = names_in_results(each)
            elif each is not last:
                tokens = token_steps.tokens_or_why_not(each.checkpoint, _n_rows(each))
                names = names_in(tokens)
            else:
                continue
            if names is not None:
                return names
        return RowNames(None, lambda _: "", None, notes or (token_steps.NO_TOKENIZER,))

    return found


def _n_rows(opened: Subject | Results) -> int:
    if isinstance(opened, Results):
        return opened.matrix.shape[0]
    return opened.head.matrix.n_tokens
