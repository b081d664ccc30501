"""The page of a census: what holds across models, and along the steps of a run."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from isologit import __version__
from isologit.census.dataset import Dataset
from isologit.census.figures import Quantity, by_model, by_step
from isologit.census.summary import CENSUS_SCHEMA
from isologit.census.table import Models, Series, within
from isologit.checkpoint.wording import counted
from isologit.claims import BOUND, EXACT
from isologit.errors import ResultsError
from isologit.output import palette
from isologit.output.drawing import Drawing
from isologit.output.page import PageFigure, drawn_by, rendered
from isologit.output.page_parts import PageTable, facts

#: What the page holds, for whoever reads it by a program; a higher number where that changes.
FORMAT = "isologit.census-report/1"

# Models and failures in the page, and runs in a figure.
_MODELS, _FAILURES, _RUNS = 200, 50, 8
# Models before "more", so that what comes after them is near.
_MODELS_OPEN = 20
_QUANTITIES = (
    Quantity(
        "steps_classes",
        "Row classes",
        "row classes of two or more",
        EXACT,
        lambda run: run.figure("row_classes"),
    ),
    Quantity(
        "steps_redundant",
        "Redundant rows",
        "rows that repeat another",
        EXACT,
        lambda run: run.figure("redundant_rows"),
    ),
    Quantity(
        "steps_logits",
        "Distinct logits",
        "distinct logits at the centroid",
        EXACT,
        lambda run: run.figure("distinct_logits"),
    ),
    Quantity(
        "steps_near",
        "Near twins",
        "tokens with a near twin",
        BOUND,
        lambda run: run.figure("gap_tokens"),
    ),
)
_COLUMNS = (
    ("V", "vocabulary"),
    ("d", "width"),
    ("redundant rows", "redundant_rows"),
    ("largest class", "largest_row_class"),
    ("padding", "padding"),
    ("unreachable", "unreachable"),
    ("near twins", "gap_tokens"),
    ("distinct logits", "distinct_logits"),
)


@dataclass(frozen=True)
class _Number:
    """A figure of the first screen, and the section that has more of it."""

    label: str
    value: int
    section: str
    claim: str


@dataclass(frozen=True)
class _First:
    """A model to look at, and why."""

    why: str
    command: str


def census_html(dataset: Dataset) -> str:
    """Return the page.

    Raises
    ------
    ResultsError
        A table cannot be read, or no model has been done yet.
    """
    models = Models(dataset.models())
    if not len(models):
        raise ResultsError(
            f"{dataset.directory} has no row yet; expected the directory of a census that has done "
            "a model. Run isologit census first"
        )
    across, not_drawn = _drawn(
        partial(by_model, share, palette.FEW[n]) for n, share in enumerate(models.shares)
    )
    runs, left_out = models.series[:_RUNS], len(models.series[_RUNS:])
    steps, _ = _drawn(partial(by_step, each, runs, left_out) for each in _QUANTITIES if runs)
    listed, hidden = _models_table(models)
    failures, hidden_failures = _failures(models)
    values: dict[str, Any] = {
        "title": dataset.directory.resolve().name or str(dataset.directory),
        "n_models": len(models),
        "about": facts(
            ("Models", f"{len(models):,}"),
            ("Analyses", ", ".join(["rows", *dataset.settings["analyses"]])),
            ("isologit", __version__),
        ),
        "headline": _headline(models),
        "because": _because(models),
        "numbers": _numbers(models),
        "first": _first(models),
        "contents": _contents(models),
        "across": [PageFigure.of(each) for each in across],
        "not_drawn": not_drawn,
        "steps": [PageFigure.of(each) for each in steps],
        "runs": _runs(runs),
        "models": listed,
        "hidden": hidden,
        "failures": failures,
        "hidden_failures": hidden_failures,
        "failed_says": _failed_says(models.failed),
        "asked": _asked(dataset.settings),
        "query": f"duckdb -c \"SELECT model, redundant_rows FROM '{dataset.directory}/models/"
        "*.parquet' ORDER BY 2 DESC\"",
        "versions": facts(
            ("audited by", ", ".join(f"isologit {each}" for each in _versions(models))),
            ("page made by", f"isologit {__version__}"),
            ("figures drawn by", drawn_by()),
            ("dataset", CENSUS_SCHEMA),
            ("page", FORMAT),
        ),
    }
    return rendered("census.html", FORMAT, __version__, values)


def _drawn(figures: Iterable[Callable[[], Drawing]]) -> tuple[list[Drawing], list[str]]:
    """Return the figures that there are, and why others are not."""
    found, why_not = [], []
    for make in figures:
        try:
            found.append(make())
        except ValueError as error:
            why_not.append(f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return found, why_not


def _headline(models: Models) -> str:
    n_done = len(models.done)
    if not n_done:
        return f"None of {counted(len(models), 'model')} could be audited."
    redundant = models.shares[0]
    some = redundant.some
    if not some:
        return (
            f"In none of {counted(n_done, 'model')} do two tokens have the same row: every row is "
            "distinct."
            if n_done > 1
            else "No two tokens of the one model have the same row."
        )
    of = f"{some:,} of {counted(n_done, 'model')}" if n_done > 1 else "The one model"
    have = "have" if some > 1 else "has"
    return f"{of} {have} tokens that cannot be told apart at all: their rows are one row."


def _because(models: Models) -> str:
    parts = []
    for share in models.shares:
        if not share.some:
            continue
        worst = share.worst
        n, of = f"{share.counts[worst]:,}", f"{share.vocabulary[worst]:,}"
        parts.append(
            f"Every model has {n} {share.what} of {of} rows."
            if share.is_one_figure
            else f"The most {share.what}: {n} of {of}, in {share.names[worst]}."
        )
    if len(models.failed):
        parts.append(f"{counted(len(models.failed), 'model')} could not be audited.")
    return " ".join(parts)


def _numbers(models: Models) -> list[_Number]:
    shares = [
        _Number(
            f"with {each.what}",
            each.some,
            f"figure-{each.key}" if each.some else "across",
            each.claim,
        )
        for each in models.shares
        if len(each.counts)
    ]
    failed = [_Number("failed", len(models.failed), "failed", "")] if len(models.failed) else []
    return [_Number("models audited", len(models.done), "models", ""), *shares, *failed]


def _first(models: Models) -> list[_First]:
    """Return the model with the largest share of each kind, to be audited by itself."""
    kinds: dict[str, list[str]] = {}
    for share in models.shares:
        if share.some and not share.is_one_figure:
            kinds.setdefault(share.models[share.worst], []).append(share.what)
    return [
        _First(
            f"{model.rpartition('/')[2]} has the largest share of {' and of '.join(what)}.",
            f"isologit audit {shlex.quote(model)} -o out",
        )
        for model, what in kinds.items()
    ]


def _contents(models: Models) -> list[tuple[str, str]]:
    sections = [("across", "Across models")]
    if models.series:
        # Of the checkpoints of a run its steps say more.
        n_stepped = sum(len(each.steps) for each in models.series)
        where = 0 if 2 * n_stepped > len(models.done) else 1
        sections.insert(where, ("steps", "By step of training"))
    return [
        *sections,
        ("models", "Models"),
        *([("failed", "Failed")] if len(models.failed) else []),
        ("method", "Method"),
    ]


def _runs(runs: Sequence[Series]) -> list[str]:
    """Say which runs there are, and when rows began to repeat in each."""
    lines = ["Checkpoints whose names differ in their step alone are a run."]
    for each in runs:
        redundant = each.figure("redundant_rows")
        repeating = np.flatnonzero(redundant > 0)
        if len(repeating):
            most = int(np.argmax(redundant))
            told = (
                f"the first rows that repeat another are there at step "
                f"{each.steps[repeating[0]]:,}, the most, {redundant[most]:,.0f}, at step "
                f"{each.steps[most]:,}"
            )
        else:
            told = "no row repeats another at any of them"
        lines.append(f"{each.name}, {counted(len(each.steps), 'step')}: {told}.")
    return lines


def _models_table(models: Models) -> tuple[list[PageTable], int]:
    done = models.done
    names = models.names(done)
    columns = {name: done[name].to_pylist() for _, name in _COLUMNS}
    dtypes = done["dtype"].to_pylist()

    def share(n: int) -> float:
        return -(columns["redundant_rows"][n] or 0) / (columns["vocabulary"][n] or 1)

    order = sorted(range(len(done)), key=lambda n: (share(n), names[n]))
    heads = ["model", "stored as", *(head for head, _ in _COLUMNS)]
    rows = [
        [names[n], dtypes[n], *("—" if c[n] is None else f"{c[n]:,}" for c in columns.values())]
        for n in order[:_MODELS]
    ]
    caption = "Models, by their share of redundant rows"
    right = [head for head, _ in _COLUMNS]
    tables = [PageTable.of(caption, heads, rows[:_MODELS_OPEN], numbers=right)]
    if rows[_MODELS_OPEN:]:
        tables.append(PageTable.of("The next ones", heads, rows[_MODELS_OPEN:], numbers=right))
    return tables, len(order[_MODELS:])


def _failures(models: Models) -> tuple[PageTable | None, int]:
    failed = models.failed
    if not len(failed):
        return None, 0
    names = models.names(failed)
    messages = zip(
        names, failed["error_class"].to_pylist(), failed["error_message"].to_pylist(), strict=True
    )
    rows = sorted(messages, key=lambda row: (row[1], row[0]))
    table = PageTable.of("Models that failed", ("model", "error", "what it says"), rows[:_FAILURES])
    return table, len(rows[_FAILURES:])


def _failed_says(failed: pa.Table) -> str:
    counts = Counter(failed["error_class"].to_pylist()).most_common()
    return ", ".join(f"{n:,} × {name}" for name, n in counts) + (
        ". The same command with --retry-failed tries them again."
    )


def _asked(settings: Mapping[str, Any]) -> list[Any]:
    return facts(
        ("the matrix", "W, the unembedding" if settings["role"] == "output" else "the input one"),
        ("the tensor", settings["tensor"]),
        ("the logit format", settings["dtype"] or "W's own"),
        ("the tokenizer", settings["tokenizer"] or "each model's own"),
        ("analyses", ", ".join(["rows", *settings["analyses"]])),
        ("near twins", within(settings["within_nats"])),
        ("arithmetic", "exact: the real number, rounded once"),
    )


def _versions(models: Models) -> list[str]:
    return sorted(
        {v for rows in (models.done, models.failed) for v in rows["isologit"].to_pylist()}
    )
