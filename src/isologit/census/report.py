"""The page of a census: what holds across models, and along the steps of a run."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from isologit import __version__
from isologit.census.dataset import Dataset
from isologit.census.figures import Quantity, by_model, by_step
from isologit.census.summary import CENSUS_SCHEMA
from isologit.census.table import Models, Series, names_of
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
    listed, hidden = _models_table(models.done)
    failures, hidden_failures = _failures(models.failed)
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
    some = int((redundant.counts > 0).sum())
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
        if len(share.counts) and share.counts.max() > 0:
            worst = int(np.argmax(share.counts / share.vocabulary))
            parts.append(
                f"The most {share.what}: {share.counts[worst]:,} of {share.vocabulary[worst]:,}, "
                f"in {share.names[worst]}."
            )
    if len(models.failed):
        parts.append(f"{counted(len(models.failed), 'model')} could not be audited.")
    return " ".join(parts)


def _numbers(models: Models) -> list[_Number]:
    shares = [
        _Number(f"with {each.what}", int((each.counts > 0).sum()), f"figure-{each.key}", each.claim)
        for each in models.shares
        if len(each.counts)
    ]
    failed = [_Number("failed", len(models.failed), "failed", "")] if len(models.failed) else []
    return [_Number("models audited", len(models.done), "models", ""), *shares, *failed]


def _first(models: Models) -> list[_First]:
    """Return the model with the largest share of each kind, to be audited by itself."""
    commands: dict[str, list[str]] = {}
    full = models.done["model"].to_pylist()
    named = dict(zip(names_of(models.done), full, strict=True))
    for share in models.shares:
        if not len(share.counts) or not share.counts.max() > 0:
            continue
        worst = int(np.argmax(share.counts / share.vocabulary))
        name = share.names[worst]
        model = named.get(name) or next(each for each in full if each.endswith(name))
        commands.setdefault(model, []).append(share.what)
    return [
        _First(
            f"{model.rpartition('/')[2] or model} has the largest share of {', of '.join(kinds)}.",
            f"isologit audit {shlex.quote(model)} -o out",
        )
        for model, kinds in commands.items()
    ]


def _contents(models: Models) -> list[tuple[str, str]]:
    return [
        ("across", "Across models"),
        *([("steps", "By step of training")] if models.series else []),
        ("models", "Models"),
        *([("failed", "Failed")] if len(models.failed) else []),
        ("method", "Method"),
    ]


def _runs(runs: Iterable[Series]) -> str:
    told = [f"{each.name} ({counted(len(each.steps), 'step')})" for each in runs]
    return f"Checkpoints whose names differ in their step alone are a run: {'; '.join(told)}."


def _models_table(done: pa.Table) -> tuple[list[PageTable], int]:
    names = names_of(done)
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


def _failures(failed: pa.Table) -> tuple[PageTable | None, int]:
    if not len(failed):
        return None, 0
    names = names_of(failed)
    messages = zip(
        names, failed["error_class"].to_pylist(), failed["error_message"].to_pylist(), strict=True
    )
    rows = sorted(messages, key=lambda row: (row[1], row[0]))
    table = PageTable.of("Models that failed", ("model", "error", "what it says"), rows[:_FAILURES])
    return table, len(rows[_FAILURES:])


def _failed_says(failed: pa.Table) -> str:
    counts = Counter(failed["error_class"].to_pylist()).most_common()
    return ", ".join(f"{n:,} × {name}" for name, n in counts) + (
        ". They are tried again by isologit census --retry-failed."
    )


def _asked(settings: Mapping[str, Any]) -> list[Any]:
    return facts(
        ("the matrix", "W, the unembedding" if settings["role"] == "output" else "the input one"),
        ("the tensor", settings["tensor"]),
        ("the logit format", settings["dtype"] or "W's own"),
        ("the tokenizer", settings["tokenizer"] or "each model's own"),
        ("analyses", ", ".join(["rows", *settings["analyses"]])),
        ("near twins", f"within {settings['within_nats']:g} nats"),
        ("arithmetic", "exact: the real number, rounded once"),
    )


def _versions(models: Models) -> list[str]:
    return sorted(set(models.done["isologit"].to_pylist()) | {__version__})
