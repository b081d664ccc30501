"""Which files a job's output directory holds."""

from pathlib import Path

from isologit.findings import Audit, Classes
from isologit.output import parquet, seed_format
from isologit.output.directory import Writer, write_directory
from isologit.output.json_text import write_json
from isologit.steps import Arrays


def write_results(
    target: Path, findings: Audit | Classes, arrays: Arrays, *, force: bool = False
) -> list[Path]:
    """Write a job's directory, atomically; returns the files.

    Raises
    ------
    OutputExistsError, OutputWriteError
        See `write_directory`.
    """
    metadata = seed_format.metadata_of(findings)
    files: dict[str, Writer] = {
        "summary.json": lambda path: write_json(path, findings),
        "tokens.parquet": lambda path: parquet.write_tokens(path, arrays),
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
    return write_directory(target, files, force=force)
