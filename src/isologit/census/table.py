"""The models table as its page has it: the newest row of each model, shares, runs by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isologit.checkpoint.wording import counted
from isologit.claims import BOUND, EXACT

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Checkpoints of a run that make a line.
FEWEST_STEPS = 3


@dataclass(frozen=True)
class Share:
    """How many rows of a kind each model has, of those that say it.

    Parameters
    ----------
    key, title, what, says
        A name, a heading, what is counted, and a sentence that says what that is.
    claim
        What kind of claim the counts are.
    models, names, counts, vocabulary
        Of each model; its name is what the page calls it.
    n_without
        Models that do not say it.
    """

    key: str
    title: str
    what: str
    says: str
    claim: str
    models: tuple[str, ...]
    names: tuple[str, ...]
    counts: Counts
    vocabulary: Counts
    n_without: int

    @cached_property
    def some(self) -> int:
        """How many models have any."""
        return int((self.counts > 0).sum())

    @cached_property
    def worst(self) -> int:
        """The place of the model with the largest share."""
        return int(np.argmax(self.counts / self.vocabulary))

    @cached_property
    def is_one_figure(self) -> bool:
        """Whether several models have all the same count of as many rows."""
        pairs = set(zip(self.counts.tolist(), self.vocabulary.tolist(), strict=True))
        return len(self.counts) > 1 and len(pairs) == 1

    def without(self) -> str:
        """Say how many models have no such figure; nothing where all do."""
        if not self.n_without:
            return ""
        return f" {counted(self.n_without, 'model')} without that figure."


@dataclass(frozen=True)
class Series:
    """The checkpoints of one run, in the order of their steps; NaN where a figure is missing."""

    name: str
    steps: Counts
    rows: pa.Table

    def figure(self, column: str) -> Floats:
        """Return a column as numbers."""
        return numbers(self.rows, column)


class Models:
    """The rows of a census, of each model the newest.

    Parameters
    ----------
    rows
        Every row of the models table.
    """

    def __init__(self, rows: pa.Table) -> None:
        newest = rows.sort_by([("finished", "descending")])
        models = newest["model"].to_pylist()
        first = {model: n for n, model in reversed(list(enumerate(models)))}
        kept = newest.take(pa.array(sorted(first.values()), pa.int64()))
        self.failed = kept.filter(pc.equal(kept["status"], "failed"))
        self.done = kept.filter(pc.equal(kept["status"], "ok"))
        self._folder = _common_folder(kept["model"].to_pylist())

    def __len__(self) -> int:
        """Return how many models there are, failed ones included."""
        return len(self.failed) + len(self.done)

    def names(self, rows: pa.Table) -> list[str]:
        """Return what the page calls some models: their names without the folder of all."""
        models = [str(each) for each in rows["model"].to_pylist()]
        return [each.removeprefix(self._folder) or each for each in models]

    @cached_property
    def shares(self) -> tuple[Share, ...]:
        """What the page compares across models."""
        return (
            self._share(
                "redundant",
                "Rows that repeat another",
                "redundant rows",
                "Rows that are, bit for bit, an earlier row of their model.",
                EXACT,
                "redundant_rows",
            ),
            self._share(
                "padding",
                "Padding",
                "padding rows",
                "Rows without a token in the tokenizer.",
                EXACT,
                "padding",
            ),
            self._share(
                "unreachable",
                "Unreachable tokens",
                "unreachable tokens",
                "Tokens whose text the tokenizer does not encode as them.",
                EXACT,
                "unreachable",
            ),
            self._share(
                "near",
                "Near twins",
                "tokens with a near twin",
                f"Tokens that a chain of near twins, {self._gap()} over every reachable state, "
                "connects with another.",
                BOUND,
                "gap_tokens",
            ),
        )

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """The runs of at least three steps, those of most steps first."""
        stepped = self.done.filter(pc.is_valid(self.done["step"]))
        names = sorted(set(stepped["series"].to_pylist()))
        found = [
            stepped.filter(pc.equal(stepped["series"], name)).sort_by("step") for name in names
        ]
        every = [
            Series(name, np.asarray(rows["step"], dtype=np.int64), rows)
            for name, rows in zip(names, found, strict=True)
            if len(rows) >= FEWEST_STEPS
        ]
        return tuple(sorted(every, key=lambda each: (-len(each.steps), each.name)))

    def _gap(self) -> str:
        asked = [each for each in self.done["gap_within_nats"].to_pylist() if each is not None]
        if not asked:
            return "within a gap"
        return within(asked[0])

    def _share(self, key: str, title: str, what: str, says: str, claim: str, column: str) -> Share:
        there = self.done.filter(pc.is_valid(self.done[column]))
        return Share(
            key,
            title,
            what,
            says,
            claim,
            tuple(there["model"].to_pylist()),
            tuple(self.names(there)),
            np.asarray(there[column], dtype=np.int64),
            np.asarray(there["vocabulary"], dtype=np.int64),
            len(self.done) - len(there),
        )


def within(nats: float) -> str:
    """Return a gap in words."""
    return f"within {nats:g} {'nat' if nats == 1 else 'nats'}"


def numbers(rows: pa.Table, column: str) -> Floats:
    """Return a column as numbers, NaN where there is none."""
    filled = pc.fill_null(rows[column].cast(pa.float64()), float("nan"))
    return np.asarray(filled, dtype=np.float64)


def _common_folder(models: Sequence[str]) -> str:
    """Return the folder that all models are in, with its slash; empty where there is none."""
    if len(models) < 2:
        return ""
    low, high = min(models), max(models)
    same = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[: low.rfind("/", 0, same) + 1]
