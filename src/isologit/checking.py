"""The job of ``check``: a model, held to the rules of a policy."""

import os
from pathlib import Path

import numpy as np

from isologit import __version__, steps, token_steps
from isologit.checkpoint.hub.progress import Arrived, nothing
from isologit.checkpoint.wording import listed, shown
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.partition import Partition
from isologit.equivalence.rows import row_classes
from isologit.errors import IsologitError, ResultsError, TokenizerError
from isologit.exportable import read_results
from isologit.findings import MatrixFacts
from isologit.policy import Policy
from isologit.record import Model, Record
from isologit.result_files import is_results
from isologit.rule_facts import LONGEST_SHOWN, Facts, RuleResult
from isologit.rules import evaluate
from isologit.subject import Progress, Settings, Subject, open_subject, silent
from isologit.token_steps import Tokens
from isologit.tokens.template import TemplateTokens, template_tokens
from isologit.tokens.text import visible

CHECK_SCHEMA = "isologit.check/1"


class Check(Record, frozen=True, kw_only=True):
    """Whether a model keeps a policy, rule by rule; ``policy`` is the file's path."""

    schema: str = CHECK_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixFacts
    policy: str
    passed: bool
    rules: list[RuleResult]
    notes: list[str]


def check(
    spec: str,
    policy: Policy,
    settings: Settings | None = None,
    *,
    progress: Progress = silent,
) -> Check:
    """Hold a model to a policy.

    Parameters
    ----------
    spec
        The model.
    policy
        See `read_policy`.
    settings
        Which matrix is meant, of BASE too, and which tokenizer.
    progress
        Called with the name of each step.

    Raises
    ------
    IsologitError
        The model or BASE cannot be read. A tokenizer that is not there, or cannot be used, is no
        error unless the user named it: it leaves rules that need it untold.
    """
    settings = settings or Settings()
    base = open_base(policy, settings)
    return check_of(open_subject(spec, settings), policy, base=base, progress=progress)


def open_base(
    policy: Policy, settings: Settings, arrived: Arrived = nothing
) -> Subject | Partition | None:
    """Open the BASE that a policy names: a model, or the rows of a result directory.

    A path is looked for beside the policy first, and goes before a hub model of the same name.

    Returns
    -------
    Subject, Partition or None
        None where the policy names none.

    Raises
    ------
    IsologitError
        It cannot be read; the message says that it is BASE.
    """
    if policy.base is None:
        return None
    beside = os.path.join(policy.path.parent, policy.base)  # noqa: PTH118 - it may be no path
    # os.path's own is false, and no error, for names too long.
    here = beside if os.path.exists(beside) else policy.base  # noqa: PTH110
    try:
        if here == beside and is_results(Path(here)):
            return _rows_of_results(Path(here), settings.role)
        return open_subject(here, settings, arrived)
    except IsologitError as error:
        raise type(error)(f"BASE of {shown(str(policy.path))}: {error}") from error


def _rows_of_results(directory: Path, role: str) -> Partition:
    results = read_results(directory)
    if results.matrix.role != role:
        raise ResultsError(
            f"{shown(str(directory))} is of the {shown(results.matrix.role)} matrix, and what is "
            f"checked is the {role} one; audit BASE with --role {role}"
        )
    return Partition.of_keys(results.columns["row_class"].to_numpy())


def check_of(
    subject: Subject,
    policy: Policy,
    *,
    base: Subject | Partition | None = None,
    progress: Progress = silent,
) -> Check:
    """Hold an opened model to a policy; see `check`."""
    progress("tokens")
    tokens, why_none = _tokens(subject)
    matrix, bias = subject.head.matrix, subject.head.bias
    progress("row classes")
    rows = row_classes(matrix, bias)
    finite = rows.finite_rows
    if bias is not None:
        finite = finite & np.isfinite(bias.values)
    template = evidence = None
    if tokens.table is not None:
        # A tokenizer that the user named brings its own template.
        gguf = None if subject.settings.tokenizer else subject.checkpoint.gguf
        template = template_tokens(
            tokens.table.tokenizer.vocabulary, tokens.settings, gguf, tokens.named
        )
        if policy.of_evidence:
            progress("signs of no training")
            clusters = find_clusters(matrix, rows.row_values)
            evidence = token_steps.evidence_of(matrix, rows, clusters, tokens.table)
    if isinstance(base, Subject):
        progress("row classes of BASE")
        opened, base = base, row_classes(base.head.matrix, base.head.bias).bits
        opened.checkpoint.require_unchanged()
    facts = Facts(rows, finite, tokens.table, why_none, template, evidence, base)
    results = [
        evaluate(name, facts, asked, pass_unknown=name in policy.pass_unknown)
        for name, asked in policy.rules.items()
    ]
    return Check(
        isologit=__version__,
        model=subject.model,
        matrix=subject.matrix_facts(),
        policy=str(policy.path),
        passed=all(result.passed for result in results),
        rules=results,
        notes=steps.notes(
            subject,
            rows,
            None,
            [*tokens.notes, *_unmatched(template), *_not_needed(policy, results)],
        ),
    )


def _tokens(subject: Subject) -> tuple[Tokens, str]:
    """Read the tokenizer; with why there is none, where the model has none that can be used.

    A hub that cannot be reached is an error: what it holds is not known to be missing.
    """
    chosen = subject.settings.tokenizer
    try:
        n_rows = subject.head.matrix.n_tokens
        return token_steps.read_tokens(subject.checkpoint, n_rows, chosen), ""
    except TokenizerError as error:
        if chosen is not None:
            raise
        return Tokens(None), str(error)


def _unmatched(template: TemplateTokens | None) -> list[str]:
    """Say which texts of a template look like tokens and are none: typing errors, mostly."""
    if template is None or not template.unmatched:
        return []
    texts = listed((visible(text, LONGEST_SHOWN) for text in template.unmatched), at_most=8)
    return [f"the chat template writes what no token is: {texts}"]


def _not_needed(policy: Policy, results: list[RuleResult]) -> list[str]:
    """Say which ids a policy allows that break no rule: a typing error, or long settled."""
    notes = []
    for result in results:
        idle = sorted(policy.rules[result.rule].allow - set(result.allowed))
        if idle and result.evaluated:
            ids = listed(map(str, idle), at_most=8)
            notes.append(f"allow.{result.rule} holds ids that need no allowance: {ids}")
    return notes
