"""Which files a job's output directory holds."""

from functools import partial
from pathlib import Path

import pyarrow as pa

from isologit.audit_tables import AuditTables
from isologit.findings import Audit, Classes
from isologit.output import parquet, seed_format
from isologit.output.directory import Writer, write_directory
from isologit.output.json_text import write_json
from isologit.steps import Arrays


def write_results(
    target: Path,
    findings: Audit | Classes,
    arrays: Arrays,
    *,
    tokens: pa.Table | None = None,
    report: bool = True,
    force: bool = False,
) -> list[Path]:
    """Write a job's directory, atomically; returns the files. A `report` is of an audit alone.

    `tokens` is what `token_columns` makes of the arrays, where that is there already.

    Raises
    ------
    OutputExistsError, OutputWriteError
        See `write_directory`.
    """
    metadata = seed_format.metadata_of(findings)
    if tokens is None:
        tokens = parquet.token_columns(arrays)
    files: dict[str, Writer] = {
        "summary.json": lambda path: write_json(path, findings),
        "tokens.parquet": lambda path: parquet.write_tokens(path, tokens),
        "classes.parquet": lambda path: parquet.write_classes(path, arrays),
    }
    # No cluster, no file: an empty one would read as a cluster of nothing.
    if arrays.cluster_ids is not None:
        files["cluster_members.safetensors"] = lambda path: seed_format.write_cluster_members(
            path, arrays, metadata
        )
    if arrays.logits is not None:
        files["cluster_logits.safetensors"] = lambda path: seed_format.write_cluster_logits(
            path, arrays, metadata
        )
    if report and isinstance(findings, Audit):
        from isologit.output.report import report_html

        html = report_html(AuditTables(findings, tokens))
        files["report.html"] = partial(_write_text, text=html)
    return write_directory(target, files, force=force)


def _write_text(path: Path, *, text: str) -> None:
    path.write_text(text, encoding="utf-8")
