"""What the explorer has open: a model, what an audit found, and the states of a user's file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np

from isologit import token_steps
from isologit.audit import audit_of
from isologit.audit_tables import AuditTables, read_audit
from isologit.checkpoint.state_file import StoredStates
from isologit.checkpoint.wording import counted, shown
from isologit.equivalence.axes import PrincipalAxes, principal_axes
from isologit.equivalence.partition import TokenIds
from isologit.equivalence.rows import RowClasses, row_classes
from isologit.errors import ResultsError, StateError
from isologit.findings import Audit
from isologit.output.advice import named_tensor
from isologit.output.pictured import Pictured
from isologit.output.sphere_places import SpherePlaces
from isologit.result_files import SUMMARY, is_results
from isologit.steps import Arrays
from isologit.subject import Progress, Settings, Subject, silent
from isologit.table_words import Words, kinds_of
from isologit.tokens.table import TokenTable

#: Opens a model with settings, as a command does.
OpenModel = Callable[[str, Settings], Subject]


@dataclass(frozen=True, eq=False)
class Explored:
    """A model that is open, for as many threads as ask.

    Parameters
    ----------
    subject
        The model, and how figures are computed.
    rows
        Its row classes.
    audit
        What was found once, and the table of its tokens.
    table
        Who the rows are; None without a tokenizer.
    states
        Those of the user's file; None where none was given.
    """

    subject: Subject
    rows: RowClasses
    audit: AuditTables
    table: TokenTable | None
    states: StoredStates | None
    _lock: Lock

    @property
    def findings(self) -> Audit:
        """The audit's figures."""
        return self.audit.findings

    @property
    def n_tokens(self) -> int:
        """V."""
        return self.subject.head.matrix.n_tokens

    @cached_property
    def pictured(self) -> Pictured:
        """The tokens as pictures take them."""
        return Pictured.of(self.audit)

    @cached_property
    def sphere(self) -> SpherePlaces:
        """Where the tokens lie on the sphere of the seed's axes."""
        return SpherePlaces.of(self.pictured)

    @cached_property
    def _kinds(self) -> Words | None:
        categories = self.pictured.categories
        return None if categories is None else kinds_of(categories, self.pictured.scripts)

    def kind(self, token_id: int) -> str:
        """Return a token's script where it is text, else its category; "" without a tokenizer."""
        kinds = self._kinds
        return "" if kinds is None else kinds.names[kinds.codes[token_id]]

    @property
    def cluster_ids(self) -> TokenIds | None:
        """The cluster's tokens; None where there is none."""
        found = self.findings.cluster
        return None if found is None else np.array(found.token_ids, dtype=np.int32)

    @property
    def axes(self) -> PrincipalAxes:
        """The three leading principal axes, as precise as a state on them needs.

        Raises
        ------
        UndeterminedAxesError
            The rows do not determine them.
        """
        # The pass is paid once, by whoever asks first.
        with self._lock:
            return self._axes

    @cached_property
    def _axes(self) -> PrincipalAxes:
        return principal_axes(self.subject.head.matrix, 3)


def open_explored(
    spec: str,
    settings: Settings,
    open_model: OpenModel,
    *,
    model: str | None = None,
    states: StoredStates | None = None,
    progress: Progress = silent,
) -> Explored:
    """Open a model, or what an audit of one left.

    Parameters
    ----------
    spec
        A model, which is audited first; or the directory that ``audit -o`` wrote.
    settings
        How to compute; of a directory's model which matrix and which tokenizer are those of its
        audit, unless they are named.
    open_model
        Opens a model.
    model
        Where the model of a directory is now, if not where its audit found it.
    states
        Hidden states that can be pointed at.
    progress
        Called with the name of each step.

    Raises
    ------
    ResultsError
        The directory is no audit's, or not of this model.
    StateError
        The states have another width than the model.
    IsologitError
        The model cannot be read.
    """
    if is_results(Path(spec)):
        return _of_results(Path(spec), settings, open_model, model, states, progress)
    subject = open_model(spec, settings)
    _check_width(states, subject)
    findings, arrays = audit_of(subject, progress=progress)
    return _explored(subject, arrays.rows, _tables(findings, arrays), arrays.tokens, states)


def _of_results(
    directory: Path,
    settings: Settings,
    open_model: OpenModel,
    model: str | None,
    states: StoredStates | None,
    progress: Progress,
) -> Explored:
    audit = read_audit(directory)
    findings = audit.findings
    subject = open_model(model or findings.model.spec, _as_audited(settings, findings))
    _check_width(states, subject)
    reading = token_steps.begin_reading(subject)
    progress("row classes")
    rows = row_classes(subject.head.matrix, subject.head.bias)
    if subject.sha256 != findings.matrix.sha256:
        raise ResultsError(
            f"{shown(str(directory / SUMMARY))} is of a matrix with the sha256 "
            f"{findings.matrix.sha256[:12]}…, and {shown(subject.model.spec)} has "
            f"{subject.sha256[:12]}…; expected the model that was audited. Name it with "
            "--model, or audit this one"
        )
    progress("tokens")
    return _explored(subject, rows, audit, reading.result().table, states)


def _as_audited(settings: Settings, findings: Audit) -> Settings:
    named = None if findings.tokens is None else findings.tokens.tokenizer.named
    return Settings(
        tensor=settings.tensor or named_tensor(findings.matrix),
        role="input" if findings.matrix.role == "input" else settings.role,
        logit_format=settings.logit_format,
        arithmetic=settings.arithmetic,
        tokenizer=settings.tokenizer or named,
    )


def _tables(findings: Audit, arrays: Arrays) -> AuditTables:
    from isologit.output.parquet import token_columns

    return AuditTables(findings, token_columns(arrays))


def _check_width(states: StoredStates | None, subject: Subject) -> None:
    width = subject.head.matrix.width
    if states is not None and states.width != width:
        raise StateError(
            f"{states.where} holds {counted(states.n_states, 'state')} of {states.width} values; "
            f"this model's hidden state has {width}"
        )


def _explored(
    subject: Subject,
    rows: RowClasses,
    audit: AuditTables,
    table: TokenTable | None,
    states: StoredStates | None,
) -> Explored:
    return Explored(subject, rows, audit, table, states, Lock())
