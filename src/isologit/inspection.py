"""The smallest job: a checkpoint's tensors, the head and why, from headers alone."""

from collections.abc import Iterable

import msgspec

from isologit import __version__
from isologit.checkpoint.gguf_family import gguf_tokenizer
from isologit.checkpoint.head import Role
from isologit.checkpoint.opened import Checkpoint
from isologit.checkpoint.tensors import TensorInfo
from isologit.findings import HeadFacts
from isologit.record import Model, Record
from isologit.subject import LocatedSubject, Settings, head_facts, locate_subject, model_facts

INSPECT_SCHEMA = "isologit.inspect/1"


class MatrixShape(Record, frozen=True, kw_only=True):
    """Which tensor the unembedding matrix is, and why, before any of it is read."""

    tensor: str
    role: str
    tied: bool | None
    shape: list[int]
    dtype: str
    values_dtype: str
    bytes: int
    why: str


class TensorFacts(Record, frozen=True, kw_only=True):
    """One tensor of a checkpoint."""

    name: str
    dtype: str
    shape: list[int]
    bytes: int


class TokenizerFacts(Record, frozen=True, kw_only=True):
    """The tokenizer that a GGUF header holds: ``kind`` is llama.cpp's word for it."""

    kind: str
    tokens: int


class Inspection(Record, frozen=True, kw_only=True):
    """A checkpoint's tensors, and its head.

    ``bytes`` are those of all weight files, and ``to_fetch`` those that an audit would fetch;
    ``tokenizer`` is that of a GGUF file. Where it is not clear which tensor the head is, or it is
    not read, ``matrix``, ``head`` and ``to_fetch`` are null and a note says why.
    """

    schema: str = INSPECT_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixShape | None
    head: HeadFacts | None
    bytes: int
    to_fetch: int | None
    tokenizer: TokenizerFacts | None
    tensors: list[TensorFacts]
    notes: list[str]


def inspect(spec: str, *, tensor: str | None = None, role: Role = "output") -> Inspection:
    """List a checkpoint's tensors and say which is the unembedding matrix, and why.

    Reads headers and the config alone; but where a local model that is tied by its config stores
    both matrices, it compares them.

    Raises
    ------
    IsologitError
        The checkpoint cannot be read, or its head is not clear.
    """
    located = locate_subject(spec, Settings(tensor=tensor, role=role))
    return inspection_of(located, located.checkpoint.tensors.values())


def inspection_of(located: LocatedSubject, tensors: Iterable[TensorInfo]) -> Inspection:
    """Return what headers say of a subject, with the given ones of its tensors listed."""
    checkpoint, head = located.checkpoint, located.head
    info = head.form.info
    return msgspec.structs.replace(
        listing_of(checkpoint, tensors),
        matrix=MatrixShape(
            tensor=head.tensor,
            role=head.role,
            tied=head.tied,
            shape=list(info.shape),
            dtype=head.form.stored_as,
            values_dtype=head.form.format.name,
            bytes=info.length,
            why=head.why,
        ),
        head=head_facts(head),
        to_fetch=checkpoint.missing(head.tensors),
        notes=list(head.warnings),
    )


def listing_of(
    checkpoint: Checkpoint, tensors: Iterable[TensorInfo], fault: str = ""
) -> Inspection:
    """Return some tensors of a checkpoint, and why its head cannot be told."""
    tokenizer = gguf_tokenizer(checkpoint.gguf or {})
    return Inspection(
        isologit=__version__,
        model=model_facts(checkpoint),
        matrix=None,
        head=None,
        bytes=checkpoint.size,
        to_fetch=None,
        tokenizer=tokenizer and TokenizerFacts(kind=tokenizer[0], tokens=tokenizer[1]),
        tensors=[
            TensorFacts(name=each.name, dtype=each.dtype, shape=list(each.shape), bytes=each.length)
            for each in tensors
        ],
        notes=[fault] if fault else [],
    )


def head_inspection(located: LocatedSubject) -> Inspection:
    """Return what headers say of a subject, with the tensors that an audit reads listed.

    Reads no other header than those of these tensors.
    """
    checkpoint = located.checkpoint
    return inspection_of(located, (checkpoint.info(name) for name in located.head.tensors))
