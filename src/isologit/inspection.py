"""The smallest job: a checkpoint's tensors, the head and why, from headers alone."""

from isologit import __version__
from isologit.checkpoint.head import Role, find_head
from isologit.checkpoint.open import open_checkpoint
from isologit.findings import Inspection, MatrixShape, TensorFacts
from isologit.subject import head_facts, model_facts


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
