"""What a worker does with one model: open it, see what it needs, audit it, return its rows.

It runs in any process of any machine, and takes and returns plain values alone. An error of the
model is its outcome; nothing that a model does ends the worker.
"""

import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pyarrow as pa

from isologit import token_steps
from isologit.audit import audit_of
from isologit.census.columns import CLASSES, TOKENS, Findings, as_in, figures_of
from isologit.census.memory import held_to, needed_bytes
from isologit.census.naming import local_version, record_of
from isologit.census.outcome import Outcome, done, failed, stream
from isologit.checkpoint.head import Role
from isologit.checkpoint.hub import cache, client, sharing
from isologit.checkpoint.hub.failures import Subject as Asked
from isologit.checkpoint.hub.patience import share_waits
from isologit.classes import classes_of
from isologit.errors import IsologitError, UnclearHeadError
from isologit.findings import Audit, Classes
from isologit.gap_findings import GapFindings
from isologit.near_twins import near_twins_of
from isologit.numerics.arithmetic import Exact
from isologit.numerics.formats import parse_format
from isologit.numerics.parallel import set_threads
from isologit.output.parquet import class_table, coarser, token_columns
from isologit.steps import Arrays
from isologit.subject import Settings, Subject, load_subject, locate_subject
from isologit.token_steps import Tokens
from isologit.tokens.table import TokenTable
from isologit.tokens.text import LONGEST_NAMED

#: What may be asked besides the row classes: logits at the centroid with the cluster, who the
#: tokens are, near twins over every reachable state.
ANALYSES = ("logits", "tokens", "gap")
_NOT_ASKED = "tokens were not asked for: they are ids"
_HUB = "hf://"
# Seconds that a hub may make one model wait: nobody sits before a census.
_LONGEST_WAIT = 3600.0
# Of a class that is listed.
_FIRST = 5


