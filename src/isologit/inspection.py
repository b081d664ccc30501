"""The smallest job: a checkpoint's tensors, the head and why, from headers alone."""

from isologit import __version__
from isologit.checkpoint.head import Role, find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.findings import HeadFacts, Model, Record
from isologit.subject import head_facts, model_facts

INSPECT_SCHEMA = "isologit.inspect/1"


class MatrixShape(Record, frozen=True, kw_only=True):
    """Which tensor the unembedding matrix is, and why, before any of it is read."""

    tensor: str
    role: str
    tied: bool | None
    shape: list[int]
    dtype: str
    bytes: int
    why: str


class TensorFacts(Record, frozen=True, kw_only=True):
    """One tensor of a checkpoint."""

    name: str
    dtype: str
    shape: list[int]
    bytes: int


class Inspection(Record, frozen=True, kw_only=True):
    """A checkpoint's tensors, and its head."""

    schema: str = INSPECT_SCHEMA
    isologit: str
    model: Model
    matrix: MatrixShape
    head: HeadFacts
    bytes: int
    tensors: list[TensorFacts]
    notes: list[str]


def inspect(spec: str, *, tensor: str | None = None, role: Role = "output") -> Inspection:
    """List a checkpoint's tensors and say which is the unembedding matrix, and why.

    Reads headers, the config, and the vectors of the head (bias, final norm); never W.

    Raises
    ------
    IsologitError
        The checkpoint cannot be read, or its head is not clear.
    """
    checkpoint = open_checkpoint(spec)
    head = find_head(checkpoint, tensor=tensor, role=role)
    tensors = checkpoint.tensors.values()
    return Inspection(
        isologit=__version__,
        model=model_facts(checkpoint),
        matrix=MatrixShape(
            tensor=head.tensor,
            role=head.role,
            tied=head.tied,
            shape=[head.matrix.n_tokens, head.matrix.width],
            dtype=head.matrix.format.name,
            bytes=head.matrix.words.nbytes,
            why=head.why,
        ),
        head=head_facts(head),
        bytes=sum(info.length for info in tensors),
        tensors=[
            TensorFacts(name=info.name, dtype=info.dtype, shape=list(info.shape), bytes=info.length)
            for info in tensors
        ],
        notes=list(head.warnings),
    )
