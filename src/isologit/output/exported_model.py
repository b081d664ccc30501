"""A model as an export takes it, without the figures of an audit that exports do not use."""

from isologit import token_steps
from isologit.equivalence.cluster import find_clusters
from isologit.equivalence.rows import row_classes
from isologit.exportable import Exportable
from isologit.findings import RowFacts
from isologit.output.parquet import token_columns
from isologit.steps import Arrays
from isologit.subject import Progress, Subject, silent


def exportable_of(subject: Subject, progress: Progress = silent) -> Exportable:
    """Find out who the rows of a model are, their classes, and traces of training.

    Parameters
    ----------
    subject
        The opened model.
    progress
        Called with the name of each step.

    Raises
    ------
    TokenizerError
        A tokenizer that the user named cannot be used.
    ChangedFileError
        A weight file has been written to meanwhile.
    """
    matrix = subject.head.matrix
    reading = token_steps.begin_reading(subject)
    progress("row classes")
    rows = row_classes(matrix, subject.head.bias)
    progress("cluster")
    clusters = find_clusters(matrix, rows.row_values)
    progress("tokens")
    tokens = reading.result()
    evidence = token_steps.evidence_of(matrix, rows, clusters, tokens.table)
    facts = RowFacts.of(rows, biased=subject.head.bias is not None)
    return Exportable(
        columns=token_columns(
            Arrays(subject=subject, rows=rows, tokens=tokens.table, evidence=evidence)
        ),
        model=subject.model,
        matrix=subject.matrix_facts(),
        rows=facts,
        tokens=token_steps.tokens_facts(
            tokens,
            rows=rows.bits,
            largest=[each.token_ids for each in facts.largest],
            evidence=evidence,
        ),
        version=subject.version,
        notes=tokens.notes,
    )
