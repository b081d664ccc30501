"""The seed's ``W.safetensors``: one tensor, W, that its notebooks and isologit load alike."""

import json
from collections.abc import Iterator
from pathlib import Path

from isologit.inspection import Inspection
from isologit.output.directory import write_directory
from isologit.output.json_text import utf8, write_json
from isologit.subject import Subject

# Enough rows at a time that writing them costs more than beginning to.
_BLOCK_BYTES = 8 << 20


def write_matrix(
    target: Path, subject: Subject, findings: Inspection, *, force: bool = False
) -> list[Path]:
    """Write a directory with W as ``W.safetensors``, and what is known of it; returns the files.

    W's bytes are those of the checkpoint; stored in a coding (blocks, scales, binary64) they are
    decoded, and the metadata say so. Rows are written a few at a time.

    Raises
    ------
    OutputExistsError, OutputWriteError
        See `write_directory`.
    ChangedFileError
        The checkpoint has been written to since it was opened.
    """
    return write_directory(
        target,
        {
            "W.safetensors": lambda path: _write(path, subject),
            "summary.json": lambda path: write_json(path, findings),
        },
        force=force,
    )


def _write(path: Path, subject: Subject) -> None:
    matrix = subject.head.matrix
    facts = subject.matrix_facts()
    metadata = {
        "isologit": subject.version,
        "matrix_sha256": facts.sha256,
        "revision": subject.model.revision or "",
        "source": utf8(subject.model.spec),
        "stored_as": facts.dtype,
        "tensor": facts.tensor,
    }
    header = {
        "__metadata__": metadata,
        "W": {
            "dtype": matrix.format.safetensors,
            "shape": [matrix.n_tokens, matrix.width],
            "data_offsets": [0, matrix.n_tokens * matrix.row_bytes],
        },
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for part in _parts(subject):
            file.write(part)


def _parts(subject: Subject) -> Iterator[memoryview]:
    matrix = subject.head.matrix
    step = max(1, _BLOCK_BYTES // matrix.row_bytes)
    for start in range(0, matrix.n_tokens, step):
        yield matrix.block(start, min(start + step, matrix.n_tokens)).data.cast("B")