@dataclass(frozen=True)
class Plan:
    """What is asked of every model, as plain values; `settings` is what makes rows compare.

    Parameters
    ----------
    role, tensor, dtype, tokenizer
        As of `Settings`; `dtype` is a format's name.
    analyses
        Some of `ANALYSES`.
    within_nats
        The gap of near twins.
    with_tokens
        Whether the table of tokens is wanted.
    threads
        Of each worker.
    downloads
        How many models are fetched at a time from one hub by one machine.
    bounded
        Whether a worker has its process to itself, and can be held to the declared memory.
    """

    role: Role = "output"
    tensor: str | None = None
    dtype: str | None = None
    tokenizer: str | None = None
    analyses: tuple[str, ...] = ANALYSES
    within_nats: float = 1.0
    with_tokens: bool = False
    threads: int = 1
    downloads: int = 4
    bounded: bool = True

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a row depends on."""
        return {
            "role": self.role,
            "tensor": self.tensor,
            "dtype": self.dtype,
            "tokenizer": self.tokenizer,
            "analyses": list(self.analyses),
            "within_nats": self.within_nats,
            "with_tokens": self.with_tokens,
        }


@dataclass(frozen=True)
class Task:
    """One model to be audited.

    Parameters
    ----------
    model
        By its name everywhere.
    plan
        What is asked.
    memory
        Bytes that are declared for it.
    records
        Those that there are of it: of another version, or else nothing is to be done.
    """

    model: str
    plan: Plan
    memory: int
    records: frozenset[str] = field(default_factory=frozenset)


def run(task: Task) -> Outcome:
    """Audit a model and return what became of it."""
    began = time.perf_counter()
    set_threads(task.plan.threads)
    if task.plan.bounded:
        # The tokenizers' own pool, which is made when first needed.
        os.environ.setdefault("RAYON_NUM_THREADS", str(task.plan.threads))
    commit = local_version(task.model) or ""
    try:
        with (
            _blas_threads(task.plan.threads),
            held_to(task.memory if task.plan.bounded else 0),
            _small_files(task.model),
        ):
            outcome = _audited(task, commit)
    except IsologitError as error:
        outcome = _failed(task, commit, error, str(error))
    except MemoryError as error:
        outcome = _failed(
            task,
            commit,
            error,
            f"{task.model} needs more memory than the {task.memory / 2**30:.1f} GiB that were "
            "declared for it; give more with --memory, or fewer --workers",
        )
    except Exception as error:
        # A fault of ours, or of a library: the other models are not to suffer for it.
        at = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(at.filename).name}:{at.lineno}"
        outcome = _failed(task, commit, error, f"{error} (at {place}; this is a bug of isologit)")
    finally:
        # What one task was handed of the cache may go to make room for the next.
        cache.release()
    worker = f"{socket.gethostname()} {os.getpid()}"
    row = outcome.row | {"seconds": time.perf_counter() - began, "worker": worker}
    return msgspec.structs.replace(outcome, row=row)


def _audited(task: Task, commit: str) -> Outcome:
    plan = task.plan
    opened = _opened(task, commit)
    if isinstance(opened, Outcome):
        return opened
    subject, reading = opened
    commit = commit or subject.model.revision or ""
    found, arrays = _findings(subject, plan, reading)
    whose = {
        "record": record_of(task.model, commit, subject.head.tensor),
        "model": task.model,
    }
    listed = _classes(arrays, found.gap, reading.result().table)
    tokens = token_columns(arrays) if plan.with_tokens else None
    return done(
        task.model,
        {
            "name": found.job.model.name,
            "source": found.job.model.source,
            **figures_of(found),
        },
        commit=commit,
        tensor=subject.head.tensor,
        classes=stream(as_in(CLASSES, listed, **whose)) if len(listed) else b"",
        tokens=b"" if tokens is None else stream(as_in(TOKENS, tokens, **whose)),
    )


def _opened(task: Task, commit: str) -> "Outcome | tuple[Subject, Future[Tokens]]":
    """Open a model, fetching what is needed of it in its turn; or say why that is not to be done.

    By its headers it may be the version that has a record, or need more than was declared.
    """
    plan = task.plan
    settings = Settings(
        tensor=plan.tensor,
        role=plan.role,
        logit_format=None if plan.dtype is None else parse_format(plan.dtype),
        arithmetic=Exact(),
        tokenizer=plan.tokenizer,
    )
    with _hub_turn(task.model, plan.downloads):
        located = locate_subject(task.model, settings)
        version = commit or located.checkpoint.revision or ""
        if record_of(task.model, version, located.head.tensor) in task.records:
            return Outcome(model=task.model, status="unchanged")
        needs = needed_bytes(located)
        if needs > task.memory > 0:
            return Outcome(model=task.model, status="larger", needs=needs)
        subject = load_subject(located)
        if "tokens" in plan.analyses:
            return subject, token_steps.begin_reading(subject)
        reading: Future[Tokens] = Future()
        reading.set_result(Tokens(None, notes=(_NOT_ASKED,)))
        return subject, reading


def _findings(subject: Subject, plan: Plan, reading: "Future[Tokens]") -> tuple[Findings, Arrays]:
    job: Audit | Classes
    if "logits" in plan.analyses:
        job, arrays = audit_of(subject, reading=reading)
    else:
        job, arrays = classes_of(subject, reading=reading)
    gap = None
    if "gap" in plan.analyses:
        # Without the final norm there is no range of states, which a column that is null says.
        with suppress(UnclearHeadError):
            gap = near_twins_of(subject, within_nats=plan.within_nats, limit=1, reading=reading)
    return Findings(job, gap), arrays


def _failed(task: Task, commit: str, error: BaseException, message: str) -> Outcome:
    return failed(
        task.model,
        type(error).__name__,
        message,
        commit=commit,
        tensor=task.plan.tensor or "",
    )


def _classes(arrays: Arrays, gap: GapFindings | None, tokens: TokenTable | None) -> pa.Table:
    """Return classes of equal rows, and of near twins, with the first tokens of each."""
    tables = [class_table("row", arrays.rows.bits)]
    if coarser(arrays):
        tables.append(class_table("row_value", arrays.rows.values))
    listed = pa.concat_tables(tables).drop_columns(["logit"])
    listed = listed.append_column("widest_nats", pa.nulls(len(listed), pa.float64()))
    if gap is not None:
        near = {
            "relation": ["gap"] * len(gap.classes),
            "label": list(range(len(gap.classes))),
            "size": [each.size for each in gap.classes],
            "token_ids": [each.token_ids for each in gap.classes],
            "widest_nats": [each.widest_nats for each in gap.classes],
        }
        listed = pa.concat_tables([listed, pa.table(near, schema=listed.schema)])
    if tokens is not None:
        ids = listed["token_ids"].to_pylist()
        first = [[tokens.shown(i, LONGEST_NAMED) for i in each[:_FIRST]] for each in ids]
        listed = listed.append_column("first", pa.array(first, pa.list_(pa.string())))
    return listed


@contextmanager
def _hub_turn(model: str, at_most: int) -> Iterator[None]:
    """Wait for a turn at the hub, of a model that is one of its."""
    if not model.startswith(_HUB):
        yield
        return
    share_waits(_LONGEST_WAIT)
    with sharing.turn(Asked(client.endpoint(), "").hub, at_most):
        yield


@contextmanager
def _small_files(model: str) -> Iterator[None]:
    """Put a hub model's small files where they go again: a thousand tokenizers fill a disk."""
    if not model.startswith(_HUB):
        yield
        return
    with TemporaryDirectory(prefix="isologit-") as folder, client.downloads_to(Path(folder)):
        yield


@contextmanager
def _blas_threads(n: int) -> Iterator[None]:
    """Hold what NumPy and SciPy call to a worker's share of the cores."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(n):
        yield
